"""The README keeps its word: every example in it runs."""

import ast
import asyncio
import inspect
import re
import shlex
from pathlib import Path

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, errors
from okta_tokens.cli import main
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox, SandboxClient
from tests.keys import ec_key, pem, public_jwk

README = (Path(__file__).parent.parent / "README.md").read_text()
RECIPES = r"^<!-- recipe: [\w.]+ -->\n```python\n.*?^```$"
"""Marked examples, which `tests/recipes` runs."""
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$",
    re.sub(RECIPES, "", README, flags=re.MULTILINE | re.DOTALL),
    flags=re.MULTILINE | re.DOTALL,
)
SECRET = "the-secret-of-the-readme-is-long-enough-to-sign"


def sandbox() -> Sandbox:
    """Make a sandbox with the client of the examples."""
    app = SandboxClient(
        "0oa1b2c3",
        [SECRET],
        scopes={"orders:read", "orders:write", "okta.users.read"},
        keys=[public_jwk(ec_key(), kid="k1")],
    )
    return Sandbox([app])


async def test_the_first_example_is_a_whole_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real host and secret the first example prints a ready header."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    async with sandbox() as okta:
        program = EXAMPLES[0].replace("acme.okta.com", okta.origin)
        await asyncio.to_thread(exec, compile(program, "README.md", "exec"), {})

        assert "{'Authorization': 'Bearer " in capsys.readouterr().out
        assert okta.token_requests == 1


async def test_the_other_examples_run_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The examples after the first one use its names, and run as they stand."""
    monkeypatch.setenv("ACME_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.pem").write_bytes(pem(ec_key()))
    async with sandbox() as okta:
        acme = OktaClient(okta.origin, "0oa1b2c3", ClientSecretBasic(SECRET))
        names: dict[str, object] = {"acme": acme, "secret": SECRET}
        imports = "\n".join(re.findall(r"^(?:import|from) .*$", EXAMPLES[0], re.MULTILINE))
        exec(compile(imports, "README.md", "exec"), names)  # noqa: S102 - our own README
        for text in EXAMPLES[1:]:
            example = text.replace('"acme.okta.com"', repr(okta.origin))
            code = compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(code, names)  # noqa: S307 - the same
            if inspect.isawaitable(running):
                await running

        assert okta.token_requests == 3  # one of them for a nonce
        assert isinstance(names["provider"], TokenProvider)


def without_chance(report: str) -> str:
    """Return a report of the doctor's without what differs from one time to the next."""
    for chance in (
        r"127\.0\.0\.1:\d+",
        r"request id \S+",
        r"in \d+ m?s",
        r"\d+\.\d s (ahead of|behind) Okta, give or take \d+\.\d",
    ):
        report = re.sub(chance, "…", report)
    return report


async def test_the_doctors_report_is_a_real_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the README shows of the doctor is what it says of that sandbox."""
    ((command, shown),) = re.findall(
        r"^\$ okta-tokens ([^\n]*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL
    )
    app = SandboxClient(DEFAULT_CLIENT.client_id, [SECRET], scopes=["orders:read"])
    async with Sandbox([app]) as okta:
        monkeypatch.setenv("OKTA_CLIENT_ORGURL", okta.origin)
        monkeypatch.setenv("OKTA_CLIENT_CLIENTID", app.client_id)
        monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
        code = await asyncio.to_thread(main, shlex.split(command))

    assert code == 1
    assert without_chance(capsys.readouterr().out) == without_chance(shown)


def test_every_error_is_in_the_table() -> None:
    """The README's table of errors names each class that is raised, and no other."""
    rows = set(re.findall(r"^\| `(\w+Error)` \|", README, flags=re.MULTILINE))
    bases = {"TokenProviderError", "FetchError"}

    assert rows == {name for name in errors.__all__ if name.endswith("Error")} - bases


def test_the_first_example_comes_early_and_is_short() -> None:
    """Whoever opens the README sees how it is used before line 30, in less than 20 lines."""
    before = README[: README.index(EXAMPLES[0])].count("\n")

    assert before < 30
    assert EXAMPLES[0].count("\n") < 20
