"""Train the heads of the classifier of topics about people, and write `guardedvlm/guard/screen/topics.npy`.

    .venv/bin/python tests/bench/train_people.py [--folds] [--dry]

Learns from the templates in `people_templates.txt`, filled by chance with a fixed seed and every seventh one mistyped,
from the table of the rules' tests (`tests/guard/screen/topics.yaml`) and from the tuning half of `people.txt`; never
from the held-out half. --folds also measures on the tuning half by five folds that keep themes apart; --dry writes
nothing. Prints the SHA-256 that `topic_model.HEAD` pins.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from people import TUNING, Sentence, sentences

from guardedvlm.guard.detect.personal.lexicon import FREQUENCY_LIST
from guardedvlm.guard.screen.topic_model import BUCKETS, EMBEDDING, TOPICS, gram_vector, meaning_vector, plain_words
from guardedvlm.guard.screen.topics import topics_of
from guardedvlm.policy.model import Topic
from guardedvlm.reading.embedding import Sentences
from guardedvlm.reading.weights import pinned_file

HERE = Path(__file__).parent
TEMPLATES = HERE / "people_templates.txt"
TABLE = HERE.parent / "guard" / "screen" / "topics.yaml"
WEIGHTS = HERE.parents[1] / "guardedvlm" / "guard" / "screen" / "topics.npy"
SEED, SAMPLES, MISTYPED, FRAMED = 1, 5, 0.15, 0.15
TEMPLATE_WEIGHT, TABLE_WEIGHT, TUNING_WEIGHT = 1.0, 2.0, 3.0
"""What an example counts: those written as sentences count more than those filled in."""
NOISE, COMMON = 2000, 20_000
"""Texts without meaning, and how many of the most frequent words they take from."""
DECAY = 1e-5
ROUNDS = 80
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A text, its topics, and those that it says nothing about."""

    text: str
    topics: frozenset[Topic]
    unknown: frozenset[Topic]
    weight: float


def template_examples() -> Iterator[Example]:
    """Templates with their slots filled by chance."""
    chance = random.Random(SEED)
    slots: dict[str, list[str]] = {}
    topics: frozenset[Topic] = frozenset()
    for line in map(str.strip, TEMPLATES.read_text(encoding="utf-8").splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("= "):
            name, values = line[2:].split(":", 1)
            slots[name.strip()] = [value.strip() for value in values.split("|")]
        elif head := re.fullmatch(r"\[(\w+) \| \w\w\]", line):
            topics = frozenset() if head[1] == "none" else frozenset({Topic(head[1])})
        else:
            for text in _filled(line, slots, chance):
                yield Example(text, topics, frozenset(), TEMPLATE_WEIGHT)


def _filled(template: str, slots: dict[str, list[str]], chance: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    for _ in range(SAMPLES if "{" in template else 1):
        text = " ".join(re.sub(r"\{(\w+)\}", lambda slot: chance.choice(slots[slot[1]]), template).split())
        if text not in seen:
            seen.add(text)
            if chance.random() < FRAMED:
                text = chance.choice(
                    (f"{chance.choice(slots['before'])} {text}", f"{text} {chance.choice(slots['after'])}")
                )
            yield _mistyped(text, chance) if chance.random() < MISTYPED else text


def _mistyped(text: str, chance: random.Random) -> str:
    """One to three words of `text` with a letter doubled, left out, replaced or swapped with its neighbour."""
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if len(word) >= 3 and word.isalpha()]
    for at in chance.sample(long, min(len(long), chance.choice((1, 1, 2, 3)))):
        word, i = words[at], chance.randrange(len(words[at]) - 1)
        other = chance.choice(string.ascii_lowercase)
        changed = (word[i + 1] + word[i] + word[i + 2 :], word[i + 1 :], other + word[i + 1 :], word[i] + word[i:])
        words[at] = word[:i] + chance.choice(changed)
    return " ".join(words)


def noise_examples() -> Iterator[Example]:
    """Allowed texts that mean nothing: scraps of words and numbers, as lines of receipts and bad scans are."""
    chance = random.Random(SEED)
    common = [line.split()[0] for line in pinned_file(*FREQUENCY_LIST).read_text("utf-8-sig").splitlines()[:COMMON]]
    for _ in range(NOISE):
        scraps = [_scrap(chance, common) for _ in range(chance.randint(2, 6))]
        yield Example(" ".join(scraps), frozenset(), frozenset(), TEMPLATE_WEIGHT)


def _scrap(chance: random.Random, common: Sequence[str]) -> str:
    match chance.randrange(6):
        case 0:
            return "".join(chance.choices(chance.choice((string.ascii_lowercase, "abc")), k=chance.randint(1, 8)))
        case 1:
            return "".join(
                chance.choice("bdgjklmnprstwyz") + chance.choice("aeiou") for _ in range(chance.randint(1, 4))
            )
        case 2:
            return "".join(chance.choices(string.digits, k=chance.randint(1, 6)))
        case 3:
            return chance.choice(("total", "and", "the", "page", "account", "in", "of", "is", "no", "with", "bill"))
        case _:
            return chance.choice(common)


def table_examples() -> Iterator[Example]:
    """The sentences of the rules' own table: of each only one topic is labelled."""
    for name, rows in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items():
        topics = frozenset() if name == "none" else frozenset({Topic(name)})
        unknown = frozenset(Topic) - topics if topics else frozenset()
        yield from (Example(text, topics, unknown, TABLE_WEIGHT) for text in rows)


def tuning_examples(rows: Sequence[Sentence]) -> Iterator[Example]:
    """Labelled sentences."""
    yield from (Example(row.text, row.topics, row.optional, TUNING_WEIGHT) for row in rows)


class Data:
    """Examples as arrays: features, labels (a column a topic, and one for any), and what counts how much."""

    def __init__(self, examples: Sequence[Example], model: Sentences) -> None:
        plain = [plain_words(example.text) for example in examples]
        self.meaning = torch.from_numpy(np.stack([meaning_vector(model, text) for text in plain]))
        self.spelling = torch.from_numpy(np.stack([gram_vector(text) for text in plain]))
        self.labels = torch.tensor([[t in e.topics for t in TOPICS] + [bool(e.topics)] for e in examples]).float()
        known = torch.tensor([[t not in e.unknown for t in TOPICS] + [True] for e in examples]).float()
        self.counts = known * torch.tensor([[example.weight] for example in examples])

    def rows(self, which: Sequence[int]) -> Data:
        """The same of some examples."""
        part = object.__new__(Data)
        for name, value in vars(self).items():
            setattr(part, name, value[list(which)])
        return part


def trained(data: Data) -> torch.Tensor:
    """Rows of [bias, embedding, n-grams], one a topic and a last one that has no weights for the embedding."""
    head = torch.zeros(len(TOPICS) + 1, 1 + EMBEDDING + BUCKETS, requires_grad=True)
    mask = torch.ones_like(head)
    mask[-1, 1 : 1 + EMBEDDING] = 0
    optimiser = torch.optim.LBFGS([head], max_iter=ROUNDS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            scores(head * mask, data), data.labels, reduction="none"
        )
        total = (entropy * data.counts).sum() / data.counts.sum() * len(TOPICS) + DECAY * (head[:, 1:] ** 2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return (head * mask).detach()


def scores(head: torch.Tensor, data: Data) -> torch.Tensor:
    """Logits of every example."""
    bias, meaning, spelling = torch.split(head, [1, EMBEDDING, BUCKETS], dim=1)
    return bias.T + data.meaning @ meaning.T + data.spelling @ spelling.T


def folded_scores(data: Data, rows: Sequence[Sentence]) -> np.ndarray:
    """Probabilities of the tuning half, the last rows of `data`, each by heads that saw no sentence of its theme."""
    fixed = len(data.labels) - len(rows)
    fold = [hashlib.sha256(row.theme.encode()).digest()[1] % FOLDS for row in rows]
    found = np.zeros((len(rows), len(TOPICS) + 1))
    for out in range(FOLDS):
        inside = [fixed + i for i, f in enumerate(fold) if f != out]
        outside = [i for i, f in enumerate(fold) if f == out]
        head = trained(data.rows([*range(fixed), *inside]))
        found[outside] = torch.sigmoid(scores(head, data.rows([fixed + i for i in outside]))).numpy()
    return found


def print_folds(rows: Sequence[Sentence], found: np.ndarray) -> None:
    """Recall and precision of rules and classifier by topic and threshold; recall of the first head."""
    for column, topic in enumerate(TOPICS):
        about = np.array([topic in row.topics for row in rows])
        counted = np.array([topic not in row.optional for row in rows])
        rules = np.array([topic in topics_of(row.text) for row in rows])
        shown = []
        for threshold in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
            flagged = ((found[:, column] >= threshold) | rules) & counted
            hits = int((flagged & about).sum())
            shown.append(f"{threshold}: {hits / about.sum():.2f}/{hits / max(1, flagged.sum()):.2f}")
        print(f"{topic:20}", *shown)
    about = np.array([bool(row.topics) for row in rows])
    for limit in (0.01, 0.02, 0.03, 0.05, 0.1):
        passed = found[:, -1] >= limit
        shares = (passed & about).sum() / about.sum(), (passed & ~about).sum() / (~about).sum()
        print(f"first head {limit}: passes {shares[0]:.3f} of what is about people, {shares[1]:.3f} of the rest")


def main() -> None:
    """Train on everything and write the weights; measure by folds where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", action="store_true", help="measure on the tuning half")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    chosen = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rows = [row for row in sentences() if row.half == TUNING]
    examples = [*template_examples(), *noise_examples(), *table_examples(), *tuning_examples(rows)]
    data = Data(examples, Sentences())
    if not chosen.dry:
        np.save(WEIGHTS, trained(data).numpy().astype(np.float16), allow_pickle=False)
        print(len(examples), "examples;", hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), flush=True)
    if chosen.folds:
        print_folds(rows, folded_scores(data, rows))


if __name__ == "__main__":
    main()
