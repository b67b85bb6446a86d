"""The command that hunts: what it says, and how it ends."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.__main__ import fuzz, main, report, sow
from tests.fuzz.engine import TARGETS, load

FOUND = """
import sys
prefix = next(it for it in sys.argv if it.startswith("-artifact_prefix=")).partition("=")[2]
print("#7 NEW    cov: 31 ft: 47 corp: 5/99b lim: 4096 exec/s: 0 rss: 79Mb", file=sys.stderr)
print(" === Uncaught Python exception: ===", file=sys.stderr)
print("AssertionError: it broke", file=sys.stderr)
print("stat::number_of_executed_units: 1234")
open(prefix + "crash-1", "wb").write(b"\\x00what broke it")
sys.exit(77)
"""


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_runs_on_any_bytes(target: str) -> None:
    """Each target has properties, and runs on no bytes as well as on many."""
    run = load(target)

    for data in (b"", b"\x00", b"\xff" * 700, *(bytes([which, 7, 1]) for which in range(12))):
        run(data)


def test_an_input_is_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """An input that was found runs again without atheris."""
    assert main(["answer", "--input", b64encode(b"\x00\x01\x02").decode()]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_input_that_breaks_a_property_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found fails again, with its own error."""

    def load(target: str) -> Callable[[bytes], None]:
        def run(data: bytes) -> None:
            raise AssertionError(f"{target}: {data!r}")

        return run

    monkeypatch.setattr(command, "load", load)

    with pytest.raises(AssertionError, match="answer: b'what broke it'"):
        main(["answer", "--input", b64encode(b"what broke it").decode()])


def test_without_atheris(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without atheris the command says how to install it."""
    monkeypatch.setitem(sys.modules, "atheris", None)

    assert main(["answer"]) == 2
    assert "pip install --group fuzz" in capsys.readouterr().err


def test_a_finding_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finding is told with its story, the statistics, and the command that shows it again."""
    outcome = fuzz([sys.executable, "-c", FOUND], tmp_path / "corpus", tmp_path)
    code = report("answer", outcome)
    told = capsys.readouterr()

    assert code == 1
    assert outcome.finding == b"\x00what broke it"
    assert told.out.splitlines() == [
        "coverage: 31",
        "features: 47",
        "corpus: 5",
        "number of executed units: 1,234",
    ]
    assert "AssertionError: it broke" in told.err
    assert told.err.splitlines()[-1] == (
        "again: python -m tests.fuzz answer --input AHdoYXQgYnJva2UgaXQ="
    )


def test_an_engine_that_fails_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that ends without a finding, and without success, is told as just that."""
    broken = [sys.executable, "-c", "import nothing_of_that_name"]

    assert report("answer", fuzz(broken, tmp_path / "corpus", tmp_path)) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
        "the engine failed (1)",
    ]


def test_nothing_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that found nothing says so."""
    assert report("answer", fuzz([sys.executable, "-c", ""], tmp_path, tmp_path)) == 0
    assert capsys.readouterr() == ("answer: nothing found\n", "")


def test_a_corpus_is_sown_once(tmp_path: Path) -> None:
    """A new corpus begins with the same inputs everywhere; one that exists is left alone."""
    for name in ("one", "other"):
        sow(tmp_path / name)
    (tmp_path / "grown").mkdir()
    (tmp_path / "grown" / "found").write_bytes(b"kept")

    sow(tmp_path / "grown")

    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "other")
    )
    assert one == other
    assert len(one) == 64
    assert [path.name for path in (tmp_path / "grown").iterdir()] == ["found"]


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is an extra of its own")
@pytest.mark.timeout(120)  # it instruments the package first
def test_atheris_hunts(tmp_path: Path) -> None:
    """Where atheris is installed it runs the properties, and what it covers grows."""
    engine = [sys.executable, "-m", "tests.fuzz.engine", "validators"]
    corpus = tmp_path / "corpus"
    sow(corpus)

    outcome = fuzz([*engine, "-runs=400", "-seed=1", "-print_final_stats=1"], corpus, tmp_path)

    assert outcome.story == []
    assert outcome.code == 0
    assert outcome.facts["number_of_executed_units"] >= 400
    assert outcome.facts["coverage"] > 50
    assert len([*corpus.iterdir()]) > 64
