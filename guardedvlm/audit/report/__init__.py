"""The evidence pack: what a ledger says of one tenant and one period, as a document for somebody who asks.

    collect -> Evidence -> write -> Report -> html | pdf

`collect` counts, `write` puts figures into words and tables, `html` and `pdf` draw the same document. Every figure is
counted from records, or is said to be missing.
"""
