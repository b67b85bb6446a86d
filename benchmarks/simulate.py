"""`simulate`: months of faults in virtual time, and what to replay where a rule was broken.

It is the simulation of `tests/simulation`, for longer than a test may take: the real provider, an
Okta with everything that goes wrong there, and a referee with books of its own. The same seed tells
the same story.
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
from tests.simulation.books import Breach
from tests.simulation.reproduction import Reproduction, reproduce
from tests.simulation.script import DAY, FAULTS, plan_key, script
from tests.simulation.world import Report, simulate

_HOUR = 3_600.0

_CALLERS = ["calls", "tokens handed out", "callers cancelled", "rejections", "tokens dropped"]
_PROVIDER = ["attempts", "requests", "renewals", "time-outs", "tokens fetched", "failed attempts"]


def run(*, seed: int, keys: int, days: float) -> int:
    """Simulate some days, and print what happened.

    Args:
        seed: From which everything is drawn.
        keys: How many there are.
        days: How many.

    Returns:
        The exit code: 1 if a rule was broken. What is printed is then a script for `replay`.
    """
    began = time.monotonic()
    with closing(steps(f"simulate {days:g} days", math.ceil(days * DAY / _HOUR))) as hours:
        hour: float = next(hours)

        def told(at: float) -> None:
            nonlocal hour
            while hour < at // _HOUR:
                hour = next(hours, math.inf)

        logging.disable()  # the log of a year is long, and nobody reads it
        try:
            report = simulate(seed, range(keys), script(seed, range(keys), days), told)
        finally:
            logging.disable(logging.NOTSET)
    seconds = time.monotonic() - began
    what = f"seed {seed}, {keys} keys, {days:g} days"
    lines = [*_tell(what, report, seconds, _lives(seed, range(keys), days * DAY))]
    if report.broken is None:
        print(*lines, sep="\n")
        return 0
    print("a rule was broken; looking for a shorter script that breaks it ...", file=sys.stderr)
    _print_breach(lines, report.broken, reproduce(seed, range(keys), days, report.broken))
    return 1


def replay(path: Path) -> int:
    """Play a script that `run` has printed, and print what happened.

    Args:
        path: Where it is.

    Returns:
        The exit code: 1 if a rule was broken.
    """
    it = Reproduction.read(path)
    began = time.monotonic()
    report = it.play()
    length = it.actions[-1].at - it.actions[0].at
    what = f"{path}: seed {it.seed}, {len(it.keys)} keys, {len(it.actions)} actions"
    lines = _tell(what, report, time.monotonic() - began, _lives(it.seed, it.keys, length))
    print(*lines, sep="\n")
    if report.broken is None:
        return 0
    print(report.broken)
    return 1


def _lives(seed: int, keys: Iterable[int], seconds: float) -> float:
    """Return how many tokens would be needed, one after the other, always to have one."""
    return sum(seconds / plan_key(seed, number).lifetime for number in keys)


def _tell(what: str, report: Report, seconds: float, lives: float) -> Iterator[str]:
    """Yield lines of what happened."""
    counts = Counter(report.counts)
    yield what
    parts = {
        "callers": _CALLERS,
        "the provider": _PROVIDER,
        "what requests met": ["nothing wrong", *FAULTS],
        "errors that callers got": sorted(name for name in counts if name.endswith("Error")),
    }
    told = {name for names in parts.values() for name in names}
    if rest := sorted(counts.keys() - told):
        parts["what else happened"] = rest
    for title, names in parts.items():
        yield ""
        yield title
        for name in names:
            yield f"  {name:26}{counts[name]:>14,}"
    yield ""
    requests = counts["requests"] / lives if lives else math.nan
    yield f"requests, beside one for each lifetime of each key: {requests:.2f}"
    yield f"digest: {report.digest}"
    yield f"wall time: {seconds:.1f} s"


def _print_breach(lines: Iterable[str], breach: Breach, it: Reproduction) -> None:
    """Print a script that breaks the rule; what happened stands before it, as comments."""
    found = it.play().broken
    for line in [
        *lines,
        str(breach),
        f"The script below breaks the same rule: {found}.",
        "Write all of this to a file, and play it:",
        "python -m benchmarks simulate --replay FILE",
    ]:
        print(f"# {line}".rstrip())
    print(it, end="")
