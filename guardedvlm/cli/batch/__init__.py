"""`guardedvlm batch INPUT...` and `guardedvlm batch-status DIR`: what they print has no file name, unless asked to."""

from guardedvlm.cli.batch.command import batch, batch_status

__all__ = ["batch", "batch_status"]
