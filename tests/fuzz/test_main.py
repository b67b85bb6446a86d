"""The command `python -m tests.fuzz`: its output, its exit code, and its targets."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import __main__ as command
from tests.fuzz.__main__ import create_corpus, fuzz, main, report
from tests.fuzz.engine import TARGETS, load

FAILING_ENGINE = """
import sys
option = "-artifact_prefix="
prefix = next(arg for arg in sys.argv if arg.startswith(option)).removeprefix(option)
print("#7 NEW    cov: 31 ft: 47 corp: 5/99b lim: 4096 exec/s: 0 rss: 79Mb", file=sys.stderr)
print(" === Uncaught Python exception: ===", file=sys.stderr)
print("AssertionError: it broke", file=sys.stderr)
print("stat::number_of_executed_units: 1234")
open(prefix + "crash-1", "wb").write(b"\\x00failing input")
sys.exit(77)
"""


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_runs_on_any_bytes(target: str) -> None:
    """Each test of a target passes on no bytes, on few and on many."""
    run = load(target)

    for data in (b"", b"\x00", b"\xff" * 700, *(bytes([test, 7, 1]) for test in range(12))):
        run(data)


def test_the_first_byte_selects_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target runs the test that the first byte selects, on the other bytes."""
    runs: list[tuple[str, int]] = []

    @given(st.integers(0, 255))
    def test_a(number: int) -> None:
        runs.append(("a", number))

    @given(st.integers(0, 255))
    def test_b(number: int) -> None:
        runs.append(("b", number))

    module = ModuleType("two_tests")
    vars(module).update(test_a=test_a, test_b=test_b, helper=len)
    monkeypatch.setitem(sys.modules, "two_tests", module)
    monkeypatch.setitem(TARGETS, "two", "two_tests")
    run = load("two")

    for data in (b"", b"\x00", b"\x01", b"\x02", b"\xff"):
        run(data)

    assert runs == [("a", 0), ("a", 0), ("b", 0), ("a", 0), ("b", 0)]


def test_a_single_input_runs_without_atheris(capsys: pytest.CaptureFixture[str]) -> None:
    """The option `--input` runs one input, and prints nothing if it passes."""
    assert main(["responses", "--input", b64encode(b"\x00\x01\x02").decode()]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_single_input_that_fails_raises_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option `--input` passes the decoded input to the target, and lets its error through."""

    def load(target: str) -> Callable[[bytes], None]:
        def run(data: bytes) -> None:
            raise AssertionError(f"{target}: {data!r}")

        return run

    monkeypatch.setattr(command, "load", load)

    with pytest.raises(AssertionError, match="responses: b'failing input'"):
        main(["responses", "--input", b64encode(b"failing input").decode()])


def test_without_atheris_the_command_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without atheris the command exits with 2 and names the dependency group."""
    monkeypatch.setitem(sys.modules, "atheris", None)

    assert main(["responses"]) == 2
    assert "pip install --group fuzz" in capsys.readouterr().err


def test_a_failing_input_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report has the statistics, the error, and the command that repeats the failure."""
    result = fuzz([sys.executable, "-c", FAILING_ENGINE], tmp_path / "corpus", tmp_path)
    code = report("responses", result)
    out, err = capsys.readouterr()

    assert code == 1
    assert result.failing_input == b"\x00failing input"
    assert out.splitlines() == [
        "coverage: 31",
        "features: 47",
        "corpus: 5",
        "number of executed units: 1,234",
    ]
    assert "AssertionError: it broke" in err
    assert err.splitlines()[-1] == (
        "To repeat: python -m tests.fuzz responses --input AGZhaWxpbmcgaW5wdXQ="
    )


def test_a_failed_engine_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the engine itself fails, the report shows its output and its exit code."""
    broken = [sys.executable, "-c", "import no_such_module"]

    assert report("responses", fuzz(broken, tmp_path / "corpus", tmp_path)) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "ModuleNotFoundError: No module named 'no_such_module'",
        "the engine failed (exit code 1)",
    ]


def test_a_run_without_a_failure_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If no input fails, the command says so and exits with 0."""
    assert report("responses", fuzz([sys.executable, "-c", ""], tmp_path, tmp_path)) == 0
    assert capsys.readouterr() == ("responses: no input failed\n", "")


def test_a_corpus_is_created_once(tmp_path: Path) -> None:
    """Every new corpus has the same inputs, and an existing corpus is not changed."""
    for name in ("one", "other"):
        create_corpus(tmp_path / name)
    (tmp_path / "grown").mkdir()
    (tmp_path / "grown" / "found").write_bytes(b"kept")

    create_corpus(tmp_path / "grown")

    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "other")
    )
    assert one == other
    assert len(one) == 64
    assert [path.name for path in (tmp_path / "grown").iterdir()] == ["found"]


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.timeout(120)  # atheris instruments the package first
def test_atheris_runs_the_tests(tmp_path: Path) -> None:
    """If atheris is installed, it runs the tests of a target, and the coverage grows."""
    engine = [sys.executable, "-m", "tests.fuzz.engine", "validators"]
    corpus = tmp_path / "corpus"
    create_corpus(corpus)

    result = fuzz([*engine, "-runs=400", "-seed=1", "-print_final_stats=1"], corpus, tmp_path)

    assert result.error_lines == []
    assert result.exit_code == 0
    assert result.statistics["number_of_executed_units"] >= 400
    assert result.statistics["coverage"] > 50
    assert len([*corpus.iterdir()]) > 64
