"""The store that processes share: its protocol, and a guard that makes a broken store harmless."""
