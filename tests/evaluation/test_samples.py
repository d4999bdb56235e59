"""Labelled folders: three layouts, and what cannot be used is an error."""

import json

import pytest
from PIL import Image

from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evaluation.samples import Label, Sample, samples, write_labels


def picture(path):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", (60, 40)).save(path)
    return path


def test_what_is_written_is_read_again(tmp_path):
    labels = (Label(Box(1, 2, 30, 9), Kind.PERSON, "holder", "Zoë Roe"), Label(Box(0, 0, 5, 5), None, "title"))
    written = [Sample(picture(tmp_path / "in" / f"{name}.png"), labels, {"light": "dark"}) for name in "ba"]
    write_labels(tmp_path, written)
    assert samples(tmp_path) == sorted(written, key=lambda sample: sample.path.name)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"file": "a.png"}',
        '{"file": "a.png", "labels": [{"box": [1, 2, 3]}]}',
        '{"file": "a.png", "labels": [{"box": [3, 2, 1, 4]}]}',
        '{"file": "a.png", "labels": [{"box": [1, 2, 3, 4], "kind": "NAME"}]}',
        '{"file": "a.png", "labels": [{"box": [1, 2, 3, 4], "knid": "PERSON"}]}',
        '{"file": "../a.png", "labels": []}',
        '{"file": "missing.png", "labels": []}',
    ],
)
def test_labels_that_cannot_be_used_are_an_error(tmp_path, line):
    picture(tmp_path / "a.png")
    (tmp_path / "labels.jsonl").write_text(f'{{"file": "a.png", "labels": []}}\n{line}\n')
    with pytest.raises(ConfigurationError) as error:
        samples(tmp_path)
    assert error.value.reason is Reason.INPUT_UNREADABLE


def test_a_folder_without_labels_is_an_error(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(ConfigurationError):
        samples(tmp_path)


def test_receipts_of_sroie(tmp_path):
    picture(tmp_path / "img" / "001.jpg")
    (tmp_path / "box").mkdir()
    (tmp_path / "key").mkdir()
    (tmp_path / "box" / "001.csv").write_text(
        "1,2,50,2,50,9,1,9,12 MAIN STREET, TOWN\n1,12,50,12,50,19,1,19,TOTAL 9.50\n1,22,9,22,9,29,1,29,ACME LTD\n"
    )
    key = {"company": "ACME LTD", "address": "12 MAIN STREET, TOWN", "date": "1/2/2019", "total": "9.50"}
    (tmp_path / "key" / "001.json").write_text(json.dumps(key))
    (sample,) = samples(tmp_path)
    assert [(label.name, label.kind) for label in sample.labels] == [
        ("address", Kind.ADDRESS),
        ("total", None),
        ("company", None),
    ]
    assert sample.labels[0].text == "12 MAIN STREET, TOWN"
    assert sample.labels[0].box == Box(1, 2, 50, 9)


def test_faces_of_imglab(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "boxes.xml").write_text(
        '<dataset><images><image file="a.jpg"><box top="3" left="2" width="10" height="20"><label>x</label></box>'
        "</image></images></dataset>"
    )
    (sample,) = samples(tmp_path)
    assert sample.labels == (Label(Box(2, 3, 12, 23), Kind.FACE, "face"),)


def test_words_take_their_share_of_the_line():
    label = Label(Box(0, 0, 100, 10), None, "line", "ab  cdef g")
    assert [(box.x0, box.x1) for box in label.words()] == [(0, 20), (40, 80), (90, 100)]
    assert list(Label(Box(0, 0, 9, 9), Kind.FACE, "face").words()) == [Box(0, 0, 9, 9)]
