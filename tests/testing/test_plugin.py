"""The pytest plugin, in fresh projects outside this repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from okta_tokens import SystemClock, TokenProvider
from okta_tokens.sandbox import Sandbox
from okta_tokens.testing import ManualClock
from tests.pages import ROOT, page
from tests.recipes.support import recipe

SAMPLE = ROOT / "tests/sample_service"

IMPORTS = """
import asyncio

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi.testclient import TestClient
from orders_service import create_app

from okta_tokens.adapters.httpx import TokenAuth
from okta_tokens.errors import OAuthError
from okta_tokens.sandbox import Fault
from okta_tokens.testing import FakeTokenSource, assert_no_secrets, fake_token

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

WITH_ASYNCIO_RUN = """
def test_one_token_serves_all(okta_sandbox, okta_client, okta_provider):
    async def use():
        async with okta_provider:
            await okta_provider.get_token(okta_client, "orders:read")
            return await okta_provider.get_token(okta_client, "orders:read")

    assert asyncio.run(use()).scopes == {"orders:read"}
    okta_sandbox.assert_received(1)
"""

IN_A_PORTAL = """
def test_another_thread_runs_the_provider(okta_clock, okta_sandbox, okta_client, okta_provider):
    source = okta_provider.source(okta_client, "orders:read", keep_fresh=True)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(okta_provider):
        first = source.get_token_from_thread()
        okta_clock.advance_from_thread(3600)
        assert source.get_token_from_thread() != first
    okta_sandbox.assert_received(2)
"""

ASYNCHRONOUS = [recipe("testing.first"), recipe("testing.clock"), recipe("testing.failure")]
STRICT = recipe("testing.readme")
"""The test in the README, which has its own import and mark."""
SYNCHRONOUS = [
    recipe("testing.synchronous"),
    recipe("testing.fake"),
    WITH_ASYNCIO_RUN,
    IN_A_PORTAL,
]


@dataclass
class Style:
    """A style of tests: the options of pytest, the mark of each test, and the tests."""

    options: str
    mark: str
    tests: list[str]


SCOPE = 'asyncio_default_fixture_loop_scope = "function"'
"""pytest-asyncio wants its users to say it."""

STYLES = {
    "asyncio strict": Style(
        f'asyncio_mode = "strict"\n{SCOPE}', "@pytest.mark.asyncio", ASYNCHRONOUS
    ),
    "asyncio auto": Style(f'asyncio_mode = "auto"\n{SCOPE}', "", ASYNCHRONOUS),
    "anyio": Style('addopts = "-p no:asyncio"', "@pytest.mark.anyio", ASYNCHRONOUS),
    "synchronous": Style('addopts = "-p no:asyncio"', "", SYNCHRONOUS),
}


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a project with its own configuration, and every warning an error."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", STYLES)
def test_the_fixtures_work_in_every_style(tmp_path: Path, name: str) -> None:
    """Each fixture works in synchronous tests, and in those of each plugin for coroutines."""
    style = STYLES[name]
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n{style.options}\n'
    )
    shutil.copy(SAMPLE / "orders_service.py", tmp_path)
    tests = [f"{style.mark}\n{test}" for test in style.tests]
    (tmp_path / "test_it.py").write_text("\n".join([IMPORTS, *tests]))

    run = run_pytest(tmp_path)

    assert run.returncode == 0, run.stdout
    assert f"{len(tests)} passed" in run.stdout


@pytest.mark.timeout(90)
def test_the_sample_service_needs_only_the_plugin(tmp_path: Path) -> None:
    """The tests of the sample service pass in a folder of their own, and notice its defects."""
    project = tmp_path / "service"
    shutil.copytree(SAMPLE, project)
    service = project / "orders_service.py"

    run = run_pytest(project)
    assert run.returncode == 0, run.stdout

    code = service.read_text()
    service.write_text(code.replace(", auth=auth", ""))
    assert code != service.read_text()
    run = run_pytest(project)
    assert (run.returncode, "failed" in run.stdout) == (1, True), run.stdout


def test_the_plugin_costs_a_project_nothing(tmp_path: Path) -> None:
    """The start of pytest imports neither this package nor aiohttp, and no fixture runs unasked."""
    (tmp_path / "test_it.py").write_text(
        "import json, sys\n"
        "def test(request):\n"
        "    names = [name for name in request.fixturenames if 'okta' in name]\n"
        "    print(json.dumps([*names, *({'aiohttp', 'okta_tokens'} & {*sys.modules})]))\n"
    )

    run = run_pytest(tmp_path, "-s", "-p", "no:asyncio")

    assert run.returncode == 0, run.stdout
    assert json.loads(re.findall(r"^\[.*\]", run.stdout, flags=re.MULTILINE)[0]) == []


def test_pytest_lists_the_fixtures(tmp_path: Path) -> None:
    """`pytest --fixtures` names each fixture with what it returns, and so does the guide."""
    run = run_pytest(tmp_path, "--fixtures", "-p", "no:asyncio")

    found = re.findall(r"^(okta_\w+) -- .*\n +.+$", run.stdout, flags=re.MULTILINE)
    assert {*found} == {"okta_client", "okta_clock", "okta_provider", "okta_sandbox"}
    assert all(f"`{name}`" in page("testing") for name in found)


def test_a_requested_clock_drives_everything(
    okta_clock: ManualClock, okta_sandbox: Sandbox, okta_provider: TokenProvider
) -> None:
    """Provider and sandbox use the manual clock in a test that requests it."""
    assert okta_sandbox.wall_time is okta_clock.wall_time
    assert okta_provider._clock is okta_clock


def test_time_is_real_otherwise(okta_sandbox: Sandbox, okta_provider: TokenProvider) -> None:
    """Provider and sandbox use the real time in a test that does not request the clock."""
    assert okta_sandbox.wall_time is time.time
    assert type(okta_provider._clock) is SystemClock


SAME_PORT = """
def fetch(provider, sandbox):
    async def use():
        async with provider:
            client = OktaClient(sandbox.origin, "id", ClientSecretBasic("secret"))
            await provider.get_token(client, "orders:read")

    sandbox.put_client(SandboxClient("id", ["secret"], scopes=["orders:read"]))
    asyncio.run(use())

ports = []

def test_first(okta_sandbox, okta_provider):
    ports.append(okta_sandbox.port)
    fetch(okta_provider, okta_sandbox)

def test_second(caplog):
    with Sandbox(port=ports[0]) as sandbox:
        fetch(TokenProvider(), sandbox)
    assert not caplog.records
"""


def test_another_tests_sandbox_may_have_the_port(tmp_path: Path) -> None:
    """The provider of each test counts as the first one, whichever ports the sandboxes get."""
    imports = """
import asyncio
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.sandbox import Sandbox, SandboxClient
"""
    (tmp_path / "test_it.py").write_text(imports + SAME_PORT)

    run = run_pytest(tmp_path, "-p", "no:asyncio")

    assert run.returncode == 0, run.stdout
