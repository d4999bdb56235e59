"""A whole service whose every dependency can be made to misbehave, and everything that leaves it.

`guardedvlm serve` runs in a process of its own (`served`), between a collector, an inference service and a folder of
policies that are the tests' own.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
from canaries import HEADERS, QUESTION, REQUEST_ID, places_in, planted, strings_in
from chaos_role import CONTENT
from faults import Faults
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from otlp_collector import Collector, wait_until
from PIL import Image
from running_service import TESTS, Service, free_port

from guardedvlm.cli.init import make_site
from guardedvlm.rpc.server import POLICIES, SERVICE
from guardedvlm.transport.status import error_from_rpc
from guardedvlm.v1 import guard_pb2, inference_pb2_grpc
from guardedvlm.v1 import inference_pb2 as pb
from guardedvlm.v1.guard_pb2_grpc import GuardServiceStub

ANSWER = "The total is 12.00."
CALL_SECONDS = 180.0
MOST_BEHIND_SECONDS = 4.0
"""Settings of the site: how far collector and second place of the checkpoints may be behind."""
ROOT = TESTS.parent


class Inference(inference_pb2_grpc.InferenceServiceServicer):
    """An inference service that keeps what it is sent and answers as it is told to."""

    def __init__(self, address, faults):
        self.received = []
        self._address = address
        self._faults = faults
        self._server = None
        self._dying = None

    def start(self):
        """Also again, when it has died."""
        if self._dying is not None:
            self._dying.join()
            self._dying = None
        options = (("grpc.max_receive_message_length", 64 * 2**20), ("grpc.so_reuseport", 0))
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self, self._server)
        assert self._server.add_insecure_port(self._address)
        self._server.start()

    def stop(self):
        self._server.stop(0).wait()

    def GetCapacity(self, request, context):
        return pb.GetCapacityResponse(
            engine="reader", model="chaos", model_digest="0" * 64, audience="chaos",
            geometry=pb.InputGeometry(fit=pb.FIT_WITHIN, width=2000, height=2000),
            max_prompt_chars=4000, max_output_tokens=128, max_concurrent=4,
        )  # fmt: skip

    def GenerateText(self, request, context):
        self.received.append(request)
        fault = self._faults.of("inference")
        if fault == "raise":
            context.abort(grpc.StatusCode.INTERNAL, f"cannot answer {request.prompt.question}: {CONTENT}")
        if fault == "hang":
            self._faults.hang("inference")
        if fault == "die":
            self._dying = threading.Thread(target=self.stop, daemon=True)
            self._dying.start()
            time.sleep(1)
        if fault == "empty":
            return
        if fault == "garbage":
            yield pb.GenerateTextResponse(text="\x00\ufffd", finish_reason=CONTENT[:30], input_tokens=-1)
        text = CONTENT if fault == "nonsense" else ANSWER
        yield pb.GenerateTextResponse(text=text, finish_reason="stop", input_tokens=9, output_tokens=6)


class ChaosSite:
    """One service with its surroundings, until `close`."""

    def __init__(self, folder, **settings):
        self.folder = folder
        for name in ("faults", "scratch", "collector"):
            (folder / name).mkdir()
        self.faults = Faults(folder / "faults")
        self.document = planted()
        self.responses = []
        self._numbers = itertools.count()
        self.collector = Collector(folder / "collector")
        self.collector.start()
        self._impostor = None
        listen, health = f"localhost:{free_port()}", f"127.0.0.1:{free_port()}"
        self.made = make_site(folder / "site", listen, health)
        self._configure(settings)
        self.inference = Inference(f"unix:{folder / 'engine.sock'}", self.faults)
        self.inference.start()
        self.service = self._start(listen, health)
        self.wait_ready()

    def _configure(self, settings):
        behind = MOST_BEHIND_SECONDS
        told = {"inference": f"unix:{self.folder / 'engine.sock'}", "otel": "otlp", "canary_seconds": 3600,
                "otlp_endpoint": self.collector.endpoint, "tail": f"{{most_seconds: {behind}}}", "drain_seconds": 5,
                "traces": "join", **settings}  # fmt: skip
        lines = [line for line in self.made.config.read_text().splitlines() if line.partition(":")[0] not in told]
        lines = [line.replace("file: checkpoints", f"file: checkpoints, every_seconds: 1, bound_seconds: {behind}")
                 for line in lines]  # fmt: skip
        self.made.config.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in told.items())]) + "\n")

    def _start(self, listen, health):
        env = {**os.environ, "TMPDIR": str(self.folder / "scratch"),
               "PYTHONPATH": os.pathsep.join(map(str, (ROOT, TESTS / "chaos")))}  # fmt: skip
        log = self.folder / "serve.log"
        command = [sys.executable, str(TESTS / "chaos" / "served.py"), str(self.faults.folder)]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [*command, "serve", "--config", str(self.made.config)],
                stdout=sink, stderr=sink, env=env, cwd=self.folder / "scratch",
            )  # fmt: skip
        return Service(self.made, listen, health, process, self.folder / "outside", self.folder / "scratch", log)

    def wait_ready(self, seconds=240):
        wait_until(lambda: self.service.process.poll() is not None or self.ready(), seconds)
        assert self.service.process.poll() is None, self.service.log.read_text()[-2000:]

    def ready(self, name=SERVICE):
        with grpc.insecure_channel(self.service.health) as channel, contextlib.suppress(grpc.RpcError):
            request = health_pb2.HealthCheckRequest(service=name)
            status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status
            return status == health_pb2.HealthCheckResponse.SERVING
        return False

    def policies_in_force(self):
        return self.ready(POLICIES)

    def ask(self, tenant="clinic", timeout=CALL_SECONDS):
        """Code and reason of a request that is full of canaries; "OK" and the answer of one that was answered."""
        request = guard_pb2.AnalyzeImageRequest(
            document=guard_pb2.Document(content=self.document.content),
            query=guard_pb2.Query(question=QUESTION),
            request_id=f"{REQUEST_ID}-{next(self._numbers)}",
            include_redacted_image=True,
        )
        token = self.made.tokens[tenant].read_text().strip()
        metadata = (("authorization", f"Bearer {token}"), *HEADERS)
        credentials = grpc.ssl_channel_credentials(self.made.pki.ca.read_bytes())
        with grpc.secure_channel(self.service.listen, credentials) as channel:
            # Without retries: what comes of one call is the question.
            method = GuardServiceStub(channel).AnalyzeImage
            try:
                response, call = method.with_call(request, timeout=timeout, metadata=metadata)
            except grpc.RpcError as failure:
                error = error_from_rpc(failure)
                self._keep_trailing(failure)
                self.responses.append(f"{failure.details()} {error} {error.details}".encode())
                return error.code, error.reason.value
            self._keep_trailing(call)
            self.responses.append(response.analysis.SerializeToString())
            return "OK", response.analysis.answer

    def _keep_trailing(self, call):
        for _, value in call.trailing_metadata() or ():
            self.responses.append(value if isinstance(value, bytes) else value.encode())

    # ------------------------------------------------------------ faults from outside

    def begin(self, dependency, fault):
        self.faults.begin(dependency, fault)
        outside = {"policy store": self._break_policies, "collector": self._break_collector}.get(dependency)
        if outside:
            outside(fault)

    def end(self, dependency):
        fault = self.faults.of(dependency)
        self.faults.end(dependency)
        if dependency == "policy store":
            self._mend_policies()
        if dependency == "collector":
            self._mend_collector(fault)
        if dependency == "inference" and fault == "die":
            self.inference.start()

    def _break_policies(self, fault):
        """The files of one policy, or all of them, from outside: it is an operator's folder."""
        policies = self.folder / "site" / "policies"
        shutil.copytree(policies, self.folder / "policies.kept", dirs_exist_ok=True)
        file = policies / "healthcare" / "policy.yaml"
        if fault == "die":
            policies.rename(self.folder / "site" / "gone")
            return
        file.unlink()
        if fault == "raise":
            file.mkdir()  # cannot be read
        if fault == "hang":
            os.mkfifo(file)  # whoever opens it waits for a writer
        if fault == "empty":
            file.write_bytes(b"")
        if fault == "garbage":
            file.write_bytes(os.urandom(2000))

    def _mend_policies(self):
        policies = self.folder / "site" / "policies"
        file = policies / "healthcare" / "policy.yaml"
        if file.is_fifo():
            with contextlib.suppress(OSError):  # let go of who waits
                os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
        for folder in (policies, self.folder / "site" / "gone"):
            shutil.rmtree(folder, ignore_errors=True)
        (self.folder / "policies.kept").rename(policies)

    def _break_collector(self, fault):
        if fault == "hang":
            self.collector.process.send_signal(signal.SIGSTOP)
            return
        self.collector.kill()
        if fault == "raise":
            self.collector.start("--unacknowledged", "1000000000")
        if fault == "empty":
            self.collector.start("--reject", "1")
        if fault == "garbage":
            self._impostor = Impostor(self.collector.port)

    def _mend_collector(self, fault):
        if self._impostor is not None:
            self._impostor.close()
            self._impostor = None
        if fault == "hang":
            self.collector.process.send_signal(signal.SIGCONT)
        else:
            self.collector.kill()
            self.collector.start()

    # ------------------------------------------------------------ egress

    def found(self):
        """Canaries outside: channel -> what was found there. Empty, unless something leaked."""
        leaks = {}
        for channel, contents in self._channels().items():
            hits = sorted({hit for content in contents for hit in strings_in(content)})
            if hits:
                leaks[channel] = hits
        shown = sorted(
            {hit for request in self.inference.received for hit in places_in(_raster(request), self.document)}
        )
        shown += sorted({hit for raster in self._returned() for hit in places_in(raster, self.document)})
        return leaks | ({"pixels": shown} if shown else {}) | self._cores()

    def _channels(self):
        files = [path for place in ("site", "scratch") for path in (self.folder / place).rglob("*") if path.is_file()]
        ledger = [path for path in files if "ledger" in path.parts]
        return {
            "inference requests": [request.prompt.SerializeToString() + request.clearance for request in
                                   self.inference.received],
            "console and log": [self.service.log.read_bytes()],
            "telemetry": [self.collector.wire()],
            "ledger": map(_bytes, ledger),
            "files": map(_bytes, [path for path in files if path not in ledger]),
            "names of files": [str(path.relative_to(self.folder)).encode() for path in files],
            "responses": self.responses,
        }  # fmt: skip

    def _returned(self):
        """Redacted pictures that callers got."""
        for content in self.responses:
            try:
                found = guard_pb2.Analysis.FromString(content)
            except DecodeError:  # an error's text
                continue
            for page in found.redaction.pages:
                if page.content:
                    yield np.asarray(Image.open(BytesIO(page.content)).convert("RGB"))

    def _cores(self):
        """Core files where a crash would leave them, and processes that may write one."""
        cores = [path.name for place in ("scratch", "site") for path in (self.folder / place).rglob("core*")]
        for process in self.service.processes():
            with contextlib.suppress(FileNotFoundError):
                limits = Path(f"/proc/{process}/limits").read_text().splitlines()
                core = next(line for line in limits if line.startswith("Max core file size"))
                cores += [] if core.split()[4:6] == ["0", "0"] else [f"process {process} may dump"]
        return {"core dumps": cores} if cores else {}

    def forget(self):
        """What was looked at need not be looked at again."""
        self.inference.received.clear()
        self.responses.clear()

    def close(self):
        for dependency in list(self.faults.folder.iterdir()):
            self.end(dependency.name)
        self.service.process.terminate()
        try:
            self.service.process.wait(60)
        finally:
            if self.service.process.poll() is None:
                self.service.process.kill()
                self.service.process.wait()
            self.inference.stop()
            self.collector.kill()


class Impostor:
    """Answers every connection with noise."""

    def __init__(self, port):
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(os.urandom(4000))

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)  # what waits in `accept` would keep the port
        self._thread.join()
        self._socket.close()


def _raster(request):
    raster = request.raster
    return np.frombuffer(raster.pixels, np.uint8).reshape(raster.height, raster.width, 3)


def _bytes(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a draft that was renamed
        return b""
