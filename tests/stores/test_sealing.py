"""Names that tell nothing, and entries that only their name opens."""

from __future__ import annotations

import base64
import traceback
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, TokenKey
from okta_tokens._model.identity import stored_values
from okta_tokens.stores import SharedToken, UnreadableEntry
from okta_tokens.stores._sealing import Sealer, load_keys, open_token, seal_token
from okta_tokens.stores.redis import generate_key

TOKEN = SharedToken("Canary-Token-7d1f", "Bearer", frozenset({"a", "b"}), 300.0, 1_800_000_300.0)
CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
KEY = TokenKey(CLIENT, frozenset({"a"}))


def sealer() -> Sealer:
    """Return a sealer with a new key."""
    (made,) = load_keys([generate_key()])
    return made


def test_what_is_sealed_is_opened() -> None:
    """A token comes out as it went in."""
    it = sealer()

    assert open_token(it, "name", seal_token(it, "name", TOKEN)) == TOKEN


def test_an_entry_shows_nothing() -> None:
    """An entry holds nothing of a token in clear, and no two are alike."""
    it = sealer()
    entries = {seal_token(it, "name", TOKEN) for _ in range(100)}

    assert len(entries) == 100
    assert not any(part in entry for entry in entries for part in (b"Canary", b"Bearer", b"300"))


def test_an_entry_opens_under_its_own_name_alone() -> None:
    """What is copied to another name does not open there."""
    it = sealer()

    with pytest.raises(UnreadableEntry):
        it.open("another", seal_token(it, "name", TOKEN))


def test_another_key_opens_nothing() -> None:
    """What another key sealed does not open."""
    with pytest.raises(UnreadableEntry):
        sealer().open("name", seal_token(sealer(), "name", TOKEN))


def test_no_byte_can_be_changed() -> None:
    """An entry of which a bit was turned, or a byte is missing or too many, does not open."""
    it = sealer()
    entry = seal_token(it, "name", TOKEN)
    changed = [
        *(entry[:at] + bytes([entry[at] ^ 1]) + entry[at + 1 :] for at in range(1, len(entry))),
        *(entry[:length] for length in range(1, len(entry))),
        entry + b"x",
    ]

    for other in changed:
        with pytest.raises(UnreadableEntry):
            it.open("name", other)


@pytest.mark.parametrize("entry", [b"", b"\x00", b"\x02anything", b"{}"])
def test_another_version_is_none_of_ours(entry: bytes) -> None:
    """An entry of an unknown version is ignored: a newer process may have written it."""
    assert open_token(sealer(), "name", entry) is None


def test_an_error_shows_no_entry() -> None:
    """What is raised holds neither what was kept nor what was decrypted."""
    it = sealer()

    with pytest.raises(UnreadableEntry) as raised:
        it.open("another", seal_token(it, "name", TOKEN))

    assert raised.value.__context__ is None
    report = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    assert "Canary" not in "".join(report.format())


def test_names_tell_nothing_and_differ() -> None:
    """A name is a fingerprint that nobody can compute who has no key."""
    one, two = sealer(), sealer()
    others = [
        TokenKey(OktaClient("b.okta.com", "0oa1", CLIENT.authentication), KEY.scopes),
        TokenKey(OktaClient("acme.okta.com", "0oa2", CLIENT.authentication), KEY.scopes),
        TokenKey(
            OktaClient("acme.okta.com", "0oa1", CLIENT.authentication, authorization_server="x"),
            KEY.scopes,
        ),
        TokenKey(
            OktaClient("acme.okta.com", "0oa1", CLIENT.authentication, authorization_server=None),
            KEY.scopes,
        ),
        TokenKey(
            OktaClient("acme.okta.com", "0oa1", CLIENT.authentication, dpop=DPoP()), KEY.scopes
        ),
        TokenKey(CLIENT, frozenset({"a", "b"})),
        TokenKey(CLIENT, frozenset({"a b"})),
        TokenKey(CLIENT, frozenset()),
    ]
    names = [one.name("token", *stored_values(key)) for key in (KEY, *others)]

    assert (
        len(
            {*names, two.name("token", *stored_values(KEY)), one.name("lease", *stored_values(KEY))}
        )
        == 11
    )
    assert all(len(name) == 43 for name in names)


def test_the_credential_is_not_in_a_name() -> None:
    """A secret that is rotated, or asked for, is no other token."""
    rotated = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(lambda: "other"))
    it = sealer()

    assert it.name(*stored_values(KEY)) == it.name(*stored_values(TokenKey(rotated, KEY.scopes)))


def test_a_repr_shows_no_value() -> None:
    """A shared token is printed without its value."""
    assert "Canary" not in repr(replace(TOKEN))


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [""],
        ["short"],
        [base64.urlsafe_b64encode(b"x" * 31).decode()],
        [base64.urlsafe_b64encode(b"x" * 33).decode()],
        [base64.urlsafe_b64encode(b"x" * 32).decode()] * 2,
        [generate_key(), "ö" * 44],
        [generate_key(), None],
    ],
    ids=range(8),
)
def test_keys_must_be_keys(keys: list[Any]) -> None:
    """What is no key of 32 bytes, or given twice, makes a list of keys none."""
    assert load_keys(keys) == []


def test_one_key_needs_no_list() -> None:
    """A single key may be given as it is, also as the bytes that Fernet makes."""
    key = generate_key()

    given: tuple[Any, ...] = (key, [key], key.encode(), [key.encode()])
    names = {load_keys(keys)[0].name(1) for keys in given}
    assert len(names) == 1
    assert load_keys(Fernet.generate_key())
