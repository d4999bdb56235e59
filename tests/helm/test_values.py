"""Values: a closed schema, and contradictions that say what to do."""

import json
import re

import pytest
import regex
import yaml
from chart import CHART, EXAMPLES, NAMESPACE, PUBLIC_KEY, ROOT, at, example, merged, render, render_files
from helm_python.chart import lint
from helm_python.errors import HelmError
from settings_schema import PREFIX, SCHEMA, settings_definitions

EXTERNAL = {"mode": "external", "guardKeys": None}
PEERS = [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
COLLECTOR = at("telemetry.collector.enabled", True)
CONTRADICTIONS = {
    # sentence's beginning: (example, what is changed)
    "guard.image.digest is empty": ("split", at("guard.image.digest", "")),
    "inference.image.digest is empty": ("split", at("inference.image.digest", "")),
    "console.image.digest is empty": ("split", at("console.image.digest", "")),
    "telemetry.collector.image.digest is empty": ("split", at("telemetry.collector.image.digest", "")),
    "guard.listen takes no caller": ("one-gpu-box", at("guard.listen.tokens", False)),
    "guard.listen.mutualTls needs the authority": ("split", at("guard.clientCa.existingSecret", "")),
    "guard.clientCa.existingSecret is for client": ("one-gpu-box", at("guard.clientCa.existingSecret", "callers")),
    "guard.keys.existingSecret is empty": ("split", at("guard.keys.existingSecret", "")),
    "guard.tenants.existingSecret is empty": ("split", at("guard.tenants.existingSecret", "")),
    "test.token is a bearer token": ("split", at("test.token.existingSecret", "token")),
    "guard.extraFiles jwks: name one of": ("split", at("guard.extraFiles", [{"name": "jwks"}])),
    "guard.settings.listen is the chart's own: set": ("split", at("guard.settings.listen", "127.0.0.1:1")),
    "guard.settings.health_listen is the chart's own: leave": (
        "split",
        at("guard.settings.health_listen", "127.0.0.1:1"),
    ),
    "guard.settings.tail.inside is the chart's own": ("split", at("guard.settings.tail.inside", True)),
    "guard.settings.checkpoints.sink is the chart's own": ("split", at("guard.settings.checkpoints.sink", "none")),
    "policies.files and policies.existingConfigMap are both": ("split", at("policies.existingConfigMap", "policies")),
    "there are no policies": ("split", at("policies.files", None)),
    "policies.existingConfigMap needs two more": (
        "split",
        merged(at("policies.files", None), at("policies.existingConfigMap", "policies")),
    ),
    "policies.publicKey demands signed policies": ("split", at("policies.publicKey", PUBLIC_KEY)),
    "certificates.existingSecrets.guard is set and cert-manager": (
        "split",
        at("certificates.existingSecrets.guard", "guard-tls"),
    ),
    "certificates.certManager.issuer.name is empty": ("split", at("certificates.certManager.issuer.name", "")),
    "inference.mode is external, and its service does not know": (
        "external-inference",
        at("certificates.certManager.internalIssuer.name", ""),
    ),
    "certificates.existingSecrets.inference is empty": (
        "no-cert-manager",
        at("certificates.existingSecrets.inference", ""),
    ),
    "inference.mode is external: set inference.external.address": (
        "external-inference",
        at("inference.external.address", ""),
    ),
    "inference.external.address is set and inference.mode is internal": (
        "split",
        at("inference.external.address", "engine:8445"),
    ),
    "inference.guardKeys is empty": ("split", at("inference.guardKeys", None)),
    "inference.guardKeys is for an engine that this chart runs": (
        "external-inference",
        at("inference.guardKeys.first", PUBLIC_KEY),
    ),
    "inference.engine reader has no weights": ("split", at("inference.engine", "reader")),
    "inference.engine transformers needs weights": ("split", at("inference.model.existingClaim", "")),
    "inference.engine transformers needs a GPU": ("split", at("inference.gpu.count", 0)),
    "inference.tensorParallelSize is 2, and only the engine vllm": ("split", at("inference.tensorParallelSize", 2)),
    "inference.tensorParallelSize is 4 and inference.gpu.count is 2": ("tensor-parallel", at("inference.gpu.count", 2)),
    "inference.offload, compile, attention and model.adapter belong": (
        "tensor-parallel",
        at("inference.offload", True),
    ),
    "inference.vllm belongs to the engine vllm": ("split", at("inference.vllm.eager", True)),
    "inference.vllm.kvCacheMemory stands instead": (
        "tensor-parallel",
        at("inference.vllm", {"kvCacheMemory": "40GiB", "gpuMemoryUtilization": 0.8}),
    ),
    "inference.compile records one graph": ("no-cert-manager", at("inference.compile", True)),
    "guard.autoscaling.minReplicas is 2 and maxReplicas 1": ("split", at("guard.autoscaling.maxReplicas", 1)),
    "guard.autoscaling counts in parts of": ("split", at("guard.resources.requests", None)),
    "guard.autoscaling takes replicas away, and the pictures that finance/policy.yaml keeps": (
        "split",
        at("policies.files", {"finance/policy.yaml": "name: finance\nreview: {random: 0, margin: 0.05}\n"}),
    ),
    "guard.autoscaling takes replicas away, and pictures kept for review would": (
        "split",
        merged(
            at("policies", {"files": None, "existingConfigMap": "policies", "sha256": "0" * 64}),
            at("policies.items", [{"key": "finance.policy.yaml", "path": "finance/policy.yaml"}]),
        ),
    ),
    "guard.podDisruptionBudget is for two": ("one-gpu-box", at("guard.podDisruptionBudget.enabled", True)),
    "telemetry.endpoint and telemetry.collector.enabled are both": (
        "split",
        at("telemetry.endpoint", "https://otel:4317"),
    ),
    "monitoring.serviceMonitor has nothing to scrape": (
        "no-cert-manager",
        at("monitoring.serviceMonitor.enabled", True),
    ),
    "monitoring.prometheusRule and monitoring.dashboard need telemetry": (
        "tensor-parallel",
        at("monitoring.prometheusRule.enabled", True),
    ),
    "checkpoints.sink is otlp and there is no telemetry": ("tensor-parallel", at("checkpoints.sink", "otlp")),
    "checkpoints.sink is otlp and this release's collector keeps nothing": (
        "split",
        at("telemetry.collector.forward.endpoint", ""),
    ),
    "checkpoints.sink file and checkpoints.existingClaim belong": (
        "one-gpu-box",
        at("checkpoints.existingClaim", ""),
    ),
    "console.enabled: a second pod reads": ("split", at("guard.ledger.accessModes", ["ReadWriteOnce"])),
    "console.instances is empty": ("split", at("console.instances", [])),
    "the console lets nobody in": ("split", at("console.login.issuer", "")),
    "console.instances names replica 2": (
        "split",
        at("console.instances", [{"replica": 2, "url": "https://console-2.hospital.example"}]),
    ),
    "networkPolicy.dns is empty": ("split", at("networkPolicy.dns", [])),
    "the guard may not reach inference.external.address": (
        "external-inference",
        at("inference.external.peers", []),
    ),
    "the guard may not reach telemetry.endpoint": ("no-cert-manager", at("telemetry.peers", [])),
    "the collector may not reach": ("split", at("telemetry.collector.forward.peers", [])),
    "Prometheus may not reach the collector": ("split", at("monitoring.prometheus", [])),
    "the console is cut off": ("split", at("console.reviewers", [])),
    "a rule of networkPolicy.inferenceEgress without to or ports": (
        "split",
        at("networkPolicy.inferenceEgress", [{"ports": [{"port": 443}]}]),
    ),
    "networkPolicy.inferenceEgress names the whole internet": (
        "split",
        at("networkPolicy.inferenceEgress", [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}]),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_lint_is_clean(name):
    report = lint(CHART, example(name), strict=True, namespace=NAMESPACE, kube_version="v1.29.0")
    assert not report["errors"]
    assert [found["error"] for found in report["messages"]] == ["icon is recommended"]  # of severity "info"


@pytest.mark.parametrize("sentence", CONTRADICTIONS)
def test_contradictory_values_fail_with_a_sentence(sentence):
    name, change = CONTRADICTIONS[sentence]
    with pytest.raises(HelmError) as failed:
        render(merged(example(name), change))
    assert sentence in str(failed.value)


@pytest.mark.parametrize("review", ["", "review: {days: 3}\n", "review: {random: 0, margin: 0}\n"])
def test_guards_scale_with_policies_that_keep_no_samples(review):
    render(merged(example("split"), at("policies.files", {"finance/policy.yaml": f"name: finance\n{review}"})))
    others = {"files": None, "existingConfigMap": "policies", "sha256": "0" * 64, "keepsNoSamples": True}
    items = at("policies.items", [{"key": "finance.policy.yaml", "path": "finance/policy.yaml"}])
    render(merged(example("split"), at("policies", others), items))


def test_guards_that_do_not_scale_may_keep_samples():
    sampling = at("policies.files", {"finance/policy.yaml": "name: finance\nreview: {random: 0.1}\n"})
    render(merged(example("split"), sampling, at("guard.autoscaling.enabled", False), at("guard.replicas", 2)))


def test_every_sentence_is_among_them():
    text = (CHART / "templates" / "_checks.tpl").read_text("utf-8")
    sentences = re.findall(r'fail (?:\(printf )?"((?:[^"\\]|\\.)*)"', text)
    assert len(sentences) > 40
    for sentence in sentences:
        form = re.escape(sentence).replace("%s", ".*?").replace("%d", r"\d+")
        assert [said for said in CONTRADICTIONS if regex.fullmatch(form, said, partial=True)], sentence
        assert re.search(r"set|keep|leave|name|make|raise|add|choose|give|take", sentence), sentence


def test_a_chart_without_values_says_what_is_missing():
    with pytest.raises(HelmError, match=r"guard.image.digest is empty: set the digest"):
        render({})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at("guard.replica", 3), "replica"),
        (at("guard.settings.no_such_setting", 1), "no_such_setting"),
        (at("inference.external.peers", [{"ipblock": {"cidr": "10.0.0.1/32"}}]), "ipblock"),
        (at("guard.image.digest", "latest"), "digest"),
        (at("inference.guardKeys.first", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "first"),
        (at("policies.files", {"policy.yaml": "x"}), "policy.yaml"),
        (at("runAsUser", 0), "runAsUser"),
        (at("guard.settings.replicas", "many"), "replicas"),
        (at("telemetry.endpoint", "otel:4317"), "endpoint"),
    ],
)
def test_the_schema_is_closed(change, said):
    with pytest.raises(HelmError, match=re.escape(said)):
        render(merged(example("split"), change))


def test_every_object_of_the_schema_is_closed():
    """Or is a map with one form of value; what Kubernetes itself checks (affinity) is the one exception."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    open_ones = [place for place, part in _objects(schema) if part.get("additionalProperties", True) is True]
    assert sorted(open_ones) == [
        f"definitions/affinity/properties/{name}" for name in ("nodeAffinity", "podAffinity", "podAntiAffinity")
    ] + ["properties/global"]


def _objects(part, place=""):
    if isinstance(part, list):
        for index, item in enumerate(part):
            yield from _objects(item, f"{place}/{index}")
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield place.strip("/"), part
        for key, value in part.items():
            yield from _objects(value, f"{place}/{key}")


def test_the_schema_knows_every_default_and_nothing_else():
    schema = json.loads(SCHEMA.read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert {*values, "global"} == set(schema["properties"])
    for name in (
        "guard",
        "policies",
        "checkpoints",
        "inference",
        "console",
        "telemetry",
        "monitoring",
        "networkPolicy",
    ):
        assert set(values[name]) == set(schema["properties"][name]["properties"]), name


def test_the_schema_has_the_services_own_settings():
    """python helm/settings_schema.py writes them anew."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    mine = {name: part for name, part in schema["definitions"].items() if name.startswith(PREFIX)}
    assert mine == settings_definitions()


def test_notes_say_what_is_missing():
    notes = render_files(merged(example("tensor-parallel"), at("networkPolicy.clients", [])))
    text = next(text for name, text in notes.items() if name.endswith("NOTES.txt"))
    assert "Nobody may call the guard yet" in text
    assert "There is no telemetry" in text
    assert "sweeps no more" in text
    assert "gv-guardedvlm.guarded.svc:8447 (bearer token)" in text


def test_the_chart_has_the_products_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{chart["appVersion"]}"' in project
