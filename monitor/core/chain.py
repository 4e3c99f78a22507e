"""Canonical bytes (RFC 8785) and the hash chain over them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

GENESIS = "sha256:" + "0" * 64


def canonical(value: Mapping[str, Any]) -> bytes:
    """The RFC 8785 bytes of a JSON object of strings, integers below 2^53, booleans, nulls, lists and objects.

    Floats are refused: no figure of the record is one.
    """
    _refuse_floats(value)
    return rfc8785.dumps(dict(value))


def digest(data: bytes) -> str:
    """`sha256:<hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _refuse_floats(value: object) -> None:
    assert not isinstance(value, float), "no floats in the record"
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
