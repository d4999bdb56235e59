"""Receipts: what they say, that nothing in them can be changed, and that two of one request have nothing in common."""

import hashlib
import hmac
import json

import pytest
from evidence_case import DOCUMENT, PAGES, REDACTED, closed, lived, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardedvlm.audit import dsse
from guardedvlm.audit.keys import Signature, UnknownKey, WrongSignature, create_keys
from guardedvlm.audit.receipt import TYPE, Closed, Of, Outcome, Receipt, Receipts, Statement, commitment
from guardedvlm.audit.record import record_hash
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Internal, Reason, Unavailable


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    return create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def over(ledger, life):
    return await closed(ledger, life)


@pytest.fixture
def receipt(over, ring):
    return Receipts(ring).issue(over, DOCUMENT, REDACTED)


async def test_a_receipt_says_what_the_ledger_says(ledger, life, ring):
    log = await lived(ledger, life)
    found = Receipts(ring).issue(Closed.of(log.records, log.log, PAGES), DOCUMENT, REDACTED).statement
    last = log.records[-1]
    assert (found.audit_id, found.outcome, found.reason) == (log.request, Outcome.RELEASED, None)
    assert found.policy == life[State.ADMITTED]["policy"]
    assert found.detectors == life[State.REDACTED]["detectors"]
    assert found.model == life[State.GENERATING]["model"]
    assert found.regions == life[State.REDACTED]["regions"]
    assert found.area_permille == life[State.REDACTED]["area_permille"]
    assert found.verification == life[State.CLEARED]["verification"]
    assert (found.began, found.ended) == (log.records[0].time, last.time)
    assert found.position.model_dump() == {
        "origin": last.origin,
        "log": "ledger",
        "sequence": last.sequence,
        "record_hash": record_hash(last.encode()),
    }
    assert (found.input.bytes, found.redacted.bytes, found.cleared.pages) == (len(DOCUMENT), len(REDACTED), 2)


async def test_a_clock_that_is_set_back_makes_no_request_without_a_receipt(ledger, life, ring):
    log = await lived(ledger, life)
    *before, last = log.records
    records = [*before, last.model_copy(update={"time": "2020-01-01T00:00:00.000Z"})]
    statement = Receipts(ring).issue(Closed.of(records, log.log, PAGES), DOCUMENT, REDACTED).statement
    assert statement.ended == statement.began == records[0].time
    assert statement.issued >= statement.ended


def test_no_tenant_caller_digest_or_content_is_in_it(receipt, life):
    said = receipt.statement.encode().decode()
    named = {name for facts in life.values() for name in facts}
    kept = {"method", "policy", "detectors", "engine", "model", "regions", "area_permille", "actions", "verification"}
    for facts in life.values():
        for name in facts.keys() - kept:
            value = facts[name]
            if isinstance(value, str) and len(value) >= 32:
                assert value not in said, name
    assert named & kept == kept
    assert not {"tenant", "caller", "hidden", "findings", "answer_digest"} & json.loads(said).keys()


def test_commitments_are_hmac_under_the_nonce(receipt):
    """As anybody computes them: HMAC-SHA256(nonce, "guardedvlm.v1.receipt" 00 name 00 bytes)."""
    nonce = bytes.fromhex(receipt.statement.nonce)
    raw = b"".join(bytes.fromhex(page) for page in PAGES)
    for name, content, said in (
        (b"input", DOCUMENT, receipt.statement.input.commitment),
        (b"redacted", REDACTED, receipt.statement.redacted.commitment),
        (b"cleared", raw, receipt.statement.cleared.commitment),
    ):
        message = b"guardedvlm.v1.receipt\x00" + name + b"\x00" + content
        assert said == hmac.new(nonce, message, hashlib.sha256).hexdigest()


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_how_bytes_come_does_not_matter(chunks):
    assert commitment(bytes(32), Of.INPUT, chunks) == commitment(bytes(32), Of.INPUT, [b"".join(chunks)])


def test_two_receipts_of_one_request_share_no_secret(over, ring):
    one, two = (Receipts(ring).issue(over, DOCUMENT, REDACTED).statement for _ in range(2))
    assert one.recorded() == two.recorded()
    assert len({one.nonce, two.nonce}) == 2
    assert one.input.commitment != two.input.commitment
    assert one.cleared.commitment != two.cleared.commitment
    assert len(bytes.fromhex(one.nonce)) == 32


def test_the_nonce_is_not_shown_and_nothing_is_kept_of_it(over, ring):
    receipts = Receipts(ring)
    receipt = receipts.issue(over, DOCUMENT, REDACTED)
    assert receipt.statement.nonce not in repr(receipt)
    assert set(vars(receipts)) == {"_signer"}


def test_a_receipt_verifies_as_dsse(receipt, ring):
    envelope = json.loads(receipt.encode())
    assert envelope["payloadType"] == TYPE
    assert envelope["signatures"][0]["keyid"] == ring.active.id
    assert ring.public.verify(dsse.message(TYPE, receipt.statement.encode()), receipt.signature) == ring.active
    assert Receipt.decode(receipt.encode()) == receipt


def test_it_fits_into_the_metadata_of_a_call(receipt):
    """8 KiB is what a gRPC client takes by default, in base64."""
    assert len(receipt.encode()) * 4 / 3 < 7 * 1024


async def test_a_refusal_says_why_and_commits_to_what_came(ledger, life, ring):
    found = Receipts(ring).issue(await refused(ledger, life), DOCUMENT, b"").statement
    assert (found.outcome, found.reason) == (Outcome.REFUSED, Reason.RESIDUAL_FOUND)
    assert found.input.commitment == found.commitment(Of.INPUT, [DOCUMENT])
    assert found.redacted is None
    assert found.detectors is None


async def test_an_unfinished_request_has_no_receipt(ledger, life):
    log = await lived(ledger, life, until=State.CLEARED)
    assert not log.closed
    with pytest.raises(Internal):
        Closed.of(log.records, log.log, PAGES)


def test_without_a_signature_there_is_no_receipt(over):
    class Gone:
        def sign(self, message):
            raise Unavailable(Reason.EVIDENCE_UNSIGNED)

    with pytest.raises(Unavailable):
        Receipts(Gone()).issue(over, DOCUMENT, b"")


def verified(content, ring):
    """Whether anybody would take it."""
    try:
        receipt = Receipt.decode(content)
        ring.public.verify(receipt.message, receipt.signature)
    except (ValueError, UnknownKey, WrongSignature):
        return False
    return True


ONE_RECEIPT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@ONE_RECEIPT
@given(at=st.integers(min_value=0), change=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_seen(receipt, ring, at, change):
    content = bytearray(receipt.encode())
    content[at % len(content)] ^= change
    assert verified(receipt.encode(), ring)
    assert not verified(bytes(content), ring)


@ONE_RECEIPT
@given(start=st.integers(min_value=0), length=st.integers(min_value=0, max_value=60), put=st.binary(max_size=60))
def test_any_cut_or_insertion_is_seen(receipt, ring, start, length, put):
    content = receipt.encode()
    start %= len(content) + 1
    other = content[:start] + put + content[start + length :]
    assert verified(other, ring) == (other == content)


def _values(receipt):
    """Every value of the statement, with something else that fits in its place."""
    found = json.loads(receipt.statement.encode())
    yield from (found | {name: None} for name in found)
    yield from ({key: value for key, value in found.items() if key != name} for name in found)
    yield found | {"nonce": "00" * 32}
    yield found | {"audit_id": "00" * 16}
    yield found | {"regions": {}}
    yield found | {"position": found["position"] | {"sequence": 1}}
    yield found | {"ended": found["began"]}
    yield found | {"outcome": "refused", "reason": "RESIDUAL_FOUND"}
    yield found | {"tenant": "clinic"}
    yield found | {"input": found["input"] | {"name": "scan.png"}}


def test_no_other_statement_goes_with_the_signature(receipt, ring):
    for values in _values(receipt):
        payload = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
        if payload != receipt.statement.encode():
            assert not verified(dsse.Envelope(TYPE, payload, receipt.signature).encode(), ring)


def signed(ring, payload, kind=TYPE):
    """A payload with a right signature: the parser alone stands between it and a reader."""
    return dsse.Envelope(kind, payload, ring.sign(dsse.message(kind, payload))).encode()


def _closed_schema(values):
    yield values | {"tenant": "clinic"}
    yield values | {"version": 2}
    yield values | {"nonce": "00" * 16}
    yield values | {"outcome": "released", "reason": "RESIDUAL_FOUND"}
    yield values | {"outcome": "refused"}
    yield values | {"ended": "2020-01-01T00:00:00.000Z"}
    yield values | {"issued": "2020-01-01T00:00:00.000Z"}
    yield values | {"verification": values["verification"] | {"verdict": "residual"}}
    yield values | {"policy": values["policy"] | {"name": "Maria Canary"}}
    yield values | {"policy": values["policy"] | {"file": "policy.yaml"}}
    yield values | {"regions": {"CANARY": 1}}
    yield values | {"engine": "canary of maria"}
    yield values | {"position": values["position"] | {"log": "a/b"}}
    for name in ("policy", "detectors", "regions", "verification", "cleared", "input", "nonce", "position"):
        yield {key: value for key, value in values.items() if key != name}


def test_what_does_not_fit_the_schema_is_refused_though_it_is_signed(receipt, ring):
    values = json.loads(receipt.statement.encode())
    assert verified(signed(ring, receipt.statement.encode()), ring)
    for other in _closed_schema(values):
        content = signed(ring, json.dumps(other, sort_keys=True, separators=(",", ":")).encode())
        with pytest.raises(ValueError, match=r"^not ") as failure:
            Receipt.decode(content)
        assert "anary" not in str(failure.value)


def test_another_spelling_or_type_is_refused_though_it_is_signed(receipt, ring):
    payload = receipt.statement.encode()
    for other in (b" " + payload, payload.replace(b",", b", "), payload.replace(b"{", b'{"version":1,', 1)):
        with pytest.raises(ValueError, match=r"^not "):
            Receipt.decode(signed(ring, other))
    with pytest.raises(ValueError, match="not a receipt"):
        Receipt.decode(signed(ring, payload, "application/vnd.guardedvlm.receipt.v2+json"))


def test_a_signature_of_another_purpose_is_none_of_a_receipt(receipt, ring):
    """Of the bare payload, as of a checkpoint, which has no envelope."""
    payload = receipt.statement.encode()
    assert not verified(dsse.Envelope(TYPE, payload, ring.sign(payload)).encode(), ring)


@pytest.mark.parametrize("key_id", ["0" * 16, "f" * 16])
def test_a_signature_under_another_id_is_unknown(receipt, ring, key_id):
    other = dsse.Envelope(TYPE, receipt.statement.encode(), Signature(key_id, receipt.signature.value))
    assert not verified(other.encode(), ring)


@given(st.binary(max_size=400))
def test_noise_is_no_statement(content):
    with pytest.raises(ValueError, match=r"^not "):
        Statement.decode(content)
