"""The chart, rendered by Helm's own engine, and the values that its tests render it with."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "guardedvlm"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}
RELEASE, NAMESPACE = "gv", "guarded"
Object = dict[str, Any]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A key of no guard; what the tests sign with, they make themselves.
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


def digest(letter: str) -> str:
    """A digest of no image."""
    return "sha256:" + letter * 64


def policies() -> dict[str, str]:
    """The shipped policies as `policies.files` has them."""
    folder = ROOT / "policies"
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in sorted(folder.glob("*/*.yaml"))}


def merged(*layers: Object) -> Object:
    """Later values over earlier ones, as Helm merges files of values."""
    found: Object = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(found.get(key), dict)
            found[key] = merged(found[key], value) if both else value
    return found


def at(place: str, value: Any) -> Object:
    """{"a": {"b": value}} for a.b; a dot in a key is written as |."""
    for key in reversed(place.split(".")):
        value = {key.replace("|", "."): value}
    return value


def site(example: Object) -> Object:
    """What a site adds to an example: digests, policies, the guard's public key."""
    own = merged(
        at("guard.image.digest", digest("a")),
        at("inference.image.digest", digest("b")),
        at("console.image.digest", digest("a")),
        at("telemetry.collector.image.digest", digest("c")),
        at("policies.files", policies()),
    )
    mode = example.get("inference", {}).get("mode", "internal")
    return merged(own, at("inference.guardKeys.first", PUBLIC_KEY)) if mode == "internal" else own


@functools.cache
def chart() -> Chart:
    """The chart, loaded once."""
    return Chart.load(CHART)


def example(name: str) -> Object:
    """The values of an example, complete."""
    values = yaml.safe_load(EXAMPLES[name].read_text("utf-8"))
    return merged(values, site(values))


def render_files(values: Object) -> dict[str, str]:
    """What Helm makes of the values, by template. Raises HelmError."""
    return chart().render(values, name=RELEASE, namespace=NAMESPACE)


def objects_of(files: dict[str, str]) -> list[Object]:
    """All objects of rendered files."""
    texts = (text for name, text in files.items() if name.endswith(".yaml"))
    return [found for text in texts for found in yaml.load_all(text, LOADER) if found]


def render(values: Object) -> list[Object]:
    """All objects that the values make."""
    return objects_of(render_files(values))


@functools.cache
def _rendered(name: str) -> list[Object]:
    return render(example(name))


def rendered(name: str) -> list[Object]:
    """All objects of an example; a copy."""
    return copy.deepcopy(_rendered(name))


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and name (without the release's prefix)."""
    full = f"{RELEASE}-guardedvlm{name and '-' + name}"
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == full]
    return found


def pods(objects: list[Object]) -> dict[str, Object]:
    """Every pod, or template of one, by the name of what makes it: {"metadata", "spec"}."""
    found = {}
    for one in objects:
        if one["kind"] == "Pod":
            found[one["metadata"]["name"]] = one
        elif one["kind"] in {"StatefulSet", "Deployment", "Job", "DaemonSet"}:
            found[one["metadata"]["name"]] = one["spec"]["template"]
    return found


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def container(pod: Object, name: str) -> Object:
    """The container with this name."""
    (found,) = [one for one in containers(pod) if one["name"] == name]
    return found
