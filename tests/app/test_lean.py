"""A daemon loads what its configuration needs, and no more."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.app.conftest import WITHIN_S, Target, configuration

UNUSED = (
    "apprise",
    "asyncpg",
    "cssselect",
    "holidays",
    "jsonpath",
    "jsonschema_rs",
    "lxml",
    "nats",
    "psycopg",
    "typst",
)

PROGRAM = f"""
import asyncio, sys
from pathlib import Path
from monitor.app import compose
from monitor.config import compact, load

async def story():
    daemon = compose(compact(load(Path(sys.argv[1])).settings))
    await daemon.start()
    while not daemon.recorder.stats.committed_runs:
        await asyncio.sleep(0.05)
    await asyncio.to_thread(daemon.views.snapshot)
    await daemon.stop()

asyncio.run(asyncio.wait_for(story(), {WITHIN_S}))
print("aiohttp" in sys.modules, [name for name in {UNUSED!r} if name in sys.modules])
"""


async def test_http_checks_on_sqlite_load_no_library_of_other_kinds_stores_and_channels(
    tmp_path: Path, target: Target
) -> None:
    path = configuration(tmp_path, target, checks=20)
    words = (sys.executable, "-c", PROGRAM, str(path))
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(*words, cwd=root, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert said.decode().splitlines()[-1] == "True []", "behind the lines of the log"


async def test_the_verb_of_the_daemon_loads_nothing_for_colours_and_no_mapper_of_objects() -> None:
    program = (
        "import sys, monitor.cli.run, monitor.app; print([m for m in ('rich', 'sqlalchemy.orm') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=root, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert said.decode().split() == ["[]"]


async def test_the_verbs_load_nothing_of_the_daemon_nor_for_colours() -> None:
    """Each of them imported: what a verb needs of the daemon, it imports when it runs."""
    program = (
        "import importlib, sys, monitor.cli as cli; "
        "[importlib.import_module(verb.module) for name, verb in cli._VERBS.items() if name not in ('run', 'demo')]; "
        "print([m for m in ('aiohttp', 'monitor.app', 'monitor.detector', 'rich') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=root, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert said.decode().split() == ["[]"]
