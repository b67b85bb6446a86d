"""The command `simulate-fleet`: it keeps its goals, and notices what misses them."""

import re
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.fleet_day import Day, play
from benchmarks.fleet_world import Period
from benchmarks.simulate_fleet import judge
from okta_tokens._cache.store_reader import Found, StoreReader

SHORT = ["simulate-fleet", "--short", "--seed", "5"]


def missed(out: str) -> set[str]:
    """Return the names of the figures that miss their goal."""
    lines = [line for line in out.splitlines() if "MISSED" in line]
    return {line.split("|")[1].strip() for line in lines}


@pytest.mark.timeout(300)
def test_a_fleet_keeps_its_goals(capsys: pytest.CaptureFixture[str]) -> None:
    """A day of failures costs a fleet little more than one process, and callers no avoidable error.

    The table has enough of everything that is judged.
    """
    assert command.main(SHORT) == 0

    out = capsys.readouterr().out
    counts = {
        name.strip(): float(value.strip().rstrip("s× ").replace(",", ""))
        for name, value in re.findall(r"^\| ([a-z`][^|]*)\|([^|]*)\|", out, flags=re.MULTILINE)
        if value.strip()[:1].isdigit()
    }
    assert counts["calls"] > 20_000
    assert counts["errors"] > 0
    for when in ("in outages of Okta", "in outages without a connection", "with a wrong secret"):
        assert counts[f"requests {when}, of one process"] > 10
    assert counts["tokens dropped, since another process withdrew them"] > 0
    assert counts["requests while the store failed, too"] > 0
    assert "10,000, on paper" in out


@pytest.mark.parametrize("adopts", [True, False])
def test_a_fleet_that_does_not_adopt_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    adopts: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """If processes that start in an outage do not adopt stored tokens, errors are avoidable."""
    token = StoreReader._token

    def for_renewals_only(self: StoreReader, *rest: Any, wanted: bool) -> object:  # noqa: ANN401 - passed on
        return None if wanted else token(self, *rest, wanted=wanted)

    if not adopts:
        monkeypatch.setattr(StoreReader, "_token", for_renewals_only)
    day = Day(600, (Period(100, 400, "unavailable"),), deployments=(150.0,))
    figures = judge(day, play(day, 10), play(day, 10, alone=True))

    errors = [figure for figure in figures if figure.name.startswith("errors although")]
    assert [figure.holds for figure in errors] == [adopts]


@pytest.mark.timeout(300)
def test_a_fleet_that_learns_nothing_from_others_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If no process uses the failures and rejections of others, the fleet sends too many requests.

    It also uses withdrawn tokens.
    """
    look = StoreReader.look

    async def deaf(self: StoreReader, *rest: Any, **options: Any) -> Found:  # noqa: ANN401 - passed on
        self.on_discarded = self.on_cleared = None
        found = await look(self, *rest, **options)
        return Found(found.response, None, 0.0)

    monkeypatch.setattr(StoreReader, "look", deaf)

    assert command.main(SHORT) == 1
    assert missed(capsys.readouterr().out) >= {
        "requests with a wrong secret, relative to one process",
        "tokens used two seconds after another process withdrew them",
    }
