"""The client and the scopes: the flags and variables that `get` and `doctor` share."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from getpass import getpass
from pathlib import Path
from typing import TypeVar

from okta_tokens import ClientAuthentication, OktaClient, PrivateKeyJWT, TokenProvider
from okta_tokens.doctor._authentication_methods import PRIVATE_KEY_JWT, SECRET_METHODS
from okta_tokens.errors import ConfigurationError

ENVIRONMENT = """\
A value that is not given by a flag is taken from the environment:

  OKTA_CLIENT_ORGURL                --domain
  OKTA_CLIENT_CLIENTID              --client-id
  OKTA_CLIENT_AUTHORIZATIONSERVER   --authorization-server
  OKTA_CLIENT_SCOPES                --scope; separated by spaces or commas
  OKTA_CLIENT_PRIVATEKEY            --private-key-file; or the key itself
  OKTA_CLIENT_PRIVATEKEY_FILE       --private-key-file
  OKTA_CLIENT_PRIVATEKEYID          --kid; or OKTA_CLIENT_KID
  OKTA_CLIENT_DPOPENABLED           --dpop; true or false
  OKTA_CLIENT_SECRET                the client secret. It has no flag, because other users of \
the machine could read it. On a terminal the command prompts for it.
  OKTA_CLIENT_SECRET_FILE           a file with the client secret

With --file, the client comes from that file alone; the scopes do not.
HTTPS_PROXY names a proxy, and SSL_CERT_FILE names a file of trusted certificates.
"""

T = TypeVar("T")

_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_KEY = "OKTA_CLIENT_PRIVATEKEY"
_KID = "OKTA_CLIENT_PRIVATEKEYID"
_CREDENTIALS = (_SECRET, f"{_SECRET}_FILE", _KEY, f"{_KEY}_FILE")
_KIDS = (_KID, "OKTA_CLIENT_KID")
_FLAGS = {
    "OKTA_CLIENT_ORGURL": "domain",
    "OKTA_CLIENT_CLIENTID": "client_id",
    "OKTA_CLIENT_AUTHORIZATIONSERVER": "authorization_server",
    _KEY: "private_key_file",
    _KID: "kid",
    "OKTA_CLIENT_DPOPENABLED": "dpop",
}
_SETTING_NAMES = {
    f"{_SECRET}: is set": f"{_SECRET} (or choose with --auth-method): is set",
    f"{_SECRET}: ": f"{_SECRET} (no flag; on a terminal the command prompts for it): ",
    "scopes: ": "OKTA_CLIENT_SCOPES or --scope: ",
    "method, url: ": "--request: ",
}
"""How a problem begins, and how it begins for a user of the command."""
_ERROR_PREFIXES = {
    "environment: ": "",
    "OktaClient.from_file: ": "--file: ",
    "OktaClient: client_id: ": "OKTA_CLIENT_CLIENTID: ",  # exchanged with the secret
    "PrivateKeyJWT: ": f"{_KEY}: ",
    "DPoP: ": "OKTA_CLIENT_DPOPENABLED: ",
    **{f"{method.__name__}: ": f"{_SECRET}: " for method in SECRET_METHODS.values()},
}
"""How an error of the package begins, and the setting that it is about here."""
_NEXT_PROBLEM = re.compile(r"; (?=(?:OKTA_CLIENT_[A-Z_]+|okta\.client\.\w+): )")
_FILES = ("~/.okta/okta.yaml", "./okta.yaml")
"""Where Okta's SDKs look for the settings of a client."""
_PLACEHOLDERS = {
    "OKTA_CLIENT_ORGURL": "acme.okta.com",
    "OKTA_CLIENT_CLIENTID": "0oa",
    _SECRET: "-" * 64,  # long enough for every method
}
"""Values for settings that are checked separately or are not known yet."""
_PLACEHOLDER_CLIENT = OktaClient.from_env(_PLACEHOLDERS)
"""Lets the scopes be checked even if the client itself is invalid."""


class MisconfiguredError(Exception):
    """The flags and the environment are not a valid configuration.

    Args:
        *problems: The problems. Each begins with the flag or variable that sets the value.
    """

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems."""
        return self.args


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command.

    Args:
        parser: The command's parser.
    """
    add = parser.add_argument
    add(
        "--file",
        metavar="FILE",
        help="take the client from this file, which has the form of Okta's okta.yaml, and nothing "
        "of the client from other flags or the environment; needs the extra yaml",
    )
    add("--domain", metavar="HOST", help="the Okta domain, for example acme.okta.com")
    add("--client-id", metavar="ID", help="the app's client id, for example 0oa1b2c3")
    add(
        "--authorization-server",
        metavar="ID",
        help="the id of a custom authorization server, or org for the org authorization server; "
        "if not given: default",
    )
    add(
        "--scope",
        metavar="NAMES",
        action="append",
        help="scopes, separated by spaces; may be repeated. Without any, a custom authorization "
        "server grants its default scopes",
    )
    add(
        "--private-key-file",
        metavar="FILE",
        help="sign with this private key instead of sending a secret: a file with PEM, DER, a JWK, "
        "a JWK Set, PKCS #12 or OpenSSH, without a password",
    )
    add("--kid", metavar="ID", help="the key's id in Okta; needed if the app has several keys")
    add(
        "--auth-method",
        metavar="METHOD",
        choices=(*SECRET_METHODS, PRIVATE_KEY_JWT),
        help=f"the authentication method of the app: {', '.join(SECRET_METHODS)} or "
        f"{PRIVATE_KEY_JWT}; default: {PRIVATE_KEY_JWT} if there is a key, otherwise "
        "client_secret_basic",
    )
    add(
        "--dpop",
        action=argparse.BooleanOptionalAction,
        help="request tokens that are bound to a new key (DPoP), so that a token needs a proof",
    )


def configuration(arguments: argparse.Namespace) -> tuple[OktaClient, str]:
    """Return the client and the scopes; a flag wins over its variable.

    If the secret is missing and standard input is a terminal, prompt for the secret. All other
    problems are reported before the prompt, so that no person types a secret in vain.

    Args:
        arguments: The parsed command line.

    Raises:
        MisconfiguredError: If the configuration is invalid.
    """
    variables, scopes = _variables(arguments), _scopes(arguments)
    if _lacks_secret(variables, arguments) and sys.stdin is not None and sys.stdin.isatty():
        _client({**variables, _SECRET: _PLACEHOLDERS[_SECRET]}, scopes, arguments)
        variables[_SECRET] = _prompt_for_secret()
    return _client(variables, scopes, arguments), scopes


def unused_files(arguments: argparse.Namespace) -> list[str]:
    """Return a line for each file of Okta's SDKs that exists, if the client comes from no file.

    Args:
        arguments: The parsed command line.
    """
    if arguments.file is not None:
        return []
    found = [
        name
        for name in _FILES
        if Path(os.path.expanduser(name)).is_file()  # noqa: PTH111 - `Path.expanduser` needs a home
    ]
    return [
        f"{name} exists and is not used; to take the client from it, give --file {name}"
        for name in found
    ]


def name_setting(problem: str, arguments: argparse.Namespace) -> str:
    """Return a problem with the setting named as the user gave it, or can give it.

    Args:
        problem: The problem. If it does not begin with a variable or `scopes` and a colon, it is
            returned unchanged.
        arguments: The parsed command line.
    """
    for prefix, setting in _SETTING_NAMES.items():
        if problem.startswith(prefix):
            return f"{setting}{problem.removeprefix(prefix)}"
    variable, _, rest = problem.partition(": ")
    attribute = _FLAGS.get(variable)
    if attribute is None:
        return problem
    flag = f"--{attribute.replace('_', '-')}"
    name = f"{variable} (or {flag})" if getattr(arguments, attribute) is None else flag
    return f"{name}: {rest}"


def _variables(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the environment with every flag, except the key's file, in place of its variable."""
    given = {name: getattr(arguments, flag) for name, flag in _FLAGS.items() if name != _KEY}
    flags = {name: str(value) for name, value in given.items() if value is not None}
    if _KID in flags:
        flags |= dict.fromkeys(_KIDS, flags[_KID])
    return {**os.environ, **flags}


def _scopes(arguments: argparse.Namespace) -> str:
    if arguments.scope is not None:
        return " ".join(arguments.scope)
    return os.environ.get("OKTA_CLIENT_SCOPES", "").replace(",", " ")


def _lacks_secret(variables: Mapping[str, str], arguments: argparse.Namespace) -> bool:
    if arguments.file is not None:
        return False
    method, file = arguments.auth_method, arguments.private_key_file
    has_credential = any(map(variables.get, _CREDENTIALS))
    if method in SECRET_METHODS:
        return not (variables.get(_SECRET) or variables.get(f"{_SECRET}_FILE"))
    return not (file is not None or method == PRIVATE_KEY_JWT or has_credential)


def _prompt_for_secret() -> str:
    try:
        return getpass("Client secret: ")
    except EOFError:
        return ""


def _client(variables: Mapping[str, str], scopes: str, arguments: argparse.Namespace) -> OktaClient:
    """Return the client, after a check of everything at once.

    The identity, the credential and the scopes are checked separately, so that a problem in one of
    them does not hide the problems in the others.
    """
    problems = [*_contradictions(variables, arguments)]

    def collect(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ConfigurationError as error:
            problems.extend(_problems_in(error))
            return None

    client: OktaClient | None = None
    if arguments.file is not None:
        client = collect(lambda: OktaClient.from_file(arguments.file))
    else:
        identity = collect(
            lambda: OktaClient.from_env(
                {**variables, **dict.fromkeys(_CREDENTIALS, ""), _SECRET: _PLACEHOLDERS[_SECRET]}
            )
        )
        authentication = collect(lambda: _authentication(variables, arguments))
        if identity is not None and authentication is not None:
            client = collect(
                lambda: OktaClient(
                    identity.origin,
                    identity.client_id,
                    authentication,
                    authorization_server=identity.authorization_server,
                    dpop=identity.dpop,
                )
            )
    client = client or _PLACEHOLDER_CLIENT
    collect(lambda: TokenProvider().source(client, scopes))
    if problems:
        raise MisconfiguredError(*(name_setting(problem, arguments) for problem in problems))
    return client


def _authentication(
    variables: Mapping[str, str], arguments: argparse.Namespace
) -> ClientAuthentication:
    """Return the client's authentication.

    Five cases: a method that needs a secret; a key file; `private_key_jwt` without a key, which
    `PrivateKeyJWT` reports; `private_key_jwt` with the environment's key; no method, so that the
    environment decides.

    Raises:
        ConfigurationError: If the credential is invalid.
    """
    method, file = arguments.auth_method, arguments.private_key_file
    if method in SECRET_METHODS:
        path = variables.get(f"{_SECRET}_FILE")
        secret = variables.get(_SECRET, "")
        return SECRET_METHODS[method](Path(path) if path and not secret else secret)
    if file is not None:
        kids = filter(None, map(variables.get, _KIDS))
        return PrivateKeyJWT(Path(file), kid=next(kids, None))
    keys = _CREDENTIALS[2:]
    if method == PRIVATE_KEY_JWT and not any(map(variables.get, keys)):
        return PrivateKeyJWT("")
    names = (*(keys if method == PRIVATE_KEY_JWT else _CREDENTIALS), *_KIDS)
    credential = {name: variables.get(name, "") for name in names}
    return OktaClient.from_env({**_PLACEHOLDERS, _SECRET: "", **credential}).authentication


def _contradictions(variables: Mapping[str, str], arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.file is not None:
        for name in ("auth_method", *_FLAGS.values()):
            if getattr(arguments, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                yield f"{flag}: the client comes from --file alone; remove one of the two flags"
        return
    method, file = arguments.auth_method, arguments.private_key_file
    needs_secret = method in SECRET_METHODS
    if needs_secret and file is not None:
        yield (
            f"{_KEY}: a key cannot be used with {method}; remove the key, or choose "
            f"--auth-method {PRIVATE_KEY_JWT}"
        )
    elif arguments.kid is not None and (
        needs_secret or not (file or any(map(variables.get, _CREDENTIALS[2:])))
    ):
        yield (
            f"{_KID}: a key id needs a private key, and no key is used; give --private-key-file, "
            "or remove the key id"
        )


def _problems_in(error: ConfigurationError) -> list[str]:
    message = str(error)
    for prefix, name in _ERROR_PREFIXES.items():
        if message.startswith(prefix):
            message = f"{name}{message.removeprefix(prefix)}"
    return _NEXT_PROBLEM.split(message)
