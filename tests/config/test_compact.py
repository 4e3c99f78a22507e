"""The settings that a daemon keeps are those that were read, in less memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config import compact, load
from probes import template

CHECKS = """
location: {id: jkt-1}
contracts: {mitra: {terms: [{effective_from: 2020-01-01, guarantee: 95%, credits: [{below: 95%, credit: 10%}]}]}}
services:
  portal:
    interval: 60s
    checks:
      home: {http: {get: "https://a.example/"}, expect: {status: 200, body: {contains: well}, time: "< 2s"}}
      other: {http: {get: "https://b.example/"}, expect: {status: 200, body: {contains: well}, time: "< 2s"}}
      texts: {http: {get: "https://b.example/", headers: {a: "1"}}, expect: {body: {matches: "^w[e]ll"}}}
      login:
        steps:
          - {name: enter, http: {post: "https://a.example/in", json: {user: me}}, extract: {token: {json: "$.token"}}}
          - {name: see, http: {get: "https://a.example/me", headers: {authorization: "Bearer {{ token }}"}}}
        finally: [{name: leave, http: {post: "https://a.example/out"}}]
      name: {dns: {query: a.example, server: 192.0.2.53}, expect: {records: {contains: [192.0.2.1]}}}
      port: {tcp: {connect: "a.example:25"}}
      chain: {tls: {connect: "a.example:443"}}
      echo: {icmp: {ping: a.example}}
partners: {acme: {name: Acme, contract: mitra, services: {portal: {fee: IDR 12500000}}}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "jaga.yaml"
    path.write_text(CHECKS, encoding="utf-8")
    return path


def test_a_configuration_made_compact_says_the_same(path: Path) -> None:
    read = load(path).settings
    assert compact(load(path).settings) == read
    assert [(s.id, [c.id for c in s.checks]) for s in read.services] == [
        ("portal", ["home", "other", "texts", "login", "name", "port", "chain", "echo"])
    ]


def test_equal_parts_of_checks_are_one_and_others_are_not(path: Path) -> None:
    (service,) = compact(load(path).settings).services
    home, other, texts = (check.transaction.steps[0] for check in service.checks[:3])
    assert home.expect is other.expect
    assert home.expect is not texts.expect
    assert home.spec.tls is other.spec.tls
    assert (home.spec.get, other.spec.get) == ("https://a.example/", "https://b.example/")
    assert texts.spec.headers == {"a": "1"}
    assert home.spec.headers == {}


def test_nothing_of_the_reading_is_kept(path: Path) -> None:
    compact(load(path).settings)
    assert template.parse.cache_info().currsize == 0
