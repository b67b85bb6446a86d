"""Responses are rendered in Okta's two error formats."""

from __future__ import annotations

import json

from okta_tokens.sandbox._responses import ErrorFormat, ErrorResponse, json_response


def test_oauth_format_has_error_and_description() -> None:
    """An OAuth error has the two members of RFC 6749 §5.2 and no others."""
    response = ErrorResponse(400, "invalid_scope", "No.").render()

    assert response.status == 400
    assert json.loads(response.body) == {"error": "invalid_scope", "error_description": "No."}
    assert response.error_code == "invalid_scope"


def test_okta_format_has_five_members_and_its_own_id() -> None:
    """An Okta error has five members, and each response has another `errorId`."""
    error = ErrorResponse(401, "E1", "No.", ErrorFormat.OKTA)
    first, second = (json.loads(error.render().body) for _ in range(2))

    first_id, second_id = first.pop("errorId"), second.pop("errorId")
    assert first_id.startswith("oae")
    assert first_id != second_id
    assert first == {
        "errorCode": "E1",
        "errorSummary": "No.",
        "errorLink": "E1",
        "errorCauses": [],
    }


def test_the_repr_of_a_response_does_not_show_the_body() -> None:
    """A body may contain a token, so that no repr shows it."""
    assert "secret-token" not in repr(json_response({"access_token": "secret-token"}))
