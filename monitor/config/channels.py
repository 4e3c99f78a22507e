"""Channels of the file: read one by one, as a broken one must cost neither the others nor the measurement."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from monitor.config.models import CHANNEL_KINDS, EVERY_PARTNER, LEVELS, ChannelModel, Root
from monitor.config.problems import Path, unknown
from monitor.config.wording import faults
from monitor.core.instant import SECOND_US
from monitor.notify import LOG

MIN_RESEND_US = 30 * SECOND_US
MAX_RESEND_US = 60 * SECOND_US

Fault = tuple[Path, str, bool]
"""Where below the channel, what is wrong, and whether it is the key that is."""


def read_channel(id_: str, written: dict[str, Any], root: Root) -> tuple[ChannelModel, list[Fault]]:
    """A channel and everything that is wrong with it; one that cannot be read at all is empty."""
    try:
        model = ChannelModel.model_validate(written)
    except ValidationError as error:
        return ChannelModel(), list(faults(error, ChannelModel))
    return model, [*_itself(id_, model), *_named(model, root), *_addressees(model, root)]


def _itself(id_: str, model: ChannelModel) -> Iterator[Fault]:
    kinds = [kind for kind in CHANNEL_KINDS if getattr(model, kind) is not None]
    if len(kinds) != 1:
        said = f"has {', '.join(kinds)}" if kinds else "says none"
        yield (), f"a channel is one of {', '.join(CHANNEL_KINDS)}; this one {said}", False
    if id_ == LOG:
        yield (), f"{LOG} is the channel that is always there: choose another id", True
    if model.partners and LEVELS.intersection(kinds):
        yield ("partners",), f"{kinds[0]} states what is wrong now; it is not for partners", False
    if model.alertmanager and not MIN_RESEND_US <= model.alertmanager.every <= MAX_RESEND_US:
        yield ("alertmanager", "every"), "is sent again every 30s to 60s", False
    if model.apprise and find_spec("apprise") is None:
        yield ("apprise",), "apprise is not installed: install jaga[notify]", False


def _named(model: ChannelModel, root: Root) -> Iterator[Fault]:
    """What it names must be there."""
    for partner in model.partners:
        if partner not in {*root.partners, EVERY_PARTNER}:
            yield ("partners",), f"{partner!r}: {unknown(partner, root.partners, 'partner')}", False
    for service in model.services:
        if service not in root.services:
            yield ("services",), f"{service!r}: {unknown(service, root.services, 'service')}", False


def _addressees(model: ChannelModel, root: Root) -> Iterator[Fault]:
    """Somebody must be there to be mailed to."""
    if model.email is None or model.email.to:
        return
    if not model.partners and not any(contact.email for contact in root.provider.contacts):
        yield ("email",), "to is missing, and provider has no contacts with an email", True
    for id_, partner in root.partners.items():
        meant = EVERY_PARTNER in model.partners or id_ in model.partners
        if meant and not any(contact.email for contact in partner.contacts):
            yield ("partners",), f"{id_} has no contacts with an email, and the channel has no to", False
