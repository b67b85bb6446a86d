"""`report`: what do the figures look like?"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.peers import available
from benchmarks.pictures import Data, demo, fleet, peers, timeline
from benchmarks.pictures.svg import NARROW, WIDE
from benchmarks.report import environment
from okta_tokens.cli.demo.plan import Plan

DATA: Final = "data.json"
"""The name of the file that holds the measured data."""

_PICTURES: Final[dict[str, Callable[[Data, str, int], str]]] = {
    "outage": timeline.draw,
    "peers": peers.draw,
    "fleet": fleet.draw,
}

_WIDTHS: Final = {"": WIDE, "-narrow": NARROW}


def run(folder: Path, *, data: Path | None = None, short: bool = False) -> int:
    """Measure, and draw the data; or draw data that was measured before.

    Args:
        folder: Where to write the pictures, and the data if this run measures it.
        data: A file that an earlier run has written; if `None`, this run measures.
        short: Whether to measure for a few seconds only.

    Returns:
        The exit code: 2 if the file cannot be read.
    """
    if data is not None:
        try:
            document = json.loads(data.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"--from: {data} cannot be read ({error}). Name a {DATA}.", file=sys.stderr)
            return 2
        draw(document, folder)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    document = _measure(short=short)
    _write(folder / DATA, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    _write(folder / "demo.svg", asyncio.run(demo.record(Plan(), _source(document["about"]))))
    draw(document, folder)
    return 0


def draw(document: Data, folder: Path) -> None:
    """Draw each picture for screens of a computer and of a telephone.

    Args:
        document: The measured data.
        folder: Where to write the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _source(document["about"])
    for name, draw_picture in _PICTURES.items():
        for suffix, width in _WIDTHS.items():
            _write(folder / f"{name}{suffix}.svg", draw_picture(document[name], source, width))


def _measure(*, short: bool) -> Data:
    # In virtual time, on an event loop of its own.
    fleets = fleet.measure(short=short)

    async def measure() -> Data:
        return {
            "about": _about(short=short),
            "outage": await timeline.measure(),
            "peers": await peers.measure(short=short),
            "fleet": fleets,
        }

    return asyncio.run(measure())


def _about(*, short: bool) -> Data:
    """Return what the data depends on. Needs a running event loop."""
    return {
        "command": "python -m benchmarks report" + " --short" * short,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": [round(load, 2) for load in os.getloadavg()],
        "environment": environment(),
        "left_out": available()[1],
    }


def _source(about: Data) -> str:
    """Return where the figures come from, for the bottom of a picture."""
    return " · ".join(
        [about["command"], f"commit {about['commit']}", about["python"], about["date"]]
    )


def _commit() -> str:
    """Return the short name of the commit of the working tree, and whether it has changes.

    An archive of the tree has no commit.
    """
    commit = _git("rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    return (
        f"{commit} with changes" if _git("status", "--porcelain", "src", "benchmarks") else commit
    )


def _git(*command: str) -> str:
    """Return what a command of git prints; nothing if it fails, or there is no git."""
    try:
        result = subprocess.run(  # noqa: S603 - a fixed command
            ("git", *command),  # noqa: S607 - the user's git
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
