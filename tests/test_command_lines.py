"""No text of the project puts a secret or a token on a command line."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_lines import offences
from tests.pages import ROOT

BAD = [
    'curl -H "Authorization: Bearer $(okta-tokens get)" https://api.acme.com',
    'curl -H "$(okta-tokens get --header)" https://api.acme.com',
    "TOKEN=$(okta-tokens get | jq -r .access_token)",
    'app --key "`okta-tokens store-key`"',
    "export TOKEN_STORE_KEYS=$(.venv/bin/okta-tokens store-key)",
    "http GET https://api.acme.com 'Authorization:Bearer eyJ'",
    "curl -H 'DPoP: eyJ' https://api.acme.com",
    "curl --header=authorization:abc https://api.acme.com",
    "curl -u 0oa1b2c3:hunter2 https://acme.okta.com/oauth2/default/v1/token",
    "curl --user 0oa1b2c3:hunter2 https://acme.okta.com/oauth2/default/v1/token",
    "curl -d grant_type=client_credentials -d client_secret=hunter2 https://acme.okta.com",
    "curl --data-urlencode token=eyJ https://acme.okta.com/oauth2/default/v1/revoke",
    "curl --oauth2-bearer eyJ https://api.acme.com",
    "curl https://0oa1b2c3:hunter2@acme.okta.com",
    "wget --http-password=hunter2 https://api.acme.com",
    "redis-cli -a hunter2 ping",
    "redis-cli -u redis://default:hunter2@tokens.acme.com ping",
    "okta-tokens get --client-secret hunter2",
    "okta-tokens get --secret=$SECRET",
    "run --token <token>",
    'app "$OKTA_CLIENT_SECRET"',
    "app ${ACCESS_TOKEN}",
    "export OKTA_CLIENT_SECRET=hunter2",
    "OKTA_CLIENT_SECRET='hunter2' okta-tokens get",
    "docker run -e OKTA_CLIENT_SECRET=hunter2 app",
    "env REDIS_PASSWORD=hunter2 app",
    "curl \\\n  -H 'Accept: */*' \\\n  -u a:b https://api.acme.com",
]
GOOD = [
    "okta-tokens get --header | curl -H @- https://api.acme.com",
    "okta-tokens get --request GET https://api.acme.com/orders |\n    curl -H @- https://api.acme.com",
    "read -rs OKTA_CLIENT_SECRET && export OKTA_CLIENT_SECRET",
    'export OKTA_CLIENT_SECRET="$(cat /run/secrets/okta)"',
    "docker run -e OKTA_CLIENT_SECRET app",
    "export OKTA_CLIENT_SECRET=the-well-known-secret-of-the-sandbox",
    "okta-tokens get --private-key-file key.pem --kid my-key --dpop",
    "OKTA_TOKENS_UVLOOP=1 python -m pytest",
    "httpx.AsyncClient(auth=auth); plain http is allowed; http://127.0.0.1:6582",
    'headers={"Authorization": f"Bearer {token}"}',
    "ClientSecretBasic(client_secret=secret)",
    "redis-cli -u redis://tokens.acme.com ping",
]

FILES = sorted(
    path
    for pattern in (
        "*.md",
        ".github/**/*.*",
        ".ci/*",
        "src/**/*.py",
        "src/**/*.md",
        "benchmarks/*.*",
        "benchmarks/pictures/*.py",
        "tests/**/*.md",
        "tests/recipes/*.py",
    )
    for path in ROOT.glob(pattern)
)
"""Every page, workflow and script, and every module with its docstrings, help texts and hints."""


def literals(source: str) -> Iterator[str]:
    """Yield every string of a module, after the parts of a string are joined."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_shows_a_secret_is_recognised(line: str) -> None:
    """The rules recognise what they are for."""
    assert offences(line)


@pytest.mark.parametrize("line", GOOD)
def test_a_safe_line_is_allowed(line: str) -> None:
    """The rules allow the safe ways, and what is no command line."""
    assert offences(line) == []


def test_all_kinds_of_texts_are_searched() -> None:
    """The search covers the pages, the guides, the workflows and the modules."""
    names = {path.relative_to(ROOT).as_posix() for path in FILES}

    assert {"README.md", ".ci/run", ".github/workflows/ci.yml"} <= names
    assert {"src/okta_tokens/cli/README.md", "src/okta_tokens/cli/_get.py"} <= names
    assert len(names) > 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_puts_a_secret_on_a_command_line(path: Path) -> None:
    """No page, script, docstring, comment, help text or hint shows a secret as an argument."""
    text = path.read_text("utf-8")
    strings = [*literals(text)] if path.suffix == ".py" else []

    assert offences(text, *strings) == []
