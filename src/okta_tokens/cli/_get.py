"""`okta-tokens get`: one token, for a person or a shell script."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from getpass import getpass

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    ClientSecretPost,
    OktaClient,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.cli._arguments import seconds
from okta_tokens.cli._console import EXIT_CODES, FAILED, MISCONFIGURED, complain
from okta_tokens.cli._report import failure_report
from okta_tokens.errors import ConfigurationError, FetchError, TokenProviderError
from okta_tokens.events import Event, TokenFetched

_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_FLAGS = {
    "OKTA_CLIENT_ORGURL": "domain",
    "OKTA_CLIENT_CLIENTID": "client_id",
    "OKTA_CLIENT_AUTHORIZATIONSERVER": "authorization_server",
}
_SPELLINGS = {
    _SECRET: f"{_SECRET} (no flag; on a terminal you are asked for it)",
    "scopes": "OKTA_CLIENT_SCOPES or --scope",
}
_NEXT_PROBLEM = re.compile(r"; (?=OKTA_CLIENT_[A-Z]+: |scopes: )")
_METHODS: dict[str, type[ClientSecretBasic | ClientSecretPost]] = {
    "basic": ClientSecretBasic,
    "post": ClientSecretPost,
}
_STAND_IN = OktaClient("acme.okta.com", "0oa", ClientSecretBasic("none"))
"""Whose scopes are checked while the client itself is wrong."""

_DESCRIPTION = """\
Fetch one token, and print the answer as JSON.

What is not given by a flag is read from the environment:

  OKTA_CLIENT_ORGURL                --domain
  OKTA_CLIENT_CLIENTID              --client-id
  OKTA_CLIENT_AUTHORIZATIONSERVER   --authorization-server
  OKTA_CLIENT_SCOPES                --scope; separated by spaces or commas
  OKTA_CLIENT_SECRET                the client secret. There is no flag for it: other users of the
                                    machine could read it. On a terminal you are asked for it.

A proxy is taken from HTTPS_PROXY, certificates of your own from SSL_CERT_FILE.
"""

_EXAMPLES = f"""\
examples:
  okta-tokens get --domain acme.okta.com --client-id 0oa1b2c3 --scope orders:read
  curl -H "$(okta-tokens get --header)" https://api.example.com/orders

The token goes to standard output. If there is none, what is wrong goes to standard error, with
Okta's answer and what to do about it.

{EXIT_CODES}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments.

    Args:
        commands: Those of the program.
    """
    parser = commands.add_parser(
        "get",
        help="fetch one token, and print it",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--domain", metavar="HOST", help="the Okta host, like acme.okta.com")
    parser.add_argument("--client-id", metavar="ID", help="the app's client id, like 0oa1b2c3")
    parser.add_argument(
        "--authorization-server",
        metavar="ID",
        help="a custom authorization server's id, or org for the org's own; default if not given",
    )
    parser.add_argument(
        "--scope",
        metavar="NAMES",
        action="append",
        help="scopes, separated by spaces; may be repeated. Without any a custom authorization "
        "server grants its default scopes",
    )
    parser.add_argument(
        "--auth",
        choices=_METHODS,
        default="basic",
        help="send the secret in the Authorization header (basic, the default) or in the body",
    )
    parser.add_argument(
        "--header",
        action="store_true",
        help="print the Authorization header instead of JSON",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=20.0,
        help="how long to try in all; %(default)g if not given",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch a token and print it, or say why there is none.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    try:
        client, scopes = _configuration(arguments)
        token, lifetime = asyncio.run(_fetch(client, scopes, arguments.timeout))
    except ConfigurationError as error:
        complain(*_configuration_report(error, arguments))
        return MISCONFIGURED
    except FetchError as error:
        complain(*failure_report(error))
        return FAILED
    except TokenProviderError as error:
        complain(str(error))
        return FAILED
    if arguments.header:
        print(f"Authorization: {token.authorization}")
        return 0
    fields = {
        "access_token": token.value,
        "token_type": token.token_type,
        "expires_in": int(lifetime),
        "scope": " ".join(sorted(token.scopes)),
    }
    print(json.dumps(fields, indent=2))
    return 0


def _configuration(arguments: argparse.Namespace) -> tuple[OktaClient, str]:
    """Return whom to ask and for what.

    Raises:
        ConfigurationError: If that cannot be right; the message lists every problem.
    """
    given = {name: getattr(arguments, flag) for name, flag in _FLAGS.items()}
    variables = {**os.environ, **{name: it for name, it in given.items() if it is not None}}
    scopes = _scopes(arguments)
    asking = not variables.get(_SECRET) and sys.stdin is not None and sys.stdin.isatty()
    if asking:
        # Whatever else is wrong comes first: nobody should type a secret in vain.
        _client({**variables, _SECRET: "not asked for yet"}, scopes, arguments.auth)
        variables[_SECRET] = _ask_for_secret()
    return _client(variables, scopes, arguments.auth), scopes


def _client(variables: Mapping[str, str], scopes: str, method: str) -> OktaClient:
    problems = []
    client = _STAND_IN
    try:
        client = OktaClient.from_env(variables)
    except ConfigurationError as error:
        problems.append(str(error).removeprefix("environment: "))
    try:
        TokenProvider().source(client, scopes)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        del variables
        raise ConfigurationError("; ".join(problems))
    return OktaClient(
        client.origin,
        client.client_id,
        _METHODS[method](variables[_SECRET]),
        authorization_server=client.authorization_server,
    )


def _ask_for_secret() -> str:
    try:
        return getpass("Client secret: ")
    except EOFError:
        return ""


def _scopes(arguments: argparse.Namespace) -> str:
    if arguments.scope is not None:
        return " ".join(arguments.scope)
    return os.environ.get("OKTA_CLIENT_SCOPES", "").replace(",", " ")


async def _fetch(client: OktaClient, scopes: str, timeout: float) -> tuple[AccessToken, float]:  # noqa: ASYNC109 - it becomes a policy
    """Return a token, and its lifetime as it was granted, in seconds."""
    granted: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, TokenFetched):
            granted.append(event.lifetime)

    # The request's own error tells more than "time is up", so it gets the time to arrive.
    trying = 0.9 * timeout
    retry = RetryPolicy(request_timeout=min(10.0, trying), total_timeout=trying, max_wait=timeout)
    async with TokenProvider(retry=retry, observers=[observe]) as provider:
        token = await provider.get_token(client, scopes)
    return token, granted[-1]


def _configuration_report(
    error: ConfigurationError, arguments: argparse.Namespace
) -> Iterator[str]:
    """Put each problem on a line, under the name by which the person gave the value."""
    yield "this configuration cannot be right; nothing was sent"
    for problem in _NEXT_PROBLEM.split(str(error)):
        name, colon, rest = problem.partition(": ")
        yield f"  {_spelling(name, arguments)}{colon}{rest}"
    yield "  (see okta-tokens get --help)"


def _spelling(name: str, arguments: argparse.Namespace) -> str:
    attribute = _FLAGS.get(name)
    if attribute is None:
        return _SPELLINGS.get(name, name)
    flag = f"--{attribute.replace('_', '-')}"
    return f"{name} (or {flag})" if getattr(arguments, attribute) is None else flag
