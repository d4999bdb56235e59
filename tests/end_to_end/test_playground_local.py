"""`guardedvlm playground --local` in a real browser: a policy is edited, and the difference is seen."""

import io
import shutil

import pytest
from PIL import Image, ImageDraw, ImageFont
from playground_browser import open_browser, press, running_playground

from guardedvlm.audit.logs import list_logs
from guardedvlm.audit.verify import verify_ledger
from guardedvlm.policy.shipped import default_policies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CANARY = "Wilhelmina Quokkasdottir"


def png():
    page = Image.new("RGB", (620, 420), "white")
    pen, type_ = ImageDraw.Draw(page), ImageFont.load_default(24)
    for top, text in ((40, "Customer name: " + CANARY), (110, "Phone: (212) 555-0142"), (200, "Total: $1,482.50")):
        pen.text((40, top), text, "black", type_)
    found = io.BytesIO()
    page.save(found, "PNG")
    return found.getvalue()


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_edit_press_and_see_the_difference(tmp_path):
    policies = shutil.copytree(default_policies(), tmp_path / "policies")
    finance = policies / "finance" / "policy.yaml"
    arguments = ["--local", "--policies", str(policies)]
    with running_playground(tmp_path / "run", *arguments) as playground, open_browser(tmp_path / "profile") as context:
        assert "/login?token=" in playground.address
        page = context.new_page()
        page.goto(playground.address)
        page.wait_for_selector("#policy option", state="attached")
        assert page.locator("[data-sample]").count() == 7

        page.set_input_files("#file", {"name": "letter.png", "mimeType": "image/png", "buffer": png()})
        press(page)
        assert "telephone or fax number" in page.locator("[data-pick]").all_inner_texts()
        assert page.locator(".difference").count() == 0  # nothing to compare with

        edit(finance, "keep: [AMOUNT, DATE, ORGANIZATION]", "keep: [DATE, ORGANIZATION]")
        edit(finance, "hide:\n", "hide:\n  AMOUNT: fill\n")
        press(page)
        difference = page.inner_text(".difference")
        assert "Difference: finance as it was and finance now" in difference
        assert page.locator('[data-part="fresh"] button').all_inner_texts() == ["amount"]
        assert "hide.AMOUNT" in difference
        assert page.inner_text(".difference .badge.ok") == "stronger"

        edit(finance, "  mode: balanced", "  mode: lenient")
        page.click("#go")
        page.wait_for_selector("#faults .fault")
        fault = page.inner_text("#faults .fault >> nth=0")
        number = 1 + finance.read_text().split("mode: lenient")[0].count("\n")
        assert f"finance/policy.yaml:{number}" in fault
        assert "mode: lenient" in page.inner_text("#faults .at >> nth=0")
        assert page.inner_text("#outcome") == ""
        page.wait_for_selector("#working", state="hidden")

        edit(finance, "  mode: lenient", "  mode: balanced")
        press(page)
        assert page.locator("#faults .fault").count() == 0
        assert page.locator(".check.ok").count() == 1

        # A sample is tried, and stopped.
        page.click('[data-sample="bank-statement"]')
        page.wait_for_function("() => document.getElementById('chosen').innerText.includes('Bank account statement')")
        page.click(".suggestion >> nth=0")
        page.click("#go")
        page.click("#stop")
        page.wait_for_selector("#working", state="hidden")
        assert "you stopped it" in page.inner_text(".refusal").lower()
        assert all(url.startswith((playground.base, "blob:", "data:")) for url in context.asked)
        assert context.complaints == []
    reports = [verify_ledger(log) for log in list_logs(playground.state / "guardedvlm" / "ledger")]
    assert all(report.chain_ok for report in reports)
    assert sum(report.records for report in reports) > 0
    for folder in (playground.scratch, playground.state, tmp_path / "profile"):
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                content = file.read_bytes()
                assert CANARY.encode() not in content, file
                assert b"Quokkasdottir" not in content, file
    assert not playground.marker.exists()
