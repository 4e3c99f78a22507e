"""The egress guard: addresses of FAULTS 2.D and their disguises."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import egress

# ruff: noqa: S104 - addresses to refuse, nothing is bound
INNER = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.1.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
METADATA = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.170.2",
    "fd00:ec2::254",
    "fd00:ec2::254%eth0",
    "192.0.0.192",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "103.10.68.1", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", INNER + METADATA)
def test_inner_addresses_are_not_public(address: str) -> None:
    reason = egress.refusal(address, public_only=True)
    assert reason is not None
    assert address in reason


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_never_reached(address: str) -> None:
    assert "cloud metadata" in (egress.refusal(address, public_only=False) or "")


@pytest.mark.parametrize("address", INNER + PUBLIC)
def test_the_configuration_may_name_anything_else(address: str) -> None:
    assert egress.refusal(address, public_only=False) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert egress.refusal(address, public_only=True) is None


@given(st.ip_addresses(v=4))
def test_a_disguise_is_judged_like_what_it_hides(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for disguise in (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    ):
        assert egress.is_public(str(disguise)) == egress.is_public(str(address)), disguise
