"""docs/developer.md: the table of errors is the code's, and what the page names is there."""

import re

import pytest
from errors_table import PAGE, page_with, raised, table

from guardedvlm import client
from guardedvlm.client import AsyncClient, Client, Retry
from guardedvlm.client.requests import UPLOAD_ABOVE
from guardedvlm.config import OpenAISettings
from guardedvlm.core.field_schema import MAX_ITEMS, MAX_PROPERTIES
from guardedvlm.errors import Reason
from guardedvlm.openai_api.chat import NEUTRAL, READ
from guardedvlm.rpc.replay import KEEP_SECONDS, LARGEST
from guardedvlm.transport.listen import RECEIVE_LIMIT

TEXT = PAGE.read_text()


def test_the_table_of_errors_is_the_codes():
    assert page_with(table()) == TEXT, "run tests/errors_table.py"


def test_the_scan_finds_where_reasons_are_raised():
    found = raised()
    assert found["RESIDUAL_FOUND"] == {"Refused"}
    assert "Unavailable" in found["WORKER_DIED"]
    assert found.keys() <= set(Reason.__members__)


def test_reasons_that_the_page_names_exist():
    named = set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", TEXT))
    codes = {"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "PERMISSION_DENIED", "ALREADY_EXISTS"}
    assert {name for name in named - codes if name not in Reason.__members__} == set()


def test_numbers_are_the_codes():
    retry, settings = Retry(), OpenAISettings()
    assert (retry.attempts, retry.first_seconds, retry.longest_seconds) == (4, 0.25, 8)
    assert "up to four attempts" in TEXT
    assert "from 0.25 s to 8 s" in TEXT
    assert (UPLOAD_ABOVE, RECEIVE_LIMIT, LARGEST) == (24 * 2**20, 32 * 2**20, 64 * 2**20)
    assert KEEP_SECONDS == 600
    assert f"{MAX_PROPERTIES} properties, {MAX_ITEMS} entries" in TEXT
    assert f"max_body: {settings.max_body} " in TEXT
    assert f"most_requests: {settings.most_requests} " in TEXT
    assert settings.listen == "127.0.0.1:8452"


@pytest.mark.parametrize("name", ["max_tokens", "seed", "stream_options", "response_format"])
def test_fields_that_the_front_reads_are_told(name):
    assert name in READ
    assert name in TEXT


def test_what_is_refused_is_told():
    assert {"tools", "n", "logprobs", "stop", "store"} <= NEUTRAL.keys()


def test_both_clients_have_the_methods():
    methods = {"analyze", "stream", "extract", "redact", "stream_redact", "policy", "close"}
    for kind in (Client, AsyncClient):
        assert methods <= set(vars(kind))
    for name in re.findall(r"from guardedvlm\.client import (.+)", TEXT):
        assert all(hasattr(client, part.strip()) for part in name.split(","))
