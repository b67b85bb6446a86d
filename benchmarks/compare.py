"""`compare`: which figures of `hit`, `cold` and `stampede` are dearer than at another commit?

The benchmarks of the working tree measure both sources alternately, so that only the sources
differ, and other work of the machine affects both.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import signal
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.report import print_environment, print_table, steps, write_json
from benchmarks.worker import WorkerError, measure_in_worker

ROOT = Path(__file__).resolve().parents[1]
TURNS = 8

SIZES: dict[str, dict[str, int]] = {
    "hit": {"calls": 20_000, "rounds": 41, "keys": 1_000},
    "cold": {"keys": 400, "rounds": 4},
    "stampede": {"waiters": 10_000, "rounds": 3},
}
"""The arguments of each benchmark's `measure` in a turn."""

_SHORT_SIZES: dict[str, dict[str, int]] = {
    "hit": {"calls": 200, "rounds": 2, "keys": 100},
    "cold": {"keys": 100, "rounds": 1},
    "stampede": {"waiters": 500, "rounds": 1},
}

_DEARER = 1.05


class _RevisionError(Exception):
    """A revision cannot be compared; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """The sources to compare.

    Args:
        old: The directory with the package at the revision.
        new: The directory with the package of the working tree.
        names: What to call the sources, by directory.
    """

    old: Path
    new: Path
    names: Mapping[Path, str]


def run(
    revision: str, *, only: str | None, turns: int | None, short: bool, json: Path | None
) -> int:
    """Compare the working tree to a commit.

    Args:
        revision: The commit, or a branch or tag.
        only: The only benchmark to compare; `None` compares all.
        turns: The number of turns; if `None`, `TURNS`, or one turn if `short`.
        short: Whether to measure so little that only the counts are judged.
        json: A file to which the figures are written, too.

    Returns:
        The exit code: 1 if a measuring process failed, 2 if there is no such commit.
    """
    sizes = _SHORT_SIZES if short else SIZES
    chosen = {name: size for name, size in sizes.items() if only in {None, name}}
    if turns is None:
        turns = 1 if short else TURNS
    # A termination must remove the directory, too.
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="okta-tokens-compare-") as directory:
            return asyncio.run(_run(revision, Path(directory), chosen, turns, short, json))
    except _RevisionError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except WorkerError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, handler)


async def _run(
    revision: str,
    directory: Path,
    sizes: Mapping[str, Mapping[str, int]],
    turns: int,
    short: bool,  # noqa: FBT001 - an option of the command
    json: Path | None,
) -> int:
    sources = await _prepare(revision, directory)
    old, new = sources.names[sources.old], sources.names[sources.new]
    print_environment(with_peers=False)
    print(
        f"{new}, compared to {old}, in {turns} {'turn' if turns == 1 else 'turns'}. "
        "In each turn, each benchmark runs in a new process\n"
        f"for each source. × is the median of the turns' ratios {new} / {old}, with the\n"
        "quartiles beside it. Every figure is a cost, or the inverse of a rate: more than 1 means\n"
        "that the working tree is dearer, and DEARER that it is dearer by more than 5 %.\n"
        "If 1 lies between the quartiles, the difference may be noise. More turns reduce the noise."
    )
    measured = await _measure(sources, sizes, turns)
    results = {}
    for name in sizes:
        results[name] = compare(measured[sources.old, name], measured[sources.new, name])
        print_table(name, results[name], short=short, verdicts=("", "DEARER"))
    if json is not None:
        write_json(json, results, compared_to=old, turns=turns)
    return 0


async def _prepare(revision: str, directory: Path) -> _Sources:
    """Copy both sources, so that a change of the working tree does not affect the measurement.

    Raises:
        _RevisionError: If there is no such commit, or no package in it.
    """
    commit = await _git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"
    )
    if commit is None:
        raise _RevisionError(
            f"{revision!r} is not a commit of this repository. "
            "Name a commit, a branch or a tag, for example HEAD~1."
        )
    archive = await _git("archive", "--format=tar", commit.decode().strip(), "src")
    if archive is None:
        raise _RevisionError(f"{revision!r} has no directory src. Name a later commit.")
    old, new = directory / "old", directory / "new"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(old, filter="data")
    shutil.copytree(ROOT / "src", new / "src", ignore=shutil.ignore_patterns("__pycache__"))
    short = (await _git("rev-parse", "--short", commit.decode().strip()) or commit).decode().strip()
    return _Sources(old / "src", new / "src", {old / "src": short, new / "src": "working tree"})


async def _git(*arguments: str) -> bytes | None:
    """Return the output of a git command in the repository; `None` if the command fails."""
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *("-C", str(ROOT)),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise _RevisionError("git is not installed. Install it, and add it to PATH.") from None
    output, _ = await process.communicate()
    return None if process.returncode else output


async def _measure(
    sources: _Sources, sizes: Mapping[str, Mapping[str, int]], turns: int
) -> dict[tuple[Path, str], list[list[Figure]]]:
    """Measure each benchmark with each source; return the figures of each turn."""
    measured: dict[tuple[Path, str], list[list[Figure]]] = {
        (source, name): [] for source in sources.names for name in sizes
    }
    for turn in steps("compare", turns):
        order = (sources.new, sources.old) if turn % 2 else (sources.old, sources.new)
        for name, arguments in sizes.items():
            for source in order:
                figures = await _measure_once(sources, source, name, arguments)
                measured[source, name].append(figures)
    return measured


async def _measure_once(
    sources: _Sources, source: Path, name: str, arguments: Mapping[str, int]
) -> list[Figure]:
    described = sources.names[source]
    try:
        # The server is the same for both sources.
        figures = await measure_in_worker(name, arguments, source=source, server_source=sources.new)
    except WorkerError as error:
        raise WorkerError(
            f"{name!r} failed with {described}: {error}. If the benchmarks need an interface that "
            "this commit does not have, name a later commit."
        ) from None
    for figure in figures:
        if figure.counted and not figure.holds:
            raise WorkerError(
                f"{name!r} counted wrong with {described}: {figure.name}: {figure.value:g} instead "
                f"of {figure.limit:g}. The times cannot be compared; name another commit."
            )
    return figures


def compare(old: Sequence[Sequence[Figure]], new: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Return the ratio of the costs for each figure that is a ratio to a floor.

    Args:
        old: The figures of each turn at the old commit.
        new: The figures of each turn in the working tree.
    """
    results = []
    for index, figure in enumerate(new[0]):
        if figure.unit != "×":
            continue  # depends on the machine, or is a count
        name = figure.name
        ours, theirs = ([turn[index].value for turn in turns] for turns in (new, old))
        if figure.comparison == ">=":  # the more, the better: the cost is the inverse
            name, ours, theirs = f"inverse of {name}", theirs, ours
        results.append(Figure.ratio(name, ours, theirs, at_most=_DEARER))
    return results
