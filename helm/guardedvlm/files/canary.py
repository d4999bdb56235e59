"""Send a made-up card through a guard: what the policy hides is hidden, and its number does not come back."""

import io
import os
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from guardedvlm.client import Client
from guardedvlm.errors import GuardedVLMError

NUMBER = "4012 8888 8888 1881"  # a card network's published test number
QUESTION = "What is the closing balance?"


def canary() -> bytes:
    """The picture, as PNG."""
    page = Image.new("RGB", (1000, 420), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(36)
    for line, text in enumerate(("STATEMENT", f"Card number: {NUMBER}", "Closing balance: 120.50 EUR")):
        draw.text((60, 60 + 110 * line), text, "black", font)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def problem(client: Client) -> str:
    """What is wrong; "" when nothing is."""
    found = client.analyze(canary(), QUESTION)
    digits = "".join(sign for sign in found.answer if sign.isdigit())
    if NUMBER.replace(" ", "")[-6:] in digits:
        return "the card's number came back"
    hidden = {count.kind for page in found.redaction.pages for count in page.counts}
    return "" if "PAYMENT_CARD" in hidden else "the card's number was not hidden as one"


def main() -> int:
    """Exit code 0 when the canary is hidden and an answer came."""
    token = Path(os.environ["CANARY_TOKEN"]).read_text().strip()
    try:
        with Client(os.environ["CANARY_SERVER"], token=token, ca=Path(os.environ["CANARY_CA"])) as client:
            told = problem(client)
    except GuardedVLMError as error:
        told = str(error)
    print(told or "the canary is hidden, and the question was answered")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
