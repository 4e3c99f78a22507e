"""The command line: `jaga VERB`. A verb is imported when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from monitor.cli import exits
from monitor.cli.lazy import LazyGroup, Verb
from monitor.cli.place import Place, root_options

_VERBS = {
    "run": Verb("monitor.cli.run", "Watch the configured services: the daemon."),
    "demo": Verb("monitor.cli.demo", "Show it all on a sample SaaS that breaks; leaves nothing behind."),
    "init": Verb("monitor.cli.init", "Write a commented starter configuration."),
    "check": Verb("monitor.cli.check", "Validate the configuration: every problem at once."),
    "probe": Verb("monitor.cli.probe", "Run one check once and show each step."),
    "reload": Verb("monitor.cli.reload", "Have the running daemon read its configuration again."),
    "status": Verb("monitor.cli.status", "How the services stand now."),
    "statement": Verb("monitor.cli.statement", "The statements of a month."),
    "explain": Verb("monitor.cli.explain", "The arithmetic of a month, line by line."),
    "close": Verb("monitor.cli.close", "Close a month, or make its next version."),
    "maintenance": Verb("monitor.cli.maintenance", "Announce, extend, finish and cancel maintenance windows."),
    "exclude": Verb("monitor.cli.exclude", "Exclude spans from the count, with reason and evidence."),
    "adjudicate": Verb("monitor.cli.adjudicate", "Rule on unknown time."),
    "annul": Verb("monitor.cli.annul", "Void runs that were the monitor's own fault."),
    "claim": Verb("monitor.cli.claim", "File and list service credit claims."),
    "incident": Verb("monitor.cli.incident", "Report incidents; their clocks and escalations."),
    "notify": Verb("monitor.cli.notify", "Test messages, and what waits to be told."),
    "credit-note": Verb("monitor.cli.credit_note", "What a partner is credited for a month, over all its services."),
    "report": Verb("monitor.cli.report", "The yearly review."),
    "ledger": Verb("monitor.cli.ledger", "Verify, export, import and measure the record itself."),
    "verify": Verb("monitor.cli.verify", "Recompute a statement from an export, without the store."),
    "backup": Verb("monitor.cli.backup", "Copy the ledger to one file, also while the daemon runs."),
    "restore": Verb("monitor.cli.restore", "Put a backup in the place of the ledger."),
    "token": Verb("monitor.cli.token", "Make, revoke and list the tokens of the API."),
    "clock": Verb("monitor.cli.clock", "When a target on the business clock is due."),
}

_EPILOG = """\b
Exit codes: 0 done, 1 the answer is "no", 2 wrong use or bad configuration, 3 the environment failed.
Shell completion: eval "$(_JAGA_COMPLETE=bash_source jaga)" (or zsh_source, fish_source).
Example: jaga demo"""


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from monitor.cli.version import version

        click.echo(f"jaga {version()}")
        ctx.exit()


@click.group(
    name="jaga",
    cls=LazyGroup,
    verbs=_VERBS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print it.")
@root_options
@click.pass_context
def jaga(ctx: click.Context) -> None:
    """Watch services by synthetic transactions, and keep a ledger that turns each month into a statement."""
    ctx.ensure_object(Place)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb and exit with its code: the entry point."""
    sys.exit(exits.code_of(lambda: jaga.main(arguments, prog_name="jaga", standalone_mode=False)))
