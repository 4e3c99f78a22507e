"""A whole, accepted configuration as text, to be changed in one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from monitor.config import ConfigError, Loaded, load

GOOD = """\
store: sqlite:///var/ledger.db
location: {id: jkt-1, controls: ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"]}
web: {listen: 127.0.0.1:9464}
contracts:
  mitra:
    terms:
      - effective_from: 2026-01-01
        timezone: Asia/Jakarta
        guarantee: 95%
        objective: 99.9%
        credits: [{below: 95%, credit: 10%}, {below: 90%, credit: 25%}]
        maintenance_notice: 48h
        claim_within: 30d
services:
  portal:
    name: Portal and API
    interval: 60s
    timeout: 10s
    checks:
      page:
        http: {get: "http://127.0.0.1:8080/"}
        expect: {status: 200}
      order:
        steps:
          - name: log in
            http: {post: "http://127.0.0.1:8080/login", json: {user: probe, password: "${PROBE_PASSWORD}"}}
            expect: {status: 200, json: {"$.token": {type: string}}}
            extract: {token: "$.token"}
          - name: order
            http: {get: "http://127.0.0.1:8080/orders", headers: {authorization: "Bearer {{ token }}"}}
            expect: {status: 2xx, time: "< 800ms"}
partners:
  acme: {name: Yayasan Acme, contract: mitra, services: {portal: {fee: IDR 12500000}}}
"""
ENVIRONMENT = {"PROBE_PASSWORD": "canary-5e1f"}

Read = Callable[..., Loaded]
Refused = Callable[..., Sequence[str]]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A file with GOOD, in which texts were replaced; each must be there."""

    def write(*changes: tuple[str, str], text: str = GOOD) -> Path:
        for old, new in changes:
            assert old in text, f"the example has no {old!r}"
            text = text.replace(old, new, 1)
        path = tmp_path / "jaga.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def read(changed: Callable[..., Path]) -> Read:
    return lambda *changes: load(changed(*changes), shown="jaga.yaml", environment=ENVIRONMENT)


@pytest.fixture
def refused(read: Read) -> Refused:
    """The problems of a changed file, as printed."""

    def problems(*changes: tuple[str, str]) -> Sequence[str]:
        with pytest.raises(ConfigError) as caught:
            read(*changes)
        return [str(problem) for problem in caught.value.problems]

    return problems
