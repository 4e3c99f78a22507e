"""Mail over SMTP: STARTTLS demanded unless said otherwise, a message id made of the key, the server's word as receipt.

The message id is the same in every attempt, so that a mailbox shows a repeated delivery once. That the server took the
mail is what counts as its acceptance (CONTRACT 2.5.2); addresses never stand in a receipt.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Literal

import aiosmtplib

from monitor.core.instant import to_datetime
from monitor.notify import DELIVERY_TIMEOUT_S, DeliveryError, Message, Receipt, Secret
from probes import egress

Tls = Literal["starttls", "tls", "none"]
RECEIPT_CHARACTERS = 2000  # it is cut where it is made safe
MAX_LINE = 900
"""A subject stays on its line, under the 998 of RFC 5322: folded ones reach some phones with a gap."""
_ADDRESS = re.compile(r"<?[^\s<>@]+@[^\s<>@]+>?")
_LAST_TRANSIENT = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChannel:
    """Mails each message over one connection of its own. `recipients` gives the addresses for `Message.to`.

    `user` and `password` may hold references; `tls_context` None trusts what the system trusts.
    """

    host: str
    port: int
    sender: str
    recipients: Callable[[str], Sequence[str]]
    now_us: Callable[[], int]
    look_up: Secret
    tls: Tls = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_context: ssl.SSLContext | None = None

    async def deliver(self, message: Message) -> Receipt:
        """Mail it to everybody it is for; taken where the server took it for at least one of them."""
        to = list(self.recipients(message.to))
        if not to:
            raise DeliveryError(f"there is no mail address for {message.to or 'anybody'}", retryable=False)
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                return await self._send(self._mail(message, to), to)
        except TimeoutError:
            raise DeliveryError(f"{self.host} did not answer in {DELIVERY_TIMEOUT_S:g} s", retryable=True) from None
        except aiosmtplib.SMTPException as error:
            raise _refused(self.host, error) from None
        except OSError as error:
            raise DeliveryError(f"{self.host}: {error.strerror or error}", retryable=True) from None
        except (LookupError, ValueError) as error:
            raise DeliveryError(_without_addresses(str(error)), retryable=False) from None

    def _mail(self, message: Message, to: Sequence[str]) -> EmailMessage:
        mail = EmailMessage(policy=SMTP_POLICY.clone(max_line_length=MAX_LINE))
        mail["From"], mail["To"] = self.sender, ", ".join(to)
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(to_datetime(self.now_us()))
        domain = parseaddr(self.sender)[1].rpartition("@")[2] or "localhost"
        mail["Message-ID"] = f"<{hashlib.sha256(message.key.encode()).hexdigest()[:40]}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Jaga-Kind"], mail["X-Jaga-Key"] = message.kind, message.key
        mail.set_content(message.text)
        mail["Content-Language"] = message.lang  # only now: setting the content drops such headers
        return mail

    async def _send(self, mail: EmailMessage, to: Sequence[str]) -> Receipt:
        user = None if self.user is None else self.look_up(self.user)
        password = None if self.password is None else self.look_up(self.password)
        context = self.tls_context
        if context is None and self.tls != "none":
            context = await asyncio.to_thread(ssl.create_default_context)  # 18 ms that the loop does not have
        client = aiosmtplib.SMTP(
            hostname=self.host,
            sock=await self._connected(),
            username=user,
            password=password,
            use_tls=self.tls == "tls",
            start_tls=self.tls == "starttls",
            tls_context=context,
            timeout=DELIVERY_TIMEOUT_S,
        )
        try:
            async with client:
                refused, said = await client.sendmail(
                    parseaddr(self.sender)[1], [parseaddr(a)[1] for a in to], bytes(mail)
                )
        finally:
            client.close()
        taken = len(to) - len(refused)
        return Receipt(text=f"{taken} of {len(to)} recipients: {_without_addresses(said)[:RECEIPT_CHARACTERS]}")

    async def _connected(self) -> socket.socket:
        """A connection to the first address of the host that takes one and that the guard lets through."""
        loop = asyncio.get_running_loop()
        failed: OSError = OSError("it has no address")
        for family, kind, protocol, _name, address in await loop.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            why = egress.refusal(str(address[0]), public_only=False)
            if why is not None:
                raise DeliveryError(why, retryable=False)
            connection = socket.socket(family, kind, protocol)
            connection.setblocking(False)  # noqa: FBT003 - the standard library's own
            try:
                await loop.sock_connect(connection, address)
            except OSError as error:
                connection.close()
                failed = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise failed


def _refused(host: str, error: aiosmtplib.SMTPException) -> DeliveryError:
    """What the server said; 4xx and broken connections may be tried again, 5xx are for good (RFC 5321, 4.2.1)."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [one.code for one in error.recipients]
        said = f"{host} takes none of the recipients: {', '.join(map(str, codes))}"
        return DeliveryError(said, retryable=any(code <= _LAST_TRANSIENT for code in codes))
    said = f"{host}: {_without_addresses(str(error))}"[:RECEIPT_CHARACTERS]
    code = getattr(error, "code", None)
    return DeliveryError(said, retryable=code is None or code <= _LAST_TRANSIENT)


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("…", " ".join(text.split()))
