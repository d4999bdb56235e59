"""Checks that a reviewer asks for: a receipt that somebody shows, and the proof that a request is in the ledger's tree.

Both are made by the audit's own code on the ledger's own files, while the reviewer waits; the index only says of which
requests there is nothing to prove. A receipt is read in memory and forgotten.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from threading import Lock

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardedvlm.audit.dsse import MAX_BYTES
from guardedvlm.audit.keys import PublicKey, PublicKeys
from guardedvlm.audit.proof import InclusionProof, ProofFailed, Proven, check_proof
from guardedvlm.audit.proof import prove as prove_inclusion
from guardedvlm.audit.receipt_proof import CLAIMS, UNSEEN, Given
from guardedvlm.audit.receipt_proof import prove as prove_receipt
from guardedvlm.console import queries
from guardedvlm.console.index import open_index
from guardedvlm.console.rendering import Rendering
from guardedvlm.console.watch import Watch
from guardedvlm.errors import ConfigurationError, Overloaded
from guardedvlm.web.body import in_memory

FORM_BYTES = 4_096
"""What a form with one file has around it."""
BUSY = "another proof is being made; try again in a moment"
_REQUEST = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A proof and what came of checking it; `problem` where there is none or it does not hold."""

    proof: InclusionProof | None = None
    proven: Proven | None = None
    problem: str = ""
    broken: bool = False
    """Whether the problem speaks against the ledger; a checkpoint that is still to come does not."""

    @property
    def key(self) -> PublicKey | None:
        """The key that signed the checkpoint."""
        return self.proven.key if self.proven else None


@dataclass(frozen=True, slots=True)
class Checks:
    """Pages of the two checks. `keys` are the public ones that an auditor was given, None where there are none. A proof
    reads a whole log, so one is made at a time."""

    watch: Watch
    rendering: Rendering
    keys: PublicKeys | None = None
    _proving: Lock = field(default_factory=Lock)

    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [
            Route("/receipts", self.show),
            Route("/receipts", self.check, methods=["POST"]),
            Route("/requests/{request:str}/proof", self.inclusion),
        ]

    def show(self, request: Request) -> Response:
        """The form."""
        return self._receipt(request)

    async def check(self, request: Request) -> Response:
        """Check a receipt, step by step."""
        try:
            whole = await in_memory(request, MAX_BYTES + FORM_BYTES)
        except Overloaded:
            return self._receipt(request, 413, problem="This is too large for a receipt.")
        async with whole.form(max_files=1, max_fields=1) as form:
            given = form.get("receipt")
            content = await given.read() if isinstance(given, UploadFile) else b""
        if not content:
            return self._receipt(request, 400, problem="No receipt was given.")
        try:
            proof = await run_in_threadpool(prove_receipt, content, Given(self.keys, ledger=self.watch.ledger))
        except ConfigurationError as error:
            return self._receipt(request, 500, problem=f"The ledger cannot be read: {error.sentence}.")
        return self._receipt(request, proof=proof)

    def inclusion(self, request: Request) -> Response:
        """Prove that a request's records are in the tree of a signed checkpoint, and check the proof."""
        number = request.path_params["request"]
        if not _REQUEST.match(number) or not self._may_exist(number):
            raise HTTPException(404)
        if not self._proving.acquire(blocking=False):
            return self._inclusion(request, number, Inclusion(problem=BUSY))
        try:
            return self._inclusion(request, number, prove_and_check(self.watch, number, self.keys))
        finally:
            self._proving.release()

    def _may_exist(self, number: str) -> bool:
        """Whether the index knows a request, or has not read all of the ledger yet."""
        try:
            with open_index(self.watch.cache) as database:
                return queries.find_request(database, number) is not None or not queries.reach(database).complete
        except sqlite3.DatabaseError:
            return True

    def _inclusion(self, request: Request, number: str, found: Inclusion) -> Response:
        part = "hx-request" in request.headers
        template = "_inclusion.html" if part else "inclusion.html"
        # htmx puts no other status into the page.
        status = 503 if found.problem == BUSY and not part else 200
        return self.rendering.response(
            request, template, status, watch=self.watch, request_id=number, found=found, keys=self.keys is not None
        )

    def _receipt(self, request: Request, status: int = 200, **context: object) -> Response:
        values = {"proof": None, "problem": "", "claims": CLAIMS, "beyond": UNSEEN, "keys": self.keys is not None}
        return self.rendering.response(request, "receipts.html", status, watch=self.watch, **(values | context))


def prove_and_check(watch: Watch, request: str, keys: PublicKeys | None) -> Inclusion:
    """The proof of a request from the ledger's files, checked as somebody without the ledger would."""
    try:
        proof = prove_inclusion(watch.ledger, request)
    except ConfigurationError as error:
        return Inclusion(problem=error.explanation or error.sentence, broken=error.reason.value == "LEDGER_BROKEN")
    if keys is None:
        return Inclusion(proof)
    try:
        return Inclusion(proof, check_proof(proof, keys))
    except ProofFailed as failed:
        return Inclusion(proof, problem=str(failed), broken=True)
