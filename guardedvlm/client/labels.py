"""What the labels of a response stand for, opened where the tenant's private key lies."""

from __future__ import annotations

from pathlib import Path

from guardedvlm.transport.reidentification import OpeningKey
from guardedvlm.v1 import guard_pb2 as pb


def labels_of(
    response: pb.Analysis | pb.RedactImageResponse | pb.ExtractFieldsResponse, key: Path
) -> dict[str, tuple[str, ...]]:
    """What the labels of a response stand for, opened here with the private key in the file `key`.

    Label -> what was read there, the longest spelling first. Raises ConfigurationError for a key that cannot be used,
    InvalidInput(SEAL_UNOPENED) for a response that was sealed for another key, or brings nothing.
    """
    return OpeningKey.load(key).open(response.reidentification.sealed, response.audit_id)
