"""The flags and variables that configure the client and the scopes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from okta_tokens import OktaClient, TokenRequest
from okta_tokens.cli._client_options import (
    MisconfiguredError,
    add_client_options,
    configuration,
    name_setting,
)
from tests.cli.conftest import Terminal

SECRET = "Canary-Secret-6b1d3f5a7c9e2b4d6f8a0c2e"
KEY = ECKey.generate_key("P-256", {"kid": "own"})
OTHER = ECKey.generate_key("P-256")
PEM = KEY.as_pem(private=True).decode()
SECRET_NAME = "OKTA_CLIENT_SECRET (no flag; on a terminal the command prompts for it)"
KEY_WITHOUT_METHOD = (
    "--private-key-file: a key cannot be used with client_secret_post; remove the key, or choose "
    "--auth-method private_key_jwt"
)
KID_WITHOUT_KEY = (
    "--kid: a key id needs a private key, and no key is used; give --private-key-file, or remove "
    "the key id"
)
TOO_SHORT = "the secret is too short for HS256; use a secret of at least 32 characters"
EMPTY_KEY = "the key is empty; check where it comes from"
UNREADABLE = (
    "the key cannot be read from /nowhere/key.pem: no such file or directory; check the path"
)

IDENTITY = {
    "OKTA_CLIENT_ORGURL": "https://acme.okta.com",
    "OKTA_CLIENT_CLIENTID": "0oa1b2c3",
}


def parsed(*argv: str) -> argparse.Namespace:
    """Return a parsed command line."""
    parser = argparse.ArgumentParser()
    add_client_options(parser)
    return parser.parse_args(argv)


def configured(*argv: str) -> OktaClient:
    """Return the client of a command line."""
    return configuration(parsed(*argv))[0]


def problems(*argv: str) -> tuple[str, ...]:
    """Return the problems of a command line, after a check that none holds a credential."""
    with pytest.raises(MisconfiguredError) as caught:
        configuration(parsed(*argv))
    text = " ".join(caught.value.problems)
    assert SECRET not in text
    assert PEM.splitlines()[1] not in text.replace("\\n", "\n")
    return caught.value.problems


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a client in the environment, and let standard input be missing."""
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", None)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Return the path of a file that holds the key."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    return str(path)


def authentication_of(client: OktaClient) -> str:
    """Return a client's authentication as text, with the thumbprint of a key."""
    return repr(client.authentication)


def kid_of(client: OktaClient) -> str | None:
    """Return the `kid` in the header of a client's assertion."""
    request = TokenRequest("https://acme.okta.com", client.client_id, {}, {}, time.time())
    asyncio.run(as_coroutine(client, request))
    header, _, _ = request.form["client_assertion"].partition(".")
    kid: str | None = json.loads(urlsafe_b64decode(f"{header}==")).get("kid")
    return kid


async def as_coroutine(client: OktaClient, request: TokenRequest) -> None:
    """Let a client authenticate a request."""
    await client.authentication(request)


FILE = f"""\
okta:
  client:
    orgUrl: https://file.okta.com
    clientId: 0oafile
    clientSecret: {SECRET}
"""


def test_the_client_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--file` the client is that of the file: no variable counts, no person is asked."""
    path = tmp_path / "okta.yaml"
    path.write_text(FILE)
    path.chmod(0o600)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("okta_tokens.cli._client_options.getpass", None)

    client, scopes = configuration(parsed("--file", str(path), "--scope", "a"))

    assert (client, scopes) == (OktaClient.from_file(path), "a")


def test_another_flag_of_the_client_contradicts_a_file() -> None:
    """With `--file` the other flags of the client are problems, beside those of the file."""
    alone = "the client comes from --file alone; remove one of the two flags"

    assert problems("--file", "no.yaml", "--domain", "x", "--auth-method", "private_key_jwt") == (
        f"--auth-method: {alone}",
        f"--domain: {alone}",
        "--file: the client cannot be read from no.yaml: no such file or directory; check the path",
    )


def test_each_problem_of_a_file_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong field is a problem of its own."""
    monkeypatch.chdir(tmp_path)
    path = Path("okta.yaml")
    path.write_text(FILE.replace("0oafile", "").replace("https:", "ftp:"))
    path.chmod(0o600)

    assert problems("--file", "okta.yaml") == (
        "okta.yaml: okta.client.orgUrl: has a scheme other than https; use https",
        "okta.client.clientId: is empty; give the client id of your app",
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ((), "ClientSecretBasic(<secret>)"),
        (("--auth-method", "client_secret_basic"), "ClientSecretBasic(<secret>)"),
        (("--auth-method", "client_secret_post"), "ClientSecretPost(<secret>)"),
        (("--auth-method", "client_secret_jwt"), "ClientSecretJWT(<secret>)"),
    ],
)
def test_auth_method_chooses_how_the_secret_is_sent(
    method: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--auth-method` chooses how the secret is used; the default is HTTP Basic."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    client = configured(*method)

    assert authentication_of(client) == expected
    assert client.dpop is None


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text(PEM),
        lambda path: path.write_bytes(KEY.as_der(private=True)),
        lambda path: path.write_text(json.dumps(KEY.as_dict(private=True))),
    ],
    ids=["PEM", "DER", "JWK"],
)
def test_a_key_file_is_pem_der_or_jwk(
    write: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The key of `--private-key-file` wins over every credential of the environment."""
    path = tmp_path / "{BEGIN key"
    write(path)
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", OTHER.as_pem(private=True).decode())
    client = configured("--private-key-file", str(path))

    assert authentication_of(client) == f"PrivateKeyJWT({path!r})"


@pytest.mark.parametrize("method", [(), ("--auth-method", "private_key_jwt")])
def test_the_environments_key_is_used_without_a_flag(
    method: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OKTA_CLIENT_PRIVATEKEY` is used with and without `--auth-method private_key_jwt`."""
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM.replace("\n", "\\n"))

    assert (
        authentication_of(configured(*method)) == f"PrivateKeyJWT(<ES256 key {KEY.thumbprint()}>)"
    )


def test_auth_method_chooses_between_a_secret_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment has a secret and a key, only `--auth-method` decides."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEYID", "own")

    (problem,) = problems()
    assert problem.startswith(
        "OKTA_CLIENT_SECRET (or choose with --auth-method): is set, and so is "
    )
    assert authentication_of(configured("--auth-method", "private_key_jwt")).startswith(
        "PrivateKeyJWT"
    )
    assert authentication_of(configured("--auth-method", "client_secret_post")).startswith(
        "ClientSecret"
    )


def test_kid_wins_over_its_variables(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--kid` wins over both variables; without a flag and a variable no `kid` is sent."""
    without = kid_of(configured("--private-key-file", key_file))
    found = []
    for name in ("OKTA_CLIENT_PRIVATEKEYID", "OKTA_CLIENT_KID"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "of the environment")
            of_the_environment = kid_of(configured("--private-key-file", key_file))
            patch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)
            found.append((of_the_environment, kid_of(configured("--kid", "of the flag"))))

    assert without is None
    assert found == [("of the environment", "of the flag")] * 2


@pytest.mark.parametrize(
    ("variable", "flags", "bound"),
    [
        (None, (), False),
        ("true", (), True),
        ("true", ("--no-dpop",), False),
        ("nonsense", ("--dpop",), True),
    ],
)
def test_dpop_flags_win_over_the_variable(
    variable: str | None, flags: tuple[str, ...], bound: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--dpop` and `--no-dpop` win over `OKTA_CLIENT_DPOPENABLED`."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    if variable is not None:
        monkeypatch.setenv("OKTA_CLIENT_DPOPENABLED", variable)

    assert (configured(*flags).dpop is not None) is bound


def test_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over its variable, even if the variable is invalid."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_AUTHORIZATIONSERVER", "a/b")
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "other")
    identity_flags = ("--domain", "other.okta.com", "--client-id", "0oaOther")
    request_flags = (
        "--authorization-server",
        "org",
        "--scope",
        "okta.users.read",
        "--scope",
        "b a",
    )
    client, scopes = configuration(parsed(*identity_flags, *request_flags))

    assert (client.domain, client.client_id) == ("other.okta.com", "0oaOther")
    assert client.authorization_server is None
    assert scopes == "okta.users.read b a"


def test_scopes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OKTA_CLIENT_SCOPES` separates scopes by commas, like Okta's SDKs, or by spaces."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "a,b c")

    assert configuration(parsed())[1].split() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ("--auth-method", "client_secret_jwt"),
            f"{SECRET_NAME}: {TOO_SHORT}",
        ),
        (
            ("--auth-method", "private_key_jwt"),
            f"OKTA_CLIENT_PRIVATEKEY (or --private-key-file): {EMPTY_KEY}",
        ),
        (
            ("--private-key-file", "/nowhere/key.pem"),
            f"--private-key-file: {UNREADABLE}",
        ),
        (
            ("--private-key-file", "/nowhere/key.pem", "--auth-method", "client_secret_post"),
            KEY_WITHOUT_METHOD,
        ),
        (("--kid", "x"), KID_WITHOUT_KEY),
    ],
)
def test_contradictions_are_reported(
    flags: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential that is missing, or does not fit the method, is reported by its setting."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", "short")

    assert problems(*flags) == (expected,)


def test_a_key_id_cannot_be_used_with_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--kid` is invalid with a secret method, even if the environment has a key."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)

    assert problems("--kid", "x", "--auth-method", "client_secret_post") == (KID_WITHOUT_KEY,)


def test_all_problems_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All problems are reported, each under the name of the flag or variable."""
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", "{clientId}")
    monkeypatch.setenv("OKTA_CLIENT_DPOPENABLED", "yes")
    monkeypatch.setenv("OKTA_CLIENT_SECRET", f"{SECRET} ")
    flags = ("--domain", "http://acme.okta.com/path", "--authorization-server", "a/b")
    reported = problems(*flags, "--scope", 'a"b', "--kid", "x")

    assert [problem.partition(": ")[0] for problem in reported] == [
        "--kid",
        "--domain",
        "--domain",
        "OKTA_CLIENT_CLIENTID (or --client-id)",
        "--authorization-server",
        "OKTA_CLIENT_DPOPENABLED (or --dpop)",
        SECRET_NAME,
        "OKTA_CLIENT_SCOPES or --scope",
    ]


def test_a_problem_without_a_setting_is_unchanged() -> None:
    """A problem that does not begin with a known setting is not changed."""
    assert name_setting("OktaClient: is odd", parsed()) == "OktaClient: is odd"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra for signing, a key and DPoP are reported with how to install it."""
    monkeypatch.setitem(sys.modules, "okta_tokens._auth.keys", None)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)
    extra = "the key needs the extra jwt to sign: pip install 'okta-tokens[jwt]'"

    assert problems("--dpop") == (
        f"--dpop: {extra}",
        f"OKTA_CLIENT_PRIVATEKEY (or --private-key-file): {extra}",
    )


@pytest.mark.parametrize(
    ("flags", "prompted"),
    [
        ((), True),
        (("--auth-method", "client_secret_jwt"), True),
        (("--auth-method", "private_key_jwt"), False),
        (("--private-key-file", "/nowhere/key.pem"), False),
        (("--kid", "x"), False),
    ],
)
def test_the_prompt_appears_only_if_a_secret_is_needed(
    flags: tuple[str, ...], prompted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prompts for a secret that is needed and missing if nothing else is invalid."""
    prompts: list[str] = []

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return SECRET

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("okta_tokens.cli._client_options.getpass", getpass)
    if prompted:
        configured(*flags)
    else:
        problems(*flags)

    assert prompts == ["Client secret: "] * bool(prompted)


def test_a_key_in_the_environment_replaces_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a key in the environment there is no prompt, unless a flag chooses a secret."""
    prompts: list[str] = []

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return SECRET

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("okta_tokens.cli._client_options.getpass", getpass)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)

    assert authentication_of(configured()).startswith("PrivateKeyJWT(")
    assert authentication_of(configured("--auth-method", "private_key_jwt")).startswith("Private")
    assert prompts == []
    assert authentication_of(configured("--auth-method", "client_secret_post")).startswith("Client")
    assert len(prompts) == 1
