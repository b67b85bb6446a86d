"""The lower bounds of the dependencies have reasons, and are searched for vulnerabilities."""

import datetime as dt
import re
import tomllib

import pytest

from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = {*PROJECT["dependencies"], *(name for names in EXTRAS.values() for name in names)}
ROWS = re.findall(
    r"^\| ([\w-]+) \| ([\d.]+) \| (.+) \| (\d{4}-\d\d-\d\d) \|$",
    (ROOT / ".github/DEPENDENCIES.md").read_text("utf-8"),
    flags=re.MULTILINE,
)


def test_the_table_has_each_bound_and_no_other() -> None:
    """The table of `DEPENDENCIES.md` has each dependency once, by name, with its lower bound."""
    names = [name for name, *_ in ROWS]

    assert names == sorted(set(names))
    assert {f"{name}>={bound}" for name, bound, *_ in ROWS} == REQUIREMENTS


@pytest.mark.parametrize(("name", "bound", "reason", "checked"), ROWS, ids=[row[0] for row in ROWS])
def test_each_bound_has_a_reason_and_a_date(
    name: str, bound: str, reason: str, checked: str
) -> None:
    """A bound is set by advisories, of which one is fixed in that version, or by a behaviour."""
    advisories = re.findall(r"\b(?:CVE|PYSEC)-\d{4}-\d+|\bGHSA(?:-\w{4}){3}", reason)

    assert f"fixed in {bound}" in reason if advisories else reason.startswith("behaviour: ")
    assert dt.date(2026, 1, 1) < dt.date.fromisoformat(checked)


def test_the_audit_covers_every_extra() -> None:
    """The audit installs the package with all of its extras."""
    text = (ROOT / ".github/workflows/audit.yml").read_text("utf-8")

    assert f"'.[{','.join(sorted(EXTRAS))}]'" in text
