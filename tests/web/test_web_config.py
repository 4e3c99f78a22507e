"""The web configuration: TLS with and without client certificates, users with bcrypt; connections and their time."""

from __future__ import annotations

import asyncio
import base64
import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import trustme

from monitor.cli.ready import why_not_ready
from monitor.config import ConfigError
from monitor.config.webfile import read_web
from monitor.web import connections, passwords
from monitor.web.pages import Listening, listen
from monitor.web.passwords import MAX_WAITING, BusyError, Passwords
from monitor.web.peers import Gate
from monitor.web.public import Handed
from monitor.web.tls import Tls, TlsError, Web
from monitor.web.tokens import Scope
from tests.web.desk import LedgerDesk, empty_desk

PASSWORD = "rahasia-sekali"
HASHED = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


async def _metrics(_accept: str) -> tuple[bytes, str]:
    return b"# none\n", "text/plain"


async def _status() -> Mapping[str, Any]:
    return {"at": "now", "services": []}


@asynccontextmanager
async def serving(folder: Path, config: Web) -> AsyncIterator[tuple[Listening, LedgerDesk]]:
    desk = empty_desk(folder)
    handed = Handed(version="0", not_ready=lambda: None, metrics=_metrics, status=_status)
    listening = await listen(handed, desk, "127.0.0.1", 0, config)
    try:
        yield listening, desk
    finally:
        await listening.stop()
        desk.store.close()


@asynccontextmanager
async def connected(listening: Listening) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until_inside(listening: Listening, count: int) -> None:
    async with asyncio.timeout(30):
        while listening.gate.inside != count:  # noqa: ASYNC110 - the gate is the product's, and has no event for tests
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Tls:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return Tls(cert_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem")


def client(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# Users.


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_with_users_every_page_asks_for_one_but_health(tmp_path: Path) -> None:
    async with serving(tmp_path, Web(users={"ayu": HASHED})) as (listening, desk):
        token = {"Authorization": f"Bearer {desk.token(Scope.READ)}"}
        async with aiohttp.ClientSession(listening.url) as http:

            async def status(path: str, headers: dict[str, str] | None = None) -> int:
                async with http.get(path, headers=headers) as answer:
                    if answer.status == 401:
                        assert answer.headers["WWW-Authenticate"].startswith("Basic" if headers is None else "B")
                    return answer.status

            for path in ("/", "/metrics", "/api/v1/status", "/api/v1/openapi.json", "/nothing"):
                known = 404 if path == "/nothing" else 200
                assert await status(path) == 401
                assert await status(path, basic("ayu", PASSWORD)) == known
                assert await status(path, basic("ayu", "wrong")) == 401
                assert await status(path, basic("nobody", PASSWORD)) == 401
                assert await status(path, {"Authorization": "Basic !!"}) == 401
                assert await status(path, token) == known
            for path in ("/-/healthy", "/-/ready"):
                assert await status(path) == 200
            # A password opens what would be public, and no more.
            assert await status("/api/v1/outages", basic("ayu", PASSWORD)) == 401
            assert await status("/api/v1/outages", token) == 200


async def test_a_wrong_password_is_never_remembered_and_a_right_one_only_as_it_is() -> None:
    checked = Passwords({"ayu": HASHED, "ayub": HASHED})
    try:
        for _ in range(2):
            assert not await checked.right("ayu", "wrong")
            assert not checked.remembers("ayu", "wrong")
        assert await checked.right("ayu", PASSWORD)
        assert checked.remembers("ayu", PASSWORD)
        # Of the same letters with another border, and of the parts in another order (CVE-2022-46146).
        for user, password in (
            ("ay", "u" + PASSWORD),
            ("ayu" + HASHED, PASSWORD),
            ("ayu", HASHED + PASSWORD),
            ("ayub", PASSWORD),
            ("", "ayu" + PASSWORD),
        ):
            assert not checked.remembers(user, password)
        assert not await checked.right("nobody", PASSWORD)
        assert not await checked.right("ayu", PASSWORD + "\0")
        assert not await checked.right("ayu", "a" * 200)
    finally:
        checked.close()


async def test_a_long_password_is_not_right_by_its_beginning() -> None:
    whole = "p" * 72
    checked = Passwords({"ayu": bcrypt.hashpw(whole.encode(), bcrypt.gensalt(4)).decode()})
    try:
        assert await checked.right("ayu", whole)
        assert not await checked.right("ayu", whole + "more")
    finally:
        checked.close()


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_REMEMBERED", 2)
    checked = Passwords(dict.fromkeys("abc", HASHED))
    try:
        for name in "abc":
            assert await checked.right(name, PASSWORD)
        assert [checked.remembers(name, PASSWORD) for name in "abc"] == [False, True, True]
    finally:
        checked.close()


async def test_many_passwords_at_once_are_turned_away_and_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    turned, check, patience_s = threading.Event(), bcrypt.checkpw, iter([30.0])

    def once_the_loop_turned(given: bytes, held: bytes) -> bool:
        assert turned.wait(next(patience_s, 0.0)), "bcrypt holds the loop"
        return check(given, held)

    monkeypatch.setattr(bcrypt, "checkpw", once_the_loop_turned)
    checked = Passwords({"ayu": HASHED})
    try:
        asked = [asyncio.create_task(checked.right("ayu", f"wrong {n}")) for n in range(MAX_WAITING + 3)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert [task.done() for task in asked] == [False] * MAX_WAITING + [True] * 3
        turned.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert found[:MAX_WAITING] == [False] * MAX_WAITING
        assert all(isinstance(answer, BusyError) for answer in found[MAX_WAITING:])
    finally:
        checked.close()


async def test_users_are_exchanged_while_it_runs(tmp_path: Path) -> None:
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    async with (
        serving(tmp_path, Web(users={"ayu": HASHED})) as (listening, _desk),
        aiohttp.ClientSession(listening.url) as http,
    ):
        async with http.get("/metrics", headers=basic("ayu", PASSWORD)) as answer:
            assert answer.status == 200
        listening.secure(Web(users={"ayu": other}))
        async with http.get("/metrics", headers=basic("ayu", PASSWORD)) as answer:
            assert answer.status == 401, "what was remembered of the old one is gone"
        async with http.get("/metrics", headers=basic("ayu", "other")) as answer:
            assert answer.status == 200
        listening.secure(Web())
        async with http.get("/metrics") as answer:
            assert answer.status == 200


# TLS.


async def test_tls_with_a_certificate_that_is_renewed(tmp_path: Path, certificate: Tls, authority: trustme.CA) -> None:
    (tmp_path / "ledger").mkdir()
    async with serving(tmp_path / "ledger", Web(tls=certificate)) as (listening, _desk):
        assert listening.url.startswith("https://")
        seen = await _serial(listening, client(authority))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client(authority))) as http,
            http.get(f"{listening.url}/api/v1/status") as answer,
        ):
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"]
        renewed = authority.issue_cert("localhost", "127.0.0.1")
        renewed.cert_chain_pems[0].write_to_path(certificate.cert_file)
        with pytest.raises(TlsError, match="use the certificate and key in"):
            listening.secure(Web(tls=certificate))  # the key is still the old one's
        assert await _serial(listening, client(authority)) == seen
        renewed.private_key_pem.write_to_path(certificate.key_file)
        listening.secure(Web(tls=certificate))
        assert await _serial(listening, client(authority)) != seen
        assert listening.gate.inside == 0


async def _serial(listening: Listening, context: ssl.SSLContext) -> str:
    _reader, writer = await asyncio.open_connection("127.0.0.1", listening.port, ssl=context)
    found = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    await until_inside(listening, 0)
    return str(found)


async def test_the_verb_asks_a_daemon_behind_tls_whether_it_is_ready(tmp_path: Path, certificate: Tls) -> None:
    (tmp_path / "ledger").mkdir()
    async with serving(tmp_path / "ledger", Web(tls=certificate, users={"ayu": HASHED})) as (listening, _desk):
        where = ("127.0.0.1", listening.port)
        assert await asyncio.to_thread(why_not_ready, where, secured=True) is None
        assert await asyncio.to_thread(why_not_ready, where) is not None


async def test_client_certificates(tmp_path: Path, certificate: Tls, authority: trustme.CA) -> None:
    (tmp_path / "ledger").mkdir()
    asked = Tls(
        cert_file=certificate.cert_file,
        key_file=certificate.key_file,
        client_auth="RequireAndVerifyClientCert",
        client_ca_file=tmp_path / "ca.pem",
        min_version="TLS13",
    )
    known, stranger = client(authority), client(authority)
    authority.issue_cert("prometheus@example.id").configure_cert(known)
    trustme.CA().issue_cert("stranger@example.id").configure_cert(stranger)
    async with serving(tmp_path / "ledger", Web(tls=asked)) as (listening, _desk):
        for context, opens in ((known, True), (stranger, False), (client(authority), False)):
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
                try:
                    async with http.get(f"{listening.url}/metrics") as answer:
                        assert opens
                        assert answer.status == 200
                except aiohttp.ClientError:
                    assert not opens


async def test_who_never_finishes_the_handshake_is_let_go(
    tmp_path: Path, certificate: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_WITHIN_S", 0.3)
    (tmp_path / "ledger").mkdir()
    async with serving(tmp_path / "ledger", Web(tls=certificate)) as (listening, _desk), AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(connected(listening)) for _ in range(5)]
        pairs[0][1].write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(30):
            for reader, _writer in pairs:
                with suppress(ConnectionError):
                    await reader.read()
        await until_inside(listening, 0)


# Connections.


def drip(port: int) -> bytes:
    """Send a request a byte now and then, and take what comes back until the connection ends. What came is read before
    a reset, which the server's kernel sends because bytes of ours were left unread.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as dripping:
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 1000:
            with suppress(BrokenPipeError, ConnectionResetError):
                dripping.sendall(bytes([byte]))
            if not select.select([dripping], [], [], 0.02)[0]:
                continue
            try:
                part = dripping.recv(4096)
            except ConnectionResetError:
                return answer
            if not part:
                return answer
            answer += part
    return answer


async def test_who_sends_a_byte_now_and_then_is_let_go_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_WITHIN_S", 0.3)
    async with serving(tmp_path, Web()) as (listening, _desk), asyncio.timeout(30):
        answer = await asyncio.to_thread(drip, listening.port)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
        await until_inside(listening, 0)


async def test_a_second_request_has_its_own_time_and_an_idle_connection_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_WITHIN_S", 1.5)
    async with serving(tmp_path, Web()) as (listening, _desk), connected(listening) as (reader, writer):
        request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(3):
            writer.write(request)
            async with asyncio.timeout(30):
                assert b"200 OK" in await reader.readuntil(b"healthy\n")
            await asyncio.sleep(0.6)
        await asyncio.sleep(1.6)
        writer.write(request)
        async with asyncio.timeout(30):
            assert b"200 OK" in await reader.readuntil(b"healthy\n")
        writer.write(b"GET /-/heal")
        async with asyncio.timeout(30):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_who_does_not_read_the_answer_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_WITHIN_S", 0.5)
    desk = empty_desk(tmp_path)

    async def huge(_accept: str) -> tuple[bytes, str]:
        return b"#" * 50_000_000, "text/plain"

    handed = Handed(version="0", not_ready=lambda: None, metrics=huge, status=_status)
    listening = await listen(handed, desk, "127.0.0.1", 0)
    try:
        async with connected(listening) as (_reader, writer):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await until_inside(listening, 1)
            await until_inside(listening, 0)
    finally:
        await listening.stop()
        desk.store.close()


async def test_one_peer_does_not_take_all_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, Web()) as (listening, _desk):
        monkeypatch.setattr(listening.gate, "_per_peer", 3)
        assert isinstance(listening.gate, Gate)
        async with AsyncExitStack() as stack:
            held = [await stack.enter_async_context(connected(listening)) for _ in range(3)]
            await until_inside(listening, 3)
            async with connected(listening) as (reader, _writer), asyncio.timeout(30):
                assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            held[0][1].close()
            await until_inside(listening, 2)
            async with aiohttp.ClientSession(listening.url) as http, http.get("/-/healthy") as answer:
                assert answer.status == 200


# The file.


def _read(folder: Path, text: str) -> Web:
    (folder / "web.yml").write_text(text)
    return read_web(folder / "web.yml", "web.yml")


def test_the_file_is_exporter_toolkit_s(tmp_path: Path, certificate: Tls) -> None:
    found = _read(
        tmp_path,
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
        "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n  min_version: TLS13\n"
        f"basic_auth_users:\n  ayu: {HASHED}\n",
    )
    assert found.tls is not None
    assert (found.tls.cert_file, found.tls.min_version) == (certificate.cert_file, "TLS13")
    assert found.users == {"ayu": HASHED}
    assert HASHED not in repr(found)
    assert _read(tmp_path, "") == Web()


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("- a", "web.yml:1:1", "is a mapping"),
        ("tls_server_config: {cert_file: cert.pem}", "web.yml:1:1", "key_file is missing"),
        ("tls_server_config: {cert_file: gone.pem, key_file: key.pem}", "web.yml:1:32", "No such file"),
        ("tls_server_config: {cert_file: key.pem, key_file: key.pem}", "web.yml:1:32", "use the certificate"),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAnyClientCert}",
            "web.yml:1:79",
            "RequireAndVerifyClientCert",
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAndVerifyClientCert}",
            "web.yml:1:79",
            "client_ca_file must say",
        ),
        ("http_server_config: {http2: true}", "web.yml:1:1", "there is no HTTP/2 here"),
        ("basic_auth_users: {ayu: hunter2-plain}", "web.yml:1:25", "expected a bcrypt hash"),
        ("basic_auth_users: {ayu: 12345}", "web.yml:1:25", "expected a bcrypt hash"),
        ("basic_auth_user: {}", "web.yml:1:1", 'did you mean "basic_auth_users"'),
        ("basic_auth_users: {a: x, a: y}", "web.yml:1:23", "duplicate key"),
    ],
)
def test_what_is_wrong_in_it_is_said_with_its_place(
    tmp_path: Path, certificate: Tls, text: str, place: str, said: str
) -> None:
    assert certificate.key_file.exists()
    with pytest.raises(ConfigError) as refused:
        _read(tmp_path, text)
    told = str(refused.value)
    assert said in told
    assert told.startswith(place), told
    assert "hunter2" not in told
    assert "12345" not in told
