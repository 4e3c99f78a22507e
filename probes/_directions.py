"""Whether the ways to a target that a configuration names can lead there: IPv4 and IPv6 do not mix.

Found where the configuration is read: at run time an address of the other family looks like a name that does not exist,
which would be the target's fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from probes import Family, Route

_VERSIONS = {Family.IPV4: 4, Family.IPV6: 6}

Key = tuple[str, ...]


def contradictions(route: Route, target: str) -> Iterator[tuple[Key, str]]:
    """(key, what is wrong) of each key of a kind that rules out what another says. `target` is host:port or a host."""
    wanted = [] if route.family is None else [(f"family is {route.family}", _VERSIONS[route.family])]
    if route.source is not None:
        left_from = ip_address(route.source).version
        yield from _other(("source",), route.source, left_from, wanted)
        wanted.append((f"source is {route.source}", left_from))
    for host, address in route.addresses.items():
        yield from _other(("resolve", host), address, ip_address(address).version, wanted)
    version = _version(target)
    if version is not None and not _bare(target) & route.addresses.keys():
        yield from _other((), "the target", version, wanted)


def _other(key: Key, address: str, version: int, wanted: list[tuple[str, int]]) -> Iterator[tuple[Key, str]]:
    for why, other in wanted:
        if other != version:
            yield key, f"{address} is an IPv{version} address, and {why}"
            return


def _bare(target: str) -> set[str]:
    """What may be the host in host:port or a host; the brackets of an IPv6 address taken off."""
    return {target, target.rpartition(":")[0].removeprefix("[").removesuffix("]")}


def _version(target: str) -> int | None:
    """4 or 6 for an address, with or without a port; None for a name."""
    for text in _bare(target):
        try:
            return ip_address(text.partition("%")[0]).version
        except ValueError:
            continue
    return None
