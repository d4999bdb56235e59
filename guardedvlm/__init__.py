"""GuardedVLM: a guarded vision-language model service."""

__version__ = "0.1.0"
