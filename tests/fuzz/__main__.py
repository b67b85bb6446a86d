"""`python -m tests.fuzz TARGET`: search with atheris for an input that fails a test."""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.engine import TARGETS, load

_SECONDS_PER_INPUT = 10
_MEGABYTES = 1_024
_MAX_INPUT = 2_048
_SEEDS = 64
_STATISTIC = re.compile(r"stat::(\w+): +(\d+)")
_COVERAGE = re.compile(r"\bcov: (\d+) ft: (\d+) corp: (\d+)")
_ERROR_LINE = re.compile(r"=== Uncaught|^==\d+==|^Traceback")


@dataclass(slots=True)
class Result:
    """The result of a run of the engine.

    Args:
        exit_code: The engine's exit code; not 0 if a test failed, or the engine itself failed.
        statistics: The engine's statistics by name, with the coverage and the size of the corpus.
        error_lines: The engine's output from the first error on.
        failing_input: The input that fails a test, if there is one.
    """

    exit_code: int = 0
    statistics: dict[str, int] = field(default_factory=dict)
    error_lines: list[str] = field(default_factory=list)
    failing_input: bytes | None = None


def main(arguments: list[str] | None = None) -> int:
    """Fuzz a target, or run it on one input.

    Args:
        arguments: The command line; if `None`, the process's own.

    Returns:
        The exit code: 1 if an input fails a test, or takes ten seconds or a gigabyte; 2 if atheris
        is not installed.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="keep inputs that cover more code there"
    )
    parser.add_argument("--input", metavar="BASE64", help="run only this input, without atheris")
    options = parser.parse_args(arguments)
    if options.input is not None:
        load(options.target)(b64decode(options.input))
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed. Run: pip install --group fuzz", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        corpus = options.corpus or Path(directory, "corpus")
        create_corpus(corpus)
        command = [sys.executable, "-m", "tests.fuzz.engine", options.target]
        command += [
            f"-max_total_time={options.seconds}",
            f"-timeout={_SECONDS_PER_INPUT}",
            f"-rss_limit_mb={_MEGABYTES}",
            f"-max_len={_MAX_INPUT}",
            "-len_control=0",
            "-print_final_stats=1",
        ]
        result = fuzz(command, corpus, Path(directory))
    return report(options.target, result)


def create_corpus(corpus: Path) -> None:
    """Fill an empty corpus with random inputs; leave any other corpus as it is."""
    corpus.mkdir(parents=True, exist_ok=True)
    if any(corpus.iterdir()):
        return
    draw = random.Random(0)  # noqa: S311 - no cryptography
    for number in range(_SEEDS):
        (corpus / f"seed-{number}").write_bytes(draw.randbytes(draw.randrange(16, 512)))


def fuzz(command: list[str], corpus: Path, directory: Path) -> Result:
    """Run the engine in its own process, because libFuzzer ends its process.

    Args:
        command: The engine's command line without the directories.
        corpus: The directory of the inputs that cover code.
        directory: The directory for the input that fails a test.
    """
    result = Result()
    command = [*command, f"-artifact_prefix={directory}/found-", str(corpus)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as engine:
        for line in engine.stdout or ():
            if result.error_lines or _ERROR_LINE.search(line):
                result.error_lines.append(line.rstrip("\n"))
            if match := _COVERAGE.search(line):
                names = ("coverage", "features", "corpus")
                result.statistics |= dict(zip(names, map(int, match.groups()), strict=True))
            if match := _STATISTIC.search(line):
                result.statistics[match[1]] = int(match[2])
    result.exit_code = engine.returncode
    for path in directory.glob("found-*"):
        result.failing_input = path.read_bytes()
    return result


def report(target: str, result: Result) -> int:
    """Print a result; return the command's exit code."""
    for name, number in result.statistics.items():
        print(f"{name.replace('_', ' ')}: {number:,}")
    if result.exit_code == 0 and result.failing_input is None:
        print(f"{target}: no input failed")
        return 0
    print(*result.error_lines, sep="\n", file=sys.stderr)
    if result.failing_input is None:
        print(f"the engine failed (exit code {result.exit_code})", file=sys.stderr)
    else:
        encoded = b64encode(result.failing_input).decode()
        print(f"To repeat: python -m tests.fuzz {target} --input {encoded}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
