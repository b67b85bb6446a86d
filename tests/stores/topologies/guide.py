"""What the guide to stores says about topologies: rights of users, and clients."""

from __future__ import annotations

import re
from typing import Any

from tests.pages import marked_block, page

(RIGHTS,) = re.findall(r"`(~okta-tokens:\*[^`]*)`", page("stores"))
"""The rights of a user on a server."""

RIGHTS_ON_A_CLUSTER = " ".join(re.findall(r"on a cluster also `([^`]*)`", page("stores")))
"""The rights that a user needs besides on each node of a cluster."""

(RIGHTS_ON_A_SENTINEL,) = re.findall(r"on a sentinel only `([^`]*)`", page("stores"))
"""The rights of a user on a sentinel."""


def _clients() -> tuple[Any, Any]:
    names: dict[str, Any] = {}
    exec(marked_block("recipe", "topologies"), names)  # noqa: S102 - our own page
    return names["cluster"], names["primary"]


cluster_client, sentinel_client = _clients()
