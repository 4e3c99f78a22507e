"""Basic authentication with bcrypt hashes, checked off the event loop. The one door to bcrypt.

A right password is remembered, as each check costs tens of milliseconds of a processor; a wrong one never is. What is
remembered is a keyed hash over user, hash and password, each with its length before it: exporter-toolkit once put them
one behind the other, so that a chosen password could be taken for the cached result of another (CVE-2022-46146).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

MAX_REMEMBERED = 100
MAX_WAITING = 8
"""Checks under way and waiting; whoever comes beyond is asked to come again."""

MAX_PASSWORD_BYTES = 72
"""bcrypt looks at no more; longer ones are wrong, rather than right by their beginning."""


class BusyError(Exception):
    """So many passwords are being checked that this one is not."""


class Passwords:
    """The users of the web configuration, at least one. `close` ends its thread."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name: written.encode() for name, written in users.items()}
        self._anybody = next(iter(self._users.values()))  # checked for users that are not there: they take as long
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "bcrypt")

    def close(self) -> None:
        """Check no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def remembers(self, user: str, password: str) -> bool:
        """Whether this very pair was found right before; costs next to nothing."""
        mark = self._mark(user, password)
        if mark not in self._right:
            return False
        self._right.move_to_end(mark)
        return True

    async def right(self, user: str, password: str) -> bool:
        """Whether it is the user's password; BusyError where too many are being checked."""
        if self.remembers(user, password):
            return True
        if self._waiting >= MAX_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            held, given = self._users.get(user, self._anybody), password.encode(errors="surrogateescape")
            same = await asyncio.get_running_loop().run_in_executor(self._thread, _matches, given, held)
        finally:
            self._waiting -= 1
        if not same or user not in self._users:
            return False
        self._right[self._mark(user, password)] = None
        while len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)
        return True

    def _mark(self, user: str, password: str) -> bytes:
        told = (text.encode(errors="surrogateescape") for text in (user, password))
        parts = (self._users.get(user, b""), *told)
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.new(self._key, framed, hashlib.sha256).digest()


def _matches(given: bytes, held: bytes) -> bool:
    if len(given) > MAX_PASSWORD_BYTES or b"\0" in given:
        return False
    return bcrypt.checkpw(given, held)


def hash_fault(written: str) -> str | None:
    """Why a text is no bcrypt hash that can be checked; None where it is one."""
    try:
        bcrypt.checkpw(b"", written.encode())
    except ValueError as error:
        return str(error)
    return None
