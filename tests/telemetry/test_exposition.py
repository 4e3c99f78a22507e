"""The metrics as scraped: the golden list of names, types and labels; values; caching; what must not be there."""

from __future__ import annotations

import asyncio
import gc
import math
import shutil
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.telemetry.exposition import Exposition
from monitor.telemetry.snapshot import Histogram, Snapshot
from tests.telemetry import example

GOLDEN = Path(__file__).with_name("golden.txt")


class _Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


async def _scrape(snapshot: Snapshot, *, money: bool = True) -> str:
    body, kind = await Exposition(lambda: snapshot, now_ns=_Clock(), expose_money=money).render("")
    assert kind.startswith("text/plain")
    return body.decode()


def _samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _described(text: str) -> list[str]:
    """`name type labels` for each of our families, sorted."""
    lines = []
    for family in text_string_to_metric_families(text):
        if family.name.startswith("sla_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
            lines.append(f"{name} {family.type} {','.join(sorted(labels)) or '-'}")
    return sorted(lines)


async def test_names_types_and_labels_are_a_promise() -> None:
    described = _described(await _scrape(example.snapshot()))
    assert described == GOLDEN.read_text().splitlines()


async def test_values() -> None:
    found = _samples(await _scrape(example.snapshot()))

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    at = {"sla_service": "portal", "check": "login", "location": "jkt-1"}
    assert value("sla_check_success", **at) == 0
    assert value("sla_check_failures_total", **at, reason="http_status") == 2
    assert value("sla_check_failures_total", **at, reason="dns") == 0
    assert value("sla_check_assertion_failures_total", **at, assertion="order.status") == 0
    assert value("sla_check_http_status_code", **at) == 500
    assert value("sla_check_last_run_timestamp_seconds", **at) == 1_775_000_000.25
    assert value("sla_check_last_phase_duration_seconds", **at, step="order", phase="tls") == 0.005
    assert value("sla_check_duration_seconds_bucket", sla_service="portal", check="login", le="0.25") == 2
    assert value("sla_check_duration_seconds_count", sla_service="portal", check="login") == 3
    assert value("sla_service_up", sla_service="portal") == 0
    assert value("sla_service_state", sla_service="portal", state="down") == 1
    assert value("sla_service_failure_ratio", sla_service="portal") == 0.6
    assert value("sla_service_coverage_ratio", sla_service="portal") == 0.8
    assert value("sla_service_downtime_seconds_total", sla_service="portal", reason="majority") == 1.5
    month = {"partner": "acme", "sla_service": "portal", "period": "current"}
    assert value("sla_ledger_best_case_availability_ratio", **month) == 0.949
    assert value("sla_ledger_excluded_seconds", **month, reason="attack") == 0
    assert value("sla_ledger_error_budget_remaining_seconds", **month) == pytest.approx(-1 / 3)
    assert value("sla_ledger_credit_amount_rupiah", **month) == 1_250_000
    assert value("sla_incidents_open", sla_service="portal", priority="P1") == 1
    assert value("sla_incidents_open", sla_service="portal", priority="P3") == 0
    assert value("sla_incident_clock_breaches_total", priority="P1", clock="response") == 1
    clock = {"incident": "i-1", "sla_service": "portal", "priority": "P1", "clock": "resolution"}
    assert value("sla_incident_clock_used_ratio", **clock) == 0.75
    assert value("sla_incident_clock_deadline_timestamp_seconds", **clock) == 1_775_000_000
    assert value("sla_incident_response_seconds_count", priority="P1") == 1


async def test_maintenance_goes_before_the_verdict_but_up_stays_zero() -> None:
    service = replace(example.service(), in_maintenance=True)
    found = _samples(await _scrape(replace(example.snapshot(), services=(service,))))
    states = {dict(labels)["state"]: value for (name, labels), value in found.items() if name == "sla_service_state"}
    assert states == {"up": 0, "down": 0, "maintenance": 1, "unknown": 0}
    assert found["sla_service_up", (("sla_service", "portal"),)] == 0


@pytest.mark.parametrize(("verdict", "up"), [("up", 1), ("down", 0), ("unknown", 1)])
async def test_only_down_is_not_up(verdict: str, up: int) -> None:
    service = replace(example.service(), verdict=verdict)
    found = _samples(await _scrape(replace(example.snapshot(), services=(service,))))
    assert found["sla_service_up", (("sla_service", "portal"),)] == up
    states = {dict(labels)["state"]: value for (name, labels), value in found.items() if name == "sla_service_state"}
    assert states == {state: float(state == verdict) for state in ("up", "down", "maintenance", "unknown")}


async def test_without_evidence_the_failure_ratio_is_not_a_number() -> None:
    service = replace(example.service(), verdict="unknown", failing=0, unknown=5)
    found = _samples(await _scrape(replace(example.snapshot(), services=(service,))))
    assert math.isnan(found["sla_service_failure_ratio", (("sla_service", "portal"),)])


async def test_money_is_opt_in_and_created_series_are_off() -> None:
    text = await _scrape(example.snapshot(), money=False)
    assert "rupiah" not in text
    assert "_created" not in text


async def test_names_of_people_and_targets_stand_on_info_alone() -> None:
    text = await _scrape(example.snapshot())
    assert {line.split("{")[0] for line in text.splitlines() if "api.example.id" in line} == {"sla_check_info"}
    assert {line.split("{")[0] for line in text.splitlines() if "Portal and API" in line} == {"sla_service_info"}


async def test_a_retired_check_is_gone_at_the_next_scrape() -> None:
    clock, snapshots = _Clock(), [example.snapshot(), replace(example.snapshot(), checks=())]
    exposition = Exposition(lambda: snapshots.pop(0), now_ns=clock)
    first, _ = await exposition.render("")
    clock.now += 2_000_000_000
    second, _ = await exposition.render("")
    assert b'check="login"' in first
    assert b'check="login"' not in second


async def test_locations_of_a_check_share_its_histogram() -> None:
    snapshot = replace(example.snapshot(), checks=(example.check("jkt-1"), example.check("sby-1")))
    found = _samples(await _scrape(snapshot))
    assert found["sla_check_duration_seconds_count", (("check", "login"), ("sla_service", "portal"))] == 6


async def test_concurrent_scrapes_share_one_rendering_off_the_loop() -> None:
    threads: list[str] = []

    def take() -> Snapshot:
        threads.append(threading.current_thread().name)
        return example.snapshot()

    clock = _Clock()
    exposition = Exposition(take, now_ns=clock)
    bodies = await asyncio.gather(*(exposition.render("") for _ in range(5)))
    assert len(threads) == 1
    assert threads[0] != threading.main_thread().name
    assert len({body for body, _ in bodies}) == 1
    clock.now += 999_999_999
    await exposition.render("")
    assert len(threads) == 1
    clock.now += 1
    await exposition.render("")
    assert len(threads) == 2


async def test_a_failing_snapshot_is_not_kept() -> None:
    answers: list[Snapshot | OSError] = [OSError("disk"), example.snapshot()]

    def take() -> Snapshot:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    exposition = Exposition(take, now_ns=_Clock())
    with pytest.raises(OSError, match="disk"):
        await exposition.render("")
    body, _ = await exposition.render("")
    assert b"sla_build_info" in body


async def test_openmetrics_when_asked_for() -> None:
    exposition = Exposition(example.snapshot, now_ns=_Clock())
    body, kind = await exposition.render("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_hostile_label_values_are_escaped() -> None:
    service = replace(example.service(), name='x"} 1\nsla_service_up{a="\u202e')
    found = _samples(await _scrape(replace(example.snapshot(), services=(service,))))
    assert ("sla_service_info", (("display_name", service.name), ("sla_service", "portal"))) in found


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (apt install prometheus)")
    page = asyncio.run(_scrape(example.snapshot()))
    said = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=200
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_a_duration_on_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((10, 20))
    for duration_us in (0, 10, 11, 20, 21):
        histogram.observe(duration_us)
    assert histogram.tally().counts == (2, 2, 1)
    assert histogram.tally().sum_us == 62


@pytest.mark.parametrize("breaks", [False, True])
async def test_the_garbage_collector_rests_while_a_page_is_made(breaks: bool) -> None:
    collects: list[bool] = []

    def take() -> Snapshot:
        collects.append(gc.isenabled())
        if breaks:
            raise OSError("no snapshot")
        return example.snapshot()

    with suppress(OSError):
        await Exposition(take, now_ns=_Clock()).render("")
    assert collects == [False]
    assert gc.isenabled()
