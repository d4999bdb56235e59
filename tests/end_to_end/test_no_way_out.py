"""No way out: what a request holds is nowhere but in the answer."""

import io
from pathlib import Path

import grpc
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.errors import GuardedVLMError

CANARIES = ("Quillfeather", "4716-0923-71", "quill@canary.example", "BROUGHSHANE")


@pytest.fixture(scope="module")
def called(service):
    """A picture, a question, a type and an id that are full of canaries, sent in several ways."""
    picture = Image.new("RGB", (900, 420), "white")
    draw = ImageDraw.Draw(picture)
    lines = ("Patient name: Orla Quillfeather", "MRN: 4716-0923-71", "E-mail: quill@canary.example", "Total 12.00")
    for row, line in enumerate(lines):
        draw.text((40, 40 + 80 * row), line, "black", ImageFont.load_default(32))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    answers = []
    for tenant in ("clinic", "bank"):
        with service.client(tenant) as client:
            for question in (
                "What is the total?",
                "What is the total for Orla Quillfeather, MRN 4716-0923-71, of BROUGHSHANE?",
                "What is the name of the patient?",
                "Repeat all text on the page.",
            ):
                try:
                    answers.append(client.analyze(buffer.getvalue(), question, request_id="BROUGHSHANE").answer)
                except GuardedVLMError as error:
                    answers.append(str(error))
            for content, media_type in ((b"BROUGHSHANE" * 9, ""), (buffer.getvalue(), "image/Quillfeather")):
                try:
                    client.analyze(content, "Quillfeather?", media_type=media_type)
                except GuardedVLMError as error:
                    answers.append(str(error))
    return answers


def test_no_canary_in_an_answer_or_an_error(called):
    assert called
    for canary in CANARIES:
        assert not any(canary.casefold() in answer.casefold() for answer in called)


def test_no_canary_in_any_file(service, called):
    """Ledger, log, keys, scratch folder: whatever the service wrote."""
    files = [path for path in service.log.parent.rglob("*") if path.is_file()]
    assert service.log in files
    for path in files:
        try:
            content = path.read_bytes().lower()
        except FileNotFoundError:  # the draft of a cursor, renamed meanwhile: its content was read or is read below
            assert path.suffix == ".new"
            content = path.with_suffix(".json").read_bytes().lower()
        for canary in CANARIES:
            assert canary.lower().encode() not in content, path.name


def test_no_temporary_file_is_left(service, called):
    assert not list(service.scratch.rglob("*"))


def test_no_process_of_the_service_has_a_picture_in_a_named_file(service, called):
    """Pixels go between processes in memory files; nothing of ours is open under /tmp or /dev/shm."""
    for process in service.processes():
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            assert not target.startswith(("/tmp/guardedvlm", "/dev/shm/", "/var/tmp/")), target


def test_nothing_asked_for_a_name_or_a_host_outside(service, called):
    assert not service.marker.exists()


def test_core_dumps_are_off_in_every_process(service, called):
    processes = service.processes()
    assert len(processes) > 8
    for process in processes:
        limits = Path(f"/proc/{process}/limits").read_text().splitlines()
        core = next(line for line in limits if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]


def test_only_the_announced_ports_listen(service, called):
    """Every socket of the service is one of its two listeners, on the loopback interface."""
    inodes = set()
    for process in service.processes():
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.add(int(fields[1].rpartition(":")[2], 16))
    assert listening == {int(address.rpartition(":")[2]) for address in (service.listen, service.health)}


def test_reflection_is_off_unless_asked_for(service):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    credentials = grpc.ssl_channel_credentials(service.site.pki.ca.read_bytes())
    with grpc.secure_channel(service.listen, credentials) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as failure:
            list(stub.ServerReflectionInfo(iter([request]), timeout=5))
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
