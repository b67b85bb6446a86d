"""Parse the settings that describe a client: the environment's variables, or a file's fields."""

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

FIELDS = {
    "ORGURL": "orgUrl",
    "CLIENTID": "clientId",
    "SECRET": "clientSecret",
    "SECRET_FILE": "clientSecretFile",
    "PRIVATEKEY": "privateKey",
    "PRIVATEKEY_FILE": "privateKeyFile",
    "PRIVATEKEYID": "privateKeyId",
    "KID": "kid",
    "AUTHORIZATIONSERVER": "authorizationServer",
    "DPOPENABLED": "dpopEnabled",
}
"""The variables of a client, without their prefix, and the same settings in a file."""
_OF_SDKS = re.compile(
    "SCOPES|TOKEN|AUTHORIZATIONMODE|USERAGENT|MAXRETRIES|RATELIMIT_MAXRETRIES|CLIENTASSERTION"
    "|OAUTHTOKENRENEWALOFFSET|DPOPKEYROTATIONINTERVAL|(CONNECTION|REQUEST)TIMEOUT"
    "|(CACHE|CACHEMANAGER|PROXY|LOGGING|TESTING|RATELIMIT|OAUTH2?)_.*|LOGGING.*"
)
"""The settings of Okta's SDKs that mean nothing here; the command reads `SCOPES`."""
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTES = ("'", '"')
_MAX_SHOWN = 64  # characters of a name
_MAX_NAMES = 1_000  # variables that are looked at for wrong names

ParsedAuthentication = ClientSecretBasic | PrivateKeyJWT


class ClientArguments(TypedDict):
    """The arguments of `OktaClient`."""

    domain: str
    client_id: str
    authentication: ParsedAuthentication
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
    names = {name: f"{start}{name}" for name in FIELDS}
    found = checked(lambda: _read(cast("Mapping[str, object]", variables), names), unreadable)
    return found if isinstance(found, list) else parse_settings(found, names, allow_http=allow_http)


def unknown_variables(variables: object, prefix: object) -> list[str]:
    """Return a warning for each variable that begins with the prefix and means nothing.

    Args:
        variables: The environment.
        prefix: How the names of the variables begin.
    """
    start = text_of(prefix) or DEFAULT_PREFIX
    names = checked(lambda: [*islice(cast("Iterable[object]", variables), _MAX_NAMES)], [])
    texts = [text for name in names if (text := text_of(name)) and text.startswith(start)]
    suffixes = (text.removeprefix(start) for text in texts)
    return [warning for name in suffixes if (warning := unknown_name(name, FIELDS, start))]


def unknown_name(name: str, known: Iterable[str], prefix: str) -> str | None:
    """Return a warning for a setting that means nothing, with the nearest name.

    Args:
        name: The name of the setting, without its prefix.
        known: The names of the settings of a client.
        prefix: What stands before each name.
    """
    names = {each.upper(): each for each in known}
    if name in names.values() or _OF_SDKS.fullmatch(name.upper()) or looks_secret(name):
        return None
    nearest = get_close_matches(name.upper(), names, 1)
    advice = "remove it, or correct its name"
    if nearest:
        advice = f"do you mean {prefix}{names[nearest[0]]}?"
    return f"{prefix}{name[:_MAX_SHOWN]} is not a setting of a client; {advice}"


def _read(variables: Mapping[str, object], names: Mapping[str, str]) -> dict[str, str] | list[str]:
    """Return the text of each variable, empty if it is not set, or which of them are not texts."""
    values = {name: variables.get(shown) for name, shown in names.items()}
    texts = {name: "" if value is None else text_of(value) for name, value in values.items()}
    problems = [f"{names[name]}: is not a string" for name, text in texts.items() if text is None]
    return problems or {name: text or "" for name, text in texts.items()}


def parse_settings(
    values: Mapping[str, str], names: Mapping[str, str], *, allow_http: bool
) -> ClientArguments | list[str]:
    """Return the arguments of a client, or what is wrong with its settings.

    Args:
        values: The text of each setting of `FIELDS`, empty if it is not set.
        names: How the messages name each of them.
        allow_http: Whether `http://` is valid for another machine.
    """
    domain_problems = parse_domain(values["ORGURL"], allow_http=allow_http)[1]
    spelling = [
        f"{names[name]}: {problem}"
        for name, text in values.items()
        if name != "PRIVATEKEY" and (problem := _spelling_problem(text))
    ]
    if spelling:
        return spelling
    client_id = values["CLIENTID"]
    server = values["AUTHORIZATIONSERVER"] or "default"
    server_id = None if server == ORG_SERVER else server
    authentication = _parse_authentication(values, names)
    dpop = _parse_dpop(values["DPOPENABLED"])
    problems = [
        *(f"{names['ORGURL']}: {problem}" for problem in domain_problems),
        *(f"{names['CLIENTID']}: {problem}" for problem in client_id_problems(client_id)),
        *([authentication] if isinstance(authentication, str) else []),
        *(
            f"{names['AUTHORIZATIONSERVER']}: {problem}"
            for problem in server_problems(server_id, ORG_SERVER)
        ),
        *([f"{names['DPOPENABLED']}: {dpop}"] if isinstance(dpop, str) else []),
    ]
    if not problems and swap_problems(client_id, authentication):
        problems.append(
            f"{names['CLIENTID']}: holds the secret, and {names['SECRET']} the client id; "
            "exchange them"
        )
    if problems or isinstance(authentication, str) or isinstance(dpop, str):
        return problems
    return ClientArguments(
        domain=values["ORGURL"],
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
    values: Mapping[str, str], names: Mapping[str, str]
) -> ParsedAuthentication | str:
    """Return the method of authentication, or what is wrong with its settings."""
    credentials = {
        name: values[name]
        for name in ("SECRET", "SECRET_FILE", "PRIVATEKEY", "PRIVATEKEY_FILE")
        if values[name]
    }
    if not credentials:
        key = names["PRIVATEKEY"]
        return f"{names['SECRET']}: is not set, and neither is {key}; set one of them"
    if len(credentials) > 1:
        first, *others = (names[name] for name in credentials)
        return f"{first}: is set, and so is {' and '.join(others)}; set only one of them"
    ((name, value),) = credentials.items()
    if name.startswith("SECRET"):
        return _parse_secret(name, value, names)
    kid = values["PRIVATEKEYID"] or values["KID"] or None
    if values["KID"] not in {"", kid}:
        return f"{names['KID']}: differs from {names['PRIVATEKEYID']}; set only one of them"
    is_path = name == "PRIVATEKEY_FILE" or is_key_path(value)
    try:
        return PrivateKeyJWT(Path(value) if is_path else value, kid=kid)
    except ConfigurationError as error:
        problem = str(error).removeprefix("PrivateKeyJWT: ")
        if problem.startswith("kid "):
            name = "PRIVATEKEYID" if values["PRIVATEKEYID"] else "KID"
        return f"{names[name]}: {problem}"


def _parse_secret(name: str, value: str, names: Mapping[str, str]) -> ClientSecretBasic | str:
    try:
        return ClientSecretBasic(Path(value) if name == "SECRET_FILE" else value)
    except ConfigurationError as error:
        problem = str(error).removeprefix("ClientSecretBasic: the secret ")
        return f"{names[name]}: {problem}"
