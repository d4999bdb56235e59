"""`guardedvlm serve-inference` in a process of its own for tests, forbidden to leave this machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running_service import free_port

from guardedvlm.inference.server import SERVICE

TESTS = Path(__file__).parent


class Inference:
    """`guardedvlm serve-inference`, which can be killed and started again."""

    def __init__(self, folder, guard_key, *extra, target="", python=sys.executable, seconds=120, **environment):
        self.target, self.health = target or f"unix:{folder / 'engine.sock'}", f"127.0.0.1:{free_port()}"
        self._command = [str(python), "-m", "guardedvlm", "serve-inference", "--listen", self.target]
        self._command += ["--health-listen", self.health, "--guard-key", str(guard_key), *extra]
        self.log, self.marker = folder / "inference.log", folder / "outside"
        self._seconds, self._environment = seconds, environment

    def start(self):
        environment = {
            **os.environ,
            # This checkout's code, wherever the environment was installed from.
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "loopback_only", TESTS.parent))),
            "LOOPBACK_ONLY_MARKER": str(self.marker),
            **self._environment,
        }
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(self._command, stdout=sink, stderr=sink, env=environment)
        end = time.monotonic() + self._seconds
        while time.monotonic() < end and self.process.poll() is None:
            with grpc.insecure_channel(self.health) as channel:
                try:
                    request = health_pb2.HealthCheckRequest(service=SERVICE)
                    if health_pb2_grpc.HealthStub(channel).Check(request, timeout=2).status == 1:
                        return
                except grpc.RpcError:
                    time.sleep(0.2)
        self.kill()
        raise AssertionError(self.log.read_text()[-2000:])

    def kill(self):
        self.process.kill()
        self.process.wait()
