"""Check the settings of a client that are not its domain.

Each function returns the problems of one setting as the ends of sentences that begin with the
setting's name. The problems do not repeat the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import re
from typing import cast

from okta_tokens._auth.client_secret import ID_PREFIX, ClientSecret
from okta_tokens._auth.dpop import DPoP
from okta_tokens._model.domain import is_placeholder
from okta_tokens._runtime.arguments import checked, looks_secret, text_of

_SERVER_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ORG_SPELLINGS = {"org", "none", "null"}  # no such server exists, and `None` was meant
_MAX_CLIENT_ID = 255  # characters; Okta allows 100


def client_id_problems(client_id: object) -> list[str]:
    """Return what is wrong with a client id.

    Args:
        client_id: What the user gave.
    """
    text = text_of(client_id)
    if text is None or not text.strip():
        return ["is empty; give the client id of your app"]
    if len(text) > _MAX_CLIENT_ID:
        return [f"has more than {_MAX_CLIENT_ID} characters; copy it from your app"]
    if is_placeholder(text.replace("$", "")):
        return ["is a placeholder; replace it with the client id of your app"]
    if not (text.isascii() and text.isprintable()) or set(text) & {" ", ":"}:
        return ["must be printable ASCII without spaces and colons; copy it from your app"]
    if not text.startswith(ID_PREFIX) and looks_secret(text):
        return ["looks like a secret or a token; give the client id of your app"]
    return []


def swap_problems(client_id: object, authentication: object) -> list[str]:
    """Return that the client id and the client secret are in each other's place, if they are.

    Args:
        client_id: What the user gave.
        authentication: What the user gave.
    """
    text = text_of(client_id)
    if text is None or not issubclass(type(authentication), ClientSecret):
        return []
    if not cast("ClientSecret", authentication)._is_swapped_with(text):
        return []
    return ["is in the place of the secret, and the secret in its place; exchange them"]


def server_problems(server: object, org: str) -> list[str]:
    """Return what is wrong with the id of an authorization server.

    Args:
        server: What the user gave; `None` for the org authorization server.
        org: How this setting spells the org authorization server.
    """
    text = text_of(server)
    problem = f"must be an id such as default or aus…, or {org} for the org authorization server"
    if server is None:
        return []
    if text is None or not _SERVER_ID.fullmatch(text) or text.lower() in _ORG_SPELLINGS:
        return [problem]
    if looks_secret(text):
        return [f"looks like a secret or a token; it {problem}"]
    return []


def authentication_problems(authentication: object) -> list[str]:
    """Return what is wrong with a method of client authentication.

    Args:
        authentication: What the user gave.
    """
    is_method = callable(authentication) and not issubclass(type(authentication), type)
    if is_method and checked(lambda: isinstance(hash(authentication), int), problem=False):
        return []
    return [
        "must be ClientSecretBasic(…), ClientSecretPost(…), ClientSecretJWT(…) or PrivateKeyJWT(…)"
    ]


def flag_problems(flag: object) -> list[str]:
    """Return what is wrong with a setting that is on or off.

    Args:
        flag: What the user gave.
    """
    return [] if type(flag) is bool else ["must be True or False"]


def dpop_problems(dpop: object) -> list[str]:
    """Return what is wrong with the `dpop` of a client.

    Args:
        dpop: What the user gave.
    """
    return [] if dpop is None or issubclass(type(dpop), DPoP) else ["must be DPoP(…) or None"]
