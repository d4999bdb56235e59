"""`policy replay` against the oracle: the same requests under the new policy. What it decides is what happens."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_pages_path import PNG, POLICY
from test_shadow import Page
from typer.testing import CliRunner

from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.facts import Method
from guardedvlm.audit.logs import Logs
from guardedvlm.audit.verify import read_ledger
from guardedvlm.cli import app
from guardedvlm.cli.policy.past import past_requests
from guardedvlm.core.deadline import Deadline
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.ports import Sampling
from guardedvlm.core.tenant import Caller
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.image import RawImage
from guardedvlm.guard.pipeline import Pipeline, Question
from guardedvlm.guard.run import GuardRequest, Witness
from guardedvlm.guard.verify import ClearanceSigner
from guardedvlm.policy.model import (
    AskRules,
    InferenceRules,
    Limits,
    Mode,
    PersonalText,
    Release,
    SayRules,
    TextRules,
    Topic,
)
from guardedvlm.policy.replay import Verdict, replay

REQUESTS = [
    ("Jane Roe", "It is 5.", "What is the total?"),
    ("Total", "Ask him.", "What is the total?"),
    ("Total", "He is a Muslim.", "What is the total?"),
    ("Total", "It is 5.", "Who is this person?"),
]


async def ran(folder, policy, method=Method.ANALYZE_IMAGE, sampling=None):
    """What each request came to under `policy`: its end, and what was hidden."""
    ledger = Logs(folder, "a0" * 16)
    witness = Witness(ledger, AuditKey(b"k" * 32), {})
    verdicts = []
    for text, draft, question in REQUESTS:
        scene = Page([text], drafts={100: draft})
        signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
        pipeline = Pipeline(scene, scene, signer, witness)
        request = GuardRequest(
            *(Caller("clinic", "ann", frozenset()), policy, RawImage(PNG), Deadline.after(30)), method
        )
        try:
            if method is Method.REDACT_IMAGE:
                redaction, text = await pipeline.redact(request), ""
            else:
                events = [one async for one in pipeline.analyze(request, Question(question))]
                redaction, text = events[0], "".join(one for one in events if isinstance(one, str))
            regions = sorted((r.kind, r.action) for page in redaction.pages for r in page.regions)
            verdicts.append(("released", regions, text))
        except GuardedVLMError as error:
            verdicts.append((error.reason, [], ""))
    ledger.close()
    return verdicts


def candidate(**changes):
    return POLICY.model_copy(update={"version": "2026-01-01", **changes})


NEW = {
    "label to fill": candidate(hide={**POLICY.hide, Kind.PERSON: Action.FILL}),
    "refuse a kind": candidate(hide={**POLICY.hide, Kind.PERSON: Action.REFUSE}),
    "refuse another": candidate(hide={**POLICY.hide, Kind.MRZ: Action.REFUSE}),
    "few bytes": candidate(limits=Limits(max_bytes=1)),
    "no pages": candidate(limits=Limits(max_pages=1)),
    "asked more": candidate(ask=AskRules(forbid=POLICY.ask.forbid - {Topic.IDENTIFY_PERSON})),
    "asked less": candidate(ask=AskRules(forbid=frozenset(Topic))),
    "said less": candidate(say=SayRules(forbid=frozenset({Topic.RELIGION}))),
    "few tokens": candidate(say=SayRules(max_tokens=1)),
    "personal": candidate(ask=AskRules(personal=PersonalText.REFUSE)),
    "whole": candidate(say=SayRules(release=Release.WHOLE)),
    "strict": candidate(text=TextRules(mode=Mode.STRICT, clear=frozenset())),
    "sampling": candidate(inference=InferenceRules(seed=7)),
    "nothing": candidate(),
}


@pytest.mark.parametrize("method", [pytest.param(Method.ANALYZE_IMAGE, marks=pytest.mark.service), Method.REDACT_IMAGE])
async def test_what_is_decided_is_what_happens(tmp_path, method):
    old = await ran(tmp_path / "old", POLICY, method)
    past = list(past_requests(read_ledger(tmp_path / "old"), POLICY.name))
    decided = 0
    for name, new in NEW.items():
        now = await ran(tmp_path / name.replace(" ", "-"), new, method)
        for before, after, one in zip(old, now, past, strict=True):
            found = replay(one, {POLICY.digest(): POLICY}, new)
            decided += found.verdict is not Verdict.UNDECIDABLE
            if name != "few tokens":  # the scene's model writes what it wants
                assert found.verdict is Verdict.UNDECIDABLE or (found.verdict is Verdict.CHANGED) == (before != after)
    assert decided > 2 * len(NEW)


async def test_the_command_counts_what_it_knows(tmp_path):
    await ran(tmp_path / "ledger", POLICY)
    folder = tmp_path / "policies" / "test"
    folder.mkdir(parents=True)
    kinds = "".join(f"  {kind}: {action}\n" for kind, action in POLICY.hide.items())
    head = 'name: test\nversion: "2025-01-01"\ndescription: for tests\n'
    text = f"{head}hide:\n{kinds}keep: [AMOUNT]\ntext: {{mode: balanced}}\n"
    (folder / "policy.yaml").write_text(text)
    new = tmp_path / "new.yaml"
    new.write_text(text.replace("PERSON: label", "PERSON: fill").replace('"2025-01-01"', '"2026-01-01"'))

    def told(*arguments):
        return CliRunner().invoke(app, ["policy", "replay", str(new), "--ledger", str(tmp_path / "ledger"), *arguments])

    assert told("--old", str(folder)).output.splitlines()[:2] == [
        "4 requests: 2 unchanged, 1 changed, 1 undecidable",
        "changed: 1 by hide.PERSON",
    ]
    assert "undecidable: 4 by the policy that was in force is not known (--old)" in told().output
    assert told("--old", str(folder), "--json").output.count('"verdict": "unchanged"') == 2


async def test_a_document_with_a_refused_kind_is_refused_and_nothing_is_asked(tmp_path):
    verdicts = await ran(tmp_path, NEW["refuse a kind"])
    assert verdicts[0] == (Reason.KIND_REFUSED, [], "")
    assert verdicts[1][0] == "released"


async def test_a_refused_kind_that_only_the_verifier_sees_refuses_too(tmp_path):
    scene = Page(["Total"], drafts={100: "It is 5."})
    scene.blind_to = 100
    ledger = Logs(tmp_path, "a0" * 16)
    signer = ClearanceSigner(Ed25519PrivateKey.generate(), "test", b"s" * 32)
    pipeline = Pipeline(scene, scene, signer, Witness(ledger, AuditKey(b"k" * 32), {}))
    policy = candidate(hide={**POLICY.hide, Kind.FACE: Action.REFUSE})
    request = GuardRequest(
        *(Caller("clinic", "ann", frozenset()), policy, RawImage(PNG), Deadline.after(30)), Method.REDACT_IMAGE
    )
    with pytest.raises(Refused) as caught:
        await pipeline.redact(request)
    assert caught.value.reason in (Reason.KIND_REFUSED, Reason.RESIDUAL_FOUND)
    ledger.close()


def test_a_caller_wishes_are_brought_inside_the_policy():
    policy = candidate(say=SayRules(max_tokens=9), inference=InferenceRules(max_temperature=0.5, max_top_p=0.9, seed=3))
    assert policy.sampling(Sampling(100, 1.5, 1.0, 8)) == Sampling(9, 0.5, 0.9, 3)
    assert policy.sampling(Sampling(5, 0.1, 0.2, 8)) == Sampling(5, 0.1, 0.2, 3)
    assert POLICY.sampling(Sampling(5, 1.5, 0.2, 8)) == Sampling(5, 1.5, 0.2, 8)
