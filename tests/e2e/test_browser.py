"""The page in a real browser: nothing that a name says is run, and the style that is its own is."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.web.pages import listen
from monitor.web.public import Handed
from tests.web.desk import empty_desk

MARK = "data-owned"
RUN = f"document.documentElement.setAttribute('{MARK}','1')"
HOSTILE = (
    f"<script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">',
    f'"><svg onload="{RUN}">',
    f"</style><script>{RUN}</script>",
    f'</pre></table><iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f"javascript:{RUN}",
    f'<meta http-equiv="refresh" content="0;url=javascript:{RUN}">',
    f'<a href="javascript:{RUN}" id=x>x</a><script>x.click()</script>',
    "<style>@import '/owned.css'; body { background: url(/owned.png) }</style>",
    "{{ 7 * 7 }} ${7*7} {% raw %}",
    "\u202egnp.exe\u2066 \u0000 \x1b[31m",
    "A" * 10_000,
)


def hostile_status() -> dict[str, Any]:
    """Every text of the document is hostile."""
    services: list[dict[str, Any]] = []
    for text in HOSTILE:
        window = {
            "id": text,
            "start": text,
            "end": text,
            "summary": text,
            "running": True,
            "qualifies": False,
            "rejected": {text: text},
            "notice_by": {text: text} if len(services) % 2 else {},
        }
        slow = dict.fromkeys(("check", "location", "since", "duration_seconds", "usual_seconds"), text)
        services.append(
            {
                "id": text,
                "name": text,
                "verdict": text,
                "why": text,
                "failing": [text],
                "unknown": [text],
                "passing": [text],
                "total": 1,
                "degraded": [slow],
                "outage": {"start": text, "seconds": text},
                "maintenance": [window],
                "months": [{"partner": text, "month": text, "best_case": text}],
                "incidents": [{"id": text, "priority": text, "phase": text}],
            },
        )
    return {"at": HOSTILE[0], "services": services}


async def dump(url: str, folder: Path) -> str:
    """The document as the browser has it once all has run."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("not installed: chromium")
    started = await asyncio.create_subprocess_exec(
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=3000",
        "--dump-dom",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _err = await asyncio.wait_for(started.communicate(), 90)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    return out.decode(errors="replace")


async def _metrics(_accept: str) -> tuple[bytes, str]:
    return b"", "text/plain"


async def _status() -> Mapping[str, Any]:
    return hostile_status()


@pytest.mark.slow
async def test_hostile_names_run_nothing_in_a_browser(tmp_path: Path) -> None:
    desk = empty_desk(tmp_path)
    handed = Handed(
        version=HOSTILE[0],
        not_ready=lambda: None,
        metrics=_metrics,
        status=_status,
        checkpoint=lambda: "".join(HOSTILE),
    )
    listening = await listen(handed, desk, "127.0.0.1", 0)
    asked: list[str] = []

    @web.middleware
    async def remembered(request: web.Request, handler: Any) -> Any:  # noqa: ANN401
        asked.append(request.path)
        return await handler(request)

    app: Any = listening.runner.app
    app._middlewares_handlers = (*app._middlewares_handlers, (remembered, True))
    try:
        page = await dump(listening.url, tmp_path)
        assert "Jaga" in page
        assert page.count("onerror") >= 5, "the names are there, as text"
        assert f"{MARK}=" not in page
        assert "/" in asked
        assert set(asked) <= {"/", "/favicon.ico"}, "nothing was fetched for them"
    finally:
        await listening.stop()
        desk.store.close()


@pytest.mark.slow
async def test_the_same_names_do_run_where_nothing_is_escaped(tmp_path: Path) -> None:
    """Without this the test above could not fail."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=f"<!doctype html><title>x</title>{HOSTILE[1]}", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = await dump(f"http://127.0.0.1:{runner.addresses[0][1]}/", tmp_path)
        assert f'{MARK}="1"' in found
    finally:
        await runner.cleanup()
