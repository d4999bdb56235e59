"""Measure the answer's screen: time for an answer of 317 characters, streamed and whole, and how much it blocks.

    .venv/bin/python tests/bench/bench_screen.py [--repeats N]

One thread, in this process. "patterns": every recogniser but the named-entity model; "with NER": all of them;
"classifier": with the one of topics about people too, as in a request. The picture has 40 hidden strings. The peer, in
turn with us, is presidio-analyzer plain on the same model: the scanners of llm-guard fetch theirs from the internet.
Then: building a deny set of 3,000 strings, a look with one of strings of 2,000 lengths that begin alike, and
over-blocking: harmless sentences (README and changelog of this repository) in which a deny set of 30 strings of six
made-up people finds something.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from faker import Faker

from guardedvlm.cli.settings import find_policy
from guardedvlm.core.finding import Kind, Span
from guardedvlm.core.region import Box
from guardedvlm.core.word import Word
from guardedvlm.evaluation.share import wilson
from guardedvlm.guard.detect.personal import detector
from guardedvlm.guard.detect.personal.resolve import resolve
from guardedvlm.guard.detect.personal.view import folded
from guardedvlm.guard.screen import AnswerScreen, DenySet, Grounding, Spans
from guardedvlm.guard.screen.people import Topics, read_here
from guardedvlm.guard.screen.topics import topics_of
from guardedvlm.policy.model import Topic

ANSWER = (
    "The closing balance of the account on 31 March 2024 was 1,234.50 dollars, and the statement lists 14 payments. "
    "Of these 3 are card payments and 11 are transfers between the savings and the current account of PERSON-A. "
    "The bank charged 12.00 for the month, and nothing is overdue. The next payment is due on 4 May 2024."
)
SHOWN = (
    "Statement 31/03/2024 Closing balance $1,234.50 Charges 12.00 Transactions 14 cards 3 transfers 11 due 04/05/2024"
)
CHUNK = 5
ROOT = Path(__file__).parents[2]
Call = Callable[[], Awaitable[object]]


def secrets(people: int) -> list[tuple[Kind, str]]:
    """Five strings of each of so many made-up people."""
    made = Faker(["en_US", "de_DE", "fr_FR"])
    made.seed_instance(3)
    return [
        pair
        for _ in range(people)
        for pair in (
            (Kind.PERSON, made.name()),
            (Kind.ADDRESS, made.address().replace("\n", ", ")),
            (Kind.ACCOUNT, made.iban()),
            (Kind.PHONE, made.phone_number()),
            (Kind.UNCLEARED, made.sentence(4)),
        )
    ]


def recognisers() -> tuple[Spans, Spans]:
    """Without and with the named-entity model."""
    personal = detector.PersonalData()

    async def patterns(text: str) -> tuple[Span, ...]:
        view = folded(text)
        return resolve(span for rule in detector.RULES + detector.FLOWING for span in rule(view))

    async def everything(text: str) -> tuple[Span, ...]:
        return personal.spans(text)

    return patterns, everything


def screen(spans: Spans, topics: Topics) -> AnswerScreen:
    """As a request makes it, but for the time that this takes."""
    return AnswerScreen(POLICY, spans, DENY, {"Ann Poe": "PERSON-A"}, (), Grounding({0: PAGE}), topics=topics)


async def by_rules(texts: Sequence[str], pieces: Sequence[str]) -> frozenset[Topic]:
    """`Topics` without the classifier."""
    return frozenset[Topic]().union(*map(topics_of, texts))


PAGE = tuple(Word(text, Box(10 + 100 * at, 10, 100 + 100 * at, 30)) for at, text in enumerate(SHOWN.split()))
DENY = DenySet(secrets(8))
POLICY = find_policy("finance")


async def whole(spans: Spans, topics: Topics = by_rules) -> str:
    """The answer in one piece."""
    fresh = screen(spans, topics)
    return await fresh.push(ANSWER) + await fresh.close()


async def streamed(spans: Spans) -> list[float]:
    """Seconds of each chunk; the end's work counts to the last one."""
    fresh, times = screen(spans, by_rules), []
    for at in range(0, len(ANSWER), CHUNK):
        began = time.process_time()
        await fresh.push(ANSWER[at : at + CHUNK])
        times.append(time.process_time() - began)
    began = time.process_time()
    await fresh.close()
    times[-1] += time.process_time() - began
    return times


def told(name: str, seconds: list[float], wanted: str = "") -> None:
    """One line: median and 95th percentile."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    print(f"{name:48} p50 {p50:7.2f} ms  p95 {p95:7.2f} ms  n={len(seconds)}  {wanted}")


async def timed(call: Call) -> float:
    """Seconds of one call."""
    began = time.process_time()
    await call()
    return time.process_time() - began


def presidio() -> Callable[[], object]:
    """presidio-analyzer with its own recognisers, on the spaCy model that the guard uses."""
    from presidio_analyzer import AnalyzerEngine

    analyzer = AnalyzerEngine(nlp_engine=detector.PersonalData()._entities._analyzer.nlp_engine)
    return lambda: analyzer.analyze(ANSWER, language="en")


async def measure(repeats: int) -> None:
    """Ours and the peer in turn."""
    patterns, everything = recognisers()
    peer = presidio()
    times: dict[str, list[float]] = {name: [] for name in ("patterns", "NER", "classifier", "peer")}
    for call in (lambda: whole(patterns), lambda: whole(everything, read_here)):
        await call()
    peer()
    chunks: list[float] = []
    totals: list[float] = []
    for _ in range(repeats):
        times["patterns"].append(await timed(lambda: whole(patterns)))
        times["NER"].append(await timed(lambda: whole(everything)))
        times["classifier"].append(await timed(lambda: whole(everything, read_here)))
        began = time.process_time()
        peer()
        times["peer"].append(time.process_time() - began)
        one = await streamed(patterns)
        chunks += one
        totals.append(sum(one) / len(one))
    told(f"{len(ANSWER)} characters, patterns", times["patterns"], "wanted: p50 <= 10")
    told(f"{len(ANSWER)} characters, with NER", times["NER"], "wanted: p50 <= 25")
    told("the same, with NER and classifier", times["classifier"])
    told("presidio-analyzer plain (one look, no screen)", times["peer"])
    told("streamed, a chunk of 5, patterns", chunks)
    told("streamed, mean of an answer's chunks", totals, "wanted: <= 1")


def build(repeats: int) -> None:
    """A deny set of 3,000 strings."""
    many = secrets(600)
    seconds, looks = [], []
    for _ in range(repeats):
        began = time.process_time()
        deny = DenySet(many)
        seconds.append(time.process_time() - began)
        looks.append(looked(deny, ANSWER))
    told("deny set of 3,000 strings, built", seconds, "wanted: <= 200")
    told("deny set of 3,000 strings, one look", looks)
    beginning = "account holder number "
    alike = DenySet([(Kind.UNCLEARED, beginning + "x" * size + "7") for size in range(2_000)])
    text = (beginning + "x" * 40) * 30
    told("2,000 lengths with one beginning, one look", [looked(alike, text) for _ in range(repeats)])


def looked(deny: DenySet, text: str) -> float:
    """Seconds of one look."""
    began = time.process_time()
    deny.matches(text)
    return time.process_time() - began


def overblocking() -> None:
    """Harmless sentences that a deny set of six people's strings changes."""
    prose = "\n".join((ROOT / name).read_text() for name in ("README.md", "CHANGELOG.md"))
    lines = re.split(r"(?<=[.:;|])\s+|\n{2,}|\n(?=[-|#])", prose)
    sentences = [line.strip() for line in lines if len(line.split()) > 3]
    hidden = secrets(600)
    sets = [DenySet(hidden[at : at + 30]) for at in range(0, len(hidden), 30)]
    hits = sum(bool(deny.matches(sentence)) for deny in sets for sentence in sentences)
    print(f"{'harmless sentences changed by 30 hidden strings':48} {wilson(hits, len(sets) * len(sentences))}")


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    asyncio.run(measure(options.repeats))
    build(max(3, options.repeats // 5))
    overblocking()


if __name__ == "__main__":
    main()
