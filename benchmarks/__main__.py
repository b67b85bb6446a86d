"""Measure and print a table, or search for errors that need minutes or months."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks import (
    adapters,
    cold,
    compare,
    fleet,
    hit,
    imports,
    keys,
    outage,
    renewal,
    sign,
    simulate,
    simulate_fleet,
    soak,
    stampede,
    store,
)
from benchmarks.figures import Figure
from benchmarks.loops import loop_factory, run
from benchmarks.pictures import command as pictures
from benchmarks.report import print_environment, print_table, quiet, write_json


class _Benchmark(Protocol):
    def __call__(self, *, short: bool) -> Awaitable[list[Figure]]: ...


BENCHMARKS: dict[str, _Benchmark] = {
    "hit": hit.run,
    "stampede": stampede.run,
    "cold": cold.run,
    "keys": keys.run,
    "renewal": renewal.run,
    "outage": outage.run,
    "sign": sign.run,
    "adapters": adapters.run,
    "fleet": fleet.run,
    "store": store.run,
    "import": imports.run,
    "soak": soak.run,
}

_ON_UVLOOP = ("hit", "stampede", "cold")
"""Benchmarks that can run on uvloop."""

_LONG = {"soak"}
"""Benchmarks that `all` runs only with `--short`."""


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks, a comparison or a simulation, or draw pictures.

    Args:
        arguments: The command line; if `None`, the process's own.

    Returns:
        The exit code: 1 if a count is wrong, a rule was broken, or a measuring process failed; 2 if
        the command line is invalid. Times never fail a run.
    """
    options = _parser().parse_args(arguments)
    with quiet():
        if options.name == "compare":
            return compare.run(
                options.revision,
                only=options.only,
                turns=options.turns,
                short=options.short,
                json=options.json,
            )
        if options.name == "report":
            return pictures.run(options.folder, data=options.data, short=options.short)
        if options.name == "simulate-fleet":
            size = simulate_fleet.SHORT if options.short else options.processes
            return simulate_fleet.run(processes=size, hours=options.hours, seed=options.seed)
        if options.name != "simulate":
            return _run_benchmarks(options)
        if options.replay is not None:
            return simulate.replay(options.replay)
        return simulate.run(seed=options.seed, keys=options.keys, days=options.days)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    common.add_argument(
        "--short",
        action="store_true",
        help="measure for a few seconds only; then only the counts are judged",
    )
    questions = {name: _question(benchmark) for name, benchmark in BENCHMARKS.items()}
    questions["all"] = f"All of these; {' and '.join(_LONG)} only with --short."
    for name, question in questions.items():
        command = commands.add_parser(name, parents=[common], help=question, description=question)
        if name in BENCHMARKS.keys() - _LONG:
            command.add_argument(
                "more",
                nargs="*",
                metavar="NAME",
                type=_benchmark,
                help="further benchmarks to run in the same process",
            )
        if name in _ON_UVLOOP:
            command.add_argument(
                "--uvloop", action="store_true", help="run on uvloop instead of asyncio's own loop"
            )
        if name == "soak":
            command.add_argument(
                "--minutes",
                type=_positive,
                default=10.0,
                metavar="M",
                help="the duration without --short, in minutes (default: %(default)g)",
            )
    question = _question(compare.run)
    _add_comparison(
        commands.add_parser("compare", parents=[common], help=question, description=question)
    )
    _add_simulations(commands)
    _add_report(commands)
    return parser


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "report", help=_question(pictures.run), description="Draw pictures of measured figures."
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="where to write the pictures")
    command.add_argument(
        "--from",
        dest="data",
        type=Path,
        metavar="FILE",
        help=f"draw the {pictures.DATA} of an earlier run instead of measuring",
    )
    command.add_argument("--short", action="store_true", help="measure for a few seconds only")


def _add_comparison(command: argparse.ArgumentParser) -> None:
    command.add_argument("revision", metavar="REV", help="a commit, a branch or a tag")
    command.add_argument(
        "--turns",
        type=_count,
        metavar="N",
        help=f"how often to measure both sources (default: {compare.TURNS}, or 1 with --short)",
    )
    command.add_argument("--only", choices=[*compare.SIZES], help="compare one benchmark only")


def _add_simulations(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    seeded = argparse.ArgumentParser(add_help=False)
    seeded.add_argument(
        "--seed", type=int, default=1, help="the seed of everything (default: %(default)s)"
    )
    add_argument = {}
    for name, play in (("simulate", simulate.run), ("simulate-fleet", simulate_fleet.run)):
        question = _question(play)
        command = commands.add_parser(name, parents=[seeded], help=question, description=question)
        add_argument[name] = command.add_argument
    add = add_argument["simulate"]
    add("--days", type=_positive, default=30.0, help="default: %(default)g")
    add("--keys", type=_count, default=50, help="default: %(default)s")
    add("--replay", type=Path, metavar="FILE", help="play a script that this command has printed")
    add = add_argument["simulate-fleet"]
    add("--processes", type=_count, default=1_000, help="default: %(default)s")
    add("--hours", type=_positive, default=24.0, help="default: %(default)g")
    add("--short", action="store_true", help=f"simulate only {simulate_fleet.SHORT} processes")


def _question(run: Callable[..., object]) -> str:
    """Return the question in the first line of the docstring of a function's module."""
    line = (sys.modules[run.__module__].__doc__ or "").partition("\n")[0]
    question = line.partition(": ")[2]
    return question[:1].upper() + question[1:]


def _benchmark(name: str) -> str:
    if name in BENCHMARKS.keys() - _LONG:
        return name
    message = f"{name!r} is not a benchmark that runs beside others"
    raise argparse.ArgumentTypeError(message)


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    message = f"{text!r} is not a positive number"
    raise argparse.ArgumentTypeError(message)


def _count(text: str) -> int:
    return math.ceil(_positive(text))


def _run_benchmarks(options: argparse.Namespace) -> int:
    benchmarks = _selected(options)
    on_uvloop = getattr(options, "uvloop", False)
    others = benchmarks.keys() - {*_ON_UVLOOP}
    if on_uvloop and others:
        names = ", ".join(sorted(others))
        print(f"--uvloop: {names} cannot run on uvloop. Leave it out.", file=sys.stderr)
        return 2
    try:
        factory = loop_factory(uvloop=on_uvloop)
    except ImportError:
        print("--uvloop: uvloop is not installed. Run: pip install uvloop", file=sys.stderr)
        return 2
    return run(_run(benchmarks, short=options.short, json=options.json), factory)


def _selected(options: argparse.Namespace) -> Mapping[str, _Benchmark]:
    if options.name == "soak":
        return {"soak": partial(soak.run, minutes=options.minutes)}
    if options.name != "all":
        return {name: BENCHMARKS[name] for name in [options.name, *options.more]}
    return {name: run for name, run in BENCHMARKS.items() if options.short or name not in _LONG}


async def _run(benchmarks: Mapping[str, _Benchmark], *, short: bool, json: Path | None) -> int:
    print_environment()
    results: dict[str, list[Figure]] = {}
    for name, benchmark in benchmarks.items():
        results[name] = await benchmark(short=short)
        print_table(name, results[name], short=short)
    if json is not None:
        write_json(json, results)
    wrong = [
        f"{name}: {figure.name}"
        for name, figures in results.items()
        for figure in figures
        if figure.counted and not figure.holds
    ]
    for what in wrong:
        print(f"WRONG: {what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
