"""What the chart makes: valid for the API of every release, with the probes, volumes and ends that it promises."""

import re

import kubernetes_validate
import pytest
import yaml
from chart import EXAMPLES, at, container, containers, example, merged, named, pods, render, rendered

VERSIONS = tuple(f"1.{minor}" for minor in range(29, 38))
CUSTOM = {"cert-manager.io/v1", "monitoring.coreos.com/v1"}
"""Kinds that Kubernetes itself has no schema of."""
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def _of_kubernetes(name):
    """Objects of Kubernetes' own kinds."""
    return [one for one in rendered(name) if one["apiVersion"] not in CUSTOM]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_object_is_valid(name):
    """Strictly: a field that the API does not know is an error. The newest release."""
    _check(name, VERSIONS[-1])


def test_the_largest_site_is_valid_for_the_oldest_release():
    _check("split", VERSIONS[0])


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_object_is_valid_for_every_release(name, version):
    _check(name, version)


def _check(name, version):
    objects = _of_kubernetes(name)
    assert len(objects) > 8
    for one in objects:
        assert kubernetes_validate.validate(one, version, strict=True).startswith(version)


def test_the_check_of_schemas_is_strict():
    guard = named(rendered("split"), "StatefulSet", "guard")
    guard["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(guard, "1.37", strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_two_objects_have_one_name(name):
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]
    assert len(set(names)) == len(names)
    assert all(len(of) <= 63 and re.fullmatch(r"[a-z0-9.-]+", of) for _, of in names)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_chart_makes_no_secret(name):
    assert not [one for one in rendered(name) if one["kind"] == "Secret"]
    text = yaml.safe_dump_all(rendered(name))
    assert "PRIVATE KEY" not in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_probes_ask_where_health_is(name):
    health = {"guard": "health_listen", "inference": "--health-listen"}
    for pod in pods(rendered(name)).values():
        for each in pod["spec"]["containers"]:
            if each["name"] not in health:
                continue
            (port,) = [port["containerPort"] for port in each["ports"] if port["name"] == "health"]
            assert each["readinessProbe"]["grpc"] == {"port": port}
            assert _port(each["startupProbe"]) == _port(each["livenessProbe"]) == port
            # A guard whose collector is away is up and not ready: to start it again mends nothing.
            assert ("tcpSocket" in each["startupProbe"]) is (each["name"] == "guard")
            assert port == _told_port(name, each)


def _port(probe):
    return next(probe[kind]["port"] for kind in ("grpc", "tcpSocket", "httpGet") if kind in probe)


def _told_port(name, each):
    """The health port that the process itself is told."""
    if each["name"] == "inference":
        return int(each["args"][each["args"].index("--health-listen") + 1].rpartition(":")[2])
    settings = named(rendered(name), "ConfigMap", "settings")["data"]["guardedvlm.yaml"]
    return int(yaml.safe_load(settings)["health_listen"].rpartition(":")[2])


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_server_has_probes_and_limits(name):
    for pod in pods(rendered(name)).values():
        for each in containers(pod):
            assert "memory" in each["resources"]["limits"]
            if each.get("ports"):
                assert {"readinessProbe", "livenessProbe"} <= set(each)


@pytest.mark.parametrize("name", ["one-gpu-box", "split", "tensor-parallel", "no-cert-manager"])
def test_inference_may_take_its_time_and_never_asks_for_a_second_gpu(name):
    deployment = named(rendered(name), "Deployment", "inference")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    each = container(deployment["spec"]["template"], "inference")
    probe = each["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800
    assert deployment["spec"]["progressDeadlineSeconds"] > 1800
    volumes = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["model"]["persistentVolumeClaim"] == {"claimName": "cogvlm2-weights", "readOnly": True}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    mounts = {one["mountPath"]: one for one in each["volumeMounts"]}
    assert mounts["/models"]["readOnly"] is True
    assert "/dev/shm" in mounts
    assert named(rendered(name), "Service", "inference")["spec"]["clusterIP"] == "None"


def test_tensor_parallel_asks_for_as_many_gpus_as_it_says():
    deployment = named(rendered("tensor-parallel"), "Deployment", "inference")
    pod = deployment["spec"]["template"]
    each = container(pod, "inference")
    assert each["args"][each["args"].index("--tensor-parallel-size") + 1] == "4"
    assert each["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert pod["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_inference_has_a_gpu_and_only_inference_has_weights(name):
    for pod_name, pod in pods(rendered(name)).items():
        if pod_name.endswith("-inference"):
            continue
        assert "nvidia.com/gpu" not in yaml.safe_dump(pod["spec"])
        assert "cogvlm2-weights" not in yaml.safe_dump(pod["spec"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_inference_has_no_secret_but_its_certificate(name):
    pod = pods(rendered(name)).get("gv-guardedvlm-inference")
    if pod is None:
        pytest.skip("this site has its engine elsewhere")
    secrets = [one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one]
    assert len(secrets) == 1
    assert secrets[0].endswith("inference-tls")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_replica_has_a_ledger_of_its_own_that_outlives_it(name):
    spec = named(rendered(name), "StatefulSet", "guard")["spec"]
    assert {one["metadata"]["name"] for one in spec["volumeClaimTemplates"]} == {"ledger", "state"}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    mounts = {one["name"]: one["mountPath"] for one in container(spec["template"], "guard")["volumeMounts"]}
    settings = yaml.safe_load(named(rendered(name), "ConfigMap", "settings")["data"]["guardedvlm.yaml"])
    assert settings["ledger"].startswith(mounts["ledger"] + "/")
    assert settings["keys"].startswith(mounts["run"] + "/")
    volumes = {one["name"]: one for one in spec["template"]["spec"]["volumes"]}
    assert volumes["run"]["emptyDir"]["medium"] == volumes["tmp"]["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_replica_that_ends_has_time_for_calls_checkpoint_and_export(name):
    spec = named(rendered(name), "StatefulSet", "guard")["spec"]["template"]["spec"]
    values = merged(yaml.safe_load(_defaults()), example(name))["guard"]
    tail = [one for one in spec["initContainers"] if one["name"] == "tail"]
    least = values["preStopSeconds"] + values["drainSeconds"] + values["checkpointSeconds"]
    least += values["exportSeconds"] if tail else 0
    assert spec["terminationGracePeriodSeconds"] >= least
    assert next(one for one in spec["containers"])["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    for one in tail:  # a sidecar: it starts before the guard and is ended after it
        assert one["restartPolicy"] == "Always"
        assert one["args"][one["args"].index("--drain") + 1] == str(values["exportSeconds"])


def _defaults():
    from chart import CHART

    return (CHART / "values.yaml").read_text("utf-8")


def test_guards_scale_one_by_one_and_spread_over_zones():
    objects = rendered("split")
    scaler = named(objects, "HorizontalPodAutoscaler", "guard")["spec"]
    assert scaler["scaleTargetRef"]["kind"] == "StatefulSet"
    assert scaler["behavior"]["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    spec = named(objects, "StatefulSet", "guard")["spec"]
    assert "replicas" not in spec
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    assert spread["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    budget = named(objects, "PodDisruptionBudget", "guard")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == spec["selector"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_services_lead_to_ports_that_pods_have(name):
    objects = rendered(name)
    for service in (one for one in objects if one["kind"] == "Service"):
        selected = [
            pod
            for pod in pods(objects).values()
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert len(selected) == 1, service["metadata"]["name"]
        has = {port["name"] for each in containers(selected[0]) for port in each.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= has


def test_another_policy_rolls_the_guards_and_another_key_rolls_both():
    def marks(change):
        found = pods(render(merged(example("split"), change)))
        return found["gv-guardedvlm-guard"]["metadata"]["annotations"], found["gv-guardedvlm-inference"]["metadata"][
            "annotations"
        ]

    guard, inference = marks({})
    changed = "name: finance\n"
    with_policy = marks({"policies": {"files": {"finance/policy.yaml": changed}}})
    assert with_policy[0]["guardedvlm/policies-sha256"] != guard["guardedvlm/policies-sha256"]
    assert with_policy[1] == inference
    from chart import PUBLIC_KEY

    with_key = marks(at("inference.guardKeys.second", PUBLIC_KEY))
    assert with_key[1] != inference
    with_setting = marks(at("guard.settings.replicas", 3))
    assert with_setting[0]["guardedvlm/settings-sha256"] != guard["guardedvlm/settings-sha256"]
    assert marks(at("guard.generation", "2"))[0]["guardedvlm/generation"] == "2"


def test_each_policy_has_its_digest():
    import hashlib

    from chart import policies

    found = named(rendered("split"), "ConfigMap", "policies")
    told = {key.partition("sha256.")[2]: value for key, value in found["metadata"]["annotations"].items()}
    assert told == {
        path.replace("/", "."): hashlib.sha256(text.encode()).hexdigest() for path, text in policies().items()
    }


@pytest.mark.parametrize("name", [name for name in EXAMPLES if "cert-manager" not in name and name != "air-gapped"])
def test_certificates_are_for_the_names_that_are_dialled(name):
    objects = rendered(name)
    certificates = {one["spec"]["secretName"]: one["spec"] for one in objects if one["kind"] == "Certificate"}
    settings = yaml.safe_load(named(objects, "ConfigMap", "settings")["data"]["guardedvlm.yaml"])
    if "inference" in example(name) and example(name)["inference"].get("mode", "internal") == "internal":
        host = settings["inference"].rpartition(":")[0]
        assert host in certificates["gv-guardedvlm-inference-tls"]["dnsNames"]
        assert certificates["gv-guardedvlm-inference-tls"]["issuerRef"]["name"] == "gv-guardedvlm-internal"
    assert certificates["gv-guardedvlm-guard-tls"]["issuerRef"]["name"] == "site"
    assert certificates["gv-guardedvlm-guard-client-tls"]["usages"][0] == "client auth"
    assert certificates["gv-guardedvlm-guard-client-tls"]["issuerRef"]["name"] != "site"
    if settings.get("otlp_endpoint"):
        host = settings["otlp_endpoint"].removeprefix("https://").rpartition(":")[0]
        assert host in certificates["gv-guardedvlm-collector-tls"]["dnsNames"]


def test_without_cert_manager_there_are_no_objects_of_it():
    for name in ("no-cert-manager", "air-gapped"):
        assert not [one for one in rendered(name) if one["apiVersion"].startswith("cert-manager")]


def test_a_console_sees_one_ledger_and_cannot_write_it():
    pod = pods(rendered("split"))["gv-guardedvlm-console-1"]
    (claim,) = [one["persistentVolumeClaim"] for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one]
    assert claim == {"claimName": "ledger-gv-guardedvlm-guard-1", "readOnly": True}
    mounts = {one["name"]: one for one in container(pod, "console")["volumeMounts"]}
    assert mounts["ledger"]["readOnly"] is True
    assert mounts["ledger"]["subPath"] == "ledger"  # samples for review lie beside it
    probe = container(pod, "console")["readinessProbe"]["httpGet"]
    assert probe["httpHeaders"] == [{"name": "Host", "value": "console-1.hospital.example"}]
