"""Other libraries beside this one: measured by `hit`, `stampede` and `outage`, and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks import hit, outage, stampede
from benchmarks.figures import Figure
from benchmarks.peers import available
from benchmarks.pictures import Data
from benchmarks.pictures.bars import Bar, Scale, draw_bars
from benchmarks.pictures.svg import NARROW, SIZE, Picture
from benchmarks.server import serve

_OURS: Final = "okta-tokens"

_GAP: Final = 28
"""The distance between two columns in pixels."""


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


@dataclass(frozen=True)
class _Chart:
    """A chart with a bar for each library.

    Args:
        title: What was measured.
        unit: The unit of the values.
        key: The key of the values in the data.
        show: Returns a value as text.
    """

    title: str
    unit: str
    key: str
    show: Callable[[float], str]

    def values(self, libraries: Iterable[Data]) -> str:
        """Return all values as a sentence."""
        shown = (f"{library['name']} {self.show(library[self.key])}" for library in libraries)
        return f"{self.title} ({self.unit}): {', '.join(shown)}."

    def draw(
        self, picture: Picture, x: float, y: float, width: float, libraries: Iterable[Data]
    ) -> float:
        """Draw the chart below a height, and return the lower side."""
        picture.text(x, y + SIZE, self.title, size=14, bold=True, room=width)
        picture.text(x, y + SIZE * 2 + 5, self.unit, role="muted", size=12, room=width)
        bars = []
        for library in libraries:
            name, value = library["name"], library[self.key]
            bars.append(Bar(name, value, self.show(value), "ours" if name == _OURS else "peer"))
        return draw_bars(picture, x, y + SIZE * 2 + 14, width, bars, Scale.of(bars))


def draw(data: Data, source: str, width: int) -> str:
    """Draw a chart with a bar for each library, for each of four measurements.

    Args:
        data: What `measure` returned.
        source: Where the figures come from.
        width: The width of the picture in pixels.
    """
    charts = _charts(data)
    libraries = sorted(data["libraries"], key=lambda library: library["hit"])
    values = " ".join(chart.values(libraries) for chart in charts)
    picture = Picture("Beside other libraries", f"{values} {source}", width)
    picture.paragraph("Shorter is better in each chart.", role="muted")
    columns = 1 if width == NARROW else 2
    chart_width = (picture.right - picture.left - _GAP * (columns - 1)) / columns
    for first in range(0, len(charts), columns):
        top = picture.y + 18
        for column, chart in enumerate(charts[first : first + columns]):
            x = picture.left + column * (chart_width + _GAP)
            picture.y = chart.draw(picture, x, top, chart_width, libraries)
    picture.y += 12
    for note in _notes(data):
        picture.paragraph(note, role="muted", size=12)
    picture.y += 4
    picture.paragraph(source, role="muted", size=11)
    return picture.render()


def _charts(data: Data) -> list[_Chart]:
    waiting = f"{data['waiters']:,} callers wait for one token"
    outages = f"{data['outages']} outages of {data['outage_minutes']:g} minutes"
    by_event = "CPU, relative to waiting for one asyncio.Event"
    counted = "mean of the rounds, counted by the server"
    spread = "one in each minute of a token's hour"
    return [
        _Chart("A token that is held", "time of a call, relative to okta-tokens", "hit", _ratio),
        _Chart(waiting, by_event, "waiters", _ratio),
        _Chart("Token requests for these callers", counted, "requests", _count),
        _Chart(f"Errors in {outages}", spread, "errors", _count),
    ]


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
