"""An archive of small pictures for tests, and a batch over it as a process that can be killed."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pyarrow.parquet as parquet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image, ImageDraw, ImageFont
from running_service import free_port

from guardedvlm.batch.journal import Ended, list_journals, read_journal
from guardedvlm.cli.init import make_site
from guardedvlm.inference.server import SERVICE
from guardedvlm.transport.clearance_key import PUBLIC_KEY

ROOT = Path(__file__).parents[2]
PICTURES = int(os.environ.get("BATCH_PICTURES", "200"))
CANARY = "Quillfeather"
"""A name in every picture, and in every file's name."""
STRIPE = bytes(range(7, 247, 3))
"""Pixels in every picture, as bytes of its raster and as they would lie in a PNG that is not compressed."""


def make_archive(folder, count):
    """`count` small pictures, each with a total of its own, a name that must not come out, and a row of pixels."""
    folder.mkdir()
    font = ImageFont.load_default(20)
    stripe = Image.frombytes("RGB", (len(STRIPE) // 3, 1), STRIPE[: len(STRIPE) // 3 * 3])
    for number in range(count):
        picture = Image.new("RGB", (260, 70), "white")
        draw = ImageDraw.Draw(picture)
        draw.text((8, 4), f"Name: Orla {CANARY}", "black", font)
        draw.text((8, 34), f"Total {100 + number}.50 EUR", "black", font)
        picture.paste(stripe, (0, 69))
        picture.save(folder / f"{number:03d} Orla {CANARY}.png", compress_level=0)
    return folder


@dataclass
class Seen:
    """What Ray's folder and object store held while it ran."""

    logs: int = 0
    store_bytes: int = 0
    leaks: list = field(default_factory=list)

    def look(self, name, content):
        folded = content.lower()
        if (
            CANARY.lower().encode() in folded
            or STRIPE[: len(STRIPE) // 3 * 3] in content
            or b"what is the total" in folded
        ):
            self.leaks.append(name)


class Batch:
    """`guardedvlm batch` on a folder, in a process of its own."""

    def __init__(self, archive, folder, *more):
        self.out, self.log = folder / "out", folder / "batch.log"
        question = ("-p", "finance", "-q", "What is the total?", "-o", self.out)
        self.command = [*map(str, (sys.executable, "-m", "guardedvlm", "batch", archive, *question, *more))]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}

    def start(self, *more):
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [*self.command, *more], stdout=sink, stderr=sink, env=self._environment, cwd=self.log.parent
            )
        return self

    def status(self, *more):
        """What `batch-status` prints."""
        command = [sys.executable, "-m", "guardedvlm", "batch-status", str(self.out), *more]
        return subprocess.run(command, capture_output=True, text=True, env=self._environment, check=True).stdout

    def done(self):
        """Documents that are over, before anything is made of their journal."""
        journals = list_journals(self.out / ".state")
        return sum(isinstance(entry, Ended) for path in journals for entry in read_journal(path))

    def wait_for(self, count, seconds):
        self.wait_until(lambda: self.done() >= count, seconds)

    def wait_until(self, is_so, seconds):
        end = time.monotonic() + seconds
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, f"only {self.done()} in time"
            time.sleep(0.02)

    def kill_at(self, count, seconds):
        """SIGKILL as soon as `count` documents are over; how many were."""
        self.kill_when(lambda: self.done() >= count, seconds)
        return self.done()

    def kill_when(self, is_so, seconds):
        self.wait_until(is_so, seconds)
        self.process.kill()
        self.process.wait()

    def finish(self, seconds):
        """Wait for the end; the exit code."""
        return self.process.wait(seconds)

    def table(self, name):
        return parquet.read_table(self.out / name).to_pylist()

    def watch_ray(self, count, seconds):
        """Look through Ray's folder and object store once `count` documents are over."""
        self.wait_for(count, seconds)
        seen = Seen()
        (folder,) = Path("/tmp").glob("guardedvlm-ray-*")
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                seen.logs += 1
                seen.look(f"{path}", os.fsencode(path) + path.read_bytes())
        for process in ray_processes(folder):
            seen.look(f"command line of {process}", Path(f"/proc/{process}/cmdline").read_bytes())
            seen.look(f"environment of {process}", Path(f"/proc/{process}/environ").read_bytes())
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                if "plasma" in os.readlink(descriptor) or "/dev/shm/" in os.readlink(descriptor):
                    content = descriptor.read_bytes()
                    seen.store_bytes += len(content)
                    seen.look(f"object store of {process}", content)
        return seen

    def wait_for_ray_to_end(self, seconds):
        """Ray's processes end with the one that started them."""
        end = time.monotonic() + seconds
        (folder,) = Path("/tmp").glob("guardedvlm-ray-*")
        while ray_processes(folder):
            assert time.monotonic() < end, "processes of Ray outlive the one that started them"
            time.sleep(0.2)


def ray_processes(folder):
    """Processes that have Ray's folder on their command line: the store's server and control are among them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def inference_site(folder):
    """A site whose settings name an inference service behind mutual TLS."""
    site = make_site(folder / "site", f"localhost:{free_port()}", f"127.0.0.1:{free_port()}")
    engine = f"localhost:{free_port()}"
    who = site.pki.clients["bank"]
    tls = f"inference_tls: {{ca: {site.pki.ca}, certificate: {who.certificate}, key: {who.key}}}"
    said = site.config.read_text("utf-8").replace("inference: embedded", f"inference: {engine}\n{tls}")
    site.config.write_text(said, "utf-8")
    return site, engine


class Engine:
    """`guardedvlm serve-inference` with the reader, behind mutual TLS."""

    def __init__(self, site, address, folder):
        self._health = f"127.0.0.1:{free_port()}"
        pair = site.pki.server
        where = ["--listen", address, "--health-listen", self._health]
        tls = ["--tls-certificate", pair.certificate, "--tls-key", pair.key, "--client-ca", site.pki.ca]
        key = ["--guard-key", site.config.parent / "keys" / PUBLIC_KEY]
        self._command = [*map(str, [sys.executable, "-m", "guardedvlm", "serve-inference", *where, *tls, *key])]
        self._log = folder / "inference.log"

    def __enter__(self):
        with self._log.open("wb") as sink:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(self._command, stdout=sink, stderr=sink, env=environment)
        end = time.monotonic() + 300
        while time.monotonic() < end and self.process.poll() is None:
            with grpc.insecure_channel(self._health) as channel:
                try:
                    request = health_pb2.HealthCheckRequest(service=SERVICE)
                    if health_pb2_grpc.HealthStub(channel).Check(request, timeout=2).status == 1:
                        return self
                except grpc.RpcError:
                    time.sleep(0.2)
        raise AssertionError(self._log.read_text()[-2000:])

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
