"""The endpoints: requests in, answers out, everything counted."""

from __future__ import annotations

import asyncio
import logging
import re
from email.utils import formatdate

from aiohttp import web

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox._answers import Answer, Refusal
from okta_tokens.sandbox._delivery import deliver
from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._limits import RateState
from okta_tokens.sandbox._metadata import issuer, metadata, metadata_paths
from okta_tokens.sandbox._model import IssuedToken, ReceivedRequest, SandboxClient
from okta_tokens.sandbox._request import ParsedRequest, receive
from okta_tokens.sandbox._resource import call_resource
from okta_tokens.sandbox._rules import authenticate, grant
from okta_tokens.sandbox._state import RESOURCE, SandboxState

_CLIENT_PATH = re.compile(r"/oauth2(?:/([^/]+))?/v1/(token|revoke|introspect)")
_logger = logging.getLogger("okta_tokens.sandbox")


class Endpoints:
    """The handler of every request.

    Args:
        state: What to answer from, and to count in.
    """

    def __init__(self, state: SandboxState) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._state = state
        self._metadata = metadata_paths(state.authorization_servers)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Cancellation closes its connection."""
        path = request.rel_url.raw_path
        if path == RESOURCE:
            return await self._send(request, call_resource(request, self._state))
        if matched := _CLIENT_PATH.fullmatch(path):
            return await self._client_endpoint(request, matched[1], matched[2])
        if path in self._metadata:
            return await self._send(request, self._describe(request, self._metadata[path]))
        return await self._send(request, answers.PATH_NOT_FOUND)

    def cancel(self) -> None:
        """Cancel the token requests that are under way: they may be slow on purpose."""
        for task in self._tasks:
            task.cancel()

    def _describe(self, request: web.BaseRequest, server: str | None) -> Answer | Refusal:
        if request.method not in {"GET", "HEAD"}:
            return answers.method_not_allowed("GET, HEAD")
        scopes = self._state.policy(server).known_scopes
        return answers.json_answer(metadata(self._state.origin, server, scopes))

    async def _client_endpoint(
        self, request: web.BaseRequest, server: str | None, name: str
    ) -> web.StreamResponse:
        if request.method != "POST":
            return await self._send(request, answers.method_not_allowed("POST"))
        if name == "token":
            return await self._token(request, server)
        arrived = self._state.wall_time()
        parsed = await receive(request)
        answer = self._about_token(parsed, server, revoke=name == "revoke")
        return await self._send(request, answer, parsed=parsed, arrived=arrived)

    # The token endpoint

    async def _token(self, request: web.BaseRequest, server: str | None) -> web.StreamResponse:
        state = self._state
        arrived = state.wall_time()
        state.token_requests += 1
        state.active += 1
        state.peak_concurrency = max(state.peak_concurrency, state.active)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — every handler runs in a task
        self._tasks.add(task)
        try:
            limit = state.concurrency_limit
            crowded = limit is not None and state.active > limit
            rate = state.window(server).take(arrived)
            fault = state.faults.take(arrived - state.started_at)
            parsed = await receive(request)
            if fault is None and (crowded or rate.exceeded):
                fault = Fault.concurrency_limited() if crowded else Fault.rate_limited()
            elif delay := state.delay():
                await asyncio.sleep(delay)
            reply: Answer | Refusal | None = None
            if fault is not None:
                reply = fault.reply
                rate = fault.rate(state.wall_time(), rate)
            if reply is None:
                reply = self._judge(parsed, server)
            return await self._send(
                request, reply, parsed=parsed, arrived=arrived, rate=rate, fault=fault
            )
        finally:
            self._tasks.discard(task)
            state.active -= 1

    def _judge(self, parsed: ParsedRequest, server: str | None) -> Answer | Refusal:
        state = self._state
        client = self._authenticated(parsed, server)
        if isinstance(client, Refusal):
            return client
        scopes = grant(parsed, client, state.policy(server))
        if isinstance(scopes, Refusal):
            return scopes
        token = state.tokens.issue(
            client.client_id,
            server,
            scopes,
            now=state.wall_time(),
            lifetime=state.token_lifetime(server, scopes),
        )
        state.tokens_issued += 1
        return answers.json_answer(
            {
                "token_type": "Bearer",
                "expires_in": state.token_lifetime(server, scopes),
                "access_token": token.value,
                "scope": " ".join(scopes),
            }
        )

    def _authenticated(self, parsed: ParsedRequest, server: str | None) -> SandboxClient | Refusal:
        if server is not None and server not in self._state.authorization_servers:
            return answers.resource_not_found(server)
        return authenticate(parsed, self._state.clients)

    # Revocation and introspection

    def _about_token(
        self, parsed: ParsedRequest, server: str | None, *, revoke: bool
    ) -> Answer | Refusal:
        client = self._authenticated(parsed, server)
        if isinstance(client, Refusal):
            return client
        value = parsed.form.get("token", "")
        if not value:
            return answers.invalid_request("The request is missing the 'token' parameter.")
        token = self._state.tokens.find(value)
        if token is not None and token.authorization_server != server:
            token = None  # only the server that issued a token knows it
        return self._revoke(token, client) if revoke else self._introspect(token)

    def _revoke(self, token: IssuedToken | None, client: SandboxClient) -> Answer | Refusal:
        if token is not None:
            if token.client_id != client.client_id:  # RFC 7009 §2.1: refused, and said so
                return answers.invalid_request("The token was issued to another client.")
            self._state.revoke(token.value)
        return Answer()  # RFC 7009 §2.2: an unknown token is as good as a revoked one

    def _introspect(self, token: IssuedToken | None) -> Answer:
        if token is None or not token.live(self._state.wall_time()):
            return answers.json_answer({"active": False})  # RFC 7662 §2.2: no more is said
        return answers.json_answer(
            {
                "active": True,
                "token_type": "Bearer",
                "scope": " ".join(token.scopes),
                "client_id": token.client_id,
                "sub": token.client_id,
                "iss": issuer(self._state.origin, token.authorization_server),
                "iat": int(token.issued_at),
                "exp": int(token.expires_at),
            }
        )

    # What every answer has

    async def _send(
        self,
        request: web.BaseRequest,
        reply: Answer | Refusal,
        *,
        parsed: ParsedRequest | None = None,
        arrived: float = 0.0,
        rate: RateState | None = None,
        fault: Fault | None = None,
    ) -> web.StreamResponse:
        state = self._state
        answer = reply.answer() if isinstance(reply, Refusal) else reply
        request_id = answers.new_id()
        headers = {
            "Date": formatdate(int(state.wall_time() + state.date_offset), usegmt=True),
            "Cache-Control": "no-store",
            "Pragma": "no-cache",
            "Server": "okta-tokens-sandbox",
            "X-Okta-Request-Id": request_id,
        }
        if rate is not None:
            headers |= rate.headers(state.date_offset)
        if parsed is not None:
            dropped = fault is not None and fault.cut == 0
            received = ReceivedRequest(
                at=arrived,
                path=request.rel_url.raw_path,
                client_id=parsed.credentials.client_id,
                method=parsed.credentials.method,
                scopes=parsed.scopes,
                user_agent=request.headers.get("User-Agent"),
                retry_for=request.headers.get("X-Okta-Retry-For"),
                retry_count=request.headers.get("X-Okta-Retry-Count"),
                request_id=request_id,
                status=None if dropped else answer.status,
                error=answer.error,
            )
            self._note(received, token_endpoint=rate is not None)
        return await deliver(request, answer, headers, fault)

    def _note(self, received: ReceivedRequest, *, token_endpoint: bool) -> None:
        state = self._state
        state.record(received)
        if token_endpoint:
            status = "dropped" if received.status is None else str(received.status)
            state.token_answers[status] += 1
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
