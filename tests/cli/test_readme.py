"""The README's commands are the program's: every verb and option in it exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from monitor.cli import jaga

README = Path(__file__).resolve().parents[2] / "README.md"


def _commands() -> list[list[str]]:
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("./jaga ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_there_are_commands() -> None:
    assert ["demo"] in _commands()
    assert len(_commands()) > 10


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_verbs_and_options_exist(words: list[str]) -> None:
    if words == ["test"]:
        return  # the script's own: it runs pytest
    command: click.Command = jaga
    position = 0
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[position])
        assert found is not None, words
        command, position = found, position + 1
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[position:] if word.startswith("--")} <= known


def test_the_first_screen_shows_it_and_gives_the_two_commands() -> None:
    screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:40])
    for piece in ("./jaga demo", "./jaga test", "more than half: down", "credit 10%"):
        assert piece in screen
