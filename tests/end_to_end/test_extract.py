"""ExtractFields over a real service, on drawn receipts: real detectors, real reader, real client."""

import io
import json

import jsonschema
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardedvlm.cli import main
from guardedvlm.errors import Conflict, InvalidInput, Reason
from guardedvlm.guard.screen.edits import LABEL

pytestmark = pytest.mark.service

LINES = (
    "GREEN LEAF TRADING SDN BHD",
    "Customer: Jane Margaret Roe",
    "Date: 14/03/2018",
    "Item                 Amount",
    "Notebook              12.50",
    "Fountain pen          30.00",
    "Total                 42.50",
)
SCHEMA = {
    "type": "object",
    "properties": {
        "company": {"type": ["string", "null"]},
        "customer": {"type": ["string", "null"]},
        "date": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "amount": {"type": "number"}},
                "required": ["name", "amount"],
            },
        },
    },
    "required": ["company", "customer", "date", "total", "items"],
}


@pytest.fixture(scope="module")
def receipt():
    page = Image.new("RGB", (900, 640), "white")
    font = ImageFont.load_default(34)
    for row, line in enumerate(LINES):
        left, _, right = line.partition("   ")
        ImageDraw.Draw(page).text((60, 50 + 76 * row), left, "black", font)
        ImageDraw.Draw(page).text((640, 50 + 76 * row), right.strip(), "black", font)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def found(service, receipt):
    with service.client("bank") as client:
        return client.extract(receipt, SCHEMA, request_id="fields")


def test_the_object_is_valid_and_right(found):
    value = json.loads(found.json)
    jsonschema.validate(value, SCHEMA)
    assert (value["company"], value["date"], value["total"]) == (LINES[0], "14/03/2018", 42.5)
    assert value["items"] == [{"name": "Notebook", "amount": 12.5}, {"name": "Fountain pen", "amount": 30}]


def test_every_value_has_its_place_its_confidence_and_its_ground(found):
    fields = {field.pointer: field for field in found.fields}
    assert {"/company", "/date", "/total", "/items/0/name", "/items/1/amount"} <= fields.keys()
    for pointer in ("/company", "/date", "/total", "/items/0/name"):
        assert fields[pointer].grounded
        assert 0.5 < fields[pointer].confidence <= 1
        box = fields[pointer].places[0].box
        assert 0 <= box.x0 < box.x1 <= 900
        assert 0 <= box.y0 < box.y1 <= 640


def test_a_person_is_a_label_or_nothing(found):
    assert "Roe" not in found.json
    customer = next((field for field in found.fields if field.pointer == "/customer"), None)
    value = json.loads(found.json)["customer"]
    assert value is None or LABEL.fullmatch(value)
    assert (value is None and customer is None) or (customer.hidden and not customer.grounded)


def test_a_repeated_request_id_gives_the_same_again_and_no_other(service, receipt, found):
    with service.client("bank") as client:
        assert client.extract(receipt, SCHEMA, request_id="fields") == found
        with pytest.raises(Conflict):
            client.extract(receipt, {**SCHEMA, "title": "other"}, request_id="fields")


@pytest.mark.parametrize(
    "schema", ["", "x", "{}", '{"type": "object", "properties": {"a": {"$ref": "#"}}}', "[" * 20_001]
)
def test_a_schema_that_is_none_is_refused_before_the_document_is_looked_at(service, schema):
    with service.client("bank") as client, pytest.raises(InvalidInput) as caught:
        client.extract(b"no picture", schema)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.details["field"].startswith("schema")


def test_the_command_asks_a_service(service, receipt, tmp_path, monkeypatch, capsys):
    (tmp_path / "receipt.png").write_bytes(receipt)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    token = str(service.site.tokens["bank"])
    command = ["extract", str(tmp_path / "receipt.png"), "--schema", str(tmp_path / "schema.json")]
    command += ["--server", service.listen, "--ca", str(service.site.pki.ca), "--token-file", token]
    monkeypatch.setattr("sys.argv", ["guardedvlm", *command, "--out", str(tmp_path / "fields.json")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    value = json.loads((tmp_path / "fields.json").read_text())
    jsonschema.validate(value, SCHEMA)
    assert json.loads(capsys.readouterr().out) == value
