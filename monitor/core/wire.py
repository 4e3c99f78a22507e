"""The written form of facts and evidence: one table of fields, read and written by the same rules (INTERFACES,
`jaga-ledger/1`). Unknown fields, missing ones and wrong types are errors that name the field and what was meant.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from monitor.core import fact as facts
from monitor.core.check import Check, CheckList, Network
from monitor.core.checkpoint import NoteError, read_checkpoint, read_note, read_public_key
from monitor.core.fact import ExclusionReason, Fact, KeyReason, Ruling
from monitor.core.incident_fact import (
    NEEDED,
    Attachment,
    Cause,
    Delivery,
    EscalationReason,
    Incident,
    IncidentEvent,
)
from monitor.core.instant import SECOND_US, InstantError, format_instant_us, parse_instant
from monitor.core.personal import REFERENCE
from monitor.core.priority import LEVELS, ClockName, Priority
from monitor.core.run import FAIL_REASONS, INCONCLUSIVE_REASONS, Origin, Outcome, Run, StatedSpan
from monitor.core.terms import Fee

MAX_TEXT = 4096
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,6})?", re.ASCII)
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)
_MISSING = object()
_T = TypeVar("_T")
_E = TypeVar("_E", bound=enum.StrEnum)


class FactError(ValueError):
    """A written fact that cannot be read: says which field, what it holds and what was meant."""


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of value is read and written."""

    read: Callable[[object], Any]
    write: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a written fact: its name there, its attribute, its form, and its default (none: required)."""

    name: str
    attribute: str
    form: Form
    default: Any = _MISSING


def _wrong(value: object, wanted: str) -> FactError:
    # The words of JSON, which is what was written: null and 1.5, not None and Decimal('1.5').
    if value is None or isinstance(value, bool):
        shown = {None: "null", True: "true", False: "false"}[value]
    else:
        shown = str(value) if isinstance(value, Decimal) else repr(value)
    return FactError(f"is {shown[:60]}{'…' if len(shown) > 60 else ''}, expected {wanted}")  # noqa: PLR2004 - one line


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    if len(value) > MAX_TEXT:
        msg = f"has {len(value)} characters, the limit is {MAX_TEXT}"
        raise FactError(msg)
    if not _is_unicode(value):
        raise _wrong(value, "a text of whole characters, not half a surrogate pair")
    return value


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _identifier(value: object) -> str:
    text = _text(value)
    if not text or not text.isprintable() or len(text) > 200:  # noqa: PLR2004 - stated in the message
        raise _wrong(value, "an id: 1 to 200 printable characters")
    return text


def _identifiers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(value, "a list of ids, not empty")
    return tuple(_identifier(item) for item in value)


def _instant(value: object) -> int:
    if not isinstance(value, str) or len(value) > 60:  # noqa: PLR2004 - no instant is longer
        raise _wrong(value, "an instant, RFC 3339 with an offset")
    try:
        return parse_instant(value)
    except InstantError as error:
        raise FactError("cannot be read: " + str(error)) from error


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_INTEGER:
        raise _wrong(value, "a whole number below 2^53")
    return value


def _count(value: object) -> int:
    number = _integer(value)
    if number < 0:
        raise _wrong(value, "a whole number, 0 or more")
    return number


def _seconds(value: object) -> int:
    # Written as digits, whatever the type: nothing is rounded and no exponent explodes.
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str) or not _DECIMAL.fullmatch(str(value)):
        raise _wrong(value, "a positive number of seconds, microseconds at the finest")
    duration_us = int(Decimal(value) * SECOND_US)
    if not 0 < duration_us <= MAX_INTEGER:
        raise _wrong(value, "a positive number of seconds below 2^53 microseconds")
    return duration_us


def _month(value: object) -> str:
    if not isinstance(value, str) or not _MONTH.fullmatch(value):
        raise _wrong(value, "a month such as 2026-04")
    return value


def _write_seconds(duration_us: int) -> int | str:
    whole, rest = divmod(duration_us, SECOND_US)
    return whole if not rest else f"{whole}.{rest:06d}".rstrip("0")


def _choice(options: type[_E]) -> Form:
    """A closed list of words, written as they are."""
    words = {option.value: option for option in options}

    def read(value: object) -> _E:
        found = words.get(value) if isinstance(value, str) else None
        if found is None:
            raise _wrong(value, "one of " + ", ".join(words) + _meant(value, list(words)))
        return found

    return Form(read, str)


def _meant(value: object, options: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(str(value)[:100], options, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, "an object")
    _recordable(value, MAX_DEPTH)
    return value


def _recordable(value: object, depth: int) -> None:
    """Refuse what canonical bytes cannot hold: floating point, integers from 2^53 on, half characters, great depth."""
    if depth == 0:
        msg = f"is nested more than {MAX_DEPTH} deep"
        raise FactError(msg)
    if isinstance(value, float | Decimal):
        raise _wrong(value, "a whole number or a text: the record holds no floating point")
    if isinstance(value, str):
        if not _is_unicode(value):
            raise _wrong(value, "a text of whole characters, not half a surrogate pair")
    elif isinstance(value, dict):
        for name, item in value.items():
            _recordable(name, depth)
            _recordable(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _recordable(item, depth - 1)
    elif isinstance(value, int) and not isinstance(value, bool):
        _integer(value)


def _fee(value: object) -> Fee:
    if not isinstance(value, dict) or set(value) != {"currency", "amount"}:
        raise _wrong(value, 'a fee: {"currency": "IDR", "amount": "12500000"}')
    currency, amount = value["currency"], value["amount"]
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise _wrong(currency, "a currency code of three capitals")
    if not isinstance(amount, str) or not _DECIMAL.fullmatch(amount):
        raise _wrong(amount, "a decimal amount as a text, 0 or more, with at most 18 digits and 6 decimals")
    return Fee(currency=currency, amount=Decimal(amount))


def _write_fee(fee: Fee) -> dict[str, str]:
    return {"currency": fee.currency, "amount": format(fee.amount, "f")}


def _checks(value: object) -> tuple[Check, ...]:
    if not isinstance(value, list):
        raise _wrong(value, 'a list of checks: [{"id": "login", "network": "public"}]')
    found = tuple(_read_fields(_CHECK, item, Check) for item in value)
    for name, times in Counter(check.id for check in found).items():
        if times > 1:
            msg = f"names the check {name!r} {times} times"
            raise FactError(msg)
    return found


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(value, "an object of texts")
    return {_identifier(name): _text(text) for name, text in value.items()}


def _attachments(value: object) -> tuple[Attachment, ...]:
    if not isinstance(value, list):
        raise _wrong(value, "a list of attachments")
    return tuple(_read_fields(_ATTACHMENT, item, Attachment) for item in value)


def _level(value: object) -> int:
    if value not in LEVELS or isinstance(value, bool):
        raise _wrong(value, "a level: " + ", ".join(map(str, LEVELS)))
    return _count(value)


def _reference(value: object) -> str:
    text = _text(value)
    if not REFERENCE.fullmatch(text):
        raise _wrong(value, "a reference to personal data: personal: and 64 hexadecimal digits")
    return text


def _noted(read: Callable[[str], object]) -> Form:
    """A text in one of the formats of `core.checkpoint`, kept as it is."""

    def checked(value: object) -> str:
        text = _text(value)
        try:
            read(text)
        except NoteError as error:
            raise FactError("cannot be read: " + str(error)) from error
        return text

    return Form(checked, str)


def _same(value: Any) -> Any:  # noqa: ANN401 - JSON values of any type pass through
    return value


def _optional(form: Form) -> Form:
    return Form(
        lambda value: None if value is None else form.read(value),
        lambda value: None if value is None else form.write(value),
    )


def _or_empty(form: Form, empty: object) -> Form:
    """A list or an object that may be null: it is empty then."""
    return Form(lambda value: empty if value is None else form.read(value), form.write)


TEXT = Form(_text, _same)
ID = Form(_identifier, _same)
IDS = Form(_identifiers, list)
INSTANT = Form(_instant, format_instant_us)
SECONDS = Form(_seconds, _write_seconds)
COUNT = Form(_count, _same)
INTEGER = Form(_integer, _same)
MONTH = Form(_month, _same)
OBJECT = Form(_object, dict)
FEE = Form(_fee, _write_fee)
NETWORK = _choice(Network)
OUTCOME = _choice(Outcome)
ORIGIN = _choice(Origin)
EXCLUSION_REASON = _choice(ExclusionReason)
RULING = _choice(Ruling)
TEXTS = Form(_texts, dict)
LEVEL = Form(_level, _same)

_ATTACHMENT = (
    Field("name", "name", TEXT),
    Field("media_type", "media_type", TEXT),
    Field("bytes", "size_bytes", COUNT),
    Field("digest", "digest", TEXT),
)
ATTACHMENTS = Form(_attachments, lambda attached: [_write_fields(_ATTACHMENT, one) for one in attached])
KEY_REASON = _choice(KeyReason)
PUBLIC_KEY = _noted(read_public_key)
NOTE = _noted(read_note)
PERSONAL = Form(_reference, _same)
CHECKPOINT = _noted(read_checkpoint)

_CHECK = (
    Field("id", "id", ID),
    Field("network", "network", NETWORK, Network.PUBLIC),
    Field("attempts", "attempts", _optional(COUNT), None),
)
CHECKS = Form(_checks, lambda checks: [_write_fields(_CHECK, check) for check in checks])

_AT = Field("at", "at_us", INSTANT)
_BY = Field("by", "by", _optional(TEXT), None)
_NOTE = Field("note", "note", _optional(TEXT), None)
_EVIDENCE = Field("evidence", "evidence", _optional(TEXT), None)
_START = Field("start", "start_us", INSTANT)
_END = Field("end", "end_us", INSTANT)
_SERVICES = Field("services", "services", IDS)
_PARTNERS = Field("partners", "partners", _optional(IDS), None)
_SERVICE = Field("service", "service", ID)
_SOURCE = (_SERVICE, Field("check", "check", ID), Field("location", "location", ID))

_CHECK_LIST = (
    _SERVICE,
    _AT,
    Field("interval_s", "interval_us", SECONDS),
    Field("timeout_s", "timeout_us", SECONDS),
    Field("stale_after_s", "stale_after_us", SECONDS),
    Field("checks", "checks", CHECKS),
)

SHAPES: dict[type[Fact], tuple[Field, ...]] = {
    facts.Maintenance: (
        Field("id", "id", ID),
        _SERVICES,
        _PARTNERS,
        _START,
        _END,
        _AT,
        Field("summary", "summary", TEXT, ""),
        Field("extends", "extends", _optional(ID), None),
        _BY,
        _EVIDENCE,
    ),
    facts.Notice: (
        Field("maintenance", "maintenance", ID),
        Field("partner", "partner", ID),
        _AT,
        Field("channel", "channel", TEXT),
        _BY,
        Field("receipt", "receipt", _optional(TEXT), None),
        _EVIDENCE,
    ),
    facts.MaintenanceFinished: (Field("maintenance", "maintenance", ID), _AT, _BY, _EVIDENCE),
    facts.MaintenanceCancelled: (Field("maintenance", "maintenance", ID), _AT, _BY, _EVIDENCE),
    facts.Exclusion: (
        Field("id", "id", ID),
        Field("reason", "reason", EXCLUSION_REASON),
        _SERVICES,
        _PARTNERS,
        _START,
        _END,
        _AT,
        _BY,
        _EVIDENCE,
    ),
    facts.Reversal: (Field("of", "of", ID), _AT, _BY, _NOTE),
    facts.Adjudication: (
        Field("id", "id", ID),
        _SERVICE,
        _START,
        _END,
        Field("verdict", "verdict", RULING),
        Field("agreed_by", "agreed_by", _optional(TEXT), None),
        _AT,
        _BY,
        _EVIDENCE,
        _NOTE,
    ),
    facts.Annulment: (Field("id", "id", ID), *_SOURCE, _START, _END, _AT, _BY, _NOTE),
    facts.Claim: (Field("partner", "partner", ID), _SERVICE, Field("month", "month", MONTH), _AT, _BY),
    facts.CreditApplied: (
        Field("partner", "partner", ID),
        _SERVICE,
        Field("month", "month", MONTH),
        Field("invoice", "invoice", TEXT),
        _AT,
        _BY,
    ),
    facts.TermsAdopted: (
        Field("contract", "contract", ID),
        Field("effective_from", "effective_from_us", INSTANT),
        Field("terms", "terms", OBJECT),
        Field("agreed", "agreed", _optional(TEXT), None),
    ),
    facts.Subscribed: (
        Field("partner", "partner", ID),
        _SERVICE,
        Field("contract", "contract", ID),
        Field("from", "from_us", _optional(INSTANT), None),
        Field("until", "until_us", _optional(INSTANT), None),
        Field("fee", "fee", FEE),
    ),
    facts.Retired: (_SERVICE, Field("check", "check", _optional(ID), None), _AT, _BY),
    facts.Outage: (
        Field("id", "id", ID),
        _SERVICE,
        _START,
        Field("end", "end_us", _optional(INSTANT), None),
        _AT,
        Field("failing", "failing", _optional(TEXT), None),
    ),
    facts.Close: (
        Field("partner", "partner", ID),
        _SERVICE,
        Field("month", "month", MONTH),
        Field("version", "version", COUNT),
        Field("digest", "digest", TEXT),
        _AT,
        Field("inputs", "inputs", OBJECT),
        _BY,
        Field("reason", "reason", _optional(TEXT), None),
        Field("credit_delta", "credit_delta", _optional(TEXT), None),
    ),
    facts.Sealed: (
        Field("hour", "hour_us", INSTANT),
        Field("segments", "segments", COUNT),
        Field("runs", "runs", COUNT),
        Field("root", "root", TEXT),
        _AT,
    ),
    facts.ClockStep: (
        _AT,
        Field("delta_us", "delta_us", INTEGER),
        Field("location", "location", _optional(ID), None),
    ),
    Incident: (
        Field("id", "id", ID),
        Field("event", "event", _choice(IncidentEvent)),
        _AT,
        Field("service", "service", _optional(ID), None),
        Field("priority", "priority", _optional(_choice(Priority)), None),
        Field("partner", "partner", _optional(ID), None),
        Field("cause", "cause", _optional(_choice(Cause)), None),
        Field("outage", "outage", _optional(ID), None),
        Field("found", "found_us", _optional(INSTANT), None),
        Field("summary", "summary", _optional(TEXT), None),
        Field("channel", "channel", _optional(TEXT), None),
        Field("reporter", "reporter", _optional(PERSONAL), None),
        Field("pieces", "pieces", _or_empty(TEXTS, {}), {}),
        Field("missing", "missing", _or_empty(IDS, ()), ()),
        Field("attachments", "attachments", _or_empty(ATTACHMENTS, ()), ()),
        Field("assignee", "assignee", _optional(TEXT), None),
        Field("clock", "clock", _optional(_choice(ClockName)), None),
        Field("level", "level", _optional(LEVEL), None),
        Field("reason", "reason", _optional(_choice(EscalationReason)), None),
        Field("due", "due_us", _optional(INSTANT), None),
        Field("owners", "owners", _or_empty(IDS, ()), ()),
        _BY,
        _NOTE,
    ),
    Delivery: (
        Field("key", "key", ID),
        Field("kind", "kind", TEXT),
        Field("channel", "channel", TEXT),
        Field("to", "to", TEXT),
        _AT,
        Field("receipt", "receipt", _optional(TEXT), None),
    ),
    facts.KeyAdopted: (
        Field("key", "key", PUBLIC_KEY),
        Field("why", "why", KEY_REASON),
        _AT,
        Field("replaces", "replaces", _optional(PUBLIC_KEY), None),
        Field("endorsed", "endorsed", _optional(NOTE), None),
        _BY,
        _NOTE,
    ),
    facts.CheckpointSigned: (_AT, Field("note", "note", CHECKPOINT)),
    facts.PersonalErased: (Field("of", "of", PERSONAL), _AT, _BY, _NOTE),
    facts.LossAccepted: (
        _AT,
        Field("entries", "entries", COUNT),
        Field("arrival", "arrival", COUNT),
        Field("checkpoint", "checkpoint", _optional(CHECKPOINT), None),
        _BY,
        _NOTE,
    ),
}
_CHECKS_FACT = (*_CHECK_LIST, _BY, _NOTE)
_RUN = (
    *_SOURCE,
    Field("at", "start_us", INSTANT),
    Field("outcome", "outcome", OUTCOME),
    Field("duration_us", "duration_us", COUNT, 0),
    Field("attempts", "attempts", COUNT, 1),
    Field("reason", "reason", _optional(TEXT), None),
    Field("step", "step", _optional(TEXT), None),
    Field("message", "message", _optional(TEXT), None),
)
_SPANS = (
    *_SOURCE,
    Field("from", "start_us", INSTANT),
    Field("to", "end_us", INSTANT),
    Field("outcome", "outcome", OUTCOME),
)
_PLACE = (
    Field("seq", "seq", COUNT),
    Field("recorded_at", "recorded_at_us", INSTANT),
    Field("origin", "origin", ORIGIN),
    Field("prev", "prev", TEXT),
    Field("hash", "hash", TEXT),
    Field("epoch", "epoch", COUNT),
)
_REASONS = {Outcome.PASS: (), Outcome.FAIL: FAIL_REASONS, Outcome.INCONCLUSIVE: INCONCLUSIVE_REASONS}
_TYPES: dict[str, type[Fact]] = {shape.TYPE: shape for shape in SHAPES}
TYPES = ("header", facts.ChecksAdopted.TYPE, "run", "spans", *_TYPES)


def write_fact(fact: Fact) -> dict[str, Any]:
    """The JSON object of a fact, `type` first, optional fields that are empty left out."""
    if isinstance(fact, facts.ChecksAdopted):
        written = {"type": fact.TYPE, **_write_fields(_CHECK_LIST, fact.list)}
        return written | {name: value for name, value in (("by", fact.by), ("note", fact.note)) if value is not None}
    return {"type": fact.TYPE, **_write_fields(SHAPES[type(fact)], fact)}


def read_fact(written: Mapping[str, Any]) -> Fact:
    """The fact of a JSON object; FactError names the field at fault."""
    kind = written.get("type")
    body = {name: value for name, value in written.items() if name != "type"}
    if kind == facts.ChecksAdopted.TYPE:
        values = _read_values(_CHECKS_FACT, body)
        by, note = values.pop("by"), values.pop("note")
        return facts.ChecksAdopted(list=CheckList(**values), by=by, note=note)
    shape = _TYPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        msg = f"type {kind!r} is unknown{_meant(kind, TYPES)}"
        raise FactError(msg)
    found: Fact = shape(**_read_values(SHAPES[shape], body))
    _check_order(found)
    return found


def _check_order(fact: Fact) -> None:
    # A window that ends before it starts is recorded and does not qualify (CONTRACT 2.5.2); the verbs refuse it.
    if isinstance(fact, facts.Exclusion | facts.Adjudication | facts.Annulment):
        _ordered("start", fact.start_us, "end", fact.end_us)
    if isinstance(fact, Incident):
        _said(fact)


def _said(fact: Incident) -> None:
    """An event says what it is about."""
    written = {field.attribute: field.name for field in SHAPES[Incident]}
    for attribute in NEEDED.get(fact.event, ()):
        if not getattr(fact, attribute):
            msg = f'field "{written[attribute]}" is missing: an incident is not {fact.event.value} without it'
            raise FactError(msg)


def _ordered(first: str, first_us: int, last: str, last_us: int) -> None:
    if last_us <= first_us:
        msg = f'"{last}" {format_instant_us(last_us)} is not after "{first}" {format_instant_us(first_us)}'
        raise FactError(msg)


def write_run(run: Run) -> dict[str, Any]:
    """The JSON object of a run."""
    return {"type": "run", **_write_fields(_RUN, run)}


def read_run(written: Mapping[str, Any], *, origin: Origin = Origin.OWN) -> Run:
    """The run of a JSON object; FactError names the field. A reason must be of its outcome's closed list."""
    values = {name: value for name, value in written.items() if name != "type"}
    run = Run(**_read_values(_RUN, values), origin=origin)
    if run.reason is not None and run.reason not in _REASONS[run.outcome]:
        allowed = _REASONS[run.outcome]
        options = ", ".join(allowed) or "none"
        meant = _meant(run.reason, allowed)
        msg = f'"reason" is {run.reason[:60]!r}, expected for outcome {run.outcome.value}: {options}{meant}'
        raise FactError(msg)
    return run


def write_spans(span: StatedSpan) -> dict[str, Any]:
    """The JSON object of a stated span."""
    return {"type": "spans", **_write_fields(_SPANS, span)}


def read_spans(written: Mapping[str, Any]) -> StatedSpan:
    """The stated span of a JSON object; FactError names the field, or that it ends before it starts."""
    span = StatedSpan(**_read_values(_SPANS, {name: value for name, value in written.items() if name != "type"}))
    _ordered("from", span.start_us, "to", span.end_us)
    return span


def write_place(entry: object) -> dict[str, Any]:
    """The JSON object of an entry's place in its chain: what the `entry` of an exported decision line holds."""
    return _write_fields(_PLACE, entry)


def read_place(written: object) -> dict[str, Any]:
    """The values of an `entry` object by their attributes of an Entry; FactError names the field."""
    return _read_fields(_PLACE, written, dict)


def _write_fields(fields: tuple[Field, ...], value: object) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for field in fields:
        held = getattr(value, field.attribute)
        if held is None and field.default is None and field.name not in {"partners", "agreed_by"}:
            continue
        if not held and field.default in ((), {}):
            continue
        written[field.name] = field.form.write(held)
    return written


def _read_fields(fields: tuple[Field, ...], written: object, shape: Callable[..., _T]) -> _T:
    if not isinstance(written, dict):
        raise _wrong(written, "an object")
    return shape(**_read_values(fields, written))


def _read_values(fields: tuple[Field, ...], written: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    found = 0
    for field in fields:
        value = written.get(field.name, _MISSING)
        if value is not _MISSING:
            found += 1
            try:
                values[field.attribute] = field.form.read(value)
            except FactError as error:
                msg = f'"{field.name}" {error}'
                raise FactError(msg) from error
        elif field.default is not _MISSING:
            values[field.attribute] = field.default
        else:
            _refuse_unknown(fields, written)
            msg = f'field "{field.name}" is missing'
            raise FactError(msg)
    if found != len(written):
        _refuse_unknown(fields, written)
    return values


def _refuse_unknown(fields: tuple[Field, ...], written: Mapping[str, Any]) -> None:
    """Told before a missing field: the one is most often the other, misspelt."""
    names = [field.name for field in fields]
    for name in written:
        if name not in names:
            msg = f'field "{name[:60]}" is unknown{_meant(name, names)}'
            raise FactError(msg)
