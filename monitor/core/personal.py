"""Personal data beside the chain: an entry holds only a commitment to it, so it can be erased and the chain stands.

A reference is `personal:` and the SHA-256 over the canonical bytes of the data with a random salt. Without the salt,
which lies with the data and is erased with it, nobody can try names against what is left in the chain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.core.chain import canonical, digest

PREFIX = "personal:"
REFERENCE = re.compile(r"personal:[0-9a-f]{64}")
SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Personal:
    """Data about a person, and its salt. `kind` says what it is, such as `reporter` or `contact`."""

    kind: str
    data: Mapping[str, Any]
    salt: bytes

    @property
    def reference(self) -> str:
        """What an entry holds in its place."""
        committed = {"kind": self.kind, "data": dict(self.data), "salt": self.salt.hex()}
        return PREFIX + digest(canonical(committed)).removeprefix("sha256:")


def references(stored: bytes) -> set[str]:
    """The references in an entry's stored bytes."""
    return set(REFERENCE.findall(stored.decode()))
