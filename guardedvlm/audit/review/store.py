"""Samples: redacted pictures, each encrypted under a key of its own that lies in another folder until it expires.

    <folder>/<sample>.sample    magic, nonce, AES-256-GCM of what is known of the picture and of the picture
    <keys>/<sample>.key         32 random bytes, expiry

The expiry is the key's: the encryption is bound to it and to the name, and who can write only the samples' folder keeps
no key alive. To destroy a sample is to destroy its key: overwritten, synced, unlinked, and the folder synced; then the
sample goes, too. What has expired is never read, whether or not somebody swept. A sample begins under a key's draft,
which no reader takes, until `admit` renames it: in between its record is made. A copy-on-write file system or a flash
disk may keep a block that was overwritten: put the keys on a volume of their own, in memory or encrypted, if that
matters.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guardedvlm.audit.review.files import read_plain, shred, write_new
from guardedvlm.audit.reviewed import Basis
from guardedvlm.core.private_file import fsync_folder
from guardedvlm.errors import ConfigurationError, Overloaded, Reason, Refused

MAX_SAMPLES = 500
"""Pictures of a store. A reviewer looks at some hundred a day."""
MAX_SAMPLE_BYTES = 64 * 2**20
"""Of one picture as PNG. 2560 x 2560 pixels of noise have 20 MB."""
KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D, 5.2.1.1
ORPHAN_SECONDS = 3600
"""A key without its sample, or a sample without its key, is left by a crash once it is this old."""

_MAGIC = b"guardedvlm.v1.sample\x00"
_EXPIRY = struct.Struct(">Q")
_NAME = re.compile(r"[0-9a-f]{32}\Z")
SAMPLE, _KEY = ".sample", ".key"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a sample, sealed with it until it is marked: whose it is, and why it was kept."""

    of: str  # the request's random id
    tenant: str  # pseudonym
    policy: str  # digest
    basis: Basis
    page: int  # from 0
    raster: str  # core.clearance.raster_digest of the picture: the one that was cleared


@dataclass(frozen=True, slots=True)
class Kept:
    """A sample that is there: all that a reviewer may know before marking it."""

    sample: str
    expires: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    destroyed: tuple[str, ...]  # samples that had expired
    failed: int  # files that should be gone, or whose expiry cannot be read


@dataclass(frozen=True, slots=True)
class Opened:
    """A sample that was read."""

    sample: str
    expires: int
    about: About
    picture: bytes = field(repr=False)  # PNG


class SampleStore:
    """Samples in `folder` under keys in `keys`. Several processes may use the same folders.

    The folders are made with the first sample. Raises ConfigurationError(SETTINGS_INVALID) when one lies in the other.
    """

    def __init__(
        self,
        folder: Path,
        keys: Path,
        *,
        max_samples: int = MAX_SAMPLES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._keys = folder, keys
        self._max_samples = max_samples
        self._clock = clock
        here, there = folder.absolute(), keys.absolute()
        if here == there or here in there.parents or there in here.parents:
            explanation = "samples and their keys belong into folders apart from each other"
            raise ConfigurationError(Reason.SETTINGS_INVALID, place="review", explanation=explanation)

    @property
    def folder(self) -> Path:
        """Where the samples lie."""
        return self._folder

    def put(self, picture: bytes, about: About, seconds: int) -> Kept:
        """Keep a picture for `seconds`; returns when it is on disk and can be read. Raises as `prepare` and `admit`."""
        kept = self.prepare(picture, about, seconds)
        self.admit(kept.sample)
        return kept

    def prepare(self, picture: bytes, about: About, seconds: int) -> Kept:
        """Put a picture on disk that nobody is shown before `admit`; without that, sweeps take it.

        Raises Overloaded(QUOTA_EXCEEDED) when the store is full or the picture too large, and
        ConfigurationError(OUTPUT_UNWRITABLE); then nothing of it is left.
        """
        if len(picture) > MAX_SAMPLE_BYTES or len(self.list_kept()) >= self._max_samples:
            raise Overloaded(Reason.QUOTA_EXCEEDED)
        kept = Kept(secrets.token_hex(16), int(self._clock()) + seconds)
        key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        told = json.dumps(asdict(about), sort_keys=True).encode("ascii")
        plain = struct.pack(">I", len(told)) + told + picture
        sealed = AESGCM(key).encrypt(nonce, plain, _bound(kept))
        try:
            for folder in (self._folder, self._keys):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            write_new(_draft(self._keys, kept.sample + _KEY), key + _EXPIRY.pack(kept.expires))
            draft = _draft(self._folder, kept.sample + SAMPLE)
            write_new(draft, _MAGIC + nonce + sealed)
            draft.rename(self._folder / (kept.sample + SAMPLE))
            fsync_folder(self._folder)
        except OSError:
            with contextlib.suppress(ConfigurationError):
                self.destroy(kept.sample)
            raise _unwritable() from None
        return kept

    def admit(self, sample: str) -> None:
        """Let a sample be read that was prepared. Raises ConfigurationError(OUTPUT_UNWRITABLE): then nothing of it is
        left."""
        _check(sample)
        try:
            _draft(self._keys, sample + _KEY).rename(self._keys / (sample + _KEY))
            fsync_folder(self._keys)
        except OSError:
            with contextlib.suppress(ConfigurationError):
                self.destroy(sample)
            raise _unwritable() from None

    def list_kept(self) -> tuple[Kept, ...]:
        """Samples that have not expired, by name, which is random. Raises ConfigurationError(INPUT_UNREADABLE)."""
        there = set(self._names(self._folder, SAMPLE))
        return tuple(kept for kept in self._keyed() if kept and kept.expires > self._clock() and kept.sample in there)

    def read(self, sample: str) -> Opened:
        """Open a sample.

        Raises Refused(SAMPLE_GONE) for one that is not there, that has expired (it is destroyed), or that somebody
        changed.
        """
        _check(sample)
        try:
            key, expires = self._key(sample)
        except (OSError, ValueError):
            raise Refused(Reason.SAMPLE_GONE) from None
        if expires <= self._clock():
            self.destroy(sample)
            raise Refused(Reason.SAMPLE_GONE)
        try:
            content = read_plain(self._folder / (sample + SAMPLE), MAX_SAMPLE_BYTES + 2**16)
            if not content.startswith(_MAGIC):
                raise ValueError
            start = len(_MAGIC) + NONCE_BYTES
            nonce, sealed = content[len(_MAGIC) : start], content[start:]
            plain = AESGCM(key).decrypt(nonce, sealed, _bound(Kept(sample, expires)))
        except (OSError, InvalidTag, ValueError):
            raise Refused(Reason.SAMPLE_GONE) from None
        (length,) = struct.unpack_from(">I", plain)
        told = json.loads(plain[4 : 4 + length])
        about = About(**{**told, "basis": Basis(told["basis"])})
        return Opened(sample, expires, about, plain[4 + length :])

    def destroy(self, sample: str) -> bool:
        """Destroy the sample's key, then the sample. True when this call destroyed the key: another may have been
        faster. Raises ConfigurationError(OUTPUT_UNWRITABLE) when something of it stays."""
        _check(sample)
        try:
            ours = self._destroy_key(sample)
            self._remove(sample)
        except OSError:
            explanation = "a sample cannot be destroyed"
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation=explanation) from None
        return ours

    def sweep(self) -> Swept:
        """Destroy what has expired and what a crash left half. One that cannot be destroyed holds up no other, and is
        tried again with the next sweep. Raises ConfigurationError(INPUT_UNREADABLE) when nothing can be listed."""
        destroyed, failed = [], 0
        for kept in self._keyed():
            if kept is None:
                failed += 1
            elif kept.expires <= self._clock():
                try:
                    if self._destroy_key(kept.sample):
                        destroyed.append(kept.sample)
                    self._remove(kept.sample)
                except OSError:
                    failed += 1
        return Swept(tuple(destroyed), failed + self._sweep_rest())

    def _sweep_rest(self) -> int:
        """Destroy what a crash left half. Returns how much of it stays."""
        failed = 0
        for orphan in self._orphans():
            try:
                self.destroy(orphan)
            except ConfigurationError:
                failed += 1
        for draft in self._drafts():
            try:
                shred(draft, KEY_BYTES)
            except OSError:
                failed += 1
        return failed

    def _destroy_key(self, sample: str) -> bool:
        """True when this call destroyed it. Raises OSError."""
        ours = shred(self._keys / (sample + _KEY), KEY_BYTES)
        shred(_draft(self._keys, sample + _KEY), KEY_BYTES)
        return ours

    def _remove(self, sample: str) -> None:
        """Remove what the key opened. Raises OSError."""
        name = sample + SAMPLE
        for path in (self._folder / name, _draft(self._folder, name)):
            if path.exists():
                path.unlink(missing_ok=True)
                fsync_folder(self._folder)

    def _keyed(self) -> Iterator[Kept | None]:
        """Samples by their keys; None for a key that cannot be read."""
        for name in self._names(self._keys, _KEY):
            try:
                yield Kept(name, self._key(name)[1])
            except FileNotFoundError:
                continue  # destroyed meanwhile
            except ValueError:
                continue  # not whole: an orphan
            except OSError:
                yield None

    def _key(self, sample: str) -> tuple[bytes, int]:
        """A sample's key and its expiry. Raises OSError, and ValueError when it is not whole."""
        content = read_plain(self._keys / (sample + _KEY), KEY_BYTES + _EXPIRY.size + 1)
        if len(content) != KEY_BYTES + _EXPIRY.size:
            raise ValueError
        return content[:KEY_BYTES], *_EXPIRY.unpack_from(content, KEY_BYTES)

    def _names(self, folder: Path, suffix: str) -> list[str]:
        try:
            found = [name.removesuffix(suffix) for name in os.listdir(folder) if name.endswith(suffix)]
        except FileNotFoundError:
            return []  # nothing was ever kept
        except OSError:
            raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="the samples cannot be listed") from None
        return sorted(name for name in found if _NAME.match(name))

    def _orphans(self) -> Iterator[str]:
        """Samples without a key, and keys without a sample or not whole, that were left long ago."""
        samples, keys = set(self._names(self._folder, SAMPLE)), set(self._names(self._keys, _KEY))
        for name in sorted((samples ^ keys) | set(filter(self._is_broken, keys))):
            path = self._keys / (name + _KEY) if name in keys else self._folder / (name + SAMPLE)
            if self._is_old(path):
                yield name

    def _is_broken(self, sample: str) -> bool:
        try:
            self._key(sample)
        except ValueError:
            return True
        except OSError:  # it may be whole
            return False
        return False

    def _is_old(self, path: Path) -> bool:
        """Whether nobody can be writing it any more."""
        try:
            return path.stat().st_mtime + ORPHAN_SECONDS < self._clock()
        except OSError:
            return False

    def _drafts(self) -> Iterator[Path]:
        """Files that were being written when a process died."""
        found = (*self._folder.glob(".*"), *self._keys.glob(".*"))
        return (path for path in found if path.is_file() and self._is_old(path))


def is_sample_name(name: str) -> bool:
    """Whether a sample may be called so."""
    return _NAME.match(name) is not None


def _check(sample: str) -> None:
    if not is_sample_name(sample):
        raise Refused(Reason.SAMPLE_GONE)


def _bound(kept: Kept) -> bytes:
    """What the encryption is bound to: the name and the expiry."""
    return _MAGIC + kept.sample.encode("ascii") + _EXPIRY.pack(kept.expires)


def _unwritable() -> ConfigurationError:
    return ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation="a sample cannot be written")


def _draft(folder: Path, name: str) -> Path:
    """A file that is not there yet under its name."""
    return folder / f".{name}"
