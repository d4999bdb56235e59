"""The screen: what a question may carry to the model, and what an answer may carry back.

question, history, schema -> `PromptScreen` -> ClearedPrompt; draft -> `AnswerScreen` -> released text. Both look three
times: forbidden topics, the personal-data recognisers, and the strings that are hidden in this request's picture
(`DenySet`). Both raise instead of returning a verdict, and both leave a `ScreenReport` of counts for the audit.
"""

from guardedvlm.guard.screen.answer import AnswerScreen
from guardedvlm.guard.screen.deny import DenySet, normalise_secret
from guardedvlm.guard.screen.edits import Spans
from guardedvlm.guard.screen.grounding import Grounding
from guardedvlm.guard.screen.instructions import instructions_in
from guardedvlm.guard.screen.prompt import PromptScreen, screen_prompt, with_quotes
from guardedvlm.guard.screen.report import Deed, ScreenReport, Verdict
from guardedvlm.guard.screen.topics import topics_of

__all__ = [
    "AnswerScreen",
    "Deed",
    "DenySet",
    "Grounding",
    "PromptScreen",
    "ScreenReport",
    "Spans",
    "Verdict",
    "instructions_in",
    "normalise_secret",
    "screen_prompt",
    "topics_of",
    "with_quotes",
]
