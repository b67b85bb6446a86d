"""The endpoints: requests in, answers out, everything counted."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate

from aiohttp import web

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox._answers import Answer, Refusal
from okta_tokens.sandbox._delivery import deliver
from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._limits import RateState
from okta_tokens.sandbox._metadata import metadata, metadata_paths
from okta_tokens.sandbox._model import ReceivedRequest
from okta_tokens.sandbox._proofs import Proof
from okta_tokens.sandbox._request import ParsedRequest, receive, requested_url
from okta_tokens.sandbox._resource import call_resource
from okta_tokens.sandbox._state import RESOURCE, SandboxState
from okta_tokens.sandbox._tokens import answer_about_token, answer_token_request

_CLIENT_PATH = re.compile(r"/oauth2(?:/([^/]+))?/v1/(token|revoke|introspect)")
_KEYS_PATH = re.compile(r"/oauth2(?:/([^/]+))?/v1/keys")
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
        try:
            return await self._answer(request)
        except ImportError as error:  # an extra; its message says which, and how to get it
            return await self._send(request, Refusal(500, "server_error", str(error)))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path == RESOURCE or path.startswith(f"{RESOURCE}/"):
            return await self._send(request, call_resource(request, self._state))
        if matched := _CLIENT_PATH.fullmatch(path):
            return await self._client_endpoint(request, matched[1], matched[2])
        if path in self._metadata:
            return await self._send(request, self._describe(request, self._metadata[path]))
        if matched := _KEYS_PATH.fullmatch(path):
            return await self._send(request, self._publish(request, matched[1]))
        return await self._send(request, answers.PATH_NOT_FOUND)

    def cancel(self) -> None:
        """Cancel the token requests that are under way: they may be slow on purpose."""
        for task in self._tasks:
            task.cancel()

    def _describe(self, request: web.BaseRequest, server: str | None) -> Answer | Refusal:
        if request.method not in {"GET", "HEAD"}:
            return answers.method_not_allowed("GET, HEAD")
        state = self._state
        scopes, signed = state.policy(server).known_scopes, state.signing_key is not None
        return answers.json_answer(metadata(state.origin, server, scopes, signed=signed))

    def _publish(self, request: web.BaseRequest, server: str | None) -> Answer | Refusal:
        if self._state.signing_key is None:
            return answers.PATH_NOT_FOUND
        if server not in self._state.evidence.nonces:
            return answers.resource_not_found(server or "")
        if request.method not in {"GET", "HEAD"}:
            return answers.method_not_allowed("GET, HEAD")
        return answers.json_answer(self._state.signing_key.jwks())

    async def _client_endpoint(
        self, request: web.BaseRequest, server: str | None, name: str
    ) -> web.StreamResponse:
        if request.method != "POST":
            return await self._send(request, answers.method_not_allowed("POST"))
        if name == "token":
            return await self._token(request, server)
        arrived = self._state.wall_time()
        parsed = self._identified(request, await receive(request))
        answer = answer_about_token(self._state, parsed, server, name)
        return await self._send(request, answer, parsed=parsed, arrived=arrived)

    def _identified(self, request: web.BaseRequest, parsed: ParsedRequest) -> ParsedRequest:
        """Use up the client assertion in a request, whether it will be refused or not."""
        state = self._state
        url = requested_url(request, state.origin)
        return state.evidence.identify(parsed, state.clients, url=url, now=state.now())

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
            parsed = self._identified(request, await receive(request))
            parsed = self._proven(request, parsed, server)
            if fault is None and (crowded or rate.exceeded):
                fault = Fault.concurrency_limited() if crowded else Fault.rate_limited()
            elif delay := state.delay():
                await asyncio.sleep(delay)
            reply: Answer | Refusal | None = None
            if fault is not None:
                reply = fault.reply
                rate = fault.rate(state.wall_time(), rate)
            if reply is None:
                reply = answer_token_request(state, parsed, server)
            return await self._send(
                request,
                reply,
                parsed=parsed,
                arrived=arrived,
                rate=rate,
                fault=fault,
                headers=self._nonce(parsed, server),
            )
        finally:
            self._tasks.discard(task)
            state.active -= 1

    def _proven(
        self, request: web.BaseRequest, parsed: ParsedRequest, server: str | None
    ) -> ParsedRequest:
        """Use up the DPoP proof of a request, whether it will be refused or not."""
        state = self._state
        nonces = state.evidence.nonces.get(server)
        if nonces is None or not parsed.dpop:
            return parsed
        proof = state.evidence.prove(
            parsed.dpop,
            method=request.method,
            url=requested_url(request, state.origin),
            now=state.now(),
            nonces=nonces,
            wanted="Authorization server requires nonce in DPoP proof.",
        )
        return replace(parsed, proof=proof)

    def _nonce(self, parsed: ParsedRequest, server: str | None) -> Mapping[str, str]:
        """Return the header that tells the nonce of the next proof (RFC 9449 §8.2)."""
        state = self._state
        if parsed.proof is None:
            return answers.NO_HEADERS
        nonce = state.evidence.nonces[server].current(state.now())
        if parsed.proof.nonce == nonce and not state.nonce_on_every_answer:
            return answers.NO_HEADERS
        return {answers.DPOP_NONCE: nonce}

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
        headers: Mapping[str, str] = answers.NO_HEADERS,
    ) -> web.StreamResponse:
        state = self._state
        answer = reply.answer() if isinstance(reply, Refusal) else reply
        request_id = answers.new_id()
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
            dropped = fault is not None and fault.cut == 0
            received = _received(request, parsed, arrived, request_id, answer, dropped=dropped)
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


def _received(
    request: web.BaseRequest,
    parsed: ParsedRequest,
    arrived: float,
    request_id: str,
    answer: Answer,
    *,
    dropped: bool,
) -> ReceivedRequest:
    credentials, proof = parsed.credentials, parsed.proof or Proof()
    return ReceivedRequest(
        at=arrived,
        path=request.rel_url.raw_path,
        client_id=credentials.client_id,
        method=credentials.method,
        scopes=parsed.scopes,
        user_agent=request.headers.get("User-Agent"),
        retry_for=request.headers.get("X-Okta-Retry-For"),
        retry_count=request.headers.get("X-Okta-Retry-Count"),
        request_id=request_id,
        status=None if dropped else answer.status,
        error=answer.error,
        algorithm=credentials.algorithm,
        kid=credentials.kid,
        proof=parsed.proof is not None,
        jkt=proof.jkt,
        nonce=proof.nonce is not None,
    )
