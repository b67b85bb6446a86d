"""What a bad day of a fleet costs, counted: 200 processes in virtual time against one alone."""

from __future__ import annotations

import pytest

from tests.simulation.fleet import Day, live

PROCESSES = 200

COLD = ((0.0, 120.0),)
"""Okta fails when the processes start."""
WARM = ((60.0, 500.0),)
"""Okta fails while the processes hold tokens of 300 seconds, which expire meanwhile."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("outages", [COLD, WARM], ids=["cold", "warm"])
@pytest.mark.parametrize("fault", ["unavailable", "refused"])
def test_an_outage_costs_a_fleet_at_most_three_times_what_it_costs_one_process(
    fault: str, outages: tuple[tuple[float, float], ...]
) -> None:
    """200 processes send at most three times as many requests, and no error is avoidable."""
    day = Day(outages[0][1] + 60, fault, outages, lifetime=300)  # type: ignore[arg-type]  # see above
    fleet = live(day, PROCESSES)
    alone = live(day, PROCESSES, alone=True)
    period = outages[0]

    assert fleet.counts["calls"] > 1_000
    assert fleet.counts["errors"] > 100
    assert fleet.requests_between(*period) <= 3 * alone.requests_between(*period)
    assert len(fleet.requests) - fleet.requests_between(*period) <= 3
    assert fleet.counts["avoidable errors"] == 0
    assert fleet.counts["expired tokens"] == 0


@pytest.mark.timeout(120)
def test_a_wrong_secret_costs_a_fleet_two_requests_per_cool_down() -> None:
    """200 processes with a wrong secret send as few requests as one alone, at most two for each."""
    day = Day(180, "wrong secret", ((0.0, 180.0),))
    fleet, alone = live(day, PROCESSES), live(day, PROCESSES, alone=True)

    assert 5 < len(fleet.requests) <= 2 * len(alone.requests)


@pytest.mark.timeout(240)
def test_wrong_clocks_make_an_outage_not_much_dearer() -> None:
    """Though the clocks are wrong by up to two minutes, the limit of three times holds."""
    day = Day(4_300, "refused", ((2_500.0, 4_200.0),), interval=30)
    fleet = live(day, PROCESSES, clock_errors=True)
    alone = live(day, PROCESSES, alone=True)

    assert len(fleet.requests) <= 3 * len(alone.requests)
    assert fleet.counts["avoidable errors"] == 0
    assert fleet.counts["expired tokens"] == 0


@pytest.mark.timeout(120)
def test_an_api_that_rejects_every_token_costs_a_fleet_twice_what_it_costs_one_process() -> None:
    """200 processes whose API rejects every token send at most twice as many requests as one."""
    day = Day(900, interval=5, rejected=True)
    fleet, alone = live(day, PROCESSES), live(day, PROCESSES, alone=True)

    assert 5 < len(fleet.requests) <= 2 * len(alone.requests)
