"""Values that a record's facts are made of: hex of a fixed length, and how a fact is checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, StringConstraints

CLOSED = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of something public (policy, weights) or HMAC-SHA256 of anything else."""
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""`AuditKey.pseudonym` of a tenant, a caller or a replica."""
Grid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{256}$")]
"""32 x 32 cells in reading order, one bit each, 1 = something in the cell is hidden (`audit.grid`)."""
