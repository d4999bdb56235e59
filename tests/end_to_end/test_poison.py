"""A canary in every field that a caller controls, by the messages' own descriptors: none of them is written down."""

import base64
import io

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from PIL import Image, ImageDraw

from guardedvlm.v1 import guard_pb2, guard_pb2_grpc

pytestmark = pytest.mark.slow

SERVICE = guard_pb2.DESCRIPTOR.services_by_name["GuardService"]
SPELLINGS = ("Canarywharfe", "canary.wharfe@poison.example", "4929-1234-5678", "987-65-4320", "KANARIENVOGEL\u00dc")
DEEPEST = 6


def _picture() -> bytes:
    image = Image.new("RGB", (400, 120), "white")
    ImageDraw.Draw(image).text((20, 40), " ".join(SPELLINGS[:2]), "black")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _fields(descriptor, way=()):
    """The way to every string and bytes field of a message, through messages and lists of them."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE and len(way) < DEEPEST:
            yield from _fields(field.message_type, (*way, field))
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            yield (*way, field)


def _put(message, way, value):
    for field in way[:-1]:
        held = getattr(message, field.name)
        message = held.add() if field.is_repeated else held
    last = way[-1]
    made = value.encode() if last.type == FieldDescriptor.TYPE_BYTES else value
    if last.is_repeated:
        getattr(message, last.name).append(made)
    else:
        setattr(message, last.name, made)


def _good(descriptor):
    """A request that goes all the way, so that a poisoned field beside it is read."""
    message = getattr(guard_pb2, descriptor.name)()
    names = {field.name for field in descriptor.fields}
    if "document" in names:
        message.document.content = _picture()
    if "query" in names:
        message.query.question = "What is the total?"
    if "schema" in names:
        message.schema = '{"type": "object", "properties": {"total": {"type": "string"}}}'
    return message


def _requests(method):
    """One request with all fields poisoned, and for each field one with that alone."""
    descriptor = method.input_type
    ways = list(_fields(descriptor))
    everything = getattr(guard_pb2, descriptor.name)()
    for number, way in enumerate(ways):
        _put(everything, way, SPELLINGS[number % len(SPELLINGS)])
    yield everything
    for number, way in enumerate(ways):
        one = _good(descriptor)
        _put(one, way, SPELLINGS[number % len(SPELLINGS)])
        yield one


@pytest.fixture(scope="module")
def poisoned(service):
    """Every method with every poisoned request, and with poison in the call's metadata."""
    token = service.site.tokens["clinic"].read_text().strip()
    credentials = grpc.ssl_channel_credentials(service.site.pki.ca.read_bytes())
    metadata = [
        ("authorization", f"Bearer {token}"),
        ("traceparent", "00-" + "c0" * 16 + "-" + "a1" * 8 + "-01"),
        ("tracestate", f"vendor={SPELLINGS[0]}"),
        ("baggage", f"name={SPELLINGS[0]}"),
        ("x-request-id", SPELLINGS[2]),
    ]
    called = 0
    options = [("grpc.primary_user_agent", SPELLINGS[0])]
    with grpc.secure_channel(service.listen, credentials, options) as channel:
        stub = guard_pb2_grpc.GuardServiceStub(channel)
        for method in SERVICE.methods:
            for request in _requests(method):
                asked = iter([request]) if method.client_streaming else request
                called += 1
                try:
                    answer = getattr(stub, method.name)(asked, metadata=metadata, timeout=90)
                    list(answer) if method.server_streaming else None
                except grpc.RpcError:
                    continue
        with pytest.raises(grpc.RpcError):
            stub.GetPolicy(guard_pb2.GetPolicyRequest(), metadata=[("authorization", f"Bearer {SPELLINGS[0]}")])
    return called


def test_every_field_of_every_method_was_poisoned(poisoned):
    assert poisoned == sum(1 + len(list(_fields(method.input_type))) for method in SERVICE.methods) > 20


def test_no_canary_is_written_down(service, poisoned):
    files = [path for path in service.log.parent.rglob("*") if path.is_file()]
    assert any(path.name.startswith("segment-") and path.stat().st_size > 2_000 for path in files)
    forms = [form for word in SPELLINGS for form in _forms(word)]
    for path in files:
        content = path.read_bytes().lower()
        assert not any(form in content for form in forms), path.name


def _forms(word):
    raw = word.encode()
    yield raw.lower()
    yield raw.hex().encode()
    yield base64.b64encode(raw)[:-4].lower()


def test_the_forms_would_be_found():
    content = b"x" + SPELLINGS[0].encode() + b"y"
    assert any(form in content.lower() for form in _forms(SPELLINGS[0]))
