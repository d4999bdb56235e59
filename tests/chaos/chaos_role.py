"""The object of a worker role that misbehaves when it is told to; else the real one."""

import ctypes
import importlib

import numpy as np
from faults import Faults

from guardedvlm.core.finding import Finding, Kind, Span
from guardedvlm.core.region import Box
from guardedvlm.core.topic import Topic
from guardedvlm.core.word import TextLine, Word
from guardedvlm.guard.decode.isolated import Beside
from guardedvlm.worker import WithArrays

CONTENT = "Orla Quillfeather, MRN 4716-0923-71, quill@canary.example"
"""What a part that misbehaves has seen, and may say."""
FAR = Box(100_000, 100_000, 100_040, 100_040)


def _line(text):
    box = Box(300, 20, 560, 60)
    quad = ((300, 20), (560, 20), (560, 60), (300, 60))
    return TextLine(box, quad, text, 0.99, (Word(text, box),))


def _noise():
    return np.random.default_rng(5).integers(0, 256, (120, 160, 3), np.uint8)


EMPTY = {
    "read": (),
    "page": (),
    "spans": (),
    "detect": (),
    "regions": (),
    "read_regions": (),
    "topics": (),
    "decode": WithArrays(Beside((), (), None), []),
}
"""Nothing, in the form that the guard expects of each method."""
NONSENSE = {
    "read": (_line("Total"), _line(CONTENT)),
    "page": (Finding(Kind.PERSON, FAR, 1.0, CONTENT[:20], secret="Total"),),
    "spans": (Span(0, 1, Kind.PERSON, 1.0, CONTENT[:20]), Span(90_000, 90_001, Kind.SSN, 1.0, "x")),
    "detect": (Finding(Kind.FACE, FAR, 1.0, CONTENT[:20]), Finding(Kind.CODE, FAR, 1.0, "x", secret="Total")),
    "regions": (_line(CONTENT),),
    "read_regions": (_line(CONTENT), _line("Total")),
    "topics": tuple(Topic),
    "decode": WithArrays(Beside((), (None,), None), [_noise()]),
}
"""Answers of the right form, and wrong."""


class Faulty:
    """The role of `target` behind the switch."""

    def __init__(self, dependency, folder, target, **options):
        self._dependency = dependency
        self._faults = Faults(folder)
        module, _, name = target.partition(":")
        self._real = getattr(importlib.import_module(module), name)(**options)

    def __getattr__(self, method):
        def call(*arrays, **args):
            fault = "" if method == "weights" else self._faults.of(self._dependency)
            if fault == "raise":
                raise RuntimeError(CONTENT)
            if fault == "hang":
                self._faults.hang(self._dependency)
            if fault == "die":
                ctypes.string_at(0)  # a crash that would leave a core
            if fault == "empty":
                return EMPTY[method]
            if fault == "garbage":
                return CONTENT
            if fault == "nonsense":
                return NONSENSE[method]
            return getattr(self._real, method)(*arrays, **args)

        return call
