"""Coverage-guided fuzzing: atheris draws bytes, and runs the Hypothesis tests on them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

TARGETS = {"responses": "tests.fuzz.test_responses", "validators": "tests.fuzz.test_validators"}
"""The module of each target, with its Hypothesis tests."""

_PADDING = bytes(8_192)
"""Appended to each input, so that few inputs are too short. Zeros mean the simplest choices."""


def load(target: str) -> Callable[[bytes], None]:
    """Return a function that runs one of a target's tests on bytes; the first byte selects it."""
    module = importlib.import_module(TARGETS[target])
    tests: list[Any] = [
        test for name, test in sorted(vars(module).items()) if hasattr(test, "hypothesis")
    ]
    functions = [test.hypothesis.fuzz_one_input for test in tests]

    def run(data: bytes) -> None:
        selector = data[0] if data else 0
        functions[selector % len(functions)](data[1:] + _PADDING)

    return run


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer stops, or a test fails. This function does not return.

    Args:
        arguments: The target, followed by libFuzzer's own arguments.
    """
    import atheris  # noqa: PLC0415 - only this function needs the dependency group `fuzz`

    target, *options = arguments
    with atheris.instrument_imports(include=["okta_tokens", "email._parseaddr"]):
        run = load(target)
    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
