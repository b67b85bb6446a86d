"""Names that reveal nothing, and entries that cannot be read, changed or moved."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet

from okta_tokens import ClientSecretBasic, ClientSecretPost, DPoP, OktaClient, TokenKey
from okta_tokens.stores import SharedToken, UnreadableEntry
from okta_tokens.stores._records import fields_of, make_token
from okta_tokens.stores._sealing import Sealer, key_problem, load_keys
from okta_tokens.stores.redis import generate_key
from tests.stores.support import identity_of

TOKEN = SharedToken("Canary-Token-7d1f", "Bearer", frozenset({"a", "b"}), 300.0, 1_800_000_300.0)
CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
KEY = TokenKey(CLIENT, frozenset({"a"}))
KEY_TEXT = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
"""A key of a store."""


def sealer() -> Sealer:
    """Return a sealer with a new key."""
    (new,) = load_keys([generate_key()])
    return new


def sealed(it: Sealer) -> bytes:
    """Return the entry of a token."""
    return it.seal("name", *fields_of(TOKEN))


def test_a_sealed_token_can_be_opened() -> None:
    """An opened token equals the sealed one."""
    it = sealer()

    assert make_token(*it.open("name", sealed(it)) or ()) == TOKEN


def test_an_entry_reveals_nothing() -> None:
    """An entry contains no part of a token in the clear, and no two entries are equal."""
    it = sealer()
    entries = {sealed(it) for _ in range(100)}

    assert len(entries) == 100
    assert not any(part in entry for entry in entries for part in (b"Canary", b"Bearer", b"300"))


def test_an_entry_opens_only_under_its_own_name() -> None:
    """An entry that is copied to another name cannot be opened there."""
    it = sealer()

    with pytest.raises(UnreadableEntry):
        it.open("another", sealed(it))


def test_another_key_opens_no_entry() -> None:
    """An entry that was sealed with another key cannot be opened."""
    with pytest.raises(UnreadableEntry):
        sealer().open("name", sealed(sealer()))


def test_no_byte_can_be_changed() -> None:
    """An entry with one changed bit, or with missing or additional bytes, cannot be opened."""
    it = sealer()
    entry = sealed(it)
    changed = [
        *(entry[:at] + bytes([entry[at] ^ 1]) + entry[at + 1 :] for at in range(1, len(entry))),
        *(entry[:length] for length in range(1, len(entry))),
        entry + b"x",
    ]

    for other in changed:
        with pytest.raises(UnreadableEntry):
            it.open("name", other)


@pytest.mark.parametrize("entry", [b"", b"\x00", b"\x02anything", b"{}"])
def test_an_entry_of_an_unknown_version_is_ignored(entry: bytes) -> None:
    """An entry of an unknown version is no error: a newer process may have written it."""
    assert sealer().open("name", entry) is None


def test_an_error_shows_no_entry() -> None:
    """Neither the error nor its frames contain the token of the entry."""
    it = sealer()

    with pytest.raises(UnreadableEntry) as raised:
        it.open("another", sealed(it))

    assert raised.value.__context__ is None
    report = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    assert "Canary" not in "".join(report.format())


def test_names_differ() -> None:
    """Each key of a token, each kind of entry and each key of the store has its own names."""
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
        TokenKey(CLIENT, frozenset()),
        TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("other")), KEY.scopes),
        TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretPost("secret")), KEY.scopes),
    ]
    identity = identity_of(KEY)
    names = [
        *(one.name(identity_of(key), "token") for key in (KEY, *others)),
        two.name(identity, "token"),
        one.name(identity, "lease"),
        one.name(identity, "discarded", "a"),
        one.name(identity, "discarded", "b"),
    ]

    assert len({*names}) == len(names)
    assert all(len(name) == 43 for name in names)


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
        [f"{KEY_TEXT}\n"],
        [KEY_TEXT.rstrip("=")],
        [f"{KEY_TEXT[:20]}\n{KEY_TEXT[20:]}"],
        [f"{KEY_TEXT[:20]}!{KEY_TEXT[20:]}"],
        [f"{KEY_TEXT}="],
        ["x" * 42 + "9="],
        [base64.b64encode(b"\xff" * 32).decode()],
        [bytearray(KEY_TEXT.encode())],
        {KEY_TEXT, generate_key()},
        {KEY_TEXT: generate_key()},
        (key for key in [KEY_TEXT]),
        f"{KEY_TEXT} {KEY_TEXT}",
        None,
        5,
    ],
    ids=range(22),
)
def test_invalid_keys_yield_no_sealer(keys: Any) -> None:  # noqa: ANN401 - any type
    """A key that is not exactly 32 bytes in base64, or a second equal key, makes all invalid."""
    assert load_keys(keys) == []


@pytest.mark.parametrize(
    "spell",
    [" ".join, ",".join, ", ".join, "\n".join, ";".join, "".join, str, repr, json.dumps],
    ids=["space", "comma", "both", "line", "semicolon", "nothing", "str", "repr", "json"],
)
def test_several_keys_in_one_string_are_refused(spell: Callable[[list[str]], str]) -> None:
    """A list of keys that became one string is no key, and the problem says to split it."""
    text = spell([KEY_TEXT, generate_key()])

    for keys in (text, text.encode(), [text], [KEY_TEXT, text]):
        assert load_keys(keys) == []
        assert key_problem(keys) == (
            "keys: one string holds several keys; split it, for example with .split()"
        )


def test_white_space_around_a_key_is_named() -> None:
    """The problem of a key with a line break, as a file has it, says what to remove."""
    for keys in (f"{KEY_TEXT}\n", [generate_key(), f" {KEY_TEXT}"]):
        assert load_keys(keys) == []
        assert "begins or ends with white space; remove it" in key_problem(keys)
    assert key_problem(["x"]).startswith("keys: must be one or more different keys of 32 bytes")


def test_one_key_needs_no_list() -> None:
    """A single key may be passed without a list, also as the bytes that Fernet makes."""
    key = generate_key()

    spellings: tuple[Any, ...] = (key, [key], key.encode(), [key.encode()])
    names = {load_keys(keys)[0].name(identity_of(KEY), "token") for keys in spellings}
    assert len(names) == 1
    assert load_keys(Fernet.generate_key())
