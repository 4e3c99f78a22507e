"""What entries say of files beside the ledger: attachments by their digests, personal data by its references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from monitor.core.fact import PersonalErased
from monitor.core.personal import references
from monitor.storage import Reader
from monitor.storage.beside import ATTACHMENTS, BesideError, check, reference_of

_MAY_REFER, _MAY_ATTACH = b'"personal:', b'"attachments":['


@dataclass(slots=True)
class Spoken:
    """The entries that first speak of each file, by its name (`storage.beside`), and references that were erased."""

    files: dict[str, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)

    @staticmethod
    def of(reader: Reader) -> Spoken:
        """A walk over the entries."""
        found = Spoken()
        for columns, data in reader.raw_entries():
            if _MAY_REFER in data:
                for reference in references(data):
                    found.files.setdefault(reference.replace(":", "/"), columns["seq"])
            if _MAY_ATTACH in data:
                for attached in orjson.loads(data)["fact"].get("attachments", ()):
                    digest = attached["digest"].removeprefix("sha256:")
                    found.files.setdefault(f"{ATTACHMENTS}/{digest}", columns["seq"])
            if columns["type"] == PersonalErased.TYPE:
                found.erased.add(orjson.loads(data)["fact"]["of"])
        return found

    def missing(self, names: Iterable[str]) -> dict[str, int]:
        """What is spoken of, was not erased, and is not among those names."""
        there = set(names)
        return {
            name: seq for name, seq in self.files.items() if name not in there and reference_of(name) not in self.erased
        }


def changed(files: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    """Every file that is not what its name says, in words."""
    for name, data in files:
        try:
            check(name, data)
        except BesideError as error:
            yield str(error)
