"""`jaga notify`: what waits to be told, and whether a channel works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError, Exit
from monitor.cli.place import place_options
from monitor.cli.reading import open_reader, settings

MAX_LISTED = 500


@click.group("notify", epilog="Example: jaga notify list")
def command() -> None:
    """Messages to operators and partners: the outbox, and test messages."""


@command.command("test", epilog="Example: jaga notify test ops-mail")
@click.argument("channel")
@click.option("--to", default=None, help="Whose contacts: a partner. Default: those the channel is for.")
@place_options
def test(channel: str, to: str | None) -> int:
    """Send a test message over CHANNEL now, without the daemon, and show what it answered."""
    import asyncio

    from monitor.app.channels import tried
    from monitor.notify import DeliveryError

    found = settings()
    if channel not in {configured.id for configured in found.channels}:
        known = ", ".join(configured.id for configured in found.channels) or "none"
        raise click.UsageError(f"there is no channel {channel}; configured: {known}")
    try:
        receipt = asyncio.run(tried(found, channel, to))
    except DeliveryError as error:
        raise AnswerIsNoError(f"{channel} did not take it: {error}") from None
    click.echo(f"{channel} took it: {receipt}")
    return Exit.DONE


@command.command("list", epilog="Example: jaga notify list --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def list_(json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """What waits in the outbox, how often it was tried, and what was given up; the oldest first."""
    from monitor.clock import wall_us
    from monitor.core.instant import format_instant
    from monitor.dispatcher.tally import MARK, Tally

    with open_reader() as reader, reader.snapshot() as frozen:
        rows, waiting = frozen.outbox(MAX_LISTED), frozen.outbox_waiting()
        tally = Tally.of(frozen.mark(MARK))
    messages = [
        {
            "key": row.key,
            "channel": row.channel,
            "kind": row.kind,
            "to": row.payload.get("to"),
            "queued_at": format_instant(row.at_us),
            "state": "retrying" if row.key in tally.trials else "waiting",
            "tried": tally.trials.get(row.key, {}).get("count", 0),
            "error": tally.trials.get(row.key, {}).get("error"),
        }
        for row in rows
    ]
    messages += [_given_up(gone) for gone in tally.given_up]
    now_us = wall_us()
    channels = [
        {"channel": name, "waiting": held.count, "oldest_seconds": max(0, now_us - held.oldest_us) // 1_000_000}
        for name, held in sorted(waiting.items())
    ]
    if json_:
        show.as_json({"messages": messages, "channels": channels})
        return
    columns = ("channel", "kind", "to", "queued_at", "state", "tried", "error", "key")
    show.table(
        ("channel", "kind", "to", "queued", "state", "tried", "last error", "key"),
        [tuple("" if m[column] is None else str(m[column]) for column in columns) for m in messages],
        empty="Nothing waits.",
    )
    for channel in channels:
        click.echo(f"{channel['channel']}: {channel['waiting']} waiting, the oldest for {channel['oldest_seconds']} s")


def _given_up(gone: Mapping[str, Any]) -> dict[str, Any]:
    from monitor.core.instant import format_instant

    return {
        "key": gone["key"],
        "channel": gone["channel"],
        "kind": gone["kind"],
        "to": None,
        "queued_at": format_instant(gone["at_us"]),
        "state": "given up",
        "tried": gone["count"],
        "error": gone["error"],
    }
