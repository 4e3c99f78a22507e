"""`jaga token`: what opens the API. Tokens are shown once, kept as hashes, and refused at once when revoked."""

from __future__ import annotations

import getpass
from typing import Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.parse import DURATION
from monitor.cli.place import place_options
from monitor.cli.reading import configured, store_address
from monitor.clock import wall_us
from monitor.core.instant import format_instant
from monitor.telemetry.escaping import escape
from monitor.web.tokens import PARTNER_SCOPES, Scope, Token, TokenError, Tokens, Wish, tokens_path

DAYS = "90d"


@click.group("token", epilog="Example: jaga token list")
def command() -> None:
    """API tokens. They lie as hashes in a file beside the ledger; a running daemon sees each change at once."""


@command.command(
    "create",
    epilog="Example: jaga token create acme-portal --scope statements --partner acme --expires 365d",
)
@click.argument("name", required=False)
@click.option("--scope", "scopes", type=click.Choice([scope.value for scope in Scope]), multiple=True, required=True)
@click.option("--partner", help=f"Only for this partner's own: {', '.join(sorted(PARTNER_SCOPES))}.")
@click.option("--expires", "within_us", type=DURATION, help=f"For how long it holds. Default: {DAYS}.")
@click.option("--never", is_flag=True, help="It never expires.")
@click.option("--by", help="Who makes it. Default: your login.")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def create(
    name: str | None,
    scopes: tuple[str, ...],
    partner: str | None,
    within_us: int | None,
    by: str | None,
    *,
    never: bool,
    json_: bool,
) -> None:
    """Make a token and print it, once. NAME (default: the next free t-N) is its id and the author of its decisions."""
    if never and within_us is not None:
        raise click.UsageError("--never and --expires exclude each other")
    if partner is not None:
        _known(partner)
    now_us = wall_us()
    lasting_us = DURATION.convert(DAYS, None, None) if within_us is None else within_us
    wish = Wish(
        id=name,
        scopes=frozenset(map(Scope, scopes)),
        partner=partner,
        expires_us=None if never else now_us + lasting_us,
    )
    try:
        token, text = _tokens().create(wish, by=by or getpass.getuser(), now_us=now_us)
    except TokenError as error:
        raise click.UsageError(str(error)) from error
    if json_:
        show.as_json({**_document(token, now_us), "token": text})
        return
    until = "for ever" if token.expires_us is None else f"until {format_instant(token.expires_us)}"
    click.echo(f"token {token.id} holds {until}; it is shown this once:", err=True)
    click.echo(text)


@command.command("revoke", epilog="Example: jaga token revoke acme-portal")
@click.argument("name")
@place_options
def revoke(name: str) -> None:
    """Refuse the token NAME from its next request on."""
    try:
        token = _tokens().revoke(name, now_us=wall_us())
    except TokenError as error:
        raise AnswerIsNoError(str(error)) from error
    assert token.revoked_us is not None, "it was just revoked"
    click.echo(f"token {token.id} is revoked since {format_instant(token.revoked_us)}")


@command.command("list", epilog="Example: jaga token list --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def list_(*, json_: bool) -> None:
    """Every token there is or was, without what opens anything."""
    now_us = wall_us()
    found = [_document(token, now_us) for token in _tokens().all()]
    if json_:
        show.as_json(found)
        return
    show.table(
        ("id", "state", "scopes", "partner", "expires", "made by", "at"),
        [
            (
                entry["id"],
                entry["state"],
                ", ".join(entry["scopes"]),
                entry["partner"] or "",
                entry["expires"] or "never",
                escape(entry["by"]),
                entry["created"],
            )
            for entry in found
        ],
        empty="No token was made.",
    )


def _tokens() -> Tokens:
    url, base = store_address()
    return Tokens(tokens_path(url, base=base))


def _known(partner: str) -> None:
    found = configured()
    names = None if found is None else [id_ for id_, _name in found.partner_names]
    if names is not None and partner not in names:
        raise click.BadParameter(
            f"there is no partner {partner}; there are {', '.join(names) or 'none'}", param_hint="--partner"
        )


def _document(token: Token, now_us: int) -> dict[str, Any]:
    return {
        "id": token.id,
        "state": token.state(now_us),
        "scopes": sorted(token.scopes),
        "partner": token.partner,
        "created": format_instant(token.created_us),
        "by": token.created_by,
        "expires": None if token.expires_us is None else format_instant(token.expires_us),
        "revoked": None if token.revoked_us is None else format_instant(token.revoked_us),
    }
