"""A provider on real sockets, behind a proxy that causes every kind of network fault."""
