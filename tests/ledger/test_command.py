"""Commands in their written form: what the control socket carries comes back as it was."""

from __future__ import annotations

import json

import pytest

from monitor.core.fact import ExclusionReason, Ruling
from monitor.core.incident_fact import Attachment, EscalationReason
from monitor.core.priority import ClockName, Priority
from monitor.ledger.command import (
    COMMANDS,
    Adjudicate,
    AnnounceMaintenance,
    Annul,
    ApplyCredit,
    CancelMaintenance,
    CloseMonth,
    Command,
    CommandError,
    Exclude,
    FileClaim,
    FinishMaintenance,
    Notified,
    NotifyMaintenance,
    Reverse,
    read_command,
    write_command,
)
from monitor.ledger.incidents.command import (
    AcknowledgeIncident,
    AssignIncident,
    ChangePriority,
    CloseIncident,
    ConveneCall,
    EscalateIncident,
    FixIncident,
    OpenIncident,
    PauseIncident,
    ReopenIncident,
    ResumeIncident,
    SendPlan,
    SupplyIncident,
    WorkAroundIncident,
)

EXAMPLES: tuple[Command, ...] = (
    AnnounceMaintenance(
        services=("portal", "api"),
        start_us=1,
        end_us=2,
        summary="db",
        partners=("acme",),
        rule="FREQ=DAILY;COUNT=2",
        notified=(Notified(partner="acme", at_us=0, evidence="letter"),),
    ),
    NotifyMaintenance(maintenance="m-1", notified=Notified(partner="acme", at_us=5)),
    FinishMaintenance(maintenance="m-1", at_us=7),
    CancelMaintenance(maintenance="m-1"),
    Exclude(reason=ExclusionReason.ATTACK, services=("portal",), start_us=1, end_us=2, evidence="log"),
    Reverse(of="x-1", note="wrong"),
    Adjudicate(service="portal", start_us=1, end_us=2, verdict=Ruling.UP, evidence="log"),
    Annul(service="portal", check="login", location="jkt-1", start_us=1, end_us=2, note="our fault"),
    FileClaim(partner="acme", service="portal", month="2026-04"),
    ApplyCredit(partner="acme", service="portal", month="2026-04", invoice="INV-7"),
    CloseMonth(partner="acme", service="portal", month="2026-04", restate_reason="late runs"),
    OpenIncident(
        service="portal",
        priority=Priority.P1,
        summary="down",
        partner="acme",
        reporter="personal:" + 64 * "1",
        identity=("name", "email"),
        pieces={"actual": "error 500"},
        attachments=(Attachment(name="a.png", media_type="image/png", size_bytes=7, digest="sha256:02"),),
        at_us=5,
    ),
    SupplyIncident(incident="i-1", pieces={"steps": "log in"}),
    AcknowledgeIncident(incident="i-1"),
    AssignIncident(incident="i-1", assignee="dewi"),
    WorkAroundIncident(incident="i-1", note="restarted"),
    FixIncident(incident="i-1", note="patched"),
    CloseIncident(incident="i-1"),
    ReopenIncident(incident="i-1", note="again"),
    PauseIncident(incident="i-1", note="waits", partner="acme", clock=ClockName.RESOLUTION),
    ResumeIncident(incident="i-1", partner="acme"),
    ChangePriority(incident="i-1", priority=Priority.P2),
    EscalateIncident(incident="i-1", reason=EscalationReason.STALLED_PROGRESS, note="nothing for a day"),
    SendPlan(incident="i-1", note="plan"),
    ConveneCall(incident="i-1", note="at 10"),
)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_command_comes_back_as_it_was_written(command: Command) -> None:
    assert read_command(json.loads(json.dumps(write_command(command)))) == command


def test_there_is_an_example_of_every_command() -> None:
    assert {type(example) for example in EXAMPLES} == set(COMMANDS.values())


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "verb None is unknown"),
        ({"verb": "drop table"}, "verb 'drop table' is unknown; there are maintenance announce"),
        ({"verb": "exclude reverse", "of": "x-1"}, "note"),
        ({"verb": "exclude reverse", "of": "x-1", "note": "n", "by": "me"}, "by is unknown; there are note, of"),
        ({"verb": "exclude reverse", "of": 7, "note": "n"}, "exclude reverse: of: "),
        ({"verb": "claim file", "partner": "a", "service": "b", "month": ["2026-04"]}, "month"),
    ],
)
def test_a_broken_command_names_what_is_wrong(written: dict[str, object], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        read_command(written)
