"""The token manager, the cache entries, and sharing with other processes."""
