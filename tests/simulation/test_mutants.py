"""The referee notices a broken rule: each mutant changes a line of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import okta_tokens
from tests.simulation.rules import Rule

ROOT = Path(__file__).parents[2]
PACKAGE = Path(okta_tokens.__file__).parent

PROGRAM = """
import logging
import sys

logging.disable()
from tests.simulation.script import script
from tests.simulation.world import simulate

keys, days = range(50), 7
for seed in (6, 1, 3, 2):
    violation = simulate(seed, keys, script(seed, keys, days)).violation
    print(violation and violation.rule.name, violation, flush=True)
    if violation and violation.rule.name == sys.argv[1]:
        break
"""

MUTANTS = {
    "forget the nonce": (
        Rule.FRESH_CREDENTIAL,
        "_endpoint/endpoint",
        "self._nonces[operation.key.authorization_server] = response.dpop_nonce",
        "self._nonces.setdefault(operation.key.authorization_server, response.dpop_nonce)",
    ),
    "send a refused secret again": (
        Rule.FRESH_CREDENTIAL,
        "_endpoint/endpoint",
        "if response is None and refusal is not None and refusal.covers(request):",
        "if False:",
    ),
    "hand out tokens within their leeway": (
        Rule.LIFETIME,
        "_model/policies",
        "return min(self.max_leeway, lifetime / 20)",
        "return 0.001",
    ),
    "ignore the wall clock": (
        Rule.LIFETIME,
        "_model/token",
        "min(self._boot_expiry - boot, self._wall_expiry - wall) - self._leeway",
        "self._boot_expiry - boot - self._leeway",
    ),
    "compare only one clock for an hour": (
        Rule.LIFETIME,
        "_cache/entry",
        "seconds = min(MAX_WINDOW, self.token._leeway, self.token._usable_for(*now))",
        "seconds = 3_600.0",
    ),
    "start a flight for each caller": (
        Rule.SINGLE_FLIGHT,
        "_cache/token_manager",
        "flight = flight or self._start_fetch(entry, deadline)",
        "flight = self._start_fetch(entry, deadline)",
    ),
    "cancel the flight when a caller leaves": (
        Rule.SINGLE_FLIGHT,
        "_runtime/single_flight",
        "        if flight.instant is None or deadline < flight.instant:",
        """\
        waiter.add_done_callback(
            lambda waiter: waiter.cancelled() and [task.cancel() for task in self._tasks]
        )
        if flight.instant is None or deadline < flight.instant:""",
    ),
    "raise the error of a failed renewal": (
        Rule.UNNOTICED,
        "_cache/token_manager",
        "        state = entry.state(now)\n        if entry.token is not None and state",
        """\
        state = entry.state(now)
        if entry.failed_renewals and entry.error is not None:
            raise entry.error
        if entry.token is not None and state""",
    ),
    "make callers wait for a renewal": (
        Rule.UNNOTICED,
        "_cache/renewals",
        "USABLE = {State.FRESH, State.DUE}",
        "USABLE = {State.FRESH}",
    ),
    "do not renew": (
        Rule.UNNOTICED,
        "_cache/renewals",
        """\
                self.set_timer(entry, last_chance)
            self._flights.start(entry.key, reason=reason, urgent=urgent)""",
        "                self.set_timer(entry, entry.unusable_at)",
    ),
    "retry a failed renewal at once": (
        Rule.UNNOTICED,
        "_cache/renewals",
        "entry.renew_after = now.boot + wait",
        "entry.renew_after = now.boot + 0.01",
    ),
    "do not retry a failed renewal": (
        Rule.UNNOTICED,
        "_cache/renewals",
        "self.set_timer(entry, entry.renew_after if retryable else unusable_at)",
        "entry.renew_after = unusable_at",
    ),
    "fetch again at once after a failed fetch": (
        Rule.ONE_ERROR,
        "_cache/landing",
        "entry.refuse_until = entry.renew_after = now.boot + cooldown",
        "entry.refuse_until = entry.renew_after = now.boot",
    ),
    "make the cool-down an hour long": (
        Rule.ONE_ERROR,
        "_cache/landing",
        "entry.refuse_until = entry.renew_after = now.boot + cooldown",
        "entry.refuse_until = entry.renew_after = now.boot + 3600",
    ),
    "raise one error object in every waiter": (
        Rule.ONE_ERROR,
        "_cache/token_manager",
        "raise self._count(copy.copy(result))",
        "raise self._count(result)",
    ),
    "make too many attempts": (
        Rule.ONE_ERROR,
        "_endpoint/endpoint",
        "attempt >= policy.attempts",
        "attempt >= 2 * policy.attempts",
    ),
    "renew too early": (
        Rule.IN_TIME,
        "_model/policies",
        "return lifetime - max(lead, min(2 * response_time, lifetime / 2))",
        "return lifetime / 3",
    ),
    "let every flight in": (
        Rule.LIMITS,
        "_runtime/gate",
        "if foreground + others == self._places:",
        "if foreground + others == 2 * self._places:",
    ),
    "let renewals use every place": (
        Rule.LIMITS,
        "_runtime/gate",
        "self._half = max(1, places // 2)",
        "self._half = self._all_but_one = places",
    ),
    "ignore pauses": (
        Rule.LIMITS,
        "_endpoint/pauses",
        "self.until = max(self.until, now + min(seconds, max_pause))",
        "self.until = now",
    ),
    "drop a token for a late rejection": (
        Rule.REJECTION,
        "_cache/entry",
        "if self.token is None or self.token.value != value:",
        "if self.token is None:",
    ),
    "keep a rejected token": (
        Rule.REJECTION,
        "_cache/entry",
        "        if not kept:\n            self.drop_token()\n",
        "",
    ),
    "do not damp rejections": (
        Rule.REJECTION,
        "_cache/entry",
        "kept = self._damping.reject(now)",
        "kept = 0.0",
    ),
    "forget rejections": (
        Rule.REJECTION,
        "_cache/invalidation",
        "now + MAX_DAMPING",
        "now + entry.damping",
    ),
    "renew unused keys": (
        Rule.IDLE,
        "_cache/renewals",
        "elif usable and not entry.kept_fresh and not entry.used & FOR_RENEWAL:",
        "elif False:",
    ),
    "do not keep tokens fresh": (
        Rule.IDLE,
        "_cache/renewals",
        "elif usable and not entry.kept_fresh and not entry.used & FOR_RENEWAL:",
        "elif usable and not entry.used & FOR_RENEWAL:",
    ),
    "leave timers behind": (
        Rule.NOTHING_LEFT,
        "_runtime/schedule",
        "self._schedule.cancel(self)",
        "pass",
    ),
    "do not wake waiters at their deadline": (
        Rule.NOTHING_LEFT,
        "_runtime/single_flight",
        "waiter.set_result(None)",
        "pass",
    ),
    "leave flights behind": (
        Rule.NOTHING_LEFT,
        "_provider",
        "await self._manager.flights.aclose()",
        "pass",
    ),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str, tmp_path: Path) -> None:
    """A simulation of a package with one wrong line ends with the rule that the line breaks."""
    rule, module, line, instead = MUTANTS[name]
    shutil.copytree(PACKAGE, tmp_path / "okta_tokens")
    path = tmp_path / "okta_tokens" / f"{module}.py"
    source = path.read_text("utf-8")
    assert source.count(line) == 1, "the line has changed; change the mutant, too"
    path.write_text(source.replace(line, instead), "utf-8")

    report = subprocess.run(
        [sys.executable, "-c", PROGRAM, rule.name],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert report.splitlines()[-1].startswith(rule.name), report
