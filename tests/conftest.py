"""What tests share: no outside connection from this process, and one real service for the end-to-end tests."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "loopback_only"))
import sitecustomize as loopback_only

sys.path.pop(0)
sys.addaudithook(loopback_only._audit)

settings.register_profile("any machine", deadline=None)  # correctness never depends on speed
settings.load_profile("any machine")

SHARED = Path(__file__).parent.parent.parent / "shared"


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none, and vLLM where it is not installed."""
    if find_spec("vllm") is None:
        for item in items:
            if item.get_closest_marker("vllm"):
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed here: make test-vllm"))
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="there is no GPU here"))


@pytest.fixture(scope="session")
def shared_data():
    """The labelled data beside the checkout."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the labelled data is not beside this checkout")
    return SHARED / "data"


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """One service with two tenants and a collector, for all tests that only call it. It takes callers' trace ids: what
    must not leave has one way out more."""
    # Here, so that tests of vLLM run where nothing of the guard is installed.
    from otlp_collector import collecting
    from running_service import start_service, stop_service

    with collecting(tmp_path_factory.mktemp("collector")) as collector:
        otlp = ["--otel", "otlp", "--otlp-endpoint", collector.endpoint]
        service = start_service(tmp_path_factory.mktemp("service"), otlp, GUARDEDVLM_TRACES="join")
        service.collector = collector
        yield service
        stop_service(service)
