"""Prints the statements of every golden month, canonically: run in processes of other zones, locales and hash seeds.

The bytes must not differ (CONTRACT 2.9). What a machine has no locale for is left at the C locale.
"""

from __future__ import annotations

import io
import locale
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.core.chain import canonical
from monitor.core.instant import DAY_US
from monitor.core.terms import Agreements
from monitor.ledger.act import Order, act
from monitor.ledger.command import CloseMonth
from monitor.ledger.decide import Refused
from monitor.ledger.evidence import rebuild
from monitor.ledger.explain import explain
from monitor.ledger.interchange import import_
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Store
from monitor.storage.opening import open_store
from tests.cases import reading
from tests.core.examples import WIB

BASIS = Basis(agreements=Agreements(), zone=ZoneInfo, software="jaga test")


def main() -> None:
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    time.tzset()
    with tempfile.TemporaryDirectory() as folder:
        for case in reading.cases():
            store = open_store(f"sqlite:///{case.name}.db", base=Path(folder))
            try:
                sys.stdout.buffer.write(b"".join(line + b"\n" for line in told(store, case)))
            finally:
                store.close()


def told(store: Store, case: reading.Case) -> list[bytes]:
    """The month's statements as they stand and, where it may close, as closed ten days later with their digests."""
    import_(store, io.BytesIO(case.file()), now_us=case.now_us, rebuild=rebuild)
    lines = [case.name.encode()]
    for found in Months(store, BASIS, case.now_us).statements(case.month):
        lines += [canonical(found.document), *(line.encode() for line in explain(found, WIB))]
    later_us = case.now_us + 40 * DAY_US
    for found in Months(store, BASIS, later_us).statements(case.month):
        ours = {"partner": found.figures.partner, "service": found.figures.service, "month": str(case.month)}
        done = act(store, BASIS, Order(command=CloseMonth(**ours), by="sari", now_us=later_us, tz_version="2026a"))
        lines.append(done.reason.encode() if isinstance(done, Refused) else done.entries[0].data)
    return lines


if __name__ == "__main__":
    main()
