"""The checks of a configuration in little memory: equal parts kept once, and nothing of what reading left in pieces."""

from __future__ import annotations

import gc
import pickle
from dataclasses import fields, is_dataclass, replace
from typing import Any

from monitor.config.settings import ServiceSettings, Settings
from probes import template
from probes.transaction import Spec, Step


def compact(settings: Settings) -> Settings:
    """The same settings; hand them over without keeping them, for they are let go of meanwhile.

    The parser's thousands of small objects lie between those that stay, so that hardly a page of them can be given
    back. What stays is written down, let go of, and read again into one place. For a process that runs long: it takes
    some 0.1 ms a check, in which nothing else can be done.
    """
    rest = replace(settings, services=())
    known: dict[bytes, Any] = {}
    written = pickle.dumps(tuple(_with_shared_parts(service, known) for service in settings.services))
    del settings
    known.clear()
    template.parse.cache_clear()
    gc.collect()
    services: tuple[ServiceSettings, ...] = pickle.loads(written)  # noqa: S301 - what was written a moment ago
    return replace(rest, services=services)


def _with_shared_parts(service: ServiceSettings, known: dict[bytes, Any]) -> ServiceSettings:
    checks = tuple(replace(check, transaction=_transaction(check.transaction, known)) for check in service.checks)
    return replace(service, checks=checks)


def _transaction(spec: Spec, known: dict[bytes, Any]) -> Spec:
    steps, finals = (tuple(_step(step, known) for step in some) for some in (spec.steps, spec.finally_))
    return replace(spec, steps=steps, finally_=finals, confidential=_once(spec.confidential, known))


def _step(step: Step, known: dict[bytes, Any]) -> Step:
    for field in fields(step.spec) if is_dataclass(step.spec) else ():
        part = getattr(step.spec, field.name)
        if not isinstance(part, str | bool | None):
            # Frozen means that its value never changes, and it does not: an equal one takes its place.
            object.__setattr__(step.spec, field.name, _once(part, known))
    return replace(
        step,
        expect=_once(step.expect, known),
        extract=_once(step.extract, known),
        variables=_once(step.variables, known),
    )


def _once(part: Any, known: dict[bytes, Any]) -> Any:  # noqa: ANN401 - any part of a transaction
    """The first part that was written like this one: the same bytes are the same value, types and all."""
    return known.setdefault(pickle.dumps(part), part)
