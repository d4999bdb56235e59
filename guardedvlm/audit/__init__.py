"""Evidence: the closed record, the hash-chained ledger, its verification, and OpenTelemetry made from records."""
