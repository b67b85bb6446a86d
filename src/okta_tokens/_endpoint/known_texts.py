"""The fixed texts of Okta's responses. They hold no secret, so they are shown as they are.

A test secret such as `client` or `s` is a part of most of them.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"E0000[0-9]{3}")

_OAUTH_CODES = frozenset(
    {
        # RFC 6749 sections 4.1.2.1 and 5.2
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        # OpenID Connect Core section 3.1.2.6; Okta sends it if no scope is granted to the app
        "consent_required",
        # RFC 8707 section 2
        "invalid_target",
        # RFC 7009 section 2.2.1
        "unsupported_token_type",
        # RFC 9449 sections 5 and 8
        "invalid_dpop_proof",
        "use_dpop_nonce",
    }
)

_DESCRIPTIONS = frozenset(
    {
        # Client authentication
        (
            "Can't supply multiple client credentials. Use one of the following: credentials in "
            "the Authorization header, credentials in the post body, or a client_assertion in the "
            "post body."
        ),
        (
            "Cannot supply multiple client credentials. Use one of the following: credentials in "
            "the Authorization header, credentials in the post body, or a client_assertion in the "
            "post body."
        ),
        (
            "Client Credentials requests to the Org Authorization Server must use the "
            "private_key_jwt token_endpoint_auth_method."
        ),
        "Client authentication failed. Either the client or the client credentials are invalid.",
        "Invalid value for 'client_id' parameter.",
        "No client credentials found.",
        (
            "Only clients with 'application_type' of 'service' may use the client_credentials "
            "'grant_type' with the Org Authorization Server."
        ),
        "The client secret is too short to verify a JWT HMAC.",
        "The client secret supplied for a confidential client is invalid.",
        # Client assertions
        "The audience claim for client_assertion must be the endpoint invoked for the request.",
        "The client does not have a JWKSet configured, but the client_assertion requires one.",
        "The client_assertion JWT kid is invalid.",
        "The client_assertion cannot be parsed as a signed JWT.",
        (
            "The client_assertion must be signed with one of RS256, RS384, RS512, ES256, ES384, "
            "ES512, HS256, HS384, HS512."
        ),
        "The client_assertion JWT signature algorithm is invalid.",
        "The client_assertion signature is invalid.",
        "The client_assertion token has already been used.",
        "The client_assertion token has an expiration too far into the future.",
        "The client_assertion token is expired.",
        "The client_assertion token is not valid yet.",
        "The client_assertion token must be issued before current time.",
        "The client_assertion token must have an expiration.",
        "The client_assertion_type is invalid.",
        "The issuer and the subject of client_assertion must both be the client_id.",
        "The jti claim for client_assertion must be a string.",
        "The request is missing the client_assertion.",
        "Error retrieving the client JWKSet from jwks_uri.",
        # DPoP
        (
            "'alg' in the DPoP proof JWT header must be one of RS256, RS384, RS512, ES256, ES384, "
            "ES512."
        ),
        "'jwk' in the DPoP proof JWT header must be a public key, and RSA or EC.",
        "'typ' in the DPoP proof JWT header must be dpop+jwt.",
        "'htm' claim in the DPoP proof JWT is invalid.",
        "'htu' claim in the DPoP proof JWT is invalid.",
        "'iat' claim in the DPoP proof JWT is invalid.",
        "'jti' claim in the DPoP proof JWT is invalid.",
        "Authorization server requires nonce in DPoP proof.",
        "DPoP proof JWT cannot be parsed.",
        "The DPoP proof JWT has already been used.",
        "The DPoP proof JWT header is missing.",
        "The DPoP proof JWT signature is invalid.",
        "There must be one DPoP proof JWT header.",
        # Scopes and policies
        "Cannot request 'openid' scopes using client credentials.",
        "Custom scopes are not allowed for this request.",
        (
            "The authorization server resource does not have any configured default scopes, "
            "'scope' must be provided."
        ),
        "No scopes were requested.",
        "One or more scopes are not configured for the authorization server resource.",
        "Policy evaluation failed for this request, please check the policy configurations.",
        "The authorization grant type is not supported by the authorization server.",
        (
            "The client is not authorized to use the provided grant type. "
            "Configured grant types: [client_credentials]."
        ),
        "'client_credentials' grant type can only be used with a custom authorization server.",
        "This client cannot use a custom authorization server.",
        "The requested scope is invalid, unknown, or malformed.",
        "You are not allowed any of the requested scopes.",
        # Paths and media types
        ("Bad request. Accept and/or Content-Type headers likely do not match supported values."),
        "The endpoint does not support the provided HTTP method",
        "The requested path was not found",
        # Outages and rate limits
        "API call exceeded rate limit due to too many requests.",
        "Internal Server Error",
        "Service is in read only mode.",
        "You exceeded the maximum number of requests. Try again in a while.",
    }
)

_HEADERS = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "dpop-nonce",
        "location",
        "retry-after",
        "server",
        "strict-transport-security",
        "transfer-encoding",
        "via",
        "www-authenticate",
        "x-okta-request-id",
        "x-rate-limit-limit",
        "x-rate-limit-remaining",
        "x-rate-limit-reset",
    }
)


def is_oauth_code(text: str) -> bool:
    """Tell whether a text is one of the error codes that a token endpoint may send.

    Args:
        text: An error code, as the server sent it.
    """
    return text in _OAUTH_CODES


def is_known_text(text: str) -> bool:
    """Tell whether a text is one of Okta's error codes, one of its descriptions, or a usual header.

    Args:
        text: An error code, a description or the name of a header, as the server sent it.
    """
    return (
        text in _OAUTH_CODES
        or text in _DESCRIPTIONS
        or text.lower() in _HEADERS
        or _CODE.fullmatch(text) is not None
    )
