"""The forms in which people have a private key: what tools, vaults and environments make of it.

This module recognizes a form by its text alone. `keys` makes keys of what it returns.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from textwrap import wrap

ENCRYPTED = (
    "is encrypted; decrypt it with `openssl pkey -in FILE -out key.pem`, or give a callable that "
    "decrypts it"
)
PUBLIC = "is a public key; give the private key"
CERTIFICATE = "is a certificate, which holds only the public key; give the private key"

_CUT_OFF = "is cut off: its last line, which begins with -----END, is missing; copy the whole key"
_GARBLED = "is PEM with characters that are not base64; copy the key again"
_SEVERAL = "is several keys in one text; give one of them"
_PUTTY = (
    "is a key of PuTTY; convert it with `puttygen FILE -O private-openssh -o key.pem`, and give "
    "the new file"
)
_PYTHON = "is the text of a Python dict; write the JWK with json.dumps, or give the dict itself"
_JSON = "is JSON that is no JWK: it has no `kty`; give the JWK itself"

_MAX_PATH = 4_096  # characters; the limit of Linux

# Environments write line breaks as backslash and letter, and some write the backslash twice.
_ESCAPED_BREAK = re.compile(rb"\\+[rn]")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
# How the key of OpenSSH begins if it has no password: with the name of its cipher, `none`.
_PLAIN_OPENSSH = b64encode(b"openssh-key-v1\0\0\0\0\4no")
_SPACE = re.compile(rb"\s+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_BEGINNINGS = (b"-----BEGIN ", b"{", b"\x30\x81", b"\x30\x82")
"""How PEM, JSON and the DER of a key begin."""
_AROUND = b" \t\r\n\"'"
"""White space and quotation marks, which editors and environment files leave around a key."""


def plain_form(material: bytes) -> bytes | str:
    """Return PEM with one private key, JSON, or DER; or what is wrong with the key.

    The problem is the end of a sentence that begins with "the key".

    Args:
        material: A key as it was found: with escaped line breaks or none, in quotation marks,
            indented, with a certificate or other PEM beside it, in UTF-16, or in base64.
    """
    text = _as_utf8(material).strip(_AROUND)
    if b"BEGIN " in text and not text.startswith(b"{"):
        return _one_private_pem(_ESCAPED_BREAK.sub(b"\n", text))
    if text.startswith(b"PuTTY-User-Key-File"):
        return _PUTTY
    if text.startswith((b"ssh-", b"ecdsa-sha2-")):
        return PUBLIC
    if text.startswith(b"{"):
        return text
    inner = _decode_base64(text)
    return material if inner is None else plain_form(inner)


def is_key_path(text: str) -> bool:
    """Tell whether a text is the path of a key file, and not the key itself.

    Args:
        text: A path, or a key in a form that `plain_form` takes.
    """
    found = plain_form(text.encode(errors="replace"))
    is_key = isinstance(found, str) or found.startswith(_BEGINNINGS)
    return not is_key and len(text) <= _MAX_PATH


def json_problem(text: bytes) -> str:
    """Return what is wrong with a text in braces that is not JSON.

    Args:
        text: The text.
    """
    return _PYTHON if b"'" in text else "is not valid JSON; export the JWK again"


def private_jwk(members: Mapping[str, object], kid: str | None) -> Mapping[str, object] | str:
    """Return the private key of a JWK or a JWK Set (RFC 7517), or what is wrong with it.

    Args:
        members: The members of the JSON object.
        kid: The id of the wanted key; `None` if the set has only one private key.
    """
    keys = members.get("keys")
    if not isinstance(keys, list):
        return members if "kty" in members else _JSON
    private = [key for key in keys if isinstance(key, Mapping) and "d" in key]
    chosen = [key for key in private if kid is None or key.get("kid") == kid]
    if len(chosen) == 1:
        return chosen[0]
    if not private:
        return "is a JWK Set without a private key; give the private key"
    if kid is None:
        return "is a JWK Set with several private keys; name one of them by its kid"
    return "is a JWK Set with no private key, or several, of this kid; check the kid"


def _as_utf8(material: bytes) -> bytes:
    if material.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return material.decode("utf-16", errors="replace").encode(errors="replace")
    return material.removeprefix(BOM_UTF8)


def _one_private_pem(text: bytes) -> bytes | str:
    """Return the private key of a PEM text, with its line breaks where they belong."""
    blocks = {label + body: (label, body) for label, body in _BLOCK.findall(text)}
    if not blocks:
        return _without_private_key(text)
    if len(blocks) > 1:
        return _SEVERAL
    ((label, body),) = blocks.values()
    if b"ENCRYPTED" in label or b"ENCRYPTED" in body:
        return ENCRYPTED
    body = _SPACE.sub(b"", body)
    if not _BASE64.fullmatch(body):
        return _GARBLED
    if b"OPENSSH" in label and not body.startswith(_PLAIN_OPENSSH):
        return ENCRYPTED
    lines = "\n".join(wrap(body.decode(), 64)).encode()
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, lines, label)


def _without_private_key(text: bytes) -> str:
    if _BEGIN_PRIVATE.search(text):
        return _CUT_OFF
    return CERTIFICATE if b"BEGIN CERTIFICATE" in text else PUBLIC


def _decode_base64(text: bytes) -> bytes | None:
    """Return the bytes of a text that is base64, with either alphabet; `None` if it is not."""
    standard = _SPACE.sub(b"", text).translate(bytes.maketrans(b"-_", b"+/"))
    if not _BASE64.fullmatch(standard):
        return None
    digits = standard.rstrip(b"=")
    try:
        decoded = b64decode(digits + b"=" * (-len(digits) % 4))
    except binascii.Error:
        return None
    # The path of a file may be base64 by chance, but what it decodes to is no key.
    is_key = b"BEGIN " in decoded or _as_utf8(decoded).strip(_AROUND).startswith(_BEGINNINGS)
    return decoded if is_key else None
