"""A running service for tests: `guardedvlm serve` in a process of its own, forbidden to leave this machine."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from guardedvlm.v1 import guard_pb2

TESTS = Path(__file__).parent
SERVICE = guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name
# What needs the guard is imported where it is used: some tests run where none is installed.


@dataclass
class Service:
    """A running service: `guardedvlm serve` in a process of its own."""

    site: object
    listen: str
    health: str
    process: subprocess.Popen
    marker: Path
    scratch: Path
    log: Path
    collector: object = None

    def client(self, tenant="clinic", **options):
        from guardedvlm.client import Client

        token = self.site.tokens[tenant].read_text().strip()
        return Client(self.listen, **{"token": token, "ca": self.site.pki.ca, **options})

    def serving(self):
        with grpc.insecure_channel(self.health) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5).status

    def processes(self):
        """Process ids of the service and its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            children += (task / "children").read_text().split()
        return [self.process.pid, *sorted({int(child) for child in children})]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_service(folder, extra=(), site=None, **environment):
    """Start `guardedvlm serve` on a new site in `folder`, or on `site`, and wait until it is ready."""
    listen, health = f"localhost:{free_port()}", f"127.0.0.1:{free_port()}"
    if site is None:
        from guardedvlm.cli.init import make_site

        site = make_site(folder / "site", listen, health)
    else:
        listen, health = (line.split(": ", 1)[1] for line in site.config.read_text().splitlines()[:2])
    scratch = folder / "scratch"
    scratch.mkdir()
    marker, log = folder / "outside", folder / "serve.log"
    env = {
        **os.environ,
        # This checkout's code, wherever the environment was installed from.
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "loopback_only", TESTS.parent))),
        "LOOPBACK_ONLY_MARKER": str(marker),
        "TMPDIR": str(scratch),
        **environment,
    }
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "guardedvlm", "serve", "--config", str(site.config), *extra],
            stdout=sink,
            stderr=sink,
            env=env,
            cwd=scratch,
        )
    service = Service(site, listen, health, process, marker, scratch, log)
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            if service.serving() == health_pb2.HealthCheckResponse.SERVING:
                return service
        except grpc.RpcError:
            pass
        time.sleep(0.2)
    stop_service(service)
    raise AssertionError(f"the service did not become ready:\n{log.read_text()[-3000:]}")


def stop_service(service):
    service.process.terminate()
    try:
        service.process.wait(30)
    except subprocess.TimeoutExpired:
        service.process.kill()
        service.process.wait()
