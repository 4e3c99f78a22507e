"""The cookies of one run: what a server set goes back to it, and only to it (RFC 6265, for the length of a run).

Time is the run's own clock: `Max-Age` counts from the answer, `Expires` against that answer's own `Date`, so that a
wrong clock on either side expires nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult

MAX_COOKIES = 64
MAX_BYTES = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_AGE = re.compile(r"-?\d{1,18}")
_LONG_AGO_YEAR = 2000  # an `Expires` before this deletes, also in an answer without a `Date`


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """One cookie; `expires_ns` is on the run's clock, None for the whole run."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    expires_ns: int | None

    def goes_to(self, url: SplitResult, now_ns: int) -> bool:
        """True if a request for `url` carries it."""
        host = (url.hostname or "").lower()
        return (
            (host == self.domain or (not self.host_only and _within(host, self.domain)))
            and _path_matches(url.path or "/", self.path)
            and (not self.secure or url.scheme == "https")
            and (self.expires_ns is None or now_ns < self.expires_ns)
        )


class Jar:
    """At most MAX_COOKIES cookies; one more pushes the oldest out."""

    __slots__ = ("_cookies",)

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def header(self, url: SplitResult, now_ns: int) -> str:
        """The value of the `Cookie` header for `url`: longer paths first, "" if none goes there."""
        if not self._cookies:
            return ""
        going = sorted((c for c in self._cookies.values() if c.goes_to(url, now_ns)), key=lambda c: -len(c.path))
        return "; ".join(f"{c.name}={c.value}" for c in going)

    def store(self, url: SplitResult, headers: list[tuple[bytes, bytes]], now_ns: int) -> None:
        """Take over what an answer from `url` sets; what no browser would keep is passed over."""
        lines = [value for name, value in headers if name.lower() == b"set-cookie"]
        if not lines:
            return
        date = next((_date(value.decode("latin-1")) for name, value in headers if name.lower() == b"date"), None)
        for line in lines:
            if len(line) <= MAX_BYTES:
                self._store(url, line.decode("utf-8", "replace"), now_ns, date)

    def _store(self, url: SplitResult, line: str, now_ns: int, date: datetime | None) -> None:
        pair, *rest = line.split(";")
        name, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or not name or _CONTROL.search(line):
            return
        attributes = {key.strip().lower(): item.strip() for key, _, item in (piece.partition("=") for piece in rest)}
        host = (url.hostname or "").lower()
        domain = attributes.get("domain", "").lstrip(".").lower()
        secure = "secure" in attributes
        if (domain and not _may_set(host, domain)) or (secure and url.scheme != "https"):
            return
        path = attributes.get("path", "")
        path = path if path.startswith("/") else _default_path(url.path)
        key = (domain or host, path, name)
        lifetime_s = _lifetime_s(attributes, date)
        self._cookies.pop(key, None)
        if lifetime_s is not None and lifetime_s <= 0:
            return
        self._cookies[key] = Cookie(
            name=name,
            value=value,
            domain=domain or host,
            host_only=not domain,
            path=path,
            secure=secure,
            expires_ns=None if lifetime_s is None else now_ns + lifetime_s * 1_000_000_000,
        )
        while len(self._cookies) > MAX_COOKIES:
            del self._cookies[next(iter(self._cookies))]


def _within(host: str, domain: str) -> bool:
    return host.endswith("." + domain) and not _is_address(host)


def _may_set(host: str, domain: str) -> bool:
    return host == domain or (_within(host, domain) and "." in domain)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _path_matches(path: str, cookie_path: str) -> bool:
    return path == cookie_path or path.startswith(cookie_path if cookie_path.endswith("/") else cookie_path + "/")


def _default_path(path: str) -> str:
    return path[: path.rindex("/")] or "/" if path.startswith("/") else "/"


def _lifetime_s(attributes: dict[str, str], date: datetime | None) -> int | None:
    age = attributes.get("max-age", "")
    if _MAX_AGE.fullmatch(age):
        return int(age)
    expires = _date(attributes.get("expires", ""))
    if expires is None:
        return None
    if date is not None:
        return int((expires - date).total_seconds())
    return 0 if expires.year < _LONG_AGO_YEAR else None


def _date(text: str) -> datetime | None:
    """An HTTP date; the `-` of the old cookie form is read as a space."""
    try:
        found = parsedate_to_datetime(re.sub(r"(?<=\d)-(?=[A-Za-z])|(?<=[A-Za-z])-(?=\d)", " ", text))
    except (TypeError, ValueError, IndexError):
        return None
    return found if found.tzinfo is not None else None
