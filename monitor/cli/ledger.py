"""`jaga ledger`: the record itself, verified, exported, imported and measured."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError, WrongUseError
from monitor.cli.place import place_options
from monitor.cli.progress import progress
from monitor.cli.reading import open_reader, open_store, personal_files

if TYPE_CHECKING:
    from monitor.ledger.verify import Outside

_STREAM = Path("-")


@click.group("ledger", epilog="Example: jaga ledger verify")
def command() -> None:
    """The record: entries in a hash chain, and the evidence they rest on."""


@command.command("verify", epilog="Example: jaga ledger verify --checkpoint october.txt --key partner.pub")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="A checkpoint that was kept elsewhere: what it covers must not have changed. May be given more than once.",
)
@click.option("--key", help="The public key you keep (its line, or a file with it): no other is believed.")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def verify(checkpoints: tuple[Path, ...], key: str | None, json_: bool) -> None:  # noqa: FBT001 - click's way
    """Walk the record and name what does not hold. Exit code 1 if anything does not.

    The chain shows what was changed after it was written; a checkpoint shows it even if the whole chain was made anew.
    """
    from monitor.ledger.verify import verify as walk
    from monitor.sealing.keys import checks

    outside = kept_outside(checkpoints, key)
    with open_reader() as reader, progress("verifying") as watch:
        report = walk(reader, checks=checks, outside=outside, personal=personal_files(), progress=watch)
    if json_:
        show.as_json(
            {
                "holds": report.holds,
                "entries": report.entries,
                "head": report.head.hash,
                "checkpoints": report.checkpoints,
                "covered": report.covered,
                "remarks": list(report.remarks),
                "problems": [asdict(problem) for problem in report.problems],
                "more": report.more,
            },
        )
    else:
        for problem in report.problems:
            click.echo(str(problem))
        if report.holds:
            click.echo(f"The chain holds: {report.entries} entries, head {report.head.hash}")
            said = f"the last over {report.covered} entries" if report.checkpoints else "nothing is signed yet"
            click.echo(f"Signed checkpoints in it: {report.checkpoints}, {said}")
        for remark in report.remarks:
            click.echo(remark)
    if not report.holds:
        found = f"{len(report.problems)} problems{' and more' if report.more else ''}"
        raise AnswerIsNoError(f"the chain does not verify: {found} in {report.entries} entries")


@command.command("key", epilog="Example: jaga ledger key > jaga.pub")
@click.option("--rotate", is_flag=True, help="Put a new key in its place, by the word of the old one.")
@click.option("--lost", is_flag=True, help="Put a new key in the place of one that is lost: an entry says so for ever.")
@click.option("--by", help="Who decides. Default: your login.")
@click.option("--note", help="Why, for the record.")
@place_options
def key_(rotate: bool, lost: bool, by: str | None, note: str | None) -> None:  # noqa: FBT001 - click's way
    """Print the public key that checkpoints are signed with: the line that a partner keeps.

    A rotated key is vouched for by the one before: whoever keeps the old line can follow. Nobody vouches for the
    successor of a lost key; give partners its line in a way that they trust. The key itself lies in a file of its own
    (mode 0600): keep a copy where the ledger is not.
    """
    from monitor.cli.signing import public_line, replace_key

    if rotate and lost:
        raise click.UsageError("a key is either rotated or lost")
    click.echo(replace_key(lost=lost, by=by, note=note) if rotate or lost else public_line())


@command.command("accept-loss", epilog='Example: jaga ledger accept-loss --note "the disk died, backup of 24 November"')
@click.option("--note", required=True, help="What happened, for the record.")
@click.option("--by", help="Who decides. Default: your login.")
@place_options
def accept_loss(note: str, by: str | None) -> None:
    """Go on from an older state of the ledger that was put back: an entry says for ever that something is missing.

    Without it the daemon only reads such a ledger. Whoever kept a later checkpoint will see the contradiction.
    """
    from monitor.cli.signing import accept_loss as accept

    unsigned = accept(by=by, note=note)
    click.echo("The ledger goes on from here; what came after is lost, and an entry says so.")
    if unsigned is not None:
        click.echo(f"Nothing signs it yet: {unsigned}")


@command.command("erase", epilog="Example: jaga ledger erase personal:3f2a… --note 'asked for by letter of 3 May'")
@click.argument("reference")
@click.option("--note", help="Why, for the record; without anything personal in it.")
@click.option("--by", help="Who decides. Default: your login.")
@place_options
def erase(reference: str, note: str | None, by: str | None) -> None:
    """Erase the personal data (a reporter, a contact) that entries refer to. The chain and its figures stand."""
    from monitor.cli.signing import erase as carry_out

    carry_out(reference, by=by, note=note)
    click.echo(f"erased {reference}")


def kept_outside(checkpoints: tuple[Path, ...], key: str | None) -> Outside:
    """What was kept elsewhere, read; WrongUseError where it is none of that."""
    from monitor.core.checkpoint import NoteError, read_checkpoint, read_public_key
    from monitor.ledger.verify import Outside

    notes = []
    for file in checkpoints:
        try:
            note = file.read_text(encoding="utf-8")
            read_checkpoint(note)
        except (NoteError, UnicodeDecodeError) as error:
            raise WrongUseError(f"{file}: it is no checkpoint: {error}") from error
        notes.append(note)
    if key is None:
        return Outside(checkpoints=tuple(notes))
    line = key if "+" in key else Path(key).read_text(encoding="utf-8") if Path(key).is_file() else key
    try:
        return Outside(checkpoints=tuple(notes), key=read_public_key(line))
    except NoteError as error:
        raise WrongUseError(f"--key: {error}") from error


@command.command("export", epilog="Example: jaga ledger export backup.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=_STREAM)
@place_options
def export(file: Path) -> None:
    """Write the whole ledger as jaga-ledger/1 into FILE ("-", the default: stdout)."""
    from monitor.ledger.interchange import export as write

    with open_reader() as reader, progress("exporting") as watch:
        moved = None if watch is None else lambda _stage, done, total: watch(done, total)
        if file == _STREAM:
            report = write(reader, sys.stdout.buffer, progress=moved)
            sys.stdout.buffer.flush()
        else:
            # Beside the file first: a reader never sees half of an export.
            partial = file.with_name(f"{file.name}.partial")
            with partial.open("wb") as out:
                report = write(reader, out, progress=moved)
            partial.replace(file)
    said = f"{report.entries} entries, {report.runs} runs, {report.stated} stated spans; head {report.head.hash}"
    click.echo(f"exported {said}", err=True)


@command.command("import", epilog="Example: jaga ledger import history.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "json_", is_flag=True, help="The report as JSON.")
@place_options
def import_(file: Path, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Take the facts and evidence of FILE ("-": stdin) into the ledger; the same file again changes nothing.

    History counts only while the ledger holds nothing of its own: import it before the first `jaga run`. What comes
    later is kept as dispute evidence and counts for nothing.
    """
    from monitor.clock import wall_us
    from monitor.ledger.evidence import rebuild
    from monitor.ledger.interchange import import_ as take

    with open_store() as store, progress("importing") as watch:
        moved = None if watch is None else lambda _stage, done, total: watch(done, total)
        if file == _STREAM:
            report = take(store, sys.stdin.buffer, now_us=wall_us(), rebuild=rebuild, progress=moved)
        else:
            with file.open("rb") as source:
                report = take(store, source, now_us=wall_us(), rebuild=rebuild, progress=moved)
    if json_:
        show.as_json(asdict(report))
        return
    click.echo(
        f"{report.lines} lines: {report.facts} facts, {report.runs} runs and {report.stated} stated spans are new, "
        f"{report.known_facts + report.known_evidence} stood already; head {report.head.hash}",
    )
    if report.contested:
        click.echo(f"{report.contested} runs now hold two different contents and are inconclusive", err=True)
    if not report.counts:
        click.echo(
            "the ledger had entries of its own: what was imported is dispute evidence and counts for nothing", err=True
        )


@command.command("stats", epilog="Example: jaga ledger stats --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def stats(json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """How much the ledger holds."""
    with open_reader() as reader:
        counts, head = reader.counts(), reader.head()
    found = {**asdict(counts), "head": head.hash}
    if json_:
        show.as_json(found)
        return
    show.table(("what", "how much"), [(name, str(value)) for name, value in found.items()], empty="Nothing.")
