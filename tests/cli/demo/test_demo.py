"""`okta-tokens demo`: at a smaller size, and with simulated failures."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from rich.console import Console

from okta_tokens import TokenSource
from okta_tokens.cli import main
from okta_tokens.cli.demo.command import run_scenarios
from okta_tokens.cli.demo.display import PlainDisplay, choose_display
from okta_tokens.cli.demo.figures import Figure
from okta_tokens.cli.demo.harness import Harness, open_harness
from okta_tokens.cli.demo.live_display import LiveDisplay
from okta_tokens.cli.demo.plan import Plan
from okta_tokens.cli.demo.probe import KeyProbe
from okta_tokens.cli.demo.scenarios import _refused_renewal, cold_start, outage, renewals
from okta_tokens.cli.demo.snapshot import Snapshot
from okta_tokens.sandbox import Fault
from tests.cli.conftest import Terminal

PLAN = Plan(
    callers=200,
    short=(("orders:read", 1), ("orders:write", 1)),
    lifetimes=2.1,
    workers=60,
    outage=("payments:write", 3),
    latency=0.05,
)


def run_small(scenario: Callable[[Harness], Awaitable[list[Figure]]], **sizes: float) -> int:
    """Run one small scenario by itself, and return the exit code."""
    plan = Plan(callers=20, short=(("orders:read", 1),), workers=60, **sizes)  # type: ignore[arg-type]  # the values of one test
    return asyncio.run(run_scenarios(plan, PlainDisplay(sys.stdout), {"A scenario": scenario}))


def test_all_figures_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One request for all callers, no expired token, no error in an outage: exit code 0."""
    monkeypatch.setattr("okta_tokens.cli.demo.command.Plan", lambda: PLAN)
    code = main(["demo", "--plain"])
    shown = capsys.readouterr()

    assert "FAIL" not in shown.out
    assert code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert shown.err == ""
    assert "  pass         1  token requests reached the sandbox (expected: 1)\n" in shown.out
    assert "  pass       200  callers got the same token (expected: 200)\n" in shown.out
    assert "orders:read: renewed in the background; valid for 1 s\n" in shown.out
    assert "payments:write: renewal failed (ServerError)" in shown.out
    assert shown.out.endswith("All 19 figures pass.\n")


def test_a_second_request_is_a_wrong_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """A second request for the cold token is a wrong figure, and the exit code is 1."""

    async def scenario(harness: Harness) -> list[Figure]:
        harness.sandbox.fail_next(Fault.status(503))
        return await cold_start(harness)

    code = run_small(scenario, latency=0.01)
    shown = capsys.readouterr().out

    assert code == 1
    assert "  FAIL         2  token requests reached the sandbox (expected: 1)\n" in shown
    assert shown.endswith("1 of 3 figures are WRONG.\n")


def test_an_expired_token_is_a_wrong_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """A token that reaches the sandbox after its expiry is a wrong figure."""

    async def scenario(harness: Harness) -> list[Figure]:
        def jump() -> None:
            harness.sandbox.wall_time = lambda: time.time() + 5

        asyncio.get_running_loop().call_later(0.1, jump)
        return await renewals(harness)

    code = run_small(scenario, lifetimes=0.4)

    assert code == 1
    assert (
        "API calls with an expired token (expected: 0)\n"
        in capsys.readouterr().out.partition("FAIL")[2]
    )


def test_a_failed_api_call_is_a_wrong_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """A call that does not reach the API is a wrong figure."""

    async def scenario(harness: Harness) -> list[Figure]:
        asyncio.get_running_loop().call_later(
            0.1, lambda: closing.append(asyncio.ensure_future(harness.sandbox.aclose()))
        )
        return await renewals(harness)

    closing: list[asyncio.Future[None]] = []
    code = run_small(scenario, lifetimes=0.4)

    assert code == 1
    assert closing[0].done()
    assert " callers got an error (expected: 0)\n" in capsys.readouterr().out.partition("FAIL")[2]


def test_an_error_in_the_outage_is_a_wrong_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """A caller that gets an error instead of a token is a wrong figure."""

    async def scenario(harness: Harness) -> list[Figure]:
        harness.sandbox.fault = Fault.refuse(400, "access_denied")
        return await outage(harness)

    code = run_small(scenario)
    shown = capsys.readouterr().out

    assert code == 1
    assert "payments:write: a fetch failed (OAuthError); waiting callers: 1\n" in shown
    assert "  FAIL         1  callers got an error (expected: 0)\n" in shown


async def test_an_outage_ends_without_a_refusal() -> None:
    """If no renewal is refused, the outage ends before the token expires."""
    plan = Plan(short=(("orders:read", 1),))
    async with open_harness(plan, PlainDisplay(sys.stdout)) as harness:
        (probe,) = harness.activate("orders:read")
        token = await harness.get(probe)
        assert token is not None
        remaining = await _refused_renewal(probe, token)

    assert probe.refused == 0
    assert 0 < remaining < 0.3


async def test_the_live_table() -> None:
    """The table has one row for each key with its counters, and the latest lines below."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=40)
    plan = Plan(callers=50, latency=0.3)
    code = await run_scenarios(plan, LiveDisplay(console), {"Cold": cold_start})
    shown = screen.getvalue()

    assert code == 0
    assert "1. Cold" in shown
    assert "fetched; waiting callers: 50; valid for 3600 s" in shown
    for word in ("reports:read", "fresh", "absent", "renewals", "hits"):
        assert word in shown


@pytest.mark.parametrize("remaining", [3_599.96, 59.96, None])
@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_the_live_table_fits_into_80_columns(remaining: float | None, encoding: str) -> None:
    """With the largest numbers of the demo, nothing is cut and no line is wrapped."""
    output = io.BytesIO()
    screen = io.TextIOWrapper(output, encoding=encoding)
    probe = KeyProbe("payments:write", 3_600, cast("TokenSource", None))
    probe.calls, probe.waits, probe.requests, probe.tokens = 109_999, 10_000, 20_000, 10_001
    with LiveDisplay(Console(file=screen, width=80)) as display:
        display.show_title("1. Cold")
        display.show_snapshots([Snapshot(probe, "expired", remaining)])
    screen.flush()

    *_, heading, _, row, _ = output.getvalue().decode(encoding).splitlines()
    assert len(heading.split()) == 9
    assert "…" not in heading + row
    for text in ("payments:write", "3,600 s", "expired", "20,000", "99,999", "10,000"):
        assert text in row


def test_a_long_state_costs_no_figure() -> None:
    """If the numbers leave too little room, the words are wrapped; so is a long line."""
    screen = io.StringIO()
    probe = KeyProbe("payments:write", 3_600, cast("TokenSource", None))
    probe.calls, probe.waits, probe.errors = 199_999_999, 10_000_000, 10_000_000
    probe.requests, probe.tokens = 20_000_000, 10_000_001
    line = f"payments:write: renewal failed ({'X' * 40}Error); token usable for 2.125 s"
    with LiveDisplay(Console(file=screen, width=80)) as display:
        display.show_line(line)
        display.show_snapshots([Snapshot(probe, "cooling down", 3_599.96)])
    shown = screen.getvalue()

    assert "…" not in shown
    for text in ("3,600 s", "20,000,000", "10,000,000", "189,999,999", "2.125 s"):
        assert text in shown


async def test_a_document_is_alone_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--json` the lines go to standard error, and only if that is a terminal."""
    scenarios = {"Cold": cold_start}
    plan = Plan(callers=2, latency=0.0)
    code = await run_scenarios(
        plan, choose_display(plain=False, as_json=True), scenarios, as_json=True
    )
    silent = capsys.readouterr()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    await run_scenarios(plan, choose_display(plain=False, as_json=True), scenarios, as_json=True)

    assert code == 0
    assert json.loads(silent.out)["outcome"] == "pass"
    assert silent.err == ""
    assert json.loads(capsys.readouterr().out)["outcome"] == "pass"
    assert "\n1. Cold\n" in terminal.getvalue()


def test_lines_are_printed_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are printed with `--plain`, without a terminal, and on a dumb or narrow one."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    without = choose_display(plain=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    plain = choose_display(plain=True)
    monkeypatch.setitem(os.environ, "TERM", "dumb")
    dumb = choose_display(plain=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "79")
    narrow = choose_display(plain=False)

    assert {type(display) for display in (without, plain, dumb, narrow)} == {PlainDisplay}


def test_a_terminal_gets_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows a live table."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setitem(os.environ, "TERM", "xterm")

    assert isinstance(choose_display(plain=False), LiveDisplay)


def test_lines_are_printed_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich, the demo prints lines, and says how to install rich."""
    stdout = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    monkeypatch.delitem(sys.modules, "okta_tokens.cli.demo.live_display")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    display = choose_display(plain=False)

    assert isinstance(display, PlainDisplay)
    assert "okta-tokens[cli]" in stdout.getvalue()
