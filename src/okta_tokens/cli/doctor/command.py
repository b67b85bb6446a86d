"""`okta-tokens doctor`: run the checks and print their results."""

from __future__ import annotations

import argparse
import asyncio

from okta_tokens import OktaClient
from okta_tokens.cli._arguments import seconds
from okta_tokens.cli._client_options import (
    ENVIRONMENT,
    MisconfiguredError,
    add_client_options,
    configuration,
    unused_files,
)
from okta_tokens.cli._console import EXIT_CODES, FAILED, MISCONFIGURED, print_error
from okta_tokens.cli.doctor.authentication_methods import method_of
from okta_tokens.cli.doctor.connection import Resolver, look_up
from okta_tokens.cli.doctor.diagnosis import Diagnosis, check_names, scope_sets
from okta_tokens.cli.doctor.report import Report
from okta_tokens.cli.doctor.result import Outcome, failed, overall, passed, skipped
from okta_tokens.errors import TokenProviderError

_CONFIGURATION = "configuration"

_DESCRIPTION = f"""\
Find out why a token cannot be fetched, or what may fail soon. The doctor runs these checks and says
what to do about each problem. It skips the checks that depend on a failed one:

  configuration    values that are missing or invalid, all at once; files that are not used
  dns, tcp, tls    whether Okta or the proxy can be reached; how long the certificate is valid
  clock            the difference between this machine's clock and Okta's
  endpoint         whether the token endpoint exists and is Okta's
  authentication   whether Okta accepts the client; if not, Okta's reason
  scope NAME       whether the scope is granted by itself; then all scopes together
  lifetime         how long tokens live, and whether that differs between scopes
  dpop             whether the app requires proofs, and whether the client makes them
  rate limit       how many requests are left in Okta's window

The doctor sends one token request for each scope, one for all scopes together, and at most two more
if the app requires proofs. After a 429 it sends no more. Okta counts these requests, and logs those
that it refuses. The output never holds a secret, a key or a token.

{ENVIRONMENT}"""

_EXAMPLES = f"""\
examples:
  okta-tokens doctor --domain acme.okta.com --client-id 0oa1b2c3 --scope "orders:read orders:write"
  okta-tokens doctor --json | jq -r '.checks[] | select(.outcome == "fail") | .remedy'

With --json the doctor prints one document: "outcome" (pass, warn or fail), "token_requests", and
"checks", each with "name", "outcome" (pass, warn, fail or skip), "detail", and "remedy" or null.

A warning is not a failure: the exit code is 0.

{EXIT_CODES}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "doctor",
        help="find out why a token cannot be fetched",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_client_options(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="time limit for each step; default: %(default)g",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, resolver: Resolver = look_up) -> int:
    """Run all checks and print their results.

    Args:
        arguments: The parsed command line.
        resolver: Looks up host names.

    Returns:
        The exit code.
    """
    try:
        client, scopes = configuration(arguments)
    except MisconfiguredError as error:
        names = check_names({})
        report = Report([_CONFIGURATION, *names], as_json=arguments.json)
        report.add(
            failed(
                _CONFIGURATION,
                "\n".join([*error.problems, *unused_files(arguments)]),
                "see okta-tokens doctor --help",
            )
        )
        for name in names:
            report.add(skipped(name, f"{_CONFIGURATION} failed"))
        report.end(0)
        return MISCONFIGURED
    names = check_names(scope_sets(scopes))
    report = Report([_CONFIGURATION, *names], as_json=arguments.json)
    report.add(
        passed(_CONFIGURATION, "\n".join([_summary(client, scopes), *unused_files(arguments)]))
    )
    diagnosis = Diagnosis(
        client, scopes, step_timeout=arguments.timeout, on_result=report.add, resolver=resolver
    )
    try:
        asyncio.run(diagnosis.run())
    except TokenProviderError as error:
        print_error(str(error))
        return FAILED
    report.end(diagnosis.requests)
    return FAILED if overall(report.results) is Outcome.FAIL else 0


def _summary(client: OktaClient, scopes: str) -> str:
    server = client.authorization_server
    parts = [
        f"{client.client_id} at {client.origin}",
        "org authorization server" if server is None else f"authorization server {server}",
        f"{method_of(client)}{'' if client.dpop is None else ' with DPoP'}",
        f"scopes {scopes}" if scopes.strip() else "its default scopes",
    ]
    return ", ".join(parts)
