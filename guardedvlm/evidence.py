"""Evidence as the settings have it: who signs, the ledger's logs with their checkpoints, telemetry, samples for review.

A service, the commands that write into its ledger and those that look at its samples make these parts here.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from guardedvlm import __version__
from guardedvlm.audit.checkpoint import CHECKPOINTS, SignedCheckpoint, newest_checkpoints
from guardedvlm.audit.checkpointer import Cadence, Checkpointed, Checkpointer, write_checkpoint
from guardedvlm.audit.digest import Purpose, load_or_create_key
from guardedvlm.audit.keys import RING, PublicKeys, create_keys
from guardedvlm.audit.logs import Logs, list_logs
from guardedvlm.audit.note import BadNote
from guardedvlm.audit.otel import Tailing, Telemetry
from guardedvlm.audit.otlp_sink import OtlpSink
from guardedvlm.audit.review.desk import ReviewDesk
from guardedvlm.audit.review.store import SampleStore
from guardedvlm.audit.signer import EvidenceSigner, FolderSigner, SocketSigner, is_ready, this_user
from guardedvlm.audit.sink import CheckpointSink, FileSink, LineSink, Sink
from guardedvlm.config import UNIX, Settings
from guardedvlm.core.private_file import PRIVATE_FOLDER
from guardedvlm.errors import ConfigurationError, Reason

AUDIT_KEY, EVIDENCE_KEYS, REVIEW_KEYS = "audit.key", "evidence", "review"
"""In the folder of keys: the key of keyed digests; the folders of the keys that sign, and of the samples' keys."""


def sample_store(settings: Settings) -> SampleStore:
    """Samples for review, and their keys apart from them. Raises ConfigurationError."""
    keys = settings.review.sample_keys or private_folder(settings.keys) / REVIEW_KEYS
    return SampleStore(settings.review.folder, keys, max_samples=settings.review.max_samples)


def review_desk(settings: Settings) -> ReviewDesk:
    """The reviewer's desk, whose log has checkpoints as the settings have them. Raises ConfigurationError."""
    store = sample_store(settings)
    key = load_or_create_key(settings.keys / AUDIT_KEY)

    def checkpoint(log: Checkpointed) -> None:
        with ExitStack() as parts:
            signer, sink = evidence_signer(settings, parts), _sink(settings)
            checkpoint_log(log, signer, sink)

    origin = key.pseudonym(Purpose.REPLICA, socket.gethostname())
    return ReviewDesk(store, settings.ledger, key, origin, checkpoint)


def checkpoint_log(log: Checkpointed, signer: EvidenceSigner, sink: CheckpointSink | None) -> None:
    """Write one checkpoint of a log that this process holds, to its own file and to `sink`. Raises SinkFailed."""
    try:
        signed = write_checkpoint(log, signer, lambda key: signer.public().find(key))
        if sink is not None:
            sink.deliver(signed)
    finally:
        if sink is not None:
            sink.close()


def make_checkpointer(settings: Settings, signer: EvidenceSigner) -> Checkpointer:
    """Checkpoints signed by the site's evidence key, as the settings have them. Close it at the end."""
    how = settings.checkpoints
    cadence = Cadence(how.every_records, how.every_seconds, how.bound_seconds)
    return Checkpointer(signer, lambda key: signer.public().find(key), _sink(settings), cadence)


def replica(settings: Settings) -> str:
    """The pseudonym of this machine in the ledger."""
    key = load_or_create_key(private_folder(settings.keys) / AUDIT_KEY)
    return key.pseudonym(Purpose.REPLICA, socket.gethostname())


def open_logs(settings: Settings, origin: str, signer: EvidenceSigner, parts: AsyncExitStack) -> Logs:
    """The ledger's logs, open to be written until `parts` ends. Raises ConfigurationError(LEDGER_UNWRITABLE)."""
    checkpointer = make_checkpointer(settings, signer)
    try:
        logs = Logs(settings.ledger, origin, checkpointer=checkpointer, keys=signer.public)
    except BaseException:
        checkpointer.close()
        raise
    parts.callback(logs.close)
    return logs


def _sink(settings: Settings) -> CheckpointSink | None:
    match settings.checkpoints.sink:
        case Sink.FILE:
            assert settings.checkpoints.file is not None
            return FileSink(settings.checkpoints.file)
        case Sink.STDOUT:
            return LineSink(sys.stdout)
        case Sink.OTLP:
            return OtlpSink(settings.otlp_endpoint, settings.otlp_ca)
        case Sink.NONE:
            return None


def make_telemetry(settings: Settings, origin: str) -> Telemetry:
    """The delivery of the ledger. Raises ConfigurationError(SETTINGS_INVALID)."""
    tail = settings.tail
    return Telemetry(
        settings.otel,
        settings.ledger,
        Tailing(tail.inside, tail.state, tail.most_records, tail.most_seconds),
        version=__version__,
        origin=origin,
        endpoint=settings.otlp_endpoint,
        ca=settings.otlp_ca,
    )


def evidence_signer(settings: Settings, parts: ExitStack | AsyncExitStack) -> EvidenceSigner:
    """Who signs receipts and checkpoints: the process that the settings name, or the keys in their folder, made there
    where there are none and the ledger was begun with none. Raises ConfigurationError(SETTINGS_INVALID)."""
    begun = _newest_checkpoints(settings.ledger)  # first: who wrote one had a ring before
    signer = _folder_signer(settings, begun) if settings.signer is None else _socket_signer(settings, parts)
    _check_ring(begun, signer.public())
    return signer


def _folder_signer(settings: Settings, begun: Sequence[SignedCheckpoint]) -> EvidenceSigner:
    folder = private_folder(settings.keys) / EVIDENCE_KEYS
    if not (folder / RING).exists():
        _check_ring(begun, PublicKeys(()))
        create_keys(folder)
    return FolderSigner(folder)


def _socket_signer(settings: Settings, parts: ExitStack | AsyncExitStack) -> EvidenceSigner:
    assert settings.signer is not None
    user = this_user() if settings.signer_user is None else settings.signer_user
    signer = SocketSigner(Path(settings.signer.removeprefix(UNIX)), user)
    parts.callback(signer.close)
    if not is_ready(signer):
        explanation = "nobody of the expected user signs there; start `guardedvlm keys serve`"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="signer", explanation=explanation)
    return signer


def _newest_checkpoints(ledger: Path) -> list[SignedCheckpoint]:
    """The logs' own newest checkpoints. Raises ConfigurationError(INPUT_UNREADABLE)."""
    logs = list_logs(ledger) if ledger.is_dir() else []
    return [signed for log in logs for signed in newest_checkpoints(log / CHECKPOINTS)]


def _check_ring(begun: Sequence[SignedCheckpoint], known: PublicKeys) -> None:
    """A ledger is not gone on with under a ring that signed nothing of it: the right one lies on a volume that is not
    mounted, or is lost, and what it signed could not be verified with the keys of this one."""
    for signed in begun:
        with contextlib.suppress(BadNote):
            signed.verify(known.keys)
            return
    if begun:
        explanation = "the ledger's checkpoints are by other evidence keys: is the folder of the keys mounted?"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="keys", explanation=explanation)


def private_folder(folder: Path) -> Path:
    """The folder, made for this user alone when it is not there."""
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError:
        explanation = "the folder for keys cannot be made"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="keys", explanation=explanation) from None
    return folder
