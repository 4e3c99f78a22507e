"""What the herald tells of a month, of a storm and of blindness, over real ledgers; each message once over restarts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from monitor.core.exclusion import Book
from monitor.core.fact import Fact, Outage
from monitor.core.incident_fact import Cause, Incident, IncidentEvent
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_instant
from monitor.core.priority import Priority
from monitor.detector.herald import Herald
from monitor.detector.journal import Journal
from monitor.detector.watch import OpenOutage, Watch
from monitor.ledger.command import AnnounceMaintenance, CloseMonth, FileClaim, Notified, NotifyMaintenance
from monitor.ledger.incidents import AUTHOR, Counter, IncidentBook
from monitor.messages import FOR_OPERATORS, Kind, Severity
from monitor.messages.links import Links
from monitor.messages.routing import Manners, Route
from monitor.notify import Quiet
from monitor.storage import OutboxRow, Unit
from tests.ledger.keeping import AGREEMENTS, CLOSING, END, START, Keeper, kept, watched_april

ROUTES = (Route(channel="ops"), Route(channel="letters", partners=("all",)))
CLOSE = CloseMonth(partner="acme", service="portal", month="2026-04")
DOWN = [(100, 150)]  # 50 of 720 hours: 93.05 %


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with kept(tmp_path) as keeper:
        yield keeper


class Teller:
    """A herald over a keeper's ledger. `again` is a restart: another herald, from what was kept."""

    def __init__(self, keeper: Keeper, routes: Sequence[Route] = ROUTES, manners: Manners | None = None) -> None:
        self.keeper, self.routes, self.manners = keeper, routes, manners or Manners()
        self.watches: dict[str, Watch] = {}
        self.again()
        self.turn()

    def again(self) -> None:
        self.herald = Herald(self.keeper.basis, Journal(self.routes), self.manners)
        self.herald.open(self.keeper.store)
        self.seq = self.keeper.store.head().seq

    def turn(self, *found: Fact, at_us: int | None = None) -> list[OutboxRow]:
        store = self.keeper.store
        at_us = self.keeper.now_us if at_us is None else at_us
        self.herald.take(store.entries(after=self.seq))
        self.seq = store.head().seq
        entries = list(store.entries())
        counter = Counter(AGREEMENTS, Book.of(entries), self.keeper.basis)
        rows, marks = self.herald.turn(self.watches, found, IncidentBook.of(entries), counter, store, at_us)
        store.commit(Unit(recorded_at_us=max(at_us, store.head().recorded_at_us), marks=marks))
        return rows

    def told(self, *found: Fact, at_us: int | None = None) -> list[tuple[str, str]]:
        return [(row.kind, row.channel) for row in self.turn(*found, at_us=at_us)]

    def quiet(self) -> list[Quiet]:
        return list(self.herald.quiet)

    def ops(self, *found: Fact, at_us: int) -> list[str]:
        return [row.kind for row in self.turn(*found, at_us=at_us) if row.channel == "ops"]


def outage(service: str, since_us: int, end_us: int | None = None) -> Outage:
    return Outage(id=f"o-{service}", service=service, start_us=since_us, at_us=since_us, end_us=end_us, failing="3/5")


def test_a_closed_month_is_told_with_its_credit_and_its_deadline(keeper: Keeper) -> None:
    watched_april(keeper, DOWN)
    teller = Teller(keeper)
    keeper.given(CLOSE)
    rows = teller.turn()
    assert [(row.kind, row.channel, row.payload["to"]) for row in rows] == [
        ("statement", "ops", "operators"),
        ("credit_due", "ops", "operators"),
        ("statement", "letters", "acme"),
        ("credit_due", "letters", "acme"),
    ]
    said = rows[-1].payload
    assert (said["availability"], said["credit_percent"], said["credit_amount"]) == ("93.055555", "10", "1250000")
    assert said["deadline"] == "2026-05-31T00:00:00+07:00"
    teller.again()
    assert teller.told() == [], "told once, over a restart"
    week_us = END + 30 * DAY_US - 7 * DAY_US
    assert teller.told(at_us=week_us - 1) == []
    assert teller.told(at_us=week_us) == [("claim_deadline", "ops"), ("claim_deadline", "letters")]
    assert teller.told(at_us=week_us + DAY_US) == []


def test_who_has_claimed_is_not_reminded(keeper: Keeper) -> None:
    watched_april(keeper, DOWN)
    teller = Teller(keeper)
    keeper.given(CLOSE)
    teller.turn()
    keeper.given(FileClaim(partner="acme", service="portal", month="2026-04"))
    assert teller.told(at_us=END + 25 * DAY_US) == []


def test_a_month_that_earns_nothing_has_a_statement_and_no_deadline(keeper: Keeper) -> None:
    watched_april(keeper)
    teller = Teller(keeper)
    keeper.given(CLOSE)
    assert teller.told() == [("statement", "ops"), ("statement", "letters")]
    assert teller.told(at_us=END + 29 * DAY_US) == []


def test_a_ledger_that_never_told_anything_tells_no_history(keeper: Keeper) -> None:
    watched_april(keeper, DOWN)
    keeper.given(CLOSE)
    assert Teller(keeper).told() == []


def test_an_extension_is_a_notice_of_its_own_and_the_window_ends_once(keeper: Keeper) -> None:
    keeper.adopt()
    teller = Teller(keeper)
    start_us = keeper.now_us + 3 * DAY_US
    window = {"services": ("portal",), "summary": "upgrade"}
    keeper.given(AnnounceMaintenance(start_us=start_us, end_us=start_us + HOUR_US, **window))  # type: ignore[arg-type]
    keeper.given(
        AnnounceMaintenance(
            start_us=start_us + HOUR_US,
            end_us=start_us + 2 * HOUR_US,
            extends="m-1",
            **window,  # type: ignore[arg-type]
        )
    )
    rows = teller.turn()
    assert [(row.kind, row.payload["maintenance"]) for row in rows if row.channel == "letters"] == [
        ("maintenance_announced", "m-1"),
        ("maintenance_extended", "m-2"),
    ]
    assert len({row.payload["about"] for row in rows}) == 1, "one order for a window and its extension"
    moments = [start_us - DAY_US, start_us, start_us + HOUR_US, start_us + 2 * HOUR_US, start_us + 3 * HOUR_US]
    told = [[kind for kind, channel in teller.told(at_us=at_us) if channel == "ops"] for at_us in moments]
    assert told == [
        ["maintenance_reminder"],
        ["maintenance_started"],
        [],
        ["maintenance_finished"],
        [],
    ]


def test_five_hundred_services_that_nobody_sees_are_one_message(keeper: Keeper) -> None:
    teller = Teller(keeper)
    now_us = keeper.now_us
    teller.watches = {f"s-{n}": Watch(f"s-{n}", now_us, unknown_since_us=now_us) for n in range(500)}
    assert teller.told(at_us=now_us + 5 * MINUTE_US - 1) == []
    assert teller.told(at_us=now_us + 5 * MINUTE_US) == [("blind", "ops")]
    (alert,) = teller.herald.alerts
    assert alert.labels == {"alertname": "JagaMonitoringBlind", "severity": "page"}
    teller.watches["s-500"] = Watch("s-500", now_us, unknown_since_us=now_us)
    teller.again()
    assert teller.told(at_us=now_us + HOUR_US) == []
    for watch in teller.watches.values():
        watch.unknown_since_us = None
    assert teller.told(at_us=now_us + HOUR_US + 1) == [("seeing", "ops")]
    assert teller.herald.alerts == ()


def test_an_outage_that_comes_and_goes_is_always_told_firing_then_resolved(keeper: Keeper) -> None:
    teller = Teller(keeper, manners=Manners(recover_after_us=60 * SECOND_US))
    at_us = keeper.now_us
    sequence: list[str] = []
    for turn in range(40):
        begin_us = at_us + turn * 100 * SECOND_US
        teller.watches = {"portal": Watch("portal", begin_us, OpenOutage(begin_us, (3, 5)))}
        sequence += [
            row.kind for row in teller.turn(outage("portal", begin_us), at_us=begin_us) if row.channel == "ops"
        ]
        gap_us = (30 if turn % 5 else 90) * SECOND_US
        end_us = begin_us + 100 * SECOND_US - gap_us
        teller.watches = {"portal": Watch("portal", end_us)}
        sequence += teller.ops(outage("portal", begin_us, end_us), at_us=end_us)
        quiet_us = end_us + gap_us - 1
        sequence += teller.ops(at_us=quiet_us)
    open_ = False
    for kind in sequence:
        if kind in {"down", "recovered"}:
            assert open_ == (kind == "recovered"), sequence
            open_ = kind == "down"
        else:
            assert open_, "unstable is said of what is down"
    assert teller.herald.journal.suppressed["damped"] > 10
    assert sequence.count("down") == sequence.count("recovered") + open_


def test_trouble_in_a_qualifying_window_is_told_at_its_end_as_the_same_outage(keeper: Keeper) -> None:
    keeper.adopt()
    teller = Teller(keeper)
    start_us = keeper.now_us + 3 * DAY_US
    window = AnnounceMaintenance(services=("portal",), summary="upgrade", start_us=start_us, end_us=start_us + HOUR_US)
    keeper.given(window)
    keeper.given(NotifyMaintenance(maintenance="m-1", notified=Notified(partner="acme", at_us=keeper.now_us + 1)))
    teller.turn()
    began_us = start_us + 10 * MINUTE_US
    teller.watches = {"portal": Watch("portal", began_us, OpenOutage(began_us, (3, 5)))}
    teller.turn(at_us=start_us - 2 * MINUTE_US - 1)
    assert teller.quiet() == []
    teller.turn(at_us=start_us - 2 * MINUTE_US)
    assert teller.quiet() == [Quiet(service="portal", start_us=start_us, end_us=start_us + HOUR_US)]
    assert "down" not in teller.ops(outage("portal", began_us), at_us=began_us)
    assert len(teller.quiet()) == 1
    assert "down" not in teller.ops(at_us=start_us + HOUR_US - 1)
    assert teller.herald.alerts == ()
    rows = teller.turn(at_us=start_us + HOUR_US)
    assert teller.quiet() == []
    (down,) = (row for row in rows if row.kind == "down")
    assert (down.payload["outage"], down.payload["duration"]) == ("o-portal", "3000.000000")
    assert teller.herald.journal.suppressed["maintenance"] == 1


def test_a_partner_is_told_of_a_disruption_without_the_figures_of_others(keeper: Keeper) -> None:
    keeper.adopt()
    teller = Teller(keeper)
    teller.watches = {"portal": Watch("portal", keeper.now_us, OpenOutage(keeper.now_us, (3, 5)))}
    rows = teller.turn(outage("portal", keeper.now_us))
    (letter,) = (row for row in rows if row.channel == "letters")
    assert letter.kind == "disruption"
    assert (letter.payload["partner"], letter.payload["partner_name"]) == ("acme", "Yayasan Acme")
    assert not {"effects", "error", "failing"} & set(letter.payload)


def test_the_first_message_of_an_outage_has_its_incident_and_the_alert_where_to_read_on(
    keeper: Keeper,
) -> None:
    keeper.adopt()
    links = Links(page="https://jaga.example.id", runbooks="https://wiki.example.id/{runbook}.html")
    teller = Teller(keeper, manners=Manners(links=links))
    now_us = keeper.now_us
    teller.watches = {"portal": Watch("portal", now_us, OpenOutage(now_us, (3, 5)))}
    opened = Incident(
        id="i-1",
        event=IncidentEvent.OPENED,
        at_us=now_us,
        service="portal",
        priority=Priority.P1,
        cause=Cause.OUTAGE,
        outage="o-portal",
        found_us=now_us,
        summary="portal is down",
        by=AUTHOR,
    )
    rows = {row.kind: row.payload for row in teller.turn(outage("portal", now_us), opened)}
    down = rows["down"]
    assert (down["incident"], down["priority"]) == ("i-1", "P1")
    zone = keeper.basis.zone("Asia/Jakarta")
    assert down["response_due"] == format_instant(now_us + HOUR_US, zone), "P1: 1 h, around the clock"
    assert down["resolution_due"] == format_instant(now_us + 8 * HOUR_US, zone)
    (alert,) = teller.herald.alerts
    assert alert.annotations == {
        "summary": "portal is down",
        "page_url": "https://jaga.example.id/#service-portal",
        "runbook_url": "https://wiki.example.id/SlaServiceDown.html",
        "outage": "o-portal",
    }


def test_degradation_is_told_by_its_incident(keeper: Keeper) -> None:
    keeper.adopt()
    teller = Teller(keeper)
    opened = Incident(
        id="i-1",
        event=IncidentEvent.OPENED,
        at_us=keeper.now_us,
        service="portal",
        priority=Priority.P2,
        cause=Cause.LATENCY,
        found_us=keeper.now_us - 15 * MINUTE_US,
        summary="answers take more than three times as long as usual",
        by=AUTHOR,
    )
    assert teller.told(opened) == [("degraded", "ops")]
    keeper.put(facts=[opened])
    assert teller.told() == [], "its own fact comes back and is not told again"
    (alert,) = teller.herald.alerts
    assert alert.labels["alertname"] == "JagaServiceDegraded"


@pytest.mark.parametrize(
    ("route", "kinds"),
    [
        (Route(channel="c"), FOR_OPERATORS),
        (Route(channel="c", severity=Severity.PAGE), {Kind.DOWN, Kind.REMINDER, Kind.UNSTABLE, Kind.BLIND}),
        (Route(channel="c", kinds=frozenset({Kind.DOWN, Kind.DISRUPTION})), {Kind.DOWN}),
        (Route(channel="c", services=frozenset({"other"})), set()),
        (Route(channel="c", partners=("acme",), kinds=frozenset({Kind.DISRUPTION})), {Kind.DISRUPTION}),
    ],
)
def test_a_route_takes_what_it_says(route: Route, kinds: set[Kind]) -> None:
    assert {kind for kind in Kind if route.takes(kind, ("portal",))} == kinds


def test_a_route_is_for_those_it_names() -> None:
    named: Mapping[str, Route] = {name: Route(channel="c", partners=(name,)) for name in ("acme", "all")}
    assert named["acme"].is_for("acme")
    assert not named["acme"].is_for("beta")
    assert named["all"].is_for("beta")
    assert not named["all"].is_for(None)
    assert START < CLOSING
