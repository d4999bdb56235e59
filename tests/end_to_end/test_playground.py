"""The playground in a real browser, over a real service: a picture is dropped, redacted, asked about, refused."""

import base64
import io
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from playground_browser import drop, open_browser, press, running_playground

pytestmark = pytest.mark.service

CANARY = "canary-of-the-file-7719"
NAME = "Harriet Lindqvist"
TOTAL = "$1,482.50"
QUESTION = "What is the total?"
MARK = "quokka"
"""Part of a question that nobody else asks."""
FORBIDDEN = f"How old is the man in the picture? Mind the {MARK}."


def letter():
    page = Image.new("RGB", (620, 420), "white")
    pen, type_ = ImageDraw.Draw(page), ImageFont.load_default(24)
    lines = (
        (40, "Customer name: " + NAME),
        (110, "Phone: (212) 555-0142"),
        (200, "Total: " + TOTAL),
        (290, "Date: 05/03/2024"),
    )
    for top, text in lines:
        pen.text((40, top), text, "black", type_)
    return page


def png():
    """A picture whose file holds a string that nothing may keep."""
    found, told = io.BytesIO(), PngInfo()
    told.add_text("Comment", CANARY)
    letter().save(found, "PNG", pnginfo=told)
    return found.getvalue()


def encoded(content):
    return base64.b64encode(content).decode()


def logged_in(context, base, token):
    page = context.new_page()
    page.goto(base)
    page.fill("#token", token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#policy option", state="attached")
    return page


def files_with(folders, needles):
    found = []
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                content = file.read_bytes()
                found += [(str(file), needle) for needle in needles if needle.encode() in content]
    return found


@pytest.fixture(scope="module")
def playground(service, tmp_path_factory):
    arguments = ["--server", service.listen, "--ca", str(service.site.pki.ca), "--no-samples"]
    with running_playground(tmp_path_factory.mktemp("playground") / "run", *arguments) as found:
        yield found


def token_of(service, tenant="bank"):
    return service.site.tokens[tenant].read_text().strip()


def test_a_picture_is_dropped_redacted_and_asked_about(service, playground, tmp_path):
    with open_browser(tmp_path / "profile") as context:
        page = logged_in(context, playground.base, token_of(service))
        drop(page, encoded(png()), "letter.png", "image/png")
        assert page.inner_text("#policy option").startswith("finance")
        page.fill("#question", QUESTION)
        with page.expect_response("**/try") as answered:
            press(page)
        assert answered.value.headers["cache-control"] == "no-store"

        after = page.locator(".pane", has_text="After").locator("img")
        assert after.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 620
        before = page.locator(".pane", has_text="Before").locator("img")
        assert before.get_attribute("src").startswith(f"blob:{playground.base}")
        kinds = page.locator("[data-pick]").all_inner_texts()
        assert {"name of a person", "telephone or fax number"} <= set(kinds)
        reasons = page.locator("tr[data-kind] td:nth-child(2)").all_inner_texts()
        assert all(len(reason) > 20 for reason in reasons)
        assert "1,482.50" in page.inner_text("[data-answer]")
        assert "What the screen changed" in page.inner_text(".screen")

        # The list and the pictures point at one another, by keyboard too.
        page.focus("[data-pick] >> nth=0")
        key = page.get_attribute("[data-pick] >> nth=0", "data-pick")
        assert page.locator(f'rect.lit[data-key="{key}"]').count() == 2
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.dataset.pick") != key

        page.fill("#question", FORBIDDEN)
        press(page)
        refusal = page.inner_text(".refusal")
        assert "The policy forbids this kind of question" in refusal
        assert "QUESTION_FORBIDDEN" in refusal
        assert page.locator(".pane").count() == 0

        assert all(url.startswith((playground.base, "blob:", "data:")) for url in context.asked)
        assert context.complaints == []
    kept = [playground.scratch, playground.log.parent, service.scratch, service.log.parent / "site" / "ledger"]
    assert files_with([*kept, tmp_path], (CANARY, NAME, MARK, token_of(service))) == []
    assert not playground.marker.exists()
    assert "1,482.50" not in playground.log.read_text()


@pytest.mark.slow
def test_two_identities_are_two_policies_side_by_side(service, playground, tmp_path):
    with open_browser(tmp_path / "profile") as context:
        page = logged_in(context, playground.base, token_of(service))
        page.click("text=Add identity")
        page.fill("#token", token_of(service, "clinic"))
        page.keyboard.press("Enter")
        page.wait_for_selector("#other option:nth-child(3)", state="attached")
        page.select_option("#other", "1")
        page.set_input_files("#file", {"name": "letter.png", "mimeType": "image/png", "buffer": png()})
        press(page)
        assert page.locator(".check.ok").count() == 2
        assert page.locator(".pane img").count() == 3
        assert "Difference: finance and healthcare" in page.inner_text(".difference")
        assert page.locator(".difference .badge").count() > 3
        assert page.locator('[data-part="fresh"] button').count() > 0
        assert context.complaints == []


@pytest.mark.slow
def test_several_pages_can_be_turned(service, playground, tmp_path):
    found = io.BytesIO()
    letter().save(found, "TIFF", save_all=True, append_images=[letter().transpose(Image.Transpose.ROTATE_90)])
    with open_browser(tmp_path / "profile") as context:
        page = logged_in(context, playground.base, token_of(service))
        page.set_input_files("#file", {"name": "two.tif", "mimeType": "image/tiff", "buffer": found.getvalue()})
        press(page)
        assert page.inner_text(".turner [role=status]") == "Page 1 of 2"
        first = page.get_attribute(".pane:last-child img", "src")
        page.click("[data-turn='1']")
        assert page.inner_text(".turner [role=status]") == "Page 2 of 2"
        assert page.get_attribute(".pane:last-child img", "src") != first
        assert "page 2" in page.inner_text("tr[data-kind]:last-child")
        page.click("summary >> text=Facts")
        assert page.inner_text("text=Save as").endswith("TIFF")


def test_who_is_nobody_to_the_service_does_not_come_in(service, playground):
    with httpx.Client(base_url=playground.base, headers={"sec-fetch-site": "same-origin"}) as client:
        for token in ("", "gvlm_" + "x" * 43):
            refused = client.post("/login", data={"token": token})
            assert refused.status_code == 401
            assert "no client certificate or bearer token that this service knows" in refused.text.lower()
            assert "set-cookie" not in refused.headers
        refused = client.post("/try", content=b'{"policy":"0"}\n' + png())
        assert refused.status_code == 401
        assert client.get("/policies").status_code == 303


def test_it_listens_on_this_machine_alone(playground):
    port = f"{int(playground.base.rpartition(':')[2]):04X}"
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    assert {place for place in listening if place.endswith(f":{port}")} == {f"0100007F:{port}"}


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), pytest.param(1366, "light", marks=pytest.mark.slow)])
def test_every_state_is_usable_and_fits(service, playground, tmp_path, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with open_browser(tmp_path / "profile") as context:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 780})
        page.emulate_media(color_scheme=scheme)

        def check(state):
            found = [one["id"] + ": " + one["help"] for one in axe.run(page).response["violations"]]
            assert found == [], state
            assert page.evaluate("document.documentElement.scrollWidth") <= width, state

        page.goto(playground.base)
        page.click("text=Client certificate instead")
        check("login")
        page.fill("#token", token_of(service))
        page.keyboard.press("Enter")
        page.wait_for_selector("#policy option", state="attached")
        check("empty")
        drop(page, encoded(png()), "letter.png", "image/png")
        page.fill("#question", QUESTION)
        press(page)
        page.click("summary >> text=Facts")
        check("answered")
