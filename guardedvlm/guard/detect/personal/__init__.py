"""Personal data in text: recognisers, form rules and the worker role that runs them.

    labels, lexicon          what a label is, what a word is
    view                     a text as rules see it: folded, with the way back to the source
    checks, numbers, contact, dates, amounts, mrz, address, names, values, labelled      rules for text
    entities                 presidio and spaCy
    resolve                  of spans within each other the most specific
    layout, form, block, known, place, page      a read page
    detector                 PersonalData, the worker role

Importing the package loads no model.
"""

from guardedvlm.guard.detect.personal.detector import PersonalData

__all__ = ["PersonalData"]
