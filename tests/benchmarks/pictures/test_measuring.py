"""What the pictures show is measured: the timeline, the choice of figures, the demo."""

import asyncio
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import hit, outage, stampede
from benchmarks.figures import Figure
from benchmarks.peers import available
from benchmarks.pictures import command, demo, fleet, peers, timeline
from benchmarks.server import Server
from okta_tokens.cli.demo.plan import Plan
from tests.cli.demo.test_demo import PLAN

WAITERS = 500
SVG = "{http://www.w3.org/2000/svg}"


async def test_the_timeline_is_that_of_a_real_provider() -> None:
    """During the outage every renewal fails, after it one succeeds, and each call gets a token."""
    data = await timeline.measure()

    begin, end = data["outage"]
    (first, status), *renewals, (renewed_at, last_status) = data["requests"]
    assert (first, status, last_status) == (0.0, 200, 200)
    assert {status for _, status in renewals} == {503}
    assert all(begin <= instant < end for instant, _ in renewals)
    assert end <= renewed_at < data["lifetime"]
    assert [state for _, state in data["states"]] == ["fresh", "due", "fresh"]
    assert data["calls"] == {"at once": data["end"] - data["begin"], "waited": 0, "failed": 0}


async def test_each_figure_of_a_library_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of `hit`, `stampede` and `outage` are found by the names that these give them."""
    kinds = available()[0]
    names = [kind.name for kind in kinds]

    async def hits(**_: object) -> list[Figure]:
        unchecked = {kind.name for kind in kinds if not kind.checks_expiry}
        return [
            Figure.single(
                name
                + ", which does not check the expiry" * (name in unchecked)
                + ", compared to source.get_token()",
                10 + names.index(name),
                "×",
            )
            for name in names
        ]

    async def ours(_server: Server, waiters: int, _rounds: int) -> list[Figure]:
        return waits(f"{waiters:,} waiters, one key", 1)

    def waits(name: str, value: float) -> list[Figure]:
        return [
            Figure.single(f"{name}: CPU, compared to the event", value, "×"),
            Figure.single(f"{name}: requests", value + 100, ""),
        ]

    async def theirs(_server: Server, waiters: int, _rounds: int) -> list[Figure]:
        return [
            figure
            for name in names
            for figure in waits(f"{name}, {waiters:,} waiters", 20 + names.index(name))
        ]

    async def outages(*, short: bool) -> list[Figure]:
        assert short
        return [
            Figure.single(f"{name}, 4 outages: {what}", value, "")
            for value, name in enumerate(["okta-tokens", *names])
            for what, value in (("calls that failed", value), ("requests for each", 1_000))
        ]

    monkeypatch.setattr(hit, "measure", hits)
    monkeypatch.setattr(stampede, "compare_one_key", ours)
    monkeypatch.setattr(stampede, "compare_peers", theirs)
    monkeypatch.setattr(outage, "run", outages)
    data = await peers.measure(short=True)

    assert (data["waiters"], data["outages"]) == (WAITERS, len(outage.minutes(short=True)))
    libraries = {library["name"]: library for library in data["libraries"]}
    assert [*libraries] == ["okta-tokens", *names]
    for number, name in enumerate(names):
        library = libraries[name]
        assert (library["hit"], library["waiters"]) == (10 + number, 20 + number)
        assert (library["requests"], library["errors"]) == (120 + number, 1 + number)
    assert libraries["okta-tokens"]["requests"] == 101


def test_a_store_saves_requests() -> None:
    """Processes that share a store send fewer requests than those that do not."""
    data = fleet.measure(short=True)

    assert [each["processes"] for each in data["fleets"]] == [1, 3]
    assert data["fleets"][1]["alone"] > 2.5 * data["fleets"][1]["shared"]


def test_the_demo_is_recorded_as_a_reader_sees_it() -> None:
    """The document has the table and the verdict, names its source, and loads no font."""
    document = asyncio.run(demo.record(PLAN, "commit <1>"))
    root = ET.fromstring(document)  # noqa: S314 - written by this test
    shown = "".join(root.itertext()).replace("\xa0", " ")

    assert "figures pass." in shown
    assert "payments:write" in shown
    assert (root[0].tag, root[1].tag) == (f"{SVG}title", f"{SVG}desc")
    assert (root[1].text or "").endswith("commit <1>")
    assert not re.search(r"url\((?!#)|@import|href", document)
    assert len(document) < 60_000


async def test_a_demo_that_fails_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure of the demo that is wrong is an error, not a picture."""

    async def run_scenarios(*_: object) -> int:
        sys.stdout.write("1 of 19 figures are WRONG.\n")
        return 1

    monkeypatch.setattr(demo, "run_scenarios", run_scenarios)
    with pytest.raises(RuntimeError, match="1 of 19 figures are WRONG"):
        await demo.record(Plan(), "")


def test_a_run_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has the data, which names its origin, beside the pictures of it."""
    fixed = json.loads(Path(__file__).with_name("data.json").read_text())

    async def measure(**_: object) -> object:
        return fixed["peers"]

    async def measure_timeline() -> object:
        return fixed["outage"]

    async def record(_plan: Plan, _source: str) -> str:
        return "<svg/>"

    monkeypatch.setattr(peers, "measure", measure)
    monkeypatch.setattr(timeline, "measure", measure_timeline)
    monkeypatch.setattr(fleet, "measure", lambda **_: fixed["fleet"])
    monkeypatch.setattr(demo, "record", record)

    assert command.run(tmp_path / "new", short=True) == 0
    data = json.loads((tmp_path / "new" / command.DATA).read_text())
    assert {**fixed, "about": data["about"]} == data
    assert data["about"]["command"] == "python -m benchmarks report --short"
    assert re.fullmatch(r"[0-9a-f]{7,}( with changes)?|unknown", data["about"]["commit"])
    assert data["about"]["commit"] in (tmp_path / "new" / "fleet.svg").read_text()
    assert (tmp_path / "new" / "demo.svg").read_text() == "<svg/>"
