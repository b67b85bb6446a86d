"""`python -m tests.fuzz TARGET`: let atheris hunt for an input that breaks a property."""

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
_TELLING = re.compile(r"=== Uncaught|^==\d+==|^Traceback")


@dataclass(slots=True)
class Outcome:
    """What a run came to.

    Args:
        code: How the engine ended; not 0 if it found something, or failed itself.
        facts: Its statistics by name, `cov`, `ft` and `corpus` included.
        story: What it said from the first sign of trouble on.
        finding: The input that breaks a property, if there is one.
    """

    code: int = 0
    facts: dict[str, int] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    finding: bytes | None = None


def main(arguments: list[str] | None = None) -> int:
    """Fuzz a target, or run it once.

    Args:
        arguments: The command line; that of the process if None.

    Returns:
        The exit code: 1 if an input breaks a property, takes ten seconds or a gigabyte; 2 if there
        is no atheris.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="keep what covers more there")
    parser.add_argument("--input", metavar="BASE64", help="run this input alone, without atheris")
    options = parser.parse_args(arguments)
    if options.input is not None:
        load(options.target)(b64decode(options.input))
        return 0
    if find_spec("atheris") is None:
        print("there is no atheris here: pip install --group fuzz", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        corpus = options.corpus or Path(directory, "corpus")
        sow(corpus)
        command = [sys.executable, "-m", "tests.fuzz.engine", options.target]
        command += [
            f"-max_total_time={options.seconds}",
            f"-timeout={_SECONDS_PER_INPUT}",
            f"-rss_limit_mb={_MEGABYTES}",
            f"-max_len={_MAX_INPUT}",
            "-len_control=0",
            "-print_final_stats=1",
        ]
        outcome = fuzz(command, corpus, Path(directory))
    return report(options.target, outcome)


def sow(corpus: Path) -> None:
    """Begin a corpus with inputs that mean something, unless there is one."""
    corpus.mkdir(parents=True, exist_ok=True)
    if any(corpus.iterdir()):
        return
    draw = random.Random(0)  # noqa: S311 - no cryptography
    for number in range(_SEEDS):
        (corpus / f"seed-{number}").write_bytes(draw.randbytes(draw.randrange(16, 512)))


def fuzz(command: list[str], corpus: Path, directory: Path) -> Outcome:
    """Run the engine in a process of its own, which it ends as it likes.

    Args:
        command: The engine's, but for where its files go.
        corpus: Where it reads and keeps inputs that cover something.
        directory: Where it may leave the input that breaks a property.
    """
    outcome = Outcome()
    command = [*command, f"-artifact_prefix={directory}/found-", str(corpus)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as engine:
        for line in engine.stdout or ():
            if outcome.story or _TELLING.search(line):
                outcome.story.append(line.rstrip("\n"))
            if match := _COVERAGE.search(line):
                names = ("coverage", "features", "corpus")
                outcome.facts |= dict(zip(names, map(int, match.groups()), strict=True))
            if match := _STATISTIC.search(line):
                outcome.facts[match[1]] = int(match[2])
    outcome.code = engine.returncode
    for path in directory.glob("found-*"):
        outcome.finding = path.read_bytes()
    return outcome


def report(target: str, outcome: Outcome) -> int:
    """Print what a run came to; return the exit code."""
    for name, number in outcome.facts.items():
        print(f"{name.replace('_', ' ')}: {number:,}")
    if outcome.code == 0 and outcome.finding is None:
        print(f"{target}: nothing found")
        return 0
    print(*outcome.story, sep="\n", file=sys.stderr)
    if outcome.finding is None:
        print(f"the engine failed ({outcome.code})", file=sys.stderr)
    else:
        encoded = b64encode(outcome.finding).decode()
        print(f"again: python -m tests.fuzz {target} --input {encoded}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
