"""Values of several pages as one object, and what is put back after the screen."""

import json

import pytest

from guardedvlm.core.field_schema import parse_fields, pointer
from guardedvlm.core.ports import Reading
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.screen.leaves import ABSENT, Leaf, PageObject, border, combined, parted, rebuilt

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "total": {"type": ["number", "null"]},
        "kind": {"enum": ["bill", "note"]},
        "lines": {
            "type": "array",
            "maxItems": 3,
            "items": {"type": "object", "properties": {"what": {"type": "string"}, "sum": {"type": "number"}}},
        },
    },
    "required": ["total"],
}
NOTHING = {"name": None, "age": None, "total": None, "kind": None, "lines": []}


@pytest.fixture
def fields():
    return parse_fields(json.dumps(SCHEMA))


def test_a_value_is_the_first_page_that_tells_it_and_a_list_has_all_entries(fields):
    line = {"what": "tea", "sum": 1.5}
    empty = {"what": " ", "sum": None}
    pages = [
        PageObject({**NOTHING, "name": "", "lines": [line, empty]}, (0,), {"/lines/0/sum": Reading("", 0.5)}),
        PageObject({**NOTHING, "name": "Roe", "total": 3, "lines": [line]}, (1, 2), {"/name": Reading("", 0.9)}),
        PageObject({**NOTHING, "name": "Doe", "total": 4, "lines": [line, line]}, (3,)),
    ]
    leaves = {pointer(leaf.place): leaf for leaf in combined(fields, pages)}
    assert leaves["/name"].value == "Roe"
    assert leaves["/total"].value == 3
    assert leaves["/name"].pages == (1, 2)
    assert leaves["/name"].reading.confidence == 0.9
    assert leaves["/lines/0/sum"].reading.confidence == 0.5
    assert [leaves[f"/lines/{n}/what"].pages for n in range(3)] == [(0,), (1, 2), (3,)]
    assert "/lines/3/what" not in leaves


def test_what_the_screen_left_goes_where_it_fits_else_null_else_nothing(fields):
    left = {("name",): "PERSON-A", ("age",): "[AGE]", ("total",): "[AMOUNT]", ("kind",): "[X]"}
    left |= {("lines", 0, "what"): "tea", ("lines", 0, "sum"): "[AMOUNT]"}
    assert rebuilt(fields, left) == {"name": "PERSON-A", "total": None, "lines": [{"what": "tea"}]}


def test_a_required_value_that_may_not_be_null_refuses_the_object():
    fields = parse_fields('{"type": "object", "properties": {"t": {"type": "number"}}, "required": ["t"]}')
    with pytest.raises(Refused) as caught:
        rebuilt(fields, {("t",): "[AMOUNT]"})
    assert caught.value.reason is Reason.EXTRACTION_INVALID
    assert caught.value.details == {"field": "schema.properties.0"}
    assert rebuilt(fields, {("t",): 2.5}) == {"t": 2.5}


def test_a_boolean_is_no_number_and_a_text_keeps_its_length():
    fields = parse_fields(
        '{"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string", "maxLength": 3}}}'
    )
    assert rebuilt(fields, {("n",): True, ("s",): "PERSON-A"}) == {}
    assert rebuilt(fields, {("n",): 2.0, ("s",): ABSENT}) == {"n": 2.0}


def test_texts_come_apart_where_they_were_joined():
    assert parted(f"{border(0)}a\nb\n{border(1)}\n{border(3)}c", 4) == ["a\nb", "", "", "c"]
    assert parted("", 2) == ["", ""]


def test_the_name_that_stands_before_a_value_has_no_digit():
    assert Leaf(("cardNumber2_of 3",), "4111", (0,)).named == "card Number of: "
    assert Leaf(("list", 0), 5, (0,)).named == "list: "
    assert Leaf(("paid",), True, (0,)).named == Leaf(("who",), "DATE-B+12d", (0,)).named == ""
    assert pointer(("a/b~c", 0)) == "/a~1b~0c/0"


def test_a_whole_number_is_one_however_json_writes_it(fields):
    (leaf,) = combined(fields, [PageObject({**NOTHING, "total": 57.0}, (0,))])
    assert leaf.text == "57"
