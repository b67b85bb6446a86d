"""Find secrets, tokens and what looks like them in logs and other output."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

from okta_tokens.sandbox._secrets import known_secrets

_SHOWN: Final = 20
_MIN_FRAGMENT: Final = 8
"""Characters of base64. Shorter fragments occur in text by chance."""

_SCHEME: Final = r"(Bearer|Basic|DPoP)(\s|%20|\+)+"
_VALUE: Final = "[A-Za-z0-9._~+/%-]"
_CREDENTIALS: Final = {
    "a JWT": re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{16,}", re.ASCII),
    "a PEM private key": re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----"),
    # Words may follow the name of a scheme, too: "basic authentication/authorization".
    "the value of an Authorization header": re.compile(
        rf"\bauthorization\W{{1,8}}{_SCHEME}{_VALUE}{{12,}}|\b{_SCHEME}(?=\S*\d){_VALUE}{{20,}}",
        re.IGNORECASE,
    ),
}


def assert_no_secrets(caplog: object, *secrets: str) -> None:
    """Check that no log record and no other output has a secret or a token.

    Searched for are the given secrets; the clients' secrets and the tokens of every
    `okta_tokens.sandbox.Sandbox` that was started in this process and still exists, in any usual
    spelling (URL-encoded, in JSON, in base64); and whatever looks like a JWT, a PEM private key or
    the value of an ``Authorization`` header.

    Args:
        caplog: The fixture ``caplog`` of pytest, or any object with log records in ``records``, of
            which messages, arguments, extra attributes and tracebacks are searched. Otherwise a
            text, or any object, such as structlog's list of dictionaries.
        *secrets: Further secrets.

    Raises:
        AssertionError: A secret was found. The message says what and where, and does not show it.
        ValueError: A given secret is empty.
    """
    __tracebackhide__ = True
    if "" in secrets:
        del caplog, secrets
        raise ValueError("assert_no_secrets: a secret is empty. Pass the secret itself.")
    found = _findings(caplog, secrets)
    if found:
        del caplog, secrets  # error trackers record the locals of every frame
        more = [f"and {len(found) - _SHOWN} more"] * (len(found) > _SHOWN)
        raise AssertionError(
            "assert_no_secrets: there is\n"
            + "".join(f"- {finding}\n" for finding in [*found[:_SHOWN], *more])
            + "Remove the value from what your code logs or prints, or log its name instead."
        )


def _findings(output: object, given: Iterable[str]) -> list[str]:
    """Return what was found, and where. No text in the result is from the output."""
    known = [*((f"secret {number} of the arguments", each) for number, each in enumerate(given, 1))]
    spellings = {
        spelling: kind
        for kind, secret in [*known_secrets(), *known]
        for spelling in _spellings(secret)
    }
    found = {
        f"{kind} {place}": None
        for place, text in _places(output)
        for kind in _kinds(text, spellings)
    }
    return [*found]


def _kinds(text: str, spellings: Mapping[str, str]) -> Iterator[str]:
    """Yield what kinds of secrets are in a text."""
    for spelling, kind in spellings.items():
        if spelling in text:
            yield kind
    for kind, pattern in _CREDENTIALS.items():
        if pattern.search(text):
            yield kind


def _spellings(secret: str) -> Iterator[str]:
    """Yield the secret as it is, URL-encoded, in JSON, in a repr, and in base64."""
    for plain in {secret, quote(secret, safe=""), quote_plus(secret), quote(secret)}:
        yield plain
        yield re.sub("%..", lambda escape: escape[0].lower(), plain)
        yield from _in_base64(plain.encode())
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what base64 makes of a secret at any place in other bytes.

    The first and the last characters are left out, because they depend on the bytes beside.
    """
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        start, end = -(-8 * before // 6), 8 * (before + len(secret)) // 6
        fragment = encoded[start:end]
        if len(fragment) >= _MIN_FRAGMENT:
            yield fragment
            yield fragment.replace("+", "-").replace("/", "_")


def _places(output: object) -> Iterator[tuple[str, str]]:
    """Yield the texts of an output, each with the words for its place."""
    records = getattr(output, "records", None)
    if isinstance(records, list):
        for record in records:
            for name, text in _texts_of_record(record):
                yield f"in {name} of a record of logger {record.name}, {record.levelname}", text
        yield "in caplog.text", str(getattr(output, "text", ""))
    elif isinstance(output, list | tuple):
        for index, item in enumerate(output):
            yield from ((f"in item {index}", text) for text in _texts(item))
    else:
        yield from (("in the output", text) for text in _texts(output))


def _texts_of_record(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    yield "the message", record.getMessage()
    if record.exc_info:
        yield "the traceback", logging.Formatter().formatException(record.exc_info)
    for name, value in vars(record).items():
        yield from ((f"the attribute {name}", text) for text in _texts(value))


def _texts(value: object) -> tuple[str, str]:
    return str(value), repr(value)
