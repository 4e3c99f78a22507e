"""The kinds of value that a probe's settings are made of, each with the sentence that says what was meant.

They are validated by pydantic where the configuration is read; a message here is shown to the user behind
`file:line:column`. Durations are integer microseconds, sizes integer bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StrictBool,
    StrictStr,
    WithJsonSchema,
)

from probes import Family, TlsPolicy, egress, template

FORBID = ConfigDict(extra="forbid")
Flag = StrictBool

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_QUANTITY = re.compile(r"(\d{1,12})(?:\.(\d{1,6}))?\s*([A-Za-z]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HOST = re.compile(r"[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._~-]+)?\]")
_PORT = re.compile(r"[0-9]{1,5}")
_DNS_PORT = 53
MAX_TEXT = 65_536


def _quantity(value: Any, units: dict[str, int], what: str, example: str) -> int:  # noqa: ANN401 - anything from YAML
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{what} is written like {example}")  # noqa: TRY004 - pydantic reports ValueErrors
    if not isinstance(value, str):
        # A bare number is refused, not guessed; pydantic reports ValueErrors only.
        raise ValueError(f"{what} needs a unit: {value} of what? write it like {example}")  # noqa: TRY004
    match = _QUANTITY.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no {what.split(' ', 1)[1]}: write it like {example}")
    whole, fraction, unit = match[1], match[2] or "", match[3]
    if unit not in units:
        raise ValueError(f"{value!r}: unknown unit {unit!r}, there are {', '.join(units)}")
    amount, rest = divmod(int(whole + fraction) * units[unit], int("1" + "0" * len(fraction)))
    if rest:
        raise ValueError(f"{value!r} is finer than can be kept")
    return amount


def duration_us(value: Any) -> int:  # noqa: ANN401 - anything from YAML
    """Microseconds from `800ms`, `10s`, `5m`, `1h`, `2d`; ValueError otherwise, a bare number included."""
    return _quantity(value, _UNITS_US, "a duration", "800ms, 10s, 5m, 1h or 2d")


def byte_size(value: Any) -> int:  # noqa: ANN401 - anything from YAML
    """Bytes from `64KiB` or `1MiB`; ValueError otherwise, a bare number included."""
    return _quantity(value, _SIZES, "a size", "64KiB or 1MiB")


def size_text(size: int) -> str:
    """A size in its largest unit that divides it: 1048576 -> `1MiB`."""
    unit = next(name for name in ("GiB", "MiB", "KiB", "B") if size % _SIZES[name] == 0)
    return f"{size // _SIZES[unit]}{unit}"


def no_control(text: str) -> str:
    """Text without line breaks and other control characters, which could smuggle a second header in."""
    found = _CONTROL.search(text)
    if found:
        raise ValueError(f"has a control character ({found[0]!r}) at position {found.start()}")
    return text


def bounded(text: str) -> str:
    """Text of a sane length with well-formed `${…}` and `{{ … }}`."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT} characters")
    template.parse(text)
    return text


def _stand_in(text: str) -> str:
    return "".join(part if isinstance(part, str) else "x" for part in template.parse(text))


def http_url(text: str) -> str:
    """An absolute http or https URL with a host and without user name or password in it; marks are allowed."""
    no_control(bounded(text))
    parts = template.parse(text)
    if parts and not isinstance(parts[0], str):
        return text  # the whole begins with a variable: judged when it is known
    shown = _stand_in(text)
    if shown.startswith("//") or "://" not in shown:
        raise ValueError(f"{text!r} is no absolute URL: write it like https://example.id/path")
    try:
        split = urlsplit(shown)
        port = split.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no URL: {error}") from None
    if split.scheme.lower() not in {"http", "https"}:
        raise ValueError(f"unknown scheme {split.scheme!r}: only http and https are probed by http")
    check_host(split, text)
    if port == 0:
        raise ValueError(f"{text!r}: port 0 cannot be connected to")
    return text


def check_host(split: SplitResult, text: str) -> None:
    """The authority names a host, no user, and no cloud metadata address."""
    if "@" in split.netloc:
        raise ValueError("a URL holds no user name or password: use basic: {user: …, password: …}")
    host = split.hostname or ""
    if host.isascii() and not is_host(host):
        raise ValueError(f"{text!r} names no host")
    refuse_metadata(host)


def as_it_is(text: str) -> str:
    """Text that is used before a run begins, and so holds no marks."""
    if not template.is_fixed(text):
        raise ValueError(f"{text!r} is used as it is: it holds no ${{…}} and no {{{{ … }}}}")
    return text


def is_host(host: str) -> bool:
    """True for the characters of a name or an address (IPv6 without brackets)."""
    return _HOST.fullmatch(f"[{host}]" if ":" in host else host) is not None


def host_key(host: str) -> str:
    """A host as it is compared with others: in lower case, an international name in ASCII (its A-labels)."""
    try:
        return (host if host.isascii() else host.encode("idna").decode()).lower()
    except UnicodeError:
        return host.lower()


def addresses_by_host(resolve: Mapping[str, str]) -> dict[str, str]:
    """`resolve` as a Route wants it."""
    return {host_key(host): address for host, address in resolve.items()}


def refuse_metadata(host: str) -> None:
    """A literal cloud metadata address is refused where the configuration is read."""
    try:
        reason = egress.refusal(host, public_only=False)
    except ValueError:
        return  # a name: judged when it is resolved
    if reason:
        raise ValueError(reason)


def address(text: str) -> str:
    """A numeric IP address."""
    try:
        reason = egress.refusal(text, public_only=False)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None
    if reason:
        raise ValueError(reason)
    return text


def header_name(text: str) -> str:
    """A header's name: an RFC 9110 token; those that frame the message belong to the engine."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is no header name")
    if text.lower() in {"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}:
        raise ValueError(f"{text!r} is set by the engine itself")
    return text


def scalar_text(value: Any) -> str:  # noqa: ANN401 - anything from YAML
    """A string, or a number or flag as text, as a header or a query wants it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("is a text or a number")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


def one_or_many(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """A list as it is, anything else as a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def host_port(text: str) -> str:
    """`host:port`, an IPv6 address in brackets."""
    no_control(bounded(text))
    split_host_port(_stand_in(text))
    return text


def split_host_port(text: str) -> tuple[str, int]:
    """The host (without brackets) and the port of `host:port`; ValueError otherwise."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not _PORT.fullmatch(port) or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{text!r} is no host:port (an IPv6 address goes in brackets: [::1]:443)")
    if not _HOST.fullmatch(host) and host.isascii():
        raise ValueError(f"{text!r} names no host (an IPv6 address goes in brackets: [::1]:443)")
    host = host.removeprefix("[").removesuffix("]")
    refuse_metadata(host)
    return host, int(port)


def name_server(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """`host` or `host:port`; 53 without one. A bare IPv6 address may go without brackets."""
    if not isinstance(value, str):
        return value
    if value.count(":") > 1 and not value.startswith("["):
        return f"[{value}]:{_DNS_PORT}"
    return value if ":" in value.rpartition("]")[2] else f"{value}:{_DNS_PORT}"


def resolver(text: str) -> str:
    """A name server by its address: one by name would need another resolver first."""
    host, port = split_host_port(name_server(as_it_is(text)))
    address(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def limited(check: Callable[[int], str | None]) -> AfterValidator:
    """Refuses an integer with the sentence that `check` answers."""

    def validate(value: int) -> int:
        problem = check(value)
        if problem:
            raise ValueError(problem)
        return value

    return AfterValidator(validate)


Duration = Annotated[
    int, BeforeValidator(duration_us), WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(us|ms|s|m|h|d)$"})
]
ByteSize = Annotated[
    int,
    BeforeValidator(byte_size),
    PlainSerializer(size_text),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(B|KiB|MiB|GiB|kB|MB|GB)$"}),
]
Text = Annotated[StrictStr, AfterValidator(bounded)]
Line = Annotated[StrictStr, AfterValidator(bounded), AfterValidator(no_control)]
Scalar = Annotated[
    str,
    BeforeValidator(scalar_text),
    AfterValidator(bounded),
    AfterValidator(no_control),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Value = Annotated[
    str,
    BeforeValidator(scalar_text),
    AfterValidator(bounded),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
_VALUE_SCHEMA = {"type": ["string", "number", "boolean"]}
Values = Annotated[
    tuple[Value, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [_VALUE_SCHEMA, {"type": "array", "items": _VALUE_SCHEMA}]}),
]
Fixed = Annotated[StrictStr, AfterValidator(no_control), AfterValidator(as_it_is)]
HttpUrl = Annotated[StrictStr, AfterValidator(http_url)]
HeaderName = Annotated[StrictStr, AfterValidator(header_name)]
HostPort = Annotated[StrictStr, AfterValidator(host_port)]
IpAddress = Annotated[StrictStr, AfterValidator(address)]
Resolver = Annotated[StrictStr, AfterValidator(no_control), AfterValidator(resolver)]
FamilyName = Annotated[Family, WithJsonSchema({"enum": ["ipv4", "ipv6"]})]


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The `tls` settings of a kind: whom to trust, and as whom to present oneself.

    `verify: false` needs `why_unverified`, which the statement shows; a service with its own authority wants `ca_file`
    instead. `client_cert` and `client_key` are PEM files for mutual TLS. `server_name` replaces the host in SNI and in
    the check of the certificate's name.
    """

    __pydantic_config__ = FORBID

    verify: Flag = True
    why_unverified: Fixed = ""
    ca_file: Fixed | None = None
    client_cert: Fixed | None = None
    client_key: Fixed | None = None
    server_name: Fixed | None = None

    def __post_init__(self) -> None:
        """Settings that contradict each other are refused."""
        if not self.verify and not self.why_unverified.strip():
            raise ValueError("verify: false needs why_unverified: the reason is shown on the statement")
        if self.verify and self.why_unverified:
            raise ValueError("why_unverified is given, but the certificate is verified")
        if self.client_key and not self.client_cert:
            raise ValueError("client_key needs client_cert")

    def policy(self, alpn: tuple[str, ...] = ()) -> TlsPolicy:
        """The same as the network wants it, offering the application protocols `alpn`."""
        return TlsPolicy(
            verify=self.verify,
            why_unverified=self.why_unverified,
            ca_file=self.ca_file,
            client_cert=self.client_cert,
            client_key=self.client_key,
            alpn=alpn,
        )
