"""What a bad day of a fleet costs, counted: 200 processes in virtual time against one alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.fleet_day import Day, play
from benchmarks.fleet_world import Fault, Period

PROCESSES = 200

COLD = (0.0, 120.0)
"""Okta fails when the processes start."""
WARM = (60.0, 500.0)
"""Okta fails while the processes hold tokens of 300 seconds, which expire meanwhile."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("period", [COLD, WARM], ids=["cold", "warm"])
@pytest.mark.parametrize("fault", ["unavailable", "refused"])
def test_an_outage_costs_a_fleet_at_most_three_times_what_it_costs_one_process(
    fault: Fault, period: tuple[float, float]
) -> None:
    """200 processes send at most three times as many requests, and no error is avoidable."""
    day = Day(period[1] + 60, (Period(*period, fault),), lifetime=300)
    fleet, alone = play(day, PROCESSES), play(day, PROCESSES, alone=True)

    assert fleet.counts["calls"] > 1_000
    assert fleet.counts["errors"] > 100
    assert fleet.requests_between(*period) <= 3 * alone.requests_between(*period)
    assert len(fleet.requests) - fleet.requests_between(*period) <= 3
    assert fleet.counts["avoidable errors"] == 0
    assert fleet.counts["expired tokens"] == 0


@pytest.mark.timeout(120)
def test_a_wrong_secret_costs_a_fleet_two_requests_per_cool_down() -> None:
    """200 processes with a wrong secret send as few requests as one alone, at most two for each."""
    day = Day(180, (Period(0.0, 180.0, "wrong secret"),))
    fleet, alone = play(day, PROCESSES), play(day, PROCESSES, alone=True)

    assert 5 < len(fleet.requests) <= 2 * len(alone.requests)


@pytest.mark.timeout(240)
def test_wrong_clocks_make_an_outage_not_much_dearer() -> None:
    """Though the clocks are wrong by up to two minutes, the limit of three times holds."""
    outages = (Period(2_500.0, 4_200.0, "refused"),)
    day = Day(4_300, outages, interval=30, clock_error=120)
    fleet, alone = play(day, PROCESSES), play(replace(day, clock_error=0), PROCESSES, alone=True)

    assert len(fleet.requests) <= 3 * len(alone.requests)
    assert fleet.counts["avoidable errors"] == 0
    assert fleet.counts["expired tokens"] == 0


@pytest.mark.timeout(120)
def test_a_rate_limit_costs_a_fleet_with_wrong_clocks_what_it_costs_one_process() -> None:
    """200 processes wait for the end of one pause, though few of them know Okta's clock."""
    day = Day(400, (Period(30.0, 400.0, "rate limited"),), interval=30, clock_error=120)
    day = replace(day, clearings=(60.0,))  # from now on no process has a token
    fleet, alone = play(day, PROCESSES), play(day, PROCESSES, alone=True)

    assert 5 < len(fleet.requests) <= 1.5 * len(alone.requests)


@pytest.mark.timeout(120)
def test_an_api_that_rejects_every_token_costs_a_fleet_twice_what_it_costs_one_process() -> None:
    """200 processes whose API rejects every token send at most twice as many requests as one."""
    day = Day(900, rejecting=(Period(0.0, 900.0),))
    fleet, alone = play(day, PROCESSES), play(day, PROCESSES, alone=True)

    assert 5 < len(fleet.requests) <= 2 * len(alone.requests)
