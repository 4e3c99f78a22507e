"""What a channel was told in confidence stands in nothing that it says."""

from __future__ import annotations

import base64

import pytest

from monitor.app.discreet import MAX_TEXT, Confidence, DiscreetChannel
from monitor.notify import DeliveryError, Message, Receipt
from probes.secret import MASK

KNOWN = {"KEY": "k7+/x9=q", "SHORT": "abc"}
MESSAGE = Message(key="k", kind="down", to="operators", payload={})


class Telltale:
    """Takes or refuses a message with the words it was made with."""

    def __init__(self, said: str, *, refuses: bool) -> None:
        self.said, self.refuses = said, refuses

    async def deliver(self, message: Message) -> Receipt:
        if self.refuses:
            raise DeliveryError(self.said, retryable=True, retry_after_us=7)
        return Receipt(text=self.said)


def confidence(*texts: str) -> Confidence:
    made = Confidence(KNOWN.__getitem__)
    for text in texts:
        made.look_up(text)
    return made


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("https://hooks.example.id/${KEY}", "no route for /k7+/x9=q"),
        ("https://hooks.example.id/${KEY}", "no route for /k7%2B%2Fx9%3Dq"),
        ("Bearer ${KEY}", f"basic {base64.b64encode(b'ayu:k7+/x9=q').decode()}"),
        ("https://hooks.example.id/services/T0/B1/letters-in-clear", "no team at /services/T0/B1/letters-in-clear"),
        ("https://hooks.example.id/a?token=in-clear", "token=in-clear is unknown"),
        ("https://ayu:in-clear@hooks.example.id/", "ayu may not log in with in-clear"),
    ],
)
async def test_what_it_was_told_is_masked_in_receipts_and_errors(told: str, said: str) -> None:
    kept = confidence(told)
    receipt = await DiscreetChannel(Telltale(said, refuses=False), kept).deliver(MESSAGE)
    with pytest.raises(DeliveryError) as refused:
        await DiscreetChannel(Telltale(said, refuses=True), kept).deliver(MESSAGE)
    for text in (receipt.text, str(refused.value)):
        assert MASK in text
        assert not any(word in text for word in ("k7", "in-clear", base64.b64encode(b"k7+/x9=q").decode()[2:8]))
    assert (refused.value.retryable, refused.value.retry_after_us) == (True, 7)


def test_a_secret_on_the_edge_is_not_cut_in_half() -> None:
    kept = confidence("https://hooks.example.id/${KEY}")
    for start in range(MAX_TEXT - 20, MAX_TEXT + 2):
        said = kept.safe("." * start + KNOWN["KEY"] + "." * 50)
        assert len(said) <= MAX_TEXT
        assert "k7" not in said


def test_what_is_too_short_to_be_a_secret_leaves_words_readable() -> None:
    kept = confidence("${SHORT}", "https://hooks.example.id/jaga")
    assert kept.safe("abc is what jaga said") == "abc is what jaga said"


def test_channels_do_not_share_what_they_were_told() -> None:
    confidence("${KEY}")
    assert confidence("other").safe(KNOWN["KEY"]) == KNOWN["KEY"]
