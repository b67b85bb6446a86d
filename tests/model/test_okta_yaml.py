"""A client from a file in the form of Okta's SDKs."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, PrivateKeyJWT
from okta_tokens.errors import ConfigurationError
from tests.frames import shown_in_frames
from tests.keys import ec_key, jwk, pem

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
CLIENT = f"""\
okta:
  client:
    orgUrl: "https://acme.okta.com"
    clientId: 0oa1
    clientSecret: {SECRET}
"""
MADE = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current directory, which is also the home directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def written(text: str | bytes, mode: int = 0o600) -> str:
    """Write the file and return its path, which is relative."""
    path = Path("okta.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return str(path)


def with_fields(*fields: str) -> str:
    """Return the text of a file with other fields in place of the secret."""
    return "".join(
        [CLIENT.partition("    clientSecret")[0], *(f"    {field}\n" for field in fields)]
    )


def refusal(path: str | Path | None) -> str:
    """Return the message with which a file is refused; fail if it or a frame has the secret."""
    with pytest.raises(ConfigurationError) as caught:
        OktaClient.from_file(path)
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.value)
    assert shown_in_frames(caught.value, SECRET) == []
    return str(caught.value)


def test_a_file_makes_a_client(directory: Path) -> None:
    """Without a path it is the file of the home directory, otherwise any file."""
    (directory / ".okta").mkdir()
    (directory / written(CLIENT)).rename(directory / ".okta" / "okta.yaml")

    for path in (None, "~/.okta/okta.yaml", Path(".okta/okta.yaml"), directory / ".okta/okta.yaml"):
        assert OktaClient.from_file(path) == MADE


def test_a_file_of_the_current_directory_needs_its_path(directory: Path) -> None:
    """Without a path, no file of the current directory is read."""
    written(CLIENT)

    assert refusal(None) == (
        "OktaClient.from_file: the client cannot be read from ~/.okta/okta.yaml: no such file or "
        "directory; check the path"
    )


def test_the_environment_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client comes from the file alone: variables neither complete it nor contradict it."""
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", "0oa2")
    monkeypatch.setenv("OKTA_CLIENT_PRIVATEKEY", "x")

    assert OktaClient.from_file(written(CLIENT)) == MADE
    assert refusal(written(CLIENT.replace("clientId: 0oa1", ""))) == (
        "okta.yaml: okta.client.clientId: is empty; give the client id of your app"
    )


def test_every_field() -> None:
    """The fields mean what the variables mean, and those of the SDKs that mean nothing are left."""
    made = OktaClient.from_file(
        written(
            CLIENT
            + """\
    authorizationServer: org
    dpopEnabled: true
    authorizationMode: PrivateKey
    scopes: [okta.users.read]
    token: null
    rateLimit: {maxRetries: 4}
    requestTimeout: 0
"""
        )
    )

    assert made.authorization_server is None
    assert made.dpop is not None


def test_every_form_of_a_key() -> None:
    """A private key is a path, a block of text, a JWK as text, or a JWK in YAML."""
    text, key = pem(ec_key()).decode(), jwk(ec_key())
    Path("key.pem").write_text(text)
    block = text.replace("\n", "\n      ")
    members = "".join(f"\n      {name}: {value}" for name, value in key.items())

    for fields in (
        ["privateKey: key.pem", "kid: 12"],
        ["privateKeyFile: ./key.pem", "privateKeyId: '12'"],
    ):
        made = OktaClient.from_file(written(with_fields(*fields)))
        assert made.authentication == PrivateKeyJWT(Path(fields[0].split()[1]), kid="12")
    for value in (f"|\n      {block}", f"'{json.dumps(key)}'", f"{members}\n      key_ops: [sign]"):
        made = OktaClient.from_file(written(with_fields(f"privateKey: {value}")))
        assert made.authentication == PrivateKeyJWT(ec_key())


def test_a_text_is_taken_as_it_stands() -> None:
    """An id of digits is that text, and the line break at the end of a block is not part of it."""
    text = CLIENT.replace("0oa1", "0042").replace(SECRET, f"|\n      {SECRET}\n")

    made = OktaClient.from_file(written(text))

    assert made == OktaClient("acme.okta.com", "0042", ClientSecretBasic(SECRET))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# nothing", "has no fields below okta.client"),
        (f"- {SECRET}", "has no fields below okta.client"),
        ("okta:\n  client: x", "has no fields below okta.client"),
        (CLIENT.encode("utf-16"), "is not UTF-8; save it as UTF-8"),
        (CLIENT.replace("0oa1", "a: b"), "line 4, column 16: is not valid YAML; correct it"),
        (f"{CLIENT}\x07", "line 6, column 1: is not valid YAML; correct it"),
        (f"{CLIENT}---\na: b", "line 6, column 1: is not valid YAML; correct it"),
        (CLIENT.replace(SECRET, f"*{SECRET}"), "line 5, column 19: is not valid YAML; correct it"),
        (CLIENT.replace("0oa1", r'"\U7FFFFFFF"'), "is not valid YAML: its nesting or an escape"),
        ("[" * 60_000, "is not valid YAML: its nesting or an escape"),
        (f"{CLIENT}    clientId: 0oa2", "line 6, column 5: clientId is there twice; remove one"),
        (f"{CLIENT}  client: {{}}", "line 6, column 3: client is there twice; remove one"),
        (f"{CLIENT}    {SECRET}: 1\n    {SECRET}: 2", "line 7, column 5: the field is there twice"),
        (f"{CLIENT}    <<: {{}}", "line 6, column 5: the name of a field must be a text"),
    ],
    ids=[
        *("comments", "list", "no-mapping", "utf-16", "colon", "control", "two-documents", "alias"),
        *("escape", "deep", "twice", "twice-section", "twice-other", "merge"),
    ],
)
def test_a_file_that_is_no_client_is_named(text: str | bytes, problem: str) -> None:
    """The message names the file and the line, and repeats nothing of it."""
    assert refusal(written(text)).startswith(f"okta.yaml: {problem}")


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("clientId: [0oa1]", "is a list, a mapping or a value with a tag; write one text"),
        (
            f"clientId: !vault {SECRET}",
            "is a list, a mapping or a value with a tag; write one text",
        ),
        ("clientId: \"'0oa1'\"", "is in quotation marks, which are part of the value here; remove"),
        (f"clientSecret: ' {SECRET}'", "begins or ends with white space; remove it"),
        ("privateKey: no.pem", "the key cannot be read from no.pem: no such file or directory"),
        (
            "privateKey: {kty: EC}",
            "the key is a JWK without `d`, so a public key; give the private",
        ),
        ("dpopEnabled: yes", "must be true or false"),
    ],
)
def test_a_wrong_field_is_named(field: str, problem: str) -> None:
    """The message names the file and the field."""
    name = field.partition(":")[0]
    lines = CLIENT.splitlines(keepends=True)
    kept = [line for line in lines if f"{name}:" not in line and name != "privateKey"]
    text = "".join(kept or lines[:-1]) + f"    {field}\n"

    assert f"okta.yaml: okta.client.{name}: {problem}" in refusal(written(text))


def test_all_wrong_fields_are_listed() -> None:
    """One message lists every problem; a credential that is missing is one."""
    assert refusal(written("okta: {client: {clientId: '{clientId}'}}")) == (
        "okta.yaml: okta.client.orgUrl: is empty; give the Okta host, like acme.okta.com; "
        "okta.client.clientId: is a placeholder; replace it with the client id of your app; "
        "okta.client.clientSecret: is not set, and neither is okta.client.privateKey; set one of "
        "them"
    )


def test_a_file_that_cannot_be_read_is_named() -> None:
    """A missing file, a directory, an empty file and a path of a wrong type are named."""
    name = "OktaClient.from_file: "

    assert refusal("no.yaml") == (
        f"{name}the client cannot be read from no.yaml: no such file or directory; check the path"
    )
    assert refusal(Path()) == (
        f"{name}the client cannot be read from .: is a directory; check the path"
    )
    assert refusal(written("\n")) == (
        f"{name}the client is missing: okta.yaml is empty; check what writes the file"
    )
    assert refusal(5) == (  # type: ignore[arg-type]  # deliberately
        f"{name}path: must be a string or a pathlib.Path, or None for ~/.okta/okta.yaml"
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("clientid", "do you mean okta.client.clientId?"),
        ("client_secret", "do you mean okta.client.clientSecret?"),
        ("xyz", "remove it, or correct its name"),
    ],
)
def test_a_field_that_means_nothing_is_a_warning(name: str, advice: str) -> None:
    """The warning names the file, the field and the nearest name; its value stays away."""
    with pytest.warns(UserWarning, match=r"^okta\.yaml: ") as caught:
        OktaClient.from_file(written(f"{CLIENT}    {name}: {SECRET}"))

    assert [str(each.message) for each in caught] == [
        f"okta.yaml: okta.client.{name} is not a setting of a client; {advice}"
    ]
    assert caught[0].filename == __file__


def test_a_misspelt_field_is_named_before_the_error() -> None:
    """If a field is missing because it is misspelt, the warning comes, too."""
    with pytest.warns(UserWarning, match=r"do you mean okta\.client\.clientId\?"):
        refusal(written(CLIENT.replace("clientId", "clientID")))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_use_is_a_warning(mode: int) -> None:
    """Other users of the machine must not read the secret, or name another host for it."""
    with pytest.warns(UserWarning, match=r"^okta\.yaml: other users of this machine may read or"):
        assert OktaClient.from_file(written(CLIENT, mode)) == MADE


def test_a_file_that_is_all_right_is_no_warning() -> None:
    """Fields of the SDKs, long mixed names, and a file of one user are no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OktaClient.from_file(written(f"{CLIENT}    userAgent: x\n    {SECRET * 2}: x\n"))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML, the message names the extra."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "okta_tokens._model.okta_yaml", raising=False)

    assert refusal(written(CLIENT)) == (
        "OktaClient.from_file: needs the extra yaml: pip install 'okta-tokens[yaml]'"
    )


def test_only_code_allows_plain_http() -> None:
    """`allow_http` of `from_file` allows an `http://` domain, and no other value does."""
    file = written(CLIENT.replace("https://acme.okta.com", "http://okta.internal"))

    assert OktaClient.from_file(file, allow_http=True).origin == "http://okta.internal"
    with pytest.raises(ConfigurationError, match="orgUrl: plain http would send the secret"):
        OktaClient.from_file(file)
    with pytest.raises(ConfigurationError, match="allow_http: must be True or False"):
        OktaClient.from_file(file, allow_http="yes")  # type: ignore[arg-type]
