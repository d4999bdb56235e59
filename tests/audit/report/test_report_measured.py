"""A measurement goes to an auditor as it is, or not at all."""

import hashlib
import json

import pytest

from guardedvlm.audit.report.measured import read_measured
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evaluation.report import Report
from guardedvlm.evaluation.share import wilson


def report():
    made = Report("Words", "finance", "ab" * 32, "guardedvlm eval text receipts", pictures=30)
    made.shares["Personal words: hidden"]["all"] = wilson(49, 50)
    made.shares["Personal words: hidden"]["PERSON"] = wilson(0, 0)
    made.refusals["RESIDUAL_FOUND"] = 2
    return made


def test_what_eval_writes_is_read_as_it_stands(tmp_path):
    (tmp_path / "report.json").write_text(report().to_json())
    found = read_measured(tmp_path / "report.json")
    assert found.digest == hashlib.sha256((tmp_path / "report.json").read_bytes()).hexdigest()
    assert (found.title, found.policy, found.policy_digest) == ("Words", "finance", "ab" * 32)
    assert (found.pictures, found.refused, found.command) == (30, 2, "guardedvlm eval text receipts")
    ((group, rows),) = found.shares
    assert (group, rows) == ("Personal words: hidden", (("all", wilson(49, 50)), ("PERSON", wilson(0, 0))))


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("policy_digest"),
        lambda told: told.update(policy_digest="not a digest"),
        lambda told: told["shares"]["Personal words: hidden"]["all"].update(hits=51),
        lambda told: told["shares"]["Personal words: hidden"]["all"].update(low=0.99, high=1.0),
        lambda told: told["shares"]["Personal words: hidden"]["all"].update(n=-1),
        lambda told: told.update(title="x" * 501),
    ],
)
def test_what_is_no_measurement_is_refused(tmp_path, change):
    told = json.loads(report().to_json())
    change(told)
    (tmp_path / "report.json").write_text(json.dumps(told))
    with pytest.raises(ConfigurationError) as refused:
        read_measured(tmp_path / "report.json")
    assert refused.value.reason is Reason.INPUT_UNREADABLE


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"title": 1}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(ConfigurationError):
        read_measured(tmp_path / "report.json")
