"""What the chart tells the processes: settings that the service takes, and command lines that the CLI takes."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
import yaml
from chart import EXAMPLES, PUBLIC_KEY, ROOT, at, container, containers, example, merged, named, pods, render, rendered
from typer.testing import CliRunner

from guardedvlm import app as service_app
from guardedvlm.audit.digest import load_or_create_key
from guardedvlm.audit.keys import create_keys, load_keys
from guardedvlm.audit.otel import Otel
from guardedvlm.cli import app
from guardedvlm.cli import serve as serve_command
from guardedvlm.cli.audit import deliver
from guardedvlm.config import InferenceEngine, load_console_settings, load_settings
from guardedvlm.errors import GuardedVLMError
from guardedvlm.evidence import AUDIT_KEY, EVIDENCE_KEYS
from guardedvlm.policy.store import PolicyStore
from guardedvlm.transport.clearance_key import load_or_create_signing_key
from guardedvlm.transport.secret_file import write_key
from guardedvlm.trust import TOKENS_KEY


class Captured(Exception):
    """What a command would have run with."""


def _settings_file(objects, folder):
    path = folder / "guardedvlm.yaml"
    path.write_text(named(objects, "ConfigMap", "settings")["data"]["guardedvlm.yaml"], "utf-8")
    return path


def _args(args, root):
    """A command line with every path below `root`, where there is a file or a folder of that name."""
    found = []
    for argument in args:
        if not argument.startswith("/"):
            found.append(argument)
            continue
        path = root / argument[1:]
        if not path.exists():
            is_file = "." in path.name
            (path.parent if is_file else path).mkdir(parents=True, exist_ok=True)
            if is_file:
                path.write_text("")
        found.append(str(path))
    return found


def _run(args):
    """Invoke the real command line; what it was about to run, or why not."""
    result = CliRunner().invoke(app, args)
    if not isinstance(result.exception, Captured):
        raise AssertionError(result.output) from result.exception
    return result.exception.args[0]


def _capture(monkeypatch, module, name):
    def run(settings, *_):
        raise Captured(settings)

    monkeypatch.setattr(module, name, run)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_service_takes_its_settings(name, tmp_path, monkeypatch):
    objects = rendered(name)
    _capture(monkeypatch, service_app, "serve")
    file = tmp_path / "etc" / "guardedvlm" / "settings" / "guardedvlm.yaml"
    file.parent.mkdir(parents=True)
    shutil.move(_settings_file(objects, tmp_path), file)
    command = container(pods(objects)["gv-guardedvlm-guard"], "guard")
    assert command["command"] == ["guardedvlm"]
    settings = _run(_args(command["args"], tmp_path))
    assert str(settings.ledger) == "/var/lib/guardedvlm/ledger"
    assert settings.listen == "0.0.0.0:8443"
    both = {"mutualTls": True, "tokens": True} | example(name)["guard"].get("listen", {})
    assert (settings.tls.client_ca is not None) is both["mutualTls"]
    assert (settings.token_listen is not None) is all(both.values())
    assert settings.tail.inside is (settings.otel is Otel.NONE)
    mode = example(name).get("inference", {}).get("mode", "internal")
    assert (settings.inference_tls is None) is (mode == "embedded")
    assert settings.review.sample_keys is not None
    assert settings.ledger not in settings.review.sample_keys.parents


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_path_of_the_settings_is_mounted(name, tmp_path):
    objects = rendered(name)
    settings = yaml.safe_load(_settings_file(objects, tmp_path).read_text("utf-8"))
    guard = container(pods(objects)["gv-guardedvlm-guard"], "guard")
    mounts = [mount["mountPath"] for mount in guard["volumeMounts"]]
    paths = list(_paths(settings))
    assert len(paths) > 6
    for path in paths:
        assert [mount for mount in mounts if path == mount or path.startswith(mount + "/")], path


def _paths(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, str) and value.startswith("/"):
        yield value


@pytest.mark.parametrize("name", ["one-gpu-box", "split", "tensor-parallel", "no-cert-manager"])
def test_inference_takes_its_command_line(name, tmp_path, monkeypatch):
    _capture(monkeypatch, serve_command, "run_inference")
    command = container(pods(rendered(name))["gv-guardedvlm-inference"], "inference")
    settings = _run(_args(command["args"], tmp_path))
    wanted = example(name)["inference"]
    assert settings.engine is InferenceEngine(wanted.get("engine", "transformers"))
    assert settings.offload is wanted.get("offload", False)
    assert settings.tls.client_ca is not None
    assert [path.name for path in settings.guard_keys] == ["clearance-first.pub"]
    assert settings.manifest.name == "manifest.json"


@pytest.mark.parametrize(
    ("base", "change", "expected"),
    [
        (
            "no-cert-manager",
            at("inference", {"offload": False, "compile": True, "attention": "sdpa", "model": {"adapter": "lora"}}),
            {"compiled": True},
        ),
        ("split", at("inference", {"engine": "reader", "gpu": {"count": 0}, "model": {"existingClaim": ""}}), {}),
        (
            "tensor-parallel",
            at(
                "inference.vllm",
                {"maxModelLen": 4096, "maxNumSeqs": 8, "gpuMemoryUtilization": 0.8, "eager": True},
            ),
            {"max_model_len": 4096, "max_num_seqs": 8, "gpu_memory_utilization": 0.8, "eager": True},
        ),
    ],
)
def test_every_option_of_inference_is_one_of_the_command_line(base, change, expected, tmp_path, monkeypatch):
    _capture(monkeypatch, serve_command, "run_inference")
    objects = render(merged(example(base), change))
    command = container(pods(objects)["gv-guardedvlm-inference"], "inference")
    settings = _run(_args(command["args"], tmp_path))
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["split", "no-cert-manager", "air-gapped"])
def test_the_tail_takes_its_command_line(name, tmp_path, monkeypatch):
    told = {}

    class Process:
        def __init__(self, ledger, state, sink, *, version):
            told.update(ledger=str(ledger), state=str(state))

        def run(self, stop, drain):
            raise Captured(told | {"drain": drain})

        def close(self):
            pass

    monkeypatch.setattr(deliver, "TailProcess", Process)
    monkeypatch.setattr(deliver, "Collector", lambda endpoint, ca: told.update(endpoint=endpoint, ca=ca))
    objects = rendered(name)
    command = container(pods(objects)["gv-guardedvlm-guard"], "tail")
    found = _run(_args(command["args"], tmp_path))
    settings = yaml.safe_load(named(objects, "ConfigMap", "settings")["data"]["guardedvlm.yaml"])
    assert found["endpoint"] == settings["otlp_endpoint"]
    assert found["drain"] == 60
    assert found["state"].endswith(settings["tail"]["state"])  # the guard reads the lag there
    assert found["ledger"].endswith(settings["ledger"])


def test_the_console_takes_its_settings(tmp_path):
    objects = rendered("split")
    for replica in (0, 1):
        path = tmp_path / "console.yaml"
        path.write_text(named(objects, "ConfigMap", f"console-{replica}")["data"]["console.yaml"], "utf-8")
        settings = load_console_settings(path)
        assert settings.url == f"https://console-{replica}.hospital.example"
        assert settings.login.role == "reviewer"
    args = container(pods(objects)["gv-guardedvlm-console-0"], "console")["args"]
    assert args == ["console", "/var/lib/guardedvlm/ledger", "--config", "/etc/guardedvlm/settings/console.yaml"]


def test_other_settings_go_through_and_a_wrong_one_is_refused_by_the_service(tmp_path):
    change = {"guard": {"settings": {"replicas": 4, "checkpoints": {"every_records": 5}, "review": {"max_samples": 7}}}}
    settings = load_settings(_settings_file(render(merged(example("one-gpu-box"), change)), tmp_path))
    assert (settings.replicas, settings.checkpoints.every_records, settings.review.max_samples) == (4, 5, 7)
    assert settings.checkpoints.file is not None
    half = at("guard.settings.spacy_model", "/models/spacy")
    with pytest.raises(GuardedVLMError) as failed:
        load_settings(_settings_file(render(merged(example("split"), half)), tmp_path))
    assert "spacy_model" in failed.value.for_operator()


def _mounted(folder, objects):
    """The policies as the kubelet writes a ConfigMap: a dated folder, a link to it, links to what it holds."""
    pod = pods(objects)["gv-guardedvlm-guard"]
    (volume,) = [one["configMap"] for one in pod["spec"]["volumes"] if one["name"] == "policies"]
    data = named(objects, "ConfigMap", "policies")["data"]
    dated = folder / "..2026_11_23_22_00_00.123456789"
    for item in volume["items"]:
        path = dated / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data[item["key"]], "utf-8")
    (folder / "..data").symlink_to(dated.name)
    for entry in dated.iterdir():
        (folder / entry.name).symlink_to(f"..data/{entry.name}")
    return folder


def test_policies_load_from_the_mounted_configmap(tmp_path):
    mounted = PolicyStore(_mounted(tmp_path, rendered("split")))
    assert mounted.digests() == PolicyStore(ROOT / "policies").digests()
    assert mounted.names == {"finance", "healthcare"}


def test_the_keys_of_a_secret_become_files_that_the_service_takes(tmp_path):
    """The container `prepare`, run as it stands."""
    secret, keys, ledger, state = (tmp_path / name for name in ("secret", "keys", "ledger", "state"))
    source = tmp_path / "source"
    source.mkdir()
    ring = create_keys(source / EVIDENCE_KEYS)
    audit = load_or_create_key(source / AUDIT_KEY)
    write_key(source / TOKENS_KEY)
    signing = load_or_create_signing_key(source)
    _mount_secret(secret, source)
    prepare = container(pods(rendered("split"))["gv-guardedvlm-guard"], "prepare")
    assert prepare["command"] == ["sh", "-euc"]
    places = {"SECRET": secret, "KEYS": keys, "LEDGER": ledger, "STATE": state}
    assert {one["name"] for one in prepare["env"]} == set(places)
    for _ in range(2):  # again after a restart of the container
        environment = {"PATH": os.environ["PATH"]} | {name: str(path) for name, path in places.items()}
        subprocess.run([*prepare["command"], prepare["args"][0]], env=environment, check=True)
    assert load_or_create_key(keys / AUDIT_KEY).pseudonym is not None
    assert (keys / AUDIT_KEY).read_bytes() == (source / AUDIT_KEY).read_bytes()
    assert audit is not None
    assert load_keys(keys / EVIDENCE_KEYS).active == ring.active
    assert load_or_create_signing_key(keys).public_key() == signing.public_key()
    assert ledger.is_dir()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in keys.rglob("*") if path.is_file()}
    assert {mode for name, mode in modes.items() if not name.endswith(".pub")} == {0o600}
    assert stat.S_IMODE((state / "review-keys").stat().st_mode) == 0o700


def _mount_secret(folder, source):
    """As the kubelet does: links, and files that the group may read."""
    dated = folder / "..2026_11_23_22_00_00.123456789"
    dated.mkdir(parents=True)
    for path in (
        source / "audit.key",
        source / "tokens.key",
        source / "clearance.key",
        source / "evidence" / "ring.json",
    ):
        shutil.copy(path, dated / path.name)
        (dated / path.name).chmod(0o440)
    (folder / "..data").symlink_to(dated.name)
    for entry in dated.iterdir():
        (folder / entry.name).symlink_to(f"..data/{entry.name}")


def test_the_claims_of_the_state_hold_what_must_outlive_a_pod(tmp_path):
    signed = merged(
        example("one-gpu-box"),
        at("policies.publicKey", PUBLIC_KEY),
        {"policies": {"files": {f"{name}/policy.yaml.sig": "x" for name in ("finance", "healthcare")}}},
    )
    settings = load_settings(_settings_file(render(signed), tmp_path))
    assert str(settings.policies_issued) == "/var/lib/guardedvlm-state/policies-issued.json"
    assert str(settings.policy_key) == "/etc/guardedvlm/site/policy.pub"


@pytest.mark.parametrize("name", ["one-gpu-box", "no-cert-manager"])
def test_the_canary_knows_where_to_call(name):
    pod = pods(rendered(name))["gv-guardedvlm-test"]
    each = container(pod, "canary")
    address = {one["name"]: one["value"] for one in each["env"]}["CANARY_SERVER"]
    service = named(rendered(name), "Service", "")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    tokens = ports.get("grpc-tokens", ports["grpc"])
    assert address == f"{service['metadata']['name']}.guarded.svc:{tokens}"
    script = named(rendered(name), "ConfigMap", "test")["data"]["canary.py"]
    compile(script, "canary.py", "exec")


@pytest.mark.slow
def test_the_canary_passes_a_real_guard_and_fails_without_one(service, tmp_path):
    script = tmp_path / "canary.py"
    script.write_text(named(rendered("one-gpu-box"), "ConfigMap", "test")["data"]["canary.py"], "utf-8")
    token = tmp_path / "token"
    token.write_text(service.site.tokens["bank"].read_text())
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "CANARY_SERVER": service.listen,
        "CANARY_TOKEN": str(token),
        "CANARY_CA": str(service.site.pki.ca),
    }
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "the canary is hidden, and the question was answered")
    token.write_text("gvlm_nobody")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1


def test_the_collectors_settings_name_only_what_they_define():
    for name in ("split", "air-gapped"):
        found = yaml.safe_load(named(rendered(name), "ConfigMap", "collector")["data"]["config.yaml"])
        for pipeline in found["service"]["pipelines"].values():
            for part in ("receivers", "processors", "exporters"):
                assert set(pipeline[part]) <= set(found[part])
        assert set(found["service"]["extensions"]) <= set(found["extensions"])
        assert ("logs" in found["service"]["pipelines"]) is (name == "split")
        json.dumps(found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_container_is_told_a_secret(name):
    """Keys and tokens are files; environment and arguments can be read by whoever may list pods."""
    for pod in pods(rendered(name)).values():
        for each in containers(pod):
            assert not [one for one in each.get("env", []) if "secretKeyRef" in one.get("valueFrom", {})]
            assert "envFrom" not in each
