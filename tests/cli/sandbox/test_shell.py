"""The lines that set variables."""

import argparse
import re
import shlex

import pytest

from okta_tokens.cli import main
from okta_tokens.cli.sandbox import serve
from okta_tokens.cli.sandbox.shell import assignment, removal
from okta_tokens.sandbox import Sandbox
from tests.pages import page


@pytest.mark.parametrize("shell", ["posix", "powershell"])
def test_the_readme_shows_what_the_sandbox_prints(
    shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may paste the lines of the README instead of those of the sandbox."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET", raising=False)
    found: list[argparse.Namespace] = []
    monkeypatch.setattr(serve, "run", found.append)
    main(["sandbox", "--shell", shell])

    printed = serve._announcement(Sandbox(port=6582), found[0])
    shown = re.findall(
        rf"^<!-- variables: {shell} -->\n```\w+\n(.*?)^```$",
        page("README"),
        flags=re.MULTILINE | re.DOTALL,
    )

    assert [line for line in printed if not line.startswith("#")] == shown[0].splitlines()


@pytest.mark.parametrize("value", ["plain", "two words", "it's", '$HOME `x` "y"'])
def test_each_shell_gets_the_value_as_it_is(value: str) -> None:
    """No character of a value has a meaning for the shell."""
    name, equals, quoted = assignment("powershell", "NAME", value).partition(" = ")

    assert shlex.split(assignment("posix", "NAME", value)) == ["export", f"NAME={value}"]
    assert (name, equals) == ("$env:NAME", " = ")
    assert re.fullmatch("'(?:[^']|'')*'", quoted)
    assert quoted[1:-1].replace("''", "'") == value


def test_each_shell_removes_a_variable() -> None:
    """A client that signs must have no secret."""
    assert removal("posix", "NAME") == "unset NAME"
    assert removal("powershell", "NAME") == "$env:NAME = $null"
