"""The egress guard: which addresses a probe may connect to, judged on the numeric address just before the connect.

Two policies. Targets written in the configuration may be anywhere but at cloud metadata. What a *target* chooses (a
redirect from a public address, a host taken from an answer) must be a public address. Judging the resolved address, not
the name or the URL, leaves no room for literals in odd notations or for a name that resolves differently next time.
"""

from __future__ import annotations

import functools
import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds hand out credentials: AWS, GCP, Azure, OpenStack and most others share the first; then ECS, EKS, Alibaba,
# Azure's wire server, Oracle, and the IPv6 ones of AWS, EKS and GCP.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
# Global by the registry's letter, but nobody's public service: DS-Lite and PCP anycast (RFC 7335, 7723), 6to4 relays
# (RFC 7526).
_NOT_PUBLIC = tuple(ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24"))
_NAT64 = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.ip_network("::/96")
_LOOPBACKS = 1 << 16  # ::0 and ::1 are no IPv4-compatible addresses, nor are their neighbours


def unwrap(address: Address) -> Address:
    """The IPv4 address inside a transition address (mapped, compatible, 6to4, Teredo, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
    if inner:
        return inner
    if any(address in net for net in _NAT64) or (address in _COMPATIBLE and int(address) >= _LOOPBACKS):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@functools.lru_cache(maxsize=4096)
def is_public(text: str) -> bool:
    """True for an address that anybody on the internet could reach; a zone (`%eth0`) makes it local."""
    if "%" in text:
        return False
    address = unwrap(ipaddress.ip_address(text))
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return not any(address in net for net in _NOT_PUBLIC if net.version == address.version)


@functools.lru_cache(maxsize=4096)
def refusal(text: str, public_only: bool) -> str | None:  # noqa: FBT001 - by name, the cache would cost twice as much
    """Why the guard refuses the numeric address `text`, or None if it may be reached."""
    if unwrap(ipaddress.ip_address(text.partition("%")[0])) in _METADATA:
        return f"{text} is a cloud metadata address, which no probe may reach"
    if public_only and not is_public(text):
        return f"{text} is not a public address, and the target chose it"
    return None
