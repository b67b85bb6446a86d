"""Remove secrets from what leaves this package: the texts of servers, the exceptions of others."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

WITHHELD = "[withheld]"

_PERCENT_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_BACKSLASH_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_MAX_TEXT = 500

# How to recognize a credential that is not among the known secrets. Generated secrets, keys and
# tokens are long runs that mix upper case, lower case and digits, or are hexadecimal. Most names
# are neither.
_RUN = re.compile(r"[^\s'\"(),;\[\]{}<>]{12,}")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")
_MIXTURE = (re.compile(r"[A-Z]"), re.compile(r"[a-z]"), re.compile(r"[0-9]"))


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Remove secrets from a server's text, for use in a message, a log line or an attribute.

    Args:
        text: What the server sent.
        secrets: The secrets that were in the request. Empty ones are ignored.

    Returns:
        One printable line of at most 500 characters, with `[withheld]` in place of each secret. If
        the text still contains a secret after decoding, `[withheld]` replaces all of it.
    """
    text = _UNPRINTABLE.sub(" ", text).strip()
    for spelling in _spellings(secrets, len(text)):
        text = text.replace(spelling, WITHHELD)
    if contains_secret(text, secrets):
        return WITHHELD
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def sanitize(error: BaseException, secrets: Iterable[str] = ()) -> BaseException:
    """Return an error that is safe to chain: without frames, chain and secrets.

    Error trackers record the local variables of frames, and secrets are among them.

    Args:
        error: The error that was caught.
        secrets: As for `scrub`.

    Returns:
        One of two cases. If the error's text, arguments, attributes or notes contain a secret or
        what looks like a credential, or cannot be printed, or if the error is a group, whose
        members have frames of their own: a new `RuntimeError` that names the type of the error.
        Otherwise: the same error, from which the traceback, the cause and the context are removed.
    """
    try:
        shown = "\n".join(_shown_texts(error))
        # An argument or attribute that was quoted was escaped twice.
        is_safe = not any(_looks_secret(text, secrets) for text in {shown, _unescape(shown)})
    except Exception:  # noqa: BLE001 - an error that cannot be printed is replaced
        is_safe = False
    if isinstance(error, BaseExceptionGroup) or not is_safe:
        kind = type(error)
        return RuntimeError(f"{kind.__module__}.{kind.__qualname__} (its text is withheld)")
    removed = ["__cause__", "__context__", "__traceback__"]
    if isinstance(error, AttributeError):
        removed.append("obj")  # the object without the attribute may be the secret itself
    for name in removed:
        BaseException.__setattr__(error, name, None)  # works for frozen classes, too
    return error


def contains_secret(text: str, secrets: Iterable[str]) -> bool:
    """Tell whether a text contains one of some secrets, in any spelling.

    Args:
        text: Any text.
        secrets: As for `scrub`.
    """
    possible = [secret for secret in secrets if 0 < len(secret) <= len(text)]
    return bool(possible) and any(
        secret in decoded for decoded in _decodings(text) for secret in possible
    )


def _shown_texts(error: BaseException) -> Iterator[str]:
    """Yield every text of an error that a log or an error tracker may record."""
    yield str(error)
    yield repr(error)
    yield from map(str, error.args)
    yield from map(repr, vars(error).values())  # notes; a `response`; the `doc` of a JSON error


def _looks_secret(text: str, secrets: Iterable[str]) -> bool:
    """Tell whether a text contains one of some secrets, or what looks like a credential."""
    if contains_secret(text, secrets) or _HEXADECIMAL.search(text):
        return True
    return any(all(kind.search(run) for kind in _MIXTURE) for run in _RUN.findall(text))


def _spellings(secrets: Iterable[str], longest: int) -> Iterator[str]:
    """Yield each secret as it is, and as it is written in a form, a URL, HTML, JSON and a repr.

    No spelling is shorter than its secret, so a secret longer than `longest` is skipped.
    """
    for secret in secrets:
        if not 0 < len(secret) <= longest:
            continue
        escaped = quote(secret, safe="")
        yield from {
            secret,
            escaped,
            _PERCENT_ESCAPE.sub(lambda escape: escape[0].lower(), escaped),
            quote_plus(secret),
            html.escape(secret),
            html.escape(secret, quote=False),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
        }


def _decodings(text: str) -> set[str]:
    """Return a text as it is, and as it is after one or two decodings of any kind.

    A list of spellings cannot be complete: servers differ in what they escape, and escape twice.
    """
    decodings = {text}
    for _ in range(2):
        decodings |= {decode(decoded) for decoded in decodings for decode in _DECODERS}
    return decodings


def _unescape_html(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character reference with more digits than Python converts
        return text


def _unescape(text: str) -> str:
    """Return what a string literal means in JSON and in most programming languages."""
    return _BACKSLASH_ESCAPE.sub(
        lambda escape: escape[3] or chr(int(escape[1] or escape[2], 16)), text
    )


_DECODERS = (unquote, unquote_plus, _unescape_html, _unescape)
