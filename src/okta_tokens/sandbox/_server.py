"""The sandbox on a socket."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import anyio
from aiohttp import web

from okta_tokens.sandbox._endpoints import Endpoints
from okta_tokens.sandbox._state import SandboxState

_BACKLOG: Final = 4096  # thousands of clients may connect in the same moment
_GRACE: Final = 0.01  # seconds; what still runs was cancelled by then


class Sandbox(SandboxState):
    """A local authorization server that is as strict as Okta, and a resource to use its tokens at.

    It serves ``/oauth2/{id}/v1/token`` and ``/oauth2/v1/token`` (the org server), ``revoke`` and
    ``introspect`` beside each, their metadata, and ``/resource`` with all paths below it, which
    accepts live tokens only.

    Clients authenticate in any of Okta's four ways. An assertion is good for one request, also for
    one that is refused. A DPoP proof is, too, and it must carry a nonce, which is in the header
    ``dpop-nonce`` of every answer to a token request with a proof; the token is bound to the key of
    the proof then, and the resource wants such proofs.

    Beside the methods it has attributes. To set, at any time: `latency` (seconds of each token
    answer, or a range of them), `fault`, `outage_windows`, `date_offset` (seconds that the
    server's clock is off; assertions and proofs are judged by it), `nonce_on_every_answer`
    (False tells a nonce only to a client that does not use it), and `resource_nonce`. To read:
    `token_requests`, `tokens_issued`, `tokens_revoked`, `token_answers` (by status),
    `peak_concurrency` (of token requests), `resource_calls`, `resource_refused`,
    `expired_tokens_seen` (at the resource), `received` and `clients`.

    Each token request makes one INFO line at the logger ``okta_tokens.sandbox``, with no secret
    and no token in it.

    Args:
        clients: The clients it knows.
        authorization_servers: The ids of its custom authorization servers.
        default_scopes: The scopes that custom servers grant when none are asked for. Without any,
            such a request is refused.
        lifetime: Seconds that a custom server's token lives. The org server's lives 3600.
        lifetimes: Seconds per set of scopes, spelled ``"a b"`` in any order, on any server.
        rate_limit: Token requests per window, counted for the org server and for all custom ones
            together; ``None`` shows a limit in the headers, and enforces none.
        rate_window: Seconds of a window.
        concurrency_limit: Token requests at once; one more is refused.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        ssl_context: Serves HTTPS if given.
        wall_time: The clock behind token lives, rate windows and the ``Date`` header.
        on_request: Called with every request that was judged, before its answer is sent. What
            it raises becomes a 500.
        seed: Makes random latencies repeatable.
        signed_tokens: Whether tokens are JWTs like those of Okta's custom servers, signed with
            RS256 by a key that ``/oauth2/v1/keys`` and ``/oauth2/{id}/v1/keys`` publish. Otherwise
            they are opaque. Signing needs the extra ``jwt``.
        dpop_nonce_lifetime: Seconds after which a nonce is replaced; it is accepted three times
            as long.
        resource_nonce: Whether the resource wants a nonce in proofs, too, as Okta's own do not.

    Raises:
        ValueError: A scope is malformed, a lifetime is less than a second, or a nonce's is none.
        ImportError: Tokens are to be signed, and the extra ``jwt`` is not installed.
    """

    _running: tuple[web.ServerRunner, Endpoints] | None = None

    async def start(self) -> Self:
        """Listen. A sandbox that was closed starts again on the same port, with all its tokens.

        Returns:
            The sandbox.

        Raises:
            RuntimeError: It is running already.
            OSError: The address cannot be listened on.

        Cancellation leaves nothing behind.
        """
        if self._running is not None:
            raise RuntimeError("the sandbox is running already")
        endpoints = Endpoints(self)
        server = web.Server(endpoints, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        self._running = runner, endpoints
        try:
            await runner.setup()
            site = web.TCPSite(
                runner,
                self.host,
                self.port,
                ssl_context=self.ssl_context,
                backlog=_BACKLOG,
            )
            await site.start()
        except BaseException:
            await self.aclose()
            raise
        self.port = site.port
        self.started_at = self.wall_time()
        return self

    async def aclose(self) -> None:
        """Stop listening, cancel what is under way, close every connection. Closing twice is fine.

        Cancellation is held back until that is done; it takes some hundredths of a second.
        """
        if self._running is None:
            return
        (runner, endpoints), self._running = self._running, None
        endpoints.cancel()
        with anyio.CancelScope(shield=True):
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        where = self.origin if self.port else "not started"
        return f"<Sandbox {where}: {self.tokens_issued} tokens, {self.token_requests} requests>"
