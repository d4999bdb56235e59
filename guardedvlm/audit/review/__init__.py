"""Blind review: redacted pictures that are kept for a while, who saw them, what was said, and the risk that follows.

Apart from the ledger, which holds only that it happened. `store` keeps pictures, `desk` shows and marks them, `risk`
counts.
"""
