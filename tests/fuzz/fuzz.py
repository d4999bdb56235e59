"""Coverage-guided fuzzing with atheris: `python tests/fuzz/fuzz.py TARGET --seconds 1800 --out DIR`; see `make fuzz`.

Python code (ours, Pillow's, pydicom's, PyYAML's) is instrumented; the native decoders below it are not, so they are
reached by mutation of sound files alone. A fuzzer that ends on a finding is started again until the time is over. What
counts as found: an exception that is not the documented refusal, a broken promise (`fuzz_targets`), a crash, more than
10 s of processor time, more than MEMORY_MB.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
MEMORY_MB = 2048
HANG_SECONDS = 120
"""Of the clock, on a machine that may be busy: the bound of 10 s is one of processor time (`fuzz_targets`)."""
LONGEST = 2**17
"""Bytes of an input: every seed fits."""
MOST_RESTARTS = 100
INSTRUMENTED = ["guardedvlm", "PIL", "pydicom", "yaml"]


def main() -> int:
    """Fuzz one target and print what was done as JSON. Exit status 1 when something was found, 2 when nothing ran."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=["decode", "dicom", "policy", "proto"])
    parser.add_argument("--seconds", type=int, default=1800, help="of the clock")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="for corpus, findings and report")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given, rest = parser.parse_known_args()
    if given.child:
        _child(given.target, given.child, rest)
        return 0
    report = run(given.target, given.seconds, given.out / given.target)
    print(json.dumps(report, indent=1))
    if not report["executions"]:
        print(f"the fuzzer did not run: see {given.out / given.target / 'log'}", file=sys.stderr)
        return 2
    return 1 if report["findings"] else 0


def run(target: str, seconds: float, folder: Path) -> dict[str, object]:
    """Fuzz for `seconds` of the clock; corpus and findings stay in `folder`."""
    for name in ("corpus", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    counter = folder / "executions"
    counter.write_bytes(bytes(8))
    began, restarts = time.monotonic(), -1
    while (left := seconds - (time.monotonic() - began)) > 1 and restarts < MOST_RESTARTS:
        restarts += 1
        _fuzzer(target, folder, counter, left)
    used = os.times()
    report: dict[str, object] = {
        "target": target,
        "clock_seconds": round(time.monotonic() - began),
        "processor_seconds": round(used.children_user + used.children_system),
        "executions": int.from_bytes(counter.read_bytes(), sys.byteorder),
        "restarts": restarts,
        "corpus_files": len(list((folder / "corpus").iterdir())),
        "findings": sorted(path.name for path in (folder / "findings").iterdir()),
    }
    (folder / "report.json").write_text(json.dumps(report))
    return report


def _fuzzer(target: str, folder: Path, counter: Path, seconds: float) -> None:
    options = [
        f"-max_total_time={int(seconds)}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={folder / 'findings'}/",
        "-print_final_stats=1",
        str(folder / "corpus"),
    ]
    with (folder / "log").open("ab") as log:
        subprocess.run(
            [sys.executable, __file__, target, "--child", str(counter), *options],
            stdout=log, stderr=log, check=False,
        )  # fmt: skip


def _child(target: str, counter: Path, options: list[str]) -> None:
    """One fuzzer: runs until libFuzzer ends the process."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent / "guard")]
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from fuzz_seeds import seeds
        from fuzz_targets import TARGETS, timed
    corpus = Path(options[-1])
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    with counter.open("r+b") as file:
        executions = mmap.mmap(file.fileno(), 8)

    def one(data: bytes) -> None:
        done = int.from_bytes(executions, sys.byteorder) + 1
        executions[:] = done.to_bytes(8, sys.byteorder)
        timed(TARGETS[target], data)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
