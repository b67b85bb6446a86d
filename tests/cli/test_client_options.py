"""The flags and variables that say whom to ask, and for what."""

from __future__ import annotations

import argparse
import asyncio
import io
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
    spell,
)

SECRET = "Canary-Secret-6b1d3f5a7c9e2b4d6f8a0c2e"
KEY = ECKey.generate_key("P-256", {"kid": "own"})
OTHER = ECKey.generate_key("P-256")
PEM = KEY.as_pem(private=True).decode()
SECRET_NAME = "OKTA_CLIENT_SECRET (no flag; on a terminal you are asked for it)"
UNREADABLE = "the key is empty, or its file cannot be read; check the path, and who may read it"

WHO = {
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
    """Return what is wrong with a command line, of which no word is a credential."""
    with pytest.raises(MisconfiguredError) as caught:
        configuration(parsed(*argv))
    told = " ".join(caught.value.problems)
    assert SECRET not in told
    assert PEM.splitlines()[1] not in told.replace("\\n", "\n")
    return caught.value.problems


@pytest.fixture(autouse=True)
def who(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a client in the environment, and put nobody before a terminal."""
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", None)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Return the path of a file with the key."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    return str(path)


class Terminal(io.StringIO):
    """A terminal that nobody types at."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


def authentication_of(client: OktaClient) -> str:
    """Return how a client authenticates; of a key with its algorithm and thumbprint."""
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


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ((), "ClientSecretBasic(<secret>)"),
        (("--auth-method", "client_secret_basic"), "ClientSecretBasic(<secret>)"),
        (("--auth-method", "client_secret_post"), "ClientSecretPost(<secret>)"),
        (("--auth-method", "client_secret_jwt"), "ClientSecretJWT(<secret>)"),
    ],
)
def test_a_secret_is_used_as_the_method_says(
    method: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--auth-method` chooses what is done with the secret; HTTP Basic if it is not given."""
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
def test_a_key_file_is_pem_der_or_a_jwk(
    write: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The key of `--private-key-file` signs, whatever else the environment offers."""
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
    """`OKTA_CLIENT_PRIVATEKEY` is the key itself or its path; the method may be said or not."""
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM.replace("\n", "\\n"))

    assert (
        authentication_of(configured(*method)) == f"PrivateKeyJWT(<ES256 key {KEY.thumbprint()}>)"
    )


def test_the_method_decides_between_a_secret_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment has both, neither is taken for the other unless a flag chooses."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEYID", "own")

    (problem,) = problems()
    assert problem.startswith("OKTA_CLIENT_SECRET (or choose by --auth-method): is set, and so is ")
    assert authentication_of(configured("--auth-method", "private_key_jwt")).startswith(
        "PrivateKeyJWT"
    )
    assert authentication_of(configured("--auth-method", "client_secret_post")).startswith(
        "ClientSecret"
    )


def test_the_keys_id(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--kid` beats `OKTA_CLIENT_PRIVATEKEYID`; without either none is sent."""
    without = kid_of(configured("--private-key-file", key_file))
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEYID", "of the environment")
    of_the_environment = kid_of(configured("--private-key-file", key_file))
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)
    of_the_flag = kid_of(configured("--kid", "of the flag"))

    assert without is None
    assert of_the_environment == "of the environment"
    assert of_the_flag == "of the flag"


@pytest.mark.parametrize(
    ("variable", "flags", "bound"),
    [
        (None, (), False),
        (None, ("--dpop",), True),
        ("true", (), True),
        ("true", ("--no-dpop",), False),
        ("false", ("--dpop",), True),
        ("nonsense", ("--dpop",), True),
    ],
)
def test_tokens_are_bound_to_a_key_if_wanted(
    variable: str | None, flags: tuple[str, ...], bound: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--dpop` and `--no-dpop` beat `OKTA_CLIENT_DPOPENABLED`."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    if variable is not None:
        monkeypatch.setenv("OKTA_CLIENT_DPOPENABLED", variable)

    assert (configured(*flags).dpop is not None) is bound


def test_a_flag_beats_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flag says of the client counts, whatever its variable says."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_AUTHORIZATIONSERVER", "a/b")
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "other")
    who = ("--domain", "other.okta.com", "--client-id", "0oaOther")
    what = ("--authorization-server", "org", "--scope", "okta.users.read", "--scope", "b a")
    client, scopes = configuration(parsed(*who, *what))

    assert (client.domain, client.client_id) == ("other.okta.com", "0oaOther")
    assert client.authorization_server is None
    assert scopes == "okta.users.read b a"


def test_scopes_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OKTA_CLIENT_SCOPES` separates by commas, as Okta's SDKs do, or by spaces."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "a,b c")

    assert configuration(parsed())[1].split() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ("--auth-method", "client_secret_jwt"),
            f"{SECRET_NAME}: the secret is too short for HS256, which takes 32 characters",
        ),
        (
            ("--auth-method", "private_key_jwt"),
            f"OKTA_CLIENT_PRIVATEKEY (or --private-key-file): {UNREADABLE}",
        ),
        (
            ("--private-key-file", "/nowhere/key.pem"),
            f"--private-key-file: {UNREADABLE}",
        ),
        (
            ("--private-key-file", "/nowhere/key.pem", "--auth-method", "client_secret_post"),
            "--private-key-file: goes with private_key_jwt, and not with client_secret_post",
        ),
        (("--kid", "x"), "--kid: goes with a private key, and there is none"),
    ],
)
def test_what_does_not_fit_together(
    flags: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential that does not fit the method, or is not there, is told by where it belongs."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", "short")

    assert problems(*flags) == (expected,)


def test_a_key_id_does_not_go_with_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--kid` is refused where a secret was chosen, also if the environment has a key."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)

    assert problems("--kid", "x", "--auth-method", "client_secret_post") == (
        "--kid: goes with a private key, and there is none",
    )


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is wrong is told, each under the name by which it was or can be given."""
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", "{clientId}")
    monkeypatch.setenv("OKTA_CLIENT_DPOPENABLED", "yes")
    monkeypatch.setenv("OKTA_CLIENT_SECRET", f"{SECRET} ")
    flags = ("--domain", "http://acme.okta.com/path", "--authorization-server", "a/b")
    told = problems(*flags, "--scope", 'a"b', "--kid", "x")

    assert [problem.partition(": ")[0] for problem in told] == [
        "--kid",
        "--domain",
        "--domain",
        "OKTA_CLIENT_CLIENTID (or --client-id)",
        "--authorization-server",
        "OKTA_CLIENT_DPOPENABLED (or --dpop)",
        SECRET_NAME,
        "OKTA_CLIENT_SCOPES or --scope",
    ]


def test_what_has_no_flag_is_told_as_it_is() -> None:
    """A problem that begins with no name of these keeps its words."""
    assert spell("OktaClient: is odd", parsed()) == "OktaClient: is odd"


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what signs is not installed, a key and a proof are told to need it."""
    monkeypatch.setitem(sys.modules, "okta_tokens._auth.keys", None)
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", PEM)
    extra = "the key takes an extra to sign with: pip install 'okta-tokens[jwt]'"

    assert problems("--dpop") == (
        f"--dpop: {extra}",
        f"OKTA_CLIENT_PRIVATEKEY (or --private-key-file): {extra}",
    )


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        ((), True),
        (("--auth-method", "client_secret_jwt"), True),
        (("--auth-method", "private_key_jwt"), False),
        (("--private-key-file", "/nowhere/key.pem"), False),
        (("--kid", "x"), False),
    ],
)
def test_who_is_asked_for_a_secret(
    flags: tuple[str, ...], asked: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is asked for if one is wanted and missing, and nothing else is wrong."""
    prompts: list[str] = []

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return SECRET

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("okta_tokens.cli._client_options.getpass", getpass)
    if asked:
        configured(*flags)
    else:
        problems(*flags)

    assert prompts == ["Client secret: "] * bool(asked)


def test_nobody_is_asked_for_a_secret_where_there_is_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key in the environment stands in for the secret, unless a flag wants that."""
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
