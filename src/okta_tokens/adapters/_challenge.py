"""What a resource server's refusal means: its `WWW-Authenticate` header."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

# A scheme stands alone, a parameter has a value: a token, or a quoted string.
_ITEM = re.compile(r'([^\s,="]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?')

_NOT_THE_TOKENS_FAULT = {
    "insufficient_scope",  # RFC 6750 section 3.1
    "insufficient_user_authentication",  # RFC 9470 section 3
    "invalid_request",  # RFC 6750 section 3.1
}
_PROOF = {"use_dpop_nonce", "invalid_dpop_proof"}  # RFC 9449 sections 9 and 7.1


class Fault(enum.Enum):
    """What was wrong with a request that was refused."""

    TOKEN = "token"  # noqa: S105 - no password
    """The token: another one may be accepted."""
    PROOF = "proof"
    """What came with the token: with the nonce that the refusal brought it may be accepted."""
    OTHER = "other"
    """Something that neither mends."""


def find_fault(challenges: Iterable[str], scheme: str) -> Fault:
    """Return what a 401 complains about.

    A server that gives no reason, or one that nobody knows, is taken to mean the token: that is
    what most servers mean.

    Args:
        challenges: The values of `WWW-Authenticate`, any number of challenges in each (RFC 9110
            section 11.6.1).
        scheme: How the token was sent: `Bearer` or `DPoP`. A challenge for this scheme counts more
            than others.
    """
    errors = _read_errors(challenges)
    found = errors.get(scheme.lower(), set()) or {it for them in errors.values() for it in them}
    if found & _PROOF:
        return Fault.PROOF
    return Fault.OTHER if found & _NOT_THE_TOKENS_FAULT else Fault.TOKEN


def _read_errors(challenges: Iterable[str]) -> dict[str, set[str]]:
    """Return the error codes by scheme, in small letters."""
    errors: dict[str, set[str]] = {}
    for challenge in challenges:
        scheme = ""
        for name, value in _ITEM.findall(challenge):
            if not value:
                scheme = name.lower()
            elif name.lower() == "error":
                errors.setdefault(scheme, set()).add(value.strip('"'))
    return errors
