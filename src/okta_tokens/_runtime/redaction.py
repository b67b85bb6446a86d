"""Remove secrets from what leaves this package: the texts of servers, the exceptions of others."""

from __future__ import annotations

import html
import re
import unicodedata
from base64 import b64encode
from binascii import a2b_base64, a2b_hex
from collections.abc import Iterable, Iterator
from functools import lru_cache

WITHHELD = "[withheld]"

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_MAX_TEXT = 500

# How to recognize a credential that is not among the known secrets. Generated secrets, keys and
# tokens are long runs that mix upper case, lower case and digits, or are hexadecimal. Most names
# are neither.
_RUN = re.compile(r"[^\s'\"(),;\[\]{}<>]{12,}")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")
_MIXTURE = (re.compile(r"[A-Z]"), re.compile(r"[a-z]"), re.compile(r"[0-9]"))

_PART = 12  # characters of a secret that reveal it
_BLOCK = 6  # characters that hardly ever occur in a secret by chance
_MAX_SECRETS = 32 * 1024  # characters of all secrets
_MAX_SEARCHED = 16 * 1024  # characters, in all forms of all texts
_LENGTHS_TO_ENCODE = range(6, 257)  # an encoding of less is part of many words
_MAX_UNINDEXED = 4_000_000  # characters of texts times characters of secrets

_ASCII = bytes(range(0x80))
_SEPARATORS = bytes(byte for byte in _ASCII if not chr(byte).isalnum())
_END = "\0"
_SEPARATORS_BUT_END = _SEPARATORS.translate(None, _END.encode())
_NOT_BASE64 = _SEPARATORS.translate(None, b"+/")
_FROM_URL = bytes.maketrans(b"-_", b"+/")

_PERCENT = re.compile(r"%(?:u([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))")
_BACKSLASH = re.compile(
    r"\\(?:u(H{4})|[ux]\{(H{1,5})\}|U000(H{5})|x(H{2})|([0-7]{3})|(.))".replace("H", "[0-9A-Fa-f]"),
    re.DOTALL,
)
_QUOTED_PRINTABLE = re.compile(r"=(?:([0-9A-Fa-f]{2})|\s+)")
_MARKUP = re.compile(r"<[^<>]*>|\x1b\[[0-9;]*[A-Za-z]")
_HEXADECIMAL_DIGITS = re.compile(rb"[0-9a-f]{24,}")
_CODE = re.compile(r"[0-9]+")
_CODES = re.compile(r"(?:[0-9]{2,3}[^0-9A-Za-z]{1,8}){11,}[0-9]{2,3}")
# Many hexadecimal digits; or three times three bytes in base64 whose first bit is zero. Twelve
# ASCII characters contain them wherever the first one begins.
_ENCODED = re.compile(
    r"[0-9a-fA-F]{22}"
    r"|(?:[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][\w-]){3}"
)
_READABLE = re.compile(rb"[\x00\t\n\r\x20-\x7e]{12,}")


class SecretSearch:
    """A search for the secrets of one request in the texts of its response.

    A text reveals a secret if it holds twelve consecutive characters of it, or all of a shorter
    one. Case does not matter, nor do separators between letters and digits. The text is searched
    as it is, and as what it means in a URL, a form, HTML, a string literal, quoted-printable,
    hexadecimal, base64 and lists of character codes, in any nesting.

    Of a secret of 6 to 256 characters, the search also finds what decoding does not: the secret
    backward, encoded in other case, or encoded alone and short.

    The work is bounded: every text counts as revealing after 16 KiB have been searched, or if the
    secrets are longer than 32 KiB together.

    Args:
        secrets: The secrets. Empty ones are ignored.
    """

    __slots__ = ("_index", "_left", "_long", "_secrets", "_short", "_unindexed")

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(filter(None, secrets))
        self._left = _MAX_SEARCHED if sum(map(len, self._secrets)) <= _MAX_SECRETS else 0
        self._unindexed = _MAX_UNINDEXED
        self._short: list[str] | None = None
        self._long = ""
        self._index: frozenset[str] | None = None

    def finds(self, text: str) -> bool:
        """Tell whether a text reveals a secret.

        Args:
            text: Any text.
        """
        pending, seen = [text], {"", text}
        while pending and self._secrets:
            text = pending.pop()
            if len(text) > self._left or any(map(self._reveals, _forms(text))):
                return True
            new = {decode(text) for decode in _DECODERS} - seen
            seen |= new
            pending += new
        return False

    def _reveals(self, form: str) -> bool:
        """Tell whether a form of a text holds a short secret or a part of a long one."""
        self._left -= len(form)
        if self._left < 0:
            return True
        if self._short is None:
            forms = _forms_of_secrets(self._secrets)
            self._short = [each for each in forms if len(each) < _PART]
            self._long = _END.join(forms.difference(self._short))
        if any(short in form for short in self._short):
            return True
        if self._index is None:
            # Every part of twelve characters holds one of these blocks. To look for the blocks of
            # a few short texts takes less time than to make the index.
            self._unindexed -= len(form) * len(self._long)
            blocks = (form[at : at + 6] for at in range(0, len(form) - 5, 6))
            if self._unindexed > 0 and not any(block in self._long for block in blocks):
                return False
            self._index = frozenset(_parts(self._long))
        return not self._index.isdisjoint(_parts(form))


def scrub(
    text: str, secrets: Iterable[str] | SecretSearch = (), max_length: int = _MAX_TEXT
) -> str:
    """Return a server's text for a message, a log line or an attribute.

    Args:
        text: What the server sent.
        secrets: The secrets that were in the request, or one search for several texts.
        max_length: The length of the result, in characters.

    Returns:
        One printable line; `[withheld]` if the text reveals a secret.
    """
    search = secrets if isinstance(secrets, SecretSearch) else SecretSearch(secrets)
    text = text[: max_length + _MAX_TEXT].strip()  # a secret may begin in what is shown
    line = _UNPRINTABLE.sub(" ", text).strip()
    if any(map(search.finds, {text, line})):
        return WITHHELD
    return line if len(line) <= max_length else line[: max_length - 3] + "..."


def sanitize(error: BaseException, secrets: Iterable[str] = ()) -> BaseException:
    """Return an error that is safe to chain: without frames, chain and secrets.

    Error trackers record the local variables of frames, and secrets are among them.

    Args:
        error: The error that was caught.
        secrets: As for `scrub`.

    Returns:
        One of two cases. If the error's text, arguments, attributes or notes reveal a secret or
        contain what looks like a credential, or cannot be printed, or if the error is a group,
        whose members have frames of their own: a new `RuntimeError` that names the type of the
        error. Otherwise: the same error, from which the traceback, the cause and the context are
        removed.
    """
    try:
        shown = "\n".join({*_shown_texts(error)})
        is_safe = not (
            contains_secret(shown, secrets)
            # An argument or attribute that was quoted was escaped twice.
            or any(map(_looks_secret, (shown, _from_literal(shown))))
        )
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
    """Tell whether a text reveals one of some secrets, see `SecretSearch`.

    Args:
        text: Any text.
        secrets: As for `scrub`.
    """
    return SecretSearch(secrets).finds(text)


def may_reveal(identifier: str, secrets: Iterable[str], token: str) -> bool:
    """Tell whether a search for secrets in an identifier is necessary, at a tenth of its cost.

    Hardly any identifier of a server needs the search. If the result is False, the search could
    only find what no accident makes: a secret backward or encoded in other case, or a part of the
    token with other separators. Four cases may reveal something:

    - a secret or the token has to be searched for as a whole, or a secret contains escapes
    - the identifier contains separators that no identifier of Okta contains
    - a block of the identifier occurs in a secret or in the token
    - without separators, a part of the identifier may be hexadecimal, or base64 of ASCII

    Args:
        identifier: A text of ASCII letters, digits and separators.
        secrets: The secrets of a request.
        token: The token in its response.
    """
    compact = identifier.replace("-", "").replace("_", "")
    prepared = _prepare(tuple(secrets))
    if prepared is None or len(token) < _PART:
        return True
    if not compact.isalnum() or _is_encoded(compact, identifier):
        return True
    token, (plain, without_separators) = token.lower(), prepared
    if _shares_block(compact.lower(), f"{without_separators}{_END}{token}"):
        return True
    if len(compact) == len(identifier):
        return False
    return _is_encoded(identifier, identifier) or _shares_block(
        identifier.lower(), f"{plain}{_END}{token}"
    )


def _is_encoded(form: str, identifier: str) -> bool:
    """Tell whether an identifier, of which a form may be encoded text, can be decoded."""
    return _ENCODED.search(form) is not None and any(decode(identifier) for decode in _DECODING)


@lru_cache(maxsize=16)  # most clients send the same secrets with each request
def _prepare(secrets: tuple[str, ...]) -> tuple[str, str] | None:
    """Return secrets in lower case, and without separators; `None` if that is not enough."""
    if any(decode(secret) not in {secret, ""} for secret in secrets for decode in _UNESCAPING):
        return None
    plain = _END.join(secrets).lower()
    compact = plain.encode().translate(None, _SEPARATORS_BUT_END).decode()
    if not plain.isascii() or min(map(len, compact.split(_END))) < _PART:
        return None
    return plain, compact


def _shares_block(form: str, secrets: str) -> bool:
    """Tell whether blocks of a form, of which every part of twelve has one, occur in secrets."""
    for at in range(0, len(form) - _BLOCK + 1, _PART - _BLOCK + 1):
        if form[at : at + _BLOCK] in secrets:
            return True
    return False


def _shown_texts(error: BaseException) -> Iterator[str]:
    """Yield every text of an error that a log or an error tracker may record."""
    yield str(error)
    yield repr(error)
    yield from map(str, error.args)
    yield from map(repr, vars(error).values())  # notes; a `response`; the `doc` of a JSON error


def _looks_secret(text: str) -> bool:
    """Tell whether a text contains what looks like a credential."""
    if _HEXADECIMAL.search(text):
        return True
    return any(all(kind.search(run) for kind in _MIXTURE) for run in _RUN.findall(text))


# The forms in which texts and secrets are compared


def _forms(text: str) -> set[str]:
    """Return a text in small letters, with and without separators."""
    text = _small(text)
    return {text, text.encode("ascii", "ignore").translate(None, _SEPARATORS).decode()}


def _forms_of_secrets(secrets: Iterable[str]) -> set[str]:
    """Return the forms of secrets that are searched for; see `SecretSearch`."""
    to_encode = [secret for secret in secrets if len(secret) in _LENGTHS_TO_ENCODE]
    texts = {*secrets, *(each for secret in to_encode for each in _encodings(secret))}
    plain = _small(_END.join(texts))
    compact = plain.encode("ascii", "ignore").translate(None, _SEPARATORS_BUT_END).decode()
    return {*plain.split(_END), *compact.split(_END)} - {""}


def _small(text: str) -> str:
    """Return a text in small letters, of which those with the same meaning are equal."""
    return (text if text.isascii() else unicodedata.normalize("NFKD", text)).lower()


def _encodings(secret: str) -> Iterator[str]:
    """Yield a secret backward, in hexadecimal and in base64.

    Base64 of a longer text begins at any of three offsets. The first and the last character of the
    secret's part of it depend on the rest of the text, too.
    """
    encoded = secret.encode(errors="replace")
    yield secret[::-1]
    yield encoded.hex()
    for offset in range(3):
        in_base64 = b64encode(bytes(offset) + encoded).decode()
        yield in_base64[(offset * 8 + 5) // 6 : (offset + len(encoded)) * 8 // 6]


def _parts(form: str) -> Iterator[str]:
    """Yield every part of a form that is as long as what reveals a secret."""
    return (form[at : at + _PART] for at in range(len(form) - _PART + 1))


# The decoders. Each returns what a text means, or an empty text.


def _from_percent(text: str) -> str:
    return _PERCENT.sub(lambda code: chr(int(code[1] or code[2], 16)), text)


def _from_html(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character reference with more digits than Python converts
        return text


def _from_literal(text: str) -> str:
    """Return what a string literal means in most languages."""
    return _BACKSLASH.sub(_meaning, text)


def _meaning(escape: re.Match[str]) -> str:
    *codes, octal, character = escape.groups()
    if character:
        return " " if character in "abfnrtv" else character
    return chr(int(octal, 8) if octal else int("".join(filter(None, codes)), 16))


def _from_quoted_printable(text: str) -> str:
    return _QUOTED_PRINTABLE.sub(lambda code: chr(int(code[1], 16)) if code[1] else "", text)


def _without_markup(text: str) -> str:
    return _MARKUP.sub("", text)


def _from_hexadecimal(text: str) -> str:
    """Decode digits with any separators; a run may begin with half a byte of something else."""
    digits = text.lower().replace("0x", "").encode("ascii", "ignore").translate(None, _SEPARATORS)
    runs = [run[start:] for run in _HEXADECIMAL_DIGITS.findall(digits) for start in (0, 1)]
    return _readable([a2b_hex(run[: len(run) // 2 * 2]) for run in runs])


def _from_base64(text: str) -> str:
    """Decode base64 and base64url with any separators, which may begin within a longer text."""
    runs = [run[start:] for run in _digits_of_base64(text) for start in range(4)]
    return _readable([a2b_base64(run[: len(run) // 4 * 4]) for run in runs])


def _digits_of_base64(text: str) -> set[bytes]:
    """Return the digits of base64 in a text, with those of base64url as digits or separators."""
    encoded = text.encode("ascii", "ignore")
    return {each.translate(None, _NOT_BASE64) for each in (encoded, encoded.translate(_FROM_URL))}


def _from_character_codes(text: str) -> str:
    """Decode decimal codes with any separators, as the bytes of a text are shown."""
    lists = [map(int, _CODE.findall(codes)) for codes in _CODES.findall(text)]
    return _readable([bytes(code for code in codes if code in range(0x100)) for codes in lists])


def _readable(decoded: list[bytes]) -> str:
    """Return what is text in decoded bytes: a wrong decoding is hardly ever printable."""
    runs = _READABLE.findall(b"\xff".join(decoded)) if decoded else ()
    return b" ".join(runs).replace(b"\0", b"").decode()  # UTF-16 has a zero in each character


_UNESCAPING = (
    _from_percent,
    _from_html,
    _from_literal,
    _from_quoted_printable,
    _without_markup,
)
_DECODING = (_from_hexadecimal, _from_base64, _from_character_codes)
_DECODERS = (*_UNESCAPING, *_DECODING)
