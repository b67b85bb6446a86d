"""Let an HTTP or gRPC client carry the token: one public module for each client."""
