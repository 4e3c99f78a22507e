"""A disk that loses its power: the writes of a traced session, and what may be left of them at each of its moments.

The trace is `strace`'s; what a file system may do is taken at its worst: nothing is durable that was not synced, a name
not before its folder was, unsynced writes survive in any selection, and the last write may be torn at a sector.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,openat,unlink,unlinkat,rename,renameat,renameat2"
_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
_FILE = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"([^"]*)"')

Image = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset of a file; `data` None cuts or stretches the file to the offset."""

    file: str
    offset: int
    data: bytes | None

    def onto(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
            return
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.data)] = self.data

    def torn(self) -> Write:
        """Its first sectors alone."""
        assert self.data is not None, "a length is one number, which no disk tears"
        return Write(self.file, self.offset, self.data[: len(self.data) // 2 // SECTOR * SECTOR])


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in the session: what was acknowledged by then (arrival, seq), and the images that may be found after."""

    acknowledged: tuple[int, int]
    images: Mapping[str, Image]


@dataclass(slots=True)
class Disk:
    """A folder's files as they are written, and as they are durable."""

    written: dict[str, bytearray] = field(default_factory=dict)
    durable: dict[str, bytearray] = field(default_factory=dict)
    unsynced: list[Write] = field(default_factory=list)
    unnamed: set[str] = field(default_factory=set)
    unlinked: set[str] = field(default_factory=set)

    def take(self, write: Write) -> None:
        write.onto(self.written[write.file])
        self.unsynced.append(write)

    def create(self, file: str) -> None:
        if file not in self.written:
            self.written[file], self.durable[file] = bytearray(), bytearray()
            self.unnamed.add(file)

    def unlink(self, file: str) -> None:
        """Gone from the folder as written; on the disk it is there until the folder is synced."""
        del self.written[file]
        self.unlinked.add(file)

    def sync_folder(self) -> None:
        self.unnamed.clear()
        for file in self.unlinked - self.written.keys():
            self.durable.pop(file, None)
            self.unsynced = [write for write in self.unsynced if write.file != file]
        self.unlinked.clear()

    def sync(self, file: str) -> None:
        self.durable[file] = bytearray(self.written[file])
        self.unsynced = [write for write in self.unsynced if write.file != file]

    def images(self, chance: random.Random) -> dict[str, Image]:
        """Everything; nothing unsynced; any of the unsynced; everything but half of the last write."""
        found = {
            "as written": _bytes(self.written),
            "unsynced dropped": {name: bytes(data) for name, data in self.durable.items() if name not in self.unnamed},
            "some of the unsynced": self._with([write for write in self.unsynced if chance.random() < 0.5]),
        }
        if self.unsynced and self.unsynced[-1].data is not None:
            found["torn last write"] = self._with([*self.unsynced[:-1], self.unsynced[-1].torn()])
        return found

    def _with(self, writes: list[Write]) -> Image:
        files = {name: bytearray(data) for name, data in self.durable.items()}
        for write in writes:
            write.onto(files[write.file])
        return _bytes(files)


def _bytes(files: Mapping[str, bytearray]) -> Image:
    return {name: bytes(data) for name, data in files.items()}


def trace(folder: Path, synchronous: str) -> list[str]:
    """Run the session on `folder` under strace; the lines of its system calls."""
    root, log = Path(__file__).parents[2], folder.with_name(f"{folder.name}.trace")
    folder.mkdir()
    session = [sys.executable, str(Path(__file__).with_name("session.py")), str(folder / "ledger.db"), synchronous]
    command = ["strace", "-y", "-xx", "-s", "70000", "-e", f"trace={CALLS}", "-o", str(log), *session]
    subprocess.run(command, check=True, timeout=200, cwd=root, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"})
    return log.read_text(encoding="ascii").splitlines()


def moments(lines: list[str], folder: Path, seed: int) -> Iterator[Moment]:
    """What may be left after each call that changed the folder, or said that something is durable."""
    disk, chance, acknowledged = Disk(), random.Random(seed), (0, 0)
    for line in lines:
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, arguments = match[1], match[2]
        if call == "write" and arguments.startswith("1<"):
            _, arrival, seq = _unhex(_TEXT.findall(arguments)[0]).split()
            acknowledged = (int(arrival), int(seq))
        elif not _apply(disk, call, arguments, folder):
            continue
        yield Moment(acknowledged, disk.images(chance))


def _apply(disk: Disk, call: str, arguments: str, folder: Path) -> bool:
    """Do a call on the disk; whether it concerned it."""
    if call == "openat":
        name = _name(_unhex(_TEXT.findall(arguments)[0]).decode(), folder)
        if name is not None and "O_CREAT" in arguments:
            disk.create(name)
        return False
    if call in {"unlink", "unlinkat", "rename", "renameat", "renameat2"}:
        names = [_name(_unhex(text).decode(), folder) for text in _TEXT.findall(arguments)]
        if not any(names):
            return False
        assert call == "unlink", f"a call that is not replayed: {call} {names}"
        disk.unlink(str(names[0]))
        return True
    path = _unhex(_FILE.match(arguments)[1]).decode()  # type: ignore[index]
    if call in {"fsync", "fdatasync"} and Path(path) == folder:
        disk.sync_folder()
        return True
    name = _name(path, folder)
    if name is None:
        return False
    if call in {"fsync", "fdatasync"}:
        disk.sync(name)
    elif call == "ftruncate":
        disk.take(Write(name, int(arguments.rpartition(", ")[2]), None))
    else:
        assert call == "pwrite64", f"a call that is not replayed: {call}"
        offset = int(arguments.rpartition(", ")[2])
        disk.take(Write(name, offset, _unhex(_TEXT.findall(arguments)[0])))
    return True


def _name(path: str, folder: Path) -> str | None:
    """The file's name where it is one of the ledger's. The log's index (-shm) is memory, the lock holds nothing."""
    file = Path(path)
    ours = file.parent == folder and file.name.startswith("ledger.db") and file.suffix != ".lock"
    return file.name if ours and not file.name.endswith("-shm") else None


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
