"""Texts of a segment, deflated: JSON values, against words that most of them have (docs/interchange.md, "Segments")."""

from __future__ import annotations

import json
import zlib
from typing import Any

MAX_TEXTS_BYTES = 64 * 2**20

WORDS = (
    b"own_resolverown_networkstalledlateinconclusiveprotocolscripthttp_statusassertionimportedagent.status.body"
    b'"dns","tcp","icmp","POST","https://","http://",null,null,[],null,1,["GET",200,null,[],null,0,["resolve","connect",'
    b'"tls","processing","transfer"]]]],["fail",2,"timeout",null,null,0,"own",0,1,[]],[["pass"],["fail",["pass"]]],["'
    b'[["check-1","location-1",60,120],[["pass",1,null,null,null,0,"own",0,1,[["'
)
"""The preset dictionary (RFC 1950, FDICT): part of the format, never to be changed."""


class TextsError(ValueError):
    """Bytes that are no texts; the message says why."""


def deflated(value: object) -> bytes:
    """A JSON value as raw DEFLATE (RFC 1951) with the dictionary."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, WORDS)
    return packer.compress(json.dumps(value, separators=(",", ":")).encode()) + packer.flush()


def inflated(data: bytes, *, dictionary: bool) -> Any:  # noqa: ANN401 - a JSON value
    """The JSON value of such bytes; older ones were deflated without the dictionary. TextsError, or zlib.error."""
    packer = zlib.decompressobj(-15, WORDS) if dictionary else zlib.decompressobj(-15)
    text = packer.decompress(data, MAX_TEXTS_BYTES)
    if not packer.eof or packer.unused_data:
        raise TextsError("its texts end early, or are too long")
    return json.loads(text)
