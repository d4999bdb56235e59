"""What of an answer belongs to which page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.batch.rows import Failed, Verdict, answer_rows, failure_row, field_rows, page_answers
from guardedvlm.batch.tables import FAILURES, PAGES
from guardedvlm.errors import Internal, Reason, Refused
from guardedvlm.guard.answers import named
from guardedvlm.v1 import guard_pb2 as pb


@pytest.mark.parametrize(
    ("text", "pages", "told"),
    [
        ("The total is 12.", 1, ["The total is 12."]),
        ("Page 2: nothing of the kind", 1, ["Page 2: nothing of the kind"]),
        ("Page 1: a\nPages 2-3: b", 3, ["a", "b", "b"]),
        ("Page 3: c", 4, ["", "", "c", ""]),
        ("Pages 1, 3-4: x\nPage 2: y", 4, ["x", "y", "x", "x"]),
        ("I cannot tell.", 3, ["I cannot tell."] * 3),
        ("Page 9: beyond", 2, ["", ""]),
        ("", 2, ["", ""]),
    ],
)
def test_each_page_has_its_part(text, pages, told):
    assert page_answers(text, pages) == told


line = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.one_of(st.none(), line), min_size=2, max_size=8))
def test_what_the_guard_joins_comes_apart_again(answers):
    """As `guard.answers.joined` writes it: a line a page, whatever stands in it."""
    groups = {}
    for page, answer in enumerate(answers):
        if answer is not None:
            groups.setdefault(answer, []).append(page)
    text = "\n".join(f"{named(pages)}: {answer}" for answer, pages in groups.items())
    assert page_answers(text, len(answers)) == [answer or "" for answer in answers]


def analysis(answer, pages, finish=pb.FINISH_REASON_STOP):
    return pb.Analysis(
        answer=answer,
        finish_reason=finish,
        redaction=pb.Redaction(
            pages=[
                pb.RedactedPage(
                    page_index=index,
                    width=10,
                    height=20,
                    counts=[pb.KindCount(kind="PERSON", count=index + 1)],
                    regions=[pb.Region(kind="PERSON", label="PERSON-A")],
                    verification=pb.Verification(passes=2, residuals=[pb.KindCount(kind="DATE", count=1)]),
                )
                for index in range(pages)
            ],
            policy_digest="ab" * 32,
        ),
        model="m",
        audit_id="cd" * 16,
    )


def test_a_row_a_page():
    first, second, third = answer_rows("d", analysis("Page 1: a\nPage 3: c", 3))
    assert (first["row"], first["page"], first["pages"], first["answer"]) == ("d-00001", 1, 3, "a")
    assert (first["verdict"], second["verdict"], third["verdict"]) == ("ANSWERED", "CANNOT_TELL", "ANSWERED")
    assert (third["regions"], third["residuals"], third["passes"]) == ({"PERSON": 3}, {"DATE": 1}, 2)
    assert (third["receipt_id"], third["policy_digest"]) == ("cd" * 16, "ab" * 32)
    assert set(first) == set(PAGES)


def test_an_answer_that_was_cut_off_and_one_that_cannot_tell():
    assert answer_rows("d", analysis("a", 1, pb.FINISH_REASON_LENGTH))[0]["verdict"] == Verdict.CUT_OFF
    rows = answer_rows("d", analysis("I cannot tell.", 2, pb.FINISH_REASON_CANNOT_TELL))
    assert [(row["verdict"], row["answer"]) for row in rows] == [("CANNOT_TELL", "I cannot tell.")] * 2


@pytest.mark.parametrize("make", [answer_rows, field_rows])
def test_a_service_that_names_no_page_or_no_audit_id_gives_no_rows(make):
    told = analysis("", 1)
    shown = told if make is answer_rows else pb.ExtractFieldsResponse(redaction=told.redaction)
    for pages, name in ((0, "cd" * 16), (1, "../../x"), (1, "")):
        shown.audit_id = name
        del shown.redaction.pages[pages:]
        shown.redaction.pages.extend([pb.RedactedPage()] * (pages - len(shown.redaction.pages)))
        with pytest.raises(Internal):
            make("d", shown)
    shown.audit_id = "cd" * 16
    assert len(make("d", shown)) == 1


def test_fields_are_the_documents():
    told = analysis("", 2)
    found = pb.ExtractFieldsResponse(json='{"total":1}', redaction=told.redaction, audit_id=told.audit_id)
    first, second = field_rows("d", found)
    assert (first["fields"], second["fields"]) == ('{"total":1}', None)


def test_a_failure_tells_the_reason_and_no_more():
    row = failure_row("d", Failed(Refused(Reason.KIND_REFUSED, kind="FACE"), "id"), 2)
    assert set(row) == set(FAILURES)
    assert (row["reason"], row["code"], row["details"]) == ("KIND_REFUSED", "FAILED_PRECONDITION", "kind=FACE")
