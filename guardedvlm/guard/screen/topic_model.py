"""The classifier of topics about people: what the rules of `topics` cannot say in words.

A piece of text becomes two vectors: its sentence embedding (all-MiniLM-L6-v2), which knows what words mean, and its
word and letter n-grams, which know spelling, typing errors and the languages that the embedding was not trained on. A
linear head per topic weighs both. The head is `topics.npy`, trained by `tests/bench/train_people.py` from templates and
the tuning half of the labelled sentences; it is pinned like every other weights file.

A first head over the n-grams alone tells what is plainly about a document and of nobody ("The total is 48.20."): such
a piece costs no embedding. Words that it never saw do not count as plain.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from guardedvlm.guard.screen.topic_rules import PERSON_TOKEN
from guardedvlm.guard.screen.topics import topics_of, words_of
from guardedvlm.policy.model import Topic
from guardedvlm.reading.embedding import MODEL, Sentences
from guardedvlm.reading.weights import pinned_file

Vector = npt.NDArray[np.float32]

HEAD = (
    "guardedvlm.guard.screen",
    "topics.npy",
    "7f1fcc7af340450a9b57234d57015922ea544ab68216bc4baeb3e677c52739ea",
)
TOPICS = tuple(Topic)
"""The rows of the head, in this order; the last row is that of the plain pieces."""
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
    r"|(?:which|what) (?:view|projection|side|page|kind of document|form|document|card|film|scan) is (?:this|it|that)"
    r"|(?:it|this|the page) (?:looks like|is|seems to be|says) (?:an? )?(?:\w+ )?(?:identity card|card|passport"
    r"|receipt|invoice|cheque"
    r"|check|form|statement|letter|film|radiograph|document|prescription|report|licence|license|bill|page)(?: of \w+)?"
)
"""Asking for a field or the kind of a document identifies nobody, whatever it sounds like: a field's value is hidden by
its own kind."""
_COLOUR = "(?:white|black|gr[ae]y|red|blue|green|yellow|colou?r|bold)"
_PRINT = re.compile(
    r"(?:please )?(?:what (?:is|does|are)|where is|read(?: out)?|show|which words are) (?:the |printed |written )?"
    rf"(?:(?:small|smallest|fine|large|largest|faint|faintest|{_COLOUR})"
    rf" (?:print|text|letters|words|line|type)(?: on {_COLOUR}| say| in)?|{_COLOUR} on (?:a )?{_COLOUR}(?: ground)?)"
    r"|describing it needs a vision language model such as cog vlm2"
)
"""What is asked of print as such: which is the smallest, what is white on black. The last is the embedded reader's own
answer about a picture without text."""
THRESHOLD = 0.3
"""Probability from which on a topic counts as found: by folds of the tuning half, that keep themes apart, recall and
precision were 0.95 and 0.90 there (before the last templates were added), and one of them lower on either side."""
PLAIN = 0.02
"""Probability of being about any topic, from the n-grams alone, below which the embedding is not asked."""


class TopicModel:
    """The worker role that reads questions and answers for topics. Raises Unavailable when its weights are absent or
    changed."""

    def __init__(self) -> None:
        head = np.load(pinned_file(*HEAD), allow_pickle=False).astype(np.float32)
        self._bias, self._meaning, self._spelling = np.split(head, [1, 1 + EMBEDDING], axis=1)
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
        if _PRINT.fullmatch(plain):
            return frozenset()
        spelling = self._spelling @ gram_vector(plain) + self._bias[:, 0]
        if spelling[-1] < _logit(PLAIN):
            return frozenset()
        scores = spelling + self._meaning @ meaning_vector(self._sentences, plain)
        # Not `>=`: a score that is no number counts as found.
        found = frozenset(
            topic for topic, score in zip(TOPICS, scores[:-1], strict=True) if not score < _logit(THRESHOLD)
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


def gram_vector(plain: str) -> Vector:
    """The n-grams of folded words, hashed into BUCKETS."""
    counts = np.zeros(BUCKETS, np.float32)
    for gram in set(_grams(plain.split())):
        counts[zlib.crc32(gram.encode()) % BUCKETS] += 1
    return counts * np.float32(GRAM_SCALE / max(float(np.linalg.norm(counts)), 1e-9))


def _grams(words: Sequence[str]) -> Iterable[str]:
    framed = ["^", *words, "$"]
    yield from (f"w{word}" for word in words)
    yield from (f"b{first}_{second}" for first, second in pairwise(framed))
    for word in (f"<{word}>" for word in words):
        yield from (f"c{word[at : at + size]}" for size in LETTERS for at in range(len(word) - size + 1))


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))
