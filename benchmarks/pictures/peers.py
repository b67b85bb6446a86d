"""Other libraries beside this one: measured by `hit`, `stampede` and `outage`, and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from benchmarks import hit, outage, stampede
from benchmarks.figures import Figure
from benchmarks.peers import available
from benchmarks.pictures import Data
from benchmarks.pictures.bars import Bar, Scale, draw_bars
from benchmarks.pictures.svg import NARROW, SIZE, Picture
from benchmarks.server import serve

_Chart = tuple[str, str, str, Callable[[float], str]]
"""A chart's title, its unit, the key of its values in the data, and how to show a value."""

_OURS: Final = "okta-tokens"


async def measure(*, short: bool) -> Data:
    """Measure hits, waiters and outages.

    Args:
        short: Whether to measure for a few seconds only.

    Returns:
        What depends on no library, and a list of libraries with a value for each measurement.
    """
    calls, rounds = (200, 3) if short else (20_000, 41)
    waiters, turns = (500, 2) if short else (10_000, 5)
    kinds = available()[0]
    hits = await hit.measure(calls=calls, rounds=rounds, keys=100, kinds=kinds)
    async with serve(latency=stampede.LATENCY) as server:
        waits = await stampede.compare_one_key(server, waiters, turns)
        their_waits = await stampede.compare_peers(server, waiters, turns)
    outages = await outage.run(short=short)
    libraries = [
        {
            "name": _OURS,
            "checks_expiry": True,
            "threads": False,
            "hit": 1.0,
            "waiters": _value(waits, f"{waiters:,} waiters", "CPU"),
            "requests": _value(waits, f"{waiters:,} waiters", "requests"),
            "errors": _value(outages, _OURS, "calls that failed"),
        }
    ]
    libraries += [
        {
            "name": kind.name,
            "checks_expiry": kind.checks_expiry,
            "threads": kind.threads,
            "hit": _value(hits, kind.name, "compared to source.get_token()"),
            "waiters": _value(their_waits, kind.name, "CPU"),
            "requests": _value(their_waits, kind.name, "requests"),
            "errors": _value(outages, kind.name, "calls that failed"),
        }
        for kind in kinds
    ]
    return {
        "waiters": waiters,
        "outages": len(outage.minutes(short=short)),
        "outage_minutes": outage.OUTAGE / 60,
        "interval": outage.INTERVAL,
        "libraries": libraries,
    }


def _value(figures: Iterable[Figure], name: str, what: str) -> float:
    """Return the value of the only figure of a library that measures something."""
    (figure,) = (
        figure
        for figure in figures
        if figure.name.startswith(f"{name},") and what in figure.name.removeprefix(name)
    )
    return float(f"{figure.value:.4g}")


def draw(data: Data, source: str, width: int) -> str:
    """Draw a chart with a bar for each library, for each of four measurements.

    Args:
        data: What `measure` returned.
        source: Where the figures come from.
        width: The width of the picture in pixels.
    """
    charts: list[_Chart] = [
        ("A token that is held", "time of a call, relative to okta-tokens", "hit", _ratio),
        (
            f"{data['waiters']:,} callers wait for one token",
            "CPU, relative to waiting for one asyncio.Event",
            "waiters",
            _ratio,
        ),
        (
            "Token requests for these callers",
            "mean of the rounds, counted by the server",
            "requests",
            _count,
        ),
        (
            f"Errors in {data['outages']} outages of {data['outage_minutes']:g} minutes",
            "each begins in another minute of a token's hour",
            "errors",
            _count,
        ),
    ]
    libraries = sorted(data["libraries"], key=lambda library: library["hit"])
    columns = 1 if width == NARROW else 2
    picture = Picture("Beside other libraries", _description(charts, libraries, source), width)
    picture.paragraph("Shorter is better in each chart.", role="muted")
    gap = 28
    chart_width = (picture.right - picture.left - gap * (columns - 1)) / columns
    top = picture.y
    for number, (title, unit, key, show) in enumerate(charts):
        column = number % columns
        if column == 0:
            top = picture.y + 18
        x = picture.left + column * (chart_width + gap)
        picture.text(x, top + SIZE, title, size=14, bold=True, room=chart_width)
        picture.text(x, top + SIZE * 2 + 5, unit, role="muted", size=12, room=chart_width)
        bars = [
            Bar(
                library["name"],
                library[key],
                show(library[key]),
                "ours" if library["name"] == _OURS else "peer",
            )
            for library in libraries
        ]
        picture.y = draw_bars(picture, x, top + SIZE * 2 + 14, chart_width, bars, Scale.of(bars))
    picture.y += 12
    for note in _notes(data):
        picture.paragraph(note, role="muted", size=12)
    picture.y += 4
    picture.paragraph(source, role="muted", size=11)
    return picture.render()


def _notes(data: Data) -> list[str]:
    unchecked = [each["name"] for each in data["libraries"] if not each["checks_expiry"]]
    threads = [each["name"] for each in data["libraries"] if each["threads"]]
    interval = f"{data['interval']} s"
    notes = [
        f"Each library is called as its documentation shows; in the outages, every {interval}."
    ]
    if unchecked:
        notes.append(f"Without a check of the expiry: {', '.join(unchecked)}.")
    if threads:
        notes.append(f"Synchronous, so that callers wait in threads: {', '.join(threads)}.")
    return notes


def _ratio(value: float) -> str:
    return f"{value:.1f} ×" if value < 10 else f"{value:.0f} ×"  # noqa: PLR2004 - two digits


def _count(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _description(charts: list[_Chart], libraries: list[Data], source: str) -> str:
    """Return the values of all charts as text."""
    lines = []
    for title, unit, key, show in charts:
        values = ", ".join(f"{each['name']} {show(each[key])}" for each in libraries)
        lines.append(f"{title} ({unit}): {values}.")
    return " ".join([*lines, source])
