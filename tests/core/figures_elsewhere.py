"""Prints the figures of fixed worlds and months. Run under several zones and locales: the bytes must not differ."""

from __future__ import annotations

import locale
import random
import sys
from contextlib import suppress

from monitor.core.availability import account, floor_text
from monitor.core.calendar import Month, claim_deadline_us, month_span
from monitor.core.instant import format_instant
from monitor.core.month import Figures, Status
from monitor.core.statement import Setting, digest_of, document
from monitor.core.verdict import Verdict, VerdictSpan
from tests.core import oracle
from tests.core.examples import WIB, subscription, terms
from tests.core.worlds import HORIZON, LOCATIONS, PARTNERS, account_of


def world(seed: int) -> oracle.World:
    chance = random.Random(seed)
    runs = tuple(
        oracle.RunItem(check, place, chance.randrange(HORIZON), chance.choice(["pass", "fail", "fail"]))
        for check in ("a", "b", "c")
        for place in LOCATIONS
        for _ in range(6)
    )
    listing = oracle.Listing(0, 6, (("a", True), ("b", True), ("c", False)))
    return oracle.World(lists=(listing,), runs=runs, exclusions=(oracle.Exclusion("x", 3, 9, 1),), notice=5)


def main() -> None:
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    for seed in range(6):
        for partner in PARTNERS:
            found = account_of(world(seed), partner, (0, HORIZON))
            sys.stdout.write(f"{seed} {partner} {found.down_us} {found.unknown_us} {floor_text(found.availability)}\n")
    for month in (Month(2026, 1), Month(2026, 2), Month(2028, 2), Month(2026, 4)):
        sys.stdout.write(statement(month))


def statement(month: Month) -> str:
    period = month_span(month, WIB)
    verdicts = [VerdictSpan(period.start_us, period.start_us + 10**11, Verdict.DOWN, 3, 0, 4)]
    verdicts.append(VerdictSpan(verdicts[0].end_us, period.end_us, Verdict.UP, 0, 0, 4))
    figures = Figures(
        month=month,
        partner="acme",
        service="portal",
        terms=terms(),
        subscription=subscription(),
        account=account(verdicts, period, period.end_us, ()),
        rejected=(),
    )
    deadline_us = claim_deadline_us(month, 30, WIB)
    setting = Setting(
        partner_name="Yayasan Açme",
        service_name="Portal",
        zone=WIB,
        version=1,
        status=Status.FINAL,
        claim="open",
        claim_filed_us=None,
        claim_deadline_us=deadline_us,
        decisions=(),
        imported=False,
        issued_us=period.end_us,
        checkpoint=None,
        restates=None,
        incidents=(),
        check_lists=(),
        locations=("jkt-1",),
        software="jaga 0",
        holidays="id",
        entries=1,
        head="sha256:0",
        first_failures=(None,),
    )
    found = document(figures, setting)
    return f"{month} {format_instant(deadline_us, WIB)} {digest_of(found)} {found['credit']}\n{found}\n"


if __name__ == "__main__":
    main()
