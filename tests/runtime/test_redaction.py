"""Redaction: no secret stays in a server's text or in an error that this package chains."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from types import FrameType
from typing import NoReturn
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import okta_tokens
from okta_tokens._runtime.redaction import (
    WITHHELD,
    SecretSearch,
    contains_secret,
    may_reveal,
    sanitize,
    scrub,
)
from okta_tokens.errors import ConfigurationError

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
PACKAGE = Path(okta_tokens.__file__).parent
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
AWKWARD = """p%ss +&=w/o\\r"d's?"""

SPELLINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "url": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "json": json.dumps,
    "repr": repr,
}

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
secrets = st.text(PRINTABLE.replace("[", "").replace("]", ""), min_size=4, max_size=60)


def frames_of(error: BaseException, package: Path = PACKAGE) -> Iterator[FrameType]:
    """Yield the frames of a package in the tracebacks of an error and of its chain."""
    pending, seen = [error], set[int]()
    while pending:
        error = pending.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        traceback = error.__traceback__
        while traceback is not None:
            if package in Path(traceback.tb_frame.f_code.co_filename).parents:
                yield traceback.tb_frame
            traceback = traceback.tb_next
        pending += [each for each in (error.__cause__, error.__context__) if each is not None]


def locals_with(error: BaseException, secret: str, package: Path = PACKAGE) -> list[str]:
    """Return the local variables of a package's frames that would leak a secret to a tracker."""
    return [
        f"{frame.f_code.co_qualname}: {name}"
        for frame in frames_of(error, package)
        for name, value in frame.f_locals.items()
        if secret in safe_repr(value)
    ]


def safe_repr(value: object) -> str:
    """Return a repr as an error tracker does, which also prints incomplete objects."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - an object that cannot be printed leaks nothing
        return ""


def raised(error: BaseException, *, cause: BaseException | None = None) -> BaseException:
    """Return an error with the frame that raised it, which has the secret as a local variable."""
    try:
        fail(SECRET, error, cause)
    except type(error) as caught:
        return caught


def fail(secret: str, error: BaseException, cause: BaseException | None) -> NoReturn:
    """Raise an error from a frame that has a secret as a local variable."""
    assert secret
    raise error from cause


def test_the_search_for_secrets_covers_the_chain() -> None:
    """The search for secrets in frames includes the frames of causes and contexts."""
    here = Path(__file__).parent
    inner = raised(ValueError("inner"))
    outer = raised(KeyError("outer"), cause=inner)

    assert locals_with(outer, SECRET, here) == ["fail: secret", "fail: secret"]
    assert locals_with(outer, "something else", here) == []
    assert locals_with(outer, SECRET) == []


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_text_with_a_secret_is_withheld(spell: Callable[[str], str]) -> None:
    """A text is withheld if it has a secret as it is, or as in a URL, a form, JSON and a repr."""
    for secret in (SECRET, AWKWARD):
        spelt = spell(secret).strip("\"'") if spell in {json.dumps, repr} else spell(secret)

        assert scrub(f"no {spelt} here", [secret]) == WITHHELD


def test_a_text_with_any_of_several_secrets_is_withheld() -> None:
    """Each of several secrets of a request is searched for."""
    assert scrub("one two three", ["zero", "three"]) == WITHHELD
    assert scrub("one two three", ["zero", "four"]) == "one two three"


@QUICK
@given(secrets, st.sampled_from(sorted(SPELLINGS)), st.text(max_size=30), st.text(max_size=30))
def test_no_secret_survives(secret: str, spelling: str, before: str, after: str) -> None:
    """No spelling of a secret, in no surroundings, stays in a text."""
    assume(any(map(str.isalnum, secret)))
    text = scrub(before + SPELLINGS[spelling](secret) + after, [secret])

    assert text == WITHHELD


@QUICK
@given(st.text(max_size=700), st.lists(secrets, max_size=3))
def test_a_clean_text(text: str, hidden: list[str]) -> None:
    """A clean text is one line of at most 500 printable characters, without outer white space."""
    clean = scrub(text, hidden)

    assert len(clean) <= 500
    assert all(character in PRINTABLE for character in clean)
    assert clean == clean.strip()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("  as it is  ", "as it is"),
        ("two\r\nlines", "two lines"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("caf\u00e9 \u202eevil", "caf   evil"),
        ("\x00", ""),
    ],
    ids=ascii,
)
def test_control_characters(text: str, clean: str) -> None:
    """A run of characters that are not printable ASCII becomes one space."""
    assert scrub(text) == clean


def test_long_texts_are_cut() -> None:
    """A text of more than 500 characters is cut, and ends with three dots."""
    assert scrub("a" * 500) == "a" * 500
    assert scrub("a" * 501) == "a" * 497 + "..."


def test_a_secret_at_the_place_of_the_cut_is_found() -> None:
    """A secret that only begins before the cut is found."""
    for length in (485, 499):
        assert scrub("z" * length + SECRET, [SECRET]) == WITHHELD


def test_a_harmless_error_is_kept() -> None:
    """An error without a secret stays the same object, and loses its frames and its chain."""
    error = raised(ValueError("no such file"), cause=raised(KeyError(SECRET)))
    error.add_note("tried twice")

    sanitized = sanitize(error, [SECRET])

    assert sanitized is error
    assert error.__traceback__ is None
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.__notes__ == ["tried twice"]
    assert locals_with(sanitized, SECRET, Path(__file__).parent) == []


def test_a_context_is_removed() -> None:
    """An error loses its context as well as its cause."""
    error = ValueError("while handling another")
    error.__context__ = KeyError(SECRET)

    assert sanitize(error).__context__ is None


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_secret_that_does_not_look_like_one_is_withheld(spell: Callable[[str], str]) -> None:
    """A known secret is found in a text and in a note, in every spelling."""
    for secret in ("hunter two", "p+ss", 'it\'s "so"', "back\\slash"):
        text = f"cannot use {spell(secret)} here"
        noted = with_note(ValueError("bad"), text)

        assert type(sanitize(ValueError(text), ["other", secret])) is RuntimeError
        assert type(sanitize(noted, ["other", secret])) is RuntimeError


@pytest.mark.parametrize("secret", ["hunter two", 'it\'s "so"', "back\\slash"])
def test_an_argument_is_withheld(secret: str) -> None:
    """A secret in an argument is found, also if the text of the error does not show it."""
    assert type(sanitize(QuietError("a", secret), [secret])) is RuntimeError
    assert type(sanitize(QuietError("a", secret), ["other"])) is QuietError


class MuteError(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError(SECRET)


class QuietError(Exception):
    """An error whose text does not show its arguments."""

    def __str__(self) -> str:
        """Return a constant text."""
        return "quiet"


def with_note(error: BaseException, note: str) -> BaseException:
    """Return an error with a note."""
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError(f"bad secret {SECRET}"), id="text"),
        pytest.param(KeyError(SECRET), id="argument"),
        pytest.param(QuietError("a", SECRET), id="silent-argument"),
        pytest.param(with_note(ValueError("bad"), f"it was {SECRET}"), id="note"),
        pytest.param(ValueError(f"?token={quote(SECRET)}"), id="url"),
        pytest.param(UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "bad"), id="object"),
        pytest.param(MuteError("x"), id="unprintable"),
        pytest.param(ExceptionGroup("two", [ValueError("a")]), id="group"),
        pytest.param(BaseExceptionGroup("two", [KeyboardInterrupt()]), id="base-group"),
    ],
)
def test_an_error_with_a_secret_is_replaced(error: BaseException) -> None:
    """If an error holds a secret, cannot be printed or is a group, only its type is shown."""
    kind = type(error)

    sanitized = sanitize(raised(error), [SECRET])

    assert type(sanitized) is RuntimeError
    assert str(sanitized) == f"{kind.__module__}.{kind.__qualname__} (its text is withheld)"
    chain = (sanitized.__cause__, sanitized.__context__, sanitized.__traceback__)
    assert chain == (None, None, None)


@dataclass(frozen=True)
class FrozenError(Exception):
    """An error that cannot be changed."""

    path: str


def test_an_error_that_forbids_changes_is_sanitized() -> None:
    """An error of a frozen class loses its frames and its chain, too."""
    error = raised(FrozenError("/run/secrets"), cause=raised(KeyError(SECRET)))

    assert sanitize(error, [SECRET]) is error
    assert (error.__cause__, error.__context__, error.__traceback__) == (None, None, None)
    assert sanitize(FrozenError(SECRET), [SECRET]) is not error


class VaultError(Exception):
    """An error that keeps the response."""

    def __init__(self, response: object) -> None:
        super().__init__("the vault refused")
        self.response = response


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(VaultError(SECRET), id="text"),
        pytest.param(VaultError({"data": SECRET.encode()}), id="mapping"),
        pytest.param(json.JSONDecodeError("bad", f'{{"secret": "{SECRET}"', 0), id="document"),
    ],
)
def test_an_attribute_is_withheld(error: Exception) -> None:
    """A secret in an attribute is found, also if the text of the error does not show it."""
    assert type(sanitize(error)) is RuntimeError
    assert sanitize(VaultError(404)).args == ("the vault refused",)


def test_the_object_of_an_attribute_error_is_removed() -> None:
    """An `AttributeError` keeps its text and loses its object, which may be the secret."""
    error = AttributeError("'str' object has no attribute 'get'", name="get", obj=SECRET)

    assert sanitize(error, [SECRET]) is error
    assert error.obj is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"vault says {'Ab3' * 4}", id="mixed-run"),
        pytest.param("-----BEGIN MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", id="key"),
        pytest.param("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwb2ExIn0.c2ln", id="jwt"),
        pytest.param(f"hash {'0a1b2c3d' * 4}", id="hexadecimal"),
        pytest.param(f"hash {'0123456789' * 4}", id="digits"),
    ],
)
def test_a_text_that_looks_like_a_credential_is_withheld(text: str) -> None:
    """A text with a run that looks like a credential is withheld without a known secret."""
    assert str(sanitize(ValueError(text))) == "builtins.ValueError (its text is withheld)"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "/var/run/secrets/okta/client_secret"),
        ConnectionRefusedError(111, "Connect call failed ('10.0.0.12', 8200)"),
        KeyError("OKTA_CLIENT_SECRET"),
        TimeoutError(),
        asyncio.CancelledError(),
        ValueError("the_configuration_of_the_vault_is_wrong"),
        ValueError("d" * 31),
        ValueError("Ab3" * 3 + "xx"),
    ],
    ids=repr,
)
def test_a_helpful_error_is_kept(error: BaseException) -> None:
    """Paths, addresses and names of variables do not look like credentials, and are kept."""
    assert sanitize(error, [SECRET]) is error


@QUICK
@given(
    st.text(string.printable, max_size=40),
    st.text(string.printable, max_size=40),
    st.sampled_from([ValueError, KeyError, OSError, QuietError]),
    st.sampled_from(["argument", "note"]),
)
def test_no_sanitized_error_shows_a_secret(
    before: str, after: str, kind: type[Exception], place: str
) -> None:
    """The text, the arguments and the notes of a sanitized error contain no secret."""
    text = before + SECRET + after
    error = kind(text) if place == "argument" else with_note(kind("x"), text)

    sanitized = sanitize(raised(error), [SECRET])

    assert SECRET not in f"{sanitized} {sanitized!r} {getattr(sanitized, '__notes__', '')}"


def test_an_error_of_this_package_is_sanitized() -> None:
    """An error of this package is treated like any other error."""
    assert sanitize(ConfigurationError("is empty")).args == ("is empty",)
    assert type(sanitize(ConfigurationError(SECRET), [SECRET])) is RuntimeError


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("my\nsecret pass", "my secret pass"),
        ("you sent ab%2fcd%2bef", "ab/cd+ef"),
        ("you sent ab&amp;cd&lt;ef", "ab&cd<ef"),
        ("you sent ab&quot;cd&#x27;ef", "ab\"cd'ef"),
    ],
)
def test_unusual_spellings_are_withheld(text: str, secret: str) -> None:
    """A secret is found across a line break, with lower-case hexadecimal digits, and in HTML."""
    assert WITHHELD in scrub(text, [secret])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sent=a+b%2fc", id="form-in-small-letters"),
        pytest.param("sent=a%20b/c", id="url-but-for-slashes"),
        pytest.param("sent=a%2520b%252Fc", id="url-twice"),
        pytest.param("a&#32;b&#47;c", id="html-in-decimal"),
        pytest.param("a b\\/c", id="json-as-php-does-it"),
        pytest.param("\\u0061 b\\x2fc", id="all-escaped"),
    ],
)
def test_a_secret_that_decoding_reveals_is_withheld(text: str) -> None:
    """A text is withheld as a whole if it contains a secret after one or two decodings."""
    assert scrub(text, ["a b/c"]) == WITHHELD
    assert scrub(text, ["another"]) != WITHHELD
    assert type(sanitize(ValueError(text), ["a b/c"])) is RuntimeError


@pytest.mark.parametrize("text", ["100 %", "a%zz&b", "C:\\users", "1 &lt; 2", "\\", "a+b"])
def test_a_text_that_looks_escaped_is_kept(text: str) -> None:
    """Decoding only serves the search: the text itself stays as it is."""
    assert scrub(text, ["a b/c"]) == text


def test_an_empty_secret_is_ignored() -> None:
    """An empty secret, of a method of authentication without one, does not withhold texts."""
    assert scrub("as it is", ["", SECRET]) == "as it is"
    assert sanitize(ValueError("as it is"), [""]).args == ("as it is",)


def test_an_argument_that_is_escaped_twice_is_withheld() -> None:
    """A secret in an argument is found if the text of the error shows it escaped twice."""
    error = KeyError(json.dumps({"client_secret": 'a"b'}))

    assert sanitize(error, ['a"b']) is not error


@pytest.mark.parametrize("place", ["argument", "attribute", "note"])
def test_a_secret_that_is_escaped_twice_and_quoted_is_withheld(place: str) -> None:
    """A secret is found in an argument, an attribute or a note that was escaped before quoting."""
    text = json.dumps(json.dumps("a\\b"))[3:-3]
    error = with_note(ValueError(), text) if place == "note" else ValueError()
    if place == "argument":
        error.args = ([text],)
    if place == "attribute":
        vars(error)["about"] = text

    assert type(sanitize(error, ["a\\b"])) is RuntimeError
    assert sanitize(error, ["another"]) is error


# Parts, separators and encodings


OKTA_SECRET = "kJ7vQ2mX9pR4tY8wB3nC6zL1dF5gH0sA-eUiOqWxVbNmKjHgFdSaPoIuYtReWq_z"
"""A secret like those that Okta generates."""


def b64(text: str) -> str:
    """Return the base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def each(form: str) -> Callable[[str], str]:
    """Return an encoding that writes every character in a form."""
    return lambda text: "".join(form.format(ord(character)) for character in text)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "percent": each("%{:02x}"),
    "percent of UTF-16": each("%u{:04X}"),
    "percent twice": lambda text: quote(each("%{:02x}")(text)),
    "percent five times": each("%2525252525{:02x}"),
    "entities": each("&#{};"),
    "entities without semicolons": each("&#x{:x}&zwnj;"),
    "escapes": each("\\u{:04x}"),
    "escapes of bytes": each("\\x{:02X}"),
    "escapes of code points": each("\\u{{{:x}}}"),
    "long escapes": each("\\U{:08x}"),
    "octal escapes": each("\\{:03o}"),
    "quoted-printable": each("={:02X}"),
    "soft line breaks": "=\r\n".join,
    "entities in percent": lambda text: quote(each("&#{};")(text)),
    "markup": "<wbr>".join,
    "colors": "\x1b[1;31m".join,
    "hexadecimal": lambda text: text.encode().hex(),
    "half a byte before hexadecimal": lambda text: "f" + text.encode().hex(),
    "separate bytes": lambda text: text.encode().hex(":"),
    "literals of bytes": lambda text: ", ".join(map(hex, text.encode())),
    "codes": lambda text: str([*text.encode()]),
    "base64": b64,
    "base64, one byte later": lambda text: b64(f"x{text}"),
    "base64, two bytes later": lambda text: b64(f"xx{text}"),
    "base64 of a form": lambda text: b64(f"client_secret={quote(text)}"),
    "base64url": lambda text: base64.urlsafe_b64encode(b"~?~" + text.encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(f"0oa1:{text}".encode()).decode(),
    "base64 within base64url characters": lambda text: f"a_b-c{b64(text)}d-e_f",
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base64 twice": lambda text: b64(b64(text)),
    "base64 of hexadecimal": lambda text: b64(text.encode().hex()),
    "hexadecimal of base64": lambda text: b64(text).encode().hex(),
    "base64 in small letters": lambda text: b64(f"{{{text}}}").lower(),
    "backward": lambda text: text[::-1],
}
"""Encodings of a text that a search by its letters does not find."""

LONG_SECRET = "e30." + OKTA_SECRET.replace("-", "+_") * 5
"""A secret like a token. Its encodings are found only by decoding."""

SEPARATORS = [
    "\\n",
    "\\r\\n",
    "%0A",
    "&#10;",
    "&nbsp;",
    "\n",
    "\r\n ",
    " ",
    "-",
    ".",
    ", ",
    "' '",
    "_",
    "\u200b",
    "\u00a0",
    "\x00",
    "\x7f",
]


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_an_encoded_secret_is_found(encode: Callable[[str], str]) -> None:
    """A secret, or twenty characters of it, are found in every encoding, in any surroundings."""
    for secret in (OKTA_SECRET, AWKWARD, OKTA_SECRET[:20]):
        for text in (encode(secret), f"you sent: {encode(secret)}, which is wrong"):
            assert contains_secret(text, [secret, "another"]), text
    assert contains_secret(encode(OKTA_SECRET[30:50]), [OKTA_SECRET])
    if encode not in (ENCODINGS["backward"], ENCODINGS["base64 in small letters"]):
        for text in (encode(LONG_SECRET), encode(LONG_SECRET[90:150])):
            assert contains_secret(f"you sent: {text}, which is wrong", [LONG_SECRET])
    assert not contains_secret(encode("anything else than that secret"), [OKTA_SECRET])


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_separators_do_not_hide_a_secret(separator: str) -> None:
    """A secret is found if separators stand between its parts, also in an encoding."""
    for text in (OKTA_SECRET, OKTA_SECRET.swapcase(), b64(OKTA_SECRET), OKTA_SECRET.encode().hex()):
        for length in (1, 3, 38):
            parts = [text[at : at + length] for at in range(0, len(text), length)]

            assert contains_secret(separator.join(parts), [OKTA_SECRET])


@pytest.mark.parametrize("separator", ["\x1b[31m", "\u00e9", "\u00fc\u200b"], ids=ascii)
def test_characters_that_are_not_shown_do_not_hide_a_secret(separator: str) -> None:
    """A secret is found in what is sent and in what is shown, which is printable ASCII."""
    assert scrub(separator.join(OKTA_SECRET), [OKTA_SECRET]) == WITHHELD


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("p+ss=3Dw", "p+ss=w"),
        (base64.b64encode('y%41=St"ple&'.encode("utf-16-le")).decode(), 'y%41=St"ple&' * 22),
        (b64(json.dumps('y%41=St"ple&')), 'y%41=St"ple&' * 22),
        (base64.urlsafe_b64encode(b"~?>" * 8).decode(), "~?>" * 100),
        ("-".join(b64("~?>" * 8)), "~?>" * 100),
    ],
)
def test_a_secret_of_few_letters_is_found(text: str, secret: str) -> None:
    """The separators of a secret are decoded exactly, since they are a part of it."""
    assert contains_secret(text, [secret])


def test_full_width_letters_do_not_hide_a_secret() -> None:
    """A secret is found in letters that have the same meaning in Unicode."""
    wide = "".join(chr(ord(character) + 0xFEE0) for character in OKTA_SECRET)

    assert contains_secret(wide, [OKTA_SECRET])


@pytest.mark.parametrize("change", [str, str.lower, str.upper, str.swapcase])
def test_twelve_characters_of_a_secret_reveal_it(change: Callable[[str], str]) -> None:
    """Any twelve consecutive characters of a secret are found, in either case, and eleven not."""
    for secret in (OKTA_SECRET, "a/b" * 20, "e30." + OKTA_SECRET * 8):
        for start in (0, 7, len(secret) - 12):
            part = change(secret[start : start + 12])

            assert contains_secret(f"rule 9: {part}...", [secret])
            assert not contains_secret(f"rule 9: {part[1:]}...", [secret])


@pytest.mark.parametrize("secret", ["s", "p+ss", "hunter2", "elevenchars"])
def test_a_short_secret_is_found_as_a_whole(secret: str) -> None:
    """A secret of less than twelve characters is found as a whole, and not in part."""
    for text in (secret, secret.upper(), "-".join(secret), each("%{:x}")(secret)):
        assert contains_secret(f"a {text} b", [secret])
    assert not contains_secret(f"ab {secret[1:]} ab", [secret])


@pytest.mark.parametrize("name", ["base64", "hexadecimal", "backward"])
def test_a_short_secret_is_found_in_an_encoding(name: str) -> None:
    """A secret of six characters or more is found in an encoding of nothing else."""
    assert contains_secret(ENCODINGS[name]("secret"), ["secret"])
    assert not contains_secret(ENCODINGS[name]("aeon"), ["aeon"])


def test_any_secret_can_be_searched_for() -> None:
    """A secret of a custom authentication class may have any characters."""
    assert contains_secret("the secret s\u00e9same\ud800 is wrong", ["s\u00e9same\ud800"])
    assert not contains_secret("anything else", ["s\u00e9same\ud800"])


def test_a_secret_without_letters_and_digits_is_found() -> None:
    """A secret that consists of separators is found as it is."""
    assert contains_secret("the secret ?!& is wrong", ["?!&"])
    assert not contains_secret("the secret is wrong", ["?!&"])


@pytest.mark.parametrize(
    "text",
    [
        "Client authentication failed: the client id does not exist, or the app is not active.",
        "The request was blocked. Rule 942100, incident 7f3a-91d0-44be-a27c, see /errors/403.",
        "Sat, 28 Nov 2026 23:16:58 GMT",
        "Y9Rj2dNYMlGkTTZ8AAtqhAAADDs",
        "max-age=315360000; includeSubDomains; preload",
        "<html><head><title>403 Forbidden</title></head><body>&copy; 2026</body></html>",
        f"hash {'0a1b2c3d' * 8}",
        b64("a harmless text of some length, in base64"),
    ],
)
def test_a_text_without_a_secret_is_kept(text: str) -> None:
    """Usual texts of servers are kept."""
    assert scrub(text, [OKTA_SECRET, b64(f"0oa1client:{OKTA_SECRET}"), "e30." * 200]) == text


# The bounds of the search


def test_a_search_ends_after_16_kib() -> None:
    """When 16 KiB have been searched for one response, every further text is withheld."""
    search = SecretSearch([OKTA_SECRET])
    text = "harmless text. " * 20
    kept = [scrub(text, search) != WITHHELD for _ in range(200)]

    assert kept == sorted(kept, reverse=True)
    assert 25 < kept.count(True) < 55


@pytest.mark.parametrize(
    "piece", ["%26%23x5c;u0026\\x25&#x26;", "%25", "\\\\u005c", "&amp;", "=3D"]
)
def test_a_text_with_too_many_decodings_is_withheld(piece: str) -> None:
    """A text whose decodings are longer than 16 KiB together is withheld."""
    assert contains_secret(piece * 12_000, [OKTA_SECRET])


def test_a_text_that_normalization_makes_too_long_is_withheld() -> None:
    """The length of a text counts after its normalization, which makes this one 18 times longer."""
    assert contains_secret("\ufdfa" * 1_000, [OKTA_SECRET])
    assert not contains_secret("\ufdfa" * 100, [OKTA_SECRET])


def test_secrets_of_more_than_32_kib_withhold_every_text() -> None:
    """Every text is withheld if there are more than 32 KiB of secrets."""
    longest = "e30." * 8 * 1024

    assert not contains_secret("harmless text", [longest])
    assert contains_secret("harmless text", [longest, "e30."])


def test_many_texts_are_searched_with_an_index() -> None:
    """A search that has become expensive still finds every secret, and nothing else."""
    search = SecretSearch([OKTA_SECRET, "e30." * 8_000])

    has_index = []
    for _ in range(20):
        assert not search.finds("anything else than that secret")
        has_index.append(search._index is not None)

    assert (has_index[0], has_index[-1]) == (False, True)
    assert search.finds(OKTA_SECRET[:12])


def test_a_text_is_cut_before_it_is_searched() -> None:
    """No more than 500 further characters are searched, so a text of any length takes as long."""
    assert scrub(f"{'z ' * 500}{OKTA_SECRET}", [OKTA_SECRET]).startswith("z z z")
    assert scrub(f"{'z' * 509}{OKTA_SECRET}", [OKTA_SECRET], 20) == "z" * 17 + "..."
    assert scrub(f"{'z' * 508}{OKTA_SECRET}", [OKTA_SECRET], 20) == WITHHELD


def test_a_number_that_python_does_not_convert_hides_no_secret() -> None:
    """A character reference of 4,400 digits does not end the search for a secret beside it."""
    text = f"&#{'9' * 4_400}; a b/c"

    assert contains_secret(text, ["a b/c"])
    assert type(sanitize(ValueError(text), ["a b/c"])) is RuntimeError
    assert not contains_secret(text, [OKTA_SECRET])


# Identifiers


def encodings_of(part: str, offset: int) -> Iterator[str]:
    """Yield what an identifier may contain of a part of a secret."""
    data = b"0" * offset + part.encode()
    yield part
    yield part.swapcase()
    yield "-".join(part)
    yield data.hex()
    yield "_".join(f"{byte:02X}" for byte in data)
    yield base64.b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode().rstrip("=")
    yield base64.b64encode(data.hex().encode()).decode()
    yield ".".join(map(str, data))


IDENTIFIER = re.compile(r"[\w.@:+/=-]{1,128}", re.ASCII)


def revealing_identifiers(secret: str) -> Iterator[str]:
    """Yield identifiers that contain twelve to sixteen characters of a secret, in any encoding."""
    for start in range(len(secret) - 16):
        for length, offset, before in product((12, 16), range(3), ("", "Zx-", "q_Rw5")):
            for encoded in encodings_of(secret[start : start + length], offset):
                identifier = f"{before}{encoded}-A"
                if IDENTIFIER.fullmatch(identifier) and contains_secret(identifier, [secret]):
                    yield identifier


@pytest.mark.parametrize(
    "secret", [SECRET, SECRET.replace("-", ""), "aB~cD?eF~gH?iJ~kL?mN~oP?qR~sT?uV~wX?"]
)
def test_an_identifier_that_reveals_a_secret_is_searched(secret: str) -> None:
    """No identifier that reveals a part of a secret, in any encoding, is shown without a search."""
    identifiers = [*revealing_identifiers(secret)]

    assert len(identifiers) > 1_500
    assert all(may_reveal(each, [secret], "a-token-of-some-length") for each in identifiers)


def test_an_identifier_that_reveals_the_token_is_searched() -> None:
    """The same is true for the token, except for a part of it with other separators."""
    token = "kJ7vQ2mX9pR4tY8wB3nC6zL1dF5gH0sA"
    for part in (token[:12], token[3:15].swapcase(), token[20:], token[5:17].encode().hex()):
        for before in ("", "a", "ab", "abc", "Zx-"):
            assert may_reveal(f"{before}{part}", [SECRET], token)


def test_most_identifiers_are_not_searched() -> None:
    """Of identifiers as Okta makes them, hardly any needs a search."""
    random = Random(7)  # noqa: S311 - no secrets
    alphabet = string.ascii_letters + string.digits + "-_"
    made = ["".join(random.choices(alphabet, k=27)) for _ in range(1_000)]
    token = "".join(random.choices(alphabet, k=1_000))

    assert sum(may_reveal(each, [SECRET, SECRET[::-1]], token) for each in made) < 10
