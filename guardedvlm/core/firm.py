"""How firms are called: legal forms and words for trades, in the languages of receipts and letterheads.

Both zones ask: the guard, so that a merchant is no person to it, and the reader, for who issued a page. Words for
practices ("clinic", "chambers", "notary") are left out: these bear the names of those who work there.
"""

from __future__ import annotations

import re

_LEGAL_ANY_CASE = (
    r"sdn\.? ?b[hn]d|bhd|s/b|pte\.? ?ltd|pvt\.? ?ltd|pty\.? ?ltd|co\.?,? ?ltd|inc|llc|llp|ltd|limited|pty|plc|corp|"
    r"corporation|incorporated|gmbh(?: ?& ?co\.? ?kg)?|ohg|ltda|s\.?a\.?r\.?l|s\.p\.a|s\.r\.l|s\.a\.s|s\.r\.o|"
    r"sp\. ?z ?o\.? ?o|d\.o\.o|b\.v|n\.v|a/s|aps|oyj?|tbk|k\.k"
)
_LEGAL_AS_WRITTEN = r"AG|KG|UG|SE|S\.?A|S\.?L|SAS|SRL|SpA|BV|NV|AB|KFT|Kft|Co\."
LEGAL = rf"(?:(?i:{_LEGAL_ANY_CASE})|{_LEGAL_AS_WRITTEN})"
"""Pattern of a legal form, with one letter that OCR confuses in the commonest of them. Capitals alone decide on those
that are words or syllables otherwise."""

LEADING = (
    r"restoran|perniagaan|kedai(?: ?(?:kopi|makan|runcit|ubat|buku|papan))?|pasar ?(?:mini|raya)|syarikat|perusahaan|"
    r"pustaka|gerai|warung|toko|rumah makan|restaurante?|ristorante|trattoria|osteria|cafe|café|caffè|bistro|brasserie|"
    r"boulangerie|pâtisserie|librairie|boutique|hotel|hôtel|gasthof|gasthaus|bäckerei|metzgerei|panadería|tienda|"
    r"supermercado|ferretería|papelería|supermarché|supermarkt"
)
"""Words for a trade that stand before a firm's own name."""
TRAILING = (
    r"enterprises?|trading|traders|holdings?|restaurant|restoran|cafe|café|bistro|bakery|bakeries|pharmacy|"
    r"stationery|hardware|machinery|electrical|engineering|supermarket|hypermarket|minimarket|mini ?mart|mart|"
    r"stores?|bookstore|bookshop|boutique|hotel|motel|diner|grill|pizzeria|butchery|florist|supplies|supply|"
    r"industries|packaging|logistics|transport|motors?|workshop|printing|catering|seafood|niaga"
)
"""Words for a trade that stand behind it."""

_FIRM = re.compile(rf"(?<!\w)(?:{LEGAL}|(?i:{LEADING}|{TRAILING}))(?!\w)")
_LEGAL = re.compile(rf"(?<!\w){LEGAL}(?!\w)")


def has_legal_form(text: str) -> bool:
    """Whether a legal form stands in `text`."""
    return _LEGAL.search(text) is not None


def sounds_like_firm(text: str) -> bool:
    """Whether a legal form or a word for a trade stands in `text`."""
    return _FIRM.search(text) is not None


def without_legal_form(text: str) -> str:
    """What of a name is a firm's own, its legal form left out."""
    return _LEGAL.sub(" ", text)
