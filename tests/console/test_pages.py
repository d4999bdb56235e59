"""What the pages say, and that nothing in them is inline, foreign or unescaped."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from written_ledger import HEALTHCARE, OTHER_TENANT, POLICIES, TENANT, request_id

from guardedvlm.audit.segment import list_segments
from guardedvlm.console.app import Console, Site, build_console
from guardedvlm.console.rendering import STATIC
from guardedvlm.console.watch import Watch, verify_all
from guardedvlm.web.assets import SHARED
from guardedvlm.web.headers import HEADERS

Open = Callable[..., tuple[Console, TestClient]]
FINANCE_FILE = POLICIES / "finance" / "policy.yaml"


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


@pytest.fixture
def console(ledger: Path, open_console: Open) -> tuple[Console, TestClient]:
    return open_console(ledger)


@pytest.fixture
def client(console: tuple[Console, TestClient]) -> TestClient:
    return console[1]


def all_paths() -> list[str]:
    return [
        *("/", "/?period=all", "/?period=24h&tenant=b1", "/requests", "/requests?outcome=REFUSED&kind=FACE"),
        *(f"/requests/{request_id(number)}" for number in (1, 2, 3)),
        *("/policies", f"/policies/{HEALTHCARE.digest()}", "/evidence", "/login", "/nowhere"),
    ]


class _Inline(HTMLParser):
    """Collects what a strict policy would block, and addresses that lead elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [name for name in names if name == "style" or name.startswith("on")]
        self.found += [tag] if tag in {"style", "iframe", "object", "embed", "base"} else []
        self.found += ["inline script"] if tag == "script" and not names.get("src") else []
        addresses = (names.get(name) or "" for name in ("href", "src", "action", "hx-get", "hx-post"))
        self.found += [address for address in addresses if re.match(r"(?i)([a-z]+:|//)", address)]


@pytest.mark.parametrize("path", all_paths())
def test_every_page_is_closed(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == (404 if path == "/nowhere" else 200)
    assert HEADERS.items() <= dict(answer.headers.items()).items() or all(
        answer.headers[name] == value for name, value in HEADERS.items()
    )
    assert answer.headers["cache-control"] == "no-store"
    inline = _Inline()
    inline.feed(answer.text)
    assert inline.found == []


def test_policy_of_content_allows_nothing_inline_or_foreign() -> None:
    policy = HEADERS["Content-Security-Policy"]

    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert set(re.findall(r"'[a-z]+'", policy)) == {"'none'", "'self'"}


def test_the_style_sheet_asks_for_nothing() -> None:
    sheet = (SHARED / "look.css").read_text()

    assert "url(" not in sheet
    assert "@import" not in sheet


def test_the_licence_of_the_vendored_script_is_beside_it() -> None:
    assert "Zero-Clause BSD" in (STATIC / "htmx-LICENSE.txt").read_text()
    assert len(list(STATIC.glob("htmx-*.min.js"))) == 1


def test_overview_counts(client: TestClient) -> None:
    page = text_of(client.get("/?period=all").text)

    assert "Requests 3" in page
    assert "Released 1" in page
    assert "Refused 1" in page
    assert "Unfinished 1" in page
    assert "Regions hidden 4" in page
    assert "detector failed" in page


def test_overview_of_one_tenant(client: TestClient) -> None:
    page = text_of(client.get(f"/?period=all&tenant={OTHER_TENANT}").text)

    assert "Released 0" in page
    assert "Refused 1" in page


def test_tenants_have_names_where_the_console_was_given_them(ledger: Path, open_console: Open) -> None:
    _, client = open_console(ledger, tenants={TENANT: "st-mary-clinic"})

    for path in ("/?period=all", "/requests", f"/requests/{request_id(1)}"):
        assert "st-mary-clinic" in client.get(path).text
    assert "st-mary-clinic" not in client.get(f"/requests/{request_id(2)}").text


def test_search_shows_what_fits(client: TestClient) -> None:
    page = client.get("/requests?outcome=REFUSED").text

    assert "1 request" in text_of(page)
    assert request_id(2) in page
    assert request_id(1) not in page


def test_search_part_for_htmx_is_a_part(client: TestClient) -> None:
    part = client.get("/requests?outcome=REFUSED", headers={"HX-Request": "true"})

    assert part.text.lstrip().startswith('<section id="results"')
    assert "<html" not in part.text
    assert part.headers["vary"] == "HX-Request"


def test_one_request(client: TestClient) -> None:
    page = client.get(f"/requests/{request_id(1)}").text
    text = text_of(page)

    for said in ("AnalyzeImage", "PDF, 2 pages", "each in canonical form", "medical record", "centerface", "Page 2"):
        assert said in text
    for said in ("cleared", "the check only watched", "religion", "Candidate", "kind refused", "2.4 s"):
        assert said.lower() in text.lower() or said == "2.4 s"
    assert page.count('class="ink"') == 8  # the first page's corner, eight rows of the grid


def test_a_request_without_an_end_says_so(client: TestClient) -> None:
    assert "no closing record" in text_of(client.get(f"/requests/{request_id(3)}").text)


def test_a_tampered_request_says_so(ledger: Path, client: TestClient) -> None:
    path = list_segments(ledger)[0].path
    path.write_bytes(path.read_bytes().replace(b'"FACE":1', b'"FACE":9', 1))

    page = text_of(client.get(f"/requests/{request_id(1)}").text)

    assert "this does not hold" in page
    assert "Do not rely" in page


def test_a_tampered_ledger_says_so_on_every_page(ledger: Path, console: tuple[Console, TestClient]) -> None:
    path = list_segments(ledger)[0].path
    path.write_bytes(path.read_bytes().replace(b'"FACE":1', b'"FACE":9', 1))
    console[0].watch.verified = verify_all(ledger)

    for place in ("/", "/requests", "/policies", "/evidence"):
        assert "The ledger does not verify." in text_of(console[1].get(place).text)
    evidence = text_of(console[1].get("/evidence").text)
    assert "broken: tampered" in evidence
    assert "segment-0000000000000000.jsonl:7" in evidence


def test_evidence_of_a_whole_ledger(ledger: Path, console: tuple[Console, TestClient]) -> None:
    console[0].watch.verified = verify_all(ledger)

    evidence = text_of(console[1].get("/evidence").text)

    assert "Every record and every link verified" in evidence
    assert "completeness unshown" in evidence
    assert request_id(3)[:8] in evidence
    assert "1 policy in force" in evidence


def test_verify_now_asks_once(console: tuple[Console, TestClient]) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"}

    assert console[1].post("/evidence/verify", headers=headers, follow_redirects=False).status_code == 303
    part = console[1].post("/evidence/verify", headers=headers | {"HX-Request": "true"})
    assert console[0].watch.verifying
    assert "every 2s" in part.text


def test_policies_and_one_version(client: TestClient) -> None:
    assert HEALTHCARE.digest() in client.get("/policies").text
    page = text_of(client.get(f"/policies/{HEALTHCARE.digest()}").text)

    assert "HIPAA Safe Harbor" in page
    assert page.count("biometric identifiers") == 1
    assert re.search(r"hide\.FACE fill healthcare/policy\.yaml:\d+", page)
    assert "base/common.yaml" in page


def test_difference_of_two_versions(client: TestClient, tmp_path: Path) -> None:
    page = client.get("/policies").text
    digests = sorted(set(re.findall(r'<option value="([0-9a-f]{64})"', page)))
    assert len(digests) >= 2
    other = next(digest for digest in digests if digest != HEALTHCARE.digest())

    text = text_of(client.get(f"/policies/diff?old={HEALTHCARE.digest()}&new={other}").text)

    assert "weaker" in text
    assert "hide.DATE" in text


def test_a_version_without_a_file_says_so(large: Path, open_console: Open) -> None:
    _, client = open_console(large / "ledger")

    assert "No file of this version" in client.get("/policies/" + "a1" * 32).text


@pytest.mark.parametrize("path", ["/requests/" + "f" * 32, "/requests/x", "/policies/x", "/policies/diff?old=a&new=b"])
def test_what_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_before_there_is_an_index(ledger: Path, tmp_path: Path) -> None:
    console = build_console(Site(ledger, tmp_path / "none", "127.0.0.1", 8450))
    client = TestClient(console.application, base_url="http://127.0.0.1:8450")
    assert console.token is not None

    assert client.get(console.token.url("")).status_code == 503
    assert not (tmp_path / "none").exists()


def test_a_failing_page_shows_and_logs_no_content(
    console: tuple[Console, TestClient], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> object:
        raise RuntimeError("CANARY")

    monkeypatch.setattr("guardedvlm.console.pages.read_story", fail)
    client = TestClient(
        console[0].application,
        base_url="http://127.0.0.1:8450",
        raise_server_exceptions=False,
        cookies=console[1].cookies,
    )

    answer = client.get(f"/requests/{request_id(1)}")

    assert answer.status_code == 500
    assert "CANARY" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_a_hostile_line_is_written_as_text(ledger: Path, tmp_path: Path, open_console: Open) -> None:
    """Whoever can write into the ledger's folder still cannot run anything in the reviewer's browser."""
    path = list_segments(ledger)[-1].path
    line = (
        b'{"event":"RECEIVED","facts":{"method":"<script>alert(1)</script>","tenant":"\\"><img src=x onerror=a>",'
        b'"policy":{"name":"<b>","digest":"<i>"}},"request":"abc","time":"2026-11-23T10:00:00.000Z"}\n'
    )
    path.write_bytes(path.read_bytes() + line)
    _, client = open_console(ledger)

    for place in ("/requests", "/?period=all", "/requests/abc", "/policies"):
        page = client.get(place).text
        inline = _Inline()
        inline.feed(page)
        assert inline.found == []
        assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("said", "notice"),
    [
        (b'{"policies":5}', "not a record in canonical form"),
        (b'{"policies":["x"]}', "not a record in canonical form"),
        (b'{"policies":[]}', "more than a day after"),
    ],
)
def test_a_changed_event_fails_no_page(ledger: Path, open_console: Open, said: bytes, notice: str) -> None:
    path = list_segments(ledger)[-1].path
    line = next(line for line in path.read_bytes().splitlines() if b'"event":"POLICIES"' in line)
    changed = re.sub(rb'"facts":.*?,"origin"', b'"facts":' + said + b',"origin"', line)
    changed = re.sub(rb'"time":"\d{4}', b'"time":"2098', changed)
    path.write_bytes(path.read_bytes() + changed + b"\n")
    _, client = open_console(ledger)

    for place in ("/", "/?period=all", "/requests", "/policies", "/evidence"):
        assert client.get(place).status_code == 200
    assert notice in text_of(client.get("/").text)
    assert notice in text_of(client.get("/evidence").text)


async def test_whatever_stops_the_index_or_the_verification_is_said(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> object:
        raise RecursionError("CANARY")

    monkeypatch.setattr("guardedvlm.console.watch.refresh", fail)
    monkeypatch.setattr("guardedvlm.console.watch.verify_all", fail)
    monkeypatch.setattr("guardedvlm.console.watch._worker", lambda: ThreadPoolExecutor(1))
    watch = Watch(ledger, tmp_path / "cache")

    async with watch.running():
        while watch.verified is None or not watch.failed:  # noqa: ASYNC110  # nobody else waits for it
            await asyncio.sleep(0.01)

    assert watch.failed
    assert watch.verified is not None
    assert not watch.verified.holds
    assert "CANARY" not in caplog.text


def test_what_was_hidden_after_the_first_look_is_not_still_seen(client: TestClient) -> None:
    page = text_of(client.get(f"/requests/{request_id(1)}").text)

    assert "Seen at the first look, then hidden date 1" in page
    assert "Still seen" not in page


def test_a_chain_whose_end_nobody_vouches_for_is_not_green(ledger: Path, console: tuple[Console, TestClient]) -> None:
    console[0].watch.verified = verify_all(ledger)
    page = console[1].get("/").text

    assert 'class="state open"' in page
    assert "completeness not shown" in page


def test_a_result_that_was_asked_for_gets_the_focus_and_a_look_later_does_not(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "HX-Request": "true"}

    assert 'tabindex="-1" autofocus' in client.post("/evidence/verify", headers=headers).text
    assert "autofocus" not in client.get("/evidence/state", headers=headers).text


def test_numbers_and_spans_of_one_are_said_as_one(ledger: Path, console: tuple[Console, TestClient]) -> None:
    console[0].watch.verified = verify_all(ledger)
    policy = text_of(console[1].get(f"/policies/{HEALTHCARE.digest()}").text)
    listed, evidence = (text_of(console[1].get(path).text) for path in ("/policies", "/evidence"))

    assert "1 time, on" in policy
    assert not re.search(r"(\d{4}-\d\d-\d\d) to \1", listed)
    assert "Log ledger" not in evidence
    assert "Says" not in listed


def test_a_page_on_paper_says_when_it_was_made_and_has_the_proof(client: TestClient) -> None:
    page = client.get(f"/requests/{request_id(1)}").text

    assert re.search(r"Page made \d{4}-\d\d-\d\d", text_of(page))
    assert '<section aria-labelledby="h-proof">' in page
    assert "counter(page)" in (SHARED / "look.css").read_text()
