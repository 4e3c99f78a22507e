"""Probing costs little: libraries are loaded when they are needed, and nothing is left to the garbage collector."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.probes.hostile import Hostile

HEAVY = ("aiohttp", "cryptography", "cssselect", "jsonpath", "jsonschema_rs", "lxml", "regex", "rich", "sqlalchemy")

PROGRAM = f"""
import asyncio, gc, sys
from probes._net import LiveNetwork
from tests.probes.asking import ask

async def main():
    network = LiveNetwork()
    check = {{"http": {{"get": sys.argv[1]}}, "expect": {{"json": {{"$.a[0]": 1}}, "body": {{"contains": "hello"}}}}}}
    for _ in range(3):
        await ask(network, check)
    gc.collect()
    gc.disable()
    for _ in range(50):
        await ask(network, check)
    print(gc.collect(), [name for name in {HEAVY!r} if name in sys.modules])

asyncio.run(main())
"""


@pytest.mark.parametrize("behaviour", ["good", "truncated", "closes", "garbage", "gzip_bomb"])
def test_a_probe_leaves_no_circles_and_loads_no_heavy_library(behaviour: str, hostile: Hostile) -> None:
    """In a process of its own, as the server has circles of its own."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, hostile.url(behaviour)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True).stdout
    circles, libraries = said.split(maxsplit=1)
    assert libraries.strip() == "[]"
    assert int(circles) < 50, "each probe leaves a circle behind"
