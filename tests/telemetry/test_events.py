"""Every event that the program logs stands in docs/logs.md with its level, and nothing else does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "critical": "critical",
    "exception": "error",
}
STYLE = re.compile(r"[a-z]+([ -][a-z]+)*")


class Event(NamedTuple):
    name: str
    level: str
    fields: frozenset[str]


def logged_in(source: str, where: str = "") -> Iterator[Event]:
    """The events of a module: calls of a logger's methods, and those methods handed on with a name behind them."""
    tree = ast.parse(source)
    loggers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_get_logger(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def level_of(node: ast.AST) -> str | None:
        """The level of a logger's bound method such as `_log.info`."""
        if not isinstance(node, ast.Attribute) or node.attr not in LEVELS:
            return None
        is_logger = _is_get_logger(node.value) or (isinstance(node.value, ast.Name) and node.value.id in loggers)
        return node.attr if is_logger else None

    methods = {id(node) for node in ast.walk(tree) if level_of(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        parts = [node.func, *node.args]
        for method, name in zip(parts, [*parts[1:], None], strict=True):
            level = level_of(method)
            if level is None:
                continue
            methods.discard(id(method))
            assert isinstance(name, ast.Constant), f"{where}:{node.lineno}: an event's name is a literal"
            fields = {keyword.arg or "**" for keyword in node.keywords} if method is node.func else set()
            if level == "exception":
                fields.add("exception")
            yield Event(str(name.value), LEVELS[level], frozenset(fields))
    assert not methods, f"{where}: a logger's method goes where this test cannot see what it is called with"


def _is_get_logger(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in {"get_logger", "getLogger"}


@pytest.fixture(scope="module")
def logged(project_root: Path) -> set[Event]:
    return {
        event
        for package in ("monitor", "probes")
        for path in (project_root / package).rglob("*.py")
        if path.name != "logs.py"  # it sets the loggers up
        for event in logged_in(path.read_text(encoding="utf-8"), str(path))
    }


@pytest.fixture(scope="module")
def documented(project_root: Path) -> list[Event]:
    text = (project_root / "docs/logs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| ([^|]*)\| \S", text, re.MULTILINE)
    return [Event(name, level, frozenset(re.findall(r"`([^`]+)`", fields))) for name, level, fields in rows]


def test_the_table_is_the_program(logged: set[Event], documented: list[Event]) -> None:
    assert set(documented) == logged
    assert len(documented) == len(set(documented))


def test_names_are_of_one_style(logged: set[Event]) -> None:
    assert [event.name for event in logged if not STYLE.fullmatch(event.name)] == []


def test_the_walk_sees_every_way_to_log() -> None:
    source = (
        "import structlog\n_log = structlog.get_logger('x')\n"
        "_log.info('one', a=1)\n"
        "structlog.get_logger('y').warning('two')\n"
        "loop.add_signal_handler(1, _log.error, 'three')\n"
        "_log.exception('four', b=2)\n"
        "console.info('no logger')\n"
    )
    assert set(logged_in(source)) == {
        Event("one", "info", frozenset({"a"})),
        Event("two", "warning", frozenset()),
        Event("three", "error", frozenset()),
        Event("four", "error", frozenset({"b", "exception"})),
    }


@pytest.mark.parametrize("line", ["_log.info(f'one {x}')", "tell(_log.info)", "say = _log.info"])
def test_a_name_that_is_not_a_literal_is_refused(line: str) -> None:
    with pytest.raises(AssertionError, match=r"literal|cannot see"):
        list(logged_in(f"_log = get_logger()\n{line}\n"))
