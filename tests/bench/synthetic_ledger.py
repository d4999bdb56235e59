"""A large ledger that nobody's guard wrote: lines of the real form, with a real chain, written quickly.

Every line is what `Record.encode` would write (a test decodes some and verifies the chain); it is put together from
templates instead of through the models, which would take a hundred times as long.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from guardedvlm.audit.record import GENESIS, record_hash
from guardedvlm.audit.segment import segment_path

SEGMENT_BYTES = 16 * 2**20
KINDS = ("FACE", "PERSON", "DATE", "ADDRESS", "PHONE", "MEDICAL_RECORD", "ACCOUNT", "UNREADABLE", "UNCLEARED", "CODE")
REASONS = ("RESIDUAL_FOUND", "QUESTION_FORBIDDEN", "IMAGE_CORRUPT", "DEADLINE_EXCEEDED", "ANSWER_REFUSED")
POLICIES = (("healthcare", "a1" * 32), ("healthcare", "a2" * 32), ("finance", "f1" * 32))
METHODS = ("AnalyzeImage", "AnalyzeImage", "StreamAnalyzeImage", "RedactImage", "ExtractFields")
ORIGIN = "0f" * 16
DETECTORS = [{"name": name, "digest": 2 * hashlib.md5(name.encode()).hexdigest()} for name in ("centerface", "mtcnn")]


def write_ledger(
    folder: Path, records: int, *, end: datetime, days: int = 365, seed: int = 0, segment_bytes: int = SEGMENT_BYTES
) -> int:
    """Write at least `records` records that end at `end`; returns how many they are."""
    folder.mkdir(parents=True)
    random_ = random.Random(seed)
    began = end - timedelta(days=days)
    step = timedelta(days=days) / max(1, records)
    sequence, previous, stream, size = 0, GENESIS, None, 0
    events = _events(random_)
    opened = {"torn_bytes": 0}
    held = [{"name": name, "digest": digest} for name, digest in POLICIES[1:]]
    first = [(None, "OPENED", opened), (None, "POLICIES", {"policies": held})]
    try:
        while sequence < records or first:
            for request, event, facts in first or next(events):
                if stream is None or size >= segment_bytes:
                    if stream:
                        stream.close()
                    stream, size = segment_path(folder, sequence).open("wb"), 0
                time = (began + sequence * step).astimezone(UTC).isoformat(timespec="milliseconds")
                said = {
                    "event": event,
                    "facts": facts,
                    "origin": ORIGIN,
                    "previous": previous,
                    **({"request": request} if request else {}),
                    "salt": f"{random_.getrandbits(128):032x}",
                    "sequence": sequence,
                    "time": time.replace("+00:00", "Z"),
                    "version": 1,
                }
                line = json.dumps(said, separators=(",", ":"), sort_keys=True).encode()
                previous = record_hash(line)
                stream.write(line + b"\n")
                size += len(line) + 1
                sequence += 1
            first = []
    finally:
        if stream:
            stream.close()
    return sequence


def _events(random_: random.Random) -> Iterator[list[tuple[str, str, dict[str, object]]]]:
    """Eight requests at a time, their records mixed as those of a busy guard are."""
    while True:
        lives = [_life(random_) for _ in range(8)]
        mixed = []
        while lives:
            life = random_.choice(lives)
            mixed.append(life.pop(0))
            if not life:
                lives.remove(life)
        yield mixed


def _life(random_: random.Random) -> list[tuple[str, str, dict[str, object]]]:
    request = f"{random_.getrandbits(128):032x}"
    name, digest = random_.choice(POLICIES)
    tenant = f"{random_.choice((0xB1, 0xB2, 0xB3, 0xB4)):02x}" * 16
    kinds = random_.sample(KINDS, random_.randint(0, 5))
    regions = {kind: random_.randint(1, 9) for kind in sorted(kinds)}
    bits = random_.getrandbits(1024) & random_.getrandbits(1024) & random_.getrandbits(1024)
    screen = {"verdict": "allow", "action": "allow", "found": {}}
    steps: list[tuple[str, dict[str, object]]] = [
        ("RECEIVED", {"method": random_.choice(METHODS)}),
        (
            "ADMITTED",
            {"tenant": tenant, "caller": "c2" * 16, "policy": {"name": name, "digest": digest}, "input_bytes": 90_000},
        ),
        ("DECODED", {"media": "png", "pages": 1, "width": 1240, "height": 1754, "timings": {"decode": 21}}),
        (
            "REDACTED",
            {
                "regions": regions,
                "area_permille": dict.fromkeys(regions, 4),
                "actions": {"fill": sum(regions.values())},
                "detectors": DETECTORS,
                "hidden": [f"{bits:0256x}"],
                "timings": {"faces": 90, "personal": 140, "read": 900},
            },
        ),
        ("CLEARED", {"verification": {"verdict": "cleared", "passes": 1, "residual": {}}, "timings": {"verify": 700}}),
        ("GENERATING", {"engine": "reader", "prompt_chars": 40, "prompt_screen": screen, "timings": {"prompt": 30}}),
        ("RELEASE_OPEN", {"answer_screen": screen}),
        ("RELEASED", {"answer_chars": 80, "finish": "stop", "timings": {"infer": 400, "total": 2_400}}),
    ]
    if random_.random() < 0.12:
        steps = steps[: random_.randint(2, 7)]
        steps.append(("REFUSED", {"reason": random_.choice(REASONS), "timings": {"total": 900}}))
    elif random_.random() < 0.0005:
        steps = steps[: random_.randint(1, 6)]
    return [(request, event, facts) for event, facts in steps]
