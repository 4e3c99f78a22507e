"""The Merkle tree against published roots, against a definition written down straight, and against forgers."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    proves_consistency,
    proves_inclusion,
)

# The leaves and roots that the reference implementations of RFC 6962 share (transparency-dev/merkle, testonly).
LEAVES = [bytes.fromhex(leaf) for leaf in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]]
LEAVES.append(bytes(range(0x60, 0x70)))
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def straight(leaves: list[bytes]) -> bytes:
    """MTH as RFC 9162, 2.1.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + straight(leaves[:k]) + straight(leaves[k:])).digest()


def hashed(size: int) -> list[bytes]:
    return [leaf_hash(str(n).encode()) for n in range(size)]


def test_the_published_roots() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT == straight([])
    tree = Tree(map(leaf_hash, LEAVES))
    for size, root in enumerate(ROOTS, 1):
        frontier.append(leaf_hash(LEAVES[size - 1]))
        assert frontier.root().hex() == root
        assert tree.root(size).hex() == root
        assert straight(LEAVES[:size]).hex() == root


@given(st.integers(0, 70), st.integers(0, 70))
def test_frontier_and_tree_agree_with_the_definition(size: int, cut: int) -> None:
    leaves = [str(n).encode() for n in range(max(size, cut))]
    tree, frontier = Tree(map(leaf_hash, leaves)), Frontier()
    for leaf in leaves[:cut]:
        frontier.append(leaf_hash(leaf))
    assert tree.root(cut) == frontier.root() == straight(leaves[:cut])
    assert tree.root() == straight(leaves)


def test_a_frontier_is_taken_up_where_it_was_left() -> None:
    first = Frontier()
    for leaf in hashed(13):
        first.append(leaf)
    kept, root = Frontier(first.size, first.peaks), first.root()
    copied = first.copy()
    for leaf in hashed(9):
        first.append(leaf)
        kept.append(leaf)
    assert kept.root() == first.root()
    assert copied.root() == root


@pytest.mark.parametrize(("size", "peaks"), [(-1, []), (1, []), (3, [b"x" * 32]), (0, [b"x" * 32]), (1, [b"short"])])
def test_a_frontier_that_cannot_be(size: int, peaks: list[bytes]) -> None:
    with pytest.raises(ValueError, match="another number of complete subtrees"):
        Frontier(size, peaks)


@pytest.mark.parametrize("size", [*range(1, 19), 33])
def test_every_leaf_proves_its_inclusion_and_nothing_else(size: int) -> None:
    tree, leaves = Tree(hashed(40)), hashed(40)
    root = tree.root(size)
    for index in range(size):
        proof = tree.inclusion_proof(index, size)
        assert proves_inclusion(leaves[index], index, size, root, proof)
        assert not proves_inclusion(leaves[index + 1], index, size, root, proof)
        assert not proves_inclusion(leaves[index], index, size, tree.root(39), proof)
        assert not proves_inclusion(leaves[index], index, size, root, [*proof, leaves[0]])
        assert not proves_inclusion(leaves[index], index + size, size, root, proof)
        assert not proves_inclusion(leaves[index], -1, size, root, proof)
        for other in set(range(size)) - {index}:
            assert not proves_inclusion(leaves[index], other, size, root, proof)
        if proof:
            assert not proves_inclusion(leaves[index], index, size, root, proof[:-1])


@pytest.mark.parametrize("new", [*range(1, 19), 33])
def test_every_beginning_proves_its_consistency_and_nothing_else(new: int) -> None:
    tree = Tree(hashed(40))
    root = tree.root(new)
    for old in range(new + 1):
        before, proof = tree.root(old), tree.consistency_proof(old, new)
        assert proves_consistency(old, before, new, root, proof)
        assert not proves_consistency(old, leaf_hash(b"forged"), new, root, proof)
        assert not proves_consistency(old, before, new, root, [*proof, leaf_hash(b"more")])
        assert not proves_consistency(new + 1, before, new, root, proof)
        if 0 < old < new:
            assert not proves_consistency(old, before, new, leaf_hash(b"forged"), proof)
            assert not proves_consistency(old, before, new, root, proof[:-1])
            assert not proves_consistency(old, before, new, root, [])


def test_proofs_are_for_the_whole_tree_where_no_size_is_named() -> None:
    tree = Tree(hashed(11))
    assert tree.inclusion_proof(4) == tree.inclusion_proof(4, 11)
    assert tree.consistency_proof(4) == tree.consistency_proof(4, 11)
    assert tree.root() == tree.root(11)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    """The second preimage that the prefixes prevent (RFC 9162, 2.1.1)."""
    left, right = hashed(2)
    assert leaf_hash(left + right) != node_hash(left, right)


def test_asking_beyond_the_tree_is_a_fault_of_the_program() -> None:
    tree = Tree(hashed(3))
    with pytest.raises(AssertionError):
        tree.root(4)
    with pytest.raises(AssertionError):
        tree.inclusion_proof(3)
    with pytest.raises(AssertionError):
        tree.consistency_proof(4)
