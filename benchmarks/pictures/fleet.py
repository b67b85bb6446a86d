"""The token requests of a fleet with and without a store: simulated, and drawn."""

from __future__ import annotations

from typing import Final

from benchmarks.fleet_day import DEPLOYMENTS
from benchmarks.pictures import Data
from benchmarks.pictures.bars import Bar, Scale, draw_bars
from benchmarks.pictures.svg import SIZE, Picture
from benchmarks.simulate_fleet import count_requests

_SEED: Final = 1
_HOURS: Final = 24


def measure(*, short: bool) -> Data:
    """Count the requests of fleets of several sizes.

    Args:
        short: Whether to simulate only small fleets.
    """
    sizes = (1, 3) if short else (1, 10, 50, 100)

    def count(processes: int, *, shared: bool) -> int:
        return count_requests(processes=processes, hours=_HOURS, seed=_SEED, shared=shared)

    fleets = [
        {
            "processes": processes,
            "alone": count(processes, shared=False),
            "shared": count(processes, shared=True),
        }
        for processes in sizes
    ]
    return {"hours": _HOURS, "deployments": DEPLOYMENTS, "fleets": fleets}


def draw(data: Data, source: str, width: int) -> str:
    """Draw two bars for each size of the fleet.

    Args:
        data: What `measure` returned.
        source: Where the figures come from.
        width: The width of the picture in pixels.
    """
    fleets = data["fleets"]
    values = "; ".join(
        f"{each['processes']:,} processes: {each['alone']:,} without a store, "
        f"{each['shared']:,} with a store"
        for each in fleets
    )
    picture = Picture(
        f"Token requests of a fleet in {data['hours']} hours", f"{values}. {source}", width
    )
    picture.paragraph(
        "A simulation in virtual time: each process uses one token of an hour, and restarts "
        f"{data['deployments']} times. With a store, the processes share the token.",
        role="muted",
    )
    groups = {
        each["processes"]: [
            Bar("without a store", each["alone"], f"{each['alone']:,}", "peer"),
            Bar("with a store", each["shared"], f"{each['shared']:,}", "ours"),
        ]
        for each in fleets
    }
    scale = Scale.of([bar for bars in groups.values() for bar in bars])
    for processes, bars in groups.items():
        title = f"{processes:,} process" + "es" * (processes != 1)
        picture.text(picture.left, picture.y + 10 + SIZE, title, bold=True)
        y = picture.y + 10 + SIZE + 4
        picture.y = draw_bars(picture, picture.left, y, picture.right - picture.left, bars, scale)
    picture.y += 8
    picture.paragraph(source, role="muted", size=11)
    return picture.render()
