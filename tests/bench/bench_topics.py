"""Measure topics about people: recall and precision by topic on the labelled sentences, and the time of a sentence.

    .venv/bin/python tests/bench/bench_topics.py [--half tuning|held-out] [--file FILE|--receipts] [--misses] [--rules]

Recall: of the sentences that are about a topic those in which it is found. Precision: of the sentences in which it is
found those that are about it; every allowed sentence and every sentence about another topic counts. Sentences go the
way of a question: as one text to the rules and in pieces to the classifier. --rules leaves the classifier out.
--receipts: the labelled lines of ../shared/data/receipts, which say nothing of people; how many pass.
The classifier was trained and its thresholds were chosen on the tuning half: figures of that half say little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from people import FILE, HELD_OUT, TUNING, Sentence, sentences

from guardedvlm.evaluation.samples import samples
from guardedvlm.evaluation.share import Share, wilson
from guardedvlm.guard.screen.people import pieces_of
from guardedvlm.guard.screen.topic_model import TopicModel
from guardedvlm.guard.screen.topics import topics_of
from guardedvlm.policy.model import Topic

RECEIPTS = Path(__file__).parents[3] / "shared" / "data" / "receipts"

Find = Callable[[str], frozenset[Topic]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence and the topics that were found in it."""

    sentence: Sentence
    found: frozenset[Topic]

    def missed(self, topic: Topic) -> bool:
        """Whether the sentence is about `topic` and it was not found."""
        return topic in self.sentence.topics - self.found

    def wrong(self, topic: Topic) -> bool:
        """Whether `topic` was found and the sentence is not about it."""
        return topic in self.found - self.sentence.topics - self.sentence.optional


def with_classifier(model: TopicModel) -> Find:
    """Rules and classifier."""
    return lambda text: frozenset(model.topics([text], pieces_of(text)))


def verdicts(rows: Sequence[Sentence], find: Find) -> list[Verdict]:
    """What is found in each sentence."""
    return [Verdict(row, find(row.text)) for row in rows]


def recall(seen: Sequence[Verdict], topic: Topic) -> Share:
    """Found, of those that are about `topic`."""
    about = [verdict for verdict in seen if topic in verdict.sentence.topics]
    return wilson(sum(not verdict.missed(topic) for verdict in about), len(about))


def precision(seen: Sequence[Verdict], topic: Topic) -> Share:
    """About `topic`, of those in which it was found."""
    right = sum(topic in verdict.sentence.topics & verdict.found for verdict in seen)
    return wilson(right, right + sum(verdict.wrong(topic) for verdict in seen))


def allowed_passed(seen: Sequence[Verdict]) -> Share:
    """Of the allowed sentences those in which nothing was found."""
    allowed = [verdict for verdict in seen if not verdict.sentence.topics | verdict.sentence.optional]
    return wilson(sum(not verdict.found for verdict in allowed), len(allowed))


def together(shares: Sequence[Share]) -> Share:
    """All of them as one."""
    return wilson(sum(share.hits for share in shares), sum(share.n for share in shares))


def print_table(seen: Sequence[Verdict]) -> None:
    """By topic, by side, by language."""
    for topic in Topic:
        print(f"{topic:20} recall {recall(seen, topic)}  precision {precision(seen, topic)}")
    parts = {"all": seen}
    for side, name in (("q", "questions"), ("a", "answers")):
        parts[name] = [verdict for verdict in seen if verdict.sentence.side == side]
    for language in ("en", "de", "fr", "es"):
        parts[language] = [verdict for verdict in seen if verdict.sentence.language == language]
    for name, part in parts.items():
        if part:
            shares = together([recall(part, t) for t in Topic]), together([precision(part, t) for t in Topic])
            print(f"{name:20} recall {shares[0]}  precision {shares[1]}")
    print(f"{'allowed, let pass':20} {allowed_passed(seen)}")


def print_times(rows: Sequence[Sentence], find: Find) -> None:
    """Milliseconds of one core a sentence, allowed ones and others."""
    for name, part in (("about people", [r for r in rows if r.topics]), ("allowed", [r for r in rows if not r.topics])):
        times = []
        for row in part:
            began = time.process_time()  # not the wall: whatever else runs on the machine does not count
            find(row.text)
            times.append((time.process_time() - began) * 1000)
        if times:
            p50, p95 = np.percentile(times, [50, 95])
            print(f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, n={len(times)}")


def receipt_lines() -> list[Sentence]:
    """Lines of real receipts, each once, as allowed sentences."""
    lines = dict.fromkeys(label.text for sample in samples(RECEIPTS) for label in sample.labels)
    return [Sentence(line, frozenset(), frozenset(), None, "receipts", "a", "en") for line in lines]


def main() -> None:
    """Print the table of one half of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=(TUNING, HELD_OUT), help="default: all of the file")
    parser.add_argument("--file", type=Path, default=FILE, help="labelled sentences; default people.txt")
    parser.add_argument("--misses", action="store_true", help="print what was missed and wrongly found")
    parser.add_argument("--rules", action="store_true", help="rules without the classifier")
    parser.add_argument("--receipts", action="store_true", help="lines of receipts instead of labelled sentences")
    chosen = parser.parse_args()
    find = topics_of if chosen.rules else with_classifier(TopicModel())
    rows = receipt_lines() if chosen.receipts else sentences(chosen.file)
    rows = [row for row in rows if chosen.half in (None, row.half)]
    seen = verdicts(rows, find)
    print_table(seen)
    print_times(rows, find)
    for verdict in seen if chosen.misses else ():
        for topic in Topic:
            if verdict.missed(topic) or verdict.wrong(topic):
                print("missed" if verdict.missed(topic) else "wrong ", topic, verdict.sentence.text)


if __name__ == "__main__":
    main()
