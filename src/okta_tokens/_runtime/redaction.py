"""Keep secrets out of what leaves this package: texts that others wrote, errors that we chain."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

WITHHELD = "[withheld]"

_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_BACKSLASH = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_MAX_TEXT = 500

# What looks like a credential although nobody told us: generated secrets, keys and tokens are long
# runs that mix upper case, lower case and digits, or are hexadecimal. Most names are neither.
_RUN = re.compile(r"[^\s'\"(),;\[\]{}<>]{12,}")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")
_MIXTURE = (re.compile(r"[A-Z]"), re.compile(r"[a-z]"), re.compile(r"[0-9]"))


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a server's text fit for a message, a log line and an attribute.

    Args:
        text: What the server said.
        secrets: The secrets that travelled with the request.

    Returns:
        One printable line of at most 500 characters in which the secrets are replaced. Where one
        is spelt in a way that only shows once the text is decoded, nothing of the text is left.
    """
    text = _UNPRINTABLE.sub(" ", text).strip()
    for spelling in _spellings(secrets, len(text)):
        text = text.replace(spelling, WITHHELD)
    if holds_any(text, secrets):
        return WITHHELD
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def sanitize(error: BaseException, secrets: Iterable[str] = ()) -> BaseException:
    """Return an error that is safe to chain: no frames, no chain of its own, no secret in its text.

    Frames go because error trackers record their locals, where secrets live. An error whose own
    text, arguments, attributes or notes hold a secret, or what looks like one, is replaced by one
    that tells its type alone; so is a group, whose members have frames of their own.

    Args:
        error: What was caught; changed in place.
        secrets: As for `scrub`.
    """
    try:
        told = "\n".join(_all_it_tells(error))
        # Where an argument or attribute was quoted, its text was escaped once more.
        speakable = not any(_holds_secret(text, secrets) for text in {told, _unescape(told)})
    except Exception:  # noqa: BLE001 - an error that cannot even be printed tells its type alone
        speakable = False
    if isinstance(error, BaseExceptionGroup) or not speakable:
        kind = type(error)
        return RuntimeError(f"{kind.__module__}.{kind.__qualname__} (its text is withheld)")
    cut = ["__cause__", "__context__", "__traceback__"]
    if isinstance(error, AttributeError):
        cut.append("obj")  # what has no such attribute: the secret itself, perhaps
    for name in cut:
        BaseException.__setattr__(error, name, None)  # also where the class forbids it
    return error


def holds_any(text: str, secrets: Iterable[str]) -> bool:
    """Tell whether a text holds one of some secrets, however it is spelt.

    Args:
        text: Any text.
        secrets: As for `scrub`.
    """
    possible = [secret for secret in secrets if 0 < len(secret) <= len(text)]
    return bool(possible) and any(
        secret in reading for reading in _readings(text) for secret in possible
    )


def _all_it_tells(error: BaseException) -> Iterator[str]:
    yield str(error)
    yield repr(error)
    yield from map(str, error.args)
    yield from map(repr, vars(error).values())  # notes, a `response`, the `doc` that is no JSON


def _holds_secret(text: str, secrets: Iterable[str]) -> bool:
    if holds_any(text, secrets) or _HEXADECIMAL.search(text):
        return True
    return any(all(kind.search(run) for kind in _MIXTURE) for run in _RUN.findall(text))


def _spellings(secrets: Iterable[str], longest: int) -> Iterator[str]:
    """Yield each secret as it is, and as a form, a URL, HTML, JSON and a repr would spell it.

    No spelling is shorter than its secret, so one that is longer than `longest` is passed over.
    """
    for secret in secrets:
        if not 0 < len(secret) <= longest:
            continue
        escaped = quote(secret, safe="")
        yield from {
            secret,
            escaped,
            _ESCAPE.sub(lambda escape: escape[0].lower(), escaped),
            quote_plus(secret),
            html.escape(secret),
            html.escape(secret, quote=False),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
        }


def _readings(text: str) -> set[str]:
    """Return a text as it is, and as whoever decodes it once or twice would read it.

    Nobody can list how every server escapes, what it leaves alone, and what it escapes again.
    """
    readings = {text}
    for _ in range(2):
        readings |= {decode(reading) for reading in readings for decode in _DECODERS}
    return readings


def _unescape_html(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character's number with more digits than Python converts
        return text


def _unescape(text: str) -> str:
    """Return what a string means in JSON, and in most programming languages."""
    return _BACKSLASH.sub(lambda it: it[3] or chr(int(it[1] or it[2], 16)), text)


_DECODERS = (unquote, unquote_plus, _unescape_html, _unescape)
