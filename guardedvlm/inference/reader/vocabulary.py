"""Words of questions, sorted by what they decide. Plain data; stems as `wording.spelled_out` gives them."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _words(
    """a an the this that these those it its is are was were be been am do does did done has have had can could will
    would shall should may might must i me my we our you your he she they them their his her of on in at by for from to
    with into about as and or not any there here what which who whom whose when where why how please tell give show find
    say said us let know read see shown listed stated printed written mentioned appear according all every each many
    much exactly also just so then get got want need doe anything something anyone someone if sure certain really"""
)
"""Words that name nothing."""
DOCUMENT = _words(
    """receipt document page picture image form paper scan bill invoice statement cheque photo file card record letter
    sheet report slip"""
)
"""What the page may be called: said of all of it, so it hardly tells one label from another."""
SUBJECT = _words("patient customer client person holder employee buyer owner applicant member man woman lady child")
"""Whom a form is about: on it "Name" is the patient's name."""
LIGHT = _words(
    "given gave charged handed over cost costs spent taken take took made make paid pay done use used new own"
)
"""Verbs that a label leaves out."""
GENERIC = _words("amount number date name value sum total code identifier figure list result")
"""Types of values: shared by many labels."""
TOTAL_WORDS = _words(
    """total paid pay payment cost price spend spent charge charged bill purchase altogether end final finally grand
    overall amount sum payable due money customer buyer owed owe fee expensive whole entire receipt invoice full come
    together worth net gross nett closing"""
)
"""A question for an amount in these words alone asks for the total of the page."""
DATE_WORDS = _words(
    """date day issued issue made dated purchase transaction happen happened receipt printed bought sale sold take place
    time year month created document bill paid invoice visit customer shop buy occur occurred"""
)
"""A question for a date in these words alone asks for the page's own date."""
ADDRESS_WORDS = _words("address full postal shop store company seller merchant business vendor supplier bank")
"""A question for an address in these words alone asks for that of the page's issuer."""
ITEM_WORDS = _words("item product article good purchase position transaction entry line order payment row booking")
"""What the rows of a table are called."""
COLUMN_NAMES = _words("name item product article good description particular detail text title position reference")
COLUMN_AMOUNTS = _words("amount price total cost sum value charge")
"""What the two columns of a table that the reader tells apart are called in a schema: a line's name and its amount."""
COUNT_LABELS = _words("number count quantity total")
"""Words of a label that prints how many there are."""
