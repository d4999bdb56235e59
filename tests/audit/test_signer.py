"""Who signs: the folder's newest key, or a process of its own that signs evidence and nothing else."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from evidence_case import DOCUMENT, closed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardedvlm.audit import dsse, signer
from guardedvlm.audit.keys import RING, create_keys, load_keys, rotate_keys
from guardedvlm.audit.receipt import TYPE, Receipts
from guardedvlm.audit.signer import LENGTH, MAX_MESSAGE, REFUSED, FolderSigner, SocketSigner, is_ready
from guardedvlm.audit.signer_server import SignerServer, is_evidence
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

CHECKPOINT = b"guardedvlm/%b/years-6\n1024\n%b=\n" % (b"a0" * 16, b"A" * 43)
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def keys(tmp_path):
    create_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "signer.sock"


@pytest.fixture
def serve(keys, path):
    """Starts servers in threads and stops them."""
    running = []

    def start(users=None):
        server = SignerServer(path, FolderSigner(keys), users or [os.geteuid()])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return server

    def stop():
        while running:
            server, thread = running.pop()
            server.shutdown()
            thread.join()
            server.server_close()

    start.stop = stop
    yield start
    stop()


@pytest.fixture
def client(serve, path):
    serve()
    client = SocketSigner(path, os.geteuid())
    yield client
    client.close()


@pytest.fixture
async def message(ledger, life):
    """What is signed of a receipt."""

    class Taken:
        def sign(self, message):
            self.message = message
            return create_signature()

    taken = Taken()
    Receipts(taken).issue(await closed(ledger, life), DOCUMENT, b"")
    return taken.message


def create_signature():
    from guardedvlm.audit.keys import Signature

    return Signature("0" * 16, bytes(64))


def refused(signer, message):
    with pytest.raises(Unavailable) as failure:
        signer.sign(message)
    return failure.value.reason is Reason.EVIDENCE_UNSIGNED


def test_a_rotation_is_taken_over_by_the_next_signature(keys):
    signer = FolderSigner(keys)
    first = signer.sign(CHECKPOINT)
    second = rotate_keys(keys).active.id
    assert signer.sign(CHECKPOINT).key_id == second != first.key_id
    assert signer.public().verify(CHECKPOINT, first).id == first.key_id


@pytest.mark.parametrize("change", [Path.unlink, lambda ring: ring.chmod(0o644), lambda ring: ring.write_text("{}")])
def test_a_ring_that_is_gone_or_broken_signs_nothing(keys, change):
    signer = FolderSigner(keys)
    assert is_ready(signer)
    kept = (keys / RING).read_bytes()
    change(keys / RING)
    os.utime(keys / RING, (1, 1)) if (keys / RING).exists() else None
    assert refused(signer, CHECKPOINT)
    assert not is_ready(signer)
    (keys / RING).unlink(missing_ok=True)
    (keys / RING).touch(0o600)
    (keys / RING).write_bytes(kept)
    assert is_ready(signer)


def test_without_keys_there_is_no_signer(tmp_path):
    with pytest.raises(ConfigurationError):
        FolderSigner(tmp_path)


def test_the_other_process_signs_receipts_and_checkpoints(client, keys, message):
    ring = load_keys(keys)
    for evidence in (message, CHECKPOINT):
        assert ring.public.verify(evidence, client.sign(evidence)) == ring.active
    assert client.public() == ring.public
    assert is_ready(client)


def test_it_takes_over_a_rotation_and_tells_the_keys(client, keys):
    old = client.sign(CHECKPOINT)
    new = rotate_keys(keys)
    assert client.sign(CHECKPOINT).key_id == new.active.id
    assert client.public().verify(CHECKPOINT, old) == new.retired[0]


OTHERS = [
    b"anything",
    b"guardedvlm.v1.clearance\x00{}",
    b"\x30" * 64,
    CHECKPOINT[:-1],
    CHECKPOINT + b"\n",
    CHECKPOINT + b" \n",
    CHECKPOINT.replace(b"1024", b"01024"),
    CHECKPOINT.replace(b"guardedvlm/", b"go.sum database tree/"),
    CHECKPOINT.replace(b"years-6", b"../x"),
    CHECKPOINT.replace(b"A=", b"A"),
    dsse.message(TYPE, b"{}"),
    dsse.message("application/vnd.in-toto+json", b"{}"),
]


@pytest.mark.parametrize("other", OTHERS)
def test_it_signs_nothing_else(client, other):
    assert not is_evidence(other)
    assert refused(client, other)
    assert client.sign(CHECKPOINT)  # and the connection goes on


def test_extension_lines_of_a_checkpoint_are_signed():
    assert is_evidence(CHECKPOINT + b"an extension\n")
    assert not is_evidence(CHECKPOINT + b"line\n" * 5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), change=st.integers(min_value=1, max_value=255))
def test_a_receipt_in_another_spelling_is_not_signed(message, at, change):
    """A changed digit may make another receipt; whatever is signed is one, in its one form."""
    other = bytearray(message)
    other[at % len(other)] ^= change
    assert is_evidence(message)
    if is_evidence(bytes(other)):
        assert len(other) == len(message)
        assert bytes(other).startswith(b"DSSEv1 %d %b " % (len(TYPE), TYPE.encode()))
    assert not is_evidence(message + bytes([change]))
    assert not is_evidence(message[:-1])
    assert not is_evidence(bytes([change]) + message)


def test_a_signer_whose_ring_is_gone_signs_nothing(client, keys):
    (keys / RING).unlink()
    assert refused(client, CHECKPOINT)
    assert not is_ready(client)


def test_a_process_of_another_user_gets_nothing(serve, path):
    serve(users=[os.geteuid() + 1])
    client = SocketSigner(path, os.geteuid())
    assert refused(client, CHECKPOINT)
    assert not is_ready(client)


def test_a_process_of_another_user_is_sent_nothing(serve, path, monkeypatch):
    """Whoever else listens there would read a nonce."""
    serve()
    sent = []
    monkeypatch.setattr(socket.socket, "sendall", lambda _, data: sent.append(data))
    assert refused(SocketSigner(path, os.geteuid() + 1), CHECKPOINT)
    assert not sent


def test_nobody_there_signs_nothing(path):
    assert refused(SocketSigner(path, os.geteuid()), CHECKPOINT)
    path.write_text("not a socket")
    assert refused(SocketSigner(path, os.geteuid()), CHECKPOINT)


def test_a_signer_that_was_started_again_goes_on(client, serve):
    client.sign(CHECKPOINT)
    serve.stop()
    client.close()  # what the end of the other process does to it
    assert refused(client, CHECKPOINT)
    serve()
    assert client.sign(CHECKPOINT)


def test_a_lost_connection_is_made_again_within_one_call(client):
    client.sign(CHECKPOINT)
    client._connection.shutdown(socket.SHUT_RDWR)
    assert client.sign(CHECKPOINT)


def test_threads_get_their_own_answers(client, keys):
    ring = load_keys(keys)
    messages = [CHECKPOINT.replace(b"1024", b"%d" % number) for number in range(40)]
    found = {}
    threads = [threading.Thread(target=lambda m=m: found.setdefault(m, client.sign(m))) for m in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ring.public.verify(message, found[message]) for message in messages)


def raw(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


def test_frames_are_strict(client, path):
    with raw(path) as connection:
        connection.sendall(LENGTH.pack(MAX_MESSAGE + 1))
        assert connection.recv(1) == b""
    with raw(path) as connection:
        connection.sendall(LENGTH.pack(10) + b"short")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    with raw(path) as connection:  # piece by piece
        for byte in LENGTH.pack(4) + b"none":
            connection.sendall(bytes([byte]))
        assert connection.recv(16) == REFUSED + LENGTH.pack(0)
    assert client.sign(CHECKPOINT)


@pytest.mark.parametrize("answer", [b"", b"\x00", b"\x00" + LENGTH.pack(72), b"\x00" + LENGTH.pack(2**31), b"\x02"])
def test_an_answer_that_is_none_is_a_refusal(path, answer):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def once():
        connection, _ = listener.accept()
        with connection:
            connection.recv(2**16)
            connection.sendall(answer)

    thread = threading.Thread(target=once)
    thread.start()
    assert refused(SocketSigner(path, os.geteuid()), CHECKPOINT)
    thread.join()
    listener.close()


@pytest.fixture
def listener(path):
    """A signer that takes questions and does not answer, as one that was stopped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(50)
        yield listener


def test_a_signer_that_does_not_answer_is_waited_for_once(listener, path, monkeypatch):
    monkeypatch.setattr(signer, "SECONDS", 0.5)
    client = SocketSigner(path, os.geteuid())
    took = []

    def sign():
        began = time.monotonic()
        assert refused(client, CHECKPOINT)
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=sign) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 12
    assert max(took) < 2.5  # and not 12 times half a second
    began = time.monotonic()
    assert not signer.is_ready(client)
    assert time.monotonic() - began < 0.3


def test_it_is_asked_again_after_a_pause(listener, serve, path, keys, monkeypatch):
    monkeypatch.setattr(signer, "SECONDS", 0.2)
    monkeypatch.setattr(signer, "PAUSE_SECONDS", 0.3)
    client = SocketSigner(path, os.geteuid())
    assert refused(client, CHECKPOINT)
    listener.close()
    serve()
    assert refused(client, CHECKPOINT)
    time.sleep(0.35)
    monkeypatch.setattr(signer, "SECONDS", 5.0)
    assert load_keys(keys).public.verify(CHECKPOINT, client.sign(CHECKPOINT))
    client.close()


def test_an_answer_in_drops_takes_no_longer(listener, path, monkeypatch):
    monkeypatch.setattr(signer, "SECONDS", 0.5)
    stop = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x00" + LENGTH.pack(72))
            while not stop.wait(0.1):
                connection.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    assert refused(SocketSigner(path, os.geteuid()), CHECKPOINT)
    assert time.monotonic() - began < 3
    stop.set()
    thread.join()


@pytest.mark.parametrize("length", [0, 71, 73])
def test_an_answer_of_another_length_is_a_refusal(path, length, monkeypatch):
    monkeypatch.setattr(SocketSigner, "_answer", lambda *_: bytes(length))
    assert refused(SocketSigner(path, os.geteuid()), CHECKPOINT)


def test_the_socket_of_a_dead_signer_is_replaced_and_a_living_ones_is_not(serve, path, keys):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    serve()
    with pytest.raises(ConfigurationError) as failure:
        SignerServer(path, FolderSigner(keys), [0])
    assert failure.value.reason is Reason.PORT_TAKEN
    serve.stop()
    assert not path.exists()
    path.write_text("somebody's file")
    with pytest.raises(ConfigurationError):
        SignerServer(path, FolderSigner(keys), [0])
    assert path.read_text() == "somebody's file"


def test_the_command_signs_in_a_process_of_its_own_without_core_dumps(tmp_path, path):
    keys = tmp_path / "evidence"
    command = [sys.executable, "-m", "guardedvlm", "keys", "serve", str(keys), "--socket", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        client, end = SocketSigner(path, os.geteuid()), time.monotonic() + 60
        while not is_ready(client) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        signature = client.sign(CHECKPOINT)
        client.close()
        assert load_keys(keys).public.verify(CHECKPOINT, signature)
        status = Path(f"/proc/{process.pid}/limits").read_text()
        assert next(line for line in status.splitlines() if line.startswith("Max core")).split()[4:6] == ["0", "0"]
    finally:
        process.terminate()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"ready" in told
    assert not path.exists()
