"""From the runs and stated spans of one source to what its evidence said when (CONTRACT 2.1.5, 2.2).

A source is one check of one service seen from one location. Its latest item governs from its stamp until the next
item's stamp or until it is stale, whichever is first; when it ends, nothing earlier resumes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from monitor.core.check import CheckList, list_in_force
from monitor.core.run import Outcome, OutcomeSpan, Run, StatedSpan
from monitor.core.segment import Piece
from monitor.core.span import Span, subtract

_RUN_FIRST = 0
_STATED_SECOND = 1


class Item(NamedTuple):
    """One piece of evidence: it says `outcome` from `start_us` until `end_us` at the latest; None says nothing."""

    start_us: int
    rank: int
    end_us: int
    outcome: Outcome | None
    holes: tuple[Span, ...] = ()


def run_item(run: Run, lists: Sequence[CheckList], annulled: Sequence[Span] = ()) -> Item:
    """The item of a run: stale after what was in force at its stamp; nothing if inconclusive or annulled.

    A run stamped before the service had any check list says nothing: no staleness was in force.
    """
    in_force = list_in_force(lists, run.start_us)
    void = annulled and any(a.contains(run.start_us) for a in annulled)
    if void or in_force is None or run.outcome is Outcome.INCONCLUSIVE:
        return Item(run.start_us, _RUN_FIRST, run.start_us, None)
    return Item(run.start_us, _RUN_FIRST, run.start_us + in_force.stale_after_us, run.outcome)


def stated_item(stated: StatedSpan, annulled: Sequence[Span] = ()) -> Item:
    """The item of a stated span: exact, without staleness; annulled parts are holes in it."""
    outcome = None if stated.outcome is Outcome.INCONCLUSIVE else stated.outcome
    return Item(stated.start_us, _STATED_SECOND, stated.end_us, outcome, tuple(annulled))


def piece_item(piece: Piece) -> Item:
    """The item of a piece that a sealed hour left of its runs. What was annulled is no part of it: its runs went only
    when the pieces said what they say by all decisions, and none is made on them since.
    """
    outcome = None if piece.outcome is Outcome.INCONCLUSIVE else piece.outcome
    return Item(piece.start_us, _RUN_FIRST, piece.end_us, outcome)


def pieces(runs: Iterable[Run], lists: Sequence[CheckList], annulled: Sequence[Span] = ()) -> list[Piece]:
    """What the runs of one source and hour said, without those of any other hour: what is left of them for ever.

    Put together, the pieces of successive hours say what all the runs said: each ends at the next one's start.
    """
    found: list[Piece] = []
    for run in runs:
        item = run_item(run, lists, annulled)
        outcome = Outcome.INCONCLUSIVE if item.outcome is None else item.outcome
        last = found[-1] if found else None
        if last is not None and last.end_us >= run.start_us:
            if last.outcome is outcome and last.start_us < last.end_us:
                found[-1] = last._replace(end_us=item.end_us)
                continue
            found[-1] = last._replace(end_us=run.start_us)
        elif last is not None and last.outcome is outcome is Outcome.INCONCLUSIVE:
            continue
        found.append(Piece(run.start_us, item.end_us, outcome, run if outcome is Outcome.FAIL else None))
    return found


def outcome_spans(
    runs: Iterable[Run],
    stated: Iterable[StatedSpan],
    lists: Sequence[CheckList],
    annulled: Sequence[Span] = (),
    kept: Iterable[Piece] = (),
) -> Iterator[OutcomeSpan]:
    """Maximal spans of pass and fail of one source, in order; silence is what lies between them.

    `runs`, `stated` and `kept` come ordered by start; they may be long and are read once. `lists` are the service's
    check lists ordered by their instants, `annulled` the source's annulled spans, `kept` the pieces of hours whose
    runs have gone.
    """
    run_items = (run_item(run, lists, annulled) for run in runs)
    kept_items = (piece_item(piece) for piece in kept)
    stated_items = (stated_item(span, annulled) for span in stated)
    items = heapq.merge(run_items, kept_items, stated_items, key=lambda item: (item.start_us, item.rank))
    return merged(_pieces(_governing(items)))


def _governing(items: Iterable[Item]) -> Iterator[Item]:
    """One item an instant: a run goes before a stated span; two of one kind that differ are a conflict."""
    for start_us, together in groupby(items, key=lambda item: item.start_us):
        rivals = list(together)
        first = rivals[0]
        conflict = any(rival != first for rival in rivals if rival.rank == first.rank)
        yield Item(start_us, first.rank, start_us, None) if conflict else first


def _pieces(items: Iterator[Item]) -> Iterator[OutcomeSpan]:
    """Each item clipped at the next one's start, holes taken out."""
    held = next(items, None)
    while held is not None:
        following = next(items, None)
        end_us = held.end_us if following is None else min(held.end_us, following.start_us)
        if held.outcome is not None:
            for part in subtract([Span(held.start_us, end_us)], held.holes):
                yield OutcomeSpan(part.start_us, part.end_us, held.outcome)
        held = following


def merged(pieces: Iterable[OutcomeSpan]) -> Iterator[OutcomeSpan]:
    """Ordered, disjoint pieces with touching ones of equal outcome made one; empty ones vanish."""
    open_span: OutcomeSpan | None = None
    for piece in pieces:
        if piece.end_us <= piece.start_us:
            continue
        if open_span is None:
            open_span = piece
        elif piece.start_us == open_span.end_us and piece.outcome is open_span.outcome:
            open_span = open_span._replace(end_us=piece.end_us)
        else:
            yield open_span
            open_span = piece
    if open_span is not None:
        yield open_span


class Extended(NamedTuple):
    """What one newer item does to the end of a source's spans: the last span as it now ends, and one begun anew."""

    last: OutcomeSpan | None
    begun: OutcomeSpan | None


def extend(last: OutcomeSpan | None, item: Item) -> Extended:
    """The end of a source's spans after an item newer than all before it: constant time, equal to the batch.

    `last` is the source's last span (None: it has none). The result's `last` is None when there was none.
    """
    kept = last
    if last is not None and last.end_us > item.start_us:
        kept = OutcomeSpan(last.start_us, item.start_us, last.outcome)
    if item.outcome is None or item.end_us <= item.start_us:
        return Extended(kept, None)
    if kept is not None and kept.end_us == item.start_us and kept.outcome is item.outcome:
        return Extended(OutcomeSpan(kept.start_us, item.end_us, kept.outcome), None)
    return Extended(kept, OutcomeSpan(item.start_us, item.end_us, item.outcome))
