"""Parse `WWW-Authenticate`: why a resource server rejects a request with a 401 or a 400."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from itertools import chain, islice

# A scheme is a word without a value. A parameter has a value: a token, or a quoted string.
_ITEM = re.compile(r'([^\s,="]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?')

_MAX_CHALLENGES = 16
_MAX_LENGTH = 4096
"""What is parsed of a response, which may have any number of challenges: more would take time in
which no other coroutine runs."""

_OTHER_ERRORS = {
    "insufficient_scope",  # RFC 6750 section 3.1
    "insufficient_user_authentication",  # RFC 9470 section 3
    "invalid_request",  # RFC 6750 section 3.1
}
_TOKEN_ERROR = "invalid_token"  # noqa: S105 - RFC 6750 section 3.1
_PROOF_ERRORS = {"use_dpop_nonce", "invalid_dpop_proof"}  # RFC 9449 sections 9 and 7.1


class Rejection(enum.Enum):
    """What a server rejects."""

    TOKEN = "token"  # noqa: S105 - not a password
    """The token: the server may accept another one."""
    PROOF = "proof"
    """The proof: the server may accept one with the nonce of this response."""
    OTHER = "other"
    """Something else: neither another token nor another proof helps."""
    UNSTATED = "unstated"
    """The server gives no reason, or an unknown one: most servers mean the token."""


def parse_rejection(challenges: Iterable[str], scheme: str) -> Rejection:
    """Return what a response rejects.

    Args:
        challenges: The values of `WWW-Authenticate`, with any number of challenges in each
            (RFC 9110 section 11.6.1). Only the first 16 values count, up to 4,096 characters of
            each.
        scheme: The scheme with which the token was sent: `Bearer` or `DPoP`. If there is a
            challenge for this scheme, the other challenges do not matter.
    """
    by_scheme = _parse_errors(challenges)
    errors = by_scheme.get(scheme.lower(), set()) or {*chain.from_iterable(by_scheme.values())}
    if errors & _PROOF_ERRORS:
        return Rejection.PROOF
    if errors & _OTHER_ERRORS:
        return Rejection.OTHER
    return Rejection.TOKEN if _TOKEN_ERROR in errors else Rejection.UNSTATED


def _parse_errors(challenges: Iterable[str]) -> dict[str, set[str]]:
    """Return the error codes by scheme; the schemes are in lower case."""
    errors: dict[str, set[str]] = {}
    for challenge in islice(challenges, _MAX_CHALLENGES):
        scheme = ""
        for name, value in _ITEM.findall(challenge[:_MAX_LENGTH]):
            if not value:
                scheme = name.lower()
            elif name.lower() == "error":
                errors.setdefault(scheme, set()).add(value.strip('"'))
    return errors
