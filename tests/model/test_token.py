"""The access token and its key."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens import AccessToken, ClientSecretBasic, DPoP, OktaClient, TokenKey
from okta_tokens._model.token_key import token_key
from okta_tokens._runtime.clock import current_instant
from okta_tokens.errors import ConfigurationError, CredentialError
from tests.clock import ManualClock

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
VALUE = "Canary-Token-7d8e1a6f3b5c0d4f9b2c"


def new_key(
    *scopes: str, domain: str = "acme.okta.com", client_id: str = "0oa1", secret: str = SECRET
) -> TokenKey:
    """Return a key."""
    client = OktaClient(domain, client_id, ClientSecretBasic(secret))
    return TokenKey(client, frozenset(scopes))


def new_token(
    clock: ManualClock, lifetime: float = 3_600.0, leeway: float = 5.0, value: str = VALUE
) -> AccessToken:
    """Return a token whose lifetime begins now."""
    expiry = current_instant(clock).later(lifetime)
    return AccessToken(
        value=value,
        token_type="Bearer",
        scope="a",
        key=new_key("a"),
        expiry=expiry,
        leeway=leeway,
        clock=clock,
    )


def test_equal_keys() -> None:
    """Keys with equal clients and the same scopes are equal and have the same hash."""
    assert new_key("a", "b") == new_key("b", "a")
    assert hash(new_key("a", "b")) == hash(new_key("b", "a"))
    assert {new_key("a"): "held"}[new_key("a")] == "held"


@pytest.mark.parametrize(
    "other",
    [
        new_key(),
        new_key("a", "b"),
        new_key("a", domain="acme.oktapreview.com"),
        new_key("a", client_id="0oa2"),
        new_key("a", secret="another"),
    ],
    ids=["no-scopes", "more-scopes", "domain", "client_id", "secret"],
)
def test_different_keys(other: TokenKey) -> None:
    """Each value that decides which token Okta issues makes another key."""
    assert new_key("a") != other
    assert {new_key("a"): "held"}.get(other) is None


def test_a_key_has_the_values_of_its_client() -> None:
    """A key has the domain, the client id and the authorization server of its client."""
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))
    org = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET), authorization_server=None)
    key = TokenKey(client, frozenset({"a"}))

    assert (key.domain, key.client_id) == ("acme.okta.com", "0oa1")
    assert key.authorization_server == "default"
    assert TokenKey(org, frozenset()).authorization_server is None


def test_a_key_shows_no_secret() -> None:
    """The repr of a key contains the client without its secret."""
    key = new_key("a")

    assert repr(key) == f"TokenKey(client={key.client!r}, scopes=frozenset({{'a'}}))"
    assert SECRET not in repr(key)


def test_copies_of_keys() -> None:
    """A copy of a key is the key itself, since it is immutable."""
    key = new_key("a")

    assert copy.copy(key) is copy.deepcopy([key])[0] is key


async def test_a_pickled_key_has_no_credential() -> None:
    """A pickled key describes its token as before, but its client cannot get one."""
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET), dpop=DPoP())
    key = TokenKey(client, frozenset({"a"}))
    stream = pickle.dumps(key)
    unpickled = pickle.loads(stream)  # noqa: S301 - our own bytes

    assert SECRET.encode() not in stream
    assert (str(unpickled), repr(unpickled)) == (str(key), repr(key))
    assert (unpickled.domain, unpickled.token_type) == ("acme.okta.com", "DPoP")
    assert unpickled == pickle.loads(pickle.dumps(unpickled))  # noqa: S301 - our own bytes
    assert unpickled != key
    for use in (unpickled.client.authentication, unpickled.client.dpop.prove):
        with pytest.raises(CredentialError, match="make the OktaClient in the process"):
            await use(None)


def test_a_key_is_made_of_any_spelling() -> None:
    """All spellings of the same scopes make equal keys."""
    client = new_key().client

    assert token_key(client, "b a") == token_key(client, ["a", "b", "a"]) == new_key("a", "b")
    assert token_key(client, ()) == new_key()


def test_a_key_needs_a_client() -> None:
    """Another value than a client is refused by its type and not repeated."""
    for client in ("acme.okta.com", None, OktaClient):
        error = token_key(client, "a")

        assert isinstance(error, ConfigurationError)
        assert str(error) == f"client: must be an OktaClient, not {type(client).__name__}"


def test_a_key_needs_valid_scopes() -> None:
    """An invalid scope is refused."""
    assert str(token_key(new_key().client, 'a"')).startswith("scopes: a scope contains U+0022")


def test_the_org_server_needs_scopes() -> None:
    """The org authorization server has no default scopes, so a key for it needs at least one."""
    basic = ClientSecretBasic(SECRET)
    org = OktaClient("acme.okta.com", "0oa1", basic, authorization_server=None)

    for scopes in ("", ()):
        assert "has no default scopes; name at least one" in str(token_key(org, scopes))

    key = token_key(org, "okta.users.read")
    assert isinstance(key, TokenKey)
    assert key.scopes == {"okta.users.read"}


def test_values() -> None:
    """Keys and tokens cannot be changed, because every caller gets the same object."""
    with pytest.raises(AttributeError, match="TokenKey is immutable"):
        new_key().scope = "a"
    with pytest.raises(AttributeError, match="AccessToken is immutable"):
        new_token(ManualClock()).value = "x"
    with pytest.raises(AttributeError, match="AccessToken is immutable"):
        del new_token(ManualClock()).value


def test_the_header() -> None:
    """The header is the type, a space and the value."""
    assert new_token(ManualClock()).authorization == f"Bearer {VALUE}"


def test_a_token_shows_nothing() -> None:
    """Neither repr nor str of a token contains its value or its client's secret."""
    token = new_token(ManualClock())

    assert repr(token) == "AccessToken(token_type='Bearer', scopes=frozenset({'a'}))"
    assert str(token) == repr(token)


def test_equal_tokens() -> None:
    """Tokens are compared by value, type, scopes and key; not by clock or expiry."""
    token = new_token(ManualClock())
    assert token == token  # noqa: PLR0124 - deliberately
    assert new_token(ManualClock(), 300) == new_token(ManualClock(), 3_600)
    assert hash(new_token(ManualClock(), 300)) == hash(new_token(ManualClock(), 3_600))
    assert new_token(ManualClock()) != new_token(ManualClock(), value="another")


def test_expires_at() -> None:
    """The expiry of a token is an aware `datetime` in UTC."""
    clock = ManualClock(wall=1_800_000_000.5)
    expires_at = new_token(clock, 300).expires_at

    assert expires_at == datetime(2027, 1, 15, 8, 5, 0, 500_000, tzinfo=UTC)
    assert expires_at.utcoffset() == timedelta(0)


def test_remaining_counts_down() -> None:
    """The remaining seconds follow the clock, include the leeway, and are never negative."""
    clock = ManualClock()
    token = new_token(clock, 300)

    assert token.remaining() == 300
    clock.boot += 299
    clock.wall += 299
    assert token.remaining() == 1
    clock.boot += 1
    clock.wall += 1
    assert token.remaining() == 0
    clock.boot += 10_000
    clock.wall += 10_000
    assert token.remaining() == 0


@pytest.mark.parametrize(("boot", "wall"), [(100, 0), (0, 100), (100, 40), (100, -5_000)])
def test_the_stricter_clock_counts(boot: float, wall: float) -> None:
    """If the two clocks disagree, the clock that leaves less time wins."""
    clock = ManualClock()
    token = new_token(clock, 300)

    clock.boot += boot
    clock.wall += wall

    assert token.remaining() == 200


@pytest.mark.parametrize(("boot", "wall"), [(0, 0), (294.5, 294.5), (294, -40), (0, -86_400)])
def test_usable(boot: float, wall: float) -> None:
    """A token is usable while neither clock has reached its leeway."""
    clock = ManualClock()
    token = new_token(clock, 300)
    now = current_instant(clock)

    assert token._usable_for(now.boot + boot, now.wall + wall) > 0


@pytest.mark.parametrize(
    ("boot", "wall"), [(295, 294), (294, 295), (295, -1_000), (0, 86_400), (86_400, 86_400)]
)
def test_unusable(boot: float, wall: float) -> None:
    """A token is not usable once either clock has reached its leeway."""
    clock = ManualClock()
    token = new_token(clock, 300)
    now = current_instant(clock)

    assert token._usable_for(now.boot + boot, now.wall + wall) <= 0


@QUICK
@given(
    st.floats(0.1, 1e7),
    st.floats(0.0, 0.05),
    st.floats(0.0, 1e8),
    st.floats(-1e8, 1e8),
)
def test_usable_means_that_time_remains(
    lifetime: float, share: float, boot: float, wall: float
) -> None:
    """At any time of the two clocks, a usable token has at least its leeway left."""
    clock = ManualClock()
    leeway = lifetime * share
    token = new_token(clock, lifetime, leeway)

    clock.boot += boot
    clock.wall += wall

    if token._usable_for(*current_instant(clock)) > 0:
        assert token.remaining() > 0
        assert token.remaining() >= leeway - 1e-6
    else:
        assert token.remaining() <= leeway + 1e-6


def test_a_token_is_not_pickled() -> None:
    """A copy of a token is the token itself, and a token cannot be pickled."""
    token = new_token(ManualClock())

    assert copy.copy(token) is token
    assert copy.deepcopy([token])[0] is token
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(token)


def test_a_token_is_not_formatted() -> None:
    """A token in an f-string is an error that names `authorization`; other texts hold no token."""
    token = new_token(ManualClock())

    with pytest.raises(TypeError, match=r"use token\.authorization for the header"):
        f"Bearer {token}"
    assert VALUE not in f"{token!s} {token!r} %s" % token
