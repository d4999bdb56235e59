"""RFC 6962, section 2.1: the Merkle tree over a log's records, its roots, and its proofs.

A leaf is a record's line as it stands in the segment, without its end. `CompactRange` is what remains of a run of
leaves when they are gone: the roots of the perfect subtrees that the run is made of, at most two for each level.
`Tree` is the slow, whole one, from which proofs are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import repeat

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
_LEAF, _NODE = b"\x00", b"\x01"
_CHUNK_LEVEL = 8
"""Leaves are hashed together by 256: below it Python's own steps cost more than the hashes."""
_CHUNK = 1 << _CHUNK_LEVEL


def leaf_hash(line: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(_LEAF + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(_NODE + left + right).digest()


class CompactRange:
    """The leaves from number `begin` up to `end`, as the roots of their perfect subtrees from left to right.

    Raises ValueError when `hashes` are not as many as such a range has.
    """

    def __init__(self, begin: int = 0, end: int | None = None, hashes: Iterable[bytes] = ()) -> None:
        self.begin = begin
        self.end = begin if end is None else end
        levels = subtree_levels(begin, self.end)
        self._nodes = list(zip(levels, hashes, strict=True))
        if any(len(value) != HASH_BYTES for _, value in self._nodes):
            raise ValueError("a hash has 32 bytes")

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Roots of the perfect subtrees, from left to right."""
        return tuple(value for _, value in self._nodes)

    def append(self, leaf: bytes) -> None:
        """Take in the hash of the leaf with number `end`."""
        self._push(0, leaf)

    def append_all(self, leaves: Sequence[bytes]) -> None:
        """Take in the hashes of the leaves from number `end` on."""
        at = 0
        while at < len(leaves):
            if self.end % _CHUNK == 0 and len(leaves) - at >= _CHUNK:
                self._push(_CHUNK_LEVEL, _perfect_root(leaves[at : at + _CHUNK]))
                at += _CHUNK
            else:
                self._push(0, leaves[at])
                at += 1

    def extend(self, other: CompactRange) -> None:
        """Take in the range that begins where this one ends. Raises ValueError for another one."""
        if other.begin != self.end:
            raise ValueError("the ranges do not meet")
        for level, value in other._nodes:
            self._push(level, value)

    def copy(self) -> CompactRange:
        """The range as it is now."""
        return CompactRange(self.begin, self.end, self.hashes)

    def root(self) -> bytes:
        """Root of the tree of the leaves up to `end`. Raises ValueError for a range that does not begin at 0."""
        if self.begin:
            raise ValueError("only a range from 0 has a root")
        return fold(self.hashes)

    def _push(self, level: int, value: bytes) -> None:
        nodes = self._nodes
        self.end += 1 << level
        # After this node the range ends at `end`: a left sibling that is whole stands right before it.
        while nodes and nodes[-1][0] == level and not (self.end >> level) & 1:
            value = node_hash(nodes.pop()[1], value)
            level += 1
        nodes.append((level, value))


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root of the tree whose perfect subtrees, from left to right, have these roots."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def subtree_levels(begin: int, end: int) -> list[int]:
    """Levels of the largest perfect subtrees that the leaves from `begin` up to `end` are made of, left to right.

    Raises ValueError when it ends before it begins.
    """
    if not 0 <= begin <= end:
        raise ValueError("a range has a beginning and an end")
    levels: list[int] = []
    while begin < end:
        aligned = (begin & -begin).bit_length() - 1 if begin else end.bit_length()
        level = min(aligned, (end - begin).bit_length() - 1)
        levels.append(level)
        begin += 1 << level
    return levels


def _perfect_root(leaves: Sequence[bytes]) -> bytes:
    level = list(leaves)
    while len(level) > 1:
        level = [sha256(b"".join(three)).digest() for three in zip(repeat(_NODE), level[::2], level[1::2])]
    return level[0]


class Tree:
    """A whole tree: `prefix`, which stands for leaves that are gone, and the hashes of those after it.

    Roots and proofs that need a node inside the prefix cannot be made: they raise LookupError.
    """

    def __init__(self, prefix: CompactRange | None = None, leaves: Iterable[bytes] = ()) -> None:
        self._first = prefix.end if prefix else 0
        self._leaves = bytearray().join(leaves)
        self._known: dict[tuple[int, int], bytes] = {}
        if prefix:
            self._remember(prefix)

    @property
    def size(self) -> int:
        """Leaves of the tree, those that are gone included."""
        return self._first + len(self._leaves) // HASH_BYTES

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves, or of all."""
        size = self.size if size is None else size
        self._check(size)
        return self._node(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Audit path of leaf `index` in the tree of the first `size` leaves (section 2.1.1)."""
        self._check(size)
        if not 0 <= index < size:
            raise LookupError("no such leaf in that tree")
        path: list[bytes] = []
        begin, end = 0, size
        while end - begin > 1:
            middle = begin + _split(end - begin)
            if index < middle:
                path.append(self._node(middle, end))
                end = middle
            else:
                path.append(self._node(begin, middle))
                begin = middle
        return path[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of the first `old` leaves is the beginning of that of `new` (section 2.1.2)."""
        self._check(new)
        if not 0 < old <= new:
            raise LookupError("the older tree has at least one leaf and no more than the newer one")
        path: list[bytes] = []
        begin, end, is_whole = 0, new, True
        while old != end:
            middle = begin + _split(end - begin)
            if old <= middle:
                path.append(self._node(middle, end))
                end = middle
            else:
                path.append(self._node(begin, middle))
                begin, is_whole = middle, False
        if not is_whole:
            path.append(self._node(begin, end))
        return path[::-1]

    def _node(self, begin: int, end: int) -> bytes:
        """Root of the leaves from `begin` up to `end`; those of whole subtrees are remembered."""
        known = self._known.get((begin, end))
        if known is not None:
            return known
        if end - begin == 1:
            return self._leaf(begin)
        middle = begin + _split(end - begin)
        found = node_hash(self._node(begin, middle), self._node(middle, end))
        if end - begin >= _CHUNK:
            self._known[begin, end] = found
        return found

    def _leaf(self, index: int) -> bytes:
        if index < self._first:
            raise LookupError("the leaf is gone, and what is left of it does not show it alone")
        at = (index - self._first) * HASH_BYTES
        return bytes(self._leaves[at : at + HASH_BYTES])

    def _remember(self, prefix: CompactRange) -> None:
        begin = prefix.begin
        for level, value in zip(subtree_levels(begin, prefix.end), prefix.hashes, strict=True):
            self._known[begin, begin + (1 << level)] = value
            begin += 1 << level

    def _check(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise LookupError("the tree is not that large")


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that the leaf with this hash has number `index` in the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree of `old` leaves is the beginning of that of `new` (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    path = list(path) if old & (old - 1) else [old_root, *path]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and older == old_root and newer == new_root
