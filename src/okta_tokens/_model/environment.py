"""Parse the environment variables that describe a client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._auth.client_secret import ClientSecretBasic, secret_problem
from okta_tokens._auth.dpop import DPoP
from okta_tokens._model.client_settings import client_id_problems, server_problems
from okta_tokens._model.domain import parse_domain
from okta_tokens.errors import ConfigurationError

ORG_SERVER = "org"
"""How the environment and the command line spell the org authorization server."""

EnvironmentAuthentication = ClientSecretBasic | PrivateKeyJWT


class ClientArguments(TypedDict):
    """The arguments of `OktaClient`."""

    domain: str
    client_id: str
    authentication: EnvironmentAuthentication
    authorization_server: str | None
    dpop: DPoP | None


def parse_environment(variables: Mapping[str, str]) -> ClientArguments | list[str]:
    """Return the arguments of the client that environment variables describe, or what is wrong.

    The problems are returned, not raised, because this frame has seen secrets.
    `OktaClient.from_env` documents the variables.

    Args:
        variables: The environment.
    """
    domain = variables.get("OKTA_CLIENT_ORGURL") or ""
    client_id = variables.get("OKTA_CLIENT_CLIENTID") or ""
    server = variables.get("OKTA_CLIENT_AUTHORIZATIONSERVER") or "default"
    dpop = variables.get("OKTA_CLIENT_DPOPENABLED") or "false"
    authentication = _parse_authentication(variables)
    problems = [
        *(f"OKTA_CLIENT_ORGURL: {problem}" for problem in parse_domain(domain)[1]),
        *(f"OKTA_CLIENT_CLIENTID: {problem}" for problem in client_id_problems(client_id)),
        *([authentication] if isinstance(authentication, str) else []),
        *(
            f"OKTA_CLIENT_AUTHORIZATIONSERVER: {problem}"
            for problem in server_problems(server, ORG_SERVER)
        ),
    ]
    if str(dpop).lower() not in {"true", "false"}:
        problems.append("OKTA_CLIENT_DPOPENABLED: must be true or false")
    if problems or isinstance(authentication, str):
        return problems
    return ClientArguments(
        domain=domain,
        client_id=client_id,
        authentication=authentication,
        authorization_server=None if server == ORG_SERVER else server,
        dpop=DPoP() if dpop.lower() == "true" else None,
    )


def _parse_authentication(variables: Mapping[str, str]) -> EnvironmentAuthentication | str:
    """Return the method of authentication, or what is wrong with its variables."""
    secret = variables.get("OKTA_CLIENT_SECRET") or ""
    key = variables.get("OKTA_CLIENT_PRIVATEKEY") or ""
    if not secret and not key:
        return (
            "OKTA_CLIENT_SECRET: is not set, and neither is OKTA_CLIENT_PRIVATEKEY; set one of them"
        )
    if secret and key:
        return "OKTA_CLIENT_SECRET: is set, and so is OKTA_CLIENT_PRIVATEKEY; set only one of them"
    if not key:
        problem = secret_problem(secret)
        return f"OKTA_CLIENT_SECRET: {problem}" if problem else ClientSecretBasic(secret)
    kid = variables.get("OKTA_CLIENT_PRIVATEKEYID") or None
    is_path = "BEGIN " not in key and not key.lstrip().startswith("{")
    try:
        return PrivateKeyJWT(Path(key) if is_path else key, kid=kid)
    except ConfigurationError as error:
        return f"OKTA_CLIENT_PRIVATEKEY: {str(error).removeprefix('PrivateKeyJWT: ')}"
