"""`python -m benchmarks NAME`: measure, and print a table."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Protocol

from benchmarks import cold, hit, imports, keys, renewal, stampede
from benchmarks.figures import Figure
from benchmarks.report import print_environment, print_table, write_json


class _Benchmark(Protocol):
    def __call__(self, *, short: bool) -> Awaitable[list[Figure]]: ...


BENCHMARKS: dict[str, _Benchmark] = {
    "hit": hit.run,
    "stampede": stampede.run,
    "cold": cold.run,
    "keys": keys.run,
    "renewal": renewal.run,
    "import": imports.run,
}


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks.

    Args:
        arguments: The command line; that of the process if None.

    Returns:
        The exit code: 1 if a count is wrong. What depends on time never fails a run.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "all"], help="which benchmark")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "--short", action="store_true", help="a few seconds each: for the counts, not for the times"
    )
    options = parser.parse_args(arguments)
    names = [*BENCHMARKS] if options.name == "all" else [options.name]
    return asyncio.run(_run(names, short=options.short, json=options.json))


async def _run(names: Iterable[str], *, short: bool, json: Path | None) -> int:
    print_environment()
    results: dict[str, list[Figure]] = {}
    for name in names:
        results[name] = await BENCHMARKS[name](short=short)
        print_table(name, results[name], short=short)
    if json is not None:
        write_json(json, results)
    wrong = [
        f"{name}: {figure.what}"
        for name, figures in results.items()
        for figure in figures
        if figure.counted and not figure.holds
    ]
    for what in wrong:
        print(f"WRONG: {what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
