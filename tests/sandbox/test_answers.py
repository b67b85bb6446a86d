"""Error bodies are written as Okta and OAuth write them."""

from __future__ import annotations

import json

import okta_tokens.sandbox._answers as answers


def test_oauth_format_has_error_and_description() -> None:
    """An OAuth error has the two members of RFC 6749 §5.2 and no others."""
    answer = answers.invalid_scope("No.").answer()

    assert answer.status == 400
    assert json.loads(answer.body) == {"error": "invalid_scope", "error_description": "No."}
    assert answer.error == "invalid_scope"


def test_okta_format_has_its_five_members_and_an_id_of_its_own() -> None:
    """An Okta error has five members, and each answer has another `errorId`."""
    first, second = (json.loads(answers.UNKNOWN_CLIENT.answer().body) for _ in range(2))

    assert first.pop("errorId").startswith("oae")
    assert first == {
        "errorCode": "invalid_client",
        "errorSummary": "Invalid value for 'client_id' parameter.",
        "errorLink": "invalid_client",
        "errorCauses": [],
    }
    assert second["errorId"] != first.get("errorId")


def test_the_authorization_header_is_answered_with_a_challenge() -> None:
    """Only a client that used the `Authorization` header is sent `WWW-Authenticate`."""
    assert "WWW-Authenticate" in answers.invalid_client("No.", challenge=True).headers
    assert "WWW-Authenticate" not in answers.invalid_client("No.", challenge=False).headers


def test_a_503_is_read_only_mode_and_other_5xx_are_internal_errors() -> None:
    """Okta's code for a 503 is E0000010, and E0000009 for the others."""
    assert answers.server_error(503).error == "E0000010"
    assert answers.server_error(500).error == "E0000009"


def test_the_body_of_an_answer_stays_out_of_its_repr() -> None:
    """An answer may hold a token, so its repr shows no body."""
    assert "secret-token" not in repr(answers.json_answer({"access_token": "secret-token"}))
