"""A probe kind from outside the tree, installed as a real distribution would be, that misbehaves as it is told."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import probes

FAULTY = '''
"""Misbehaves as told: `script` holds one word an attempt, the last one repeats."""

import asyncio
from dataclasses import dataclass

from probes import FailReason, InconclusiveReason, Outcome, OwnFault, ProbeError, Result

EXPECTS = frozenset()
attempts = 0
cancelled = 0


@dataclass(frozen=True)
class Spec:
    script: tuple = ("pass",)


def target(spec):
    return "127.0.0.1:1"


async def probe(spec, ctx):
    global attempts, cancelled
    word = spec.script[min(attempts, len(spec.script) - 1)]
    attempts += 1
    if word == "pass":
        return Result(outcome=Outcome.PASS)
    if word == "fail":
        raise ProbeError(FailReason.CONNECT, "refused")
    if word == "timeout":
        raise ProbeError(FailReason.TIMEOUT, "time ran out")
    if word == "stalled":
        ctx.tainted = True
        raise ProbeError(FailReason.TIMEOUT, "time ran out")
    if word == "own":
        raise OwnFault(InconclusiveReason.OWN_RESOLVER, "no answer in time")
    if word == "crash":
        raise KeyError("s3cret")
    if word == "exit":
        raise SystemExit(3)
    if word == "oserror":
        raise OSError(24, "s3cret")
    if word == "nothing":
        return None
    if word == "cancel":
        raise asyncio.CancelledError
    if word == "hang":
        await asyncio.get_running_loop().create_future()
    if word == "stubborn":
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled += 1
    raise AssertionError(word)
'''


@pytest.fixture(scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("site")
    _write(folder / "faulty_kind.py", FAULTY)
    info = folder / "faulty_kind-1.0.dist-info"
    info.mkdir()
    _write(info / "METADATA", "Metadata-Version: 2.1\nName: faulty-kind\nVersion: 1.0\n")
    _write(info / "entry_points.txt", "[jaga.probes]\nfaulty = faulty_kind\n")
    sys.path.append(str(folder))
    _forget_kinds()
    yield importlib.import_module("faulty_kind")
    sys.path.remove(str(folder))
    sys.modules.pop("faulty_kind")
    _forget_kinds()


@pytest.fixture
def faulty(_installed: ModuleType) -> ModuleType:
    """The module of the kind `faulty`, its counters at zero."""
    _installed.__dict__.update(attempts=0, cancelled=0)
    return _installed


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _forget_kinds() -> None:
    for cached in (probes._outside, probes.kinds, probes.load):
        cached.cache_clear()
