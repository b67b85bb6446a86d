"""`okta-tokens get`: fetch one token, for a person or a shell script."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping

from okta_tokens import OktaClient, RetryPolicy, TokenProvider
from okta_tokens.cli._arguments import seconds
from okta_tokens.cli._client_options import (
    ENVIRONMENT,
    MisconfiguredError,
    add_client_options,
    configuration,
    name_setting,
)
from okta_tokens.cli._console import EXIT_CODES_HELP, FAILED, MISCONFIGURED, print_error
from okta_tokens.cli._failure_report import failure_report
from okta_tokens.cli._progress import progress
from okta_tokens.errors import ConfigurationError, FetchError, TokenProviderError
from okta_tokens.events import Event, TokenFetched

_DESCRIPTION = f"""\
Fetch one token and print the token response as JSON.

{ENVIRONMENT}"""

_EXAMPLES = f"""\
examples:
  okta-tokens get --scope orders:read
  okta-tokens get --private-key-file key.pem --kid my-key --dpop
  okta-tokens get --header | curl -H @- https://api.example.com/orders
  okta-tokens get --request GET https://api.example.com/orders |
      curl -H @- https://api.example.com/orders

With -H @- curl (7.55 or newer) reads the headers from standard input. Do not put a token into an
argument: other users of the machine can read arguments.

The token goes to standard output. If there is no token, the reason goes to standard error, with
Okta's response and what to do. okta-tokens doctor checks more.

A token that is bound to a key (--dpop) needs a proof, and the key is lost when this command ends.
To call an API with such a token, use --request: its headers include the proof. They are valid for
that one request, and for a short time only.

{EXIT_CODES_HELP}"""

_NEEDS_PROOF = (
    "this token is bound to a key that is lost when this command ends, so no API accepts it;",
    "  to call an API, print the headers of one request, proof included: --request METHOD URL",
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "get",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_client_options(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json", action="store_true", help="print the token response as JSON; the default"
    )
    output.add_argument(
        "--header",
        action="store_true",
        help="print the Authorization header instead of JSON; curl reads it with -H @-",
    )
    output.add_argument(
        "--request",
        nargs=2,
        metavar=("METHOD", "URL"),
        help="print the headers that authorize this one request instead of JSON, including the "
        "proof of a token that is bound to a key; curl reads them with -H @-",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=20.0,
        help="time limit for the whole command; default: %(default)g",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch a token and print it, or print why there is none.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    try:
        client, scopes = configuration(arguments)
        output = asyncio.run(_fetch(client, scopes, arguments))
    except MisconfiguredError as error:
        print_error(*_configuration_report(error.problems))
        return MISCONFIGURED
    except ConfigurationError as error:
        print_error(*_configuration_report([name_setting(str(error), arguments)]))
        return MISCONFIGURED
    except FetchError as error:
        print_error(
            *failure_report(error), "  (to find out more, run okta-tokens doctor with these flags)"
        )
        return FAILED
    except TokenProviderError as error:
        print_error(str(error))
        return FAILED
    print(output)
    if client.dpop is not None and arguments.request is None:
        print_error(*_NEEDS_PROOF)
    return 0


async def _fetch(client: OktaClient, scopes: str, arguments: argparse.Namespace) -> str:
    """Fetch a token and return the text to print."""
    lifetimes: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, TokenFetched):
            lifetimes.append(event.lifetime)

    # The error of a request says more than "timed out", so leave it time to arrive.
    total = 0.9 * arguments.timeout
    retry = RetryPolicy(
        request_timeout=min(10.0, total), total_timeout=total, max_wait=arguments.timeout
    )
    async with (
        progress(f"waiting for a token from {client.domain}"),
        TokenProvider(retry=retry, observers=[observe]) as provider,
    ):
        source = provider.source(client, scopes)
        if arguments.request is not None:
            return _header_lines(await source.headers(*arguments.request))
        token = await source.get_token()
    if arguments.header:
        return _header_lines({"Authorization": token.authorization})
    fields = {
        "access_token": token.value,
        "token_type": token.token_type,
        "expires_in": int(lifetimes[-1]),
        "scope": " ".join(sorted(token.scopes)),
    }
    return json.dumps(fields, indent=2)


def _header_lines(headers: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def _configuration_report(problems: Iterable[str]) -> Iterator[str]:
    """Yield a report with one problem per line."""
    yield "the configuration is invalid, so no request was sent"
    for problem in problems:
        yield f"  {problem}"
    yield "  (see okta-tokens get --help)"
