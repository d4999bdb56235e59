"""CogVLM2 on vLLM: continuous batching, paged KV, prefix caching, tensor parallelism.

vLLM is imported when an engine starts, and not before: the project installs, imports and is tested without it.
"""

from importlib.util import find_spec

from guardedvlm.errors import ConfigurationError, Reason

NOT_INSTALLED = "vLLM is not installed in this environment: pip install 'guardedvlm[vllm]' (docs/vllm.md)"


def require_vllm() -> None:
    """Raise ConfigurationError(SETTINGS_INVALID) where vLLM is not installed."""
    if find_spec("vllm") is None:
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="engine", explanation=NOT_INSTALLED)
