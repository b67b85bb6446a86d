"""A client from environment variables."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, PrivateKeyJWT
from okta_tokens._model.environment import FIELDS
from okta_tokens.errors import ConfigurationError
from tests.keys import ec_key, jwk, pem, public_pem
from tests.pages import page
from tests.runtime.test_redaction import frames_of, locals_with

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
ENVIRONMENT = {
    "OKTA_CLIENT_ORGURL": "https://acme.okta.com",
    "OKTA_CLIENT_CLIENTID": "0oa1",
    "OKTA_CLIENT_SECRET": SECRET,
}


def refusal(environ: dict[str, str]) -> str:
    """Return the message with which an environment is refused."""
    with pytest.raises(ConfigurationError) as caught:
        OktaClient.from_env(environ)
    return str(caught.value)


def test_environment() -> None:
    """Okta's own variables make a client with HTTP Basic and the default server."""
    made = OktaClient.from_env(ENVIRONMENT)

    assert made == OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))


def test_environment_server() -> None:
    """The variable names a custom server, the default server or the org authorization server."""
    servers = {"": "default", "default": "default", "aus1": "aus1", "org": None}
    for variable, server in servers.items():
        environ = {**ENVIRONMENT, "OKTA_CLIENT_AUTHORIZATIONSERVER": variable}

        assert OktaClient.from_env(environ).authorization_server == server


def test_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping, the variables of the process are used."""
    monkeypatch.delenv("OKTA_CLIENT_AUTHORIZATIONSERVER", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    assert OktaClient.from_env() == OktaClient.from_env(ENVIRONMENT)


def test_an_empty_mapping_is_not_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty mapping is an empty environment; one message names all missing variables."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    assert refusal({}) == (
        "environment: OKTA_CLIENT_ORGURL: is empty; give the Okta host, like acme.okta.com; "
        "OKTA_CLIENT_CLIENTID: is empty; give the client id of your app; "
        "OKTA_CLIENT_SECRET: is not set, and neither is OKTA_CLIENT_PRIVATEKEY; set one of them"
    )


def with_key(key: str, **more: str) -> dict[str, str]:
    """Return an environment with a private key in place of the secret."""
    return {**ENVIRONMENT, "OKTA_CLIENT_SECRET": "", "OKTA_CLIENT_PRIVATEKEY": key, **more}


def test_environment_with_a_key(tmp_path: Path) -> None:
    """The private key is PEM, PEM in one line, a JWK or a path; its id has its own variable."""
    text = pem(ec_key()).decode()
    path = tmp_path / "key.pem"
    path.write_text(text)
    for key in (text, text.replace("\n", "\\n"), json.dumps(jwk(ec_key())), f"  {text}"):
        made = OktaClient.from_env(with_key(key))
        assert made.authentication == PrivateKeyJWT(ec_key())

    by_path = OktaClient.from_env(with_key(str(path), OKTA_CLIENT_PRIVATEKEYID="k1"))
    assert by_path.authentication == PrivateKeyJWT(path, kid="k1")


@pytest.mark.parametrize(
    ("variables", "bound"), [(["", "false", "False"], False), (["true", "TRUE"], True)]
)
def test_environment_with_dpop(variables: list[str], *, bound: bool) -> None:
    """If the variable is true, each client gets a new DPoP key."""
    for variable in variables:
        environ = {**ENVIRONMENT, "OKTA_CLIENT_DPOPENABLED": variable}
        made = OktaClient.from_env(environ)

        assert (made.dpop is not None) is bound
        assert (made == OktaClient.from_env(environ)) is not bound


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            with_key("", OKTA_CLIENT_SECRET=SECRET, OKTA_CLIENT_PRIVATEKEY="x"),
            "OKTA_CLIENT_SECRET: is set, and so is OKTA_CLIENT_PRIVATEKEY; set only one of them",
        ),
        (
            with_key("/nowhere/key.pem"),
            (
                "OKTA_CLIENT_PRIVATEKEY: the key cannot be read from /nowhere/key.pem: no such "
                "file or directory; check the path"
            ),
        ),
        (
            with_key(public_pem(ec_key()).decode()),
            "OKTA_CLIENT_PRIVATEKEY: the key is a public key; give the private key",
        ),
        (
            {**ENVIRONMENT, "OKTA_CLIENT_DPOPENABLED": "yes"},
            "OKTA_CLIENT_DPOPENABLED: must be true or false",
        ),
    ],
    ids=["both", "no-file", "public", "dpop"],
)
def test_bad_environments_with_a_key(change: dict[str, str], message: str) -> None:
    """The message names the variable of an invalid key, and no frame contains the key."""
    with pytest.raises(ConfigurationError) as caught:
        OktaClient.from_env(change)

    assert str(caught.value) == f"environment: {message}"
    assert locals_with(caught.value, "BEGIN") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"OKTA_CLIENT_ORGURL": "ftp://acme.okta.com"},
            "OKTA_CLIENT_ORGURL: has a scheme other than https; use https",
        ),
        (
            {"OKTA_CLIENT_CLIENTID": "{clientId}"},
            "OKTA_CLIENT_CLIENTID: is a placeholder; replace it with the client id of your app",
        ),
        (
            {"OKTA_CLIENT_SECRET": "${SECRET}"},
            "OKTA_CLIENT_SECRET: is a placeholder; replace it with the client secret of your app",
        ),
        (
            {"OKTA_CLIENT_AUTHORIZATIONSERVER": "a/b"},
            (
                "OKTA_CLIENT_AUTHORIZATIONSERVER: must be an id such as default or aus…, or org "
                "for the org authorization server"
            ),
        ),
    ],
    ids=["domain", "client-id", "secret", "server"],
)
def test_bad_environments(change: dict[str, str], message: str) -> None:
    """The message names each invalid variable."""
    assert refusal({**ENVIRONMENT, **change}) == f"environment: {message}"


@pytest.mark.parametrize(
    "change",
    [
        {"OKTA_CLIENT_CLIENTID": ""},
        {"OKTA_CLIENT_SECRET": f"{SECRET}\n"},
        {"OKTA_CLIENT_ORGURL": f"https://me:{SECRET}@acme.okta.com"},
        {"OKTA_CLIENT_AUTHORIZATIONSERVER": f"{SECRET}/"},
    ],
    ids=["client-id", "secret", "domain", "server"],
)
def test_no_secret_of_the_environment_leaks(change: dict[str, str]) -> None:
    """Neither the message nor a frame contains a secret of an invalid environment."""
    with pytest.raises(ConfigurationError) as caught:
        OktaClient.from_env({**ENVIRONMENT, **change})

    error = caught.value

    assert SECRET not in str(error)
    assert len(list(frames_of(error))) == 2
    assert locals_with(error, SECRET) == []


def test_a_service_with_several_clients() -> None:
    """With a prefix, only variables with this prefix count, and messages name them so."""
    environ = {
        f"ORDERS_{name.removeprefix('OKTA_CLIENT_')}": each for name, each in ENVIRONMENT.items()
    }
    environ |= {"OKTA_CLIENT_CLIENTID": "0oa2"}

    assert OktaClient.from_env(environ, prefix="ORDERS_") == OktaClient.from_env(ENVIRONMENT)
    with pytest.raises(
        ConfigurationError, match="ORDERS_SECRET: is not set, and neither is ORDERS_P"
    ):
        OktaClient.from_env(environ | {"ORDERS_SECRET": ""}, prefix="ORDERS_")
    with pytest.raises(ConfigurationError, match="prefix: must be the beginning of a name"):
        OktaClient.from_env(environ, prefix="")


def test_files_of_credentials(tmp_path: Path) -> None:
    """Two variables name a file with the secret or the key, which is read for each request."""
    secret, key = tmp_path / "secret", tmp_path / "MIGHT-BE-BASE64"
    secret.write_text(f"{SECRET}\n")
    key.write_bytes(pem(ec_key()))
    environ = {**ENVIRONMENT, "OKTA_CLIENT_SECRET": ""}

    with_secret = OktaClient.from_env(environ | {"OKTA_CLIENT_SECRET_FILE": str(secret)})
    by_key = OktaClient.from_env(environ | {"OKTA_CLIENT_PRIVATEKEY_FILE": str(key)})

    assert with_secret.authentication == ClientSecretBasic(secret)
    assert by_key.authentication == PrivateKeyJWT(key)
    assert refusal(environ | {"OKTA_CLIENT_SECRET_FILE": "/nowhere/secret"}) == (
        "environment: OKTA_CLIENT_SECRET_FILE: cannot be read from /nowhere/secret: no such file "
        "or directory; check the path"
    )
    assert refusal(ENVIRONMENT | {"OKTA_CLIENT_PRIVATEKEY_FILE": str(key)}) == (
        "environment: OKTA_CLIENT_SECRET: is set, and so is OKTA_CLIENT_PRIVATEKEY_FILE; set only "
        "one of them"
    )


def test_the_key_id_of_the_java_sdk() -> None:
    """Both variables for the key id mean the same; two different ids are refused."""
    text = pem(ec_key()).decode()

    assert OktaClient.from_env(
        with_key(text, OKTA_CLIENT_KID="k1")
    ).authentication == PrivateKeyJWT(ec_key(), kid="k1")
    assert refusal(with_key(text, OKTA_CLIENT_KID="k1", OKTA_CLIENT_PRIVATEKEYID="k2")) == (
        "environment: OKTA_CLIENT_KID: differs from OKTA_CLIENT_PRIVATEKEYID; set only one of them"
    )
    assert refusal(with_key(text, OKTA_CLIENT_KID="k" * 300)).startswith(
        "environment: OKTA_CLIENT_KID: kid "
    )


@pytest.mark.parametrize("name", [*ENVIRONMENT, "OKTA_CLIENT_AUTHORIZATIONSERVER"])
@pytest.mark.parametrize(
    ("around", "problem"),
    [
        ('"{}"', "is in quotation marks, which are part of the value here; remove them"),
        ("'{}'", "is in quotation marks, which are part of the value here; remove them"),
        ("{}\n", "begins or ends with white space; remove it"),
        (" {}", "begins or ends with white space; remove it"),
    ],
    ids=["double", "single", "line-break", "space"],
)
def test_what_editors_leave_around_a_value(name: str, around: str, problem: str) -> None:
    """A value in quotation marks or white space is refused under the name of its variable."""
    environ = ENVIRONMENT | {name: around.format(ENVIRONMENT.get(name, "aus1"))}

    assert refusal(environ) == f"environment: {name}: {problem}"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("OKTA_CLIENT_CLIENT_ID", "do you mean OKTA_CLIENT_CLIENTID?"),
        ("OKTA_CLIENT_ORGURI", "do you mean OKTA_CLIENT_ORGURL?"),
        ("OKTA_CLIENT_secret", "do you mean OKTA_CLIENT_SECRET?"),
        ("OKTA_CLIENT_XYZ", "remove it, or correct its name"),
    ],
)
def test_a_variable_that_means_nothing_is_a_warning(name: str, advice: str) -> None:
    """A variable of the prefix that means nothing is a warning with the nearest name."""
    with pytest.warns(
        UserWarning, match=f"^{name} is not a setting of a client; {re.escape(advice)}$"
    ):
        OktaClient.from_env({**ENVIRONMENT, name: SECRET})


def test_a_misspelt_variable_is_named_before_the_error() -> None:
    """If a variable is missing because it is misspelt, the warning comes, too."""
    environ = {name: text for name, text in ENVIRONMENT.items() if name != "OKTA_CLIENT_CLIENTID"}

    with pytest.warns(UserWarning, match=r"do you mean OKTA_CLIENT_CLIENTID\?"):
        refusal({**environ, "OKTA_CLIENT_CLIENT_ID": "0oa1"})


def test_variables_of_other_programs_are_no_warning() -> None:
    """Variables of Okta's SDKs that mean nothing here, and those of others, are no warning."""
    names = ("SCOPES", "AUTHORIZATIONMODE", "RATELIMIT_MAXRETRIES", "PROXY_HOST", "CACHE_ENABLED")
    others = {f"OKTA_CLIENT_{name}": "x" for name in names} | {"OKTA_ORG": "x", SECRET: "x"}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OktaClient.from_env(ENVIRONMENT | others)
        OktaClient.from_env(ENVIRONMENT | {f"OKTA_CLIENT_{SECRET * 2}": "x"})


def test_only_code_allows_plain_http() -> None:
    """`allow_http` of `from_env` allows an `http://` domain, and no variable does."""
    environ = {**ENVIRONMENT, "OKTA_CLIENT_ORGURL": "http://okta.internal"}

    with (
        pytest.warns(UserWarning, match="OKTA_CLIENT_ALLOWHTTP is not a setting of a client"),
        pytest.raises(ConfigurationError, match="ORGURL: plain http would send the secret"),
    ):
        OktaClient.from_env({**environ, "OKTA_CLIENT_ALLOWHTTP": "true", "allow_http": "true"})
    assert OktaClient.from_env(environ, allow_http=True).origin == "http://okta.internal"


def test_an_environment_that_is_not_one_of_strings() -> None:
    """A value that is no string, and an object that is no mapping, are refused by name."""
    assert refusal({**ENVIRONMENT, "OKTA_CLIENT_SECRET": 5}) == (  # type: ignore[dict-item]  # deliberately
        "environment: OKTA_CLIENT_SECRET: is not a string"
    )
    assert refusal(5) == (  # type: ignore[arg-type]  # deliberately
        "environment: environ: cannot be read; pass a mapping from names to strings, or None"
    )


def test_the_guide_names_every_setting() -> None:
    """The guide names each variable and each field of a file."""
    names = {f"OKTA_CLIENT_{name}" for name in FIELDS} | {*FIELDS.values()}

    assert {name for name in names if f"`{name}`" not in page("settings")} == set()
