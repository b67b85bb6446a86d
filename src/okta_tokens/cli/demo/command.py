"""`okta-tokens demo`: run the scenarios and print their figures."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from okta_tokens.cli._arguments import count
from okta_tokens.cli._console import EXIT_CODES_HELP, FAILED
from okta_tokens.cli.demo import fleet
from okta_tokens.cli.demo.display import TABLE_WIDTH, Display, choose_display
from okta_tokens.cli.demo.figures import Figure, all_right, print_figures
from okta_tokens.cli.demo.harness import open_harness
from okta_tokens.cli.demo.plan import Plan
from okta_tokens.cli.demo.scenarios import SCENARIOS, Scenario

_DESCRIPTION = """\
Show what the package does, on its own Okta-like server on this machine. The demo needs no Okta, no
configuration and no network, and takes less than 30 seconds.

  1  10,000 coroutines request a token while the cache is empty: one token request.
  2  Short-lived tokens are renewed while hundreds of coroutines use them: no caller waits.
  3  The token endpoint fails for less than the token's life: no caller notices.

At the end the demo prints figures. The server counted them, except whether callers waited or got an
error, which only the callers can count. The exit code is 1 if a figure is wrong.

With --fleet N, N processes share tokens through a store, beside one process that works alone. The
figures show what they cost Okta at their start, in two outages, after a revocation, and without the
store. This takes less than 40 seconds for 20 processes, and needs a Valkey or Redis server.
"""

_EXAMPLES = f"""\
examples:
  okta-tokens demo
  okta-tokens demo --fleet 20
  okta-tokens demo --json |
      jq '.scenarios[].figures[] | select(.outcome == "fail")'

With --json the demo prints one document: "outcome" (pass or fail) and "scenarios", each with
"title" and "figures", each with "name", "outcome", "value" and "expected".

{EXIT_CODES_HELP}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "demo",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="print lines instead of a live table; the default without a terminal of at least "
        f"{TABLE_WIDTH} columns, or without rich (the extra 'cli')",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the figures as one JSON document"
    )
    parser.add_argument(
        "--fleet",
        type=count,
        metavar="N",
        help="run another demo: N processes share tokens through Valkey or Redis, in outages and "
        "after a revocation, too",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    if arguments.fleet is not None:
        return asyncio.run(fleet.run_fleet(arguments.fleet, as_json=arguments.json))
    display = choose_display(plain=arguments.plain, as_json=arguments.json)
    return asyncio.run(run_scenarios(Plan(), display, as_json=arguments.json))


async def run_scenarios(
    plan: Plan,
    display: Display,
    scenarios: Mapping[str, Scenario] = SCENARIOS,
    *,
    as_json: bool = False,
) -> int:
    """Run scenarios one after the other in one harness, and print their figures.

    Args:
        plan: The size of the demo.
        display: Shows what happens.
        scenarios: The scenarios, by their titles.
        as_json: Whether to print the figures as one JSON document.

    Returns:
        The exit code.
    """
    figures: dict[str, list[Figure]] = {}
    async with open_harness(plan, display) as harness, harness.displayed():
        display.show_line(f"an Okta-like sandbox listens at {harness.sandbox.origin}")
        for number, (name, scenario) in enumerate(scenarios.items(), start=1):
            title = f"{number}. {name}"
            display.show_title(title)
            figures[title] = await scenario(harness)
    heading = "The counters of the sandbox and of the callers:"
    print_figures(figures, heading, as_json=as_json)
    return 0 if all_right(figures) else FAILED
