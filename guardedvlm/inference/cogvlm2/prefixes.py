"""The KV of pictures that were asked about before: a second question about one needs no second pass of its pixels.

Keyed by the clearance's scope and the raster's digest: nobody meets what another scope left behind, nor learns from a
short answer time that it asked about the same picture. Bounded in bytes; what was not used for longest goes first. Used
from one thread.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str]
"""Scope and raster digest, both hex."""


@dataclass(frozen=True, slots=True)
class _Entry:
    cache: Any
    bytes: int


class PrefixCache:
    """Caches of prompt beginnings, at most `limit_bytes` of them together. 0 keeps none."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Any | None:
        """A copy of what was kept under `key`, which the caller may extend; None when nothing was."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return copy.deepcopy(entry.cache)

    def put(self, key: Key, cache: Any) -> None:
        """Keep a copy of `cache`, and forget what no longer fits. One that does not fit alone is not kept."""
        size = cache_bytes(cache)
        if size > self.limit_bytes:
            return
        self._forget(key)
        while self._bytes + size > self.limit_bytes:
            self._forget(next(iter(self._entries)))
        self._entries[key] = _Entry(copy.deepcopy(cache), size)
        self._bytes += size

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.bytes

    def check_integrity(self) -> None:
        """Raise AssertionError when the count of bytes is wrong or above the bound."""
        assert self._bytes == sum(entry.bytes for entry in self._entries.values()) <= self.limit_bytes
        assert all(entry.bytes == cache_bytes(entry.cache) for entry in self._entries.values())


def cache_bytes(cache: Any) -> int:
    """Bytes of the keys and values that a transformers cache holds."""
    return sum(
        part.numel() * part.element_size()
        for layer in cache.layers
        for part in (layer.keys, layer.values)
        if part is not None
    )
