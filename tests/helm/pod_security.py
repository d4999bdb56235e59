"""The restricted profile of the Pod Security Standards, control by control, as the standard lists them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
CAPABILITIES = {"NET_BIND_SERVICE"}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
SECCOMP = {"RuntimeDefault", "Localhost"}
APPARMOR = {"RuntimeDefault", "Localhost", None}


def violations(pod: Object) -> list[str]:
    """What the restricted profile forbids in a pod; [] for one that it admits."""
    return [*_of_pod(pod), *(f"{each['name']}: {found}" for each in _containers(pod) for found in _of(each, pod))]


def _containers(pod: Object) -> list[Object]:
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def _of_pod(pod: Object) -> Iterator[str]:
    spec = pod["spec"]
    security = spec.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is on"
    for volume in spec.get("volumes", []):
        for kind in set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    for sysctl in security.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    if any(key.startswith("container.apparmor.") for key in pod["metadata"].get("annotations", {})):
        yield "AppArmor by annotation"
    yield from _identity(security)


def _of(container: Object, pod: Object) -> Iterator[str]:
    security = container.get("securityContext", {})
    of_pod = pod["spec"].get("securityContext", {})
    if security.get("privileged"):
        yield "privileged"
    if security.get("procMount", "Default") != "Default":
        yield "procMount"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if security.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if security.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type") not in SECCOMP:
        yield "seccompProfile"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not all dropped"
    if set(capabilities.get("add", [])) - CAPABILITIES:
        yield "capabilities are added"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    for hook in ("httpGet", "tcpSocket"):
        probes = [container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness")]
        if any("host" in probe.get(hook, {}) for probe in probes):
            yield f"a probe's {hook} names a host"
    yield from _identity(security)


def _identity(security: Object) -> Iterator[str]:
    if security.get("runAsUser") == 0:
        yield "runs as root"
    if security.get("appArmorProfile", {}).get("type") not in APPARMOR:
        yield "AppArmor"
    if security.get("seccompProfile", {}).get("type") == "Unconfined":
        yield "seccomp is off"
    options = security.get("seLinuxOptions", {})
    if options.get("user") or options.get("role") or options.get("type", "") not in {
        "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t",
    }:  # fmt: skip
        yield "SELinux"
