"""The compliance reviewer's web pages: read-only on the ledger, and on nothing else that the guard has.

With a desk of blind review, which is off by default, it also shows redacted pictures, and the desk writes the ledger's
log `review`.

The index is a copy for speed and never evidence: the page of one request reads its records from the ledger and checks
them in front of the reviewer.
"""
