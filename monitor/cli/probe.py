"""`jaga probe`: one check, once, with each step as it went; nothing is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.place import place_options
from monitor.cli.reading import settings
from monitor.telemetry.escaping import escape

if TYPE_CHECKING:
    from monitor.runner import Plan
    from probes import Result, StepTrace


@click.command("probe", epilog="Example: jaga probe portal/login-order")
@click.argument("check", metavar="SERVICE/CHECK")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def command(check: str, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Run one check once, from here, and show its steps, phases, failed assertions and extracted values.

    Exit code 1 if it does not pass. One attempt: without confirmation and without controls.
    """
    from monitor.app import plan_of

    found = settings()
    plans = [plan_of(service, entry) for service in found.services for entry in service.checks]
    plan = _plan(plans, check)
    result = asyncio.run(_once(found.location, plan))
    if json_:
        show.as_json(_document(check, result))
    else:
        for line in _tree(check, result):
            click.echo(line)
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


async def _once(location: str, plan: Plan) -> Result:
    from monitor.clock import live_clock
    from monitor.config import secret
    from monitor.runner import Runner
    from probes._net import LiveNetwork

    clock, network = live_clock(asyncio.get_running_loop()), LiveNetwork()
    try:
        runner = Runner(location=location, clock=clock, network=network, secret=secret)
        return await runner.probe_once(plan)
    finally:
        network.close()
        clock.close()


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
        phases = ", ".join(f"{phase.value} {_ms(spent_ns):.1f} ms" for phase, spent_ns in step.phases_ns.items())
        details = [
            phases,
            *(f"redirected to {address}" for address in step.redirects),
            *(f"failed: {assertion}" for assertion in step.failed_assertions),
            *(f"extracted {name} = {value}" for name, value in step.extracted.items()),
            f"error: {step.error}" if step.error else "",
        ]
        lines.extend(f"│    {detail}" for detail in details if detail)
    return [escape(line) for line in lines]


def _said(result: Result) -> str:
    where = f" in {result.step!r}" if result.step else ""
    why = f" ({result.reason.value}{where}: {result.message})" if result.reason else ""
    return f"{result.outcome.value}{why}"


def _ms(spent_ns: int) -> float:
    return round(spent_ns / 1e6, 3)
