"""`jaga probe`: one check, once, with each step as it went; nothing is recorded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.place import place_options
from monitor.cli.reading import settings
from monitor.telemetry.escaping import escape

_WIDTH = 32
_FULL, _EMPTY = "█", "░"

if TYPE_CHECKING:
    from monitor.plan import Plan
    from probes import Result, StepTrace


@click.command("probe", epilog="Example: jaga probe portal/login-order")
@click.argument("check", metavar="SERVICE/CHECK")
@click.option("--json", "json_", is_flag=True, help="As JSON; with --watch one object a line.")
@click.option("--har", is_flag=True, help="The HTTP steps as an HTTP Archive.")
@click.option("--watch", is_flag=True, help="Again and again, at the check's interval, until interrupted.")
@click.option("--every", type=click.FloatRange(min=0.1), help="With --watch: every so many seconds instead.")
@place_options
def command(check: str, *, json_: bool, har: bool, watch: bool, every: float | None) -> None:
    """Run one check once, from here, and show its steps, phases, failed assertions and extracted values.

    Exit code 1 if it does not pass. One attempt: without confirmation and without controls.
    """
    from monitor.core.instant import format_instant

    if har and (json_ or watch):
        raise click.UsageError("--har is a form of its own: leave --json and --watch away")
    if every is not None and not watch:
        raise click.UsageError("--every says how often --watch looks: give both")
    found = settings()
    plans = found.plans()
    plan = _plan(plans, check)

    def shown(result: Result, started_us: int) -> None:
        if har:
            show.as_json(_archive(plan, result, started_us))
        elif json_:
            document = {"at": format_instant(started_us)} | _document(check, result)
            click.echo(_line(document)) if watch else show.as_json(document)
        else:
            if watch:
                click.echo(format_instant(started_us))
            for line in _tree(check, result):
                click.echo(line)

    every_us = None if not watch else plan.interval_us if every is None else round(every * 1e6)
    result = asyncio.run(_probed(found.location, plan, shown, every_us))
    if result.outcome.value != "pass":
        raise AnswerIsNoError(f"{check}: {_said(result)}")


def _plan(plans: Sequence[Plan], check: str) -> Plan:
    known = {f"{plan.service}/{plan.check}": plan for plan in plans}
    if check not in known:
        import difflib

        near = difflib.get_close_matches(check, known, n=1)
        meant = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known) or 'none'}"
        raise click.BadParameter(f"there is no check {check!r}; {meant}", param_hint="SERVICE/CHECK")
    return known[check]


async def _probed(location: str, plan: Plan, shown: Callable[[Result, int], None], every_us: int | None) -> Result:
    """The result, shown; with `every_us` again and again until SIGINT, then the last."""
    from monitor.clock import live_clock
    from monitor.config import secret
    from monitor.runner import Runner
    from probes._net import LiveNetwork

    loop = asyncio.get_running_loop()
    clock, network = live_clock(loop), LiveNetwork()
    interrupt = asyncio.Event()
    interrupted = asyncio.ensure_future(interrupt.wait())
    if every_us is not None:
        loop.add_signal_handler(signal.SIGINT, interrupt.set)
    try:
        runner = Runner(location=location, clock=clock, network=network, secret=secret)
        while True:
            started_us = clock.now_us()
            result = await runner.probe_once(plan)
            shown(result, started_us)
            if every_us is None or interrupt.is_set():
                return result
            turn = asyncio.ensure_future(clock.wait_until(started_us + every_us))
            await asyncio.wait([turn, interrupted], return_when=asyncio.FIRST_COMPLETED)
            turn.cancel()
            if interrupt.is_set():
                return result
    finally:
        interrupted.cancel()
        network.close()
        clock.close()


def _archive(plan: Plan, result: Result, started_us: int) -> dict[str, Any]:
    from monitor.cli.har import archive
    from monitor.cli.version import version

    return archive(plan.transaction, result, started_us=started_us, version=version())


def _line(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, ensure_ascii=False)


def _document(check: str, result: Result) -> dict[str, Any]:
    return {
        "check": check,
        "outcome": result.outcome.value,
        "reason": result.reason.value if result.reason else None,
        "step": result.step,
        "message": result.message,
        "steps": [_step(step) for step in result.steps],
    }


def _step(step: StepTrace) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind,
        "final": step.final,
        "target": step.target,
        "duration_ms": _ms(step.duration_ns),
        "phases_ms": {phase.value: _ms(spent_ns) for phase, spent_ns in step.phases_ns.items()},
        "http_status": step.http_status,
        "cert_not_after_s": step.cert_not_after_s,
        "redirects": list(step.redirects),
        "failed_assertions": list(step.failed_assertions),
        "extracted": dict(step.extracted),
        "error": step.error,
    }


def _tree(check: str, result: Result) -> list[str]:
    lines = [f"{check}: {_said(result)}"]
    for step in result.steps:
        final = " (finally)" if step.final else ""
        status = f", status {step.http_status}" if step.http_status is not None else ""
        lines.append(f"├─ {step.name}{final}: {step.kind} {step.target}, {_ms(step.duration_ns):.1f} ms{status}")
        details = [
            *_waterfall(step),
            *(f"redirected to {address}" for address in step.redirects),
            f"certificate chain until {_date(step.cert_not_after_s)}" if step.cert_not_after_s is not None else "",
            *(f"failed: {assertion}" for assertion in step.failed_assertions),
            *(f"extracted {name} = {value}" for name, value in step.extracted.items()),
            f"error: {step.error}" if step.error else "",
        ]
        lines.extend(f"│    {detail}" for detail in details if detail)
    return [escape(line) for line in lines]


def _waterfall(step: StepTrace) -> list[str]:
    """Each phase as a bar where it lies within the step: `connect    ░██░░░░░  0.3 ms`."""
    lines: list[str] = []
    whole_ns, begun_ns = max(step.duration_ns, 1), 0
    for phase, spent_ns in step.phases_ns.items():
        first = min(_WIDTH - 1, begun_ns * _WIDTH // whole_ns)
        last = min(_WIDTH, max(first + 1, -(-(begun_ns + spent_ns) * _WIDTH // whole_ns)))
        bar = _EMPTY * first + _FULL * (last - first) + _EMPTY * (_WIDTH - last)
        lines.append(f"{phase.value:<10} {bar} {_ms(spent_ns):8.1f} ms")
        begun_ns += spent_ns
    return lines


def _date(unix_s: int) -> str:
    from monitor.core.instant import SECOND_US, to_datetime

    return to_datetime(unix_s * SECOND_US).isoformat(sep=" ", timespec="minutes").replace("+00:00", " UTC")


def _said(result: Result) -> str:
    where = f" in {result.step!r}" if result.step else ""
    why = f" ({result.reason.value}{where}: {result.message})" if result.reason else ""
    return f"{result.outcome.value}{why}"


def _ms(spent_ns: int) -> float:
    return round(spent_ns / 1e6, 3)
