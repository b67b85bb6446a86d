"""The command: which benchmark, where to, and when it fails."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import soak, stampede
from benchmarks.figures import Figure
from benchmarks.server import serve
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.single_flight import SingleFlight


def stand_in(monkeypatch: pytest.MonkeyPatch, *figures: Figure) -> list[bool]:
    """Put a benchmark in the place of all; return the list of how it is called: short or not."""
    calls: list[bool] = []

    async def run(*, short: bool) -> list[Figure]:
        await asyncio.sleep(0)
        calls.append(short)
        return [*figures]

    monkeypatch.setattr(command, "BENCHMARKS", {"it": run, "that": run})
    return calls


def test_a_wrong_count_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests where one is enough are a defect, on however slow a machine."""
    stand_in(monkeypatch, Figure.count("requests", 2, "", exactly=1))

    assert command.main(["it", "--short"]) == 1
    assert capsys.readouterr().err == "WRONG: it: requests\n"


def test_a_slow_run_does_not_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ratio that misses its limit is told, and that is all."""
    slow = Figure.ratio("it", [9.0], [1.0], at_most=1.2)
    stand_in(monkeypatch, slow, Figure.count("requests", 1, "", exactly=1))

    assert command.main(["it"]) == 0
    out, err = capsys.readouterr()
    assert "MISSED" in out
    assert err == ""


def test_all_runs_each_in_the_length_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`all` is every benchmark, and the file then holds all of them."""
    calls = stand_in(monkeypatch, Figure.count("requests", 1, "", exactly=1))

    assert command.main(["all", "--short", "--json", str(tmp_path / "figures.json")]) == 0
    assert calls == [True, True]
    assert [*json.loads((tmp_path / "figures.json").read_text())["benchmarks"]] == ["it", "that"]


def test_a_soak_is_in_all_only_where_that_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who asks for all of the benchmarks asks for ten more minutes."""
    calls = stand_in(monkeypatch, Figure.count("requests", 1, "", exactly=1))
    monkeypatch.setattr(command, "_LONG", {"that"})

    assert command.main(["all"]) == 0
    assert calls == [False]
    assert command.main(["all", "--short"]) == 0
    assert calls == [False, True, True]


@pytest.mark.parametrize(("options", "minutes"), [([], 10.0), (["--minutes", "0.5"], 0.5)])
def test_a_soak_takes_as_long_as_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, options: list[str], minutes: float
) -> None:
    """Ten minutes, if nothing else was said."""
    asked = []

    async def run(*, short: bool, minutes: float) -> list[Figure]:
        await asyncio.sleep(0)
        asked.append((short, minutes))
        return []

    monkeypatch.setattr(soak, "run", run)

    assert command.main(["soak", *options]) == 0
    assert asked == [(False, minutes)]


class Forgetful(dict[TokenKey, Any]):
    """Flights under way, none of which is found again."""

    def get(self, _key: object, _default: object = None) -> None:
        """Find nothing."""

    def __delitem__(self, _key: object) -> None:
        """Have forgotten it already."""


async def test_a_stampede_without_single_flight_counts_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The counts come from the server: if each waiter sent its own request, they would tell."""
    flights = property(lambda _: Forgetful(), lambda *_: None)
    monkeypatch.setattr(SingleFlight, "under_way", flights, raising=False)
    async with serve(scopes=1) as server:
        figures = await stampede.compare_one_key(server, 5, 1)

    (requests,) = [figure for figure in figures if figure.counted]
    assert (requests.value, requests.holds) == (5, False)
