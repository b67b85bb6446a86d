"""A fleet in virtual time: nobody gets a dead token, nor an error that was avoidable."""

import re

import pytest

from benchmarks import __main__ as command
from okta_tokens._cache.shared_fetch import SharedFetch

SHORT = ["simulate-fleet", "--processes", "40", "--hours", "24", "--seed", "1"]


@pytest.mark.timeout(180)
def test_a_fleet_keeps_its_promises(capsys: pytest.CaptureFixture[str]) -> None:
    """A day of outages and restarts costs no caller anything that could be had."""
    assert command.main(SHORT) == 0

    out = capsys.readouterr().out
    counts = {
        name.strip(): float(value.strip().rstrip("s ").replace(",", ""))
        for name, value in re.findall(r"^\| ([a-z][^|]*)\|([^|]*)\|", out, flags=re.MULTILINE)
        if value.strip()[:1].isdigit()
    }
    assert counts["calls"] > 20_000
    assert counts["errors"] > 0
    assert counts["requests that met an outage"] > 0


@pytest.mark.timeout(180)
def test_a_fleet_that_never_looks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If processes do not adopt what others fetched, somebody gets an error for nothing."""
    shared = SharedFetch._adopt

    async def looks_for_nobody_who_waits(
        self: SharedFetch, flight: object, *rest: object
    ) -> object:
        return None if flight.wanted else await shared(self, flight, *rest)  # type: ignore[arg-type, attr-defined]  # passed on

    monkeypatch.setattr(SharedFetch, "_adopt", looks_for_nobody_who_waits)

    assert command.main(SHORT) == 1
