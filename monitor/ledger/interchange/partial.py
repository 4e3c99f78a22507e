"""The part of a ledger that concerns one partner, with the proof that it is a part of the whole (docs/interchange.md).

Every entry is there: in full where it speaks of the partner, its services or the record itself, else as the hash of its
leaf in the Merkle tree, which says nothing of what is in it. Segments come with the way from their leaf to the root in
the entry that sealed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from monitor.core import fact as facts
from monitor.core.agreement import adopted
from monitor.core.entry import Entry
from monitor.core.fact import Fact
from monitor.core.merkle import Tree, leaf_hash
from monitor.core.run import Origin
from monitor.core.segment import Segment
from monitor.core.terms import Agreements
from monitor.core.wire import write_spans
from monitor.ledger.interchange import ALWAYS, Progress, Through, decision_line, write_line
from monitor.ledger.interchange.carried import END, write_row, write_sealed
from monitor.ledger.interchange.incoming import HEADER
from monitor.storage import Reader, SealedSegment

PARTIAL, LEAF = "partial", "leaf"


class UnknownPartnerError(LookupError):
    """No subscription of the ledger or the configuration names the partner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialReport:
    """What a partner's export holds: entries in full, entries as their leaf alone, segments, rows and stated spans."""

    entries: int
    leaves: int
    segments: int
    rows: int
    root: str


def export_partial(
    reader: Reader,
    out: BinaryIO,
    partner: str,
    *,
    configured: Agreements,
    progress: Progress | None = None,
) -> PartialReport:
    """Write what concerns a partner; UnknownPartnerError where nothing does. The same ledger gives the same bytes."""
    with reader.snapshot() as frozen:
        entries = list(frozen.entries())
        scope = Scope.of(partner, entries, configured)
        if not scope.services:
            msg = f"no subscription names {partner!r}"
            raise UnknownPartnerError(msg)
        tree = Tree(leaf_hash(entry.data) for entry in entries)
        root = "sha256:" + tree.root().hex()
        write_line(out, HEADER)
        about = {"partner": partner, "services": sorted(scope.services), "entries": len(entries), "root": root}
        write_line(out, {"type": PARTIAL, **about, "hidden": scope.hidden(entries, configured)})
        shown = 0
        for entry in entries:
            shown += _write_entry(out, entry, tree, whole=scope.holds(entry.fact))
            if progress is not None:
                progress("export", entry.seq, len(entries))
        segments, through = _write_segments(frozen, out, scope)
        rows = _write_rows(frozen, out, scope, through)
        write_line(out, {"type": END, "entries": len(entries), "segments": segments, "rows": rows})
    return PartialReport(entries=shown, leaves=len(entries) - shown, segments=segments, rows=rows, root=root)


@dataclass(frozen=True, slots=True)
class Scope:
    """What concerns a partner: its services, its contracts, and the decisions on them by their ids."""

    partner: str
    services: frozenset[str]
    contracts: frozenset[str]
    decisions: frozenset[str]

    @staticmethod
    def of(partner: str, entries: Iterable[Entry], configured: Agreements) -> Scope:
        """The scope of a partner in a ledger."""
        told = [entry.fact for entry in entries]
        subscriptions = [s for s in adopted(told, configured).subscriptions if s.partner == partner]
        services = frozenset(s.service for s in subscriptions)
        contracts = frozenset(s.contract for s in subscriptions)
        bare = Scope(partner, services, contracts, frozenset())
        ids = frozenset(fact.id for fact in told if isinstance(fact, _DECISIONS) and bare.holds(fact))
        return Scope(partner, services, contracts, ids)

    def holds(self, fact: Fact) -> bool:
        """Whether a fact concerns the partner. What names another partner does not, whatever else it names."""
        match fact:
            case facts.MaintenanceFinished() | facts.MaintenanceCancelled():
                return fact.maintenance in self.decisions
            case facts.Reversal():
                return fact.of in self.decisions
            case facts.TermsAdopted():
                return fact.contract in self.contracts
            case facts.ChecksAdopted():
                return fact.list.service in self.services
        partner = getattr(fact, "partner", None)
        partners = getattr(fact, "partners", None)
        if partner not in {None, self.partner} or (partners is not None and self.partner not in partners):
            return False
        service = getattr(fact, "service", None)
        named = getattr(fact, "services", (service,) if service is not None else ())
        if not named:
            return partner is not None or isinstance(fact, _OF_THE_RECORD)
        return not self.services.isdisjoint(named)

    def hidden(self, entries: Iterable[Entry], configured: Agreements) -> dict[str, Any]:
        """What entries that are not shown mean for what is shown, without which a month could not be recomputed: where
        the ledger's own entries begin (imports count only before), which of those who agreed to a ruling are partners
        (they bind themselves alone), and which windows others were told of (an imported one without any notice counts
        by itself).
        """
        told = list(entries)
        partners = {subscription.partner for subscription in adopted([e.fact for e in told], configured).subscriptions}
        shown = [entry.fact for entry in told if self.holds(entry.fact)]
        agreed = {fact.agreed_by for fact in shown if isinstance(fact, facts.Adjudication)}
        noticed = {e.fact.maintenance for e in told if isinstance(e.fact, facts.Notice) and not self.holds(e.fact)}
        windows = {fact.id for fact in shown if isinstance(fact, facts.Maintenance)}
        return {
            "first_own": next((entry.seq for entry in told if entry.origin is not Origin.IMPORTED), None),
            "partners": sorted(partners & agreed - {self.partner}),
            "noticed": sorted(noticed & windows),
        }


# What names neither partner nor service and is shown to everybody. All else is shown to nobody: it may be about anyone.
_OF_THE_RECORD = (facts.Sealed, facts.CheckpointSigned, facts.KeyAdopted, facts.LossAccepted, facts.ClockStep)
_DECISIONS = (facts.Maintenance, facts.Exclusion, facts.Adjudication, facts.Annulment)


def _write_entry(out: BinaryIO, entry: Entry, tree: Tree, *, whole: bool) -> int:
    if whole:
        proof = [node.hex() for node in tree.inclusion_proof(entry.seq - 1)]
        write_line(out, decision_line(entry) | {"proof": proof})
    else:
        write_line(out, {"type": LEAF, "seq": entry.seq, "leaf": leaf_hash(entry.data).hex()})
    return int(whole)


def _write_segments(reader: Reader, out: BinaryIO, scope: Scope) -> tuple[int, Through]:
    through = Through()
    for sealed, place, proof, size in _proved(reader):
        if sealed.segment.key.service in scope.services:
            through.take(sealed)
            write_line(out, write_sealed(sealed) | {"proof": {"index": place, "size": size, "path": proof}})
    return through.segments, through


def _proved(reader: Reader) -> Iterator[tuple[SealedSegment, int, list[str], int]]:
    """Every segment with its way to the root of the entry that sealed it."""
    leaves: dict[int, list[Segment]] = {}
    for sealed in reader.segments():
        assert sealed.seq is not None, "a segment that is kept was sealed"
        leaves.setdefault(sealed.seq, []).append(sealed.segment.expired())
    trees = {seq: Tree(leaf_hash(segment.leaf()) for segment in sorted(of, key=_key)) for seq, of in leaves.items()}
    places = {seq: [segment.key for segment in sorted(of, key=_key)] for seq, of in leaves.items()}
    for sealed in reader.segments():
        assert sealed.seq is not None, "as above"
        place, tree = places[sealed.seq].index(sealed.segment.key), trees[sealed.seq]
        yield sealed, place, [node.hex() for node in tree.inclusion_proof(place)], tree.size


def _key(segment: Segment) -> tuple[str, int, int]:
    return segment.key


def _write_rows(reader: Reader, out: BinaryIO, scope: Scope, through: Through) -> int:
    rows = 0
    for service in sorted(scope.services):
        for source in reader.sources(service):
            for held in reader.rows(source):
                if held.arrived.contested or not through.holds(held):
                    write_line(out, write_row(held))
                    rows += 1
            for span in reader.stated(source, ALWAYS):
                write_line(out, write_spans(span))
                rows += 1
    return rows
