"""What a report must carry, and what one lacks (CONTRACT 3.2): gaps are listed and asked for, they void nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from monitor.core.incident_fact import Attachment

# The eight pieces of CONTRACT 3.2. The reporter's identity is one of three fields and kept beside the chain; the
# description and the time are two texts each.
PIECES: Mapping[str, str] = MappingProxyType(
    {
        "expected": "what should have happened",
        "actual": "what happened",
        "steps": "how to reproduce it",
        "evidence": "pictures or video, or why there are none",
        "errors": "the error messages",
        "environment": "device, system, browser or client, and version",
        "occurred": "when, with its zone",
        "frequency": "how often",
        "impact": "what it means for the business",
    },
)
REPORTER_FIELDS = ("name", "email", "phone")
DESCRIPTION = ("expected", "actual")
_NONE = re.compile(r"\s*(none|tidak ada)\b[\s.,:;–-]*(?P<why>.*)", re.IGNORECASE | re.DOTALL)
_MIN_WHY = 5


def refusal(identity: Collection[str], pieces: Mapping[str, str], *, of_partner: bool) -> str | None:
    """Why a report is none: nobody can be asked, or nothing is described. None for any other."""
    if of_partner and not ("name" in identity and ("email" in identity or "phone" in identity)):
        return "a report needs its reporter: a name, and an e-mail or a phone to ask at"
    if not any(is_given(pieces.get(name, "")) for name in DESCRIPTION):
        return "a report needs a description: what was expected, and what happened"
    return None


def lacking(
    identity: Collection[str], pieces: Mapping[str, str], attachments: Iterable[Attachment], *, of_partner: bool
) -> tuple[str, ...]:
    """What a report lacks, in the order of the agreement. "None, because …" is an answer; "none" is not."""
    missing = [f"reporter.{name}" for name in REPORTER_FIELDS if of_partner and name not in identity]
    for name in PIECES:
        shown = name == "evidence" and any(True for _ in attachments)
        if not shown and not is_given(pieces.get(name, "")):
            missing.append(name)
    return tuple(missing)


def is_given(text: str) -> bool:
    """Whether a text says anything: not empty, and no "none" without its reason."""
    if not text.strip():
        return False
    none = _NONE.fullmatch(text)
    return none is None or len(none["why"].strip()) >= _MIN_WHY
