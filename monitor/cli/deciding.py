"""How a writing verb decides: through the one door, as the owner of the store or by asking the daemon that owns it; or
as a preview that records nothing.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, TypeVar

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.reading import basis_of, open_reader, open_store, settings, store_file
from monitor.clock import wall_us
from monitor.config import TZ_VERSION
from monitor.core.fact import Close
from monitor.core.wire import write_fact
from monitor.ledger.act import Done, Order, act
from monitor.ledger.command import Command, write_command
from monitor.ledger.decide import Refused
from monitor.storage import StoreOwnedError
from monitor.telemetry.escaping import escape

_F = TypeVar("_F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a decision is asked for: by whom (None: the login), also over closed months, only as a preview, and how to
    answer.
    """

    named: str | None
    restate: bool
    preview: bool
    json: bool


def asked_options(verb: _F) -> Callable[..., object]:
    """Give a writing verb its common options, handed over as one `asked`."""

    def gathered(*args: Any, by: str | None, restate: bool, preview: bool, json_: bool, **kwargs: Any) -> object:  # noqa: ANN401
        asked = Asked(named=by, restate=restate, preview=preview, json=json_)
        return verb(*args, asked=asked, **kwargs)

    update_wrapper(gathered, verb)
    for option in (
        click.option("--json", "json_", is_flag=True, help="What was recorded, as JSON."),
        click.option("--preview", is_flag=True, help="Record nothing; show what it would do to the months."),
        click.option("--restate", is_flag=True, help="Also where it touches a closed month: for its next version."),
        click.option("--by", help="Who decides. Default: your login."),
    ):
        gathered = option(gathered)
    return gathered


def decide(asked: Asked, command: Command) -> None:
    """Record what follows from the command and say so; a refusal is the answer "no", with its reason."""
    if asked.preview:
        _preview(asked, command)
        return
    try:
        recorded = _as_owner(asked, command)
    except StoreOwnedError as owned:
        recorded = _through_daemon(asked, command, owned)
    if asked.json:
        show.as_json(recorded)
        return
    for fact in recorded["recorded"]:
        click.echo(escape(f"recorded {fact['type']} {_about(fact)}"))
    for remark in recorded["remarks"]:
        click.echo(escape(f"  {remark}"))


def _as_owner(asked: Asked, command: Command) -> dict[str, Any]:
    """Take the store and decide; StoreOwnedError while a daemon has it."""
    from monitor.cli.signing import refuse_contradicted, sign_checkpoint

    basis = basis_of(settings())
    with open_store() as store:
        refuse_contradicted(store)
        done = act(store, basis, _order(asked, command))
        if isinstance(done, Done) and any(isinstance(entry.fact, Close) for entry in done.entries):
            sign_checkpoint(store)
    if isinstance(done, Refused):
        raise AnswerIsNoError(done.reason)
    return {"recorded": [write_fact(entry.fact) for entry in done.entries], "remarks": list(done.remarks)}


def _through_daemon(asked: Asked, command: Command, owned: StoreOwnedError) -> dict[str, Any]:
    """Ask the daemon that owns the store, over the socket beside it. It answers what was recorded, or `refused`."""
    from monitor import control

    beside = store_file()
    if beside is None:
        raise owned
    request = {"do": "decide", "command": write_command(command), "by": asked.named, "over_closed": asked.restate}
    try:
        answer = control.ask(beside.parent, request)
    except control.NobodyThereError:
        raise owned from None
    if "error" in answer:
        raise control.ControlError(f"the daemon could not decide: {answer['error']}")
    if "refused" in answer:
        raise AnswerIsNoError(str(answer["refused"]))
    return answer


def _order(asked: Asked, command: Command) -> Order:
    return Order(
        command=command,
        by=asked.named or getpass.getuser(),
        now_us=wall_us(),
        tz_version=TZ_VERSION,
        over_closed=asked.restate,
    )


def _preview(asked: Asked, command: Command) -> None:
    from monitor.ledger.preview import effects

    basis = basis_of(settings())
    with open_reader() as reader, reader.snapshot() as frozen:
        found = effects(frozen, basis, _order(asked, command))
    if isinstance(found, Refused):
        raise AnswerIsNoError(found.reason)
    if asked.json:
        show.as_json([effect._asdict() for effect in found])
        return
    show.table(
        ("statement", "availability", "then", "credit", "then"),
        [(e.statement, e.availability_before, e.availability_after, e.credit_before, e.credit_after) for e in found],
        empty="No figure of any month would change.",
    )


_NAMING = ("id", "event", "maintenance", "of", "month", "partner", "service")


def _about(fact: dict[str, Any]) -> str:
    """What names a fact: its id, what it speaks of, or its month."""
    named = [fact.get(name) for name in _NAMING if fact.get(name)]
    return " ".join(map(str, named))
