"""What a check expects of a certificate, on real handshakes, by the kinds that make them."""

from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from probes import FailReason, Outcome
from probes._certificate import Leaf, read
from probes._net import LiveNetwork
from tests.probes.asking import ask
from tests.probes.test_tls import server_context, serving


def in_days(days: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=days)


def checks(port: int, ca_file: str) -> list[dict[str, Any]]:
    tls = {"ca_file": ca_file}
    by = {"resolve": {"a.test": "127.0.0.1"}}
    return [
        {"http": {"get": f"https://a.test:{port}/", "tls": tls} | by},
        {"tls": {"connect": f"a.test:{port}", "tls": tls} | by},
        {"tcp": {"connect": f"a.test:{port}", "tls": tls} | by},
    ]


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"valid_for": "9d"}, None),
        (
            {"valid_for": "11d"},
            "certificate.valid_for|certificate: expected at least 11 d 0 h, the chain expires in 9 d 23",
        ),
        ({"names": ["a.test", "B.test", "192.0.2.1"]}, None),
        (
            {"names": "c.test"},
            "certificate.names|certificate: expected it for 'c.test', it is for a.test, b.test, 192.0.2.1",
        ),
        ({"issuer": {"matches": "Jaga tests"}}, None),
        ({"issuer": "CN=Another"}, 'certificate.issuer|certificate: issuer: expected "CN=Another", got "'),
        ({"subject": {"matches": "^OU=Testing"}}, None),
        ({"subject": {"exists": False}}, "certificate.subject|certificate: subject: expected nothing there, got"),
    ],
)
async def test_a_certificate_is_what_is_expected(
    expect: dict[str, Any], words: str | None, network: LiveNetwork, tmp_path: Path
) -> None:
    ca = trustme.CA(organization_name="Jaga tests")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = ca.issue_cert("a.test", "b.test", "192.0.2.1", not_after=in_days(10), organization_unit_name="Testing")
    async with serving(server_context(leaf)) as port:
        for check in checks(port, str(tmp_path / "ca.pem")):
            result = await ask(network, check | {"expect": {"certificate": expect}})
            if words is None:
                assert result.outcome is Outcome.PASS, result.message
                continue
            key, _, said = words.partition("|")
            assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.ASSERTION)
            assert result.steps[0].failed_assertions == (f"{result.step}.{key}",)
            assert (result.message or "").startswith(said), result.message


async def test_without_tls_there_is_no_certificate(network: LiveNetwork) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connect = f"127.0.0.1:{listener.getsockname()[1]}"
        result = await ask(network, {"tcp": {"connect": connect}, "expect": {"certificate": {"valid_for": "1d"}}})
    assert result.message == "certificate: expected one, none was presented"
    assert result.steps[0].failed_assertions == ("tcp.certificate.valid_for",)


def test_what_is_no_certificate_is_none() -> None:
    assert read(b"") is None
    assert read(b"\x30\x82\xff\xff" + b"x" * 500) is None


@pytest.mark.parametrize(
    ("name", "is_for"),
    [
        ("x.a.test", True),
        ("X.A.test", True),
        ("*.a.test", True),
        ("a.test", False),
        ("x.y.a.test", False),
        (".a.test", False),
        ("b\u00fccher.test", True),
        ("x.b\u00fccher.test", False),
        ("192.0.2.1", True),
        ("198.0.2.1", False),
    ],
)
def test_a_wildcard_is_for_one_whole_label(name: str, is_for: bool) -> None:
    leaf = Leaf(subject="", issuer="", names=("*.a.test", "xn--bcher-kva.test", "192.0.2.1", "*.0.2.1"))
    assert leaf.is_for(name) is is_for
