"""The command `python -m benchmarks`: what it runs, what it writes, and when it fails."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import soak, stampede
from benchmarks.figures import Figure
from benchmarks.server import serve
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.single_flight import SingleFlight
from tests.support import UVLOOP


def replace_benchmarks(monkeypatch: pytest.MonkeyPatch, *figures: Figure) -> list[bool]:
    """Replace the benchmarks by two with given figures; return the list of their `short`."""
    calls: list[bool] = []

    async def run(*, short: bool) -> list[Figure]:
        await asyncio.sleep(0)
        calls.append(short)
        return [*figures]

    monkeypatch.setattr(command, "BENCHMARKS", {"one": run, "other": run})
    return calls


def test_a_wrong_count_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second request, where one is enough, is a defect on every machine."""
    replace_benchmarks(monkeypatch, Figure.count("requests", 2, "", exactly=1))

    assert command.main(["one", "--short"]) == 1
    assert capsys.readouterr().err == "WRONG: one: requests\n"


def test_a_slow_run_does_not_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ratio that misses its limit is printed as missed, and does not fail the run."""
    slow = Figure.ratio("time", [9.0], [1.0], at_most=1.2)
    replace_benchmarks(monkeypatch, slow, Figure.count("requests", 1, "", exactly=1))

    assert command.main(["one"]) == 0
    out, err = capsys.readouterr()
    assert "MISSED" in out
    assert err == ""


def test_all_runs_every_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`all` passes its options to every benchmark, and the JSON file holds all of them."""
    calls = replace_benchmarks(monkeypatch, Figure.count("requests", 1, "", exactly=1))

    assert command.main(["all", "--short", "--json", str(tmp_path / "figures.json")]) == 0
    assert calls == [True, True]
    assert [*json.loads((tmp_path / "figures.json").read_text())["benchmarks"]] == ["one", "other"]


def test_all_includes_long_benchmarks_only_if_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """`all` runs the soak, which takes ten minutes, only with `--short`."""
    calls = replace_benchmarks(monkeypatch, Figure.count("requests", 1, "", exactly=1))
    monkeypatch.setattr(command, "_LONG", {"other"})

    assert command.main(["all"]) == 0
    assert calls == [False]
    assert command.main(["all", "--short"]) == 0
    assert calls == [False, True, True]


def test_several_benchmarks_run_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each benchmark that is named runs, once and in the order of the names."""
    calls = replace_benchmarks(monkeypatch, Figure.count("requests", 1, "", exactly=1))

    assert command.main(["other", "one", "--short"]) == 0
    assert calls == [True, True]


@pytest.mark.parametrize(("options", "minutes"), [([], 10.0), (["--minutes", "0.5"], 0.5)])
def test_the_option_minutes_sets_the_duration_of_a_soak(
    monkeypatch: pytest.MonkeyPatch, options: list[str], minutes: float
) -> None:
    """The soak takes ten minutes by default."""
    calls = []

    async def run(*, short: bool, minutes: float) -> list[Figure]:
        await asyncio.sleep(0)
        calls.append((short, minutes))
        return []

    monkeypatch.setattr(soak, "run", run)

    assert command.main(["soak", *options]) == 0
    assert calls == [(False, minutes)]


class NeverFound(dict[TokenKey, Any]):
    """A dictionary of flights in which no lookup finds a flight."""

    def get(self, _key: object, _default: object = None) -> None:
        """Return `None`."""

    def __delitem__(self, _key: object) -> None:
        """Do nothing."""


async def test_a_stampede_without_single_flight_counts_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If each waiter sent its own request, the server's count would miss its limit."""
    flights = property(lambda _: NeverFound(), lambda *_: None)
    monkeypatch.setattr(SingleFlight, "under_way", flights, raising=False)
    async with serve(scopes=1) as server:
        figures = await stampede.compare_one_key(server, 5, 1)

    (requests,) = [figure for figure in figures if figure.counted]
    assert (requests.value, requests.holds) == (5, False)


@pytest.mark.parametrize(("options", "module"), [([], "asyncio"), (["--uvloop"], "uvloop")])
def test_the_option_uvloop_chooses_the_loop(
    monkeypatch: pytest.MonkeyPatch, options: list[str], module: str
) -> None:
    """With `--uvloop` the benchmarks run on uvloop, and without it on the default loop."""
    pytest.importorskip("uvloop")
    loops = []

    async def run(*, short: bool) -> list[Figure]:
        await asyncio.sleep(0)
        loops.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])
        return []

    monkeypatch.setitem(command.BENCHMARKS, "hit", run)
    monkeypatch.setitem(command.BENCHMARKS, "cold", run)

    assert command.main(["hit", "cold", "--short", *options]) == 0
    assert loops == 2 * ["uvloop" if UVLOOP else module]


def test_other_benchmarks_do_not_run_on_uvloop(capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark that starts processes on asyncio's loop is refused, not measured wrong."""
    assert command.main(["hit", "fleet", "--uvloop"]) == 2
    assert capsys.readouterr().err == "--uvloop: fleet cannot run on uvloop. Leave it out.\n"


def test_a_missing_uvloop_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without uvloop, the message says how to install it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert command.main(["hit", "--uvloop"]) == 2
    assert capsys.readouterr().err == (
        "--uvloop: uvloop is not installed. Run: pip install uvloop\n"
    )
