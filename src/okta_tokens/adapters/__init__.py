"""Let an HTTP or gRPC client carry the token: one module for each client, imported by name."""
