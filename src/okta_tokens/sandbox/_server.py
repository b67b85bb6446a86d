"""The running server: start it on a socket, and stop it."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import anyio
from aiohttp import web

from okta_tokens.sandbox._endpoints import Endpoints
from okta_tokens.sandbox._secrets import remember
from okta_tokens.sandbox._state import SandboxState
from okta_tokens.sandbox._thread import LoopThread

_BACKLOG: Final = 4096  # thousands of clients may connect in the same instant
_GRACE: Final = 0.01  # seconds; requests in progress are cancelled before


class Sandbox(SandboxState):
    """A local authorization server that is as strict as Okta, and a protected resource.

    The sandbox serves ``/oauth2/{id}/v1/token`` and ``/oauth2/v1/token`` (the org server), with
    ``revoke`` and ``introspect`` beside each, the metadata of each server, and ``/resource`` with
    all paths below it, which accepts only live tokens.

    Clients authenticate with any of Okta's four methods. A Basic header may hold the client id and
    the secret as they are, as Okta documents, or form-encoded (RFC 6749 §2.3.1). An assertion is
    accepted for one request, and a refused request uses it up, too. The same is true of a DPoP
    proof. A proof must contain the nonce from the header ``dpop-nonce``, which every response to a
    token request with a proof has. The token is then bound to the key of the proof, and the
    resource requires a proof that is made with that key.

    Attributes that can be set at any time:

    - `lifetime`, `rate_limit`, `concurrency_limit`: see the arguments.
    - `latency`: seconds before each token response, or a range of seconds.
    - `fault`: the fault of every token request.
    - `outage_windows`: the times at which token requests fail.
    - `date_offset`: seconds by which the server's clock is ahead. Assertions and proofs are
      checked by that clock.
    - `nonce_on_every_answer`: ``False`` sends a nonce only to a client that does not use it yet.
    - `resource_nonce`, `rate_limit`, `concurrency_limit`: see the arguments.

    `temporarily` sets these attributes within a ``with`` block. `assert_received` checks which
    token requests arrived.

    ``async with`` runs the sandbox on the caller's event loop; ``with`` runs it on an event loop in
    a thread of its own. All attributes and methods can be used from any thread.

    Attributes to read: `token_requests`, `tokens_issued`, `tokens_revoked`, `token_answers` (token
    responses by status), `peak_concurrency` (of token requests), `resource_calls`,
    `resource_refused`, `expired_tokens_seen` (at the resource), `received` and `clients`.

    Each token request is logged at level INFO by the logger ``okta_tokens.sandbox``, without
    secrets and tokens.

    Args:
        clients: The known clients.
        authorization_servers: The ids of the custom authorization servers.
        default_scopes: The scopes that custom servers grant if a request has no scopes. Without
            default scopes, such a request is refused.
        lifetime: The lifetime of a custom server's token in seconds. The org server's tokens live
            3600 seconds.
        lifetimes: Lifetimes in seconds by scopes, written ``"a b"`` in any order, on any server.
        rate_limit: Token requests per window, counted for the org server and for all custom servers
            together; ``None`` shows a limit in the headers but enforces none.
        rate_window: The length of a window in seconds.
        concurrency_limit: The largest number of concurrent token requests; further ones are
            refused. ``None`` enforces no limit.
        host: The address to listen on. If other machines can reach it, the sandbox warns
            (`UserWarning`), because its secrets are known to everyone.
        port: The port to listen on; 0 chooses a free one.
        ssl_context: The TLS context; with one, the sandbox serves HTTPS.
        wall_time: The clock for token lifetimes, rate windows and the ``Date`` header.
        on_request: A function that is called with every recorded request before its response is
            sent. If the function raises, the response is a 500.
        control: Whether programs on this machine may steer the running sandbox over its path
            ``/control``, as `okta-tokens sandbox fault` does.
        on_control: A function that is called with a sentence about each command that the sandbox
            obeyed over that path. If the function raises, the response is a 500.
        seed: The seed of random latencies, to repeat them.
        signed_tokens: Whether tokens are JWTs like those of Okta's custom servers, signed with
            RS256 by a key that ``/oauth2/v1/keys`` and ``/oauth2/{id}/v1/keys`` publish. Otherwise
            tokens are opaque. Signed tokens need the extra ``jwt``.
        dpop_nonce_lifetime: Seconds after which a nonce is replaced; a nonce is accepted three
            times as long.
        resource_nonce: Whether the resource requires its own nonce in proofs. Okta's APIs do not.

    Raises:
        ValueError: A scope is malformed, a string is given in place of a list, an option is not a
            number, a lifetime is less than a second, or the lifetime of a nonce is not positive.
        ImportError: `signed_tokens` is set, and the extra ``jwt`` is not installed.
    """

    _running: tuple[web.Server, web.ServerRunner, Endpoints] | None = None
    _thread: LoopThread | None = None

    async def start(self) -> Self:
        """Start to listen. A closed sandbox starts again on the same port with all its tokens.

        Returns:
            The sandbox.

        Raises:
            RuntimeError: The sandbox is already running.
            OSError: The sandbox cannot listen on the address.

        Cancellation closes everything that was opened.
        """
        endpoints = Endpoints(self)
        server = web.Server(endpoints, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        with self.lock:  # two threads may start the sandbox
            if self._running is not None:
                raise RuntimeError(
                    "The sandbox is already running. Close it before you start it again."
                )
            self._running = server, runner, endpoints
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
        self.port: int = site.port
        self.started_at: float = self.wall_time()
        remember(self)
        return self

    async def aclose(self) -> None:
        """Stop listening, cancel the requests in progress, and close every connection.

        Closing a closed sandbox does nothing. Cancellation takes effect only after the sandbox is
        closed.
        """
        with anyio.CancelScope(shield=True):
            if self._thread is None:
                await self._stop()
            else:
                await anyio.to_thread.run_sync(self.close)

    def close(self) -> None:
        """Close a sandbox that ``with`` started, as `aclose` does, and end its thread.

        Closing a closed sandbox does nothing. In a forked child, the parent's sandbox is only
        forgotten.

        Raises:
            RuntimeError: The sandbox runs on the event loop of a caller, or `on_request` closes it.
        """
        thread = self._thread
        if thread is None:
            if self._running is not None:
                raise RuntimeError(
                    "The sandbox runs on an event loop of yours. Close it with aclose()."
                )
            return
        if thread.current:
            raise RuntimeError(
                "The sandbox is closed by its own thread, in on_request, which would wait for "
                "itself. Close the sandbox in another thread."
            )
        self._thread = None
        if not thread.alive:
            self._running = None
            return
        try:
            thread.run(self._stop)
        finally:
            thread.stop()

    async def _stop(self) -> None:
        if self._running is None:
            return
        (server, runner, endpoints), self._running = self._running, None
        transports = [connection.transport for connection in server.connections]
        endpoints.cancel()
        await runner.cleanup()
        # A closed transport waits for a client that does not read. The event loop may end earlier.
        for transport in filter(None, transports):
            transport.abort()

    def __enter__(self) -> Self:
        thread = LoopThread()
        try:
            thread.run(self.start)
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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
        location = self.origin if self.port else "not started"
        return f"<Sandbox {location}: {self.tokens_issued} tokens, {self.token_requests} requests>"
