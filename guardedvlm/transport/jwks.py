"""The keys of an identity provider (JWKS, RFC 7517), from a file or an https address: fetched, checked, kept a while.

A fetch that fails leaves the last good keys in force, until they are `stale_seconds` old: then nobody is known by a
token of the provider (fail closed). A token that names an unknown key has them fetched anew, at most once in
REFETCH_SECONDS: keys rotate without a restart, and strangers cannot make this service hammer the provider.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from guardedvlm.errors import ConfigurationError, Reason, Unavailable

MAX_BYTES = 256 * 1024
"""Large providers publish 5 to 20 KB."""
MAX_KEYS = 100
FETCH_SECONDS = 10.0
LOOK_SECONDS = 2 * FETCH_SECONDS
"""A look that takes longer has failed: the limit of a socket starts anew with every byte, and a name's has none."""
REFETCH_SECONDS = 10.0
"""Between two fetches that tokens cause, whether they succeed or not."""
FILE_SECONDS = 5.0
"""Between two looks at a file."""
LEAST_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""
_PLACE = "jwt.jwks"
PublicKey = RSAKey | ECKey | OKPKey
_KINDS: Mapping[str, Callable[[dict[str, Any]], PublicKey]] = {
    "RSA": RSAKey.import_key,
    "EC": ECKey.import_key,
    "OKP": OKPKey.import_key,
}


class Keys:
    """The provider's keys. `source` is a file's path or an address; `clock` counts seconds."""

    def __init__(
        self,
        source: str,
        algorithms: tuple[str, ...],
        *,
        ca: Path | None = None,
        refresh_seconds: float = 300.0,
        stale_seconds: float = 3_600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._ca, self._algorithms = source, ca, algorithms
        self._refresh = refresh_seconds if "://" in source else FILE_SECONDS
        self._stale, self._clock = stale_seconds, clock
        self._keys: KeySet | None = None
        self._good = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._reader = ThreadPoolExecutor(1, "jwks")  # its own: one that hangs holds no other work up
        self._connected: socket.socket | None = None
        self.failing = False
        """Whether the last look failed."""

    async def start(self) -> None:
        """Load the keys. Raises ConfigurationError for a file that holds none; an address that does not answer is tried
        again later, and until then nobody is known by a token."""
        await self._look()
        if self._keys is None and not self._is_address:
            self._checked(self._read_file())  # says what is wrong with it

    def current(self) -> KeySet:
        """The keys. Raises Unavailable(IDENTITY_UNAVAILABLE) where none are there, or none that are still believed."""
        if self._keys is None or self._clock() - self._good > self._stale:
            raise Unavailable(Reason.IDENTITY_UNAVAILABLE)
        return self._keys

    def look(self) -> None:
        """Begin a look, if one is due and none is under way. Needs a running event loop."""
        if self._clock() - self._tried >= (min(self._refresh, REFETCH_SECONDS) if self.failing else self._refresh):
            self._begin()

    async def prepare(self, kid: str | None) -> None:
        """Look for a key that a token names and that is not here; returns at once where that was done a moment ago."""
        if self._keys is not None and (kid is None or any(key.kid == kid for key in self._keys.keys)):
            return
        if self._fetching is None and self._clock() - self._tried < REFETCH_SECONDS:
            return
        # Others wait for the same look, and one who goes away does not end it.
        await asyncio.wait({self._begin()}, timeout=FETCH_SECONDS)

    async def close(self) -> None:
        """End a look that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        self._cut()
        self._reader.shutdown(wait=False, cancel_futures=True)

    @property
    def _is_address(self) -> bool:
        return "://" in self._source

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._look())
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _look(self) -> None:
        """Take what is there now; what is no key set changes nothing. Raises nothing."""
        self._tried = self._clock()
        try:
            read = self._fetch if self._is_address else self._read_file
            async with asyncio.timeout(LOOK_SECONDS):
                content = await asyncio.get_running_loop().run_in_executor(self._reader, read)
            self._keys = self._checked(content)
            self._good, self.failing = self._tried, False
        except (ConfigurationError, OSError, http.client.HTTPException, ValueError):
            self.failing = True  # what the provider sent is not repeated anywhere
            self._cut()

    def _cut(self) -> None:
        """End the connection that a look that failed may still read from, so that its thread is free."""
        if (connected := self._connected) is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _checked(self, content: bytes) -> KeySet:
        """The public keys of `content` that an allowed algorithm could use. Raises ConfigurationError where there are
        none, and for a secret or weak key: whoever published that published more than keys."""
        try:
            found = json.loads(content)["keys"]
            entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        except (ValueError, TypeError, KeyError, RecursionError):
            raise _invalid("holds no key set") from None
        if len(entries) > MAX_KEYS:
            raise _invalid(f"holds more than {MAX_KEYS} keys")
        keys = [key for key in map(self._key, entries) if key is not None]
        if not keys:
            raise _invalid("holds no key that an allowed algorithm could use")
        names = [key.kid for key in keys]
        if len(set(names)) != len(names):
            raise _invalid("has two keys with the same 'kid'")
        return KeySet(keys)  # type: ignore[arg-type]  # a list of its members' types

    def _key(self, entry: dict[str, Any]) -> PublicKey | None:
        if entry.get("kty") == "oct" or "d" in entry:
            raise _invalid("holds a secret key")
        made = _KINDS.get(str(entry.get("kty")))
        uses = entry.get("key_ops", ["verify"])
        is_for_signatures = entry.get("use", "sig") == "sig" and isinstance(uses, list) and "verify" in uses
        if made is None or not is_for_signatures or entry.get("alg", self._algorithms[0]) not in self._algorithms:
            return None  # of another use or kind: providers publish those beside ours
        try:
            if entry["kty"] == "RSA" and _bits(entry["n"]) < LEAST_RSA_BITS:  # the library only warns
                raise _invalid(f"holds an RSA key of less than {LEAST_RSA_BITS} bits")
            return made(entry)
        except (JoseError, ValueError, TypeError, KeyError):
            raise _invalid("holds a damaged key") from None

    def _read_file(self) -> bytes:
        try:
            with Path(self._source).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError:
            raise _invalid("cannot be read") from None
        return _bounded(content)

    def _fetch(self) -> bytes:
        """The body of a 200; no redirect is followed, no proxy asked. Raises what http.client, ssl and sockets do."""
        target, end = urlsplit(self._source), time.monotonic() + FETCH_SECONDS
        connection = self._connection(target.scheme, target.hostname or "", target.port)
        try:
            path = (target.path or "/") + (f"?{target.query}" if target.query else "")
            connection.connect()
            self._connected = connection.sock
            connection.request("GET", path, headers={"Accept": "application/jwk-set+json, application/json"})
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise _invalid("is not there")
            content = bytearray()
            while len(content) <= MAX_BYTES and (part := answer.read1(64 * 1024)):
                content += part
                if time.monotonic() > end:  # a socket's own limit starts anew with every byte
                    raise TimeoutError
            return _bounded(bytes(content))
        finally:
            self._connected = None
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=FETCH_SECONDS)
        context = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        return http.client.HTTPSConnection(host, port, timeout=FETCH_SECONDS, context=context)


def _bits(number: str) -> int:
    """Length of a number in base64url. Raises ValueError or TypeError for what is none."""
    return int.from_bytes(urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise _invalid(f"is larger than {MAX_BYTES // 1024} KiB")
    return content


def _invalid(explanation: str) -> ConfigurationError:
    return ConfigurationError(Reason.SETTINGS_INVALID, place=_PLACE, explanation=explanation)
