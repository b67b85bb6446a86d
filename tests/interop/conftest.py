"""The authorization server as a fixture.

If Node is not installed, the tests are skipped. Two environment variables are for CI:
`OKTA_TOKENS_REQUIRE_INTEROP=1` lets the tests fail instead, and `OKTA_TOKENS_NODE_MODULES` is the
path of a `node_modules` directory in which the packages are already installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.interop.authorization_server import SOURCES, AuthorizationServer, running

OLDEST_NODE = 20


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("OKTA_TOKENS_REQUIRE_INTEROP") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _find(command: str) -> str:
    return shutil.which(command) or _unavailable(f"{command} is not on the PATH")


@pytest.fixture(scope="session")
def node() -> str:
    """Return the Node executable."""
    executable = _find("node")
    version = subprocess.check_output([executable, "--version"], text=True).strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        _unavailable(f"Node {version} is older than {OLDEST_NODE}")
    return executable


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with oidc-provider, outside the source tree."""
    prepared = os.environ.get("OKTA_TOKENS_NODE_MODULES")
    if prepared:
        return Path(prepared)
    directory = tmp_path_factory.mktemp("npm")
    shutil.copy(SOURCES / "package.json", directory)
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    installed = subprocess.run(
        [_find("npm"), "install", "--prefix", directory, "--prefer-offline", *options],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if installed.returncode:
        _unavailable(f"npm cannot install oidc-provider: {installed.stderr.strip()}")
    return directory / "node_modules"


@pytest.fixture(scope="session")
def server(
    node: str, node_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AuthorizationServer]:
    """Run the authorization server, once for all tests."""
    with running(node, node_modules, tmp_path_factory.mktemp("oidc-provider")) as running_server:
        yield running_server
