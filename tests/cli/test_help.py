"""Every verb has help with an example, the list of verbs is cheap, and what was mistyped is guessed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from monitor.cli import _VERBS, jaga


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, f"{path} {name}")


ALL = dict(_commands(jaga, "jaga"))


@pytest.mark.parametrize("path", ALL)
def test_help_has_an_example_of_that_very_verb(path: str) -> None:
    said = CliRunner().invoke(jaga, [*path.split()[1:], "--help"], prog_name="jaga", terminal_width=200)
    assert said.exit_code == 0
    assert f"Example: {path}" in said.output


@pytest.mark.parametrize("path", ALL)
def test_every_option_is_explained_or_plain(path: str) -> None:
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help or parameter.required, f"{path} {parameter.opts}"


@pytest.mark.parametrize("name", _VERBS)
def test_the_list_of_verbs_knows_no_verb_that_is_not_there(name: str) -> None:
    command = importlib.import_module(_VERBS[name].module).command
    assert command.name == name


def test_help_imports_no_verb() -> None:
    script = (
        "import sys; sys.argv = ['jaga', '--help']\n"
        "from monitor.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert ended.code == 0\n"
        "heavy = {'pydantic', 'sqlalchemy', 'aiohttp', 'rich', 'structlog', 'prometheus_client', 'yaml', 'asyncio'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
        "verbs = [m for m in sys.modules if m.startswith('monitor.') and not m.startswith('monitor.cli')]\n"
        "assert not verbs, verbs\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=200)


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "status"), ("demoo", "demo")])
def test_a_mistyped_verb_is_guessed(typed: str, meant: str) -> None:
    said = CliRunner().invoke(jaga, [typed])
    assert said.exit_code == 2
    assert f'Did you mean "{meant}"?' in said.output


def test_something_else_lists_the_verbs() -> None:
    said = CliRunner().invoke(jaga, ["xyzzy"])
    assert said.exit_code == 2
    assert "demo, init, check" in said.output


def test_version() -> None:
    said = CliRunner().invoke(jaga, ["--version"])
    assert said.exit_code == 0
    assert said.output.startswith("jaga 0.")


@pytest.mark.parametrize(("line", "offered"), [("jaga sta", {"status", "statement"}), ("jaga ledger ve", {"verify"})])
def test_the_shell_completes_verbs(line: str, offered: set[str]) -> None:
    words = line.split()
    environment = {"_JAGA_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    said = CliRunner().invoke(jaga, [], prog_name="jaga", env=environment)
    assert {item.split(",")[1] for item in said.output.split()} == offered
