"""`jaga ledger`: the record itself, verified, exported, imported and measured."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError, WrongUseError
from monitor.cli.place import place_options
from monitor.cli.progress import progress
from monitor.cli.reading import basis_of, beside_files, configured, open_reader, open_store, personal_files

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
@click.option("--partner", help="Only what concerns this partner, with the proof that it is part of the whole.")
@click.option("--everything", is_flag=True, help="Also waiting messages, attachments and personal data: for a move.")
@place_options
def export(file: Path, partner: str | None, everything: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Write the whole ledger as jaga-ledger/1 into FILE ("-", the default: stdout).

    With --everything it holds what stands beside the entries too; give such a file to nobody who may not see that.
    With --partner: the facts of its services and its own in full, the hash of every other entry, and for each the way
    to the root that a checkpoint signs.
    """
    if everything and partner is not None:
        raise WrongUseError("--everything is for a move; a partner is given what concerns it")
    if file == _STREAM:
        said = _export(sys.stdout.buffer, partner, everything=everything)
        sys.stdout.buffer.flush()
    else:
        # Beside the file first: a reader never sees half of an export.
        partial = file.with_name(f"{file.name}.partial")
        with partial.open("wb") as out:
            said = _export(out, partner, everything=everything)
        partial.replace(file)
    click.echo(f"exported {said}", err=True)


def _export(out: BinaryIO, partner: str | None, *, everything: bool) -> str:
    from monitor.ledger.interchange import export as write
    from monitor.ledger.interchange.partial import UnknownPartnerError, export_partial

    with open_reader() as reader, progress("exporting") as watch:
        moved = None if watch is None else lambda _stage, done, total: watch(done, total)
        if partner is None:
            whole = write(reader, out, beside=beside_files() if everything else None, progress=moved)
            evidence = f"{whole.segments} segments, {whole.runs} runs, {whole.stated} stated spans"
            return f"{whole.entries} entries, {evidence}; head {whole.head.hash}"
        try:
            agreements = basis_of(configured()).agreements
            part = export_partial(reader, out, partner, configured=agreements, progress=moved)
        except UnknownPartnerError as error:
            raise WrongUseError(str(error)) from error
    evidence = f"{part.segments} segments and {part.rows} other pieces of evidence"
    return f"{part.entries} entries and the hashes of {part.leaves} others, {evidence}; root {part.root}"


@command.command("import", epilog="Example: jaga ledger import history.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--move", "move_", is_flag=True, help="Take a whole export into an empty store as what it is.")
@click.option("--json", "json_", is_flag=True, help="The report as JSON.")
@place_options
def import_(file: Path, move_: bool, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Take the facts and evidence of FILE ("-": stdin) into the ledger; the same file again changes nothing.

    History counts only while the ledger holds nothing of its own: import it before the first `jaga run`. What comes
    later is kept as dispute evidence and counts for nothing.

    With --move the store must be empty: it becomes the ledger that was exported, entry by entry, from SQLite to
    PostgreSQL or back, or from a backup. Its chain, segments and checkpoints are verified first; all of it or nothing.
    """
    taking = _move if move_ else _import
    if file == _STREAM:
        taking(sys.stdin.buffer, json_=json_)
        return
    with file.open("rb") as source:
        taking(source, json_=json_)


def _move(source: BinaryIO, *, json_: bool) -> None:
    from monitor.clock import wall_us
    from monitor.ledger.evidence import rebuild
    from monitor.ledger.interchange.move import move
    from monitor.sealing.keys import checks

    with open_store() as store, progress("moving") as watch:
        moved = None if watch is None else lambda _stage, done, total: watch(done, total)
        report = move(
            store, source, now_us=wall_us(), rebuild=rebuild, beside=beside_files(), checks=checks, progress=moved
        )
    if json_:
        show.as_json(asdict(report))
        return
    evidence = f"{report.segments} segments, {report.runs} runs, {report.stated} stated spans"
    click.echo(f"moved {report.entries} entries, {evidence}; head {report.head}")
    if report.messages or report.files:
        click.echo(f"and {report.messages} waiting messages, {report.files} files beside the ledger")


def _import(source: BinaryIO, *, json_: bool) -> None:
    from monitor.clock import wall_us
    from monitor.config.holidays import names
    from monitor.ledger.evidence import rebuild
    from monitor.ledger.interchange import import_ as take

    with open_store() as store, progress("importing") as watch:
        moved = None if watch is None else lambda _stage, done, total: watch(done, total)
        report = take(store, source, now_us=wall_us(), rebuild=rebuild, holiday_tables=names(), progress=moved)
    if json_:
        show.as_json(asdict(report))
        return
    click.echo(
        f"{report.lines} lines: {report.facts} facts, {report.runs} runs and {report.stated} stated spans are new, "
        f"{report.known_facts + report.known_evidence} stood already; head {report.head.hash}",
    )
    if report.contested:
        click.echo(f"{report.contested} runs now hold two different contents and are inconclusive", err=True)
    if report.expired:
        click.echo(f"{report.expired} segments had no runs any more: what they said cannot be imported", err=True)
    if not report.counts:
        click.echo(
            "the ledger had entries of its own: what was imported is dispute evidence and counts for nothing", err=True
        )


@command.command("stats", epilog="Example: jaga ledger stats --rebuild")
@click.option(
    "--rebuild", "rebuild_", is_flag=True, help="Derive all spans anew and compare. Exit code 1 if any differ."
)
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def stats(rebuild_: bool, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """How much the ledger holds; with --rebuild, whether its spans are what its runs say.

    Of hours whose runs have expired, what was sealed of them takes their place.
    """
    from monitor.ledger.evidence import differing

    with open_reader() as reader, reader.snapshot() as frozen, progress("deriving") as watch:
        counts, head = frozen.counts(), frozen.head()
        wrong = differing(frozen, progress=watch) if rebuild_ else None
    found = {**asdict(counts), "head": head.hash}
    if wrong is not None:
        found["differing"] = [list(source) for source in wrong] if json_ else len(wrong)
    if json_:
        show.as_json(found)
    else:
        show.table(("what", "how much"), [(name, str(value)) for name, value in found.items()], empty="Nothing.")
    if wrong:
        named = ", ".join("/".join(source) for source in wrong[:5])
        raise AnswerIsNoError(f"the spans of {len(wrong)} sources are not what their runs say: {named}")
