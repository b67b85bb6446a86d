"""`okta-tokens get`: one token, for a person or a shell script."""

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
)
from okta_tokens.cli._console import EXIT_CODES, FAILED, MISCONFIGURED, complain
from okta_tokens.cli._report import failure_report
from okta_tokens.errors import ConfigurationError, FetchError, TokenProviderError
from okta_tokens.events import Event, TokenFetched

_DESCRIPTION = f"""\
Fetch one token, and print the answer as JSON.

{ENVIRONMENT}"""

_EXAMPLES = f"""\
examples:
  okta-tokens get --domain acme.okta.com --client-id 0oa1b2c3 --scope orders:read
  okta-tokens get --private-key-file key.pem --kid my-key --dpop
  curl -H "$(okta-tokens get --header)" https://api.example.com/orders
  okta-tokens get --request GET https://api.example.com/orders |
    curl -H @- https://api.example.com/orders

The token goes to standard output. If there is none, what is wrong goes to standard error, with
Okta's answer and what to do about it; okta-tokens doctor looks further.

A token that is bound to a key (--dpop) is of use only with a proof, and the key ends with this
command: to call an API take --request, whose headers have the proof. They are good for that one
request, and for a moment.

{EXIT_CODES}"""

_NEEDS_PROOF = (
    "this token is bound to a key that ends with this command, so no API will take it;",
    "  to call one, take the headers of that request, proof included: --request METHOD URL",
)


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
    add_client_options(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--header",
        action="store_true",
        help="print the Authorization header instead of JSON",
    )
    output.add_argument(
        "--request",
        nargs=2,
        metavar=("METHOD", "URL"),
        help="print the headers that authorize this one request instead of JSON, the proof of a "
        "token that is bound to a key included; curl takes them with -H @-",
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
        client, scopes = configuration(arguments)
        output = asyncio.run(_fetch(client, scopes, arguments))
    except MisconfiguredError as error:
        complain(*_configuration_report(error.problems))
        return MISCONFIGURED
    except ConfigurationError as error:
        complain(*_configuration_report([str(error)]))
        return MISCONFIGURED
    except FetchError as error:
        complain(
            *failure_report(error), "  (okta-tokens doctor, with the same flags, looks further)"
        )
        return FAILED
    except TokenProviderError as error:
        complain(str(error))
        return FAILED
    print(output)
    if client.dpop is not None and arguments.request is None:
        complain(*_NEEDS_PROOF)
    return 0


async def _fetch(client: OktaClient, scopes: str, arguments: argparse.Namespace) -> str:
    """Return what is to be printed of a token."""
    granted: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, TokenFetched):
            granted.append(event.lifetime)

    # The request's own error tells more than "time is up", so it gets the time to arrive.
    trying = 0.9 * arguments.timeout
    retry = RetryPolicy(
        request_timeout=min(10.0, trying), total_timeout=trying, max_wait=arguments.timeout
    )
    async with TokenProvider(retry=retry, observers=[observe]) as provider:
        source = provider.source(client, scopes)
        if arguments.request is not None:
            return _lines(await source.headers(*arguments.request))
        token = await source.get_token()
    if arguments.header:
        return _lines({"Authorization": token.authorization})
    fields = {
        "access_token": token.value,
        "token_type": token.token_type,
        "expires_in": int(granted[-1]),
        "scope": " ".join(sorted(token.scopes)),
    }
    return json.dumps(fields, indent=2)


def _lines(headers: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def _configuration_report(problems: Iterable[str]) -> Iterator[str]:
    """Put each problem on a line."""
    yield "this configuration cannot be right; nothing was sent"
    for problem in problems:
        yield f"  {problem}"
    yield "  (see okta-tokens get --help)"
