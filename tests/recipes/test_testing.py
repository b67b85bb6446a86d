"""The pytest plugin in fresh projects outside this repository, in every style of tests."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pages import ROOT
from tests.recipes.support import recipe
from tests.testing.projects import run_pytest

SAMPLE = ROOT / "tests/sample_service"

CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

WITH_ASYNCIO_RUN = """
import asyncio

def test_one_token_serves_all(okta_sandbox, okta_client, okta_provider):
    async def use():
        async with okta_provider:
            await okta_provider.get_token(okta_client, "orders:read")
            return await okta_provider.get_token(okta_client, "orders:read")

    assert asyncio.run(use()).scopes == {"orders:read"}
    okta_sandbox.assert_received(1)
"""

IN_A_PORTAL = """
from anyio.from_thread import start_blocking_portal

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
    """The name of the mark of each test, if it needs one."""
    tests: list[str]


SCOPE = 'asyncio_default_fixture_loop_scope = "function"'
"""pytest-asyncio wants its users to say it."""

STYLES = {
    "README": Style(f'asyncio_mode = "strict"\n{SCOPE}', "", [STRICT]),
    "asyncio strict": Style(f'asyncio_mode = "strict"\n{SCOPE}', "asyncio", ASYNCHRONOUS),
    "asyncio auto": Style(f'asyncio_mode = "auto"\n{SCOPE}', "", ASYNCHRONOUS),
    "anyio": Style('addopts = "-p no:asyncio"', "anyio", ASYNCHRONOUS),
    "synchronous": Style('addopts = "-p no:asyncio"', "", SYNCHRONOUS),
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", STYLES)
def test_the_fixtures_work_in_every_style(tmp_path: Path, name: str) -> None:
    """Each fixture works in synchronous tests, and in those of each plugin for coroutines."""
    style = STYLES[name]
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n{style.options}\n'
    )
    shutil.copy(SAMPLE / "orders_service.py", tmp_path)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for number, code in enumerate(style.tests):
        mark = f"import pytest\npytestmark = pytest.mark.{style.mark}\n" if style.mark else ""
        (tmp_path / f"test_{number}.py").write_text(mark + code)

    run = run_pytest(tmp_path)

    assert run.returncode == 0, run.stdout
    assert f"{len(style.tests)} passed" in run.stdout


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
