"""Parse the environment variables that describe a client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TypedDict, cast

from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._auth.client_secret import ClientSecretBasic
from okta_tokens._auth.dpop import DPoP
from okta_tokens._auth.key_forms import is_key_path
from okta_tokens._model.client_settings import (
    client_id_problems,
    server_problems,
    swap_problems,
)
from okta_tokens._model.domain import parse_domain
from okta_tokens._runtime.arguments import checked, looks_secret, text_of
from okta_tokens.errors import ConfigurationError

ORG_SERVER = "org"
"""How the environment and the command line spell the org authorization server."""

DEFAULT_PREFIX = "OKTA_CLIENT_"
"""How the variables of Okta's SDKs begin."""

_OWN = (
    "ORGURL",
    "CLIENTID",
    "SECRET",
    "SECRET_FILE",
    "PRIVATEKEY",
    "PRIVATEKEY_FILE",
    "PRIVATEKEYID",
    "KID",
    "AUTHORIZATIONSERVER",
    "DPOPENABLED",
)
"""The variables of a client, without their prefix."""
_OF_SDKS = re.compile(
    "SCOPES|TOKEN|AUTHORIZATIONMODE|USERAGENT|MAXRETRIES|RATELIMIT_MAXRETRIES"
    "|(CONNECTION|REQUEST)TIMEOUT|(CACHE|PROXY|LOGGING|TESTING|RATELIMIT|OAUTH2?)_.*|LOGGING.*"
)
"""The variables of Okta's SDKs that mean nothing here; the command reads `SCOPES`."""
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTES = ("'", '"')
_MAX_SHOWN = 64  # characters of a name
_MAX_NAMES = 1_000  # variables that are looked at for wrong names

EnvironmentAuthentication = ClientSecretBasic | PrivateKeyJWT


class ClientArguments(TypedDict):
    """The arguments of `OktaClient`."""

    domain: str
    client_id: str
    authentication: EnvironmentAuthentication
    authorization_server: str | None
    dpop: DPoP | None
    allow_http: bool


def parse_environment(
    variables: object, prefix: object, *, allow_http: object = False
) -> ClientArguments | list[str]:
    """Return the arguments of the client that environment variables describe, or what is wrong.

    The problems are returned, not raised, because this frame has seen secrets.
    `OktaClient.from_env` documents the variables.

    Args:
        variables: The environment.
        prefix: How the names of the variables begin.
        allow_http: Whether `http://` is valid for another machine, as the user gave it.
    """
    if type(allow_http) is not bool:
        return ["allow_http: must be True or False"]
    start = text_of(prefix)
    if start is None or not _PREFIX.fullmatch(start):
        return ["prefix: must be the beginning of a name, such as OKTA_CLIENT_"]
    unreadable = ["environ: cannot be read; pass a mapping from names to strings, or None"]
    found = checked(lambda: _read(cast("Mapping[str, object]", variables), start), unreadable)
    if isinstance(found, list):
        return found
    parsed = _parse(found, start, allow_http=allow_http)
    return [f"{start}{each}" for each in parsed] if isinstance(parsed, list) else parsed


def unknown_variables(variables: object, prefix: object) -> list[str]:
    """Return a warning for each variable that begins with the prefix and means nothing.

    Args:
        variables: The environment.
        prefix: How the names of the variables begin.
    """
    start = text_of(prefix) or DEFAULT_PREFIX
    names = checked(lambda: [*islice(cast("Iterable[object]", variables), _MAX_NAMES)], [])
    texts = [text for name in names if (text := text_of(name)) and text.startswith(start)]
    return [warning for text in texts if (warning := _unknown(text.removeprefix(start), start))]


def _unknown(name: str, prefix: str) -> str | None:
    if name in _OWN or _OF_SDKS.fullmatch(name) or looks_secret(name):
        return None
    nearest = get_close_matches(name.upper(), _OWN, 1)
    advice = f"do you mean {prefix}{nearest[0]}?" if nearest else "remove it, or correct its name"
    return f"{prefix}{name[:_MAX_SHOWN]} is not a variable of a client; {advice}"


def _read(variables: Mapping[str, object], prefix: str) -> Mapping[str, str] | list[str]:
    """Return the text of each variable, empty if it is not set, or which of them are not texts."""
    values = {name: variables.get(f"{prefix}{name}") for name in _OWN}
    texts = {name: "" if value is None else text_of(value) for name, value in values.items()}
    problems = [f"{prefix}{name}: is not a string" for name, text in texts.items() if text is None]
    return problems or {name: text or "" for name, text in texts.items()}


def _parse(
    variables: Mapping[str, str], prefix: str, *, allow_http: bool
) -> ClientArguments | list[str]:
    """Return the arguments, or the problems, each with the name of its variable."""
    spelling = [
        f"{name}: {problem}"
        for name, text in variables.items()
        if name != "PRIVATEKEY" and (problem := _spelling_problem(text))
    ]
    if spelling:
        return spelling
    domain, client_id = variables["ORGURL"], variables["CLIENTID"]
    server = variables["AUTHORIZATIONSERVER"] or "default"
    server_id = None if server == ORG_SERVER else server
    authentication = _parse_authentication(variables, prefix)
    dpop = _parse_dpop(variables["DPOPENABLED"])
    problems = [
        *(f"ORGURL: {problem}" for problem in parse_domain(domain, allow_http=allow_http)[1]),
        *(f"CLIENTID: {problem}" for problem in client_id_problems(client_id)),
        *([authentication] if isinstance(authentication, str) else []),
        *(f"AUTHORIZATIONSERVER: {problem}" for problem in server_problems(server_id, ORG_SERVER)),
        *([f"DPOPENABLED: {dpop}"] if isinstance(dpop, str) else []),
    ]
    if not problems and swap_problems(client_id, authentication):
        problems.append(
            f"CLIENTID: holds the secret, and {prefix}SECRET the client id; exchange them"
        )
    if problems or isinstance(authentication, str) or isinstance(dpop, str):
        return problems
    return ClientArguments(
        domain=domain,
        client_id=client_id,
        authentication=authentication,
        authorization_server=server_id,
        dpop=dpop,
        allow_http=allow_http,
    )


def _spelling_problem(text: str) -> str | None:
    """Return what an editor or `docker --env-file` left around a value."""
    if len(text) > 1 and text[0] == text[-1] and text.startswith(_QUOTES):
        return "is in quotation marks, which are part of the value here; remove them"
    return "begins or ends with white space; remove it" if text != text.strip() else None


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


def _parse_authentication(
    variables: Mapping[str, str], prefix: str
) -> EnvironmentAuthentication | str:
    """Return the method of authentication, or what is wrong with its variables."""
    credentials = {
        name: variables[name]
        for name in ("SECRET", "SECRET_FILE", "PRIVATEKEY", "PRIVATEKEY_FILE")
        if variables[name]
    }
    if not credentials:
        return f"SECRET: is not set, and neither is {prefix}PRIVATEKEY; set one of them"
    if len(credentials) > 1:
        first, *others = credentials
        rest = " and ".join(f"{prefix}{name}" for name in others)
        return f"{first}: is set, and so is {rest}; set only one of them"
    ((name, value),) = credentials.items()
    if name.startswith("SECRET"):
        return _parse_secret(name, value)
    kid = variables["PRIVATEKEYID"] or variables["KID"] or None
    if variables["KID"] not in {"", kid}:
        return f"KID: differs from {prefix}PRIVATEKEYID; set only one of them"
    is_path = name == "PRIVATEKEY_FILE" or is_key_path(value)
    try:
        return PrivateKeyJWT(Path(value) if is_path else value, kid=kid)
    except ConfigurationError as error:
        problem = str(error).removeprefix("PrivateKeyJWT: ")
        if problem.startswith("kid "):
            name = "PRIVATEKEYID" if variables["PRIVATEKEYID"] else "KID"
        return f"{name}: {problem}"


def _parse_secret(name: str, value: str) -> ClientSecretBasic | str:
    try:
        return ClientSecretBasic(Path(value) if name == "SECRET_FILE" else value)
    except ConfigurationError as error:
        problem = str(error).removeprefix("ClientSecretBasic: the secret ")
        return f"{name}: {problem}"
