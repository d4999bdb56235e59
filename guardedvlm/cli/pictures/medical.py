"""Healthcare: an intake form with a portrait, and a chest radiograph with a burned-in header."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from guardedvlm.cli.pictures.page import GREY, INK, WHITE, Colour, DemoPicture, Page
from guardedvlm.core.finding import Kind

Field = npt.NDArray[np.float64]

TEAL: Colour = (14, 92, 104)
PALE: Colour = (232, 242, 243)


def intake_form() -> DemoPicture:
    """A patient's intake form: every field of it is filled in."""
    page = Page(1240, 1600, (253, 253, 251))
    page.draw.rectangle([0, 0, 1240, 118], TEAL)
    page.text((70, 58), "Lakeside Valley Medical Center", 36, bold=True, fill=WHITE, kind=Kind.ORGANIZATION)
    page.text((70, 94), "Outpatient Services", 20, fill=(205, 228, 230))
    page.text((1170, 72), "PATIENT INTAKE FORM", 27, bold=True, fill=WHITE, anchor="rs")
    _identity(page)
    _contact(page)
    _insurance(page)
    _visit(page)
    _consent(page)
    questions = (
        "What is the reason for the visit?",
        "Which allergies does the form list?",
        "Is the consent section signed?",
    )
    return DemoPicture("intake-form", "Patient intake form", "clinic", page.image, tuple(page.personal), questions)


def _heading(page: Page, y: float, title: str) -> None:
    page.draw.rectangle([70, y, 1170, y + 38], PALE)
    page.text((84, y + 27), title, 20, bold=True, fill=TEAL)


def _identity(page: Page) -> None:
    _heading(page, 150, "1   Patient")
    page.paste_portrait((968, 212), 202)
    page.field((84, 232), "Patient name", "Harriet Lindqvist", kind=Kind.PERSON, width=520)
    page.field((640, 232), "Sex", "Female", kind=Kind.ATTRIBUTE, width=270)
    page.field((84, 316), "Date of birth", "03/14/1967", kind=Kind.DATE_OF_BIRTH, width=240)
    page.field((360, 316), "SSN", "219-09-9999", kind=Kind.SSN, width=244)
    page.field((640, 316), "MRN", "00482913", kind=Kind.MEDICAL_RECORD, width=270)
    page.field((84, 400), "Address", "418 Alder Creek Road, Burlington, VT 05401", kind=Kind.ADDRESS, width=826)


def _contact(page: Page) -> None:
    _heading(page, 492, "2   Contact")
    page.field((84, 574), "Phone", "(212) 555-0142", kind=Kind.PHONE, width=330)
    page.field((450, 574), "Email", "h.lindqvist@example.com", kind=Kind.EMAIL, width=460)
    page.field((84, 658), "Emergency contact", "Gunnar Lindqvist", kind=Kind.PERSON, width=330)
    page.field((450, 658), "Emergency phone", "(212) 555-0187", kind=Kind.PHONE, width=330)
    page.field((816, 658), "Relationship", "Spouse", width=354)


def _insurance(page: Page) -> None:
    _heading(page, 750, "3   Insurance")
    page.field((84, 828), "Insurance company", "Northfield Mutual Health", kind=Kind.ORGANIZATION, width=400)
    page.field((520, 828), "Member ID", "XQH447190263", kind=Kind.HEALTH_PLAN, width=330)
    page.field((886, 828), "Group number", "70418-B", kind=Kind.HEALTH_PLAN, width=284)


def _visit(page: Page) -> None:
    _heading(page, 904, "4   Visit")
    page.field((84, 982), "Reason for visit", "Persistent cough and chest pain for two weeks", width=1086)
    page.text((84, 1066), "Allergies", 16, fill=GREY)
    x = 84.0
    for label, ticked in (
        ("Penicillin", True),
        ("Latex", False),
        ("Aspirin", False),
        ("Pollen", True),
        ("None", False),
    ):
        x = page.checkbox((x, 1100), label, ticked=ticked, size=22) + 46
    page.text((84, 1146), "Current medication", 16, fill=GREY)
    page.columns(
        1182,
        [
            (84, "ls", "Drug", None),
            (480, "ls", "Dose", None),
            (700, "ls", "Frequency", None),
            (1000, "ls", "Since", None),
        ],
        18,
        bold=True,
    )
    page.rule(84, 1190, 1170, GREY)
    for row, cells in enumerate(
        (("Lisinopril", "10 mg", "once daily", "2019"), ("Albuterol inhaler", "90 mcg", "as needed", "2021"))
    ):
        page.columns(
            1218 + 36 * row, [(x, "ls", cell, None) for x, cell in zip((84, 480, 700, 1000), cells, strict=True)], 20
        )
        page.rule(84, 1228 + 36 * row, 1170)


def _consent(page: Page) -> None:
    _heading(page, 1304, "5   Consent")
    page.text((84, 1378), "I confirm that the information above is complete and consent to the examination.", 20)
    page.signature((120, 1470), 330, 3)
    page.rule(84, 1490, 560, INK)
    page.text((84, 1514), "Patient signature", 16, fill=GREY)
    page.text((640, 1478), "03/04/2026", 24, kind=Kind.DATE)
    page.rule(640, 1490, 880, INK)
    page.text((640, 1514), "Date", 16, fill=GREY)
    page.text((1170, 1566), "Form 1120   page 1 of 1", 15, fill=GREY, anchor="rs")


# ---------------------------------------------------------------- the radiograph


def chest_film() -> DemoPicture:
    """A chest film, drawn: no patient was examined for it."""
    page = Page(1280, 1400, _chest(1280, 1400))
    white = (244, 244, 244)
    page.text((36, 54), "LINDQVIST, HARRIET", 27, fill=white, kind=Kind.PERSON)
    page.text((36, 90), "DOB: 03/14/1967", 23, fill=white, kind=Kind.DATE_OF_BIRTH)
    page.text((36, 122), "MRN: 00482913", 23, fill=white, kind=Kind.MEDICAL_RECORD)
    page.text((1244, 54), "LAKESIDE VALLEY MEDICAL CENTER", 23, fill=white, anchor="rs", kind=Kind.ORGANIZATION)
    page.text((1244, 86), "03/04/2026  10:42", 23, fill=white, anchor="rs", kind=Kind.DATE)
    page.text((1244, 118), "ACC: A26118845", 23, fill=white, anchor="rs", kind=Kind.MEDICAL_RECORD)
    page.text((36, 1340), "CHEST PA", 25, fill=white)
    page.text((36, 1372), "120 kV   3.2 mAs", 20, fill=white)
    page.text((1244, 1372), "W 4096  L 2048", 20, fill=white, anchor="rs")
    page.text((84, 330), "R", 54, bold=True, fill=white)
    questions = ("Which view is this?", "Is the heart enlarged?", "What is the tube voltage?")
    return DemoPicture("chest-film", "Chest radiograph", "clinic", page.image, tuple(page.personal), questions)


def _chest(width: int, height: int) -> Image.Image:
    """Attenuation of a stylised thorax: soft tissue, lungs, heart, spine, ribs, clavicles, vessels, film grain."""
    chance = np.random.default_rng(7)
    # Half size is enough for everything but the grain: nothing in a film is sharper than two pixels.
    u, v = np.meshgrid(np.linspace(-1.12, 1.12, width // 2), np.linspace(0, 1.18, height // 2))
    side = np.abs(u)
    body = _inside(side - _outline(v), 0.022)
    dome = _dome(u)
    above = _inside(v - dome, 0.006)
    lung = _lungs(side, v) * above
    film = body * (0.50 + 0.05 * np.clip(v - 0.2, 0, 1) - 0.05 * np.exp(-(((side - 0.92) / 0.12) ** 2)))
    film -= 0.385 * lung
    film += 0.10 * _ellipse(u, v, 0.01, 0.50, 0.13, 0.50, 0.030) * body
    film += 0.27 * _ellipse(u - 0.42 * (v - 0.66), v, 0.17, 0.66, 0.27, 0.175, 0.020) * _inside(v - dome - 0.03, 0.015)
    film += 0.13 * _ellipse(u, v, 0.115, 0.345, 0.075, 0.062, 0.015)
    film += 0.08 * np.exp(-((side / 0.07) ** 4)) * (0.80 + 0.20 * np.sin(v * 84)) * body
    film -= 0.09 * np.exp(-((side / 0.034) ** 4)) * _inside(v - 0.36, 0.02)
    film += 0.10 * body * _inside(dome - v, 0.03) * np.exp(-(((v - 0.80) / 0.35) ** 2))
    film += (_ribs(side, v) + _clavicles(side, v)) * body
    film += 0.15 * _vessels(u, v, lung, chance)
    film += 0.010 * _smooth(chance, width // 2, height // 2, 90) * (0.4 + lung)
    film *= 1 - 0.08 * (u**2 + (v - 0.55) ** 2)
    film = 1.22 * film / (1 + 0.35 * film)  # the shoulder of the film's characteristic curve
    wide = Image.fromarray(film.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    grain = 0.011 * chance.standard_normal((height, width))
    levels = np.clip(np.asarray(wide) + grain + 0.04, 0, 1) ** 1.15 * 262
    grey = Image.fromarray(np.clip(levels, 0, 246).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    return grey.convert("RGB")


def _dome(u: Field) -> Field:
    """Height of the diaphragm: two domes, the right one (left in the picture) higher, falling to the angles."""
    right = _inside(u, 0.04)
    centre = 0.44 - 0.84 * right
    arch: Field = np.sqrt(np.clip(1 - ((u - centre) / 0.50) ** 2, 0, 1))
    return 0.945 - 0.02 * right - (0.175 + 0.01 * right) * arch


def _inside(distance: Field, softness: float) -> Field:
    """1 where `distance` is negative, 0 where it is positive, soft in between."""
    return 1 / (1 + np.exp(np.clip(distance / softness, -60, 60)))


def _ellipse(u: Field, v: Field, x: float, y: float, a: float, b: float, softness: float) -> Field:
    return _inside(np.hypot((u - x) / a, (v - y) / b) - 1, softness / min(a, b))


def _outline(v: Field) -> Field:
    """Half the body's width at height `v`: neck, shoulders, chest."""
    shoulder = 0.24 + 0.78 * _inside(0.135 - v, 0.028)
    return shoulder - 0.06 * np.exp(-(((v - 0.55) / 0.3) ** 2)) + 0.03 * v


def _lungs(side: Field, v: Field) -> Field:
    """Both lungs: a narrow apex, a wide base, the mediastinum left free."""
    outer = 0.26 + 0.56 * np.clip((v - 0.14) / 0.74, 0, 1) ** 0.42
    inner = 0.12 + 0.05 * np.clip((v - 0.35) / 0.5, 0, 1)
    top = 0.155 + 0.55 * np.clip(side - 0.30, 0, None) ** 2 + 0.35 * np.clip(0.30 - side, 0, None) ** 1.5
    return _inside(side - outer, 0.014) * _inside(inner - side, 0.014) * _inside(top - v, 0.012)


def _ribs(side: Field, v: Field) -> Field:
    """Ten pairs: the posterior part falls from the spine outwards, the anterior part falls inwards."""
    bones = np.zeros_like(v)
    chest = _inside(side - (0.30 + 0.56 * np.clip((v - 0.11) / 0.76, 0, 1) ** 0.42), 0.012)
    for number in range(10):
        start = 0.135 + 0.073 * number
        posterior = start - 0.035 * np.sin(np.clip(side / 0.5, 0, 1) * np.pi) + (0.16 + 0.006 * number) * side**2.2
        anterior = start + 0.205 + 0.05 * number / 9 - 0.24 * np.clip(side - 0.16, 0, None) ** 1.3
        bones += 0.105 * _bone(v - posterior, 0.0155) * _inside(0.07 - side, 0.02)
        bones += 0.048 * _bone(v - anterior, 0.0150) * _inside(0.26 - side, 0.05) * _inside(v - 0.82, 0.03)
    return bones * chest * _inside(v - 0.95, 0.05)


def _bone(distance: Field, half: float) -> Field:
    """A band whose rims are denser than its middle, as cortex is."""
    across = np.abs(distance) / half
    return _inside(across - 1, 0.10) * (0.62 + 0.38 * np.clip(across, 0, 1) ** 3)


def _clavicles(side: Field, v: Field) -> Field:
    centre = 0.205 - 0.085 * np.clip(side - 0.08, 0, None) + 0.018 * np.sin((side - 0.1) * 7)
    return 0.17 * _bone(v - centre, 0.019) * _inside(0.085 - side, 0.012) * _inside(side - 0.80, 0.02)


def _vessels(u: Field, v: Field, lung: Field, chance: np.random.Generator) -> Field:
    """Branches that wind from each hilum outwards, fork and fade."""
    seen = np.zeros_like(u)
    for sign in (-1, 1):
        for angle in np.linspace(-1.2, 1.4, 9) + chance.uniform(-0.12, 0.12, 9):
            for fork in (-1, 1):
                x, y = (u - sign * 0.15) * sign, v - 0.47
                along = x * np.cos(angle) + y * np.sin(angle)
                across = y * np.cos(angle) - x * np.sin(angle)
                bend, wave = chance.uniform(0.2, 0.9) * fork, chance.uniform(0, 6)
                across = across - bend * along**2 - 0.006 * np.sin(30 * along + wave)
                width = 0.010 * np.exp(-3.5 * np.clip(along, 0, None)) + 0.0022
                branch = np.exp(-((across / width) ** 2)) * np.exp(-4.5 * np.clip(along, 0, None))
                seen = np.maximum(seen, 0.8 * branch * _inside(-along, 0.02) * (u * sign > 0))
        seen += 0.6 * np.exp(-(((u - sign * 0.165) / 0.05) ** 2) - (((v - 0.475) / 0.07) ** 2)) * (u * sign > 0)
    return np.clip(seen, 0, 1) * np.clip(lung + 0.1, 0, 1)


def _smooth(chance: np.random.Generator, width: int, height: int, cells: int) -> Field:
    """Smooth noise of unit size with `cells` knots across."""
    knots = chance.standard_normal((cells * height // width, cells)).astype(np.float32)
    wide = Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(wide, np.float64)
