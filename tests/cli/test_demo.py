"""`okta-tokens demo`: at a smaller size, and with something broken on purpose."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable

import pytest
from rich.console import Console

from okta_tokens.cli import main
from okta_tokens.cli._acts import _noticed, cold_start, outage, renewals
from okta_tokens.cli._demo import perform
from okta_tokens.cli._display import PlainDisplay, choose_display
from okta_tokens.cli._figures import Figure, at_least, exactly, summary
from okta_tokens.cli._live import LiveDisplay
from okta_tokens.cli._scene import Plan
from okta_tokens.cli._stage import Stage, open_stage
from okta_tokens.sandbox import Fault

PLAN = Plan(
    callers=200,
    short=(("orders:read", 1), ("orders:write", 1)),
    lifetimes=2.1,
    askers=60,
    outage=("payments:write", 3),
    latency=0.05,
)


def small(act: Callable[[Stage], Awaitable[list[Figure]]], **sizes: float) -> int:
    """Perform one act by itself, and return the exit code."""
    plan = Plan(callers=20, short=(("orders:read", 1),), askers=60, **sizes)  # type: ignore[arg-type]  # the values of one test
    return asyncio.run(perform(plan, PlainDisplay(), {"An act": act}))


def test_all_figures_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One request for all callers, no expired token, no error in an outage: exit code 0."""
    monkeypatch.setattr("okta_tokens.cli._demo.Plan", lambda: PLAN)
    code = main(["demo", "--plain"])
    shown = capsys.readouterr()

    assert "FAIL" not in shown.out
    assert code == 0
    assert shown.err == ""
    assert "  pass         1  token requests reached the sandbox (wanted: 1)\n" in shown.out
    assert "  pass       200  callers got the same token (wanted: 200)\n" in shown.out
    assert "orders:read: renewed in the background; good for 1 s\n" in shown.out
    assert "payments:write: a renewal failed (ServerError)" in shown.out
    assert shown.out.endswith("All 19 figures pass.\n")


def test_two_requests_for_a_cold_token(capsys: pytest.CaptureFixture[str]) -> None:
    """A second request for the cold token is a wrong figure, and the exit code says so."""

    async def act(stage: Stage) -> list[Figure]:
        stage.sandbox.fail_next(Fault.status(503))
        return await cold_start(stage)

    code = small(act, latency=0.01)
    shown = capsys.readouterr().out

    assert code == 1
    assert "  FAIL         2  token requests reached the sandbox (wanted: 1)\n" in shown
    assert shown.endswith("1 of 3 figures are WRONG.\n")


def test_an_expired_token(capsys: pytest.CaptureFixture[str]) -> None:
    """A token that the sandbox sees after its expiry is a wrong figure."""

    async def act(stage: Stage) -> list[Figure]:
        def jump() -> None:
            stage.sandbox.wall_time = lambda: time.time() + 5

        asyncio.get_running_loop().call_later(0.1, jump)
        return await renewals(stage)

    code = small(act, lifetimes=0.4)

    assert code == 1
    assert " with an expired token (wanted: 0)\n" in capsys.readouterr().out.partition("FAIL")[2]


def test_a_call_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A caller whose call did not reach the API is a wrong figure."""

    async def act(stage: Stage) -> list[Figure]:
        asyncio.get_running_loop().call_later(
            0.1, lambda: closing.append(asyncio.ensure_future(stage.sandbox.aclose()))
        )
        return await renewals(stage)

    closing: list[asyncio.Future[None]] = []
    code = small(act, lifetimes=0.4)

    assert code == 1
    assert closing[0].done()
    assert " callers got an error (wanted: 0)\n" in capsys.readouterr().out.partition("FAIL")[2]


def test_a_caller_error_in_the_outage(capsys: pytest.CaptureFixture[str]) -> None:
    """A caller that gets an error instead of a token is a wrong figure."""

    async def act(stage: Stage) -> list[Figure]:
        stage.sandbox.fault = Fault.refuse(400, "access_denied")
        return await outage(stage)

    code = small(act)
    shown = capsys.readouterr().out

    assert code == 1
    assert "payments:write: no token (OAuthError); callers that hear it: 1\n" in shown
    assert "  FAIL         1  callers got an error (wanted: 0)\n" in shown


async def test_an_outage_ends_though_nothing_was_refused() -> None:
    """An outage that no renewal notices ends before the token does."""
    plan = Plan(short=(("orders:read", 1),))
    async with open_stage(plan, PlainDisplay()) as stage:
        (row,) = stage.rows("orders:read")
        token = await stage.get(row)
        assert token is not None
        left = await _noticed(row, token)

    assert row.refused == 0
    assert 0 < left < 0.3


async def test_the_live_table() -> None:
    """The table has a row for each key, with what the sandbox counted, and the last lines."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=40)
    code = await perform(Plan(callers=50, latency=0.3), LiveDisplay(console), {"Cold": cold_start})
    shown = screen.getvalue()

    assert code == 0
    assert "1. Cold" in shown
    assert "fetched; callers that waited: 50; good for 3600 s" in shown
    for word in ("reports:read", "fresh", "absent", "renewals", "hits"):
        assert word in shown


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are printed if they are wanted, and where nothing else can be shown."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    without = choose_display(plain=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    wanted = choose_display(plain=True)
    monkeypatch.setitem(os.environ, "TERM", "dumb")
    dumb = choose_display(plain=False)

    assert {type(display) for display in (without, wanted, dumb)} == {PlainDisplay}


def test_a_terminal_gets_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a table is drawn."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setitem(os.environ, "TERM", "xterm")

    assert isinstance(choose_display(plain=False), LiveDisplay)


def test_without_rich_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rich is not installed, lines are printed, and how to get it."""
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    monkeypatch.delitem(sys.modules, "okta_tokens.cli._live")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    display = choose_display(plain=False)

    assert isinstance(display, PlainDisplay)
    assert "okta-tokens[cli]" in stdout.getvalue()


def test_figures_have_marks() -> None:
    """A figure passes if it is the wanted one, or reaches it; the last line counts the wrong."""
    figures = [exactly(1, "requests", 1), at_least(3, "renewals", 3), at_least(3, "more", 2)]

    assert [figure.right for figure in figures] == [True, True, False]
    assert summary({"Act": figures}) == [
        "",
        "Act",
        "  pass         1  requests (wanted: 1)",
        "  pass         3  renewals (wanted: 3 or more)",
        "  FAIL         2  more (wanted: 3 or more)",
        "",
        "1 of 3 figures are WRONG.",
    ]
