"""What goes to the guards on Ray and comes back, without Ray."""

import json
import stat
from pathlib import Path

import pytest

from guardedvlm.batch.manifest import Wanted
from guardedvlm.batch.on_ray import require_ray
from guardedvlm.batch.order import Order, member_settings
from guardedvlm.batch.ray_guard import _member, decoded, encoded
from guardedvlm.batch.rows import Answered, Failed
from guardedvlm.config import load_settings
from guardedvlm.errors import ConfigurationError, InvalidInput, Reason, Refused
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.shipped import default_policies

POLICY = default_policies() / "finance" / "policy.yaml"


@pytest.mark.parametrize(
    "said",
    [
        Answered(({"row": "a-1", "regions": {"DATE": 1}},), b"\x00receipt"),
        Failed(Refused(Reason.KIND_REFUSED, kind="FACE"), "id", b"r"),
        None,
    ],
)
def test_what_a_guard_says_comes_back(said):
    back = decoded(encoded(said))
    if isinstance(said, Failed):
        assert (str(back.error), back.receipt_id, back.receipt) == (str(said.error), "id", b"r")
    else:
        assert back == said


def test_what_stops_the_batch_is_raised():
    with pytest.raises(InvalidInput, match="QUESTION_FORBIDDEN"):
        decoded(encoded(InvalidInput(Reason.QUESTION_FORBIDDEN)))
    with pytest.raises(ConfigurationError) as refused:
        decoded(encoded(ConfigurationError(Reason.SETTINGS_INVALID, place="/home/orla", explanation="Orla")))
    assert "rla" not in refused.value.for_operator()


def order(folder, **changes):
    settings = load_settings(None, keys=str(folder / "keys"), ledger=str(folder / "ledger"))
    values = {"state": folder, "settings": settings, "policy": POLICY, "policy_digest": load_policy(POLICY).digest()}
    return Order(**{**values, "wanted": Wanted("Orla?"), "caller": "me", "concurrency": 2, "receipts": True, **changes})


def test_an_order_comes_back_from_a_private_file(tmp_path):
    given = order(tmp_path)
    path = given.write()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Order.read(path) == given
    assert given.load_policy().name == "finance"
    assert "Orla" not in repr(given)


def test_another_policy_than_at_the_start_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="POLICY_INVALID"):
        order(tmp_path, policy_digest="00" * 32).load_policy()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"settings": {"replikas": 1}}'])
def test_what_is_no_order_is_told(tmp_path, content):
    (tmp_path / "order.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match="SETTINGS_INVALID"):
        Order.read(tmp_path / "order.json")


def test_guards_beside_each_other_share_nothing_that_has_one_writer(tmp_path):
    with _member(tmp_path) as first, _member(tmp_path) as second:
        assert (first, second) == ("guard-0", "guard-1")
    with _member(tmp_path) as third:
        assert third == "guard-0"
    settings = load_settings(
        None,
        ledger=str(tmp_path / "ledger"),
        tail={"state": str(tmp_path / "tail")},
        checkpoints={"sink": "file", "file": str(tmp_path / "points")},
    )
    own = [member_settings(settings, name) for name in ("guard-0", "guard-1")]
    for places in zip(*((one.ledger, one.tail.state, one.checkpoints.file) for one in own), strict=True):
        assert len(set(places)) == 2
        assert all(Path(place).is_relative_to(tmp_path) for place in places)


def test_ray_needs_an_inference_service_behind_mutual_tls(tmp_path):
    for more in ({}, {"inference": "unix:/run/engine.sock"}):
        with pytest.raises(ConfigurationError, match="SETTINGS_INVALID"):
            require_ray(load_settings(None, **more))
    tls = {"ca": "a", "certificate": "b", "key": "c"}
    require_ray(load_settings(None, inference="engine.example:8450", inference_tls=tls))


def test_an_order_has_no_file_name(tmp_path):
    assert "uri" not in json.loads(order(tmp_path).write().read_bytes())
