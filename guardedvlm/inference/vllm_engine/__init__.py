"""CogVLM2 on vLLM: continuous batching, paged KV, prefix caching, tensor parallelism. vLLM is imported when an engine
starts, and not before: the package imports and installs without it."""
