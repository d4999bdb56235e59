"""What a named-entity model is asked to see whether it still sees."""

PROBE = "Wojtek Brzezniak"
"""A name that no list has and no rule finds."""
UNLISTED = f"My friend {PROBE} said that he lives in Gdansk."
START = UNLISTED.index(PROBE)
END = START + len(PROBE)
BY_MODEL = "presidio/"
"""How the recognisers of the named-entity model begin."""


def is_probed(start: int, end: int, before: int = 0) -> bool:
    """Whether what was found from `start` to `end` touches the name; `before` characters stand in front of UNLISTED."""
    return start < before + END and end > before + START
