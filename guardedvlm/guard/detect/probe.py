"""What a named-entity model is asked to see whether it still sees."""

PROBE = "Wojtek Brzezniak"
"""A name that no list has and no rule finds."""
UNLISTED = f"My friend {PROBE} said that he lives in Gdansk."
BY_MODEL = "presidio/"
"""How the recognisers of the named-entity model begin."""
