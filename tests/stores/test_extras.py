"""What the packages of stores need: the protocol needs nothing, the Redis store needs an extra."""

from __future__ import annotations

import subprocess
import sys

BLOCK = """
import sys

def block(*packages):
    for name in [*sys.modules]:
        if name.partition(".")[0] in packages:
            del sys.modules[name]
    sys.modules.update(dict.fromkeys(packages))
"""


def output_of(program: str) -> list[str]:
    """Run a program that calls `block` in a fresh interpreter; return the lines that it prints."""
    run = subprocess.run(
        [sys.executable, "-c", BLOCK + program], check=True, stdout=subprocess.PIPE, text=True
    )
    return run.stdout.splitlines()


def test_the_protocol_needs_no_extra() -> None:
    """`okta_tokens.stores` and the contract can be imported without the extra `redis` or pytest."""
    program = """
block("redis", "cryptography", "pytest")
from okta_tokens.stores import *
from okta_tokens.testing.store_contract import *
print(TokenStore.__name__, StoreContract.__name__)
"""

    assert output_of(program) == ["TokenStore StoreContract"]


def test_the_redis_store_names_the_extra_that_is_missing() -> None:
    """An import of the Redis store without its extra fails, and says how to install the extra."""
    program = """
for package in ("redis", "cryptography"):
    block(package)
    try:
        import okta_tokens.stores.redis
    except ModuleNotFoundError as error:
        print(error.name.partition(".")[0], *error.__notes__)
    del sys.modules[package]
"""
    note = "RedisTokenStore needs an extra. Run: pip install 'okta-tokens[redis]'"

    assert output_of(program) == [f"redis {note}", f"cryptography {note}"]
