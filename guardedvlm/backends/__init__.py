"""How the guard reaches inference: in process or over gRPC. Knows the port, no engine."""
