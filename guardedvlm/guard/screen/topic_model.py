"""The classifier of topics about people: what the rules of `topics` cannot say in words.

A piece of text becomes two vectors: its sentence embedding (all-MiniLM-L6-v2), which knows what words mean, and its
word and letter n-grams, which know spelling, typing errors and the languages that the embedding was not trained on. A
network with one hidden layer weighs both together. Its weights are `topics.npz`, trained by
`tests/bench/train_people.py` from templates and the tuning half of the labelled sentences; they are pinned like every
other weights file.

A linear head over the n-grams alone tells what is plainly about a document and of nobody ("The total is 48.20."): such
a piece costs no embedding. Words that it never saw do not count as plain.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from guardedvlm.guard.screen.topic_rules import PERSON_TOKEN
from guardedvlm.guard.screen.topics import topics_of, words_of
from guardedvlm.policy.model import Topic
from guardedvlm.reading.embedding import MODEL, Sentences
from guardedvlm.reading.weights import pinned_file

Vector = npt.NDArray[np.float32]
Grams = tuple[npt.NDArray[np.int64], Vector]

HEAD = (
    "guardedvlm.guard.screen",
    "topics.npz",
    "295dcd77789b777a832860b8a614f7223973ff1381e68792de0ddb48a91dd351",
)
TOPICS = tuple(Topic)
"""The outputs of the network, in this order."""
EMBEDDING, BUCKETS = 384, 4_096
EMBEDDING_SCALE, GRAM_SCALE = 4.0, 3.0
"""Lengths of the two vectors: how much the training can lean on each for the same weight."""
_LONG_NUMBER = re.compile(r"\d{5,}")
LETTERS = (3, 4, 5)
"""Lengths of the letter n-grams of a word: a typing error leaves some of them whole."""
_FIELD = re.compile(
    r"(?:and )?(?:who|what) (?:is|was) the (?:name of the )?(?:patient|payee|drawer|account holder|cardholder|applicant"
    r"|customer|sender|recipient|beneficiary|insured|policy holder|seller|buyer|tenant|landlord)(?: poss name)?"
    r"(?: on (?:the|this) (?:form|page|document|invoice|letter|statement|cheque|check|policy|contract|receipt))?"
    rf"|(?:and )?(?:what about )?{PERSON_TOKEN}"
    r"|(?:which|what) (?:view|projection|side|page|kind of document|form|document|card|film|scan) is (?:this|it|that)"
)
"""Asking for a field or the kind of a document identifies nobody, whatever it sounds like, nor does a label alone: a
field's value is hidden by its own kind."""
THRESHOLDS: Mapping[Topic, float] = dict.fromkeys(Topic, 0.15) | {Topic.HEALTH: 0.3, Topic.REVEAL_HIDDEN: 0.25}
"""Probability from which on a topic counts as found: the lowest from 0.15 on at which precision was 0.90 by folds of
the tuning half, that keep themes apart (`tests/bench/train_people.py --folds`)."""
PLAIN = 0.02
"""Probability of being about any topic, from the n-grams alone, below which the embedding is not asked."""


@dataclass(frozen=True, slots=True)
class Head:
    """The weights: of the hidden units and, behind them, of the direct way from each input to each topic; of the
    outputs; of what is plain. Scores are logits."""

    meaning: Vector  # units + topics, EMBEDDING
    spelling: Vector  # BUCKETS, units + topics
    bias: Vector  # units + topics
    out: Vector  # topics, units
    plain: Vector  # BUCKETS
    plain_bias: Vector

    def about_people(self, spelling: Grams) -> float:
        """Whether something spelled so may be about people at all."""
        buckets, weights = spelling
        return float(self.plain[buckets] @ weights + self.plain_bias)

    def scores(self, spelling: Grams, meaning: Vector) -> Vector:
        """One score a topic."""
        buckets, weights = spelling
        units = weights @ self.spelling[buckets] + self.meaning @ meaning + self.bias
        hidden, direct = np.split(units, [len(units) - len(TOPICS)])
        scores: Vector = direct + self.out @ np.maximum(hidden, 0)
        return scores


class TopicModel:
    """The worker role that reads questions and answers for topics. Raises Unavailable when its weights are absent or
    changed."""

    def __init__(self) -> None:
        with np.load(pinned_file(*HEAD), allow_pickle=False) as weights:
            self._head = Head(**{name: weights[name].astype(np.float32) for name in weights.files})
        self._sentences = Sentences()

    def weights(self) -> dict[str, str]:
        """Name -> SHA-256 of the weights files."""
        return {"topics-minilm": HEAD[2], "minilm-int8": MODEL[2]}

    def topics(self, texts: Sequence[str], pieces: Sequence[str]) -> list[Topic]:
        """Topics that `texts` are about by the rules, or one of `pieces` (see `pieces_of`) by the classifier."""
        found = frozenset[Topic]().union(*map(topics_of, texts), *map(self.classified, pieces))
        return sorted(found)

    def classified(self, piece: str) -> frozenset[Topic]:
        """Topics of one piece by the classifier alone."""
        plain = plain_words(piece)
        spelling = gram_weights(plain)
        if self._head.about_people(spelling) < _logit(PLAIN):
            return frozenset()
        scores = self._head.scores(spelling, meaning_vector(self._sentences, plain))
        # Not `>=`: a score that is no number counts as found.
        found = frozenset(
            topic for topic, score in zip(TOPICS, scores, strict=True) if not score < _logit(THRESHOLDS[topic])
        )
        return found - {Topic.IDENTIFY_PERSON} if _FIELD.fullmatch(plain) else found


def plain_words(text: str) -> str:
    """Folded words of `text` as both vectors read them. What a long number is says nothing of people."""
    return _LONG_NUMBER.sub("00000", words_of(text))


def meaning_vector(sentences: Sentences, plain: str) -> Vector:
    """The embedding of folded words, in the wording that it was trained on."""
    wording = plain.replace(PERSON_TOKEN, "person a").replace(" poss", "'s")
    vector: Vector = sentences.vectors([wording])[0] * np.float32(EMBEDDING_SCALE)
    return vector


def gram_weights(plain: str) -> Grams:
    """The n-grams of folded words, hashed into BUCKETS: the buckets in use, and what each weighs."""
    hashed = [zlib.crc32(gram.encode()) % BUCKETS for gram in set(_grams(plain.split()))]
    buckets, counts = np.unique(np.asarray(hashed, np.int64), return_counts=True)
    return buckets, (counts * (GRAM_SCALE / max(float(np.linalg.norm(counts)), 1e-9))).astype(np.float32)


def _grams(words: Sequence[str]) -> Iterable[str]:
    framed = ["^", *words, "$"]
    yield from (f"w{word}" for word in words)
    yield from (f"b{first}_{second}" for first, second in pairwise(framed))
    for word in (f"<{word}>" for word in words):
        yield from (f"c{word[at : at + size]}" for size in LETTERS for at in range(len(word) - size + 1))


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))
