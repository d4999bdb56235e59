"""The closed subset of JSON Schema that fields can be extracted with."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.field_schema import MAX_PROPERTIES, parse_fields
from guardedvlm.errors import InvalidInput, Reason

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ .-]{0,12}", fullmatch=True)
WORDS = st.text(st.characters(codec="ascii", categories=("L", "N", "Zs")), max_size=12)
LABELS = st.fixed_dictionaries({}, optional={"title": WORDS, "description": WORDS})
CHOICES = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=4, unique=True)
SCALARS = st.one_of(
    st.sampled_from(["string", "number", "integer", "boolean"]).flatmap(
        lambda kind: st.sampled_from([{"type": kind}, {"type": [kind, "null"]}, {"type": ["null", kind]}])
    ),
    st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(1, 1000)),
    st.builds(lambda texts: {"enum": texts}, CHOICES),
    st.builds(lambda texts: {"type": ["string", "null"], "enum": [*texts, None]}, CHOICES),
)


def objects(values):
    def whole(properties, required, words):
        return {"type": "object", "properties": properties, "required": sorted(properties)[:required], **words}

    return st.builds(whole, st.dictionaries(NAMES, values, min_size=1, max_size=4), st.integers(0, 4), LABELS)


LISTS = st.builds(lambda items: {"type": "array", "items": items, "maxItems": 7}, SCALARS | objects(SCALARS))
SCHEMAS = objects(SCALARS | LISTS)


def refusal(schema):
    with pytest.raises(InvalidInput) as caught:
        parse_fields(schema if isinstance(schema, str) else json.dumps(schema))
    assert caught.value.reason is Reason.FIELD_INVALID
    return caught.value.details["field"]


@given(SCHEMAS)
@settings(max_examples=40)
def test_what_it_takes_is_json_schema_and_reads_the_same_again(schema):
    fields = parse_fields(json.dumps(schema))
    for document in (fields.document(), json.loads(fields.encoded())):
        jsonschema.Draft202012Validator.check_schema(document)
        assert parse_fields(json.dumps(document)).document() == document
    assert [*parse_fields(fields.encoded()).fixed()] == [*fields.fixed()]


@given(SCHEMAS)
@settings(max_examples=40)
def test_an_engine_may_always_say_that_it_does_not_know(schema):
    fields = parse_fields(json.dumps(schema))
    lists = {name for name, body in schema["properties"].items() if body.get("type") == "array"}
    nothing = {name: [] if name in lists else None for name in schema["properties"]}
    jsonschema.validate(nothing, json.loads(fields.encoded()))


def text(**more):
    return {"type": "object", "properties": {"name": {"type": "string", **more}}}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ("x", "schema"), ("[]", "schema"), ("1", "schema"), ("[" * 100_000, "schema"), (" " * 30_000, "schema"),
        ('{"type": "object", "properties": {"a": {"type": "string"}, "a": {"type": "number"}}}', "schema"),
        ({}, "schema.type"), ({"type": "array"}, "schema.type"), ({"type": "object"}, "schema.properties"),
        ({"type": "object", "properties": {}}, "schema.properties"),
        ({**text(), "additionalProperties": True}, "schema.additionalProperties"),
        ({**text(), "required": ["other"]}, "schema.required"), ({**text(), "$ref": "#"}, "schema"),
        ({**text(), "patternProperties": {}}, "schema"), (text(pattern="(a+)+$"), "schema.properties.0"),
        (text(maxLength=100_000), "schema.properties.0.maxLength"),
        (text(maxLength=True), "schema.properties.0.maxLength"),
        (text(enum=[]), "schema.properties.0.enum"), (text(enum=["a", None]), "schema.properties.0.enum"),
        (text(enum=[1]), "schema.properties.0.enum"), (text(description="x" * 400), "schema.properties.0"),
        (text(title="a\u202eb"), "schema.properties.0"), (text(default="Jane Roe"), "schema.properties.0"),
        ({"type": "object", "properties": {"a\nb": {"type": "string"}}}, "schema.properties.0"),
        ({"type": "object", "properties": {"ﬁeld": {"type": "string"}}}, "schema.properties.0"),
        ({"type": "object", "properties": {"a": {"type": ["string", "number"]}}}, "schema.properties.0.type"),
        ({"type": "object", "properties": {"a": text()}}, "schema.properties.0.type"),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "array"}}}},
         "schema.properties.0.items.type"),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {
            "type": "object", "properties": {"b": {"type": "array", "items": {"type": "string"}}}}}}},
         "schema.properties.0.items.properties.0.type"),
        ({"type": "object", "properties": {f"a{n}": {"type": "string"} for n in range(MAX_PROPERTIES + 1)}},
         "schema.properties"),
        ({"type": "object", "properties": {f"a{n}": {"type": "array", "items": text()} for n in range(30)}},
         "schema.properties"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_its_place_and_nobodys_words(schema, place):
    assert refusal(schema) == place
