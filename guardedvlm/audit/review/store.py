"""Samples: redacted pictures, each encrypted under a key of its own that lies in another folder until it expires.

    <folder>/<sample>.sample    magic, expiry, nonce, AES-256-GCM of what is known of the picture and of the picture
    <keys>/<sample>.key         32 random bytes

To destroy a sample is to destroy its key: overwritten, synced, unlinked, and the folder synced; then the sample goes,
too. The name and the expiry are authenticated, so that nobody gives a sample more time. What has expired is never
read, whether or not somebody swept. A copy-on-write file system or a flash disk may keep a block that was overwritten:
put the keys on a volume of their own, in memory or encrypted, if that matters.
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
_HEADER = struct.Struct(">Q")
_NAME = re.compile(r"[0-9a-f]{32}\Z")
_SAMPLE, _KEY = ".sample", ".key"


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
        """Keep a picture for `seconds`; returns when it is on disk.

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
            _write(self._keys, kept.sample + _KEY, key)
            _write(self._folder, kept.sample + _SAMPLE, _MAGIC + _HEADER.pack(kept.expires) + nonce + sealed)
        except OSError:
            with contextlib.suppress(ConfigurationError):
                self.destroy(kept.sample)
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation="a sample cannot be written") from None
        return kept

    def list_kept(self) -> tuple[Kept, ...]:
        """Samples that have not expired, by name, which is random. Raises ConfigurationError(INPUT_UNREADABLE)."""
        return tuple(kept for kept in self._all() if kept.expires > self._clock())

    def read(self, sample: str) -> Opened:
        """Open a sample.

        Raises Refused(SAMPLE_GONE) for one that is not there, that has expired (it is destroyed), or that somebody
        changed.
        """
        content = self._content(sample)
        kept = _header(sample, content)
        if kept.expires <= self._clock():
            self.destroy(sample)
            raise Refused(Reason.SAMPLE_GONE)
        start = len(_MAGIC) + _HEADER.size
        try:
            key = _read(self._keys / (sample + _KEY), KEY_BYTES)
            nonce, sealed = content[start : start + NONCE_BYTES], content[start + NONCE_BYTES :]
            plain = AESGCM(key).decrypt(nonce, sealed, _bound(kept))
        except (OSError, InvalidTag, ValueError):
            raise Refused(Reason.SAMPLE_GONE) from None
        (length,) = struct.unpack_from(">I", plain)
        told = json.loads(plain[4 : 4 + length])
        about = About(**{**told, "basis": Basis(told["basis"])})
        return Opened(sample, kept.expires, about, plain[4 + length :])

    def destroy(self, sample: str) -> bool:
        """Destroy the sample's key, then the sample. True when this call destroyed the key: another may have been
        faster. Raises ConfigurationError(OUTPUT_UNWRITABLE) when something of it stays."""
        _check(sample)
        try:
            ours = _shred(self._keys / (sample + _KEY))
            if (path := self._folder / (sample + _SAMPLE)).exists():
                path.unlink(missing_ok=True)
                fsync_folder(self._folder)
        except OSError:
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, explanation="a sample cannot be destroyed") from None
        return ours

    def sweep(self) -> tuple[str, ...]:
        """Destroy what has expired and what a crash left half; returns the samples that expired and were destroyed by
        this call. Raises ConfigurationError."""
        gone = [kept.sample for kept in self._all() if kept.expires <= self._clock() and self.destroy(kept.sample)]
        for orphan in self._orphans():
            self.destroy(orphan)
        for draft in self._drafts():
            with contextlib.suppress(OSError):
                _shred(draft)
        return tuple(gone)

    def _all(self) -> Iterator[Kept]:
        for name in self._names(self._folder, _SAMPLE):
            try:
                yield _header(name, _read(self._folder / (name + _SAMPLE), len(_MAGIC) + _HEADER.size))
            except (OSError, Refused):
                continue  # destroyed meanwhile, or never a sample

    def _names(self, folder: Path, suffix: str) -> list[str]:
        try:
            found = [name.removesuffix(suffix) for name in os.listdir(folder) if name.endswith(suffix)]
        except FileNotFoundError:
            return []  # nothing was ever kept
        except OSError:
            raise ConfigurationError(Reason.INPUT_UNREADABLE, explanation="the samples cannot be listed") from None
        return sorted(name for name in found if _NAME.match(name))

    def _orphans(self) -> Iterator[str]:
        samples, keys = set(self._names(self._folder, _SAMPLE)), set(self._names(self._keys, _KEY))
        for name in sorted(samples ^ keys):
            path = self._folder / (name + _SAMPLE) if name in samples else self._keys / (name + _KEY)
            with contextlib.suppress(OSError):
                if path.stat().st_mtime + ORPHAN_SECONDS < self._clock():
                    yield name

    def _drafts(self) -> Iterator[Path]:
        """Files that were being written when a process died."""
        for path in (*self._folder.glob(".*"), *self._keys.glob(".*")):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime + ORPHAN_SECONDS < self._clock():
                    yield path

    def _content(self, sample: str) -> bytes:
        _check(sample)
        try:
            return _read(self._folder / (sample + _SAMPLE), MAX_SAMPLE_BYTES + 2**16)
        except OSError:
            raise Refused(Reason.SAMPLE_GONE) from None


def _check(sample: str) -> None:
    if not _NAME.match(sample):
        raise Refused(Reason.SAMPLE_GONE)


def _bound(kept: Kept) -> bytes:
    """What the encryption is bound to: the name and the expiry."""
    return _MAGIC + kept.sample.encode("ascii") + _HEADER.pack(kept.expires)


def _header(sample: str, content: bytes) -> Kept:
    if not content.startswith(_MAGIC) or len(content) < len(_MAGIC) + _HEADER.size:
        raise Refused(Reason.SAMPLE_GONE)
    return Kept(sample, *_HEADER.unpack_from(content, len(_MAGIC)))


def _read(path: Path, most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(most)


def _write(folder: Path, name: str, content: bytes) -> None:
    """Write a new file under its name only when it is whole and on disk. Raises OSError."""
    draft = folder / f".{name}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.rename(folder / name)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    fsync_folder(folder)


def _shred(path: Path) -> bool:
    """Overwrite a key in place, sync, unlink, sync the folder. False when it was gone. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    fsync_folder(path.parent)
    return True
