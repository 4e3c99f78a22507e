"""How a verb ended, as an exit code: one place, and every error type it names exists."""

from __future__ import annotations

import importlib

import click
import pytest

from monitor.cli.exits import CODES, AnswerIsNoError, Exit, WrongUseError, code_of
from monitor.storage import HeadMovedError, NewerSchemaError, StoreError, StoreMisusedError, StoreOwnedError


def _raise(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AnswerIsNoError("the chain does not verify"), 1, "jaga: the chain does not verify"),
        (WrongUseError("no such month"), 2, "jaga: no such month"),
        (click.UsageError("what?"), 2, "what?"),
        (StoreOwnedError("open", "ledger.db", "pid 7 on here"), 2, "owned by pid 7"),
        (
            StoreError("open", "ledger.db", "no such folder", "make it"),
            3,
            "jaga: open ledger.db: no such folder (make it)",
        ),
        (NewerSchemaError("ledger.db", 9, 3), 2, "its schema is version 9, this program knows up to 3"),
        (
            StoreMisusedError("open", "the store", '"mysql" is no kind of store', "write sqlite:///x.db"),
            2,
            "no kind of",
        ),
        (HeadMovedError("commit", "ledger.db", "it moved", "again"), 3, "it moved"),
        (PermissionError(13, "Permission denied", "/x"), 3, "jaga: /x: Permission denied"),
        (OSError(28, "No space left on device"), 3, "jaga: No space left on device"),
        (ZeroDivisionError("bug"), 3, "a fault of jaga itself"),
    ],
)
def test_codes(error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(lambda: _raise(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(error: BaseException) -> None:
    assert code_of(lambda: _raise(error)) == Exit.INTERRUPTED


def test_done() -> None:
    assert code_of(lambda: None) == Exit.DONE
    assert code_of(lambda: _raise(click.exceptions.Exit(1))) == Exit.NO


@pytest.mark.parametrize(("module", "name", "code"), CODES)
def test_every_named_error_exists(module: str, name: str, code: Exit) -> None:
    kind = getattr(importlib.import_module(module), name)
    assert issubclass(kind, Exception)
    assert code in {Exit.NO, Exit.WRONG_USE, Exit.ENVIRONMENT}


def test_the_narrower_error_stands_first() -> None:
    kinds = [getattr(importlib.import_module(module), name) for module, name, _code in CODES]
    for position, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[position + 1 :]), kind
