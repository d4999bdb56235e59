"""The gRPC edge of the guard: it translates and never decides."""
