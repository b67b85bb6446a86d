"""The command `simulate-fleet`: no caller gets an expired token or an avoidable error."""

import re
from typing import Any

import pytest

from benchmarks import __main__ as command
from okta_tokens._cache.store_reader import StoreReader

SHORT = ["simulate-fleet", "--processes", "20", "--hours", "24", "--seed", "5"]


@pytest.mark.timeout(180)
def test_a_fleet_has_no_avoidable_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """During a day of outages and restarts, no caller gets an expired token or avoidable error."""
    assert command.main(SHORT) == 0

    out = capsys.readouterr().out
    counts = {
        name.strip(): float(value.strip().rstrip("s ").replace(",", ""))
        for name, value in re.findall(r"^\| ([a-z][^|]*)\|([^|]*)\|", out, flags=re.MULTILINE)
        if value.strip()[:1].isdigit()
    }
    assert counts["calls"] > 20_000
    assert counts["errors"] > 0
    assert counts["requests during an outage"] > 0


@pytest.mark.timeout(180)
def test_a_fleet_that_does_not_adopt_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a fetch for a caller does not adopt shared tokens, some errors are avoidable."""
    token = StoreReader._token

    def for_renewals_only(self: StoreReader, *rest: Any, wanted: bool) -> object:  # noqa: ANN401 - passed on
        return None if wanted else token(self, *rest, wanted=wanted)

    monkeypatch.setattr(StoreReader, "_token", for_renewals_only)

    assert command.main(SHORT) == 1
    (missed,) = [line for line in capsys.readouterr().out.splitlines() if "MISSED" in line]
    assert "errors although a usable token was held or stored" in missed
