"""The pytest plugin: what it costs, and what its fixtures are."""

import json
import re
import time
from pathlib import Path

from okta_tokens import OktaClient, SystemClock, TokenProvider
from okta_tokens.sandbox import Sandbox
from okta_tokens.testing import ManualClock
from tests.pages import page
from tests.testing.projects import run_pytest


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


async def test_the_sandbox_knows_the_client(
    okta_sandbox: Sandbox, okta_client: OktaClient, okta_provider: TokenProvider
) -> None:
    """The provider fetches tokens for the client, with each of its scopes."""
    async with okta_provider:
        for scope in ("orders:read", "orders:write"):
            await okta_provider.get_token(okta_client, scope)

    okta_sandbox.assert_received(2, client_id=okta_client.client_id)
