"""What the packages of stores need: the protocol needs nothing, the Redis store needs an extra."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_without(missing: list[str], program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter in which some packages cannot be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
    command = [sys.executable, "-c", block + program]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_the_protocol_needs_no_extra() -> None:
    """`okta_tokens.stores` can be imported where the extra `redis` is not installed."""
    program = "from okta_tokens.stores import *; print(TokenStore.__name__)"

    run = run_without(["redis", "cryptography"], program)

    assert (run.returncode, run.stdout, run.stderr) == (0, "TokenStore\n", "")


@pytest.mark.parametrize("missing", ["redis", "cryptography"])
def test_the_redis_store_names_the_extra_that_is_missing(missing: str) -> None:
    """An import of the Redis store without its extra fails, and says how to install the extra."""
    run = run_without([missing], "import okta_tokens.stores.redis")

    *_, error, note = run.stderr.splitlines()
    assert run.returncode == 1
    assert error.startswith("ModuleNotFoundError: ")
    assert missing in error
    assert note == "RedisTokenStore needs an extra. Run: pip install 'okta-tokens[redis]'"
