"""Answers about pages made by hand: a statement, an intake form, a cheque, a receipt, an X-ray's header."""

from __future__ import annotations

import json

import pytest

from guardedvlm.core.clearance import Turn
from guardedvlm.core.ports import FinishReason
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.inference.reader.answer import CANNOT_TELL, NO_TEXT, VISUAL
from guardedvlm.inference.reader.schema import filled, wanted

STATEMENT = """
FIRST NATIONAL BANK
ACCOUNT STATEMENT
Account holder: PERSON-A
Account number: ##########
Statement period: 01/03/2024 - 31/03/2024
Statement date: 31/03/2024
Date         Description            Debit      Credit     Balance
01/03/2024   Opening balance                              1,200.00
03/03/2024   Card payment grocery   45.20                 1,154.80
07/03/2024   Salary                            2,500.00   3,654.80
15/03/2024   Rent                   900.00                2,754.80
22/03/2024   Insurance              120.55                2,634.25
Closing balance                                           2,634.25
Total withdrawals: 1,065.75
Total deposits: 2,500.00
"""
INTAKE = """
RIVERSIDE CLINIC
PATIENT INTAKE FORM
Name: ############          Date of birth: ########
MRN: #######                Date of visit: 04/05/2024
Diagnosis: Acute bronchitis
Blood pressure: 128/82
Medications: Albuterol inhaler
FINDINGS
Wheezing in both lungs
No fever
Mild redness of the throat
Allergies: Penicillin
Smoker: No
"""
CHEQUE = """
GREENFIELD BANK                    No. 1042
                                   Date: 12 Jan 2024
Pay to the order of   PERSON-A                $ 1,250.00
One thousand two hundred fifty dollars
Memo   Rent January            ############
"""
RECEIPT = """
MINI MART SDN BHD
TAX INVOICE
Date: 12/02/2018   Time: 14:33
Item               Qty    Amount
NASI LEMAK         1      5.50
TEH TARIK          2      4.00
SUBTOTAL                  9.50
GST 6%                    0.57
ROUNDING                  0.03
TOTAL                     10.10
CASH                      20.00
CHANGE                    9.90
"""
XRAY = """
CITY HOSPITAL RADIOLOGY
CHEST PA PORTABLE
Study date: 2024-02-11
Accession: #########
"""


@pytest.mark.parametrize(
    ("page", "question", "answer"),
    [
        (STATEMENT, "What is the closing balance?", "The closing balance is 2,634.25."),
        (STATEMENT, "What is the opening balance?", "The opening balance is 1,200.00."),
        (STATEMENT, "What is the final balance?", "The final balance is 2,634.25."),
        (STATEMENT, "How many transactions?", "I count 4 lines with an amount in the table."),
        (STATEMENT, "What is the total of the deposits?", "The total of the deposits is 2,500.00."),
        (STATEMENT, "How much was the rent?", "The rent is 900.00."),
        (STATEMENT, "When was it issued?", "The date is 31/03/2024."),
        (STATEMENT, "What kind of document is this?", "This looks like a bank statement; it says “ACCOUNT STATEMENT”."),
        (STATEMENT, "List the transactions",
         "The page lists: Card payment grocery 45.20; Salary 2,500.00; Rent 900.00; Insurance 120.55."),
        (STATEMENT, "What is the total?",
         "More than one value fits: Total withdrawals: 1,065.75; Total deposits: 2,500.00."),
        (INTAKE, "What is the diagnosis?", "The diagnosis is Acute bronchitis."),
        (INTAKE, "Which findings are listed?",
         "FINDINGS: Wheezing in both lungs; No fever; Mild redness of the throat."),
        (INTAKE, "How many findings are listed?", "I count 3 lines under “FINDINGS”."),
        (INTAKE, "What is the blood pressure?", "The blood pressure is 128/82."),
        (INTAKE, "Does the patient smoke?", "The page says: “Smoker: No”."),
        (INTAKE, "Does the patient have a fever?", "The page says: “No fever”."),
        (INTAKE, "Is the patient allergic to anything?", "The page says: “Allergies: Penicillin”."),
        (INTAKE, "What medication does the patient take?", "Medications: Albuterol inhaler."),
        (INTAKE, "When was the visit?", "The date is 04/05/2024."),
        (CHEQUE, "What is the amount of the cheque?", "The only amount on the page is $ 1,250.00."),
        (CHEQUE, "What is the cheque number?", "The cheque number is 1042."),
        (RECEIPT, "What is the total?", "The total is 10.10."),
        (RECEIPT, "How much was paid in all?", "The total is 10.10."),
        (RECEIPT, "How much change was given?", "CHANGE: 9.90."),
        (RECEIPT, "How much is the subtotal?", "The subtotal is 9.50."),
        (RECEIPT, "How many items?", "I count 2 lines with an amount in the table."),
        (RECEIPT, "What was bought?", "The page lists: NASI LEMAK 1 5.50; TEH TARIK 2 4.00."),
        (RECEIPT, "How much did the teh tarik cost?", "TEH TARIK: 4.00."),
        (RECEIPT, "Which shop is it?", "The name at the top of the page is MINI MART SDN BHD."),
        (RECEIPT, "Was it paid in cash?", "The page says: “CASH 20.00”."),
        (XRAY, "What is the study date?", "The study date is 2024-02-11."),
    ],
)  # fmt: skip
def test_an_answer_is_a_sentence_from_the_page(ask, page, question, answer) -> None:
    found = ask(page, question)
    assert found.text == answer
    assert found.finish is FinishReason.STOP
    assert found.evidence
    assert all(0 < item.score <= 1 for item in found.evidence)


@pytest.mark.parametrize(
    ("page", "question", "text"),
    [
        (STATEMENT, "What is the IBAN?", CANNOT_TELL),
        (STATEMENT, "What is the balance at the end of the month?", CANNOT_TELL),
        (INTAKE, "What is the heart rate?", CANNOT_TELL),
        (INTAKE, "Does the patient have diabetes?", CANNOT_TELL),
        (RECEIPT, "What is the tip?", CANNOT_TELL),
        (RECEIPT, "Was it paid by card?", CANNOT_TELL),
        (RECEIPT, "?", CANNOT_TELL),
        (XRAY, "Is there a fracture?", CANNOT_TELL),
        (XRAY, "What does the X-ray look like?", VISUAL),
        ("", "What is the total?", NO_TEXT),
        (STATEMENT, "What is the account number?", "The value of “Account number” is hidden by policy."),
        (INTAKE, "What is the patient's name?", "The value of “Name” is hidden by policy."),
        (INTAKE, "What is the date of birth?", "The value of “Date of birth” is hidden by policy."),
        (XRAY, "What is the accession number?", "The value of “Accession” is hidden by policy."),
        ("SUBTOTAL   9.50\nTOTAL   ######", "What is the total?", "The value of “TOTAL” is hidden by policy."),
        ("Date: ##########\nTOTAL   9.50", "When was it issued?", "The value of “Date” is hidden by policy."),
    ],
)
def test_it_says_that_it_cannot_tell(ask, page, question, text) -> None:
    found = ask(page, question)
    assert (found.text, found.finish) == (text, FinishReason.CANNOT_TELL)


@pytest.mark.parametrize(
    ("page", "question", "text"),
    [
        (STATEMENT, "Who is the account holder?",
         "The account holder is hidden by policy; the page shows PERSON-A in its place."),
        (CHEQUE, "Who is the payee?", "The payee is hidden by policy; the page shows PERSON-A in its place."),
        ("Date of birth: DATE OF BIRTH-AB", "What is the date of birth?",
         "The date of birth is hidden by policy; the page shows DATE OF BIRTH-AB in its place."),
    ],
)  # fmt: skip
def test_the_guards_label_is_given_as_a_label(ask, page, question, text) -> None:
    assert ask(page, question).text == text


def test_evidence_is_the_box_of_the_value(ask, print_page) -> None:
    (evidence,) = ask(STATEMENT, "What is the closing balance?").evidence
    (line,) = [line for line in print_page(STATEMENT) if line.text == "2,634.25" and line.box.y0 > 400]
    assert evidence.box == line.box


def test_a_black_page_is_no_fill(answering, print_page) -> None:
    import numpy as np

    raster = np.zeros((400, 400, 3), np.uint8)
    found = answering.answer(print_page("Accession:"), raster, "What is the accession number?")
    assert found.text == CANNOT_TELL


def test_a_question_without_a_topic_takes_up_the_one_before(ask) -> None:
    history = (Turn("What is the diagnosis?", "The diagnosis is Acute bronchitis."),)
    assert ask(INTAKE, "Are you sure about that?", history).text == "The diagnosis is Acute bronchitis."


def test_a_summary_and_a_transcript(ask) -> None:
    summary = ask(RECEIPT, "Summarise this document.").text
    assert summary.startswith("This looks like a receipt. The date is 12/02/2018. The total is 10.10. It begins with: ")
    assert ask(XRAY, "Transcribe the page").text.split("\n")[1] == "CHEST PA PORTABLE"


def test_a_schema_is_filled_with_what_is_there(ask) -> None:
    schema = {
        "type": "object",
        "properties": {
            "total": {"type": "number"},
            "date": {"type": "string"},
            "items": {"type": "integer", "title": "number of items"},
            "iban": {"type": ["string", "null"]},
            "paid_in_cash": {"type": "boolean"},
        },
    }
    answer = filled(wanted(json.dumps(schema)), lambda question: ask(RECEIPT, question), lambda question: ())
    assert json.loads(answer.text) == {
        "total": 10.10,
        "date": "12/02/2018",
        "items": 2,
        "iban": None,
        "paid_in_cash": None,
    }
    assert answer.finish is FinishReason.STOP
    nothing = filled(
        wanted('{"properties": {"iban": {}}}'), lambda question: ask(RECEIPT, question), lambda question: ()
    )
    assert (nothing.text, nothing.finish) == ('{"iban": null}', FinishReason.CANNOT_TELL)


@pytest.mark.parametrize(
    "schema",
    ["x", "[]", "{}", '{"properties": {}}', '{"properties": {"a": 1}}', '{"properties": {"a": {"type": "array"}}}',
     "[" * 100_000, json.dumps({"properties": {str(i): {} for i in range(41)}})],
)  # fmt: skip
def test_a_schema_that_cannot_be_filled_is_refused(schema) -> None:
    with pytest.raises(InvalidInput) as caught:
        wanted(schema)
    assert caught.value.reason is Reason.FIELD_INVALID
