"""Whom to ask, and for what: the flags and variables that `get` and `doctor` share."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from getpass import getpass
from pathlib import Path
from typing import TypeVar

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    OktaClient,
    PrivateKeyJWT,
    TokenProvider,
)
from okta_tokens.errors import ConfigurationError

ENVIRONMENT = """\
What is not given by a flag is read from the environment:

  OKTA_CLIENT_ORGURL                --domain
  OKTA_CLIENT_CLIENTID              --client-id
  OKTA_CLIENT_AUTHORIZATIONSERVER   --authorization-server
  OKTA_CLIENT_SCOPES                --scope; separated by spaces or commas
  OKTA_CLIENT_PRIVATEKEY            --private-key-file; or the key itself
  OKTA_CLIENT_PRIVATEKEYID          --kid
  OKTA_CLIENT_DPOPENABLED           --dpop; true or false
  OKTA_CLIENT_SECRET                the client secret. There is no flag for it: other users of the
                                    machine could read it. On a terminal you are asked for it.

A proxy is taken from HTTPS_PROXY, certificates of your own from SSL_CERT_FILE.
"""

T = TypeVar("T")

SECRET_METHODS: dict[str, type[ClientSecretBasic | ClientSecretPost | ClientSecretJWT]] = {
    "client_secret_basic": ClientSecretBasic,
    "client_secret_post": ClientSecretPost,
    "client_secret_jwt": ClientSecretJWT,
}
PRIVATE_KEY_JWT = "private_key_jwt"

_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_KEY = "OKTA_CLIENT_PRIVATEKEY"
_KID = "OKTA_CLIENT_PRIVATEKEYID"
_FLAGS = {
    "OKTA_CLIENT_ORGURL": "domain",
    "OKTA_CLIENT_CLIENTID": "client_id",
    "OKTA_CLIENT_AUTHORIZATIONSERVER": "authorization_server",
    _KEY: "private_key_file",
    _KID: "kid",
    "OKTA_CLIENT_DPOPENABLED": "dpop",
}
_SPELLINGS = {
    f"{_SECRET}: is set": f"{_SECRET} (or choose by --auth-method): is set",
    f"{_SECRET}: ": f"{_SECRET} (no flag; on a terminal you are asked for it): ",
    "scopes: ": "OKTA_CLIENT_SCOPES or --scope: ",
}
# How errors of the package begin, and what they are about here.
_BEGINNINGS = {
    "environment: ": "",
    "PrivateKeyJWT: ": f"{_KEY}: ",
    "DPoP: ": "OKTA_CLIENT_DPOPENABLED: ",
    **{f"{method.__name__}: ": f"{_SECRET}: " for method in SECRET_METHODS.values()},
}
_NEXT_PROBLEM = re.compile(r"; (?=OKTA_CLIENT_[A-Z]+: )")
_ANYBODY = {
    "OKTA_CLIENT_ORGURL": "acme.okta.com",
    "OKTA_CLIENT_CLIENTID": "0oa",
    _SECRET: "-" * 64,  # as long as any method wants it
}
"""Stands in for what is looked at elsewhere, or is not known yet."""
_STAND_IN = OktaClient.from_env(_ANYBODY)
"""Whose scopes are checked while the client itself is wrong."""


class MisconfiguredError(Exception):
    """The flags and the environment cannot be right.

    Args:
        *problems: Each under the name by which the person gave the value, or can give it.
    """

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong."""
        return self.args


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command.

    Args:
        parser: The command's.
    """
    add = parser.add_argument
    add("--domain", metavar="HOST", help="the Okta host, like acme.okta.com")
    add("--client-id", metavar="ID", help="the app's client id, like 0oa1b2c3")
    add(
        "--authorization-server",
        metavar="ID",
        help="a custom authorization server's id, or org for the org's own; default if not given",
    )
    add(
        "--scope",
        metavar="NAMES",
        action="append",
        help="scopes, separated by spaces; may be repeated. Without any a custom authorization "
        "server grants its default scopes",
    )
    add(
        "--private-key-file",
        metavar="FILE",
        help="sign with this private key instead of sending a secret; PEM, DER or a JWK",
    )
    add("--kid", metavar="ID", help="the key's id, as Okta shows it, if the app has several keys")
    add(
        "--auth-method",
        metavar="METHOD",
        choices=(*SECRET_METHODS, PRIVATE_KEY_JWT),
        help=f"how the app is registered to authenticate: {', '.join(SECRET_METHODS)} or "
        f"{PRIVATE_KEY_JWT}; if not given, the last one if there is a key, else the first",
    )
    add(
        "--dpop",
        action=argparse.BooleanOptionalAction,
        help="ask for tokens that are bound to a new key, so of use only with a proof",
    )


def configuration(arguments: argparse.Namespace) -> tuple[OktaClient, str]:
    """Return whom to ask and for what; a flag beats its variable.

    A secret that is missing is asked for if somebody is there to ask. Whatever else is wrong comes
    first: nobody should type one in vain.

    Args:
        arguments: The parsed command line.

    Raises:
        MisconfiguredError: If that cannot be right.
    """
    variables, scopes = _variables(arguments), _scopes(arguments)
    if _lacks_secret(variables, arguments) and sys.stdin is not None and sys.stdin.isatty():
        _client({**variables, _SECRET: _ANYBODY[_SECRET]}, scopes, arguments)
        variables[_SECRET] = _ask_for_secret()
    return _client(variables, scopes, arguments), scopes


def method_of(client: OktaClient) -> str:
    """Return how a client authenticates, by the name of its registration (RFC 7591).

    Args:
        client: One that was made here.
    """
    names: dict[object, str] = {kind: name for name, kind in SECRET_METHODS.items()}
    return names.get(type(client.authentication), PRIVATE_KEY_JWT)


def spell(problem: str, arguments: argparse.Namespace) -> str:
    """Return a problem under the name by which the person gave the value, or can give it.

    Args:
        problem: It begins with the name of a variable, or with scopes, and a colon; or else is
            told as it is.
        arguments: The parsed command line.
    """
    for beginning, spelling in _SPELLINGS.items():
        if problem.startswith(beginning):
            return f"{spelling}{problem.removeprefix(beginning)}"
    name, _, rest = problem.partition(": ")
    attribute = _FLAGS.get(name)
    if attribute is None:
        return problem
    flag = f"--{attribute.replace('_', '-')}"
    shown = f"{name} (or {flag})" if getattr(arguments, attribute) is None else flag
    return f"{shown}: {rest}"


def _variables(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the environment as if the flags had been set there, but for the key's file."""
    given = {name: getattr(arguments, flag) for name, flag in _FLAGS.items() if name != _KEY}
    flags = {name: str(value) for name, value in given.items() if value is not None}
    return {**os.environ, **flags}


def _scopes(arguments: argparse.Namespace) -> str:
    if arguments.scope is not None:
        return " ".join(arguments.scope)
    return os.environ.get("OKTA_CLIENT_SCOPES", "").replace(",", " ")


def _lacks_secret(variables: Mapping[str, str], arguments: argparse.Namespace) -> bool:
    method, file = arguments.auth_method, arguments.private_key_file
    has_key = method is None and (file is not None or bool(variables.get(_KEY)))
    return not (has_key or method == PRIVATE_KEY_JWT or variables.get(_SECRET))


def _ask_for_secret() -> str:
    try:
        return getpass("Client secret: ")
    except EOFError:
        return ""


def _client(variables: Mapping[str, str], scopes: str, arguments: argparse.Namespace) -> OktaClient:
    """Return the client that flags and variables make, with a look at the scopes as well."""
    problems = [*_contradictions(variables, arguments)]

    def collected(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ConfigurationError as error:
            problems.extend(_problems_in(error))
            return None

    who = collected(
        lambda: OktaClient.from_env({**variables, _SECRET: _ANYBODY[_SECRET], _KEY: ""})
    )
    proof = collected(lambda: _authentication(variables, arguments))
    client = _STAND_IN
    if who is not None and proof is not None:
        client = OktaClient(
            who.origin,
            who.client_id,
            proof,
            authorization_server=who.authorization_server,
            dpop=who.dpop,
        )
    collected(lambda: TokenProvider().source(client, scopes))
    if problems:
        raise MisconfiguredError(*(spell(problem, arguments) for problem in problems))
    return client


def _authentication(
    variables: Mapping[str, str], arguments: argparse.Namespace
) -> ClientAuthentication:
    """Return how the client authenticates.

    Raises:
        ConfigurationError: If the credential cannot be right.
    """
    method, file = arguments.auth_method, arguments.private_key_file
    if method in SECRET_METHODS:
        return SECRET_METHODS[method](variables.get(_SECRET, ""))
    if file is not None:
        return PrivateKeyJWT(Path(file), kid=variables.get(_KID) or None)
    if method == PRIVATE_KEY_JWT and not variables.get(_KEY):
        return PrivateKeyJWT("")  # which says what is wrong with it
    names = (_KEY, _KID) if method == PRIVATE_KEY_JWT else (_SECRET, _KEY, _KID)
    credential = {name: variables.get(name, "") for name in names}
    return OktaClient.from_env({**_ANYBODY, _SECRET: "", **credential}).authentication


def _contradictions(variables: Mapping[str, str], arguments: argparse.Namespace) -> Iterator[str]:
    has_secret_method, file = arguments.auth_method in SECRET_METHODS, arguments.private_key_file
    if has_secret_method and file is not None:
        yield f"{_KEY}: goes with private_key_jwt, and not with {arguments.auth_method}"
    elif arguments.kid is not None and (has_secret_method or not (file or variables.get(_KEY))):
        yield f"{_KID}: goes with a private key, and there is none"


def _problems_in(error: ConfigurationError) -> list[str]:
    message = str(error)
    for beginning, name in _BEGINNINGS.items():
        if message.startswith(beginning):
            message = f"{name}{message.removeprefix(beginning)}"
    return _NEXT_PROBLEM.split(message)
