"""The console in a real browser: every page, the keyboard, a narrow screen, dark, paper, a tampered ledger, the login.

Debian's chromium, driven by Playwright, which downloads nothing. What the browser itself says counts: a blocked script
or style, a request to elsewhere or an error in its console fails the test. axe-core looks at every page.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pypdfium2 import PdfDocument
from review_office import Office
from running import CHROMIUM, console_process, free_port, provider_process
from written_ledger import HEALTHCARE, POLICIES, request_id

from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.review.desk import grid_of
from guardedvlm.audit.segment import list_segments

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (make browser)")
PATHS = (
    *("/", "/requests", "/requests?outcome=REFUSED&kind=FACE", f"/requests/{request_id(1)}"),
    *("/policies", f"/policies/{HEALTHCARE.digest()}", "/evidence"),
)
PHONE = {"width": 360, "height": 740}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # --no-sandbox: chromium's own needs user namespaces, which a build machine's root has not.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def site(ledger: Path) -> Path:
    shutil.copytree(POLICIES, ledger.parent / "policies")
    return ledger


@pytest.fixture
def address(site: Path, tmp_path: Path) -> Iterator[str]:
    with console_process(str(site), "--listen", "127.0.0.1:0", "--cache", str(tmp_path / "cache")) as printed:
        yield printed


class Visitor:
    """A page, and what the browser complained about."""

    def __init__(self, context: BrowserContext, home: str) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.home = home
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._check)

    def _check(self, request: object) -> None:
        url = getattr(request, "url", "")
        if not url.startswith(self.home):
            self.complaints.append(f"asked elsewhere: {url}")

    def go(self, path: str) -> None:
        self.page.goto(self.home + path)
        self.page.wait_for_load_state("networkidle")


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[object]:
    """Makes visitors who are logged in by the printed address and have waited for the index."""
    contexts: list[BrowserContext] = []

    def make(**settings: object) -> Visitor:
        contexts.append(browser.new_context(**settings))  # type: ignore[arg-type]
        visitor = Visitor(contexts[-1], address.split("/login")[0])
        for _ in range(60):
            answer = visitor.page.goto(address)
            if answer is not None and answer.status == 200:
                break
            visitor.page.wait_for_timeout(250)
        for _ in range(60):
            visitor.go("/requests")
            if visitor.page.locator("#h-results").inner_text() != "0 requests":
                break
            visitor.page.wait_for_timeout(250)
        visitor.page.goto(visitor.home)
        visitor.complaints.clear()
        return visitor

    yield make
    for context in contexts:
        context.close()


def wait_for_verification(visitor: Visitor) -> None:
    visitor.go("/evidence")
    expect(visitor.page.get_by_role("button", name="Verify now")).to_be_enabled(timeout=60_000)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": PHONE}])
def test_every_page_is_accessible_and_asks_nobody_else(visit: object, mode: dict[str, object]) -> None:
    visitor: Visitor = visit(**mode)  # type: ignore[operator]
    for path in PATHS:
        visitor.go(path)
        found = Axe().run(visitor.page, options=RULES)
        wrong = [(item["id"], item["nodes"][0]["html"][:120]) for item in found.response["violations"]]
        assert wrong == [], path
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    assert visitor.complaints == []


def test_by_keyboard_alone(visit: object) -> None:
    """From the start of the page to one refused request, and back, without a mouse."""
    page = visit().page  # type: ignore[operator]
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(page.url.split("#")[0])
    for _ in range(4):  # skip link, brand, overview, requests
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Requests", exact=True)).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/requests$"))
    page.get_by_label("Outcome").focus()
    page.keyboard.type("refused")
    page.keyboard.press("Tab")
    expect(page.locator("#h-results")).to_have_text("1 request", timeout=10_000)
    page.wait_for_url(re.compile("outcome=REFUSED"))
    link = page.locator("table.list tbody a").first
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/requests/{request_id(2)}"))
    page.go_back()
    expect(page.locator("#h-results")).to_have_text("1 request")


@pytest.mark.slow
def test_a_phone_shows_every_check_and_a_result_gets_the_focus(visit: object) -> None:
    visitor: Visitor = visit(viewport=PHONE)  # type: ignore[operator]
    page = visitor.page
    wait_for_verification(visitor)  # by then the index is there
    visitor.go(f"/requests/{request_id(1)}")
    expect(page.locator("td.own-line .badge").first).to_be_visible()
    for line in page.locator("td.own-line .badge").all():
        box = line.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= PHONE["width"] - 14
    page.get_by_role("link", name="Prove and check now").click()
    expect(page.locator("#inclusion")).to_be_focused()
    visitor.go("/evidence")
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#state")).to_be_focused()
    expect(page.get_by_role("button", name="Verify now")).to_be_enabled(timeout=60_000)
    expect(page.locator("#state")).to_be_focused()
    assert visitor.complaints == []


@pytest.mark.slow
def test_search_without_script(browser: Browser, address: str, visit: object) -> None:
    visit()  # type: ignore[operator]  # the index is there
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.goto(address.split("/login")[0] + "/requests")
    page.get_by_label("Outcome").select_option("UNFINISHED")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#h-results")).to_have_text("1 request")
    context.close()


@pytest.mark.slow
def test_a_tampered_ledger_is_shown_as_such(visit: object, site: Path) -> None:
    visitor: Visitor = visit()  # type: ignore[operator]
    wait_for_verification(visitor)
    expect(visitor.page.get_by_role("status").first).to_contain_text("Every record and every link verified")
    path = list_segments(site)[0].path
    path.write_bytes(path.read_bytes().replace(b'"FACE":1', b'"FACE":9', 1))

    visitor.page.get_by_role("button", name="Verify now").click()

    expect(visitor.page.locator("#state .check.bad")).to_contain_text("does not verify", timeout=60_000)
    visitor.go("/")
    expect(visitor.page.get_by_role("alert").first).to_contain_text("The ledger does not verify.")
    visitor.go(f"/requests/{request_id(1)}")
    expect(visitor.page.locator("tr.flawed")).to_have_count(2)
    assert visitor.complaints == []


@pytest.mark.slow
def test_new_records_appear(visit: object, site: Path) -> None:
    from written_ledger import Writing

    visitor: Visitor = visit()  # type: ignore[operator]
    writing = Writing(site)
    writing.request(9)
    writing.close()
    for _ in range(40):
        visitor.go("/requests")
        if visitor.page.locator("#h-results").inner_text() == "4 requests":
            break
        visitor.page.wait_for_timeout(500)
    expect(visitor.page.locator("#h-results")).to_have_text("4 requests")


@pytest.mark.slow
def test_paper(visit: object) -> None:
    """A request on A4: what matters is there, the way around the site is not."""
    page = visit().page  # type: ignore[operator]
    page.goto(page.url.rstrip("/") + f"/requests/{request_id(1)}")
    document = PdfDocument(page.pdf(prefer_css_page_size=True))
    text = " ".join(sheet.get_textpage().get_text_bounded() for sheet in document)

    width, height = document[0].get_size()
    assert (round(width), round(height)) == (595, 842)
    assert request_id(1) in re.sub(r"\s", "", text)
    for said in ("each in canonical form", "Life cycle", "Detectors in force", "medical record"):
        assert said in text
    for gone in ("Log out", "Policies", "Skip to content", "Records"):
        assert gone not in text


@pytest.mark.slow
def test_logging_out(visit: object) -> None:
    page = visit().page  # type: ignore[operator]
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.goto(page.url.split("/login")[0] + "/requests")
    expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.slow
def test_login_at_the_provider_with_strict_cookies(browser: Browser, site: Path, tmp_path: Path) -> None:
    """The provider is another site (localhost, not 127.0.0.1): the strict cookies go only from our own page on."""
    port = free_port()
    claims = json.dumps({"sub": "ann", "preferred_username": "ann@clinic", "roles": ["reviewer"]})
    with provider_process("localhost", ann=claims) as issuer:
        config, secret = tmp_path / "console.yaml", tmp_path / "secret"
        secret.write_text("s3cret")
        secret.chmod(0o600)
        login = f"{{issuer: '{issuer}', client_id: console, client_secret_file: {secret.name}}}"
        config.write_text(f"listen: 127.0.0.1:{port}\nlogin: {login}\n")
        with console_process(str(site), "--config", str(config), "--cache", str(tmp_path / "cache")) as home:
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{home}/requests")
            page.get_by_role("link", name="Log in with your organisation").click()
            page.wait_for_url(re.compile("/oauth2/authorize"))
            page.get_by_role("button", name="ann").click()
            page.wait_for_url(f"{home}/")
            expect(page.locator(".who")).to_have_text("ann@clinic")
            cookies = {cookie["name"]: cookie for cookie in context.cookies()}
            ours = [cookie for name, cookie in cookies.items() if name.startswith("guardedvlm")]
            assert ours
            assert all(cookie["sameSite"] == "Strict" and cookie["httpOnly"] for cookie in ours)
            context.close()


@pytest.mark.slow
def test_review_by_keyboard_and_by_mouse(browser: Browser, ledger: Path, tmp_path: Path) -> None:
    """Cells are chosen with arrow keys and with the mouse, a leak is gone, and nothing of it is inline or foreign."""
    office = Office(tmp_path, ledger)
    first, second = (office.sample() for _ in range(2))
    (tmp_path / "audit.key").write_text("6b" * 32 + "\n")
    (tmp_path / "audit.key").chmod(0o600)
    config = tmp_path / "console.yaml"
    config.write_text("audit_key: audit.key\nreview: {folder: pictures, keys: sample-keys}\n")
    arguments = ("--config", str(config), "--listen", "127.0.0.1:0", "--cache", str(tmp_path / "cache"))
    with console_process(str(ledger), *arguments) as address:
        context = browser.new_context(viewport=PHONE)
        visitor = Visitor(context, address.split("/login")[0])
        page = visitor.page
        page.goto(address)
        visitor.complaints.clear()  # the index may still be on its way
        for path in ("/review", f"/review/{first}", "/review/risk"):
            visitor.go(path)
            assert Axe().run(page, options=RULES).response["violations"] == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        visitor.go(f"/review/{first}")
        assert page.locator("#frame img").evaluate("image => image.naturalWidth") == 620
        page.locator("#lines").focus()
        page.keyboard.press("Tab")
        for key in ("ArrowDown", "ArrowRight", "Space", "Shift+ArrowRight", "ArrowUp"):
            page.keyboard.press(key)
        expect(page.locator("#cells")).to_have_value("1,1 1,2")
        expect(page.locator("#spoken")).to_have_text("Row 0, column 2; 2 chosen")
        frame = page.locator("#frame").bounding_box()
        assert frame is not None
        page.locator("#frame").click(position={"x": frame["width"] * 10.5 / 32, "y": frame["height"] * 20.5 / 32})
        expect(page.locator("#cells")).to_have_value("1,1 1,2 20,10")
        page.get_by_role("radio", name="Leaked").check()
        page.get_by_role("checkbox", name="person", exact=True).check()
        page.get_by_role("button", name="Record and go on").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(
            "The picture was destroyed and an incident was opened"
        )
        page.get_by_role("link", name="Next picture").click()
        page.wait_for_url(re.compile(f"/review/{second}$"))
        page.get_by_role("radio", name="Clean").check()
        page.get_by_role("button", name="Record and go on").click()
        expect(page.locator("#h-queue")).to_have_text("0 pictures wait")
        context.close()
    assert visitor.complaints == []
    marks = office.facts(LedgerEvent.MARKED)
    assert [mark["verdict"].value for mark in marks] == ["leaked", "clean"]
    assert marks[0]["cells"] == grid_of([(1, 1), (1, 2), (20, 10)])
    assert office.desk.queue() == ()
