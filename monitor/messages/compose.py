"""From a message's fields to its words: a subject that works alone on a phone, and a text of one fact a line.

Pure: the same fields give the same words. Fields are those of `bounded`; instants are RFC 3339 in the contract's zone
(`zone` names it), durations decimal seconds, shares decimal percentages as statements write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitor import locale
from monitor.locale import Lang
from monitor.messages import Kind
from monitor.messages.words import CHECKS, EFFECT, FOOT, HEADROOM, LINES, LOCATIONS, NO_HEADROOM, SUBJECTS

MAX_SUBJECT = 200
MAX_LISTED = 20
_INSTANTS = ("since", "until", "start", "end", "deadline", "response_due", "resolution_due", "due")
_DURATIONS = ("duration", "counted", "excluded")
_PERCENTS = ("availability", "guarantee")


@dataclass(frozen=True, slots=True)
class Words:
    """A message in one language."""

    subject: str
    text: str


def compose(key: str, kind: str, fields: Mapping[str, Any], lang: Lang) -> Words:
    """The words of a message; one of an unknown kind shows its fields as they are."""
    if kind == Kind.DIGEST:
        return _digest(key, fields, lang)
    said = _written(fields, lang)
    lines = [line[lang].format_map(_Said(said)) for name, line in LINES if name in said]
    lines += [_effect(effect, lang) for effect in fields.get("effects", ())]
    if kind in SUBJECTS:
        subject = SUBJECTS[Kind(kind)][lang].format_map(_Said(said))
    else:
        subject = f"{kind}: {fields.get('summary', key)}"
    return Words(subject[:MAX_SUBJECT], "\n".join([subject, "", *lines, "", FOOT[lang].format(key=key)]) + "\n")


class _Said(dict[str, str]):
    """Fields by name; one that is not given reads as a dash, as a message must leave whatever it lacks."""

    def __missing__(self, name: str) -> str:
        return "–"


def _digest(key: str, fields: Mapping[str, Any], lang: Lang) -> Words:
    """Several messages as one: how many, the first few in words, the rest as a number."""
    words = [compose(one["key"], one["kind"], one["payload"], lang) for one in fields["messages"][:MAX_LISTED]]
    count = int(fields["count"])
    subject = SUBJECTS[Kind.DIGEST][lang].format(count=count, first=words[0].subject if words else "–")
    more = [f"… +{count - len(words)}"] if count > len(words) else []
    lines = [subject, "", *(f"- {one.subject}" for one in words), *more, "", FOOT[lang].format(key=key)]
    return Words(subject[:MAX_SUBJECT], "\n".join(lines) + "\n")


def _written(fields: Mapping[str, Any], lang: Lang) -> dict[str, str]:
    """The fields as the language writes them; each instant also in UTC, under `NAME_utc`."""
    said: dict[str, str] = {}
    zone = str(fields.get("zone", "UTC"))
    for name, value in fields.items():
        if name in _INSTANTS:
            said[name] = _moment(value, zone, lang)
            said[f"{name}_utc"] = _moment(datetime.fromisoformat(value).astimezone(UTC).isoformat(), "UTC", lang)
        elif name in _DURATIONS:
            said[name] = locale.duration(value.partition(".")[0], lang)
        elif name in _PERCENTS:
            said[name] = locale.percent(value, lang)
        elif name == "month":
            said[name] = locale.month(value, lang)
        elif name not in {"effects", "zone"}:
            said[name] = _plain(value)
    return said | _derived(fields, said, lang)


def _derived(fields: Mapping[str, Any], written: Mapping[str, str], lang: Lang) -> dict[str, str]:
    """What is said of several fields together: names instead of ids, a credit with its amount, shares of checks."""
    said: dict[str, str] = {}
    if "service_name" in written:
        said["service"] = written["service_name"]
    if "partner_name" in written:
        said["partner"] = written["partner_name"]
    if "credit_amount" in fields:
        amount = locale.money(fields["credit_amount"], fields["currency"], lang)
        said["credit"] = f"{locale.percent(fields['credit_percent'], lang, 0)} = {amount}"
    for name, sentence in (("failing", CHECKS), ("where", LOCATIONS)):
        if name in fields:
            part, _, total = str(fields[name]).partition("/")
            said[name] = sentence[lang].format(failing=part, total=total)
    return said


def _effect(effect: Mapping[str, Any], lang: Lang) -> str:
    """What the trouble does to a partner's month."""
    credit = locale.percent(effect["credit"], lang, 0)
    if "left" in effect:
        headroom = HEADROOM[lang].format(left=locale.duration(effect["left"].partition(".")[0], lang), credit=credit)
    else:
        headroom = NO_HEADROOM[lang].format(credit=credit)
    return EFFECT[lang].format(
        month=locale.month(effect["month"], lang),
        partner=effect["partner"],
        best_case=locale.percent(effect["best_case"], lang),
        guarantee=locale.percent(effect["guarantee"], lang, 0),
        headroom=headroom,
    )


def _moment(value: str, zone: str, lang: Lang) -> str:
    """To the second: a message is read by people."""
    return locale.moment(datetime.fromisoformat(value).replace(microsecond=0).isoformat(), zone, lang)


def _plain(value: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
