"""Parse the environment variables that describe a client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._auth.client_secret import ClientSecretBasic, secret_problem
from okta_tokens._auth.dpop import DPoP
from okta_tokens._auth.key_forms import is_key_path
from okta_tokens._model.client_settings import (
    client_id_problems,
    server_problems,
    swap_problems,
)
from okta_tokens._model.domain import parse_domain
from okta_tokens._runtime.arguments import checked, text_of
from okta_tokens.errors import ConfigurationError

ORG_SERVER = "org"
"""How the environment and the command line spell the org authorization server."""

_NAMES = (
    "OKTA_CLIENT_ORGURL",
    "OKTA_CLIENT_CLIENTID",
    "OKTA_CLIENT_SECRET",
    "OKTA_CLIENT_PRIVATEKEY",
    "OKTA_CLIENT_PRIVATEKEYID",
    "OKTA_CLIENT_AUTHORIZATIONSERVER",
    "OKTA_CLIENT_DPOPENABLED",
)

EnvironmentAuthentication = ClientSecretBasic | PrivateKeyJWT


class ClientArguments(TypedDict):
    """The arguments of `OktaClient`."""

    domain: str
    client_id: str
    authentication: EnvironmentAuthentication
    authorization_server: str | None
    dpop: DPoP | None


def parse_environment(variables: object) -> ClientArguments | list[str]:
    """Return the arguments of the client that environment variables describe, or what is wrong.

    The problems are returned, not raised, because this frame has seen secrets.
    `OktaClient.from_env` documents the variables.

    Args:
        variables: The environment.
    """
    unreadable = ["environ: cannot be read; pass a mapping from names to strings, or None"]
    found = checked(lambda: _read(cast("Mapping[str, object]", variables)), unreadable)
    return found if isinstance(found, list) else _parse(found)


def _read(variables: Mapping[str, object]) -> Mapping[str, str] | list[str]:
    """Return the text of each variable, empty if it is not set, or which of them are not texts."""
    values = {name: variables.get(name) for name in _NAMES}
    texts = {name: "" if value is None else text_of(value) for name, value in values.items()}
    problems = [f"{name}: is not a string" for name, text in texts.items() if text is None]
    return problems or {name: text or "" for name, text in texts.items()}


def _parse(variables: Mapping[str, str]) -> ClientArguments | list[str]:
    domain, client_id = variables["OKTA_CLIENT_ORGURL"], variables["OKTA_CLIENT_CLIENTID"]
    server = variables["OKTA_CLIENT_AUTHORIZATIONSERVER"] or "default"
    server_id = None if server == ORG_SERVER else server
    authentication = _parse_authentication(variables)
    dpop = _parse_dpop(variables["OKTA_CLIENT_DPOPENABLED"])
    problems = [
        *(f"OKTA_CLIENT_ORGURL: {problem}" for problem in parse_domain(domain)[1]),
        *(f"OKTA_CLIENT_CLIENTID: {problem}" for problem in client_id_problems(client_id)),
        *([authentication] if isinstance(authentication, str) else []),
        *(
            f"OKTA_CLIENT_AUTHORIZATIONSERVER: {problem}"
            for problem in server_problems(server_id, ORG_SERVER)
        ),
        *([f"OKTA_CLIENT_DPOPENABLED: {dpop}"] if isinstance(dpop, str) else []),
    ]
    if not problems and swap_problems(client_id, authentication):
        problems.append(
            "OKTA_CLIENT_CLIENTID: holds the secret, and OKTA_CLIENT_SECRET the client id; "
            "exchange them"
        )
    if problems or isinstance(authentication, str) or isinstance(dpop, str):
        return problems
    return ClientArguments(
        domain=domain,
        client_id=client_id,
        authentication=authentication,
        authorization_server=server_id,
        dpop=dpop,
    )


def _parse_dpop(enabled: str) -> DPoP | str | None:
    """Return a new key if the variable enables DPoP, or what is wrong."""
    if enabled.lower() in {"", "false"}:
        return None
    if enabled.lower() != "true":
        return "must be true or false"
    try:
        return DPoP()
    except ConfigurationError as error:
        return str(error).removeprefix("DPoP: ")


def _parse_authentication(variables: Mapping[str, str]) -> EnvironmentAuthentication | str:
    """Return the method of authentication, or what is wrong with its variables."""
    secret, key = variables["OKTA_CLIENT_SECRET"], variables["OKTA_CLIENT_PRIVATEKEY"]
    if not secret and not key:
        return (
            "OKTA_CLIENT_SECRET: is not set, and neither is OKTA_CLIENT_PRIVATEKEY; set one of them"
        )
    if secret and key:
        return "OKTA_CLIENT_SECRET: is set, and so is OKTA_CLIENT_PRIVATEKEY; set only one of them"
    if not key:
        problem = secret_problem(secret)
        return f"OKTA_CLIENT_SECRET: {problem}" if problem else ClientSecretBasic(secret)
    kid = variables["OKTA_CLIENT_PRIVATEKEYID"] or None
    is_path = is_key_path(key)
    try:
        return PrivateKeyJWT(Path(key) if is_path else key, kid=kid)
    except ConfigurationError as error:
        problem = str(error).removeprefix("PrivateKeyJWT: ")
        name = "OKTA_CLIENT_PRIVATEKEY" + ("ID" if problem.startswith("kid ") else "")
        return f"{name}: {problem}"
