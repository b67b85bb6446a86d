"""The attributes of measurements: names of the semantic conventions, and few values."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from okta_tokens import TokenKey

Attributes = tuple[tuple[str, str | int], ...]
"""Names and values: hashable, so that measurements can be grouped by them."""

CLIENT_ID = "okta_tokens.client_id"
ERROR_TYPE = "error.type"
REASON = "okta_tokens.reason"
STATE = "okta_tokens.state"
STATUS = "http.response.status_code"

_MAX_DOMAINS = 1_000


@lru_cache(_MAX_DOMAINS)
def of_domain(domain: str) -> Attributes:
    """Return the attributes of a domain.

    Args:
        domain: The domain, `host[:port]`. A port is never the default one of its scheme.
    """
    url = urlsplit(f"//{domain}")
    address: Attributes = (("server.address", url.hostname or domain),)
    return address if url.port is None else (*address, ("server.port", url.port))


def of_key(key: TokenKey, *, client_id: bool) -> Attributes:
    """Return the attributes of a key's domain and client.

    Args:
        key: The key.
        client_id: Whether the id of the client is one of them.
    """
    address = of_domain(key.domain)
    return (*address, (CLIENT_ID, key.client_id)) if client_id else address
