"""Mail against a real SMTP server: STARTTLS, login, refusals, and what stands in a receipt."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from monitor.core.instant import SECOND_US
from monitor.notify import DeliveryError
from monitor.notify.email import EmailChannel
from tests.notify.conftest import MailServer, message

NOW_US = 1_775_000_000 * SECOND_US
PEOPLE = {"operators": ["Ops <ops@example.id>", "night@example.id"]}


def channel(server: MailServer, **changed: object) -> EmailChannel:
    made = EmailChannel(
        host="localhost",
        port=server.port,
        sender="Jaga <jaga@example.id>",
        recipients=lambda to: PEOPLE.get(to, []),
        now_us=lambda: NOW_US,
        look_up=lambda text: {"${PW}": "right"}.get(text, text),
        tls="none",
    )
    return replace(made, **changed)  # type: ignore[arg-type]


async def test_a_mail_says_what_the_message_says(start_mail: Callable[..., MailServer]) -> None:
    server = start_mail()
    receipt = await channel(server).deliver(message(text="Gangguan: layanan – 5 dari 9\n", lang="id"))
    assert receipt.text == "2 of 2 recipients: 2.0.0 Ok: queued as 4711"
    ((envelope, mail),) = server.mails
    assert envelope.mail_from == "jaga@example.id"
    assert envelope.rcpt_tos == ["ops@example.id", "night@example.id"]
    assert mail["Subject"] == "DOWN: Portal since 07:00"
    assert mail["Date"] == "Tue, 31 Mar 2026 23:33:20 +0000"
    assert mail["Content-Language"] == "id"
    assert mail.get_content().replace("\r\n", "\n") == "Gangguan: layanan – 5 dari 9\n"  # type: ignore[attr-defined]


async def test_a_repeated_delivery_has_the_same_message_id(start_mail: Callable[..., MailServer]) -> None:
    server = start_mail()
    for key in ("a", "a", "b"):
        await channel(server).deliver(message(key))
    first, second, third = (mail["Message-ID"] for _envelope, mail in server.mails)
    assert first == second != third
    assert first.endswith("@example.id>")


async def test_starttls_and_login(start_mail: Callable[..., MailServer], trust: ssl.SSLContext) -> None:
    server = start_mail(tls=True, login=True)
    mail = channel(server, tls="starttls", tls_context=trust, user="jaga", password="${PW}")
    await mail.deliver(message())
    assert server.over_tls == [True]
    assert server.logins == [("jaga", "right")]


async def test_a_wrong_password_is_refused_for_good(
    start_mail: Callable[..., MailServer], trust: ssl.SSLContext
) -> None:
    server = start_mail(tls=True, login=True)
    mail = channel(server, tls="starttls", tls_context=trust, user="jaga", password="s3cret")
    with pytest.raises(DeliveryError) as refused:
        await mail.deliver(message())
    assert not refused.value.retryable
    assert "s3cret" not in str(refused.value)


async def test_a_server_without_starttls_gets_nothing(
    start_mail: Callable[..., MailServer], trust: ssl.SSLContext
) -> None:
    server = start_mail()
    with pytest.raises(DeliveryError, match="STARTTLS"):
        await channel(server, tls="starttls", tls_context=trust).deliver(message())
    assert server.mails == []


async def test_a_certificate_that_is_not_trusted_gets_nothing(start_mail: Callable[..., MailServer]) -> None:
    server = start_mail(tls=True)
    with pytest.raises(DeliveryError, match="localhost"):
        await channel(server, tls="starttls").deliver(message())
    assert server.mails == []


@pytest.mark.parametrize(("answer", "retryable"), [("451 4.3.0 later", True), ("554 5.7.1 no", False)])
async def test_a_refused_mail_says_whether_to_try_again(
    start_mail: Callable[..., MailServer], answer: str, *, retryable: bool
) -> None:
    server = start_mail()
    server.answer = answer
    with pytest.raises(DeliveryError, match=answer[4:]) as refused:
        await channel(server).deliver(message())
    assert refused.value.retryable is retryable


async def test_a_recipient_that_is_refused_is_counted_and_never_named(start_mail: Callable[..., MailServer]) -> None:
    server = start_mail()
    server.answer = "250 for <ops@example.id> queued"
    server.refused = {"night@example.id"}
    receipt = await channel(server).deliver(message())
    assert receipt.text == "1 of 2 recipients: for … queued"
    server.refused.add("ops@example.id")
    with pytest.raises(DeliveryError, match="none of the recipients: 550, 550") as refused:
        await channel(server).deliver(message())
    assert not refused.value.retryable
    assert "@" not in str(refused.value)


async def test_nobody_to_mail_to_and_nobody_there(start_mail: Callable[..., MailServer]) -> None:
    server = start_mail()
    with pytest.raises(DeliveryError, match="no mail address for acme"):
        await channel(server).deliver(message(to="acme"))
    with pytest.raises(DeliveryError, match="cloud metadata"):
        await channel(server, host="169.254.169.254").deliver(message())
    with pytest.raises(DeliveryError) as refused:
        await channel(server, host="no-such-host.invalid").deliver(message())
    assert refused.value.retryable


async def test_a_header_takes_no_line_break(start_mail: Callable[..., MailServer]) -> None:
    server = start_mail()
    with pytest.raises(DeliveryError) as refused:
        await channel(server).deliver(message(subject="hello\nBcc: all@example.id"))
    assert not refused.value.retryable
    assert server.mails == []
