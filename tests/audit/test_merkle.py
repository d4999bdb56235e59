"""RFC 6962: the vectors of Certificate Transparency's reference code, and every small tree by definition."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    Tree,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    subtree_levels,
)

# Of merkletree/merkle_tree_test.cc (google/certificate-transparency), which the Go and Rust libraries share.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def _numbered(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


def _by_definition(hashes: list[bytes]) -> bytes:
    """MTH of section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(_by_definition(hashes[:split]), _by_definition(hashes[split:]))


@pytest.mark.parametrize(("size", "root"), list(enumerate(ROOTS)))
def test_roots_are_the_published_ones(size: int, root: str) -> None:
    compact = CompactRange()
    for value in HASHES[:size]:
        compact.append(value)
    assert (compact.root().hex(), Tree(leaves=HASHES).root(size).hex()) == (root, root)


@pytest.mark.parametrize(("place", "path"), list(INCLUSION.items()))
def test_inclusion_proofs_are_the_published_ones(place: tuple[int, int], path: list[str]) -> None:
    assert [value.hex() for value in Tree(leaves=HASHES).inclusion(*place)] == path


@pytest.mark.parametrize(("sizes", "path"), list(CONSISTENCY.items()))
def test_consistency_proofs_are_the_published_ones(sizes: tuple[int, int], path: list[str]) -> None:
    assert [value.hex() for value in Tree(leaves=HASHES).consistency(*sizes)] == path


def test_an_empty_tree() -> None:
    assert CompactRange().root() == Tree().root() == EMPTY_ROOT == _by_definition([])
    for call in (lambda: Tree().inclusion(0, 0), lambda: Tree().consistency(0, 0), lambda: Tree().root(1)):
        with pytest.raises(LookupError):
            call()


def test_every_proof_of_every_small_tree_holds_and_shows_nothing_else() -> None:
    hashes = _numbered(20)
    tree = Tree(leaves=hashes)
    roots = [_by_definition(hashes[:size]) for size in range(21)]
    for size in range(1, 21):
        for index in range(size):
            path = tree.inclusion(index, size)
            assert is_included(hashes[index], index, size, path, roots[size])
            assert not is_included(hashes[index - 1], index, size, path, roots[size]) or size == 1
            assert not is_included(hashes[index], index, size, path, roots[size - 1])
            assert not is_included(hashes[index], index, size, [*path, path[0] if path else roots[1]], roots[size])
            assert not path or not is_included(hashes[index], index, size, path[:-1], roots[size])
        for old in range(1, size + 1):
            path = tree.consistency(old, size)
            assert is_consistent(old, size, roots[old], roots[size], path)
            assert old == size or not is_consistent(old, size, roots[old - 1], roots[size], path)
            assert old == size or not is_consistent(old, size, roots[old], roots[old], path)
            assert not path or not is_consistent(old, size, roots[old], roots[size], path[:-1])
            assert not is_consistent(old, size, roots[old], roots[size], [*path, roots[1]])
    assert not is_included(hashes[0], -1, 3, [], roots[3])
    assert not is_consistent(0, 3, EMPTY_ROOT, roots[3], [])
    assert not is_consistent(3, 4, roots[3], roots[4], [])


@given(st.lists(st.integers(0, 600), min_size=1, max_size=5))
@settings(max_examples=25)
def test_ranges_put_together_have_the_root_of_the_whole(lengths: list[int]) -> None:
    hashes = _numbered(sum(lengths))
    whole, at = CompactRange(), 0
    for number, length in enumerate(lengths):
        part = CompactRange(at)
        if number % 2:
            part.append_all(hashes[at : at + length])
        else:
            for value in hashes[at : at + length]:
                part.append(value)
        assert [len(part.hashes), part.end] == [len(subtree_levels(at, at + length)), at + length]
        whole.extend(CompactRange(part.begin, part.end, part.hashes))
        at += length
        assert whole.root() == _by_definition(hashes[:at])
    assert whole.copy().root() == Tree(leaves=hashes).root()


@given(st.integers(1, 600), st.integers(0, 600), st.data())
@settings(max_examples=40)
def test_what_is_left_of_a_pruned_tree_proves_what_is_left(pruned: int, left: int, data: st.DataObject) -> None:
    hashes = _numbered(pruned + left)
    prefix = CompactRange()
    prefix.append_all(hashes[:pruned])
    whole, cut = Tree(leaves=hashes), Tree(prefix, hashes[pruned:])
    size = data.draw(st.integers(pruned, pruned + left))
    assert cut.size == whole.size
    assert cut.root(size) == whole.root(size)
    assert cut.consistency(pruned, size) == whole.consistency(pruned, size)
    if size > pruned:
        index = data.draw(st.integers(pruned, size - 1))
        assert cut.inclusion(index, size) == whole.inclusion(index, size)


def test_what_is_gone_cannot_be_shown() -> None:
    prefix = CompactRange()
    prefix.append_all(_numbered(6))
    tree = Tree(prefix, _numbered(8)[6:])
    for call in (lambda: tree.root(5), lambda: tree.inclusion(3, 8), lambda: tree.consistency(3, 8)):
        with pytest.raises(LookupError):
            call()


def test_a_range_is_what_it_says() -> None:
    with pytest.raises(ValueError, match="zip"):
        CompactRange(0, 3, [b"x" * 32])
    with pytest.raises(ValueError, match="32 bytes"):
        CompactRange(0, 1, [b"x"])
    with pytest.raises(ValueError, match="meet"):
        CompactRange().extend(CompactRange(1))
    with pytest.raises(ValueError, match="from 0"):
        CompactRange(1).root()
    with pytest.raises(ValueError, match="beginning"):
        CompactRange(2, 1)
