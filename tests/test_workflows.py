"""What GitHub reads: workflows run pinned code with few rights, and forms ask for facts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT
from tests.test_dependencies import EXTRAS, PROJECT

WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").iterdir())
TRUSTED = {"pages": "write", "id-token": "write"}
"""The rights that a job may have."""

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def load(path: Path) -> Any:  # noqa: ANN401 - what is in the file
    """Return what a YAML file contains. The key `on` is read as a truth value."""
    return yaml.safe_load(path.read_text("utf-8"))


def jobs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the jobs of a workflow."""
    yield from load(path)["jobs"].values()


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in jobs(path):
        yield from job.get("steps", ())


@every_workflow
def test_actions_and_tools_are_pinned(path: Path) -> None:
    """A workflow names an action by its commit, and a tool by its version."""
    text = path.read_text("utf-8")
    actions = {str(step["uses"]) for step in steps(path) if "uses" in step}
    tools = " ".join(re.findall(r"python -m pip install (.*)", text)).split()

    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in actions)
    assert all(re.search(rf"{name} # v\d[\d.]+$", text, re.MULTILINE) for name in actions)
    assert all(re.fullmatch(r"'?[\w-]+(?:\[\w+\])?==[\d.]+'?", tool) for tool in tools)


@every_workflow
def test_jobs_have_few_rights_and_little_time(path: Path) -> None:
    """A job has a time-out; only one that publishes has rights, and the checkout keeps no token."""
    checkouts = [
        each for each in steps(path) if each.get("uses", "").startswith("actions/checkout")
    ]
    called = [job["uses"] for job in jobs(path) if "uses" in job]

    assert load(path)["permissions"] == {}
    assert all("timeout-minutes" in job for job in jobs(path) if "uses" not in job)
    assert all(job.get("permissions", TRUSTED).items() <= TRUSTED.items() for job in jobs(path))
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert all((ROOT / name).is_file() for name in called)


@every_workflow
def test_called_workflows_do_not_cancel_each_other(path: Path) -> None:
    """A workflow that others call has a concurrency group that does not depend on its caller."""
    workflow = load(path)

    if "workflow_call" in workflow[True]:
        assert "github.workflow" not in workflow["concurrency"]["group"]


@every_workflow
def test_all_extras_are_installed(path: Path) -> None:
    """Where a workflow installs the package with extras, it names all of them."""
    named = re.findall(r"'\.\[([\w,]+)\]'", path.read_text("utf-8"))

    assert all(names == ",".join(sorted(EXTRAS)) for names in named)


def test_what_the_classifiers_name_is_tested() -> None:
    """CI runs on each Python and each operating system that the classifiers name, and no other."""
    ci, _passed = jobs(ROOT / ".github/workflows/ci.yml")
    versions = ci["strategy"]["matrix"]["python"]
    (smoke,) = jobs(ROOT / ".github/workflows/smoke.yml")
    systems = {ci["runs-on"], *smoke["strategy"]["matrix"]["system"]}
    listed = "\n".join(PROJECT["classifiers"])

    assert (
        re.findall(r"^Programming Language :: Python :: (3\.\d+)$", listed, re.MULTILINE)
        == versions
    )
    assert f"versions=({' '.join(versions)})\n" in (ROOT / ".ci/run").read_text("utf-8")
    assert {name.split("-")[0] for name in systems} == {"ubuntu", "macos", "windows"}
    assert re.findall(r"^Operating System :: .*?(\w+)$", listed, re.MULTILINE) == [
        *("MacOS", "Windows", "Linux")
    ]


def test_a_release_needs_every_check() -> None:
    """Nothing is published before CI, the smoke test and the check of the distributions passed."""
    workflow = load(ROOT / ".github/workflows/release.yml")
    rights = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }

    assert workflow["jobs"]["publish"]["needs"] == ["ci", "smoke", "build"]
    assert workflow["jobs"]["reference"]["needs"] == "publish"
    assert rights == {"publish": {"id-token": "write"}, "reference": TRUSTED}
    assert workflow["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_has_what_github_needs(path: Path) -> None:
    """A form has a name and a description; each field has a label and an id of its own."""
    form = load(path)
    fields = [field for field in form["body"] if field["type"] != "markdown"]

    assert form["name"]
    assert form["description"]
    assert {field["type"] for field in fields} <= {"input", "textarea"}
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_a_bug_report_has_what_the_doctor_says() -> None:
    """The form for bugs requires the output of the doctor."""
    fields = load(ROOT / ".github/ISSUE_TEMPLATE/bug.yml")["body"]
    (doctor,) = [field for field in fields if field.get("id") == "doctor"]

    assert "`okta-tokens doctor --json`" in doctor["attributes"]["description"]
    assert doctor["validations"]["required"] is True
