"""`okta-tokens doctor`: run the checks and print their results."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from dataclasses import replace

from okta_tokens import OktaClient
from okta_tokens.cli._arguments import seconds
from okta_tokens.cli._client_options import (
    ENVIRONMENT,
    MisconfiguredError,
    add_client_options,
    configuration,
    unused_files,
)
from okta_tokens.cli._console import EXIT_CODES_HELP, FAILED, MISCONFIGURED, print_error
from okta_tokens.cli._progress import progress
from okta_tokens.cli.doctor.report import Report
from okta_tokens.doctor import Diagnosis, Outcome, Result, check_names, diagnose
from okta_tokens.errors import TokenProviderError

_CONFIGURATION = "configuration"
"""The name of the check to which the command adds what it knows about files."""

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
  latency          how long token responses take
  rate limit       how many requests are left in Okta's window

The doctor sends one token request for each scope, one for all scopes together, and at most two more
if the app requires proofs. After a 429 it sends no more. Okta counts these requests, and logs those
that it refuses. The output never holds a secret, a key or a token.

{ENVIRONMENT}"""

_EXAMPLES = f"""\
examples:
  okta-tokens doctor --scope "orders:read orders:write"
  okta-tokens doctor --json |
      jq -r '.checks[] | select(.outcome == "fail") | .remedy'

With --json the doctor prints one document: "outcome" (pass, warn or fail), "token_requests", and
"checks", each with "name", "outcome" (pass, warn, fail or skip), "detail", and "remedy" or null.

A warning is not a failure: the exit code is 0.

{EXIT_CODES_HELP}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "doctor",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
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


def run(arguments: argparse.Namespace) -> int:
    """Run all checks and print their results.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    try:
        client, scopes = configuration(arguments)
    except MisconfiguredError as error:
        report = Report(check_names(), as_json=arguments.json)
        for result in _without_client("\n".join([*error.problems, *unused_files(arguments)])):
            report.add(result)
        report.end(0)
        return MISCONFIGURED
    report = Report(check_names(scopes), as_json=arguments.json)
    try:
        diagnosis = asyncio.run(_diagnose(client, scopes, arguments, report))
    except TokenProviderError as error:
        print_error(str(error))
        return FAILED
    report.end(diagnosis.token_requests)
    return 0 if diagnosis.ok else FAILED


async def _diagnose(
    client: OktaClient, scopes: str, arguments: argparse.Namespace, report: Report
) -> Diagnosis:
    """Run the checks, and report each result as soon as its check has ended."""
    first, *others = check_names(scopes)
    steps = iter([*(f"checking {name}" for name in others), "closing the connections"])
    async with progress(f"checking {first}") as line:

        def add(result: Result) -> None:
            line.wait_for(next(steps))
            if result.name == _CONFIGURATION:
                lines = [result.detail, *unused_files(arguments)]
                result = replace(result, detail="\n".join(lines))
            report.add(result)

        return await diagnose(client, scopes, step_timeout=arguments.timeout, on_result=add)


def _without_client(problems: str) -> Iterator[Result]:
    """Yield the results of all checks if there is no client to check.

    Args:
        problems: What is wrong with the configuration, one problem in each line.
    """
    first, *others = check_names()
    yield Result(first, Outcome.FAIL, problems, "see okta-tokens doctor --help")
    for name in others:
        yield Result(name, Outcome.SKIP, f"{first} failed")
