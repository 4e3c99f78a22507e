"""The API reads a record that is carried on: each answer is of one committed state, as a fresh reading gives it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from monitor.app import compose
from monitor.app.desk import ApiDesk
from monitor.core.calendar import Month
from monitor.core.instant import DAY_US, HOUR_US
from monitor.ledger.act import Done
from monitor.ledger.command import AnnounceMaintenance
from monitor.ledger.month import Months
from monitor.ledger.record import read_record
from monitor.web.tokens import Tokens
from tests.app.conftest import WITHIN_S
from tests.app.test_series import settings_of

WINDOWS = 30
READERS = 4


async def test_each_answer_is_of_one_state_while_decisions_are_made(tmp_path: Path) -> None:
    daemon = compose(settings_of(tmp_path, 0, services=2, checks=2))
    await daemon.start()
    desk = ApiDesk(daemon.views, Tokens(tmp_path / "tokens.json"), decide=daemon.decide, reread=daemon.reload_asked)
    sizes: list[int] = []
    grown = asyncio.Condition()

    def compared(months: Months) -> bool:
        fresh = read_record(months.reader, months.basis.agreements)
        sizes.append(fresh.size)
        month = Month(2026, 4)
        said = [one.document for one in months.statements(month)]
        again = Months(months.reader, months.basis, months.now_us).statements(month)
        return months.record == fresh and said == [one.document for one in again]

    async def read_on() -> list[bool]:
        found = []
        while not done.is_set():
            found.append(await desk.read(compared))
            async with grown:
                grown.notify_all()
        return [*found, await desk.read(compared)]

    done = asyncio.Event()
    try:
        readers = [asyncio.create_task(read_on()) for _ in range(READERS)]
        start_us = daemon.clock.now_us() + 3 * DAY_US
        for n in range(WINDOWS):
            window = AnnounceMaintenance(
                services=("s0",), start_us=start_us + n * DAY_US, end_us=start_us + n * DAY_US + HOUR_US, summary="work"
            )
            seen = max(sizes, default=0)
            assert isinstance(await desk.decide(window, by="test", over_closed=False), Done)
            async with asyncio.timeout(WITHIN_S), grown:
                await grown.wait_for(lambda seen=seen: max(sizes, default=0) > seen)  # type: ignore[misc]
        done.set()
        answers = [same for found in await asyncio.gather(*readers) for same in found]
    finally:
        done.set()
        await daemon.stop()
    assert all(answers)
    assert len(set(sizes)) >= WINDOWS, "they did read between decisions"
