from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import main

CONFIG = """\
store: sqlite:///ledger.db
location: {id: jkt-1}
web: {listen: 127.0.0.1:0}
contracts:
  mitra:
    terms:
      - effective_from: 2026-01-01
        timezone: Asia/Jakarta
        guarantee: 95%
        objective: 99.9%
        credits: [{below: 95%, credit: 10%}, {below: 90%, credit: 25%}, {below: 85%, credit: 50%}]
        maintenance_notice: 48h
        claim_within: 30d
services:
  portal:
    name: Portal and API
    interval: 60s
    timeout: 10s
    checks:
      a: {http: {get: "http://127.0.0.1:9/"}, expect: {status: 200}}
      b: {http: {get: "http://127.0.0.1:9/"}, expect: {status: 200}}
partners:
  acme: {name: Yayasan Acme, contract: mitra, services: {portal: {fee: IDR 12500000}}}
"""

# April 2026: both checks fail for 37 h on the 10th and 11th; unknown from the 20th on.
HISTORY: list[dict[str, Any]] = [
    {"type": "header", "format": "jaga-ledger/1"},
    {
        "type": "checks",
        "service": "portal",
        "at": "2026-03-01T00:00:00+07:00",
        "interval_s": 60,
        "timeout_s": 10,
        "stale_after_s": 190,
        "checks": [{"id": "a", "network": "public"}, {"id": "b", "network": "public"}],
    },
    *(
        {
            "type": "spans",
            "service": "portal",
            "check": check,
            "location": "jkt-1",
            "from": start,
            "to": end,
            "outcome": outcome,
        }
        for check in ("a", "b")
        for start, end, outcome in (
            ("2026-03-01T00:00:00+07:00", "2026-04-10T00:00:00+07:00", "pass"),
            ("2026-04-10T00:00:00+07:00", "2026-04-11T13:00:00+07:00", "fail"),
            ("2026-04-11T13:00:00+07:00", "2026-05-01T00:00:00+07:00", "pass"),
        )
    ),
]


@dataclass(frozen=True)
class Said:
    """How a verb ended and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:  # noqa: ANN401 - any JSON document
        return json.loads(self.out)


Jaga = Callable[..., Said]


@pytest.fixture
def jaga(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Jaga:
    """Runs a verb in this process, in a folder with a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAGA_CONFIG", raising=False)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jaga.yaml").write_text(CONFIG)

    def run(*arguments: str | Path) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        code = ended.value.code
        return Said(code=int(code or 0), out=captured.out, err=captured.err)

    return run


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """An interchange file with April 2026."""
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in HISTORY))
    return path


@pytest.fixture
def ledger(jaga: Jaga, history: Path) -> Jaga:
    """The verbs over a ledger that holds the history."""
    assert jaga("ledger", "import", history).code == 0
    return jaga
