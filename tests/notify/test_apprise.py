"""Apprise against a real receiver of its JSON address: what goes out, what fails, and that no address is ever shown."""

from __future__ import annotations

import json
import logging

import pytest

from monitor.notify import DeliveryError
from monitor.notify.apprise import AppriseChannel
from tests.notify.conftest import HttpReceiver, message

# Apprise imports its plug-ins with what the standard library gives up later: its own affair.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def channel(*urls: str) -> AppriseChannel:
    def look_up(text: str) -> str:
        if text == "${GONE}":
            raise LookupError("${GONE}: the environment has no GONE")
        return text

    return AppriseChannel(urls=urls, look_up=look_up)


def json_url(receiver: HttpReceiver) -> str:
    return receiver.url.replace("http://", "json://user:s3cret@")


async def test_a_message_goes_over_every_address(receiver: HttpReceiver) -> None:
    made = channel(json_url(receiver), json_url(receiver) + "/second")
    receipt = await made.deliver(message())
    assert receipt.text == "apprise: taken over 2 addresses"
    assert sorted(path for _method, path, _headers, _body in receiver.came) == ["/", "/second"]
    body = json.loads(receiver.came[0][3])
    assert body["title"] == "DOWN: Portal since 07:00"
    assert "Why: timeout" in body["message"]
    assert body["type"] == "failure"


async def test_a_refusal_may_be_tried_again_and_shows_no_address(
    receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    caplog.set_level(logging.DEBUG)
    made = channel(json_url(receiver))
    with pytest.raises(DeliveryError, match="could not deliver") as refused:
        await made.deliver(message())
    assert refused.value.retryable
    assert "s3cret" not in str(refused.value) + repr(made) + caplog.text


@pytest.mark.parametrize(("url", "said"), [("nonsense://s3cret", "address number 1"), ("${GONE}", "no GONE")])
async def test_an_address_that_cannot_be_read_is_refused_for_good(url: str, said: str) -> None:
    with pytest.raises(DeliveryError, match=said) as refused:
        await channel(url).deliver(message())
    assert not refused.value.retryable
    assert "s3cret" not in str(refused.value)


async def test_without_apprise_the_channel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.notify.apprise.LIBRARY", "no_such_library")
    with pytest.raises(DeliveryError, match=r"install jaga\[notify\]"):
        await channel("json://127.0.0.1").deliver(message())
