"""Show figures as a table or as JSON, and a progress bar during the measurement."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.peers import available

_SIGNS = {"<=": "≤", ">=": "≥", "==": "="}


@contextmanager
def quiet() -> Iterator[None]:
    """Return a context manager that hides the package's logs.

    Without a handler, Python prints warnings to standard error, and a benchmark causes many.
    """
    logger, handler = logging.getLogger("okta_tokens"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def steps(title: str, total: int) -> Generator[int]:
    """Yield the numbers from 0 to a total, with a progress bar on a terminal.

    The bar is drawn only between the steps, so it does not affect the measurements.

    Args:
        title: The title of the bar.
        total: The number of steps.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from range(total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
    ) as progress:
        task = progress.add_task(title, total=total)
        progress.refresh()
        for step in range(total):
            yield step
            progress.advance(task)
            progress.refresh()


def print_table(
    name: str,
    figures: Iterable[Figure],
    *,
    short: bool = False,
    verdicts: tuple[str, str] = ("reached", "MISSED"),
) -> None:
    """Print a table; if the output is not a terminal, print it in Markdown.

    Args:
        name: The benchmark's name.
        figures: The table's lines.
        short: Whether the run was short, so that only counts are judged.
        verdicts: What to print beside a figure that keeps its limit, and beside one that misses it.
    """
    kept, missed = verdicts
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 150)
    table = Table(
        title=name if terminal else None, box=box.SIMPLE_HEAD if terminal else box.MARKDOWN
    )
    table.add_column(name, overflow="fold")
    for column in ("median", "quartiles", "figure"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figure in figures:
        low, high = text(figure.low), text(figure.high)
        quartiles = "" if figure.low == figure.high else f"{low}–{high}"
        sign = _SIGNS[figure.comparison]
        limit = "" if figure.limit is None else f"{sign} {text(figure.limit)}"
        judged = figure.limit is not None and (figure.counted or not short)
        verdict = "" if not judged else kept if figure.holds else missed
        value = f"{text(figure.value)} {figure.unit}"
        table.add_row(escape(figure.name), value, quartiles, limit, verdict)
    console.print(table)


def print_environment(*, with_peers: bool = True) -> None:
    """Print what the figures depend on, and which peers are missing.

    Args:
        with_peers: Whether the figures depend on the peers.
    """
    values = environment(with_peers=with_peers)
    print(", ".join(f"{name} {value}" for name, value in values.items()))
    if not with_peers:
        return
    for name, reason in available()[1].items():
        print(f"{name} is left out: {reason}")


def environment(*, with_peers: bool = True) -> dict[str, str]:
    """Return what the figures depend on: versions, event loop and machine.

    Args:
        with_peers: Whether the figures depend on the peers.
    """
    loop = asyncio.get_running_loop()
    peers = (peer.distribution for peer in available()[0] if with_peers)
    return {
        "Python": platform.python_version(),
        "loop": f"{type(loop).__module__}.{type(loop).__qualname__}",
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
    } | {name: version(name) for name in ("okta-tokens", "aiohttp", "anyio", "cachetools", *peers)}


def write_json(path: Path, results: Mapping[str, Sequence[Figure]], **about: object) -> None:
    """Write figures, and what they depend on, to a JSON file.

    Args:
        path: The file.
        results: The figures by the benchmark's name.
        **about: Further facts about the run, which are written first.
    """
    document = about | {
        "environment": environment(),
        "left_out": available()[1],
        "benchmarks": {
            name: [asdict(figure) | {"holds": figure.holds} for figure in figures]
            for name, figures in results.items()
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def text(value: float) -> str:
    """Return a number with three significant digits, or a whole number with all of them.

    Args:
        value: The number.
    """
    if value == int(value) and abs(value) < 1e9:  # noqa: PLR2004 - a whole number is a count
        return f"{int(value):,}"
    if abs(value) >= 100:  # noqa: PLR2004 - three digits suffice
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
