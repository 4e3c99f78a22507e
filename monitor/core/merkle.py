"""The Merkle tree over the record: one root for any number of entries, and short proofs about it (RFC 9162, 2.1).

A leaf is the stored bytes of an entry, or of whatever else a root is made over. An inclusion proof shows that a leaf is
in a tree, a consistency proof that a smaller tree is the beginning of a larger one; both need only the roots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf. Its prefix keeps leaves and nodes apart: no node's content can pass for a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """What must be remembered of a tree to go on growing it: the roots of its complete subtrees, largest first.

    There are as many as the size has ones in binary, so appending costs O(log n) at worst and two hashes on average.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if size < 0 or len(self.peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in self.peaks):
            msg = f"a tree of {size} leaves has another number of complete subtrees, or other hashes"
            raise ValueError(msg)

    def append(self, leaf: bytes) -> None:
        """Take the next leaf, by its hash."""
        node, complete = leaf, self.size
        while complete & 1:
            node = node_hash(self.peaks.pop(), node)
            complete >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree so far."""
        if not self.peaks:
            return EMPTY_ROOT
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = node_hash(peak, node)
        return node

    def copy(self) -> Frontier:
        """A frontier that grows by itself."""
        return Frontier(self.size, self.peaks)


class Tree:
    """A whole tree in memory, for proofs: about 200 bytes a leaf. Each proof costs O(log n)."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        """Over leaf hashes, in order."""
        level = list(leaves)
        self.size = len(level)
        self._levels = [level]
        while len(level) > 1:
            level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(level)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves (None: of all)."""
        return self._root(0, self._size(size))

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """That leaf `index` (from 0) is in the tree of the first `size` leaves (None: all); RFC 9162, 2.1.3.1."""
        end = self._size(size)
        assert 0 <= index < end, "only a leaf of the tree is included in it"
        proof: list[bytes] = []
        start = 0
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._root(middle, end))
                end = middle
            else:
                proof.append(self._root(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """That the tree of the first `old` leaves is the beginning of that of `new` (None: all); RFC 9162, 2.1.4.1."""
        end = self._size(new)
        assert 0 <= old <= end, "a tree can only begin a larger one"
        proof: list[bytes] = []
        start, whole = 0, True
        if old in {0, end}:
            return proof
        while old < end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._root(middle, end))
                end = middle
            else:
                proof.append(self._root(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._root(start, end))
        return proof[::-1]

    def _size(self, size: int | None) -> int:
        assert size is None or 0 <= size <= self.size, "the tree is smaller than that"
        return self.size if size is None else size

    def _root(self, start: int, end: int) -> bytes:
        """Of leaves `start` to before `end`; `start` is a multiple of the power of two that holds them."""
        if start == end:
            return EMPTY_ROOT
        length = end - start
        if length.bit_count() == 1:
            level = length.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(length)
        return node_hash(self._root(start, middle), self._root(middle, end))


def proves_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the leaf (by its hash) is number `index` of the tree; RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, place, last = leaf, index, size - 1
    for hashed in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(hashed, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, hashed)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def proves_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the old tree is the beginning of the new one; RFC 9162, 2.1.4.2."""
    if not 0 <= old <= new:
        return False
    if old in {0, new}:
        # Nothing is said of an empty tree but its root; a tree of the same size must be the same.
        return not proof and (old_root == new_root if old == new else old_root == EMPTY_ROOT)
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    if not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = path[0]
    for hashed in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(hashed, first), node_hash(hashed, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, hashed)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(length: int) -> int:
    """The largest power of two smaller than the length."""
    return 1 << ((length - 1).bit_length() - 1)
