"""The webhook against a real server that takes, refuses, hangs, redirects and resets."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from monitor import notify
from monitor.core.instant import SECOND_US
from monitor.notify import DeliveryError
from monitor.notify.webhook import WebhookChannel
from tests.notify.conftest import HttpReceiver, message

NOW_US = 1_775_000_000 * SECOND_US
SECRETS = {"${KEY}": "hush", "Bearer ${TOKEN}": "Bearer t0ken"}


def look_up(text: str) -> str:
    if text == "${GONE}":
        raise LookupError("${GONE}: the environment has no GONE")
    return SECRETS.get(text, text)


def channel(url: str, **changed: object) -> WebhookChannel:
    return WebhookChannel(url=url, now_us=lambda: NOW_US, look_up=look_up, **changed)  # type: ignore[arg-type]


async def test_the_body_is_signed_json_with_its_key(receiver: HttpReceiver) -> None:
    hook = channel(f"{receiver.url}/in", secret="${KEY}", headers={"Authorization": "Bearer ${TOKEN}"})
    receipt = await hook.deliver(message())
    assert receipt.text == "200 taken"
    ((method, path, headers, body),) = receiver.came
    assert (method, path) == ("POST", "/in")
    assert headers["Idempotency-Key"] == "o-1/down/hook"
    assert headers["Authorization"] == "Bearer t0ken"
    expected = hmac.new(b"hush", b"1775000000." + body, hashlib.sha256).hexdigest()
    assert headers["Jaga-Signature"] == f"t=1775000000,v1={expected}"
    assert json.loads(body) == {
        "schema": "jaga-message/1",
        "key": "o-1/down/hook",
        "kind": "down",
        "severity": "page",
        "to": "operators",
        "lang": "en",
        "subject": "DOWN: Portal since 07:00",
        "text": "DOWN: Portal since 07:00\nWhy: timeout\n",
        "service": "portal",
        "since": "2026-04-01T07:00:00+07:00",
    }


@pytest.mark.parametrize(
    ("status", "headers", "retryable", "after_s"),
    [
        (500, {}, True, None),
        (503, {"Retry-After": "17"}, True, 17),
        (429, {"Retry-After": "999999"}, True, 3600),
        (429, {"Date": "Wed, 01 Apr 2026 00:00:00 GMT", "Retry-After": "Wed, 01 Apr 2026 00:01:30 GMT"}, True, 90),
        (429, {"Retry-After": "soon"}, True, None),
        (404, {}, False, None),
        (302, {"Location": "http://169.254.169.254/latest/meta-data"}, False, None),
    ],
)
async def test_a_refusal_says_whether_and_when_to_try_again(
    receiver: HttpReceiver, status: int, headers: dict[str, str], *, retryable: bool, after_s: int | None
) -> None:
    receiver.status, receiver.headers = status, headers
    with pytest.raises(DeliveryError, match=f"127.0.0.1 answered {status}") as refused:
        await channel(receiver.url).deliver(message())
    assert refused.value.retryable is retryable
    assert refused.value.retry_after_us == (None if after_s is None else after_s * SECOND_US)
    assert len(receiver.came) == 1, "a redirect is not followed"


async def test_a_server_that_hangs_is_left(receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.hang = True
    monkeypatch.setattr("monitor.notify._http.DELIVERY_TIMEOUT_S", 0.2)
    with pytest.raises(DeliveryError, match="did not answer in") as refused:
        await channel(receiver.url).deliver(message())
    assert refused.value.retryable


async def test_a_connection_that_breaks_is_tried_again(receiver: HttpReceiver) -> None:
    receiver.reset = True
    with pytest.raises(DeliveryError) as refused:
        await channel(receiver.url).deliver(message())
    assert refused.value.retryable


@pytest.mark.parametrize(
    ("url", "said", "retryable"),
    [
        ("http://169.254.169.254/x", "cloud metadata", False),
        ("http://no-such-host.invalid/x?token=s3cret", "no-such-host.invalid", True),
        ("ftp://127.0.0.1/x", "no http", False),
        ("${GONE}", "the environment has no GONE", False),
    ],
)
async def test_an_address_that_cannot_be_asked_is_named_without_its_secrets(
    url: str, said: str, *, retryable: bool
) -> None:
    with pytest.raises(DeliveryError, match=said) as refused:
        await channel(url).deliver(message())
    assert refused.value.retryable is retryable
    assert "s3cret" not in str(refused.value)


async def test_a_long_answer_is_read_to_a_bound(receiver: HttpReceiver) -> None:
    receiver.body = "x" * 10_000_000
    receipt = await channel(receiver.url).deliver(message())
    assert len(receipt.text) <= 2004
    assert notify.DELIVERY_TIMEOUT_S > 0
