"""TLS: verified, classified, and the expiry known even of a chain that was refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from probes import FailReason, InconclusiveReason, Outcome, Phase, TlsPolicy, _tls
from probes._net import LiveNetwork
from tests.probes.asking import ask, ask_in_time, listening

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LONG_AGO = dt.datetime(2020, 5, 17, 12, 0, tzinfo=dt.UTC)
FAR = dt.datetime(2035, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str]:
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, str(path)


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """An HTTPS server that answers anything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(GOOD)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # refused handshakes
    async with listening(answer, context) as port:
        yield port


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def https(port: int, host: str = "a.test", **tls: object) -> dict[str, Any]:
    return {"http": {"get": f"https://{host}:{port}/", "resolve": {host: "127.0.0.1"}, "tls": tls}}


async def test_a_verified_chain_passes_and_shows_its_first_expiry(
    authority: tuple[trustme.CA, str], network: LiveNetwork
) -> None:
    ca, ca_file = authority
    async with serving(server_context(ca.issue_cert("a.test", not_after=FAR))) as port:
        result = await ask(network, https(port, ca_file=ca_file))
    assert result.outcome is Outcome.PASS, result.message
    (step,) = result.steps
    assert step.cert_not_after_s == int(FAR.timestamp())
    assert step.phases_ns[Phase.TLS] > 0
    assert step.duration_ns >= sum(step.phases_ns.values())


async def test_the_first_to_expire_of_the_chain_counts(network: LiveNetwork, tmp_path: Path) -> None:
    """An intermediate that ends before the leaf."""
    root = trustme.CA()
    root.cert_pem.write_to_path(tmp_path / "ca.pem")
    between = root.create_child_ca()
    async with serving(server_context(between.issue_cert("a.test", not_after=FAR + dt.timedelta(days=999999)))) as port:
        result = await ask(network, https(port, ca_file=str(tmp_path / "ca.pem")))
    assert result.outcome is Outcome.PASS, result.message
    assert result.steps[0].cert_not_after_s is not None
    assert result.steps[0].cert_not_after_s < FAR.timestamp() + 999999 * 86400


@pytest.mark.parametrize(
    ("names", "not_after", "trusted", "words"),
    [
        (("other.test",), FAR, True, "Hostname mismatch"),
        (("a.test",), LONG_AGO, True, "certificate has expired"),
        (("a.test",), FAR, False, "unable to get local issuer certificate"),
    ],
)
async def test_a_refused_chain_is_theirs_and_its_expiry_is_known(
    names: tuple[str, ...],
    not_after: dt.datetime,
    trusted: bool,
    words: str,
    authority: tuple[trustme.CA, str],
    network: LiveNetwork,
) -> None:
    ca, ca_file = authority
    issuer = ca if trusted else trustme.CA()
    certificate = issuer.issue_cert(*names, not_before=LONG_AGO - dt.timedelta(days=9), not_after=not_after)
    async with serving(server_context(certificate)) as port:
        result = await ask(network, https(port, ca_file=ca_file))
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TLS)
    assert words in (result.message or "")
    assert result.steps[0].cert_not_after_s == int(not_after.timestamp())


async def test_without_verification_anything_passes_but_needs_a_reason(network: LiveNetwork) -> None:
    certificate = trustme.CA().issue_cert("other.test", not_after=LONG_AGO, not_before=LONG_AGO.replace(year=2019))
    async with serving(server_context(certificate)) as port:
        result = await ask(network, https(port, verify=False, why_unverified="a test system"))
    assert result.outcome is Outcome.PASS
    assert result.steps[0].cert_not_after_s == int(LONG_AGO.timestamp())


async def test_the_name_in_the_certificate_may_be_set(authority: tuple[trustme.CA, str], network: LiveNetwork) -> None:
    ca, ca_file = authority
    async with serving(server_context(ca.issue_cert("inner.test"))) as port:
        result = await ask(network, https(port, ca_file=ca_file, server_name="inner.test"))
    assert result.outcome is Outcome.PASS, result.message


async def test_mutual_tls(authority: tuple[trustme.CA, str], network: LiveNetwork, tmp_path: Path) -> None:
    ca, ca_file = authority
    context = server_context(ca.issue_cert("a.test"))
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    ca.issue_cert("probe@a.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    async with serving(context) as port:
        without = await ask(network, https(port, ca_file=ca_file))
        with_it = await ask(network, https(port, ca_file=ca_file, client_cert=str(tmp_path / "me.pem")))
    assert without.outcome is Outcome.FAIL
    assert with_it.outcome is Outcome.PASS, with_it.message


@pytest.mark.parametrize("settings", [{"ca_file": "/nowhere/ca.pem"}, {"client_cert": "/nowhere/me.pem"}])
async def test_our_own_missing_files_are_our_own_fault(settings: dict[str, str], network: LiveNetwork) -> None:
    async with serving(server_context(trustme.CA().issue_cert("a.test"))) as port:
        result = await ask(network, https(port, **settings))
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.INTERNAL)
    assert "/nowhere/" in (result.message or "")
    assert "No such file" in (result.message or "")


def test_an_empty_trust_store_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()._replace(capath=None)  # type: ignore[arg-type]  # as where there is none
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 20, "unable to get local issuer certificate"
    assert _tls.handshake_failure(error, nothing, "a.test").reason is InconclusiveReason.INTERNAL
    error.verify_code = 10
    assert _tls.handshake_failure(error, nothing, "a.test").reason is FailReason.TLS


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
async def test_a_peer_that_speaks_no_tls_fails_the_handshake(says: bytes, network: LiveNetwork) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(says)
        writer.close()

    async with listening(answer) as port:
        result = await ask(network, https(port))
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TLS), result.message


async def test_a_silent_handshake_times_out(network: LiveNetwork) -> None:
    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async with listening(stay) as port:
        check = https(port, verify=False, why_unverified="no roots to load first")
        result = await ask_in_time(network, check, timeout_s=0.5)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TIMEOUT)
    assert "TLS handshake" in (result.message or "")


async def test_one_context_for_one_policy(network: LiveNetwork) -> None:
    policy = TlsPolicy(verify=False, why_unverified="cheap")
    made = await asyncio.gather(*(network.tls_context(policy) for _ in range(20)))
    assert len({id(context) for context in made}) == 1
    assert await network.tls_context(TlsPolicy(verify=False, why_unverified="cheap")) is made[0]


async def test_big_answers_over_tls_arrive_whole(authority: tuple[trustme.CA, str], network: LiveNetwork) -> None:
    """Many records, more than one read: nothing waits for an edge that never comes."""
    ca, ca_file = authority
    body = bytes(range(256)) * 4000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await reader.read(1)
        writer.close()

    context = server_context(ca.issue_cert("a.test"))
    async with listening(answer, context) as port:
        result = await ask(network, https(port, ca_file=ca_file) | {"expect": {"size": ">= 1000KiB"}})
    assert result.outcome is Outcome.PASS, result.message
    assert result.facts["body"] == body


async def test_https_never_leads_to_http(authority: tuple[trustme.CA, str], network: LiveNetwork) -> None:
    ca, ca_file = authority

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://a.test/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    context = server_context(ca.issue_cert("a.test"))
    async with listening(answer, context) as port:
        result = await ask(network, https(port, ca_file=ca_file))
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.PROTOCOL)
    assert "from https to http" in (result.message or "")


async def test_the_first_byte_does_not_wait_for_our_loop_under_tls_either(authority: tuple[trustme.CA, str]) -> None:
    """The answer has lain in the kernel for long when the loop has time to decrypt it: its stamp counts."""
    ca, ca_file = authority

    async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)
        await writer.drain()
        time.sleep(0.4)  # noqa: ASYNC251 - the fault itself: the server is in this loop, its answer is out
        await reader.read()  # an end of ours would be stamped too
        writer.close()

    network = LiveNetwork()
    async with listening(asks, server_context(ca.issue_cert("a.test"))) as port:
        waited_ns: list[int] = []
        # A busy machine may let the server itself wait, and the kernel begins with stamps when it gets to it.
        while min(waited_ns, default=400_000_000) >= 200_000_000 and len(waited_ns) < 20:
            (step,) = (await ask(network, https(port, ca_file=ca_file))).steps
            assert step.duration_ns > 400_000_000
            waited_ns.append(step.phases_ns[Phase.PROCESSING] + step.phases_ns[Phase.TRANSFER])
    network.close()
    assert min(waited_ns) < 200_000_000
