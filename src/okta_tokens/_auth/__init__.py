"""Client authentication: the four methods, client assertions, DPoP proofs, and keys."""
