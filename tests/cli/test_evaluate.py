"""`guardedvlm eval` as a site uses it: labels in, figures out."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.cli.evaluate import NEEDED
from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box
from guardedvlm.evaluation.samples import Label, Sample, write_labels


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "guardedvlm", "eval", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
        timeout=280,
    )


def drawn(folder, name, lines):
    """A white page with (kind or None, name, label, text) a row, and its labels."""
    picture = Image.new("RGB", (700, 60 + 60 * len(lines)), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(28)
    labels = []
    for row, (kind, what, lead, text) in enumerate(lines):
        x, y = 30, 40 + 60 * row
        pen.text((x, y), lead, "black", font)
        x += round(font.getlength(lead))
        pen.text((x, y), text, "black", font)
        labels.append(Label(Box(*map(round, pen.textbbox((x, y), text, font))), kind, what, text))
    picture.save(folder / f"{name}.png")
    return Sample(folder / f"{name}.png", tuple(labels), {"paper": "white"})


@pytest.fixture
def folder(tmp_path):
    form = drawn(
        tmp_path,
        "form",
        [
            (Kind.PERSON, "holder", "Patient name: ", "Johanna Quillfeather"),
            (Kind.MEDICAL_RECORD, "record", "MRN: ", "47160923"),
            (None, "finding", "Findings: ", "no change"),
        ],
    )
    # A label where nothing is: it counts as missed, so that a check that cannot fail would show.
    empty = drawn(tmp_path, "empty", [(None, "finding", "Findings: ", "normal heart")])
    wrong = Label(Box(600, 5, 690, 25), Kind.PERSON, "holder", "nobody")
    write_labels(tmp_path, [form, Sample(empty.path, (*empty.labels, wrong), {"paper": "white"})])
    return tmp_path


@pytest.mark.slow
def test_labelled_documents_are_measured(folder, tmp_path):
    out = tmp_path / "report"
    done = run("docs", folder, "--out", out, "--policy", "healthcare")
    assert done.returncode == 0, done.stderr
    told = json.loads((out / "report.json").read_text())
    hidden = told["shares"]["Personal fields: hidden"]
    assert (hidden["holder"]["hits"], hidden["holder"]["n"]) == (1, 2)
    assert (hidden["record"]["hits"], hidden["record"]["n"]) == (1, 1)
    assert (hidden["paper: white"]["hits"], hidden["paper: white"]["n"]) == (2, 3)
    assert told["shares"]["Other fields: hidden (over-redaction)"]["finding"] == {
        "value": 0.0, "hits": 0, "n": 2, "low": 0.0, "high": pytest.approx(0.6576, abs=1e-4),
    }  # fmt: skip
    assert told["pictures"] == 2
    assert told["latency_ms"]["total"]["n"] == 2
    assert [one["name"] for one in told["worst"]] == ["empty.png, page 1"]
    page = (out / "report.html").read_text()
    assert "Quillfeather" not in page + done.stdout + done.stderr
    assert "47160923" not in page
    assert page.count("<img") == 1


def test_a_folder_without_labels_is_one_line(tmp_path):
    done = run("text", tmp_path, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "labels.jsonl" in done.stderr


def test_an_unknown_condition_names_the_known_ones(tmp_path):
    done = run("faces", tmp_path, "--out", tmp_path / "out", "--conditions", "nonsense")
    assert done.returncode == 2
    assert "upright" in done.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path):
    """A module of that name that cannot be found stands for a package that is not installed."""
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name in {NEEDED!r} else find(name, *rest)\n"
    )
    done = run(
        "leak", "--out", tmp_path / "out", PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    )
    assert done.returncode == 2
    assert "guardedvlm[eval]" in done.stderr


@pytest.mark.slow
def test_canaries_go_the_whole_way(tmp_path):
    out = tmp_path / "report"
    done = run("leak", "--out", out, "--pictures", "2", "--canaries", "12", "--seed", "4", "--policy", "healthcare")
    assert done.returncode == 0, done.stderr
    told = json.loads((out / "report.json").read_text())
    leaks = told["shares"]["Leaks of legible canaries (interval: bootstrap by picture)"]
    counted = leaks["leaked: read, or less than 95 % of the ink covered"]
    assert counted["n"] >= 8
    assert counted["hits"] <= 0.2 * counted["n"]
    elsewhere = told["shares"]["Canaries found elsewhere"]
    assert {"answer", "response", "trace", "metric", "log", "ledger and keys", "temporary files"} == set(elsewhere)
    assert all(share["n"] >= 20 for share in elsewhere.values())
    assert not any(elsewhere[name]["hits"] for name in ("trace", "metric", "log", "ledger and keys", "temporary files"))


@pytest.mark.slow
def test_faces_are_measured_under_conditions(tmp_path):
    portrait = tmp_path / "a.png"
    from guardedvlm.cli import pictures

    source = next(path for path in map(type(tmp_path), pictures.__path__) if path.is_dir()) / "portrait.jpg"
    with Image.open(source) as picture:
        picture.convert("RGB").save(portrait)
        width, height = picture.size
    face = Box(round(0.22 * width), round(0.26 * height), round(0.63 * width), round(0.66 * height))
    write_labels(tmp_path, [Sample(portrait, (Label(face, Kind.FACE, "face"),))])
    done = run("faces", tmp_path, "--out", tmp_path / "out", "--conditions", "^(upright|turned 90|dark)$")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    covered = told["shares"]["Labelled faces: covered"]
    assert {name: share["hits"] for name, share in covered.items()} == {
        "all": 3,
        "upright": 1,
        "turned 90": 1,
        "dark": 1,
    }
