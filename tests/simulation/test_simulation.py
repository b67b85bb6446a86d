"""A week of faults breaks no rule, and the same seed gives the same simulation."""

import asyncio
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from tests.simulation.machine import Machine, run
from tests.simulation.reproduction import Reproduction
from tests.simulation.script import DAY, FAULTS, Action, plan_key, script
from tests.simulation.world import simulate

OCCURRENCES = (
    "429s: concurrency limit",
    "429s: rate limit",
    "callers cancelled",
    "immediate retries",
    "nonces demanded",
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
"""What a week must contain besides faults, so that its verdict means something."""


@pytest.mark.timeout(300)
def test_a_week_of_faults_breaks_no_rule() -> None:
    """Every rule is kept during a week of fifty keys with every fault."""
    keys = range(50)

    report = simulate(7, keys, script(7, keys, days=7))

    assert str(report.violation) == "None"
    for name in (*FAULTS, *OCCURRENCES):
        assert report.counts[name] > 0, name


def test_the_same_seed_gives_the_same_simulation() -> None:
    """A simulation depends only on its seed, and neither on the process nor on string hashes."""
    program = (
        "from tests.simulation.script import script\n"
        "from tests.simulation.world import simulate\n"
        "print(simulate(3, range(5), script(3, range(5), 1)).digest)"
    )
    here = simulate(3, range(5), script(3, range(5), 1)).digest
    path = os.pathsep.join(sys.path)

    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert there.strip() == here
    assert simulate(4, range(5), script(4, range(5), 1)).digest != here


def test_virtual_time_passes_without_waiting() -> None:
    """A day of virtual time takes no real time, and a machine's clocks include its sleep."""

    async def main() -> tuple[float, float, float]:
        machine = Machine(asyncio.get_running_loop())
        begun = machine.boot_time()
        waiting = asyncio.create_task(machine.sleep_until(begun + DAY))
        await asyncio.sleep(DAY / 2)
        machine.slept += DAY
        machine.wall_error = -5.0
        await waiting
        return machine.boot_time() - begun, machine.wall_time(), machine.true_time()

    begun = time.monotonic()
    passed, wall, true = run(main())

    assert DAY < passed <= 1.5 * DAY + 30
    assert wall == pytest.approx(true - 5)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("begin", [0.0, 2.0**24, 2.0**40])
def test_timers_are_exact_at_any_time(begin: float) -> None:
    """A timer is due at its instant, even if floats are further apart than a nanosecond."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.25)
        return loop.time()

    assert run(main(), begin) == begin + 0.25


def test_a_deadlock_is_an_error() -> None:
    """A virtual loop without a timer and without a ready task raises instead of hanging."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="no timer will wake"):
        run(main())


def test_an_endless_loop_is_an_error() -> None:
    """A virtual loop in which a task is always ready raises instead of hanging."""

    async def main() -> None:
        for _ in count():
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="always ready"):
        run(main())


def test_a_script_is_in_order_and_its_keys_are_independent() -> None:
    """A key's actions do not depend on the other keys."""
    alone = [action for action in script(5, [3], 2) if action.kind == "get"]
    among = [action for action in script(5, range(5), 2) if action.kind == "get"]

    assert len(alone) > 10
    assert [action for action in among if action.target == 3] == alone
    assert [action.at for action in among] == sorted(action.at for action in among)
    assert plan_key(5, 3) == plan_key(5, 3)


def test_a_script_is_printed_and_loaded(tmp_path: Path) -> None:
    """A printed script can be loaded from a file, and played again."""
    reproduction = Reproduction(1, [2], [Action(10.5, "get", 2), Action(11.25, "hang", 0, 60.0)])
    path = tmp_path / "script"

    path.write_text(f"# a comment\n{reproduction}")

    assert Reproduction.load(path) == reproduction
    report = reproduction.play()
    assert report.violation is None
    assert report.counts["tokens returned"] == 1
