"""Who may open a connection to whom, computed from NetworkPolicies as the API documents them (networking.k8s.io/v1).

A pod that no policy selects for a direction is open in it; else a connection needs one rule of one policy. A connection
is possible when the source's egress and the destination's ingress both allow it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Endpoint:
    """A pod (with labels and a namespace), or an address outside (with neither)."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)  # named ports


def can_reach(
    policies: list[Object], source: Endpoint, destination: Endpoint, port: int, protocol: str = "TCP"
) -> bool:
    """Whether `source` may open a connection to `port` of `destination`."""
    out = _allows(policies, "Egress", source, destination, (port, protocol), destination)
    return out and _allows(policies, "Ingress", destination, source, (port, protocol), destination)


def _allows(
    policies: list[Object], way: str, ours: Endpoint, other: Endpoint, port: tuple[int, str], served: Endpoint
) -> bool:
    if not ours.namespace:  # an address outside has no policies
        return True
    selecting = [policy for policy in policies if way in _types(policy["spec"]) and _selects(policy, ours)]
    rules = [rule for policy in selecting for rule in policy["spec"].get(way.lower()) or []]
    return not selecting or any(_admits(rule, way, other, port, served, ours.namespace) for rule in rules)


def _types(spec: Object) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]


def _selects(policy: Object, pod: Endpoint) -> bool:
    in_namespace = policy["metadata"].get("namespace", pod.namespace) == pod.namespace
    return in_namespace and matches(policy["spec"]["podSelector"], pod.labels)


def _admits(rule: Object, way: str, other: Endpoint, port: tuple[int, str], served: Endpoint, namespace: str) -> bool:
    peers = rule.get("to" if way == "Egress" else "from")
    ports = rule.get("ports")
    by_peer = not peers or any(_is_peer(peer, other, namespace) for peer in peers)
    return by_peer and (not ports or any(_is_port(one, port, served) for one in ports))


def _is_port(allowed: Object, port: tuple[int, str], served: Endpoint) -> bool:
    number, protocol = port
    if allowed.get("protocol", "TCP") != protocol:
        return False
    first = allowed.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        return served.ports.get(first) == number
    return first <= number <= allowed.get("endPort", first)


def _is_peer(peer: Object, other: Endpoint, namespace: str) -> bool:
    if "ipBlock" in peer:
        return bool(other.address) and _in_block(peer["ipBlock"], other.address)
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {NAMESPACE_NAME: other.namespace}):
            return False
    elif other.namespace != namespace:
        return False
    return matches(peer.get("podSelector", {}), other.labels)


def _in_block(block: Object, address: str) -> bool:
    found = ipaddress.ip_address(address)
    within = found in ipaddress.ip_network(block["cidr"])
    return within and not any(found in ipaddress.ip_network(one) for one in block.get("except", []))


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels; an empty one selects all."""
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_meets(labels, one) for one in selector.get("matchExpressions") or [])


def _meets(labels: Mapping[str, str], wanted: Object) -> bool:
    value = labels.get(wanted["key"])
    return {
        "In": value in wanted.get("values", []),
        "NotIn": value not in wanted.get("values", []),
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[wanted["operator"]]


def policies_of(objects: list[Object]) -> list[Object]:
    """The NetworkPolicies among objects."""
    return [one for one in objects if one["kind"] == "NetworkPolicy"]


def endpoints(pods: Mapping[str, Object], namespace: str) -> Iterator[tuple[str, Endpoint]]:
    """Each pod of a rendered chart by name."""
    for name, pod in pods.items():
        ports = {
            port["name"]: port["containerPort"]
            for container in pod["spec"]["containers"]
            for port in container.get("ports", [])
        }
        yield name, Endpoint(pod["metadata"]["labels"], namespace, "10.244.0.10", ports)
