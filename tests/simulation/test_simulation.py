"""A week of faults: no rule is broken, and the same seed tells the same story."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation.machine import Machine, run
from tests.simulation.reproduction import Reproduction
from tests.simulation.script import DAY, FAULTS, Action, plan_key, script
from tests.simulation.world import simulate

HAPPENINGS = (
    "429s: too many a minute",
    "429s: too many at once",
    "callers cancelled",
    "renewals",
    "script: everyone",
    "script: lifetime",
    "script: offline",
    "script: reject_late",
    "script: restart",
    "script: rotate",
    "script: rush",
    "script: set_wall_clock",
    "script: skew",
    "script: sleep",
    "script: vault_fails",
    "script: vault_hangs",
    "time-outs",
    "tokens dropped",
)
"""What a week must have had, beside faults, for its verdict to mean something."""


@pytest.mark.timeout(300)
def test_a_week_of_faults_breaks_no_rule() -> None:
    """Fifty keys live for a week, and whatever goes wrong, every rule is kept."""
    keys = range(50)

    report = simulate(7, keys, script(7, keys, days=7))

    assert str(report.broken) == "None"
    for happened in (*FAULTS, *HAPPENINGS):
        assert report.counts[happened] > 0, happened


def test_the_same_seed_tells_the_same_story() -> None:
    """What happens depends on the seed alone, in another process too, however strings hash."""
    story = (
        "from tests.simulation.script import script\n"
        "from tests.simulation.world import simulate\n"
        "print(simulate(3, range(5), script(3, range(5), 1)).digest)"
    )
    here = simulate(3, range(5), script(3, range(5), 1)).digest
    path = os.pathsep.join(sys.path)

    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", story],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert there.strip() == here
    assert simulate(4, range(5), script(4, range(5), 1)).digest != here


def test_a_day_takes_no_time() -> None:
    """The event loop's time is virtual, and a machine that sleeps is late by that much."""

    async def main() -> tuple[float, float, float]:
        machine = Machine(asyncio.get_running_loop())
        begun = machine.boot_time()
        waiting = asyncio.create_task(machine.sleep_until(begun + DAY))
        await asyncio.sleep(DAY / 2)
        machine.slept += DAY
        machine.wall_error = -5.0
        await waiting
        return machine.boot_time() - begun, machine.wall_time(), machine.universe_time()

    begun = time.monotonic()
    passed, wall, universe = run(main())

    assert DAY < passed <= 1.5 * DAY + 30
    assert wall == pytest.approx(universe - 5)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("begin", [0.0, 2.0**24, 2.0**40])
def test_time_goes_on_however_late_it_is(begin: float) -> None:
    """A timer is due at its instant, also where floats lie further apart than a nanosecond."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.25)
        return loop.time()

    assert run(main(), begin) == begin + 0.25


def test_tasks_that_can_never_go_on_are_an_error() -> None:
    """A virtual loop in which nothing will ever happen again says so, and does not hang."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="no timer will wake"):
        run(main())


def test_a_script_is_in_order_and_its_keys_are_its_own() -> None:
    """A key's actions do not depend on which other keys there are."""
    alone = [action for action in script(5, [3], 2) if action.kind == "get"]
    among = [action for action in script(5, range(5), 2) if action.kind == "get"]

    assert [action for action in among if action.target == 3] == alone
    assert [action.at for action in among] == sorted(action.at for action in among)
    assert plan_key(5, 3) == plan_key(5, 3)


def test_a_script_is_written_and_read(tmp_path: Path) -> None:
    """What a failing simulation prints can be read from a file, and be played again."""
    it = Reproduction(1, [2], [Action(10.5, "get", 2), Action(11.25, "hang", 0, 60.0)])
    path = tmp_path / "script"

    path.write_text(f"# what happened\n{it}")

    assert Reproduction.read(path) == it
    assert it.play().broken is None
