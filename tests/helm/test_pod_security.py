"""Every pod of every example passes the restricted profile, and what else the chart promises of pods."""

import copy

import pytest
from chart import EXAMPLES, containers, pods, rendered
from pod_security import violations

BREAKS = {
    "hostNetwork is on": lambda pod: pod["spec"].update(hostNetwork=True),
    "is a hostPath": lambda pod: pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "privileged": lambda pod: pod["spec"]["containers"][0]["securityContext"].update(privileged=True),
    "allowPrivilegeEscalation": lambda pod: pod["spec"]["containers"][0]["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "not all dropped": lambda pod: pod["spec"]["containers"][0]["securityContext"].pop("capabilities"),
    "capabilities are added": lambda pod: pod["spec"]["containers"][0]["securityContext"]["capabilities"].update(
        add=["SYS_ADMIN"]
    ),
    "runs as root": lambda pod: pod["spec"]["securityContext"].update(runAsUser=0),
    "runAsNonRoot": lambda pod: pod["spec"]["containers"][0]["securityContext"].update(runAsNonRoot=False),
    "seccomp": lambda pod: pod["spec"]["containers"][0]["securityContext"].update(
        seccompProfile={"type": "Unconfined"}
    ),
    "hostPort": lambda pod: pod["spec"]["containers"][0]["ports"].append({"containerPort": 1, "hostPort": 1}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_pod_is_restricted(name):
    found = pods(rendered(name))
    assert found
    assert {pod: violations(of) for pod, of in found.items()} == {pod: [] for pod in found}


@pytest.mark.parametrize("said", BREAKS)
def test_the_check_sees_what_the_profile_forbids(said):
    pod = copy.deepcopy(pods(rendered("split"))["gv-guardedvlm-guard"])
    BREAKS[said](pod)
    assert [found for found in violations(pod) if said in found]


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_pod_has_a_token_or_a_writable_root(name):
    for pod in pods(rendered(name)).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert all(each["securityContext"]["readOnlyRootFilesystem"] is True for each in containers(pod))


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_puts_settings_into_the_environment(name):
    """The service reads GUARDEDVLM_* as settings, and Kubernetes would name its Services so."""
    for pod in pods(rendered(name)).values():
        assert pod["spec"]["enableServiceLinks"] is False
        names = {one["name"] for each in containers(pod) for one in each.get("env", [])}
        assert not {one for one in names if one.startswith("GUARDEDVLM_")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_image_is_named_by_digest(name):
    images = {each["image"] for pod in pods(rendered(name)).values() for each in containers(pod)}
    assert images
    assert all("@sha256:" in image and len(image.rpartition(":")[2]) == 64 for image in images)


def test_an_air_gapped_site_pulls_from_its_own_registry():
    found = pods(rendered("air-gapped")).values()
    images = {each["image"] for pod in found for each in containers(pod)}
    assert all(image.startswith("registry.site.example:5000/mirror/") for image in images)
    assert all(pod["spec"]["imagePullSecrets"] == [{"name": "registry-login"}] for pod in found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_volume_is_mounted_and_every_mount_has_a_volume(name):
    for pod_name, pod in pods(rendered(name)).items():
        mounted = {mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", [])}
        claims = {"ledger", "state"} if pod_name.endswith("-guard") else set()
        assert mounted == {volume["name"] for volume in pod["spec"].get("volumes", [])} | claims
