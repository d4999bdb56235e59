"""Train the classifier of topics about people, and write `guardedvlm/guard/screen/topics.npz`.

    .venv/bin/python tests/bench/train_people.py [--folds] [--dry]

Learns from the templates in `people_templates.txt`, filled by chance with a fixed seed and every seventh one mistyped,
from the table of the rules' tests (`tests/guard/screen/topics.yaml`) and from the tuning half of `people.txt`; never
from the held-out half or the sets that are all held out. --folds also measures on the tuning half by five folds that
keep themes apart; --dry writes nothing. Prints the SHA-256 that `topic_model.HEAD` pins.
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
from people import FILE, HELD_OUT, TUNING, Sentence, sentences
from torch.nn.functional import binary_cross_entropy_with_logits

from guardedvlm.guard.detect.personal.lexicon import FREQUENCY_LIST
from guardedvlm.guard.screen.topic_model import BUCKETS, EMBEDDING, TOPICS, gram_weights, meaning_vector, plain_words
from guardedvlm.guard.screen.topics import topics_of, words_of
from guardedvlm.policy.model import Topic
from guardedvlm.reading.embedding import Sentences
from guardedvlm.reading.weights import pinned_file

HERE = Path(__file__).parent
TEMPLATES = HERE / "people_templates.txt"
TABLE = HERE.parent / "guard" / "screen" / "topics.yaml"
WEIGHTS = HERE.parents[1] / "guardedvlm" / "guard" / "screen" / "topics.npz"
APART = (FILE.with_name("people_apart.txt"), FILE.with_name("people_fresh.txt"))
SEED, SAMPLES, MISTYPED, FRAMED = 1, 5, 0.15, 0.15
TEMPLATE_WEIGHT, TABLE_WEIGHT, TUNING_WEIGHT = 1.0, 2.0, 3.0
"""What an example counts: those written as sentences count more than those filled in."""
NOISE, COMMON = 2000, 20_000
"""Texts without meaning, and how many of the most frequent words they take from."""
HIDDEN, DROPPED = 128, 0.3
"""Hidden units, and the share of them that a step of the training leaves out."""
EPOCHS, BATCH, RATE, DECAY, GRAM_DECAY = 12, 256, 2e-3, 1e-2, 1e-3
ROUNDS, PLAIN_DECAY = 80, 1e-5
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
        text = " ".join(_once_filled(template, slots, chance).split())
        if text not in seen:
            seen.add(text)
            if chance.random() < FRAMED:
                text = chance.choice(
                    (f"{chance.choice(slots['before'])} {text}", f"{text} {chance.choice(slots['after'])}")
                )
            yield _mistyped(text, chance) if chance.random() < MISTYPED else text


def _once_filled(template: str, slots: dict[str, list[str]], chance: random.Random) -> str:
    """The values of slots may have slots of their own."""
    while "{" in template:
        template = re.sub(r"\{(\w+)\}", lambda slot: chance.choice(slots[slot[1]]), template)
    return template


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


def not_held_out(examples: Sequence[Example]) -> Iterator[Example]:
    """The examples without those that happen to be a sentence of a held-out set, in the same words."""
    apart = [row for file in APART for row in sentences(file)]
    held_out = [*apart, *(row for row in sentences() if row.half == HELD_OUT)]
    known = {words_of(row.text) for row in held_out}
    yield from (example for example in examples if words_of(example.text) not in known)


def tuning_examples(rows: Sequence[Sentence]) -> Iterator[Example]:
    """Labelled sentences."""
    yield from (Example(row.text, row.topics, row.optional, TUNING_WEIGHT) for row in rows)


class Data:
    """Examples as arrays: features, labels (a column a topic), and what counts how much."""

    def __init__(self, examples: Sequence[Example], model: Sentences) -> None:
        plain = [plain_words(example.text) for example in examples]
        vectors = {text: (meaning_vector(model, text), *gram_weights(text)) for text in set(plain)}
        self.meaning, self.buckets, self.weights = zip(*map(vectors.__getitem__, plain), strict=True)
        self.labels = torch.tensor([[t in e.topics for t in TOPICS] for e in examples]).float()
        known = torch.tensor([[t not in e.unknown for t in TOPICS] for e in examples]).float()
        self.counts = known * torch.tensor([[example.weight] for example in examples])

    def inputs(self, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        """What the network reads of some examples."""
        sizes = [len(self.buckets[row]) for row in rows]
        return (
            torch.from_numpy(np.stack([self.meaning[row] for row in rows])),
            torch.from_numpy(np.concatenate([self.buckets[row] for row in rows])),
            torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)[:-1]])),
            torch.from_numpy(np.concatenate([self.weights[row] for row in rows])),
        )


class Network(torch.nn.Module):
    """`topic_model.Head` in training."""

    def __init__(self) -> None:
        super().__init__()
        units = HIDDEN + len(TOPICS)
        self.meaning = torch.nn.Linear(EMBEDDING, units)
        self.spelling = torch.nn.EmbeddingBag(BUCKETS, units, mode="sum")
        self.out = torch.nn.Linear(HIDDEN, len(TOPICS), bias=False)
        self.drop = torch.nn.Dropout(DROPPED)
        with torch.no_grad():
            torch.nn.init.normal_(self.spelling.weight, 0, 0.02)
            self.meaning.weight[HIDDEN:] = 0
            self.spelling.weight[:, HIDDEN:] = 0

    def forward(
        self, meaning: torch.Tensor, buckets: torch.Tensor, starts: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Scores of the topics."""
        units = self.meaning(meaning) + self.spelling(buckets, starts, per_sample_weights=weights)
        hidden, direct = torch.split(units, [HIDDEN, len(TOPICS)], dim=1)
        scores: torch.Tensor = direct + self.out(self.drop(torch.relu(hidden)))
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        """Fields of a `Head`."""
        found = {
            "meaning": self.meaning.weight,
            "spelling": self.spelling.weight,
            "bias": self.meaning.bias,
            "out": self.out.weight,
        }
        return {name: value.detach().numpy() for name, value in found.items()}


class Plain(torch.nn.Module):
    """What tells the pieces that are plainly about nobody, in training."""

    def __init__(self) -> None:
        super().__init__()
        self.spelling = torch.nn.EmbeddingBag(BUCKETS, 1, mode="sum")
        self.bias = torch.nn.Parameter(torch.zeros(1))
        torch.nn.init.zeros_(self.spelling.weight)

    def forward(self, buckets: torch.Tensor, starts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Scores of being about people at all."""
        scores: torch.Tensor = self.spelling(buckets, starts, per_sample_weights=weights)[:, 0] + self.bias
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        """Fields of a `Head`."""
        return {"plain": self.spelling.weight.detach().numpy()[:, 0], "plain_bias": self.bias.detach().numpy()[0]}


def trained(data: Data, rows: np.ndarray, seed: int = SEED) -> Network:
    """The network after EPOCHS over `rows` of the examples."""
    torch.manual_seed(seed)
    chance, network = np.random.default_rng(seed), Network()
    of_grams = [network.spelling.weight]
    others = [p for p in network.parameters() if p is not network.spelling.weight]
    optimiser = torch.optim.AdamW(
        [{"params": others, "weight_decay": DECAY}, {"params": of_grams, "weight_decay": GRAM_DECAY, "lr": 2 * RATE}],
        lr=RATE,
    )
    batches = -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [RATE, 2 * RATE], total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        for batch in np.array_split(chance.permutation(rows), batches):
            optimiser.zero_grad()
            loss(network, data, batch).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def loss(network: Network, data: Data, rows: np.ndarray) -> torch.Tensor:
    """Cross entropy, an example's weight each; of what is not labelled nothing."""
    entropy = binary_cross_entropy_with_logits(network(*data.inputs(rows)), data.labels[rows], reduction="none")
    counts = data.counts[rows]
    return (entropy * counts).sum() / counts.sum() * len(TOPICS)


def trained_plain(data: Data, rows: np.ndarray) -> Plain:
    """The linear head that is asked first, after ROUNDS over `rows` of the examples."""
    plain, (_, *inputs) = Plain(), data.inputs(rows)
    labels, counts = data.labels[rows].amax(1), data.counts[rows].amax(1)
    optimiser = torch.optim.LBFGS(plain.parameters(), max_iter=ROUNDS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        entropy = binary_cross_entropy_with_logits(plain(*inputs), labels, reduction="none")
        total: torch.Tensor = (entropy * counts).sum() / counts.sum() + PLAIN_DECAY * (plain.spelling.weight**2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return plain


def probabilities(network: Network, plain: Plain, data: Data, rows: np.ndarray) -> np.ndarray:
    """Of each topic, and in a last column of being about people at all."""
    inputs = data.inputs(rows)
    with torch.no_grad():
        return torch.sigmoid(torch.cat([network(*inputs), plain(*inputs[1:])[:, None]], dim=1)).numpy()


def folded_scores(data: Data, rows: Sequence[Sentence]) -> np.ndarray:
    """Probabilities of the tuning half, the last rows of `data`, each by heads that saw no sentence of its theme."""
    fixed = len(data.labels) - len(rows)
    fold = np.array([hashlib.sha256(row.theme.encode()).digest()[1] % FOLDS for row in rows])
    found = np.zeros((len(rows), len(TOPICS) + 1))
    for out in range(FOLDS):
        inside = np.concatenate([np.arange(fixed), fixed + np.flatnonzero(fold != out)])
        heads = trained(data, inside), trained_plain(data, inside)
        found[fold == out] = probabilities(*heads, data, fixed + np.flatnonzero(fold == out))
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
    torch.set_num_threads(1)
    rows = [row for row in sentences() if row.half == TUNING]
    examples = [*not_held_out([*template_examples(), *noise_examples(), *table_examples()]), *tuning_examples(rows)]
    data = Data(examples, Sentences())
    if not chosen.dry:
        rows_of_all = np.arange(len(examples))
        found = trained(data, rows_of_all).arrays() | trained_plain(data, rows_of_all).arrays()
        np.savez(WEIGHTS, **{name: value.astype(np.float16) for name, value in found.items()})
        print(len(examples), "examples;", hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), flush=True)
    if chosen.folds:
        print_folds(rows, folded_scores(data, rows))


if __name__ == "__main__":
    main()
