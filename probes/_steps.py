"""What a transaction is, as data: named steps, and those of `finally`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from probes import load, template
from probes.expect import NOTHING, Expect
from probes.extract import Source

MAX_FINALLY_NS = 5_000_000_000
_CONFIDENTIAL = ("token", "secret", "pass", "session", "key", "auth", "jwt", "cookie", "csrf", "otp", "pin", "sid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: a probe of a kind, what is expected of its answer, what is taken out of it."""

    name: str
    kind: str
    spec: Any
    expect: Expect = NOTHING
    extract: Mapping[str, Source] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()  # that its settings and expectations use


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A transaction. `confidential` names the variables whose values are never shown."""

    steps: tuple[Step, ...]
    finally_: tuple[Step, ...] = ()
    confidential: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The kind of its steps, for a metric's label: `transaction` if there are several."""
        return self.steps[0].kind if len(self.steps) == 1 else "transaction"

    @property
    def target(self) -> str:
        """host:port of the first step, for a metric's label."""
        first = self.steps[0]
        text: str = load(first.kind).target(first.spec)
        return text

    def assertion_ids(self) -> tuple[str, ...]:
        """The ids of all assertions, the closed list of a metric's label."""
        return tuple(
            found
            for step in (*self.steps, *self.finally_)
            for found in step.expect.ids(step.name, with_status="status" in load(step.kind).EXPECTS)
        )

    def references(self) -> frozenset[str]:
        """The names of all secrets it will ask for, such as `NAME` and `file:/path`."""
        return frozenset(name for step in (*self.steps, *self.finally_) for name in _references(step))


def _references(step: Step) -> frozenset[str]:
    return template.references(_plain(step.spec)) | template.references(_plain(step.expect))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any settings
    """Settings as plain data, to look for marks in."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def used_variables(settings: Any) -> frozenset[str]:  # noqa: ANN401 - any settings
    """The names of the variables that settings use."""
    return template.variables(_plain(settings))


def is_confidential(name: str) -> bool:
    """True for the names that credentials usually have."""
    return any(word in name.lower() for word in _CONFIDENTIAL)


def finally_budget_ns(timeout_ns: int) -> int:
    """The time that the steps of `finally` get, together, after an attempt with this timeout."""
    return min(timeout_ns // 4, MAX_FINALLY_NS)
