"""What both gRPC edges share: addresses, TLS, who calls, google.rpc.Status, health."""
