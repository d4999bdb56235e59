"""The pages. Each reads the index or the ledger, and changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardedvlm.audit.facts import Method
from guardedvlm.console import queries
from guardedvlm.console.charts import grid_runs, over_time, ranked
from guardedvlm.console.filters import OUTCOMES, read_filters
from guardedvlm.console.index import open_index
from guardedvlm.console.library import Library, Shelf, coverage, difference, effective
from guardedvlm.console.periods import PERIODS, choose_period
from guardedvlm.console.rendering import Rendering
from guardedvlm.console.story import read_story
from guardedvlm.console.watch import Watch
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import State
from guardedvlm.errors import Reason

PAGES_SHOWN = 24
"""Grids of one document; a longer one's others are shown on demand."""


@dataclass(slots=True)
class Pages:
    """Everything behind the login."""

    watch: Watch
    rendering: Rendering
    library: Library = field(default_factory=lambda: Library(()))
    tenants: Mapping[str, str] = field(default_factory=dict)
    """The operator's names of tenants by pseudonym, where the console was given them."""

    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [
            Route("/", self.overview),
            Route("/requests", self.requests),
            Route("/requests/{request:str}", self.request),
            Route("/policies", self.policies),
            Route("/policies/diff", self.diff),
            Route("/policies/{digest:str}", self.policy),
            Route("/evidence", self.evidence),
            Route("/evidence/state", self.state),
            Route("/evidence/verify", self.verify, methods=["POST"]),
        ]

    def overview(self, request: Request) -> Response:
        """Volumes, refusals and hidden regions over time, by tenant and by policy version."""
        query = request.query_params
        with self._index() as database:
            period = choose_period(query.get("period", ""), queries.extent(database))
            asked = read_filters({name: query.get(name, "") for name in ("tenant", "policy")})
            span = queries.Span(period.since, period.until, asked.tenant, asked.policy)
            outcomes, kinds = queries.outcomes(database, span), queries.kinds(database, span)
            shares = {name: queries.shares(database, span, name) for name in ("tenant", "policy")}
            reasons, open_ = queries.reasons(database, span), queries.unfinished(database, span)
            choices = {name: queries.totals(database, name) for name in ("tenant", "policy")}
            reach = queries.reach(database)
        by_outcome, by_kind = Counter[str](), Counter[str]()
        for counter, counts in ((by_outcome, outcomes), (by_kind, kinds)):
            for _, name, number in counts:
                counter[name] += number
        order = [name for name, _ in by_kind.most_common()]
        return self._page(
            request,
            "overview.html",
            period=period,
            periods=PERIODS,
            span=span,
            by_outcome=by_outcome,
            unfinished=open_,
            by_kind=ranked(by_kind),
            reasons=ranked(dict(reasons)),
            requests_chart=over_time(outcomes, (State.RELEASED.value, State.REFUSED.value), period.since, period.until),
            kinds_chart=over_time(kinds, order, period.since, period.until),
            shares=shares,
            choices=choices,
            policy_names={row["name"]: row["label"] for row in choices["policy"]},
            reach=reach,
        )

    def requests(self, request: Request) -> Response:
        """Search. With htmx only the results, else the whole page."""
        filters = read_filters(request.query_params)
        part = "hx-request" in request.headers
        with self._index() as database:
            found = queries.search(database, filters)
            versions = () if part else queries.versions(database)
            tenants = () if part else queries.totals(database, "tenant")
            reach = queries.reach(database)
        return self._page(
            request,
            "_results.html" if part else "requests.html",
            filters=filters,
            found=found,
            counted=queries.COUNTED,
            versions=versions,
            tenants_seen=tenants,
            outcomes=OUTCOMES,
            reasons=sorted(Reason),
            kinds=sorted(Kind),
            methods=list(Method),
            reach=reach,
        )

    def request(self, request: Request) -> Response:
        """One request, read from the ledger and checked now."""
        number = request.path_params["request"]
        with self._index() as database:
            row = queries.find_request(database, number)
            logs = queries.log_names(database)
        if row is None:
            raise HTTPException(404)
        story = read_story(self.watch.ledger, logs, number, row["places"], row["shadow"])
        facts = story.facts
        shown = None if request.query_params.get("pages") == "all" else PAGES_SHOWN
        policy = facts.get("policy")
        return self._page(
            request,
            "request.html",
            story=story,
            facts=facts,
            grids=[grid_runs(bits) for bits in facts.get("hidden", ())[:shown]],
            more=max(0, len(facts.get("hidden", ())) - shown) if shown else 0,
            timings=[(name, taken, share) for name, taken, share in _shares(story.timings)],
            policy_known=policy is not None and policy["digest"] in self._shelf().documents,
        )

    def policies(self, request: Request) -> Response:
        """Versions that the ledger names, and files that the console was shown."""
        shelf = self._shelf()
        with self._index() as database:
            versions = queries.versions(database)
        seen = {version.digest for version in versions}
        unused = [document for digest, document in shelf.documents.items() if digest not in seen]
        return self._page(request, "policies.html", versions=versions, shelf=shelf, unused=unused)

    def policy(self, request: Request) -> Response:
        """One version: effective values with their origin, and what it does to the identifiers."""
        digest, shelf = request.path_params["digest"], self._shelf()
        with self._index() as database:
            version = next((one for one in queries.versions(database) if one.digest == digest), None)
        document = shelf.documents.get(digest)
        if document is None and version is None:
            raise HTTPException(404)
        return self._page(
            request,
            "policy.html",
            digest=digest,
            version=version,
            document=document,
            values=effective(document) if document else (),
            sections=coverage(document.value) if document else {},
            others=[other for key, other in shelf.documents.items() if key != digest],
        )

    def diff(self, request: Request) -> Response:
        """Two versions, and which changes are weaker or stronger."""
        shelf = self._shelf()
        old, new = (shelf.documents.get(request.query_params.get(name, "")) for name in ("old", "new"))
        if old is None or new is None:
            raise HTTPException(404)
        changes = difference(old, new)
        effects = Counter(change.effect.value for change in changes)
        return self._page(request, "diff.html", old=old.value, new=new.value, changes=changes, effects=effects)

    def evidence(self, request: Request) -> Response:
        """The state of the logs, as verified, and the ledger's own events."""
        return self._page(request, "evidence.html", **self._evidence())

    def state(self, request: Request) -> Response:
        """The part of `evidence` that changes while somebody looks."""
        return self._page(request, "_evidence.html", **self._evidence())

    async def verify(self, request: Request) -> Response:
        """Verify the whole ledger now."""
        self.watch.verify_soon()
        if "hx-request" in request.headers:
            return self._page(request, "_evidence.html", asked=True, **self._evidence())
        return RedirectResponse("/evidence", 303)

    def _evidence(self) -> dict[str, Any]:
        with self._index() as database:
            reach = queries.reach(database)
            events = [(row, json.loads(row["told"])) for row in queries.events(database)]
        return {"reach": reach, "events": events}

    def _shelf(self) -> Shelf:
        return self.library.shelf()

    def _index(self) -> IndexOr503:
        return IndexOr503(self.watch.cache)

    def _page(self, request: Request, template: str, **context: Any) -> Response:
        return self.rendering.response(request, template, watch=self.watch, tenants=self.tenants, **context)


class IndexOr503:
    """The index to read; until there is one, the page says that it is being built."""

    def __init__(self, cache: Path) -> None:
        self._opening = open_index(cache)

    def __enter__(self) -> sqlite3.Connection:
        try:
            return self._opening.__enter__()
        except sqlite3.DatabaseError:
            raise HTTPException(503) from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._opening.__exit__(kind, error, trace)  # type: ignore[arg-type]  # as the interpreter gives it
        if isinstance(error, sqlite3.DatabaseError):  # replaced by a new one in this moment
            raise HTTPException(503) from None


def _shares(timings: Sequence[tuple[str, int]]) -> list[tuple[str, int, float]]:
    longest = max((taken for _, taken in timings), default=0) or 1
    return [(name, taken, round(100 * taken / longest, 1)) for name, taken in timings]
