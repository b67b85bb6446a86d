"""The client: who asks which authorization server, and how it proves who it is."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
)
from okta_tokens.errors import ConfigurationError
from tests.keys import ec_key, jwk, pem, public_pem
from tests.runtime.test_redaction import frames_of, locals_with

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
CANARY = "canary4f9b2c7d8e1a6f3b"
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
BASIC = ClientSecretBasic(SECRET)

ENVIRONMENT = {
    "OKTA_CLIENT_ORGURL": "https://acme.okta.com",
    "OKTA_CLIENT_CLIENTID": "0oa1",
    "OKTA_CLIENT_SECRET": SECRET,
}

EMPTY = "is empty; give the Okta host, like acme.okta.com"
PLACEHOLDER = "is a placeholder; replace it with your Okta host"
WHITE_SPACE = "contains white space; remove it"
NO_HOST_PORT = "is not host[:port]; give the Okta host, like acme.okta.com"
SCHEME = "has a scheme other than https; use https"
CLEAR = (
    "plain http would send the secret in clear text; use https (http is for a server on this "
    "machine)"
)
USER = "contains a user name or password; remove it, and pass the credential as authentication"
PATH = "contains a path; give the host alone, and authorization_server separately"
QUERY = "contains a query or fragment; give the host alone"
NO_NAME = "is not a host name; write an international name in its xn-- form"
ADMIN = "is the host of the admin console; remove -admin"
TWICE = "ends in .com twice; remove one of them"


def client(domain: str = "acme.okta.com", server: str | None = "default") -> OktaClient:
    """Return a client of a domain."""
    return OktaClient(domain, "0oa1", BASIC, authorization_server=server)


def refusal(make: Callable[..., OktaClient], *args: object, **options: object) -> str:
    """Return the message with which a client is refused."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **options)
    return str(caught.value)


def made_or_refused(*args: object, **options: object) -> OktaClient | ConfigurationError:
    """Make a client of values of any type; return the error if it refuses them."""
    make: Callable[..., OktaClient] = OktaClient
    try:
        return make(*args, **options)
    except ConfigurationError as error:
        return error


def pickled(client: OktaClient) -> OktaClient:
    """Return what another process would get."""
    return cast("OktaClient", pickle.loads(pickle.dumps(client)))  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("domain", "origin"),
    [
        ("acme.okta.com", "https://acme.okta.com"),
        ("ACME.Okta.COM", "https://acme.okta.com"),
        ("https://acme.okta.com", "https://acme.okta.com"),
        ("HTTPS://acme.okta.com/", "https://acme.okta.com"),
        ("acme.okta.com/", "https://acme.okta.com"),
        ("acme.okta.com:443", "https://acme.okta.com"),
        ("acme.okta.com:8443", "https://acme.okta.com:8443"),
        ("acme.okta.com:80", "https://acme.okta.com:80"),
        ("login.example.com", "https://login.example.com"),
        ("my-administration.example.com", "https://my-administration.example.com"),
        ("portal-admin.example.com", "https://portal-admin.example.com"),
        ("acmeadmin.okta.com", "https://acmeadmin.okta.com"),
        ("somethingecom.com", "https://somethingecom.com"),
        ("acme.okta-emea.com", "https://acme.okta-emea.com"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("okta", "https://okta"),
        ("a." * 122 + "a.example", "https://" + "a." * 122 + "a.example"),
        ("192.0.2.7", "https://192.0.2.7"),
        ("[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://okta.localhost", "http://okta.localhost"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("http://127.8.9.10:443", "http://127.8.9.10:443"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_domains(domain: str, origin: str) -> None:
    """Scheme, upper case, a trailing slash and the scheme's own port do not make another domain."""
    made = client(domain)

    assert made.origin == origin
    assert made.domain == origin.partition("://")[2]
    assert made == client(origin)


@pytest.mark.parametrize(
    ("domain", "problems"),
    [
        ("", [EMPTY]),
        (" \t\n", [EMPTY]),
        (None, [EMPTY]),
        (b"acme.okta.com", [EMPTY]),
        ("{yourOktaDomain}", [PLACEHOLDER]),
        ("https://{yourOktaDomain}/oauth2", [PLACEHOLDER]),
        ("<org>.okta.com", [PLACEHOLDER]),
        ("$OKTA_DOMAIN", [PLACEHOLDER]),
        ("your-okta-domain.okta.com", [PLACEHOLDER]),
        ("YOUROKTADOMAIN.okta.com", [PLACEHOLDER]),
        (" acme.okta.com", [WHITE_SPACE]),
        ("acme.okta.com\n", [WHITE_SPACE]),
        ("acme\u00a0.okta.com", [WHITE_SPACE]),
        ("acme.okta.com:https", [NO_HOST_PORT]),
        ("acme.okta.com:65536", [NO_HOST_PORT]),
        ("acme.okta.com:-1", [NO_HOST_PORT]),
        ("https://[::1", [NO_HOST_PORT]),
        ("https://[nonsense]", [NO_HOST_PORT]),
        ("https://https://acme.okta.com", [NO_HOST_PORT]),
        ("acme.okta.com:", [NO_HOST_PORT]),
        ("https://[::1]:/", [NO_HOST_PORT]),
        ("[::1].okta.com", [NO_HOST_PORT]),
        ("acme[::1]", [NO_HOST_PORT]),
        ("[v1.a]", [NO_HOST_PORT]),
        ("[192.0.2.7]", [NO_HOST_PORT]),
        ("acme.okta.com:+443", [NO_HOST_PORT]),
        ("acme.okta.com:4_43", [NO_HOST_PORT]),
        ("ftp://acme.okta.com", [SCHEME]),
        ("httpsfoo://acme.okta.com", [SCHEME]),
        ("://acme.okta.com", [SCHEME, PATH, NO_NAME]),
        ("http://acme.okta.com", [CLEAR]),
        ("http://localhost.example.com", [CLEAR]),
        ("http://notlocalhost", [CLEAR]),
        ("http://192.168.0.1", [CLEAR]),
        ("http://0.0.0.0", [CLEAR]),
        ("http://127.0.0.1.example.com", [CLEAR]),
        ("http://[::2]", [CLEAR]),
        ("user:password@acme.okta.com", [USER]),
        ("https://user@acme.okta.com", [USER]),
        ("https://@acme.okta.com", [USER]),
        ("http://127.0.0.1@acme.okta.com", [CLEAR, USER]),
        ("https://acme.okta.com\\@evil.example", [USER]),
        ("acme.okta.com/oauth2/default", [PATH]),
        ("acme.okta.com//", [PATH]),
        ("https://acme.okta.com/oauth2/v1/token", [PATH]),
        ("acme.okta.com?client_id=0oa1", [QUERY]),
        ("acme.okta.com/#top", [QUERY]),
        ("acme.okta.com?", [QUERY]),
        ("https://", [NO_NAME]),
        ("-acme.okta.com", [NO_NAME]),
        ("acme-.okta.com", [NO_NAME]),
        ("acme..okta.com", [NO_NAME]),
        (".okta.com", [NO_NAME]),
        ("acme_1.okta.com", [NO_NAME]),
        ("b\u00fccher.example", [NO_NAME]),
        ("acme.okta.com\x00", [NO_NAME]),
        ("acme%2eokta.com", [NO_NAME]),
        ("a" * 64 + ".okta.com", [NO_NAME]),
        ("a." * 123 + "okta.com", [NO_NAME]),
        ("acme-admin.okta.com", [ADMIN]),
        ("https://ACME-ADMIN.oktapreview.com/", [ADMIN]),
        ("acme-admin.okta.mil", [ADMIN]),
        ("acme.okta.com.com", [TWICE]),
        ("ftp://user@acme-admin.okta.com.com/a?b", [SCHEME, USER, PATH, QUERY, TWICE]),
    ],
    ids=ascii,
)
def test_bad_domains(domain: object, problems: list[str]) -> None:
    """What cannot be an Okta host is refused, with everything that is wrong with it."""
    expected = "; ".join(f"domain: {problem}" for problem in problems)

    assert refusal(OktaClient, domain, "0oa1", BASIC) == f"OktaClient: {expected}"


@pytest.mark.parametrize(
    "base",
    [
        "okta.com",
        "oktapreview.com",
        "okta-emea.com",
        "okta-gov.com",
        "okta.mil",
        "okta-miltest.com",
        "trex-govcloud.com",
    ],
)
def test_admin_hosts(base: str) -> None:
    """The admin console's host is refused below each of Okta's own domains."""
    message = refusal(OktaClient, f"acme-admin.{base}", "0oa1", BASIC)

    assert message == f"OktaClient: domain: {ADMIN}"


SERVER = "must be an id such as default or aus…, or None for the org authorization server"
CLIENT_ID_EMPTY = "is empty; give the client id of your app"
CLIENT_ID_PLACEHOLDER = "is a placeholder; replace it with the client id of your app"
CLIENT_ID_CHARACTERS = "must be printable ASCII without spaces and colons; copy it from your app"


@pytest.mark.parametrize(
    ("client_id", "problem"),
    [
        ("", CLIENT_ID_EMPTY),
        (" \n", CLIENT_ID_EMPTY),
        (None, CLIENT_ID_EMPTY),
        (7, CLIENT_ID_EMPTY),
        ("{clientId}", CLIENT_ID_PLACEHOLDER),
        ("<client id>", CLIENT_ID_PLACEHOLDER),
        ("0oa 1", CLIENT_ID_CHARACTERS),
        ("0oa1\n", CLIENT_ID_CHARACTERS),
        ("0oa1:secret", CLIENT_ID_CHARACTERS),
        ("0oa\u00e9", CLIENT_ID_CHARACTERS),
        ("0oa\x7f", CLIENT_ID_CHARACTERS),
    ],
    ids=ascii,
)
def test_bad_client_ids(client_id: object, problem: str) -> None:
    """A client id is printable ASCII without what HTTP Basic would trip over."""
    message = refusal(OktaClient, "acme.okta.com", client_id, BASIC)

    assert message == f"OktaClient: client_id: {problem}"


@pytest.mark.parametrize(
    "server",
    ["", " ", "a/b", "../admin", "aus1?x", "{authorizationServerId}", "caf\u00e9", "aus1\n", 5],
    ids=ascii,
)
def test_bad_authorization_servers(server: object) -> None:
    """An authorization server's id cannot change the path or the query of the URL."""
    message = refusal(OktaClient, "acme.okta.com", "0oa1", BASIC, authorization_server=server)

    assert message == f"OktaClient: authorization_server: {SERVER}"


@pytest.mark.parametrize("method", [None, SECRET, ("0oa1", SECRET)], ids=["none", "str", "tuple"])
def test_bad_authentication(method: object) -> None:
    """The authentication is a method; a bare secret is refused and not repeated."""
    message = refusal(OktaClient, "acme.okta.com", "0oa1", method)

    assert message == (
        "OktaClient: authentication: must be ClientSecretBasic(…), ClientSecretPost(…), "
        "ClientSecretJWT(…) or PrivateKeyJWT(…)"
    )


def test_all_problems_in_one_message() -> None:
    """One message lists everything that is wrong with a client."""
    message = refusal(OktaClient, "http://acme.okta.com/", "", SECRET, authorization_server="a/b")

    assert [
        part.partition(":")[0] for part in message.removeprefix("OktaClient: ").split("; ")
    ] == [
        "domain",
        "use https (http is for a server on this machine)",
        "client_id",
        "give the client id of your app",
        "authentication",
        "authorization_server",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((f"https://me:{SECRET}@acme.okta.com", "0oa1", BASIC), id="domain"),
        pytest.param((f"https://acme.okta.com/?{SECRET}", "0oa1", BASIC), id="query"),
        pytest.param(("acme.okta.com", f"0oa1:{SECRET}", BASIC), id="client_id"),
        pytest.param(("acme.okta.com", "0oa1", SECRET), id="authentication"),
    ],
)
def test_no_secret_is_left_behind(arguments: tuple[object, ...]) -> None:
    """A secret in the wrong place is in neither the message nor the frames of the refusal."""
    make: Callable[..., OktaClient] = OktaClient
    with pytest.raises(ConfigurationError) as caught:
        make(*arguments)

    error = caught.value

    assert SECRET not in f"{error} {error!r}"
    assert len(list(frames_of(error))) == 2
    assert locals_with(error, SECRET) == []


@QUICK
@given(
    st.text(max_size=8),
    st.sampled_from(["", "https://", "http://", "ftp://", "https://u:", "acme.okta.com/", "["]),
    st.text(":/?#@[]{}%\\-. \n\x00\u00e9", max_size=8),
    st.sampled_from([CANARY, CANARY.upper()]),
)
def test_a_domain_is_made_or_refused(head: str, scheme: str, tail: str, canary: str) -> None:
    """Any domain makes a client of just that host, or a ConfigurationError that repeats nothing."""
    made = made_or_refused(f"{scheme}{head}{canary}{tail}", "0oa1", BASIC)

    if isinstance(made, ConfigurationError):
        assert CANARY not in str(made).lower()
        assert locals_with(made, canary) == []
    else:
        url = urlsplit(made.token_url)
        assert url.path == "/oauth2/default/v1/token"
        assert (url.username, url.query, url.fragment) == (None, "", "")
        assert url.hostname is not None
        assert CANARY in url.hostname
        assert url.scheme == "https"


@QUICK
@given(st.text(max_size=8), st.text(max_size=8))
def test_a_client_id_is_kept_or_refused(head: str, tail: str) -> None:
    """Any client id is kept as it is, or refused without being repeated."""
    client_id = f"{head}{CANARY}{tail}"
    made = made_or_refused("acme.okta.com", client_id, BASIC)

    if isinstance(made, ConfigurationError):
        assert CANARY not in str(made)
        assert locals_with(made, CANARY) == []
    else:
        assert made.client_id == client_id
        assert client_id.isascii()
        assert client_id.isprintable()
        assert ":" not in client_id


@QUICK
@given(st.text(max_size=8), st.text(max_size=8))
def test_a_server_is_kept_or_refused(head: str, tail: str) -> None:
    """Any server's id is one segment of the path, or refused without being repeated."""
    server = f"{head}{CANARY}{tail}"
    made = made_or_refused("acme.okta.com", "0oa1", BASIC, authorization_server=server)

    if isinstance(made, ConfigurationError):
        assert CANARY not in str(made)
        assert locals_with(made, CANARY) == []
    else:
        assert urlsplit(made.token_url).path == f"/oauth2/{server}/v1/token"
        assert server.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("default", "https://acme.okta.com:8443/oauth2/default/v1/token"),
        ("aus_1-B", "https://acme.okta.com:8443/oauth2/aus_1-B/v1/token"),
        (None, "https://acme.okta.com:8443/oauth2/v1/token"),
    ],
)
def test_token_url(server: str | None, url: str) -> None:
    """The token URL follows from domain and authorization server, without a double slash."""
    assert client("https://acme.okta.com:8443/", server).token_url == url


def test_the_default_server() -> None:
    """Without an authorization server the custom one called default is meant."""
    assert OktaClient("acme.okta.com", "0oa1", BASIC).authorization_server == "default"


def test_equality() -> None:
    """Two clients are equal, and have one hash, if they ask the same server as the same client."""
    same = OktaClient("https://ACME.okta.com/", "0oa1", ClientSecretBasic(SECRET))

    assert client() == client()
    assert client() == same
    assert hash(client()) == hash(same)
    assert len({client(), same}) == 1


@pytest.mark.parametrize(
    "other",
    [
        client("acme.oktapreview.com"),
        client("acme.okta.com:8443"),
        client(server=None),
        client(server="aus1"),
        OktaClient("acme.okta.com", "0oa2", BASIC),
        OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("another")),
        OktaClient("acme.okta.com", "0oa1", ClientSecretPost(SECRET)),
    ],
    ids=repr,
)
def test_inequality(other: OktaClient) -> None:
    """Whatever changes which token comes back, or who may have it, makes another client."""
    assert client() != other
    assert {client(): "mine"}.get(other) is None

    collided = copy.copy(other)
    object.__setattr__(collided, "_hash", hash(client()))

    assert client() != collided


def test_schemes_are_domains_apart() -> None:
    """Plain http and https of one host are two clients."""
    assert client("http://localhost:8080") != client("https://localhost:8080")


def test_equality_with_a_shared_hash() -> None:
    """Two clients whose hashes collide are compared field by field."""

    class Method:
        """A method that is hashable and equal to none."""

        def __init__(self, digest: int) -> None:
            self.digest = digest

        def __hash__(self) -> int:
            """Return what the test says."""
            return self.digest

        def __eq__(self, other: object) -> bool:
            """Compare by identity."""
            return self is other

        async def __call__(self, request: object, /) -> None:
            """Do nothing."""

    one, other = (OktaClient("acme.okta.com", "0oa1", Method(7)) for _ in range(2))

    assert hash(one) == hash(other)
    assert one != other


def test_a_client_equals_no_other_type() -> None:
    """A client is equal to clients alone."""
    assert client().__eq__("acme.okta.com") is NotImplemented
    assert client() != "acme.okta.com"


@pytest.mark.parametrize("name", ["domain", "client_id", "authentication", "anything"])
def test_immutable(name: str) -> None:
    """A client cannot be changed: it is part of the cache's keys."""
    made = client()

    with pytest.raises(AttributeError, match="OktaClient is immutable; make another one"):
        setattr(made, name, "x")
    with pytest.raises(AttributeError, match="OktaClient is immutable"):
        delattr(made, name)

    assert made == client()


def test_repr() -> None:
    """The repr is the call that makes the client, without its secret."""
    assert repr(client("ACME.okta.com", None)) == (
        "OktaClient('https://acme.okta.com', '0oa1', ClientSecretBasic(<secret>), "
        "authorization_server=None)"
    )


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_copies(again: Callable[[OktaClient], OktaClient]) -> None:
    """A copy of a client, also one that was pickled, is equal and found in the cache."""
    for made in (client("acme.okta.com:8443", "aus1"), client("http://localhost:80", None)):
        twin = again(made)

        assert twin == made
        assert hash(twin) == hash(made)
        assert twin.token_url == made.token_url


def test_environment() -> None:
    """A client is made of Okta's own variables, by HTTP Basic and the default server."""
    made = OktaClient.from_env(ENVIRONMENT)

    assert made == OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))


@pytest.mark.parametrize(
    ("variable", "server"),
    [("", "default"), ("default", "default"), ("aus1", "aus1"), ("org", None)],
)
def test_environment_server(variable: str, server: str | None) -> None:
    """The server of the environment is a custom one, the default, or the org's own."""
    environ = {**ENVIRONMENT, "OKTA_CLIENT_AUTHORIZATIONSERVER": variable}

    assert OktaClient.from_env(environ).authorization_server == server


def test_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the variables of the process are read."""
    monkeypatch.delenv("OKTA_CLIENT_AUTHORIZATIONSERVER", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    assert OktaClient.from_env() == OktaClient.from_env(ENVIRONMENT)


def test_an_empty_mapping_is_not_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty mapping is an empty environment: one message names all that is missing."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    assert refusal(OktaClient.from_env, {}) == (
        f"environment: OKTA_CLIENT_ORGURL: {EMPTY}; OKTA_CLIENT_CLIENTID: {CLIENT_ID_EMPTY}; "
        "OKTA_CLIENT_SECRET: is not set, and neither is OKTA_CLIENT_PRIVATEKEY; set one of them"
    )


def with_key(key: str, **more: str) -> dict[str, str]:
    """Return an environment with a private key in place of the secret."""
    return {**ENVIRONMENT, "OKTA_CLIENT_SECRET": "", "OKTA_CLIENT_PRIVATEKEY": key, **more}


def test_environment_with_a_key(tmp_path: Path) -> None:
    """The private key is PEM, also in one line, a JWK, or a file of one; its id travels too."""
    text = pem(ec_key()).decode()
    path = tmp_path / "key.pem"
    path.write_text(text)
    for key in (text, text.replace("\n", "\\n"), json.dumps(jwk(ec_key())), f"  {text}"):
        made = OktaClient.from_env(with_key(key))
        assert made.authentication == PrivateKeyJWT(ec_key())

    by_path = OktaClient.from_env(with_key(str(path), OKTA_CLIENT_PRIVATEKEYID="k1"))
    assert by_path.authentication == PrivateKeyJWT(path, kid="k1")


@pytest.mark.parametrize(
    ("variable", "bound"),
    [("", False), ("false", False), ("False", False), ("true", True), ("TRUE", True)],
)
def test_environment_with_proofs(variable: str, *, bound: bool) -> None:
    """DPoP is asked for if its variable is true, with a new key each time."""
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
                "OKTA_CLIENT_PRIVATEKEY: the key is empty, or its file cannot be read; check the "
                "path and the permissions of the file"
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
    """A key that cannot be used is refused by its variable's name, and not left behind."""
    with pytest.raises(ConfigurationError) as caught:
        OktaClient.from_env(change)

    assert str(caught.value) == f"environment: {message}"
    assert locals_with(caught.value, "BEGIN") == []


@pytest.mark.parametrize("dpop", [True, "ES256", DPoP], ids=["true", "text", "class"])
def test_bad_dpop(dpop: object) -> None:
    """Proofs are asked for by an object that has the key."""
    message = refusal(OktaClient, "acme.okta.com", "0oa1", BASIC, dpop=dpop)

    assert message == "OktaClient: dpop: must be DPoP(…) or None"


def test_a_client_with_proofs() -> None:
    """The key for proofs is a part of the client: of its equality, its repr and its copies."""
    dpop = DPoP(ec_key())
    made = OktaClient("acme.okta.com", "0oa1", BASIC, dpop=dpop)

    assert made == OktaClient("acme.okta.com", "0oa1", BASIC, dpop=DPoP(ec_key()))
    assert made != client()
    assert made != OktaClient("acme.okta.com", "0oa1", BASIC, dpop=DPoP())
    assert repr(made).endswith(f", dpop={dpop!r})")
    assert pickled(made) == copy.deepcopy(made) == made


def test_the_urls_of_an_authorization_server() -> None:
    """The revocation endpoint stands beside the token endpoint."""
    assert client().revocation_url == "https://acme.okta.com/oauth2/default/v1/revoke"
    assert client(server=None).revocation_url == "https://acme.okta.com/oauth2/v1/revoke"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"OKTA_CLIENT_ORGURL": "ftp://acme.okta.com"}, f"OKTA_CLIENT_ORGURL: {SCHEME}"),
        ({"OKTA_CLIENT_CLIENTID": "{clientId}"}, f"OKTA_CLIENT_CLIENTID: {CLIENT_ID_PLACEHOLDER}"),
        (
            {"OKTA_CLIENT_SECRET": "${SECRET}"},
            "OKTA_CLIENT_SECRET: is a placeholder; replace it with the client secret of your app",
        ),
        (
            {"OKTA_CLIENT_AUTHORIZATIONSERVER": "a/b"},
            f"OKTA_CLIENT_AUTHORIZATIONSERVER: {SERVER.replace('None', 'org')}",
        ),
    ],
    ids=["domain", "client-id", "secret", "server"],
)
def test_bad_environments(change: dict[str, str], message: str) -> None:
    """A variable that cannot be right is refused by its name."""
    assert refusal(OktaClient.from_env, {**ENVIRONMENT, **change}) == f"environment: {message}"


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
def test_no_secret_of_the_environment_is_left_behind(change: dict[str, str]) -> None:
    """A refused environment leaves its secret in neither the message nor the frames."""
    with pytest.raises(ConfigurationError) as caught:
        OktaClient.from_env({**ENVIRONMENT, **change})

    error = caught.value

    assert SECRET not in str(error)
    assert len(list(frames_of(error))) == 2
    assert locals_with(error, SECRET) == []


@pytest.mark.parametrize(
    "domain", ["acme.okta.com:0", "http://[::1%evil.example]", "acme.o\u212ata.com"]
)
def test_domains_that_only_look_right(domain: str) -> None:
    """Port 0, an address with a zone, and a letter that merely folds into another are refused."""
    with pytest.raises(ConfigurationError, match="domain"):
        OktaClient(domain, "0oa1", BASIC)


class Unhashable:
    """A method of authentication that forgot what the protocol asks for."""

    __hash__ = None  # type: ignore[assignment]  # deliberately

    async def __call__(self, request: object, /) -> None:
        """Add nothing."""


@pytest.mark.parametrize("method", [Unhashable(), ClientSecretBasic])
def test_methods_that_only_look_right(method: ClientAuthentication) -> None:
    """A class, and an object that cannot be part of a key, are no method of authentication."""
    with pytest.raises(ConfigurationError, match="authentication"):
        OktaClient("acme.okta.com", "0oa1", method)


def test_a_client_id_may_hold_a_dollar_sign() -> None:
    """What is no placeholder is not taken for one."""
    assert OktaClient("acme.okta.com", "app$1", BASIC).client_id == "app$1"


def test_the_frame_of_a_refused_change_is_clean() -> None:
    """Whoever assigns a secret to a client does not find it in the traceback."""
    client = OktaClient("acme.okta.com", "0oa1", BASIC)
    with pytest.raises(AttributeError) as caught:
        setattr(client, "authentication", SECRET)  # noqa: B010 - mypy knows that it is refused

    assert locals_with(caught.value, SECRET) == []
