"""Whether a question is in a language that the policy names, so that recognisers and topic rules can examine it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from guardedvlm.guard.detect.personal.lexicon import is_common_word
from guardedvlm.guard.screen.topics import words_of

MIN_WORDS = 3
"""Words from which on a language can be told; "IBAN?" has none."""
MIN_KNOWN_SHARE = 1 / 3
"""Share of known words below which English is ruled out: names and numbers are a large part of many questions."""

# Single letters are words of too many languages to tell one from another.
FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(word for word in words.split() if len(word) > 1 or language == "en")
    for language, words in {
        "en": "the of and is are was were what which who how when where why does do did this that these in on at for "
        "from to with by an it its can you there be has have any me my or not show list give tell read page",
        "de": "der die das den dem des ein eine einen einer und ist sind war wer wie wann wo warum welche welcher "
        "welches dieser diese dieses im auf fur von mit zu bei nicht steht gibt hat haben unter uber zeige "
        "nenne bitte lautet",
        "fr": "le la les l un une des du de et est sont etait qui quel quelle quels quelles que quoi ou quand comment "
        "pourquoi ce cette cet ces dans sur pour par avec il elle a y ne pas montre donne moi au aux",
        "es": "el la los las un una unos unas del de y es son esta estan fue quien quienes cual cuales que donde "
        "cuando como por este estos estas en para con hay tiene no muestra dame al cuanto cuantos",
        # Not examined in any policy; named so that they are not taken for a neighbour that is.
        "it": "il lo gli uno della dello delle degli e chi quale quali cosa dove quando perche questo questa questi "
        "nel nella sul sulla di che come sono era con per da ha nome",
        "pt": "o os as um uma do da dos das e quem qual quais onde quando este esta isso isto no na nos nas em para "
        "com nao tem foi sao como por que essa esse",
        "nl": "het een van en wie welke hoe wanneer waar waarom deze dit dat op voor met naar niet zijn heeft staat er "
        "wat uit bij onder",
        "pl": "kto co jest jaki jaka jakie gdzie kiedy na w z do nie ten ta to tej tym sie czy oraz",
        "tr": "bu kim ne nedir nerede hangi kac ve bir icin ile mi var yok olan kisi",
        "id": "siapa ini itu apa yang di dan berapa mana dari untuk dengan adalah orang nama",
        "sv": "vem vad ar det den detta denna som och pa i av for med inte finns hur nar var",
    }.items()
}


def is_examinable(text: str, languages: Collection[str]) -> bool:
    """Whether `text` is short, or reads like one of `languages` (codes of `policy.text.languages`).

    Counts function words; a tie goes to the policy's languages. For English the share of common words counts too.
    """
    words = [word for word in words_of(text).split() if word.isalpha()]
    if len(words) < MIN_WORDS:
        return True
    score = {name: sum(word in known for word in words) for name, known in FUNCTION_WORDS.items()}
    allowed = max(score[name] for name in languages)
    if allowed < max(score.values()):
        return False
    if allowed:
        return True
    return "en" in languages and sum(map(is_common_word, words)) >= MIN_KNOWN_SHARE * len(words)
