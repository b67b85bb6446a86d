"""Check the settings of a client that are not its domain.

Each function returns the problems of one setting as the ends of sentences that begin with the
setting's name. The problems do not repeat the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import NoReturn

from okta_tokens._auth.dpop import DPoP
from okta_tokens._model.domain import is_placeholder
from okta_tokens.errors import ConfigurationError

_SERVER_ID = re.compile(r"[A-Za-z0-9_-]+")


def client_id_problems(client_id: object) -> list[str]:
    """Return what is wrong with a client id.

    Args:
        client_id: What the user gave.
    """
    if not isinstance(client_id, str) or not client_id.strip():
        return ["is empty; give the client id of your app"]
    if is_placeholder(client_id.replace("$", "")):
        return ["is a placeholder; replace it with the client id of your app"]
    if not (client_id.isascii() and client_id.isprintable()) or set(client_id) & {" ", ":"}:
        return ["must be printable ASCII without spaces and colons; copy it from your app"]
    return []


def server_problems(server: object, org: str) -> list[str]:
    """Return what is wrong with the id of an authorization server.

    Args:
        server: What the user gave; `None` for the org authorization server.
        org: How this setting spells the org authorization server.
    """
    if server is None or (isinstance(server, str) and _SERVER_ID.fullmatch(server)):
        return []
    return [f"must be an id such as default or aus…, or {org} for the org authorization server"]


def authentication_problems(authentication: object) -> list[str]:
    """Return what is wrong with a method of client authentication.

    Args:
        authentication: What the user gave.
    """
    is_method = callable(authentication) and not isinstance(authentication, type)
    if is_method and isinstance(authentication, Hashable):
        return []
    return [
        "must be ClientSecretBasic(…), ClientSecretPost(…), ClientSecretJWT(…) or PrivateKeyJWT(…)"
    ]


def dpop_problems(dpop: object) -> list[str]:
    """Return what is wrong with the `dpop` of a client.

    Args:
        dpop: What the user gave.
    """
    return [] if dpop is None or isinstance(dpop, DPoP) else ["must be DPoP(…) or None"]


def raise_problems(source: str, problems: list[str]) -> NoReturn:
    """Raise one error that lists every problem.

    Args:
        source: Where the settings come from.
        problems: What is wrong, each with the name of its setting.

    Raises:
        ConfigurationError: Always.
    """
    message = f"{source}: {'; '.join(problems)}"
    raise ConfigurationError(message)
