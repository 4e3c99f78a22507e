"""The controls of a location: independent targets that prove its own network and resolver (CONTRACT 2.1.3).

A failure counts only while a majority of them answers (FAULTS, rule 1); they are asked around failures and on a
schedule of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import probes
from monitor.clock import Clock
from monitor.core.instant import SECOND_US
from probes import FailReason, InconclusiveReason

CONTROL_TIMEOUT_US = SECOND_US
"""How long a round of controls takes at most; a run has two: before and after its confirmation."""

CONTROL_SPACING_US = SECOND_US // 4
"""Rounds of controls begin at least this far apart, and whoever asks is answered by the next one to begin: a wide
outage asks four times a second, not a thousand times, and no answer is older than its question."""

CONTROL_EVERY_US = 15 * SECOND_US
"""How often the controls are asked when nothing fails, so that a blind location is known before a check says so."""

MIN_CONTROLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An independent target that proves the location's own network: reached by TCP, or by TCP and TLS."""

    name: str
    host: str
    port: int
    tls: bool = False

    @property
    def by_name(self) -> bool:
        """Whether it proves this location's resolver too."""
        try:
            ip_address(self.host)
        except ValueError:
            return True
        return False


class Ground(NamedTuple):
    """What a round of controls says of this location: whether a majority of them answers, whether a majority of those
    that have names does (without any, that cannot be doubted), and whose fault it is where one of them does not.
    `found_ns` is the instant at which a majority had answered, where one did.
    """

    network: bool
    names: bool
    blame: InconclusiveReason
    found_ns: int = 0


def parse_control(text: str) -> Control:
    """`tcp://host:port` or `https://host[:port]`; ValueError says what was meant."""
    parts = urlsplit(text)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else None)
    if parts.scheme not in {"tcp", "https"} or not parts.hostname or port is None:
        msg = f"{text!r} is no control target: write tcp://host:port or https://host"
        raise ValueError(msg)
    return Control(name=f"{parts.hostname}:{port}", host=parts.hostname, port=port, tls=tls)


class Controls:
    """Asks the controls. `answered` says of each whether it answered last time, by its name."""

    def __init__(
        self, controls: Sequence[Control], *, clock: Clock, network: probes.Network, secret: Callable[[str], str]
    ) -> None:
        assert not controls or len(controls) >= MIN_CONTROLS, "a location has no controls, or at least three"
        self.answered: dict[str, bool] = {}
        self._controls = tuple(controls)
        self._clock = clock
        self._network = network
        self._secret = secret
        self._next_round: asyncio.Task[Ground] | None = None
        self._round_begun_ns: int | None = None

    def __bool__(self) -> bool:
        """Whether the location has any."""
        return bool(self._controls)

    async def watch(self) -> None:
        """Ask on a schedule of their own, for as long as there are any; never returns then."""
        while self._controls:
            await self.ask()
            await self._clock.wait_until(self._clock.now_us() + CONTROL_EVERY_US)

    async def ask(self) -> Ground:
        """The answer of the next round to begin."""
        if self._next_round is None:
            self._next_round = asyncio.create_task(self._round(), name="controls")
        return await asyncio.shield(self._next_round)

    async def _round(self) -> Ground:
        """One look at all controls, once it may begin."""
        if self._round_begun_ns is not None:
            await pause(self._clock, CONTROL_SPACING_US - (self._clock.now_ns() - self._round_begun_ns) // 1000)
        self._next_round, self._round_begun_ns = None, self._clock.now_ns()
        asked = {asyncio.create_task(self._reaches(control)): control for control in self._controls}
        try:
            await asyncio.wait(asked, timeout=CONTROL_TIMEOUT_US / 1e6)
        finally:
            for task in asked:
                task.cancel()
                task.add_done_callback(forget)
        failures = {control: _why_not_reached(task) for task, control in asked.items()}
        self.answered.update({control.name: failure is None for control, failure in failures.items()})
        found_ns = sorted(task.result() for task, control in asked.items() if failures[control] is None)
        majority = len(asked) // 2
        return _judged(failures)._replace(found_ns=found_ns[majority] if majority < len(found_ns) else 0)

    async def _reaches(self, control: Control) -> int:
        """The instant at which a control answered; ProbeError or OwnFault if it did not."""
        now_ns = self._clock.now_ns()
        ctx = probes.Context(
            now_ns=self._clock.now_ns,
            deadline_ns=now_ns + CONTROL_TIMEOUT_US * 1000,
            network=self._network,
            secret=self._secret,
        )
        stream = await self._network.connect(control.host, control.port, ctx, probes.Route())
        try:
            if control.tls:
                await stream.start_tls(control.host, probes.TlsPolicy())
            return self._clock.now_ns()
        finally:
            stream.close()


async def pause(clock: Clock, delay_us: int) -> None:
    """Wait so long on the monotonic clock; not at all where nothing is left."""
    if delay_us > 0:
        over = asyncio.get_running_loop().create_future()
        timer = clock.call_after(delay_us, lambda: over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()


def forget(task: asyncio.Future[Any]) -> None:
    """Take the exception of a task nobody waits for, so that nobody reports it as never retrieved."""
    if not task.cancelled():
        task.exception()


def _why_not_reached(task: asyncio.Task[int]) -> FailReason | InconclusiveReason | None:
    """None for a control that answered in time."""
    if not task.done() or task.cancelled():
        return FailReason.TIMEOUT
    error = task.exception()
    if error is None:
        return None
    return error.reason if isinstance(error, probes.ProbeError | probes.OwnFault) else InconclusiveReason.INTERNAL


def _judged(failures: Mapping[Control, FailReason | InconclusiveReason | None]) -> Ground:
    named = [failure for control, failure in failures.items() if control.by_name]
    by_address = [failure for control, failure in failures.items() if not control.by_name]
    unresolved = [failure in {FailReason.DNS, InconclusiveReason.OWN_RESOLVER} for failure in named]
    names = not named or _most([failure is None for failure in named])
    # Names that lead nowhere while addresses are reached, or that nobody finds: the resolver does not work, or it lies.
    resolver = not names and (_most(unresolved) or _most([failure is None for failure in by_address]))
    return Ground(
        network=_most([failure is None for failure in failures.values()]),
        names=names,
        blame=InconclusiveReason.OWN_RESOLVER if resolver else InconclusiveReason.OWN_NETWORK,
    )


def _most(answers: Collection[bool]) -> bool:
    return 2 * sum(answers) > len(answers)
