"""Mistakes that type checkers must find: a comment that ignores no error is an error itself.

`.ci/run` checks this file where it checks `consumer.py`. No program runs it.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

import okta_tokens
from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.adapters.httpx import TokenAuth
from okta_tokens.errors import TransportError
from okta_tokens.events import Event, TokenFetched


async def forget_await(source: TokenSource, provider: TokenProvider) -> None:
    """Drop a coroutine, and read the value of another one."""
    provider.clear()  # type: ignore[unused-coroutine]
    print(source.get_token().value)  # type: ignore[attr-defined]


def forget_none(source: TokenSource) -> None:
    """Read the value of a token that the source may not hold."""
    print(source.peek().value)  # type: ignore[union-attr]


def misspell(token: AccessToken) -> None:
    """Misspell a class, an option and an attribute."""
    print(okta_tokens.TokenProvidr)  # type: ignore[attr-defined]
    print(TokenProvider(max_token=5))  # type: ignore[call-arg]
    print(token.valeu)  # type: ignore[attr-defined]


def pass_another_type(client: OktaClient, provider: TokenProvider) -> None:
    """Pass bytes as a secret, a client as scopes, and a provider as the source."""
    print(ClientSecretBasic(b"bytes"))  # type: ignore[arg-type]
    print(provider.source(client, client))  # type: ignore[arg-type]
    print(TokenAuth(provider, origins=[]))  # type: ignore[arg-type]


def observe(event: Event) -> None:
    """Read what only another event tells, and change an event."""
    print(event.lifetime)  # type: ignore[attr-defined]
    if isinstance(event, TokenFetched):
        event.lifetime = 0.0  # type: ignore[misc]


def handle(error: TransportError) -> None:
    """Read a status where there was no response, and observe errors instead of events."""
    print(error.status)  # type: ignore[attr-defined]
    print(TokenProvider(observers=[handle]))  # type: ignore[list-item]
