"""`simulate-fleet`: what does a day of a thousand processes cost Okta, the store and the callers?

A thousand real providers run in virtual time, with an Okta and a store in memory. Okta, the store
and an API fail, the wall clocks are wrong by up to two minutes, and processes are restarted, join
and leave. The same day with one process alone, and with smaller fleets, shows what grows with the
number of processes.
"""

from __future__ import annotations

import time
from typing import Final

from benchmarks.figures import Figure
from benchmarks.fleet_day import Day, Outcome, bad_day, calm_day, play
from benchmarks.report import print_table
from benchmarks.scale import Measured, forecast, print_forecasts
from okta_tokens.events import RenewalAdopted, RenewalPostponed, TokenAdopted, TokenWithdrawn

_OUTAGES: Final = ("unavailable", "rate limited", "refused")
SHORT: Final = 20
"""The number of processes with `--short`."""


def count_requests(*, processes: int, hours: float, seed: int, shared: bool) -> int:
    """Return the number of token requests of a fleet while neither Okta nor the store fails.

    Args:
        processes: The number of processes, which are restarted three times.
        hours: The duration.
        seed: The seed of everything.
        shared: Whether the processes share a store.
    """
    day = calm_day(seed, hours)
    return len(play(day, processes, seed=seed, shared=shared).requests)


def run(*, processes: int, hours: float, seed: int) -> int:
    """Simulate a fleet and smaller ones, print what they cost, and carry it on to 10,000 processes.

    Args:
        processes: The number of processes.
        hours: The duration.
        seed: The seed of everything.

    Returns:
        The exit code: 1 if a goal was missed.
    """
    begun = time.monotonic()
    day = bad_day(seed, hours)
    alone = play(day, processes, seed=seed, alone=True)
    sizes = sorted({max(1, round(share * processes)) for share in (0.1, 0.3, 1.0)})
    fleets = [play(day, size, seed=seed) for size in sizes]
    figures = judge(day, fleets[-1], alone)
    print_table(f"seed {seed}, {processes} processes, {hours:g} hours", figures)
    print_table("the store", [*describe_store(day, fleets[-1])])
    print_forecasts(forecast([measure(day, fleet) for fleet in fleets]))
    print(f"wall time: {time.monotonic() - begun:.0f} s")
    return 0 if all(figure.holds for figure in figures) else 1


def judge(day: Day, fleet: Outcome, alone: Outcome) -> list[Figure]:
    """Return what a day cost Okta and the callers, with the goals.

    Args:
        day: What happened.
        fleet: What a fleet cost.
        alone: What one process alone would have cost.
    """
    counts = fleet.counts
    return [
        Figure.count("processes, including restarts and bursts", counts["processes"], ""),
        Figure.count("calls", counts["calls"], ""),
        Figure.count("requests", len(fleet.requests), ""),
        Figure.count("requests of one process alone on the same day", len(alone.requests), ""),
        *_compared("without a failure", ("calm",), fleet, alone),
        Figure.single("the same of the fleet, per lifetime", _per_lifetime(day, fleet), ""),
        *_compared("in outages of Okta", _OUTAGES, fleet, alone, at_most=3.0),
        *_compared("in outages without a connection", ("refused",), fleet, alone, at_most=3.0),
        *_compared("in outages with 429", ("rate limited",), fleet, alone, at_most=3.0),
        *_compared("with a wrong secret", ("wrong secret",), fleet, alone, at_most=2.0),
        *_compared("while an API rejects every token", ("rejecting",), fleet, alone, at_most=2.0),
        Figure.count("requests while the store failed, too", _without_store(fleet), ""),
        Figure.single("longest wait of a caller that got a token", fleet.worst_wait, "s"),
        Figure.single("the same with one process alone", alone.worst_wait, "s"),
        Figure.count("expired tokens", counts["expired tokens"], "", exactly=0),
        Figure.count("errors", counts["errors"], ""),
        Figure.count(
            "errors although a usable token was held or stored",
            counts["avoidable errors"],
            "",
            exactly=0,
        ),
        Figure.count(
            "tokens used two seconds after another process withdrew them",
            counts["withdrawn tokens"],
            "",
            exactly=0,
        ),
    ]


def describe_store(day: Day, fleet: Outcome) -> list[Figure]:
    """Return how many commands the store received, by name, and what they brought.

    Args:
        day: What happened.
        fleet: What a fleet cost.
    """
    lifetimes = day.seconds / day.lifetime * fleet.processes
    name = "commands per token, lifetime and process"
    kinds = {
        "tokens adopted for a caller": TokenAdopted,
        "tokens adopted instead of a renewal": RenewalAdopted,
        "renewals put off, since another process had failed": RenewalPostponed,
        "tokens dropped, since another process withdrew them": TokenWithdrawn,
    }
    return [
        Figure.single("commands per second", fleet.commands.total() / day.seconds, ""),
        Figure.count("commands in the busiest second", _peak(fleet), ""),
        Figure.single("notifications per second", fleet.messages / day.seconds, ""),
        Figure.single(name, fleet.commands.total() / lifetimes, ""),
        *(
            Figure.single(f"of these `{command}`", number / lifetimes, "")
            for command, number in fleet.commands.most_common()
        ),
        *(Figure.count(kind, fleet.events[event], "") for kind, event in kinds.items()),
    ]


def measure(day: Day, fleet: Outcome) -> Measured:
    """Return the figures of a fleet that are carried on to a larger one.

    Args:
        day: What happened.
        fleet: What a fleet cost.
    """
    fixed = {
        "requests per lifetime of a token, without a failure": _per_lifetime(day, fleet),
        "requests in outages, with a wrong secret, while an API rejects": sum(
            fleet.by_state[state] for state in (*_OUTAGES, "wrong secret", "rejecting")
        ),
        "longest wait of a caller, in seconds": fleet.worst_wait,
    }
    growing = {
        "requests while the store failed": _without_store(fleet),
        "commands per second": fleet.commands.total() / day.seconds,
        "commands in the busiest second": _peak(fleet),
    }
    return Measured(fleet.processes, fixed, growing)


def _compared(
    when: str,
    states: tuple[str, ...],
    fleet: Outcome,
    alone: Outcome,
    at_most: float | None = None,
) -> list[Figure]:
    """Return the requests of a fleet and of one process while the store works, and their ratio."""
    both = [sum(outcome.by_state[state] for state in states) for outcome in (fleet, alone)]
    figures = [
        Figure.count(f"requests {when}", both[0], ""),
        Figure.count(f"requests {when}, of one process", both[1], ""),
    ]
    if at_most is not None:
        # One request more may be due to the moment at which the failure began.
        ratio = both[0] / max(1, both[1])
        name = f"requests {when}, relative to one process"
        figures.append(Figure.count(name, ratio, "×", at_most=at_most))
    return figures


def _per_lifetime(day: Day, fleet: Outcome) -> float:
    moments = range(int(day.seconds))
    seconds = sum(day.store_works(now) and day.state(now) == "calm" for now in moments)
    return fleet.by_state["calm"] / max(1, seconds) * day.lifetime


def _without_store(fleet: Outcome) -> int:
    return sum(n for state, n in fleet.by_state.items() if state.startswith("store failed"))


def _peak(fleet: Outcome) -> int:
    return max(fleet.commands_at.values(), default=0)
