"""Names in the evidence come from a closed vocabulary."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.audit.component import MAX_DIGITS, component_name, is_component_name
from guardedvlm.guard import verify_faces
from guardedvlm.guard.detect import faces
from guardedvlm.guard.detect.personal.detector import check_lists
from guardedvlm.guard.detect.personal.entities import MODELS
from guardedvlm.inference.cogvlm2 import engine as cogvlm2
from guardedvlm.inference.reader import engine
from guardedvlm.inference.reader.engine import ROLE
from guardedvlm.reading import embedding, ppocr, ppocr_v4

DIGEST = "5f" * 32


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("reader", "reader"),
        ("centerface", "centerface"),
        ("ppocr_v6", "ppocr-v6"),
        ("PP-OCRv4 det", "pp-ocrv4-det"),
        ("THUDM/cogvlm2-llama3-chat-19B", "thudm-cogvlm2-llama3-chat-19b"),
        ("rapidocr-3.10.0", "rapidocr-3.10.0"),
        ("en-core-web-sm", "en-core-web-sm"),
    ],
)
def test_known_names_are_written(name: str, written: str) -> None:
    assert component_name(name, DIGEST) == written


@pytest.mark.parametrize(
    "name",
    [
        "John Smith",
        "john-smith",
        "maria",
        "reader-john",
        "readerjohn",
        "reader-123-45-6789",
        "123-45-6789",
        "reader-123456789",
        "reader-1234567",
        "reader-1.2.3-4.5.6-7",
        "4111111111111111",
        "2024-01-31",
        "555-0199",
        "reader\n",
        "reader\nother",
        "",
        "-",
        "reader-",
        "ｒｅａｄｅｒ",
        "reader-٣٤",
        "other-nothex000000",
        "reader-" * 9 + "reader",
    ],
)
def test_anything_else_is_known_by_its_digest(name: str) -> None:
    assert component_name(name, DIGEST) in ("other-5f5f5f5f5f5f", "reader")
    assert not is_component_name(name)


def shipped() -> set[str]:
    """Names of all weights, word lists, engines and models that the product comes with, as its own parts give them."""
    own = {f"{part.PACKAGE}/{name}" for part in (ppocr, ppocr_v4, verify_faces) for name in part.WEIGHTS}
    own |= {f"{package}/{name}" for package, name, _ in (embedding.MODEL, embedding.TOKENIZER)}
    own |= {package for package, _, _ in MODELS} | set(check_lists())
    return own | {f"{faces.PACKAGE}/{faces.FILE}", "topics-minilm", "minilm-int8", ROLE, cogvlm2.NAME, cogvlm2.MODEL}


@pytest.mark.parametrize("name", sorted(shipped() | {"PP-OCRv6-small+all-MiniLM-L6-v2"}))
def test_what_the_product_ships_is_known_by_its_name(name: str) -> None:
    assert not component_name(name, DIGEST).startswith("other")


def test_no_two_that_the_product_ships_share_a_name() -> None:
    assert len({component_name(name, DIGEST) for name in shipped()}) == len(shipped())


def test_the_embedded_reader_says_a_name_that_is_known() -> None:
    """The reader makes its name itself; this looks it up where it stands."""
    assert '"PP-OCRv6-small+all-MiniLM-L6-v2"' in Path(engine.__file__).read_text()


def test_unknown_without_a_digest() -> None:
    assert component_name("maria") == "other"
    assert component_name("maria", "not hexadecimal") == "other"


@given(st.text(max_size=40), st.text(max_size=70))
def test_whatever_comes_in_a_name_comes_out(name: str, digest: str) -> None:
    assert is_component_name(component_name(name, digest))


@given(st.from_regex(r"[a-z]{0,8}(-?[0-9.]){7,20}", fullmatch=True))
def test_no_identifier_fits(name: str) -> None:
    assert sum(character.isdigit() for character in name) <= MAX_DIGITS or not is_component_name(name)
