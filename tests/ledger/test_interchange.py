# ruff: noqa: E501 - one fact a line, as in the file itself
"""The ledger as a file and back: what goes in comes out, once, and the same file gives the same ledger."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from monitor.core.chain import canonical, digest
from monitor.core.check import Check, CheckList
from monitor.core.fact import (
    Adjudication,
    Annulment,
    ChecksAdopted,
    Claim,
    Close,
    Exclusion,
    ExclusionReason,
    Fact,
    Maintenance,
    Notice,
    Outage,
    Reversal,
    Ruling,
    TermsAdopted,
)
from monitor.core.instant import parse_instant
from monitor.core.run import Origin, Outcome, Run, SourceKey, StatedSpan
from monitor.core.wire import read_place
from monitor.ledger.interchange import ALWAYS, UNFINISHED_IMPORT, ImportReport, export, import_
from monitor.ledger.interchange.incoming import BATCH_LINES, ImportRefusedError
from monitor.ledger.verify import verify
from monitor.storage import Store, StoreError, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore

NOW = parse_instant("2026-05-02T00:00:00+07:00")
LATER = NOW + 86_400_000_000
LOGIN = SourceKey("portal", "login", "jkt-1")
DB = SourceKey("portal", "db", "jkt-1")

# As a person writes it: offsets as they like, optional fields left out, references to lines that come later.
FILE = """\
{"type":"header","format":"jaga-ledger/1"}
{"type":"checks","service":"portal","at":"2026-04-01T00:00:00+07:00","interval_s":60,"timeout_s":10,"stale_after_s":190,"checks":[{"id":"login"},{"id":"db","network":"internal","attempts":2}]}
{"type":"run","service":"portal","check":"login","location":"jkt-1","at":"2026-04-01T00:00:00+07:00","outcome":"pass","duration_us":81234,"attempts":1}
{"type":"run","service":"portal","check":"login","location":"jkt-1","at":"2026-03-31T17:01:00.000001Z","outcome":"fail","reason":"timeout","step":"login","message":"„nein“ 時間"}
{"type":"run","service":"portal","check":"login","location":"jkt-1","at":"2026-04-01T00:02:00+07:00","outcome":"inconclusive","reason":"late"}
{"type":"spans","service":"portal","check":"db","location":"jkt-1","from":"2026-04-01T00:00:00+07:00","to":"2026-04-02T00:00:00+07:00","outcome":"pass"}
{"type":"reversal","of":"x-1","at":"2026-04-22T00:00:00+07:00","by":"ops","note":"wrong service"}
{"type":"notice","maintenance":"m-2","partner":"acme","at":"2026-04-09T00:00:00+07:00","channel":"email"}
{"type":"maintenance","id":"m-2","services":["portal"],"partners":["acme"],"start":"2026-04-12T00:00:00+07:00","end":"2026-04-12T04:00:00+07:00","at":"2026-04-09T00:00:00+07:00","extends":"m-1"}
{"type":"maintenance","id":"m-1","services":["portal"],"partners":null,"start":"2026-06-11T01:00:00+07:00","end":"2026-06-11T03:00:00+07:00","at":"2026-04-08T00:00:00+07:00","summary":"disks"}
{"type":"maintenance_finished","maintenance":"m-1","at":"2026-04-11T02:30:00+07:00"}
{"type":"maintenance_cancelled","maintenance":"m-2","at":"2026-04-11T02:30:00+07:00"}
{"type":"exclusion","id":"x-1","reason":"third_party","services":["portal"],"partners":null,"start":"2026-04-10T22:00:00+07:00","end":"2026-04-11T00:00:00+07:00","at":"2026-04-20T00:00:00+07:00","by":"ops","evidence":"mail"}
{"type":"adjudication","id":"j-1","service":"portal","start":"2026-04-05T00:00:00+07:00","end":"2026-04-05T01:40:00+07:00","verdict":"up","agreed_by":null,"at":"2026-05-01T00:00:00+07:00","by":"ops","evidence":"logs"}
{"type":"annulment","id":"a-1","service":"portal","check":"login","location":"jkt-1","start":"2026-04-05T00:00:00+07:00","end":"2026-04-05T01:40:00+07:00","at":"2026-05-01T00:00:00+07:00","by":"ops","note":"our own fault"}
{"type":"claim","partner":"acme","service":"portal","month":"2026-04","at":"2026-05-01T00:00:00+07:00","by":"acme"}
{"type":"terms","contract":"mitra","effective_from":"2027-01-01T00:00:00+07:00","terms":{"guarantee":"95%","credits":[{"below":"95%","credit":"10%"}]},"agreed":"signed"}
{"type":"subscription","partner":"acme","service":"portal","contract":"mitra","from":null,"fee":{"currency":"IDR","amount":"12500000"}}
{"type":"retired","service":"portal","check":"db","at":"2026-05-01T00:00:00+07:00"}
{"type":"outage","id":"o-1","service":"portal","start":"2026-04-05T00:00:00+07:00","at":"2026-04-05T00:00:30+07:00","failing":"3/5"}
{"type":"outage","id":"o-1","service":"portal","start":"2026-04-05T00:00:00+07:00","end":"2026-04-05T01:00:00+07:00","at":"2026-04-05T01:00:30+07:00"}
{"type":"close","partner":"acme","service":"portal","month":"2026-03","version":1,"digest":"sha256:00","at":"2026-04-04T00:00:00+07:00","inputs":{"software":"jaga 0.1"}}
{"type":"clock_step","at":"2026-04-04T00:00:00+07:00","delta_us":-61000000,"location":"jkt-1"}
""".encode()


class Rebuilds:
    """Stands for `evidence.rebuild`: remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[SourceKey]] = []

    def __call__(self, store: Store, sources: Iterable[SourceKey]) -> None:
        self.asked.append(list(sources))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], SqlStore]]:
    opened: list[SqlStore] = []

    def make_store(name: str) -> SqlStore:
        opened.append(open_store(tmp_path / f"{name}.db"))
        return opened[-1]

    yield make_store
    for store in opened:
        store.close()


@pytest.fixture
def store(make: Callable[[str], SqlStore]) -> SqlStore:
    return make("ledger")


def take(store: Store, data: bytes, now_us: int = NOW, rebuild: Rebuilds | None = None) -> ImportReport:
    return import_(store, io.BytesIO(data), now_us=now_us, rebuild=rebuild or Rebuilds())


def exported(store: SqlStore) -> bytes:
    out = io.BytesIO()
    export(store, out)
    return out.getvalue()


def without(data: bytes, *names: str) -> bytes:
    """An export without what another store would hold differently: these fields, and what says how whole it is."""
    lines = [orjson.loads(line) for line in data.splitlines()]
    kept = [line for line in lines if line["type"] not in {"mark", "end"}]
    return b"".join(orjson.dumps({k: v for k, v in line.items() if k not in names}) + b"\n" for line in kept)


def without_entries(data: bytes) -> bytes:
    return without(data, "entry", "stored")


def test_every_type_is_taken_in_and_comes_out(store: SqlStore) -> None:
    rebuild = Rebuilds()
    report = take(store, FILE, rebuild=rebuild)
    assert report == ImportReport(counts=True, lines=23, facts=18, runs=3, stated=1, head=store.head())
    assert rebuild.asked == [[DB, LOGIN]]
    assert verify(store).holds
    assert store.first_own_entry() is None
    assert store.mark(UNFINISHED_IMPORT) is None
    given = [orjson.loads(line) for line in FILE.splitlines()]
    *got, end = [orjson.loads(line) for line in exported(store).splitlines()]
    assert (end["type"], end["entries"], end["rows"], end["head"]) == ("end", 18, 4, store.head().hash)
    decisions = [line["type"] for line in given if line["type"] not in {"header", "run", "spans"}]
    assert [line["type"] for line in got] == ["header", *decisions, "spans", "run", "run", "run"]
    assert [list(line)[0] for line in got] == ["type"] * 23  # noqa: RUF015 - the first key of each
    places = [line["entry"] for line in got if "entry" in line]
    assert [place["seq"] for place in places] == list(range(1, 19))
    assert places[-1]["hash"] == store.head().hash
    assert {place["origin"] for place in places} == {"imported"}
    assert all(set(place) == {"seq", "recorded_at", "origin", "prev", "hash", "epoch"} for place in places)
    assert got[3]["partner"] == "acme"
    assert got[-2]["message"] == "„nein“ 時間"
    assert got[-2]["at"] == "2026-03-31T17:01:00.000001+00:00"


def test_what_is_read_back_is_what_was_written(store: SqlStore) -> None:
    take(store, FILE)
    facts = [entry.fact for entry in store.entries()]
    first = parse_instant("2026-04-01T00:00:00+07:00")
    checks = (Check(id="login"), Check(id="db", network="internal", attempts=2))  # type: ignore[arg-type]
    assert facts[0] == ChecksAdopted(
        list=CheckList(
            service="portal",
            at_us=first,
            interval_us=60_000_000,
            timeout_us=10_000_000,
            stale_after_us=190_000_000,
            checks=checks,
        ),
    )
    runs = list(store.runs(LOGIN, ALWAYS))
    assert [(run.outcome, run.reason, run.origin) for run in runs] == [
        (Outcome.PASS, None, Origin.IMPORTED),
        (Outcome.FAIL, "timeout", Origin.IMPORTED),
        (Outcome.INCONCLUSIVE, "late", Origin.IMPORTED),
    ]
    assert runs[1].start_us == first + 60_000_001
    end = parse_instant("2026-04-02T00:00:00+07:00")
    assert list(store.stated(DB, ALWAYS)) == [
        StatedSpan(**DB._asdict(), start_us=first, end_us=end, outcome=Outcome.PASS)
    ]


def test_the_same_file_again_changes_nothing(store: SqlStore) -> None:
    take(store, FILE)
    before = exported(store)
    rebuild = Rebuilds()
    again = take(store, FILE, LATER, rebuild)
    assert again == ImportReport(counts=True, lines=23, known_facts=18, known_evidence=4, head=store.head())
    assert exported(store) == before
    assert rebuild.asked == []
    assert take(store, before, LATER, rebuild).placed == 18
    assert exported(store) == before


def test_one_file_gives_one_head_whenever_it_is_imported(make: Callable[[str], SqlStore]) -> None:
    first, second = make("first"), make("second")
    assert take(first, FILE, NOW).head.hash == take(second, FILE, LATER).head.hash
    assert without_entries(exported(first)) == without_entries(exported(second))


def test_an_export_imported_and_exported_gives_the_same_bytes(make: Callable[[str], SqlStore]) -> None:
    first, second, third = make("first"), make("second"), make("third")
    take(first, FILE)
    data = exported(first)
    report = take(second, data)
    assert report.placed == 18
    assert report.formerly_disputed == 0
    assert second.head() == first.head()
    assert without(exported(second), "stored") == without(data, "stored")
    take(third, data, LATER)
    assert third.head().hash == first.head().hash
    assert without_entries(exported(third)) == without_entries(data)


def test_a_decision_line_carries_all_that_its_hashed_bytes_hold(store: SqlStore) -> None:
    """What a move of a ledger from one store to another rests on: the chain can be rebuilt from the file alone."""
    store.commit(Unit(recorded_at_us=NOW - 5, facts=[claim(1), claim(2)], origin=Origin.IMPORTED))
    store.commit(Unit(recorded_at_us=NOW - 4, facts=[claim(3)], origin=Origin.AGENT))
    store.commit(own(claim(4)))
    lines = [orjson.loads(line) for line in exported(store).splitlines()[1:-1]]
    for line, entry in zip(lines, store.entries(), strict=True):
        place = read_place(line.pop("entry"))
        body = {"seq": place["seq"], "prev": place["prev"], "epoch": place["epoch"], "origin": place["origin"].value}
        timed = {} if place["origin"] is Origin.IMPORTED else {"recorded_at_us": place["recorded_at_us"]}
        assert canonical(body | timed | {"fact": line}) == entry.data
        assert place["hash"] == digest(entry.data) == entry.hash
        assert place["recorded_at_us"] == entry.recorded_at_us


@pytest.mark.parametrize("order", ["as it is", "by another order of keys", "with other offsets", "dressed up"])
def test_the_same_content_in_another_dress_is_the_same(store: SqlStore, order: str) -> None:
    take(store, FILE)
    before = exported(store)
    lines = [orjson.loads(line) for line in FILE.splitlines()]
    if order == "by another order of keys":
        data = b"".join(orjson.dumps(dict(reversed(line.items()))) + b"\n" for line in lines)
    elif order == "with other offsets":
        data = FILE.replace(b"2026-04-01T00:00:00+07:00", b"2026-03-31T17:00:00.000000Z")
    else:
        data = b"\xef\xbb\xbf" + FILE.replace(b"\n", b"\r\n\r\n").removesuffix(b"\r\n\r\n")
    report = take(store, data)
    assert (report.facts, report.runs, report.stated, report.contested) == (0, 0, 0, 0)
    assert exported(store) == before


def test_a_pipe_can_be_imported(store: SqlStore) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    report = import_(store, Pipe(FILE), now_us=NOW, rebuild=Rebuilds())
    assert report.runs == 3


def test_large_files_are_written_in_batches_and_progress_is_told(store: SqlStore) -> None:
    line = '{{"type":"run","service":"portal","check":"login","location":"jkt-1","at":"2026-04-01T00:{}:{}.{:06d}Z","outcome":"pass"}}\n'
    count = 2 * BATCH_LINES + 10
    data = (
        FILE.splitlines(keepends=True)[0]
        + "".join(line.format(f"{n // 1000 % 60:02d}", f"{n % 60:02d}", n) for n in range(count)).encode()
    )
    told: list[tuple[str, int, int]] = []
    report = import_(store, io.BytesIO(data), now_us=NOW, rebuild=Rebuilds(), progress=lambda *step: told.append(step))
    assert report.runs == count
    size = len(data)
    assert [step[0] for step in told] == ["check"] * 3 + ["write"] * 3 + ["rebuild"] * 2
    assert [step[1:] for step in told if step[1] == size] == [(size, size)] * 3
    told.clear()
    export(store, io.BytesIO(), progress=lambda *step: told.append(step))
    assert told == []
    take(store, FILE)
    export(store, io.BytesIO(), progress=lambda *step: told.append(step))
    assert told[-1] == ("export", 18, 18)


class CutShort(SqlStore):
    """A store whose process dies at the n-th transaction."""

    left: int

    def commit(self, unit: Unit):  # type: ignore[no-untyped-def]  # noqa: ANN201
        self.left -= 1
        if self.left < 0:
            raise StoreError("commit to", "the store", "killed", "-")
        return super().commit(unit)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_import_that_was_cut_short_is_simply_repeated(
    make: Callable[[str], SqlStore], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr("monitor.ledger.interchange.incoming.BATCH_LINES", 4)
    whole, store = make("whole"), make("store")
    take(whole, FILE)
    store.__class__ = CutShort
    store.left = after  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="killed"):
        take(store, FILE)
    assert bool(store.mark(UNFINISHED_IMPORT)) is (after > 0)
    store.left = 99  # type: ignore[attr-defined]
    rebuild = Rebuilds()
    take(store, FILE, rebuild=rebuild)
    assert exported(store) == exported(whole)
    assert rebuild.asked == [[DB, LOGIN]]
    assert store.mark(UNFINISHED_IMPORT) is None


def test_another_file_finishes_the_rebuild_of_one_that_was_cut_short(store: SqlStore) -> None:
    store.commit(Unit(recorded_at_us=NOW, marks={UNFINISHED_IMPORT: True}, runs=[run(LOGIN, 1)]))
    header = FILE.splitlines(keepends=True)[0]
    rebuild = Rebuilds()
    take(store, header, rebuild=rebuild)
    assert rebuild.asked == [[LOGIN]]
    assert store.mark(UNFINISHED_IMPORT) is None


def run(source: SourceKey, start_us: int, outcome: Outcome = Outcome.PASS, **more: object) -> Run:
    return Run(**source._asdict(), start_us=start_us, outcome=outcome, **more)  # type: ignore[arg-type]


def test_a_file_that_changes_under_the_import_is_noticed_before_it_is_written(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.ledger.interchange.incoming.BATCH_LINES", 4)
    path = tmp_path / "file.jsonl"
    path.write_bytes(FILE)

    def change(phase: str, _done: int, _of: int) -> None:
        if phase == "write":
            path.write_bytes(FILE.replace(b'"pass"}', b'"fail"}'))

    with (
        path.open("rb", buffering=0) as source,
        pytest.raises(ImportRefusedError, match="line 5: the file changed") as refused,
    ):
        import_(store, source, now_us=NOW, rebuild=Rebuilds(), progress=change)
    assert [problem.line for problem in refused.value.problems] == [5]
    assert not list(store.stated(DB, ALWAYS))


def test_only_what_acts_on_spans_touches_other_sources(store: SqlStore) -> None:
    header, *lines = FILE.splitlines(keepends=True)
    take(store, header + b"".join(lines[1:5]))
    rebuild = Rebuilds()
    maintenance = next(line for line in lines if b'"id":"m-1"' in line)
    assert take(store, header + maintenance, rebuild=rebuild).facts == 1
    assert rebuild.asked == [[]]
    annulment = next(line for line in lines if b'"annulment"' in line)
    take(store, header + annulment, rebuild=rebuild)
    assert rebuild.asked[1:] == [[DB, LOGIN]]


def own(*facts: Fact, at_us: int = NOW - 1000, runs: Iterable[Run] = ()) -> Unit:
    return Unit(recorded_at_us=at_us, facts=facts, runs=tuple(runs))


def test_an_import_into_a_lived_ledger_is_kept_and_counts_for_nothing(store: SqlStore) -> None:
    mine = run(LOGIN, parse_instant("2026-04-01T00:00:00+07:00"), Outcome.FAIL, reason="dns")
    store.commit(own(claim(1), runs=[mine]))
    rebuild = Rebuilds()
    report = take(store, FILE, rebuild=rebuild)
    assert report.counts is False
    assert (report.facts, report.runs, report.stated, report.disputed, report.contested) == (18, 0, 0, 4, 0)
    assert rebuild.asked == []
    assert store.first_own_entry() == 1
    assert list(store.runs(LOGIN, ALWAYS)) == [mine]
    assert store.mark(UNFINISHED_IMPORT) is None
    again = take(store, FILE)
    assert (again.facts, again.disputed, again.known_facts, again.known_evidence) == (0, 0, 18, 4)


def claim(n: int) -> Claim:
    return Claim(partner="acme", service="portal", month="2026-04", at_us=n)


def test_a_lived_ledger_goes_out_with_its_origins_and_its_disputed_evidence(make: Callable[[str], SqlStore]) -> None:
    store, other = make("store"), make("other")
    mine = run(LOGIN, parse_instant("2026-04-01T00:00:00+07:00"), Outcome.FAIL, reason="dns")
    store.commit(own(claim(1), runs=[mine]))
    take(store, FILE)
    data = exported(store)
    lines = [orjson.loads(line) for line in data.splitlines()]
    assert [line["entry"]["origin"] for line in lines if "entry" in line] == ["own", *["imported"] * 18]
    assert [line.get("counts", True) for line in lines if line["type"] in {"run", "spans"}] == [True, *[False] * 4]
    report = export(store, io.BytesIO())
    assert (report.entries, report.runs, report.stated, report.disputed) == (19, 1, 0, 4)
    taken = take(other, data)
    # Imported anew they are all imported facts; that 18 of them counted for nothing there is said.
    assert (taken.facts, taken.placed, taken.formerly_disputed) == (19, 19, 18)
    assert (taken.runs, taken.disputed) == (1, 4)
    assert list(other.runs(LOGIN, ALWAYS)) == [replace(mine, origin=Origin.IMPORTED)]
    assert len(list(other.runs(LOGIN, ALWAYS, disputed=True))) == 3
    assert take(other, data).disputed == 0


def test_a_contested_run_goes_out_as_a_conflict_and_comes_back(make: Callable[[str], SqlStore]) -> None:
    store, other = make("store"), make("other")
    store.commit(Unit(recorded_at_us=1, runs=[run(LOGIN, 5), run(LOGIN, 5, attempts=2)]))
    data = exported(store)
    assert b'"outcome":"inconclusive"' in data
    assert b'"reason":"conflict"' in data
    assert take(other, data).runs == 1
    assert without_entries(exported(other)) == without_entries(data)
    assert take(store, data).contested == 0


def test_two_contents_of_a_run_in_a_file_are_contested(store: SqlStore) -> None:
    lines = FILE.splitlines(keepends=True)
    other = lines[2].replace(b"81234", b"81235")
    report = take(store, b"".join([*lines[:3], other, lines[2]]))
    assert (report.runs, report.contested) == (0, 1)
    assert [held.reason for held in store.runs(LOGIN, ALWAYS)] == ["conflict"]


def test_every_fact_of_a_ledger_survives_the_file(make: Callable[[str], SqlStore]) -> None:
    """Facts with everything set, as the program itself writes them."""
    store, other = make("store"), make("other")
    at = NOW - 1
    facts: list[Fact] = [
        Maintenance(id="m", services=("a", "b"), start_us=5, end_us=4, at_us=at, partners=("p",), summary="é", by="x"),
        Notice(maintenance="m", partner="p", at_us=at, channel="mail", by="x", receipt="250 ok", evidence="log"),
        Exclusion(
            id="x", reason=ExclusionReason.ATTACK, services=("a",), start_us=-1, end_us=1, at_us=at, partners=("p",)
        ),
        Adjudication(
            id="j", service="a", start_us=1, end_us=2, verdict=Ruling.UNKNOWN, at_us=at, agreed_by="p", note="n"
        ),
        Annulment(id="a", service="a", check="c", location="l", start_us=1, end_us=2, at_us=at, by="x", note="n"),
        Reversal(of="j", at_us=at, by="x", note="n"),
        Outage(id="o", service="a", start_us=1, end_us=1, at_us=at, failing="3/5"),
        Close(
            partner="p",
            service="a",
            month="2026-04",
            version=2,
            digest="d",
            at_us=at,
            inputs={"a": [1, {"b": None}]},
            by="x",
        ),
        TermsAdopted(
            contract="c", effective_from_us=at, terms={"timezone": "UTC", "credits": [], "collective_leave": True}
        ),
    ]
    store.commit(own(*facts))
    take(other, exported(store))
    assert [entry.fact for entry in other.entries()] == facts
