"""The counters, faults and settings of a sandbox, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def counter_lines(counts: Mapping[str, int | Mapping[str, int]]) -> Iterator[str]:
    """Yield a line for each counter.

    Args:
        counts: The counters by name; a counter may be several, by kind.
    """
    for name, value in counts.items():
        yield _line(name, value if isinstance(value, int) else _counts_by_kind(value))


def status_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a report: counters, faults and settings.

    Args:
        report: The report of the control endpoint.
    """
    yield from counter_lines(report["counters"])
    settings = report["settings"]
    for fault in report["faults"] or [None]:
        yield _line("fault", _fault_words(fault))
    latency = settings["latency"]
    shown = f"{latency[0]:g} to {latency[1]:g} s" if isinstance(latency, list) else f"{latency:g} s"
    yield _line("latency", shown + _still(settings["latency_ends_in"]))
    yield _line("lifetime", f"{settings['lifetime']} s")
    yield _line("clock", f"{settings['date_offset']:+g} s")


def _fault_words(fault: Mapping[str, Any] | None) -> str:
    if fault is None:
        return "none"
    if fault["requests"] is not None:
        return f"{fault['fault']}, for the next token requests: {fault['requests']}"
    return f"{fault['fault']}{_still(fault['ends_in'])}"


def _still(seconds: float | None) -> str:
    return "" if seconds is None else f", for another {seconds:.1f} s"


def _counts_by_kind(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {kind}" for kind, number in numbers.items()) or "none"


def _line(name: str, value: object) -> str:
    return f"  {name.replace('_', ' '):20} {value}"
