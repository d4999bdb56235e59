"""Scripts that no policy names stay hidden, whatever the reader takes them for: real letters, the real reader."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.cli.settings import find_policy
from guardedvlm.core.region import Size
from guardedvlm.guard.detect.clear import clear_text
from guardedvlm.guard.detect.personal import PersonalData
from guardedvlm.guard.redact import Labels, redact
from guardedvlm.reading.ppocr import PageReader

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
pytestmark = pytest.mark.skipif(not FONT.is_file(), reason="Debian's fonts-dejavu-core has the letters")

NAMES = {
    "Cyrillic": ("Иван Кузнецов", "СЕРГЕЙ ВОРОНОВ", "Ольга Шевченко", "Роза Мост"),
    "Greek": ("Γιώργος Παπαδόπουλος", "ΜΑΡΙΑ ΝΙΚΟΛΑΟΥ", "Ελένη Κατσαρού"),
    "Arabic": ("محمد الأحمد", "فاطمة الزهراء"),
    "mixed": ("Иvan Kuzneцov", "Μaria Νikolaou"),
}


@pytest.fixture(scope="module")
def pages():
    """Each script's page, its ink, and what is read on it."""
    reader = PageReader()
    drawn = {script: page(names) for script, names in NAMES.items()}
    return {script: (raster, ink, reader.read(raster)) for script, (raster, ink) in drawn.items()}


@pytest.fixture(scope="module")
def personal():
    return PersonalData()


def page(names):
    """A page of names below one another, and a Latin word, so that the reader has something that it knows."""
    picture = Image.new("RGB", (760, 80 + 90 * len(names)), "white")
    ink = Image.new("L", picture.size)
    font = ImageFont.truetype(str(FONT), 34, layout_engine=ImageFont.Layout.BASIC)
    for row, name in enumerate(names):
        ImageDraw.Draw(ink).text((60, 40 + 90 * row), name, 255, font)
    picture.paste("black", mask=ink)
    ImageDraw.Draw(picture).text((560, 20), "Total", "black", font)
    return np.array(picture), np.asarray(ink) >= 64


@pytest.mark.parametrize("policy", ["healthcare", "finance"])
@pytest.mark.parametrize("script", NAMES)
def test_names_in_a_script_outside_the_policys_languages_are_hidden(pages, personal, script, policy):
    raster, ink, lines = pages[script]
    rules, size = find_policy(policy), Size.of(raster)
    found = personal.page(lines, width=size.width, height=size.height, languages=rules.text.languages)
    cleared = clear_text(lines, found, rules, size)
    findings = (*found, *cleared.findings)
    redacted = redact(raster, findings, cleared.visible, rules, None, Labels(findings, rules))
    assert redacted.hidden[ink].mean() >= 0.95
    assert any(word.text == "Total" for word in cleared.visible)
