"""A provider on real sockets, and a network between it and its server that does the worst."""
