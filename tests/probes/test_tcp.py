"""TCP dialogues: lines, patterns, TLS at once and by STARTTLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from probes import FailReason, Outcome, Phase
from probes._net import LiveNetwork
from tests.probes.asking import ask, listening

PAGE = Path(__file__).parents[2] / "docs" / "probes.md"


class Smtp:
    """Enough of a mail server to greet, upgrade and say goodbye."""

    def __init__(self, context: ssl.SSLContext, *, early: bytes = b"") -> None:
        self._context, self._early = context, early

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 mail.test ESMTP\r\n")
            async for line in reader:
                match line.split(maxsplit=1)[0].upper():
                    case b"EHLO":
                        writer.write(b"250-mail.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n")
                    case b"STARTTLS":
                        writer.write(b"220 go ahead\r\n" + self._early)
                        await writer.drain()
                        await writer.start_tls(self._context)
                    case b"QUIT":
                        writer.write(b"221 bye\r\n")
                        break
            await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass  # the probe refused the certificate
        finally:
            writer.close()


@asynccontextmanager
async def mail(certificate: trustme.LeafCert, *, early: bytes = b"") -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # refused handshakes
    async with listening(Smtp(context, early=early)) as port:
        yield port


def dialogue(port: int, ca: trustme.CA, folder: Path) -> dict[str, Any]:
    ca.cert_pem.write_to_path(folder / "ca.pem")
    turns = [
        {"expect": r"^220 .*ESMTP"},
        {"send": "EHLO jaga\r\n"},
        {"expect": r"(?m)^250[ -]STARTTLS"},
        {"send": "STARTTLS\r\n"},
        {"expect": "^[^2]*220 go"},
        {"starttls": True},
        {"send": "EHLO jaga\r\n"},
        {"expect": r"(?m)^250 "},
        {"send": "QUIT\r\n"},
        {"expect": "221 bye"},
    ]
    settings = {"connect": f"mail.test:{port}", "resolve": {"mail.test": "127.0.0.1"}, "dialogue": turns}
    return {"tcp": settings | {"tls": {"ca_file": str(folder / "ca.pem")}}}


async def test_starttls(network: LiveNetwork, tmp_path: Path) -> None:
    ca = trustme.CA()
    async with mail(ca.issue_cert("mail.test")) as port:
        result = await ask(network, dialogue(port, ca, tmp_path))
    assert result.outcome is Outcome.PASS, result.message
    assert result.steps[0].phases_ns[Phase.TLS] > 0
    assert result.steps[0].cert_not_after_s is not None
    assert result.facts["body"].endswith(b"221 bye\r\n")


async def test_the_documented_dialogue_is_one_that_a_mail_server_has(network: LiveNetwork, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (check,) = (yaml.safe_load(example) for example in examples if example.startswith("tcp:"))
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with mail(ca.issue_cert("mail.example.id")) as port:
        check["tcp"] |= {
            "connect": f"mail.example.id:{port}",
            "resolve": {"mail.example.id": "127.0.0.1"},
            "tls": {"ca_file": str(tmp_path / "ca.pem")},
        }
        result = await ask(network, check)
    assert result.outcome is Outcome.PASS, result.message


async def test_starttls_verifies(network: LiveNetwork, tmp_path: Path) -> None:
    async with mail(trustme.CA().issue_cert("mail.test")) as port:
        result = await ask(network, dialogue(port, trustme.CA(), tmp_path))
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TLS)


async def test_what_was_said_before_the_encryption_counts_for_nothing_after_it(
    network: LiveNetwork, tmp_path: Path
) -> None:
    """A text that somebody put in front of the handshake must not be taken for an encrypted answer."""
    ca = trustme.CA()
    check = dialogue(1, ca, tmp_path)
    async with mail(ca.issue_cert("mail.test"), early=b"250 injected\r\n") as port:
        check["tcp"]["connect"] = f"mail.test:{port}"
        check["tcp"]["dialogue"][-4:] = [{"send": "QUIT\r\n"}, {"expect": "250 injected"}]
        result = await ask(network, check)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.ASSERTION)
    assert "221 bye" in (result.message or "")


async def test_an_unmet_pattern_says_what_came(network: LiveNetwork) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 too busy\r\n")
        writer.close()

    async with listening(greet) as port:
        result = await ask(network, {"tcp": {"connect": f"127.0.0.1:{port}", "dialogue": [{"expect": "^220"}]}})
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.ASSERTION)
    assert result.message == r"expected '^220', the connection closed after '421 too busy\r\n'"


async def test_connecting_alone_is_a_probe(network: LiveNetwork) -> None:
    async with listening(lambda _, writer: writer.close()) as port:
        result = await ask(network, {"tcp": {"connect": f"127.0.0.1:{port}"}})
    assert result.outcome is Outcome.PASS
    assert set(result.phases_ns) == {Phase.CONNECT}


@pytest.mark.parametrize("least", ["TLSv1.2", "TLSv1.3"])
async def test_the_tls_kind_asks_for_a_least_version(least: str, network: LiveNetwork, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ca.issue_cert("127.0.0.1").configure_cert(context)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with listening(lambda _, writer: writer.close(), context) as port:
        connect = f"127.0.0.1:{port}"
        settings = {"connect": connect, "tls": {"ca_file": str(tmp_path / "ca.pem")}, "min_version": least}
        step = {"name": "t", "tls": settings, "expect": {"json": {"$.version": "TLSv1.2"}}}
        result = await ask(network, {"steps": [step | {"extract": {"until": "$.cert_not_after_s"}}]})
    if least == "TLSv1.2":
        assert result.outcome is Outcome.PASS, result.message
        assert int(result.steps[0].extracted["until"]) == result.steps[0].cert_not_after_s
    else:
        assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TLS)
        assert result.message == "expected at least TLSv1.3, agreed on TLSv1.2"


async def test_the_character_that_two_segments_share_is_one(network: LiveNetwork) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 Gr\xc3")
        await reader.readline()  # what was said so far has been read
        writer.write(b"\xbc\xc3\x9fe\r\n")
        writer.close()

    async with listening(serve) as port:
        turns = [{"expect": "^220"}, {"send": "go\r\n"}, {"expect": "Gr\u00fc\u00dfe"}]
        result = await ask(network, {"tcp": {"connect": f"127.0.0.1:{port}", "dialogue": turns}})
    assert result.outcome is Outcome.PASS, result.message


async def test_half_a_character_before_the_encryption_is_none_after_it(network: LiveNetwork, tmp_path: Path) -> None:
    ca = trustme.CA()
    check = dialogue(1, ca, tmp_path)
    async with mail(ca.issue_cert("mail.test"), early=b"\xc3") as port:
        check["tcp"]["connect"] = f"mail.test:{port}"
        check["tcp"]["dialogue"][-3:] = [{"expect": r"\A250-mail"}]
        result = await ask(network, check)
    assert result.outcome is Outcome.PASS, result.message


async def test_a_pattern_may_begin_and_end_at_any_line(network: LiveNetwork) -> None:
    r"""As in blackbox_exporter; `\A` is the beginning of what is left, here the rest of the line that matched."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx ESMTP\r\n")
        await reader.readline()
        writer.write(b"250-first\r\n250 ok\r\nmore\r\n")
        writer.close()

    async with listening(serve) as port:
        for last, outcome in (("^250 ok\r?$", Outcome.PASS), (r"\Amx.*\s+250", Outcome.PASS), (r"\A250", Outcome.FAIL)):
            turns = [{"expect": "^220 "}, {"send": "NOOP\r\n"}, {"expect": last}]
            result = await ask(network, {"tcp": {"connect": f"127.0.0.1:{port}", "dialogue": turns}})
            assert result.outcome is outcome, result.message
