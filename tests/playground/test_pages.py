"""The application over a guard that gives what it is told: who comes in, what is kept, what is said."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from guardedvlm.errors import ConfigurationError, Reason, Refused
from guardedvlm.playground.app import Site, build_playground
from guardedvlm.playground.ports import Fault, Offer
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.shipped import default_policies
from guardedvlm.v1 import guard_pb2 as pb

BASE = "http://127.0.0.1:8451"
SAME = {"sec-fetch-site": "same-origin"}
CANARY = "Harriet Canary 4111"


def policy(version):
    return load_policy(default_policies() / "finance" / "policy.yaml").model_copy(update={"version": version})


class Told:
    """A guard that was told what to give."""

    def __init__(self, *events, failure=None):
        self.asked = []
        self._events = events
        self._failure = failure

    async def offers(self):
        broken = Fault("broken/policy.yaml:2", "unknown key 'modus'", ((1, "name: broken"), (2, "modus: strict")))
        return [
            Offer("strict", policy("2026-11-23")),
            Offer("lenient", policy("2026-11-24")),
            Offer("broken", None, (broken,)),
        ]

    async def events(self, asked):
        self.asked.append(asked)
        for event in self._events:
            yield event
        if self._failure:
            raise self._failure


@asynccontextmanager
async def browser(guard, *, logged_in=True):
    found = build_playground(Site("127.0.0.1", 8451, guard=guard))
    transport = httpx.ASGITransport(found.application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        if logged_in:
            assert (await client.get(found.token.url(BASE))).status_code == 303
        yield client


async def tried(client, content=b"picture", question=""):
    head = json.dumps({"policy": "strict", "question": question}).encode()
    return await client.post("/try", content=head + b"\n" + content, headers=SAME)


def lines(content):
    found = []
    while content:
        line, _, content = content.partition(b"\n")
        told = json.loads(line)
        size = told.get("bytes", 0)
        found.append((told, content[:size]))
        content = content[size:]
    return found


def redacted():
    region = pb.Region(
        kind="PERSON", box=pb.Box(x0=1, y0=2, x1=3, y1=4), detector="name/title", action="label", label="PERSON-A"
    )
    page = pb.RedactedPage(width=60, height=40, regions=[region], media_type="image/png", content=b"PNG\n\x00bytes")
    return pb.Redaction(pages=[page], policy_digest="ab")


async def test_without_a_session_there_is_nothing():
    guard = Told()
    async with browser(guard, logged_in=False) as client:
        assert (await client.get("/")).headers["location"].startswith("/login")
        assert (await client.get("/policies")).status_code == 303
        assert (await client.get("/samples/full/cheque.png")).status_code == 303
        assert (await tried(client)).status_code == 401
        for wrong in ("", "guess"):
            assert (await client.get("/login", params={"token": wrong})).status_code == 401
            assert (await client.post("/login", data={"token": wrong}, headers=SAME)).status_code == 401
    assert guard.asked == []


async def test_another_site_cannot_send_pictures():
    guard = Told()
    async with browser(guard) as client:
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {}):
            done = await client.post("/try", content=b'{"policy":"strict"}\npicture', headers=headers)
            assert done.status_code == 403
        assert (await client.get("/", headers={"host": "rebound.example"})).status_code == 400
    assert guard.asked == []


async def test_every_response_is_kept_by_nobody_and_loads_nothing_from_elsewhere():
    event = pb.StreamRedactImageResponse(result=pb.RedactImageResponse(redaction=redacted()))
    async with browser(Told(event)) as client:
        for response in (
            await client.get("/"),
            await client.get("/policies"),
            await tried(client),
            await client.get("/gone"),
        ):
            assert response.headers["cache-control"] == "no-store"
            rules = response.headers["content-security-policy"]
            assert "default-src 'none'" in rules
            assert "script-src 'self';" in rules
            assert "unsafe" not in rules
            assert "http" not in rules
        page = (await client.get("/")).text
        assert "style=" not in page
        assert "<script>" not in page
        assert " on" + "click=" not in page


async def test_a_redaction_brings_regions_with_reasons_and_the_picture():
    progress = pb.StreamRedactImageResponse(progress=pb.Progress(stage="read", page=1, pages=2))
    result = pb.StreamRedactImageResponse(result=pb.RedactImageResponse(redaction=redacted(), audit_id="id"))
    guard = Told(progress, result)
    async with browser(guard) as client:
        found = lines((await tried(client, b"\x89PNG\nraw")).content)
    assert guard.asked[0].content == b"\x89PNG\nraw"
    assert found[0][0] == {"progress": {"stage": "read", "page": 1, "pages": 2}}
    (region,) = found[1][0]["redaction"]["pages"][0]["regions"]
    assert (region["kind"], region["box"], region["label"]) == ("PERSON", [1, 2, 3, 4], "PERSON-A")
    assert region["why"] == "It is written as names are. The policy says hide: label."
    assert found[2] == ({"sheet": {"page": 0, "media_type": "image/png"}, "bytes": 10}, b"PNG\n\x00bytes")
    assert found[-1][0]["done"]["audit_id"] == "id"


async def test_an_answer_tells_what_the_screen_changed():
    span = pb.GroundedSpan(start=0, end=2, ground=pb.GROUND_MASKED)
    screening = pb.Screening(modified=True, edits=[pb.KindCount(kind="PERSON", count=2)], picture_instructions=1)
    done = pb.Analysis(answer="[PERSON]", screening=screening, grounding=[span], finish_reason=pb.FINISH_REASON_STOP)
    events = (
        pb.StreamAnalyzeImageResponse(redaction=redacted()),
        pb.StreamAnalyzeImageResponse(text="[PERSON]"),
        pb.StreamAnalyzeImageResponse(done=done),
    )
    guard = Told(*events)
    async with browser(guard) as client:
        found = lines((await tried(client, question=" Who pays? ")).content)
    assert guard.asked[0].question == "Who pays?"
    told = found[-1][0]["done"]
    assert told["edits"] == [{"kind": "PERSON", "words": "name of a person", "count": 2}]
    assert (told["modified"], told["instructions"], told["grounding"][0]["ground"]) == (True, 1, "masked")


async def test_a_region_without_a_place_stays_without_one():
    found = redacted()
    found.pages[0].regions[0].ClearField("box")
    event = pb.StreamRedactImageResponse(result=pb.RedactImageResponse(redaction=found))
    async with browser(Told(event)) as client:
        told = lines((await tried(client)).content)
    assert told[0][0]["redaction"]["pages"][0]["regions"][0]["box"] is None


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Refused(Reason.RESIDUAL_FOUND), "RESIDUAL_FOUND"),
        (ValueError(CANARY), "INTERNAL"),
    ],
)
async def test_a_refusal_is_said_in_words_and_holds_no_content(failure, reason, caplog):
    async with browser(Told(failure=failure)) as client:
        response = await tried(client, CANARY.encode(), CANARY)
    ((told, _),) = lines(response.content)
    assert told["refused"]["reason"] == reason
    assert told["refused"]["sentence"]
    assert told["refused"]["advice"]
    assert CANARY not in response.text + caplog.text


async def test_a_fault_of_the_file_is_said_with_its_line():
    failure = ConfigurationError(Reason.POLICY_INVALID, place="broken/policy.yaml:2", explanation="unknown key")
    async with browser(Told(failure=failure)) as client:
        ((told, _),) = lines((await tried(client)).content)
        offers = (await client.get("/policies")).json()["policies"]
    assert (told["refused"]["place"], told["refused"]["explanation"]) == ("broken/policy.yaml:2", "unknown key")
    assert offers[2]["faults"][0]["excerpt"][1] == [2, "modus: strict"]


async def test_the_difference_of_two_policies_that_were_shown():
    change = {"path": "version", "old": "2026-11-23", "new": "2026-11-24", "effect": "other"}
    async with browser(Told()) as client:
        strict, lenient, _ = (await client.get("/policies")).json()["policies"]
        found = await client.get("/difference", params={"old": strict["digest"], "new": lenient["digest"]})
        assert found.json()["changes"] == [change]
        assert (await client.get("/difference", params={"old": "0" * 64, "new": lenient["digest"]})).status_code == 404


async def test_too_much_and_nothing_are_refused():
    guard = Told()
    async with browser(guard) as client:
        ((told, _),) = lines((await tried(client, b"")).content)
        assert told["refused"]["reason"] == "EMPTY_INPUT"
        large = await client.post("/try", content=b"x", headers={**SAME, "content-length": str(64 * 2**20)})
        assert large.status_code == 413
        ((told, _),) = lines(large.content)
        assert told["refused"]["reason"] == "MESSAGE_TOO_LARGE"
    assert guard.asked == []


async def test_logging_out_ends_the_session():
    async with browser(Told()) as client:
        assert (await client.get("/")).status_code == 200
        cookie = dict(client.cookies)
        await client.post("/logout", headers=SAME)
        client.cookies.update(cookie)
        assert (await client.get("/")).status_code == 303


class Waiting(Told):
    """A guard that begins and does not end."""

    def __init__(self):
        super().__init__()
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def events(self, asked):
        self.asked.append(asked)
        self.begun.set()
        try:
            await asyncio.Event().wait()
            yield None
        finally:
            self.ended.set()


async def test_a_trial_too_many_of_a_session_is_refused_unread():
    guard, read = Waiting(), []

    async def body():
        read.append(1)
        yield b"x"

    async with browser(guard) as client:
        running = [asyncio.create_task(tried(client)) for _ in range(2)]
        while len(guard.asked) < 2:  # noqa: ASYNC110  # both have begun
            await asyncio.sleep(0.01)
        refused = await client.post("/try", content=body(), headers=SAME)
        assert refused.status_code == 429
        assert lines(refused.content)[0][0]["refused"]["reason"] == "QUOTA_EXCEEDED"
        assert read == []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert guard.ended.is_set()
        third = asyncio.create_task(tried(client))
        while len(guard.asked) < 3:  # noqa: ASYNC110  # there is room again
            await asyncio.sleep(0.01)
        third.cancel()


async def test_a_trial_ends_with_its_session():
    guard = Waiting()
    async with browser(guard) as client:
        running = asyncio.create_task(tried(client))
        await guard.begun.wait()
        await client.post("/logout", headers=SAME)
        await asyncio.wait_for(guard.ended.wait(), 5)
        await asyncio.wait({running}, timeout=5)
        assert running.done()


async def test_a_trial_that_is_still_read_ends_with_its_session():
    reading = asyncio.Event()

    async def body():
        yield b'{"policy": "strict"}'
        reading.set()
        await asyncio.Event().wait()

    async with browser(Told()) as client:
        running = asyncio.create_task(client.post("/try", content=body(), headers=SAME))
        await reading.wait()
        await client.post("/logout", headers=SAME)
        assert (await asyncio.wait_for(running, 5)).status_code == 401


async def test_no_browser_sends_a_question_to_a_spelling_service():
    async with browser(Told()) as client:
        page = (await client.get("/")).text
    assert 'spellcheck="true"' not in page
    assert page.count('spellcheck="false"') == page.count("<textarea")
