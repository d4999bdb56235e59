"""A site with samples for blind review, and a desk whose clock a test can set."""

import io
import time
from pathlib import Path

from PIL import Image, ImageDraw

from guardedvlm.audit.digest import AuditKey
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.review.desk import ReviewDesk
from guardedvlm.audit.review.store import About, SampleStore
from guardedvlm.audit.reviewed import Basis

TENANT, OTHER_TENANT = "b1" * 16, "b2" * 16
KEY = AuditKey(b"k" * 32)
SECONDS = 3 * 24 * 3600


def picture() -> bytes:
    """A page with black bars, as PNG."""
    page = Image.new("RGB", (620, 877), "white")
    draw = ImageDraw.Draw(page)
    for line in range(12):
        draw.line((60, 120 + 50 * line, 560 - 23 * (line % 4), 120 + 50 * line), fill="gray", width=4)
    draw.rectangle((60, 40, 330, 80), fill="black")
    draw.rectangle((60, 260, 200, 285), fill="black")
    written = io.BytesIO()
    page.save(written, "PNG")
    return written.getvalue()


class Office:
    def __init__(self, folder: Path, ledger: Path) -> None:
        self.samples, self.keys = folder / "pictures", folder / "sample-keys"
        self.late = 0.0
        self.store = SampleStore(self.samples, self.keys, clock=lambda: time.time() + self.late)
        self.desk = ReviewDesk(self.store, ledger, KEY, "a0" * 16)

    def sample(self, *, tenant: str = TENANT, basis: Basis = Basis.RANDOM, content: bytes | None = None) -> str:
        about = About("11" * 16, tenant, "33" * 32, basis, 0, "44" * 32)
        return self.store.put(content or picture(), about, SECONDS).sample

    def facts(self, event: LedgerEvent) -> list[dict[str, object]]:
        return [dict(one.facts[event.value.lower()]) for one in self.desk.records() if one.event is event]  # type: ignore[literal-required]
