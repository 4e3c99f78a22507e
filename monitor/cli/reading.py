"""What verbs read: the configuration, the agreements to judge by, and the store, beside a running daemon or without."""

from __future__ import annotations

from monitor.telemetry import plainly  # noqa: F401 - before whatever logs

# isort: split
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.exits import WrongUseError
from monitor.cli.place import Place
from monitor.cli.version import software
from monitor.clock import wall_us
from monitor.config import Loaded, Settings, load, zone
from monitor.config.holidays import business_clock, describe
from monitor.core.terms import Agreements
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Reader, Store, opening
from monitor.storage.beside import BesideFiles
from monitor.storage.personal import PersonalFiles

if TYPE_CHECKING:
    from monitor.sealing import checkpoints as sealing


def place() -> Place:
    """Where the running verb works."""
    return click.get_current_context().ensure_object(Place)


def settings() -> Settings:
    """The configuration of the verb's place; WrongUseError where there is none, ConfigError where it is refused."""
    return read_settings(place())


def read_settings(where: Place) -> Settings:
    """The configuration of a place. A `--store` replaces its store, relative to where the caller stands."""
    found = require(where).settings
    if where.store is None:
        return found
    return replace(found, store=where.store, store_as_written=None, base=Path.cwd())


def require(where: Place) -> Loaded:
    """What a place's file says, with its warnings; WrongUseError where there is no file, ConfigError as `load`."""
    if not where.config.exists():
        raise WrongUseError(f"{where.config}: there is no such configuration; jaga init writes a starter")
    return load(where.config)


def basis_of(found: Settings | None) -> Basis:
    """What figures are judged by: the configured agreements (none without a configuration) and our own zones."""
    agreements = Agreements() if found is None else found.agreements()
    return Basis(agreements=agreements, zone=zone, software=software(), holidays=describe, business=business_clock)


def configured() -> Settings | None:
    """The configuration, or None where only `--store` was given and no configuration is there to be read."""
    where = place()
    if where.store is not None and not where.chosen and not where.config.exists():
        return None
    return read_settings(where)


def store_address() -> tuple[str, Path]:
    """The store's URL and the folder it is relative to. With `--store` no configuration is needed."""
    where = place()
    if where.store is not None:
        return where.store, Path.cwd()
    found = read_settings(where)
    return found.store, found.base


def store_file() -> Path | None:
    """The file of the store of the verb's place, where it is one: the daemon's socket lies beside it."""
    url, base = store_address()
    return opening.sqlite_path(url, base=base)


def attachments_folder() -> Path:
    """The folder beside which attachments are kept: the store's, or where there is no file the configuration's."""
    file = store_file()
    return store_address()[1] if file is None else file.parent


def beside_files() -> BesideFiles:
    """The attachments and personal data of the verb's store."""
    url, base = store_address()
    return opening.beside_files(url, base=base)


def sealing_place() -> sealing.Place:
    """Where the signing key of the verb's store lies."""
    from monitor.sealing.checkpoints import place_of

    where = place()
    found = configured()
    if found is None:
        assert where.store is not None, "without a configuration the store is named"
        return place_of(where.store, base=Path.cwd())
    return place_of(found.store, base=found.base, key=found.signing_key, origin=found.origin)


def personal_files() -> PersonalFiles:
    """The personal data beside the verb's store."""
    url, base = store_address()
    return opening.personal_files(url, base=base)


@contextmanager
def open_reader() -> Iterator[Reader]:
    """The store of the verb's place, read-only."""
    url, base = store_address()
    reader = opening.open_reader(url, base=base)
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def open_store() -> Iterator[Store]:
    """The store of the verb's place, owned: StoreOwnedError while a daemon runs."""
    url, base = store_address()
    store = opening.open_store(url, base=base)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def reading() -> Iterator[Months]:
    """The months of the ledger as it stands now, all from one committed state."""
    basis = basis_of(configured())
    with open_reader() as reader, reader.snapshot() as frozen:
        yield Months(frozen, basis, wall_us())
