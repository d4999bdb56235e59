"""Generated from protos/guardedvlm/v1 by `make protos`; never edited."""
