"""The incidents of a ledger as the metrics have them: states and clocks in, samples out. Nothing is decided here."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from monitor.core.incident import State
from monitor.core.incident_clocks import ClockState, Reading
from monitor.core.incident_fact import EscalationReason
from monitor.core.priority import ClockName, Priority
from monitor.ledger.incidents.view import Desk
from monitor.ledger.month import Months
from monitor.telemetry.snapshot import INCIDENT_BOUNDS_US, Histogram, IncidentClockSample, IncidentsSample


def incidents_sample(months: Months) -> IncidentsSample:
    """All incidents of a ledger as they stand."""
    desk = Desk.of(months.record, months.basis, months.now_us)
    open_: Counter[tuple[str, str]] = Counter()
    opened: Counter[tuple[str, str]] = Counter()
    breaches: Counter[tuple[str, str]] = Counter()
    escalations: Counter[tuple[str, str]] = Counter()
    clocks: list[IncidentClockSample] = []
    took = {clock: {priority.value: Histogram(INCIDENT_BOUNDS_US) for priority in Priority} for clock in ClockName}
    for state in desk.book.states.values():
        first, now = state.priorities[0][1].value, state.priority.value
        opened[state.service, first] += 1
        open_[state.service, now] += not state.resolved
        for reached in state.reached:
            escalations[now, ClockName.RESOLUTION.value] += reached.reason is EscalationReason.SHARE_USED
        readings = desk.readings(state)
        for reading in readings:
            breaches[now, reading.clock.value] += reading.state is ClockState.BREACHED
            if reading.done_us is not None:
                took[reading.clock][now].observe(reading.done_us - reading.start_us)
        clocks += _running(state, readings)
    return IncidentsSample(
        open=open_,
        opened=opened,
        clocks=tuple(clocks),
        breaches=breaches,
        escalations=escalations,
        response={priority: found.tally() for priority, found in took[ClockName.RESPONSE].items()},
        resolution={priority: found.tally() for priority, found in took[ClockName.RESOLUTION].items()},
    )


def _running(state: State, readings: tuple[Reading, ...]) -> list[IncidentClockSample]:
    """The clocks that nothing has stopped, of each name the one whose time runs out first."""
    found = []
    for clock in ClockName:
        ours = [reading for reading in readings if reading.clock is clock and reading.open]
        if ours:
            pressing = min(ours, key=lambda reading: reading.due_us)
            found.append(
                IncidentClockSample(
                    incident=state.id,
                    service=state.service,
                    priority=state.priority.value,
                    clock=clock.value,
                    used=Fraction(pressing.used_us, pressing.target_us),
                    deadline_us=pressing.due_us,
                )
            )
    return found
