"""How a store is asked: over an engine, or over one connection of a snapshot. What all questions go through."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, Engine, RowMapping, Select, select

from monitor.core.run import SourceKey
from monitor.storage import Acknowledged
from monitor.storage.cold import (
    Decoded,
)
from monitor.storage.errors import mapped
from monitor.storage.schema import LEDGER, SOURCES

PAGE_ROWS = 1000

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound="Asking")

# Service, check, location, disputed -> the id of the source's row. Ids are for ever, so what is known stays true.
SourceIds = dict[tuple[str, str, str, bool], int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What the two engines do differently for a reader: how to say what it is, its size, and one frozen state."""

    name: str
    target: str
    size_bytes: Callable[[Connection], int]
    acknowledged: Callable[[], Acknowledged | None] = lambda: None
    damage: Callable[[Connection, Callable[[], None]], Iterator[str]] = lambda _connection, _pause: iter(())
    snapshot_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Asking(ABC):
    """What a reader asks through, and what every question needs: one state, and the ids of sources."""

    def __init__(
        self,
        engine: Engine,
        backend: Backend,
        *,
        bound: Connection | None = None,
        sources: SourceIds | None = None,
        decoded: Decoded | None = None,
    ) -> None:
        self._engine = engine
        self._backend = backend
        self._bound = bound
        self._closed = False
        self._ids: SourceIds = {} if sources is None else sources
        self._decoded = decoded or Decoded()

    @property
    def engine_name(self) -> str:
        """The engine and its version, such as `SQLite 3.40.1`: logged at start and exported."""
        return self._backend.name

    @property
    def target(self) -> str:
        """The store's address without secrets, for messages."""
        return self._backend.target

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Asking]:
        """A reader whose answers all come from one committed state, for as long as the block lasts."""

    def last_arrival(self) -> int:
        """The number of the last run that arrived; 0 while there is none."""
        return int(self._tuples(select(LEDGER.c.arrival))[0][0])

    def close(self) -> None:
        """Let go of the store; further calls are faults of the program."""
        self._closed = True
        self._engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        assert not self._closed, "the store was closed"
        with mapped("read", self.target):
            if self._bound is not None:
                yield self._bound
            else:
                with self._engine.connect() as connection:
                    yield connection

    def _tuples(self, query: Select[Any], asked: Mapping[str, Any] | None = None) -> list[Any]:
        with self._connect() as connection:
            return list(connection.execute(query, asked).all())

    def _scalars(self, query: Select[Any]) -> list[Any]:
        return [row[0] for row in self._tuples(query)]

    def _row(self, query: Select[Any]) -> RowMapping | None:
        with self._connect() as connection:
            return connection.execute(query).mappings().first()

    def _source_id(self, source: SourceKey, *, disputed: bool = False) -> int | None:
        known = self._ids.get((*source, disputed))
        if known is None:
            matches = (SOURCES.c[name] == value for name, value in source._asdict().items())
            row = self._row(select(SOURCES.c.id).where(*matches, SOURCES.c.counts == (0 if disputed else 1)))
            if row is None:
                return None
            known = self._ids[*source, disputed] = row["id"]
        return known


def in_one_state(ask: Callable[Concatenate[R, P], T]) -> Callable[Concatenate[R, P], T]:
    """Rows and segments from one state: a row that went in between would be in neither."""

    @functools.wraps(ask)
    def asked(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.snapshot() as frozen:
            return ask(cast("R", frozen), *args, **kwargs)

    return asked
