"""`assert_no_secrets` finds secrets and tokens in logs, and does not show them."""

from __future__ import annotations

import base64
import gc
import json
import logging
from urllib.parse import quote

import pytest

from okta_tokens.sandbox import Sandbox, SandboxClient
from okta_tokens.testing import assert_no_secrets
from tests.sandbox.jwts import assertion

SECRET = 'a-secret/with "every"+thing'
LOGGER = logging.getLogger("orders")
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def message_of(output: object, *secrets: str) -> str:
    """Return the message of the failed assertion, which has no part of the secret."""
    with pytest.raises(AssertionError) as caught:
        assert_no_secrets(output, *secrets)
    frame = caught.traceback[-1].frame
    assert frame.f_locals["__tracebackhide__"]
    assert not {"caplog", "secrets"}.intersection(frame.f_locals)
    message = str(caught.value)
    assert "a-secret" not in message
    assert ALPHABET[:20] not in message
    return message


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"client_secret={quote(SECRET, safe='')}&a",
        f"client_secret={quote(SECRET, safe='').lower()}&a",
        json.dumps({"secret": SECRET}),
        repr([SECRET]),
        *(base64.b64encode(b"x" * n + SECRET.encode() + b"x" * n).decode() for n in range(3)),
        base64.urlsafe_b64encode(f"app:{quote(SECRET)}".encode()).decode(),
    ],
)
def test_a_given_secret_is_found_in_each_spelling(text: str) -> None:
    """A secret is found as it is, URL-encoded, in JSON, in a repr, and in base64."""
    assert "- secret 2 of the arguments in the output" in message_of(text, "other", SECRET)
    assert_no_secrets(text.swapcase(), "other", SECRET)


@pytest.mark.parametrize("place", ["the message", "the attribute args", "the attribute order"])
def test_the_message_names_the_place_in_a_log(caplog: pytest.LogCaptureFixture, place: str) -> None:
    """Message, arguments and extra attributes are searched; logger and level are named."""
    secret = SECRET if place != "the attribute args" else {"a": SECRET}
    LOGGER.warning("%s", "" if "order" in place else secret, extra={"order": [secret]})

    assert f"{place} of a record of logger orders, WARNING" in message_of(caplog, SECRET)
    assert "caplog.text" in message_of(caplog, SECRET) or "order" in place


def test_a_secret_in_a_traceback_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """The traceback of a record is searched, with the causes of its exception."""
    error = KeyError("other")
    error.__cause__ = ValueError(SECRET)
    LOGGER.error("failed", exc_info=error)

    assert "in the traceback of a record of logger orders, ERROR" in message_of(caplog, SECRET)


def test_secrets_and_tokens_of_each_started_sandbox_are_known() -> None:
    """The secrets and the tokens of a sandbox are found once it was started, unless it is gone."""
    sandbox = Sandbox([SandboxClient("app", [SECRET])])
    token = sandbox.tokens.issue("app", None, ("a",), now=0, lifetime=10).value
    assert_no_secrets(f"{SECRET} {token}")

    with sandbox:
        pass
    assert "a client secret of a sandbox in item 1" in message_of(["", {"event": SECRET}])
    assert "an access token of a sandbox in the output" in message_of(token)
    del sandbox
    gc.collect()
    assert_no_secrets(f"{SECRET} {token}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (assertion("https://acme.okta.com"), "a JWT"),
        ("x\n-----BEGIN EC PRIVATE KEY-----\nabc", "a PEM private key"),
        ("-----BEGIN PRIVATE KEY-----", "a PEM private key"),
        (f"Authorization: Bearer {ALPHABET}", "Authorization header"),
        (f"'authorization': 'DPoP {ALPHABET}'", "Authorization header"),
        (f"basic {ALPHABET}=", "Authorization header"),
        (f"{{'Authorization': 'Bearer {ALPHABET[:20]}'}}", "Authorization header"),
    ],
)
def test_what_looks_like_a_credential_is_found(text: str, kind: str) -> None:
    """JWTs, private keys and values of the header are found although no sandbox knows them."""
    assert kind in message_of(text)


def test_what_only_resembles_a_credential_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    """Public keys, challenges, masked values and prose have no secret."""
    LOGGER.info("-----BEGIN PUBLIC KEY----- Bearer realm=x, Bearer ********************")
    assert_no_secrets(caplog)
    assert_no_secrets("Basic authentication/authorization failed. Authorization: Bearer redacted")
    assert_no_secrets("eyJ.a.b")


def test_an_empty_secret_is_refused_and_long_lists_are_cut() -> None:
    """An empty secret would be found everywhere. At most twenty places are listed."""
    with pytest.raises(ValueError, match="a secret is empty"):
        assert_no_secrets("", "")
    assert "- and 5 more\n" in message_of([SECRET] * 25, SECRET)
