"""What kind of document a page is, by the words that such documents print."""

from __future__ import annotations

from guardedvlm.inference.reader.page import Excerpt, Page, excerpt
from guardedvlm.inference.reader.wording import mentions

KINDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("a bank statement", ("bankstatement", "statementofaccount", "accountstatement"),
     ("openingbalance", "closingbalance", "withdrawal", "deposit", "debit", "balance", "sortcode", "statement")),
    ("a cheque", ("payto", "paytotheorder", "cheque", "acpayee"),
     ("theorderof", "dollars", "memo", "pay", "signature", "routing", "bank")),
    ("a passport", ("passport",), ("nationality", "surname", "givennames", "authority", "dateofexpiry", "sex")),
    ("a driving licence", ("drivinglicence", "driverlicense", "drivinglicense"), ("class", "expires")),
    ("an identity card", ("identitycard", "idcard", "identification", "personalausweis", "residencepermit"),
     ("nationality", "surname", "givennames", "dateofbirth", "cardno", "documentno", "sex", "expiry")),
    ("a laboratory report", ("laboratoryreport", "labreport", "labresults"),
     ("referencerange", "specimen", "hemoglobin", "glucose", "result", "units")),
    ("an image from a radiology department", ("xray", "radiology", "radiograph", "mammogram", "ultrasound"),
     ("accession", "portable", "chest", "lateral", "supine", "erect", "mrn", "kvp", "studydate")),
    ("a prescription", ("prescription",), ("dispense", "refill", "tablet", "dose", "sig", "rx")),
    ("a medical form", ("patientintake", "intakeform", "patientform", "medicalhistory", "patientregistration"),
     ("patient", "mrn", "allergies", "diagnosis", "medication", "insurance", "physician", "dateofbirth", "symptoms")),
    ("a medical report", ("dischargesummary", "medicalreport", "clinicalreport"),
     ("findings", "impression", "diagnosis", "patient", "physician", "history", "examination")),
    ("a receipt", ("receipt", "cashbill", "cashsale"),
     ("cash", "change", "total", "subtotal", "cashier", "gst", "rounding", "thankyou", "qty", "goodssold")),
    ("an invoice", ("invoice",), ("billto", "duedate", "paymentterms", "purchaseorder", "invoicenumber", "vat")),
)  # fmt: skip
"""Name, phrases that name it outright, phrases that such a document prints."""
TITLE, TYPICAL = 3.0, 1.0
ACCEPTED = 3.0
"""One title, or three typical phrases."""


def kind_of(page: Page) -> tuple[str, Excerpt] | None:
    """The document's kind with its article, and the line that says most for it; None when too little speaks for any."""
    best: tuple[float, str, Excerpt] | None = None
    for name, titles, typical in KINDS:
        score, source = 0.0, None
        for phrases, weight in ((titles, TITLE), (typical, TYPICAL)):
            for phrase in phrases:
                cell = next((cell for cell in page.cells if mentions(cell.text, phrase)), None)
                if cell is not None:
                    score += weight
                    source = source or excerpt(cell)
        if source is not None and score >= ACCEPTED and (best is None or score > best[0]):
            best = (score, name, source)
    return best[1:] if best else None
