"""What both ends of GuardService know of a response beside its message."""

from __future__ import annotations

from guardedvlm.v1 import guard_pb2 as pb

RECEIPT_KEY = "guardedvlm-receipt-bin"
"""Trailing metadata: the request's receipt (`audit.receipt`), also of one that was refused."""


def redacted_document(redaction: pb.Redaction) -> pb.Document:
    """The redacted document of a response, whatever it is; empty where it was not asked for."""
    if redaction.HasField("document") or not redaction.pages:
        return redaction.document
    return pb.Document(media_type=redaction.pages[0].media_type, content=redaction.pages[0].content)
