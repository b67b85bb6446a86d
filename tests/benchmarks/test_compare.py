"""The command `python -m benchmarks compare`: what it compares, prints, and refuses."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import compare
from benchmarks.figures import Figure
from benchmarks.report import print_table
from benchmarks.worker import WorkerError, measure_in_worker

GIT = shutil.which("git") or ""

pytestmark = pytest.mark.skipif(not GIT, reason="git is not installed")

TINY = {"stampede": {"waiters": 100, "rounds": 1}}
SOURCE = compare.ROOT / "src"


def git(repository: Path, *arguments: str) -> None:
    """Run a git command in a repository."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run([GIT, "-C", repository, *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a repository with a copy of this package's source, which the command compares."""
    root = tmp_path / "repository"
    shutil.copytree(SOURCE, root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "--quiet", str(root))
    commit(root, "present")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # The copies are removed, so a coverage report could not find their lines.
    for variable in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(compare, "ROOT", root)
    monkeypatch.setattr(compare, "SIZES", TINY)
    return root


def commit(repository: Path, tag: str) -> None:
    """Commit every file of a repository, and name the commit."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", tag)
    git(repository, "tag", tag)


def left_behind() -> list[Path]:
    """Return what the command left in the temporary directory."""
    return [*Path(tempfile.gettempdir()).iterdir()]


def ratios(*values: float, comparison: str = "<=") -> list[list[Figure]]:
    """Return the figures of one turn for each value."""
    at = {"at_least": 0.9} if comparison == ">=" else {}
    return [[Figure.ratio("rate", [value], [1.0], **at)] for value in values]


@pytest.mark.timeout(60)
def test_both_sources_are_measured_in_each_turn(
    capsys: pytest.CaptureFixture[str], repository: Path, tmp_path: Path
) -> None:
    """Each ratio is told with its quartiles and the number of turns, and no file is left."""
    file = tmp_path / "figures.json"

    assert command.main(["compare", "present", "--turns", "1", "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "in 1 turn." in out
    assert "more than 1 means that the working tree is dearer" in " ".join(out.split())
    assert "100 waiters, one key: CPU, compared to the event" in out
    document = json.loads(file.read_text())
    figures = document["benchmarks"]["stampede"]
    assert document["turns"] == 1
    assert document["compared_to"] in out
    assert [(figure["unit"], figure["limit"]) for figure in figures] == [("×", 1.05)] * 4
    assert left_behind() == []


@pytest.mark.parametrize("only", ["hit", "cold"])
def test_the_option_only_selects_a_benchmark(
    monkeypatch: pytest.MonkeyPatch, repository: Path, only: str
) -> None:
    """With `--only`, no other benchmark runs; the sources take turns in running first."""
    measured: list[tuple[str, str]] = []

    async def measure(
        name: str, arguments: object, *, source: Path, server_source: Path
    ) -> list[Figure]:
        assert (source / "okta_tokens" / "__init__.py").is_file()
        assert server_source.parent.name == "new"
        measured.append((name, source.parent.name))
        return ratios(1.0)[0]

    monkeypatch.setattr(compare, "measure_in_worker", measure)
    monkeypatch.setattr(compare, "SIZES", {"hit": {}, "cold": {}})

    assert command.main(["compare", "present", "--turns", "2", "--only", only]) == 0
    assert measured == [(only, "old"), (only, "new"), (only, "new"), (only, "old")]
    assert left_behind() == []


@pytest.mark.parametrize("revision", ["nowhere", "--help-me", ""])
def test_an_unknown_commit_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], repository: Path, revision: str
) -> None:
    """An unknown commit ends the command with 2, and the message says what to do."""
    assert command.main(["compare", "--turns", "1", "--", revision]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"compare: {revision!r} is not a commit of this repository. "
        "Name a commit, a branch or a tag, for example HEAD~1.\n"
    )


def test_a_commit_without_the_package_is_an_error(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    """A commit without `src` cannot be compared."""
    (repository / "src").rename(repository / "lib")
    commit(repository, "elsewhere")

    assert command.main(["compare", "elsewhere"]) == 2
    assert "'elsewhere' has no directory src" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_a_commit_with_another_interface_is_an_error(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    """If the benchmarks cannot run with a source, the message names the commit and the reason."""
    module = repository / "src" / "okta_tokens" / "__init__.py"
    text = module.read_text("utf-8")
    module.write_text("", "utf-8")
    commit(repository, "old")
    module.write_text(text, "utf-8")

    assert command.main(["compare", "old", "--turns", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compare: 'stampede' failed with ")
    assert "ImportError: cannot import name" in line
    assert line.endswith("name a later commit.")
    assert left_behind() == []


async def test_a_worker_refuses_a_package_from_elsewhere(tmp_path: Path) -> None:
    """A worker measures nothing if it imported the package from another directory."""
    with pytest.raises(WorkerError, match="okta_tokens was imported from"):
        await measure_in_worker("stampede", TINY["stampede"], source=tmp_path)


async def test_a_wrong_count_is_not_compared(
    monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    """Sources that do different work are not compared, because the times would mean nothing."""

    async def measure(*_: object, **__: object) -> list[Figure]:
        return [Figure.count("requests", 2, "", exactly=1)]

    monkeypatch.setattr(compare, "measure_in_worker", measure)
    sources = compare._Sources(SOURCE, SOURCE, {SOURCE: "abc"})

    with pytest.raises(WorkerError, match="counted wrong with abc: requests: 2 instead of 1"):
        await compare._measure_once(sources, SOURCE, "stampede", {})


@pytest.mark.parametrize(
    ("old", "new", "ratio", "verdict"),
    [
        (ratios(1.0, 2.0, 4.0), ratios(1.04, 2.08, 9.0), 1.04, ""),
        (ratios(1.0, 2.0, 4.0), ratios(1.06, 2.12, 4.0), 1.06, "DEARER"),
        (ratios(1.0, comparison=">="), ratios(0.8, comparison=">="), 1.25, "DEARER"),
        (ratios(0.8, comparison=">="), ratios(1.0, comparison=">="), 0.8, ""),
    ],
    ids=["noise", "dearer", "slower rate", "faster rate"],
)
def test_a_figure_that_became_dearer_is_marked(
    capsys: pytest.CaptureFixture[str],
    old: Sequence[Sequence[Figure]],
    new: Sequence[Sequence[Figure]],
    ratio: float,
    verdict: str,
) -> None:
    """The median of the turns' ratios decides; a rate, of which more is better, is inverted."""
    (figure,) = compare.compare(old, new)

    assert figure.value == pytest.approx(ratio)
    print_table("hit", [figure], verdicts=("", "DEARER"))
    *_, line = capsys.readouterr().out.strip().splitlines()
    assert line.split("|")[-2].strip() == verdict


def test_only_ratios_are_compared() -> None:
    """Seconds depend on the machine, and counts are the same, so neither is compared."""
    ratio = ratios(1.0)[0][0]
    turn = [Figure.measure("time", [1.0], "µs"), ratio, Figure.count("n", 1, "", exactly=1)]

    assert compare.compare([turn], [turn]) == [replace(ratio, limit=1.05)]
