"""F15-F17: our own uplink and resolver break, really; not a second of it is the target's, and the reason is right."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from monitor.core.fact import Outage
from monitor.core.run import Outcome, Run
from monitor.storage.sqlite import open_reader
from tests.faults_network.conftest import Isolated

pytestmark = pytest.mark.slow

LIVE = ("direct", "named")
Cut = Callable[[Isolated], None]

DROP = ("-j", "DROP")
REJECT = ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
UNREACHABLE = ("-j", "REJECT", "--reject-with", "icmp-host-unreachable")

CUTS: dict[str, tuple[Cut, Cut]] = {
    "our end of the wire is down": (lambda net: net.wire("down"), lambda net: net.wire("up")),
    "the far end is down": (lambda net: net.far_wire("down"), lambda net: net.far_wire("up")),
    "dropped": (lambda net: net.rule("-I", *DROP), lambda net: net.rule("-D", *DROP)),
    "reset": (lambda net: net.rule("-I", *REJECT), lambda net: net.rule("-D", *REJECT)),
    "unreachable": (lambda net: net.rule("-I", *UNREACHABLE), lambda net: net.rule("-D", *UNREACHABLE)),
}


@contextmanager
def broken(isolated: Isolated, how: str) -> Iterator[None]:
    cut, mend = CUTS[how]
    cut(isolated)
    try:
        yield
    finally:
        mend(isolated)


def reasons(runs: list[Run], service: str) -> set[str | None]:
    """Why runs of a service say nothing, but for what a busy machine adds by itself: that is our own fault too."""
    found = {run.reason for run in runs if run.service == service and run.outcome is not Outcome.PASS}
    return found - {"stalled", "late"}


def failed(runs: list[Run], *services: str) -> list[Run]:
    return [run for run in runs if run.service in services and run.outcome is Outcome.FAIL]


def blind(runs: list[Run], *services: str) -> bool:
    """No check of the services can look."""
    cannot = {
        (run.service, run.check) for run in runs if run.outcome is Outcome.INCONCLUSIVE and run.service in services
    }
    return len(cannot) == 4 * len(services)


@pytest.mark.parametrize("how", CUTS)
def test_an_uplink_that_is_cut_is_our_own(isolated: Isolated, how: str) -> None:
    mark = isolated.mark()
    with broken(isolated, how):
        isolated.until("blind", mark, lambda runs: blind(runs, *LIVE))
        isolated.until_shown('sla_monitor_connectivity_up{location="here-1",reference="10.204.0.11:443"} 0.0')
    isolated.until_well()
    runs = [run for _arrival, run in isolated.runs(mark)]
    assert failed(runs, *LIVE) == []
    assert reasons(runs, "direct") == {"own_network"}
    assert reasons(runs, "named") == {"own_network"}


def test_cuts_that_begin_and_end_in_mid_probe_invent_nothing(isolated: Isolated) -> None:
    """Without the second bracket of controls, an uplink that comes back between probe and control invents outages."""
    mark, chance = isolated.mark(), random.Random(6)
    for _ in range(15):
        with broken(isolated, chance.choice(("dropped", "reset", "unreachable"))):
            time.sleep(chance.uniform(0.05, 0.9))
        time.sleep(chance.uniform(0.0, 0.4))
    isolated.until_well()
    runs = [run for _arrival, run in isolated.runs(mark)]
    assert failed(runs, *LIVE) == []
    assert any(run.attempts > 1 or run.outcome is Outcome.INCONCLUSIVE for run in runs), "no cut met a probe"


@pytest.mark.parametrize("mode", ["silent", "servfail", "nxdomain", "wrong"])
def test_a_resolver_that_fails_or_lies_is_our_own(isolated: Isolated, mode: str) -> None:
    mark = isolated.mark()
    isolated.resolver(mode)
    try:
        isolated.until("blind by name", mark, lambda runs: blind(runs, "named"))
    finally:
        isolated.resolver("honest")
    isolated.until_well()
    runs = [run for _arrival, run in isolated.runs(mark)]
    assert failed(runs, *LIVE) == []
    assert reasons(runs, "named") == {"own_resolver"}
    assert reasons(runs, "direct") == set(), "a target by address needs no resolver"
    assert failed(runs, "dead"), "and what is really down is seen meanwhile"


def test_in_all_that_there_was_no_downtime_but_the_real_one(isolated: Isolated) -> None:
    isolated.until_well()
    reader = open_reader(isolated.folder / "ledger.db")
    try:
        facts = [entry.fact for entry in reader.entries(types=("outage",))]
    finally:
        reader.close()
    outages = [fact for fact in facts if isinstance(fact, Outage)]
    assert {fact.service for fact in outages} == {"dead"}
