"""`simulate`: which rule breaks in months of faults?

This is the simulation of `tests/simulation` for longer than a test may take: the real provider in
virtual time, an Okta with every fault, and a referee that checks the rules. The same seed gives the
same simulation. If a rule breaks, the command prints a script that breaks it again.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.report import steps
from tests.simulation.reproduction import Reproduction, reproduce
from tests.simulation.rules import Violation
from tests.simulation.script import DAY, FAULTS, plan_key, script
from tests.simulation.world import Report, simulate

_HOUR = 3_600.0

_CALLERS = ["calls", "tokens returned", "callers cancelled", "rejections", "tokens dropped"]
_PROVIDER = ["attempts", "requests", "renewals", "time-outs", "tokens fetched", "failed attempts"]


def run(*, seed: int, keys: int, days: float) -> int:
    """Simulate some days, and print the counts, or a script that breaks a rule.

    Args:
        seed: The seed of everything.
        keys: The number of keys.
        days: The number of days.

    Returns:
        The exit code: 1 if a rule was broken. The output is then a script for `replay`.
    """
    began = time.monotonic()
    with closing(steps(f"simulate {days:g} days", math.ceil(days * DAY / _HOUR))) as hours:
        hour: float = next(hours)

        def show_progress(at: float) -> None:
            nonlocal hour
            while hour < at // _HOUR:
                hour = next(hours, math.inf)

        logging.disable()  # writing a year's events would take longer than the simulation
        try:
            report = simulate(seed, range(keys), script(seed, range(keys), days), show_progress)
        finally:
            logging.disable(logging.NOTSET)
    seconds = time.monotonic() - began
    title = f"seed {seed}, {keys} keys, {days:g} days"
    lines = [*_format_report(title, report, seconds, _lifetimes(seed, range(keys), days * DAY))]
    if report.violation is None:
        print(*lines, sep="\n")
        return 0
    print("A rule was broken. Looking for a shorter script that breaks it ...", file=sys.stderr)
    _print_violation(lines, report.violation, reproduce(seed, range(keys), days, report.violation))
    return 1


def replay(path: Path) -> int:
    """Play a script that `run` has printed, and print the counts.

    Args:
        path: The file with the script.

    Returns:
        The exit code: 1 if a rule was broken.
    """
    reproduction = Reproduction.load(path)
    seed, keys, actions = reproduction.seed, reproduction.keys, reproduction.actions
    began = time.monotonic()
    report = reproduction.play()
    lifetimes = _lifetimes(seed, keys, actions[-1].at - actions[0].at)
    title = f"{path}: seed {seed}, {len(keys)} keys, {len(actions)} actions"
    print(*_format_report(title, report, time.monotonic() - began, lifetimes), sep="\n")
    if report.violation is None:
        return 0
    print(report.violation)
    return 1


def _lifetimes(seed: int, keys: Iterable[int], seconds: float) -> float:
    """Return how many lifetimes of tokens the keys have in some time, added over all keys."""
    return sum(seconds / plan_key(seed, number).lifetime for number in keys)


def _format_report(title: str, report: Report, seconds: float, lifetimes: float) -> Iterator[str]:
    """Yield the lines of a report."""
    counts = Counter(report.counts)
    yield title
    sections = {
        "callers": _CALLERS,
        "the provider": _PROVIDER,
        "faults of requests": ["no fault", *FAULTS],
        "errors that callers got": sorted(name for name in counts if name.endswith("Error")),
    }
    known = {name for names in sections.values() for name in names}
    if others := sorted(counts.keys() - known):
        sections["other occurrences"] = others
    for section, names in sections.items():
        yield ""
        yield section
        for name in names:
            yield f"  {name:26}{counts[name]:>14,}"
    yield ""
    requests = counts["requests"] / lifetimes if lifetimes else math.nan
    yield f"requests per lifetime of a key: {requests:.2f}"
    yield f"digest: {report.digest}"
    yield f"wall time: {seconds:.1f} s"


def _print_violation(
    lines: Iterable[str], violation: Violation, reproduction: Reproduction
) -> None:
    """Print a report and a violation as comments, followed by a script that breaks the rule."""
    for line in [
        *lines,
        str(violation),
        f"The script below breaks the same rule: {reproduction.play().violation}.",
        "Write all of this to a file, and play it:",
        "python -m benchmarks simulate --replay FILE",
    ]:
        print(f"# {line}".rstrip())
    print(reproduction, end="")
