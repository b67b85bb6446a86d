"""Route each request to its endpoint, and send the response with the headers that Okta sends."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate

from aiohttp import web

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._client_authentication import choose_basic_encoding
from okta_tokens.sandbox._control_endpoint import CONTROL, handle_control
from okta_tokens.sandbox._fault_injection import send_response
from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._metadata import metadata, metadata_paths
from okta_tokens.sandbox._rate_limits import RateState
from okta_tokens.sandbox._received_request import ReceivedRequest, received_request
from okta_tokens.sandbox._request_parsing import ParsedRequest, receive_request, requested_url
from okta_tokens.sandbox._resource import handle_resource_call
from okta_tokens.sandbox._responses import (
    DPOP_NONCE,
    NO_HEADERS,
    ErrorResponse,
    Response,
    json_response,
    new_id,
)
from okta_tokens.sandbox._state import RESOURCE, SandboxState
from okta_tokens.sandbox._token_endpoints import (
    handle_introspection,
    handle_revocation,
    handle_token_request,
)

_CLIENT_PATH = re.compile(r"/oauth2(?:/([^/]+))?/v1/(token|revoke|introspect)")
_KEYS_PATH = re.compile(r"/oauth2(?:/([^/]+))?/v1/keys")
_AUTHORIZATION_PATH = re.compile(r"/oauth2(?:/([^/]+))?/v1/authorize")
_logger = logging.getLogger("okta_tokens.sandbox")


class Endpoints:
    """The handler of every request.

    Args:
        state: The state of the sandbox.
    """

    def __init__(self, state: SandboxState) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._state = state
        self._metadata = metadata_paths(state.authorization_servers)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request. Cancellation closes its connection."""
        try:
            return await self._route(request)
        except ImportError as error:  # the message names the missing extra
            return await self._send(request, ErrorResponse(500, "server_error", str(error)))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if matched := _CLIENT_PATH.fullmatch(path):
            return await self._route_client_endpoint(request, matched[1], matched[2])
        if path == CONTROL or path.startswith(f"{CONTROL}/"):
            return await self._send(request, await handle_control(request, self._state))
        return await self._send(request, self._respond(request, path))

    def _respond(self, request: web.BaseRequest, path: str) -> Response | ErrorResponse:
        """Return the response of an endpoint that reads no body."""
        if path == RESOURCE or path.startswith(f"{RESOURCE}/"):
            with self._state.lock:
                return handle_resource_call(request, self._state)
        if path in self._metadata:
            return self._metadata_of(request, self._metadata[path])
        if matched := _KEYS_PATH.fullmatch(path):
            return self._keys_of(request, matched[1])
        if matched := _AUTHORIZATION_PATH.fullmatch(path):
            return self._authorize(request, matched[1])
        return okta_errors.PATH_NOT_FOUND

    def cancel(self) -> None:
        """Cancel the token requests in progress, which latency or a fault may slow down."""
        for task in self._tasks:
            task.cancel()

    def _metadata_of(
        self, request: web.BaseRequest, server: str | None
    ) -> Response | ErrorResponse:
        if request.method not in {"GET", "HEAD"}:
            return okta_errors.method_not_allowed("GET, HEAD")
        state = self._state
        return json_response(metadata(state.origin, server, state._policy(server).known_scopes))

    def _keys_of(self, request: web.BaseRequest, server: str | None) -> Response | ErrorResponse:
        if server not in self._state.verifier.nonces:
            return okta_errors.resource_not_found(server or "")
        if request.method not in {"GET", "HEAD"}:
            return okta_errors.method_not_allowed("GET, HEAD")
        key = self._state.signing_key
        return json_response({"keys": []} if key is None else key.jwks())

    def _authorize(self, request: web.BaseRequest, server: str | None) -> Response | ErrorResponse:
        if server not in self._state.verifier.nonces:
            return okta_errors.resource_not_found(server or "")
        if request.method not in {"GET", "HEAD", "POST"}:
            return okta_errors.method_not_allowed("GET, HEAD, POST")
        return okta_errors.NO_SIGN_IN

    async def _route_client_endpoint(
        self, request: web.BaseRequest, server: str | None, name: str
    ) -> web.StreamResponse:
        if request.method != "POST":
            return await self._send(request, okta_errors.method_not_allowed("POST"))
        if name == "token":
            return await self._handle_token_request(request, server)
        return await self._handle_token_management(request, server, name)

    # The revocation and introspection endpoints

    async def _handle_token_management(
        self, request: web.BaseRequest, server: str | None, name: str
    ) -> web.StreamResponse:
        arrived = self._state.wall_time()
        parsed = await self._receive(request)
        handle = handle_revocation if name == "revoke" else handle_introspection
        with self._state.lock:
            response = handle(self._state, parsed, server)
        return await self._send(request, response, parsed=parsed, arrived=arrived)

    async def _receive(self, request: web.BaseRequest) -> ParsedRequest:
        """Receive a request, and verify its client assertion, which uses the assertion up."""
        state = self._state
        parsed = choose_basic_encoding(await receive_request(request), state.clients)
        url = requested_url(request, state.origin)
        return state.verifier.verify_assertion(parsed, state.clients, url=url, now=state.now())

    # The token endpoint

    async def _handle_token_request(
        self, request: web.BaseRequest, server: str | None
    ) -> web.StreamResponse:
        """Respond to a token request.

        Four cases, in this order. In each of them the request uses up its assertion and its proof.
        - A fault with a response of its own: that response, after the latency.
        - A fault without one: the true response after the latency, damaged while it is sent.
        - The concurrency limit or the rate limit is exceeded: a 429 at once.
        - Otherwise: the true response, after the latency.
        """
        state = self._state
        arrived = state.wall_time()
        state._begin_token_request()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — every handler runs in a task
        self._tasks.add(task)
        try:
            limit = state.concurrency_limit
            too_many_active = limit is not None and state.active > limit
            with state.lock:
                rate = state._window(server).take(arrived)
                fault = state.faults.take(arrived, state.started_at)
            parsed = await self._receive(request)
            parsed = self._verify_proof(request, parsed, server)
            if fault is None and (too_many_active or rate.exceeded):
                fault = Fault.concurrency_limited() if too_many_active else Fault.rate_limited()
            elif delay := state._delay():
                await asyncio.sleep(delay)
            response: Response | ErrorResponse | None = None
            if fault is not None:
                response = fault.reply
                rate = fault._rate(state.wall_time(), rate)
            if response is None:
                with state.lock:
                    response = handle_token_request(state, parsed, server)
            return await self._send(
                request,
                response,
                parsed=parsed,
                arrived=arrived,
                rate=rate,
                fault=fault,
                headers=self._nonce_header(parsed, server),
            )
        finally:
            self._tasks.discard(task)
            state.active -= 1

    def _verify_proof(
        self, request: web.BaseRequest, parsed: ParsedRequest, server: str | None
    ) -> ParsedRequest:
        """Verify the DPoP proof of a request, which uses it up."""
        state = self._state
        nonces = state.verifier.nonces.get(server)
        if nonces is None or not parsed.dpop_headers:
            return parsed
        with state.lock:
            proof = state.verifier.verify_proof(
                parsed.dpop_headers,
                method=request.method,
                url=requested_url(request, state.origin),
                now=state.now(),
                nonces=nonces,
                nonce_error="Authorization server requires nonce in DPoP proof.",
            )
        return replace(parsed, proof=proof)

    def _nonce_header(self, parsed: ParsedRequest, server: str | None) -> Mapping[str, str]:
        """Return the header with the nonce of the next proof (RFC 9449 §8.2), if it is needed."""
        state = self._state
        if parsed.proof is None:
            return NO_HEADERS
        nonce = state.dpop_nonce(server)
        if parsed.proof.nonce == nonce and not state.nonce_on_every_answer:
            return NO_HEADERS
        return {DPOP_NONCE: nonce}

    # Every response

    async def _send(
        self,
        request: web.BaseRequest,
        response: Response | ErrorResponse,
        *,
        parsed: ParsedRequest | None = None,
        arrived: float = 0.0,
        rate: RateState | None = None,
        fault: Fault | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> web.StreamResponse:
        state = self._state
        rendered = response.render() if isinstance(response, ErrorResponse) else response
        request_id = new_id()
        headers = {
            "Date": formatdate(int(state.now()), usegmt=True),
            "Cache-Control": "no-store",
            "Pragma": "no-cache",
            "Server": "okta-tokens-sandbox",
            "X-Okta-Request-Id": request_id,
            **headers,
        }
        if rate is not None:
            headers |= rate.headers(state.date_offset)
        if parsed is not None:
            received = received_request(
                request,
                parsed,
                rendered,
                arrived=arrived,
                request_id=request_id,
                dropped=fault is not None and fault.cut == 0,
                clients=self._state.clients,
            )
            self._record(received, token_endpoint=rate is not None)
        return await send_response(request, rendered, headers, fault)

    def _record(self, received: ReceivedRequest, *, token_endpoint: bool) -> None:
        state = self._state
        status = "dropped" if received.status is None else str(received.status)
        state._record(received, answer=status if token_endpoint else None)
        if token_endpoint:
            _logger.info(
                "token request: path=%s client_id=%r method=%s scopes=%r status=%s error=%s",
                received.path,
                received.client_id,
                received.method,
                " ".join(received.scopes),
                status,
                received.error,
            )
        if state.on_request is not None:
            state.on_request(received)
