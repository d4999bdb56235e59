"""What vLLM counts, kept in memory: how full the KV cache is, and how many tokens it found there. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase


@dataclass(slots=True)
class Meters:
    """The latest and the summed figures of one engine."""

    blocks: int = 0
    """Blocks of the KV cache."""
    usage: float = 0.0
    """Share of them that running requests hold."""
    running: int = 0
    waiting: int = 0
    prefix_queries: int = 0
    """Prompt tokens that were looked up in the KV cache."""
    prefix_hits: int = 0
    """Those of them that were found."""
    image_queries: int = 0
    """Pictures that were looked up among the prepared ones."""
    image_hits: int = 0
    preemptions: int = 0

    @property
    def held_blocks(self) -> int:
        """Blocks that running requests hold."""
        return round(self.usage * self.blocks)


class MeterLogger(StatLoggerBase):
    """Feeds `meters`; writes nothing."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Take one step's figures."""
        del engine_idx
        if scheduler_stats is not None:
            self._meters.usage = scheduler_stats.kv_cache_usage
            self._meters.running = scheduler_stats.num_running_reqs
            self._meters.waiting = scheduler_stats.num_waiting_reqs
            self._meters.prefix_queries += scheduler_stats.prefix_cache_stats.queries
            self._meters.prefix_hits += scheduler_stats.prefix_cache_stats.hits
        if iteration_stats is not None:
            self._meters.preemptions += iteration_stats.num_preempted_reqs
        if mm_cache_stats is not None:
            self._meters.image_queries += mm_cache_stats.queries
            self._meters.image_hits += mm_cache_stats.hits

    def log_engine_initialized(self) -> None:
        """Nothing is said."""
