"""The verb `reload`: the running daemon reads its configuration again, over its control socket."""

from __future__ import annotations

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError, WrongUseError
from monitor.cli.place import place_options
from monitor.telemetry.escaping import escape


@click.command(
    name="reload",
    epilog='Example: jaga reload --while-down --reason "the check of the old log-in page, gone since Monday, fails"',
)
@click.option("--while-down", is_flag=True, help="Also the check lists of services that are not up; with --reason.")
@click.option("--reason", help="Why a list has to change while its service is not up: recorded with it.")
@click.option("--by", help="Who wants it. Default: your login.")
@click.option("--json", "json_", is_flag=True, help="The answer as JSON.")
@place_options
def command(*, while_down: bool, reason: str | None, by: str | None, json_: bool) -> None:
    """Have the running daemon read its configuration again, as SIGHUP does: all of it, or none.

    A service that is not up keeps its check list, so that nobody ends an outage by changing what is measured; the
    answer is then "no" for it. --while-down with a --reason changes it all the same, on record.
    """
    from monitor import control
    from monitor.cli.reading import store_file

    if while_down != bool(reason and reason.strip()):
        raise WrongUseError("--while-down needs --reason, and --reason goes with --while-down")
    beside = store_file()
    if beside is None:
        raise WrongUseError("a daemon on PostgreSQL has no control socket: send it SIGHUP")
    answer = control.ask(beside.parent, {"do": "reload", "while_down": while_down, "reason": reason, "by": by})
    if "refused" in answer:
        raise WrongUseError(str(answer["refused"]))
    if "error" in answer:
        raise control.ControlError(f"the daemon could not reload: {answer['error']}")
    kept = list(answer["kept"])
    if json_:
        show.as_json({"reloaded": True, "kept": kept})
    elif not kept:
        click.echo("The new configuration is in force.")
    if kept:
        named = escape(", ".join(kept))
        raise AnswerIsNoError(
            f"in force but for {named}: not up, keeps its check list (--while-down --reason changes it)"
        )
