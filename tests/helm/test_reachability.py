"""Who reaches whom, computed from the rendered NetworkPolicies."""

import pytest
from chart import EXAMPLES, NAMESPACE, at, example, merged, pods, render, rendered
from reachability import Endpoint, can_reach, endpoints, policies_of

INTERNET = Endpoint(address="93.184.216.34")
METADATA = Endpoint(address="169.254.169.254")
DNS = Endpoint({"k8s-app": "kube-dns"}, "kube-system", "10.96.0.10")
CLIENT = Endpoint({"guardedvlm": "caller"}, "applications", "10.244.3.3")
STRANGER = Endpoint({}, "elsewhere", "10.244.9.9")
NEIGHBOUR = Endpoint({}, NAMESPACE, "10.244.9.8")
PORTS = (1, 22, 53, 80, 443, 4317, 6379, 8080, *range(8442, 8452), 8889, 13133, 65535)
"""Every port that a rule or a container names, and some that none does."""
WITH_INFERENCE = ("one-gpu-box", "split", "tensor-parallel", "no-cert-manager")


def found(name):
    objects = rendered(name)
    return policies_of(objects), dict(endpoints(pods(objects), NAMESPACE))


def part(pods_by_name, component):
    return next(pod for pod in pods_by_name.values() if pod.labels["app.kubernetes.io/component"] == component)


@pytest.mark.parametrize("name", WITH_INFERENCE)
def test_inference_is_reached_by_the_guard_alone(name):
    policies, pods_by_name = found(name)
    inference = part(pods_by_name, "inference")
    others = [pod for pod in pods_by_name.values() if pod.labels["app.kubernetes.io/component"] != "guard"]
    for source in (*others, CLIENT, STRANGER, NEIGHBOUR, INTERNET):
        assert not [port for port in PORTS if can_reach(policies, source, inference, port)]
    guard = part(pods_by_name, "guard")
    assert [port for port in PORTS if can_reach(policies, guard, inference, port)] == [8445]


@pytest.mark.parametrize("name", WITH_INFERENCE)
def test_inference_reaches_nothing(name):
    policies, pods_by_name = found(name)
    inference = part(pods_by_name, "inference")
    for target in (INTERNET, METADATA, DNS, CLIENT, STRANGER, NEIGHBOUR, *pods_by_name.values()):
        assert not [port for port in PORTS if can_reach(policies, inference, target, port)]
    assert not can_reach(policies, inference, DNS, 53, "UDP")


@pytest.mark.parametrize("name", EXAMPLES)
def test_who_has_names_to_look_up_asks_dns_and_nobody_else(name):
    policies, pods_by_name = found(name)
    asking = {"guard", "console", "test"}
    if example(name).get("telemetry", {}).get("collector", {}).get("forward", {}).get("endpoint"):
        asking.add("collector")
    for pod in pods_by_name.values():
        asks = pod.labels["app.kubernetes.io/component"] in asking
        assert can_reach(policies, pod, DNS, 53, "UDP") is can_reach(policies, pod, DNS, 53) is asks
        assert not can_reach(policies, pod, DNS, 443)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_pod_reaches_the_internet_or_the_cloud(name):
    policies, pods_by_name = found(name)
    for pod in pods_by_name.values():
        assert not [port for port in (53, 80, 443, 4317, 8443) if can_reach(policies, pod, INTERNET, port)]
        assert not can_reach(policies, pod, METADATA, 80)


@pytest.mark.parametrize("name", EXAMPLES)
def test_callers_reach_the_guard_and_strangers_do_not(name):
    policies, pods_by_name = found(name)
    guard = part(pods_by_name, "guard")
    values = example(name)
    caller = Endpoint({"guardedvlm": "caller"}, "applications", "10.9.1.1")
    if name == "external-inference":  # names pods of its own namespace
        caller = Endpoint({"guardedvlm": "caller"}, NAMESPACE, "10.9.1.1")
    assert can_reach(policies, caller, guard, 8443)
    both = {"mutualTls": True, "tokens": True} | values["guard"].get("listen", {})
    assert can_reach(policies, caller, guard, 8447) is all(both.values())
    assert not can_reach(policies, caller, guard, 8444)
    assert not any(can_reach(policies, source, guard, 8443) for source in (STRANGER, NEIGHBOUR, INTERNET))


def test_the_test_pod_reaches_the_guard():
    policies, pods_by_name = found("one-gpu-box")
    test, guard = part(pods_by_name, "test"), part(pods_by_name, "guard")
    assert can_reach(policies, test, guard, 8443)
    assert not can_reach(policies, test, part(pods_by_name, "inference"), 8445)


def test_the_collector_takes_from_the_guard_and_is_scraped_by_prometheus_alone():
    policies, pods_by_name = found("split")
    collector, guard = part(pods_by_name, "collector"), part(pods_by_name, "guard")
    prometheus = Endpoint({"app.kubernetes.io/name": "prometheus"}, "monitoring", "10.244.7.7")
    assert can_reach(policies, guard, collector, 4317)
    assert not can_reach(policies, guard, collector, 8889)
    assert can_reach(policies, prometheus, collector, 8889)
    assert not can_reach(policies, prometheus, guard, 8443)
    assert can_reach(policies, collector, Endpoint(address="10.20.0.9"), 4317)
    assert not can_reach(policies, collector, Endpoint(address="10.20.0.10"), 4317)


def test_a_collector_that_hands_nothing_on_reaches_nothing():
    change = merged(at("telemetry.collector.forward.endpoint", ""), at("checkpoints.sink", "stdout"))
    objects = render(merged(example("split"), change))
    collector = part(dict(endpoints(pods(objects), NAMESPACE)), "collector")
    for target in (DNS, INTERNET, NEIGHBOUR, Endpoint(address="10.20.0.9")):
        assert not [port for port in PORTS if can_reach(policies_of(objects), collector, target, port)]
    assert not can_reach(policies_of(objects), collector, DNS, 53, "UDP")


def test_reviewers_reach_the_console_and_it_the_identity_provider():
    policies, pods_by_name = found("split")
    console = part(pods_by_name, "console")
    assert can_reach(policies, Endpoint({}, "ingress", "10.244.5.5"), console, 8450)
    assert not can_reach(policies, CLIENT, console, 8450)
    assert can_reach(policies, console, Endpoint(address="10.20.0.7"), 443)
    assert not can_reach(policies, console, part(pods_by_name, "guard"), 8443)


def test_an_engine_elsewhere_is_reached_at_its_port_alone():
    policies, pods_by_name = found("external-inference")
    guard, engine = part(pods_by_name, "guard"), Endpoint(address="10.3.0.12")
    assert [port for port in PORTS if can_reach(policies, guard, engine, port)] == [8445]


def test_declared_peers_of_inference_are_let_through():
    rule = {"to": [{"ipBlock": {"cidr": "10.4.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 6379}]}
    objects = render(merged(example("split"), at("networkPolicy.inferenceEgress", [rule])))
    inference = part(dict(endpoints(pods(objects), NAMESPACE)), "inference")
    assert can_reach(policies_of(objects), inference, Endpoint(address="10.4.0.5"), 6379)
    assert can_reach(policies_of(objects), inference, DNS, 53, "UDP")
    assert not can_reach(policies_of(objects), inference, INTERNET, 6379)


def test_without_policies_everything_is_open():
    """What the computation says of a chart that draws no line: else it could say no to everything."""
    objects = render(merged(example("split"), at("networkPolicy.enabled", False)))
    pods_by_name = dict(endpoints(pods(objects), NAMESPACE))
    assert not policies_of(objects)
    assert can_reach([], CLIENT, part(pods_by_name, "inference"), 8445)
    assert can_reach([], part(pods_by_name, "inference"), INTERNET, 443)
