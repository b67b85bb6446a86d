"""The client: which values are valid, and which of them make another client."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any
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
    TokenKey,
)
from okta_tokens.errors import ConfigurationError
from tests.keys import ec_key
from tests.runtime.test_redaction import frames_of, locals_with

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
CANARY = "canary4f9b2c7d8e1a6f3b"
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
BASIC = ClientSecretBasic(SECRET)
CLEAR_TEXT = (
    "plain http would send the secret in clear text; use https (http is for a server on this "
    "machine), or, in code, pass allow_http=True for a service mesh or a container's sandbox"
)


def client(
    domain: str = "acme.okta.com",
    server: str | None = "default",
    **options: Any,  # noqa: ANN401 - invalid values, too
) -> OktaClient:
    """Return a client of a domain."""
    return OktaClient(domain, "0oa1", BASIC, authorization_server=server, **options)


def refusal(make: Callable[..., OktaClient], *args: object, **options: object) -> str:
    """Return the message with which a client is refused."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **options)
    return str(caught.value)


def made_or_refused(*args: object, **options: object) -> OktaClient | ConfigurationError:
    """Make a client of values of any type; return the error if the values are invalid."""
    make: Callable[..., OktaClient] = OktaClient
    try:
        return make(*args, **options)
    except ConfigurationError as error:
        return error


SERVER = "must be an id such as default or aus…, or None for the org authorization server"
CLIENT_ID_EMPTY = "is empty; give the client id of your app"
CLIENT_ID_PLACEHOLDER = "is a placeholder; replace it with the client id of your app"
CLIENT_ID_CHARACTERS = "must be printable ASCII without spaces and colons; copy it from your app"


@pytest.mark.parametrize(
    ("problem", "client_ids"),
    [
        (CLIENT_ID_EMPTY, ["", " \n", None, 7]),
        (CLIENT_ID_PLACEHOLDER, ["{clientId}", "<client id>"]),
        (CLIENT_ID_CHARACTERS, ["0oa 1", "0oa1\n", "0oa1:secret", "0oa\u00e9", "0oa\x7f"]),
    ],
    ids=["empty", "placeholder", "characters"],
)
def test_bad_client_ids(problem: str, client_ids: list[object]) -> None:
    """A client id is printable ASCII without the characters that HTTP Basic cannot send."""
    for client_id in client_ids:
        message = refusal(OktaClient, "acme.okta.com", client_id, BASIC)

        assert message == f"OktaClient: client_id: {problem}"


def test_bad_authorization_servers() -> None:
    """The id of an authorization server cannot change the path or the query of the URL."""
    for server in ("", " ", "a/b", "../admin", "aus1?x", "{serverId}", "caf\u00e9", "aus1\n", 5):
        message = refusal(OktaClient, "acme.okta.com", "0oa1", BASIC, authorization_server=server)

        assert message == f"OktaClient: authorization_server: {SERVER}"


def test_bad_authentication() -> None:
    """The authentication is a method; a bare secret is refused and not repeated."""
    for method in (None, SECRET, ("0oa1", SECRET)):
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
        CLEAR_TEXT.partition("; ")[2],
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
def test_no_secret_leaks(arguments: tuple[object, ...]) -> None:
    """Neither the message nor a frame of the error contains a secret in the wrong argument."""
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
    """Any text makes a client of exactly that host, or an error that does not repeat it."""
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
    """Any text is kept as the client id, or makes an error that does not repeat it."""
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
    """Any text is one segment of the path, or makes an error that does not repeat it."""
    server = f"{head}{CANARY}{tail}"
    made = made_or_refused("acme.okta.com", "0oa1", BASIC, authorization_server=server)

    if isinstance(made, ConfigurationError):
        assert CANARY not in str(made)
        assert locals_with(made, CANARY) == []
    else:
        assert urlsplit(made.token_url).path == f"/oauth2/{server}/v1/token"
        assert server.replace("-", "").replace("_", "").isalnum()


def test_token_url() -> None:
    """The token URL consists of domain and authorization server, without a double slash."""
    for server, path in (("default", "/default"), ("aus_1-B", "/aus_1-B"), (None, "")):
        made = client("https://ACME.okta.com:8443/", server)

        assert made.token_url == f"https://acme.okta.com:8443/oauth2{path}/v1/token"
        assert (made.origin, made.domain) == ("https://acme.okta.com:8443", "acme.okta.com:8443")


def test_the_default_server() -> None:
    """The default authorization server is the custom one with the id `default`."""
    assert OktaClient("acme.okta.com", "0oa1", BASIC).authorization_server == "default"


def test_equality() -> None:
    """Two clients with the same identity are equal and have the same hash."""
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
    """Each value that decides which token Okta issues makes another client."""
    assert client() != other
    assert {client(): "mine"}.get(other) is None

    collided = copy.copy(other)
    object.__setattr__(collided, "_hash", hash(client()))

    assert client() != collided


def test_schemes_are_domains_apart() -> None:
    """Plain http and https to one host are two clients."""
    assert client("http://localhost:8080") != client("https://localhost:8080")


def test_plain_http_to_another_machine_has_to_be_allowed() -> None:
    """With `allow_http` the domain may be plain http; for any other domain it changes nothing."""
    here, secure = client("http://localhost:1"), client("https://acme.internal:1")
    allowed = client("http://acme.internal:1", allow_http=True)

    assert refusal(client, "http://acme.internal:1") == f"OktaClient: domain: {CLEAR_TEXT}"
    assert allowed.token_url == "http://acme.internal:1/oauth2/default/v1/token"
    assert [each.allow_http for each in (here, secure, allowed)] == [False, False, True]
    assert client("http://localhost:1", allow_http=True) == here
    assert client("acme.internal:1", allow_http=True) == secure
    assert repr(allowed).endswith(", allow_http=True)")
    assert "allow_http" not in repr(secure)


def test_only_true_allows_plain_http() -> None:
    """A value that is only true in a condition, such as a text of the environment, is refused."""
    for flag in ("false", 1, None):
        message = refusal(client, "http://acme.internal", allow_http=flag)
        assert "plain http would send" in message
        assert message.endswith("allow_http: must be True or False")


def test_a_pickled_key_may_have_a_plain_http_domain() -> None:
    """The key of a client with `allow_http` can be pickled."""
    key = TokenKey(client("http://acme.internal", allow_http=True), frozenset({"a"}))

    twin = pickle.loads(pickle.dumps(key))  # noqa: S301 - our own bytes

    assert twin.client.allow_http
    assert repr(twin) == repr(key)


def test_equality_with_a_shared_hash() -> None:
    """Two clients whose hashes collide are compared by their values."""

    class Method:
        """A method that is hashable and equal only to itself."""

        def __init__(self, digest: int) -> None:
            self.digest = digest

        def __hash__(self) -> int:
            """Return the hash that the test chose."""
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
    """A client is not equal to any other type."""
    assert client().__eq__("acme.okta.com") is NotImplemented
    assert client() != "acme.okta.com"


def test_immutable() -> None:
    """A client cannot be changed, because it is part of the cache's keys."""
    made = client()
    for name in ("domain", "client_id", "authentication", "anything"):
        with pytest.raises(AttributeError, match="OktaClient is immutable; make another one"):
            setattr(made, name, "x")
        with pytest.raises(AttributeError, match="OktaClient is immutable; make another one"):
            delattr(made, name)

    assert made == client()


def test_repr() -> None:
    """The repr is the call that makes an equal client, without its secret."""
    assert repr(client("ACME.okta.com", None)) == (
        "OktaClient('https://acme.okta.com', '0oa1', ClientSecretBasic(<secret>), "
        "authorization_server=None)"
    )


def test_copies() -> None:
    """A copy of a client is the client itself, since it is immutable."""
    made = client()

    assert copy.copy(made) is copy.deepcopy([made])[0] is made


def test_bad_dpop() -> None:
    """`dpop` takes an instance of `DPoP` only."""
    for dpop in (True, "ES256", DPoP):
        message = refusal(OktaClient, "acme.okta.com", "0oa1", BASIC, dpop=dpop)

        assert message == "OktaClient: dpop: must be DPoP(…) or None"


def test_a_client_with_dpop() -> None:
    """The DPoP key is part of the client's equality, repr and copies."""
    dpop = DPoP(ec_key())
    made = OktaClient("acme.okta.com", "0oa1", BASIC, dpop=dpop)

    assert made == OktaClient("acme.okta.com", "0oa1", BASIC, dpop=DPoP(ec_key()))
    assert made != client()
    assert made != OktaClient("acme.okta.com", "0oa1", BASIC, dpop=DPoP())
    assert repr(made).endswith(f", dpop={dpop!r})")


def test_the_urls_of_an_authorization_server() -> None:
    """The revocation endpoint belongs to the same authorization server as the token endpoint."""
    assert client().revocation_url == "https://acme.okta.com/oauth2/default/v1/revoke"
    assert client(server=None).revocation_url == "https://acme.okta.com/oauth2/v1/revoke"


class Unhashable:
    """A method of authentication that is not hashable."""

    __hash__ = None  # type: ignore[assignment]  # deliberately

    async def __call__(self, request: object, /) -> None:
        """Add nothing."""


@pytest.mark.parametrize("method", [Unhashable(), ClientSecretBasic])
def test_methods_that_only_look_right(method: ClientAuthentication) -> None:
    """A class and an object that is not hashable are refused as authentication."""
    with pytest.raises(ConfigurationError, match="authentication"):
        OktaClient("acme.okta.com", "0oa1", method)


def test_a_client_id_may_contain_a_dollar_sign() -> None:
    """A dollar sign alone does not make a client id a placeholder."""
    assert OktaClient("acme.okta.com", "app$1", BASIC).client_id == "app$1"


def test_the_frame_of_a_refused_change_is_clean() -> None:
    """No frame of the error contains a secret that was assigned to a client."""
    client = OktaClient("acme.okta.com", "0oa1", BASIC)
    with pytest.raises(AttributeError) as caught:
        setattr(client, "authentication", SECRET)  # noqa: B010 - mypy knows that it is refused

    assert locals_with(caught.value, SECRET) == []
