"""`okta-tokens doctor`: why it does not work, one check after the other."""

from __future__ import annotations

import argparse
import asyncio
import json

from okta_tokens import OktaClient
from okta_tokens.cli._arguments import seconds
from okta_tokens.cli._client_options import (
    ENVIRONMENT,
    MisconfiguredError,
    add_client_options,
    configuration,
    method_of,
)
from okta_tokens.cli._console import EXIT_CODES, FAILED, MISCONFIGURED, complain
from okta_tokens.cli._examination import Examination, Resolver, look_up, plan, scope_sets
from okta_tokens.cli._findings import (
    Finding,
    Outcome,
    document,
    failed,
    overall,
    passed,
    skipped,
    verdict,
)
from okta_tokens.errors import TokenProviderError

_CONFIGURATION = "configuration"
_WIDEST_NAME = 32

_DESCRIPTION = f"""\
Tell why there is no token, or what will go wrong soon. It looks at these, and says of each what to
do about it; what depends on something that failed is skipped:

  configuration    what is missing or cannot be right, all at once
  dns, tcp, tls    whether Okta, or the proxy, can be reached; for how long the certificate is good
  clock            how far this machine's clock is from Okta's
  endpoint         whether the token endpoint is there, and is Okta's
  authentication   whether Okta accepts the client; if not, in its words
  scope NAME       whether the scope is granted by itself; then all of them together
  lifetime         how long tokens live, and whether that differs from scope to scope
  dpop             whether the app demands proofs, and the client makes them
  rate limit       how many requests are left in Okta's window

It makes one token request for each scope, one for all together, and two more at most where proofs
are demanded; after a 429 it stops. Okta counts them, and logs those that it refuses. No output
holds a secret, a key or a token.

{ENVIRONMENT}"""

_EXAMPLES = f"""\
examples:
  okta-tokens doctor --domain acme.okta.com --client-id 0oa1b2c3 --scope "orders:read orders:write"
  okta-tokens doctor --json | jq -r '.checks[] | select(.outcome == "fail") | .remedy'

With --json it prints one document: "outcome" (pass, warn or fail), "token_requests", and "checks",
each with "name", "outcome" (pass, warn, fail or skip), "detail", and "remedy" or null.

A warning is no failure: the exit code is 0.

{EXIT_CODES}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments.

    Args:
        commands: Those of the program.
    """
    parser = commands.add_parser(
        "doctor",
        help="tell why there is no token",
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
        help="how long each step may take; %(default)g if not given",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, resolver: Resolver = look_up) -> int:
    """Look at everything, and tell what was found.

    Args:
        arguments: The parsed command line.
        resolver: Looks names up.

    Returns:
        The exit code.
    """
    try:
        client, scopes = configuration(arguments)
    except MisconfiguredError as error:
        report = _Report(plan(scope_sets("")), quiet=arguments.json)
        report.add(failed(_CONFIGURATION, "\n".join(error.problems), "okta-tokens doctor --help"))
        for name in plan({}):
            report.add(skipped(name, f"{_CONFIGURATION} failed"))
        report.end(0)
        return MISCONFIGURED
    report = _Report(plan(scope_sets(scopes)), quiet=arguments.json)
    report.add(passed(_CONFIGURATION, _shown(client, scopes)))
    examination = Examination(
        client, scopes, patience=arguments.timeout, tell=report.add, resolver=resolver
    )
    try:
        asyncio.run(examination.run())
    except TokenProviderError as error:
        complain(str(error))
        return FAILED
    report.end(examination.requests)
    return FAILED if overall(report.findings) is Outcome.FAIL else 0


class _Report:
    """Findings, told one by one as they come, or all at the end.

    Args:
        names: Of all checks to come.
        quiet: Whether to wait for the end, and be a document then.
    """

    def __init__(self, names: list[str], *, quiet: bool) -> None:
        self.findings: list[Finding] = []
        self._width = min(max(map(len, [_CONFIGURATION, *names])), _WIDEST_NAME)
        self._quiet = quiet

    def add(self, finding: Finding) -> None:
        """Tell a finding, and keep it."""
        self.findings.append(finding)
        if not self._quiet:
            print(*finding.lines(self._width), sep="\n", flush=True)

    def end(self, requests: int) -> None:
        """Tell how all of it went.

        Args:
            requests: How many token requests were made.
        """
        if self._quiet:
            print(json.dumps(document(self.findings, requests), indent=2))
        else:
            print("", verdict(self.findings, requests), sep="\n")


def _shown(client: OktaClient, scopes: str) -> str:
    server = client.authorization_server
    parts = [
        f"{client.client_id} at {client.origin}",
        "the org's own server" if server is None else f"authorization server {server}",
        f"{method_of(client)}{'' if client.dpop is None else ' with DPoP'}",
        f"scopes {scopes}" if scopes.strip() else "its default scopes",
    ]
    return ", ".join(parts)
