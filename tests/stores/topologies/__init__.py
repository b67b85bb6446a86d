"""Topologies of stores, with real servers: clusters, sentinels, TLS, little memory, partitions."""
