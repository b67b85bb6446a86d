"""The exchange: one POST to a token endpoint, and what came of it."""

from __future__ import annotations

import asyncio
import platform
import ssl
from collections.abc import Callable
from urllib.parse import urlencode

import aiohttp
import anyio

from okta_tokens._auth.authentication import TokenRequest, authenticate, ends_the_task
from okta_tokens._auth.dpop import DPoP
from okta_tokens._endpoint.token_response import MAX_BODY, Response
from okta_tokens._model.client import OktaClient
from okta_tokens._runtime.clock import Clock, read
from okta_tokens._runtime.redaction import sanitize, scrub
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._version import __version__
from okta_tokens.errors import FetchError, TransportError

USER_AGENT = (
    f"okta-tokens/{__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
)

_HEADERS = {
    "Accept": "application/json",
    # An answer has a few hundred bytes: nothing to compress.
    "Accept-Encoding": "identity",
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": USER_AGENT,
}
_NO_TIMEOUT = aiohttp.ClientTimeout()
"""The deadline is ours, by our clock."""
_BETWEEN = "what stands between here and Okta"
_UNTRUSTED = (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch)


class Exchange:
    """Send token requests to one domain.

    Args:
        session: What they are sent with.
        proxy: Through which proxy, if not the session's own choice.
        clock: Tells the time.
        schedule: Ends what takes too long.
    """

    def __init__(
        self, session: aiohttp.ClientSession, proxy: str | None, clock: Clock, schedule: Schedule
    ) -> None:
        self._session = session
        self._proxy = proxy
        self._clock = clock
        self._schedule = schedule

    async def __call__(
        self,
        request: TokenRequest,
        client: OktaClient,
        deadline: float,
        *,
        dpop: DPoP | None = None,
        nonce: str | None = None,
        proceed: Callable[[], bool],
    ) -> Response | FetchError | None:
        """Make one request, from asking for the credential to the last byte of the answer.

        Errors are returned, not raised: the frames below have seen secrets. Cancellation closes the
        connection.

        Args:
            request: What is sent, but for the credential and the proof.
            client: Who sends it.
            deadline: When to give up, in seconds of boot time.
            dpop: Makes the proof of possession; None if none is wanted.
            nonce: What the proof repeats; None if the server has not given anything out.
            proceed: Called when the request is complete; False if it is not to be sent after all.

        Returns:
            The answer, or the error; None if the request was not sent.
        """
        seconds = deadline - self._clock.boot_time()
        with anyio.CancelScope() as scope:
            timer = self._schedule.call_at(deadline, scope.cancel)
            try:
                problem = await self._complete(request, client, dpop, nonce)
                if problem is not None or not proceed():
                    return problem
                return await self._send(request, client.origin)
            finally:
                self._schedule.cancel(timer)
        return TransportError(
            f"no answer from {client.origin} within {seconds:.3g} s; check that it can be reached "
            "from here, and that the callable for the secret or key, if there is one, is quick",
            retryable=True,
        )

    async def _complete(
        self, request: TokenRequest, client: OktaClient, dpop: DPoP | None, nonce: str | None
    ) -> FetchError | None:
        """Add headers, credential and proof; return what is wrong if one is not to be had.

        The proof comes last and is dated then, since Okta wants it fresh.
        """
        began = self._clock.boot_time()
        request.headers.update(_HEADERS)
        problem = await authenticate(client.authentication, request)
        if problem is None and dpop is not None:
            now = request.now + self._clock.boot_time() - began
            proof = await dpop.prove("POST", request.url, now, nonce=nonce)
            request.headers["DPoP"] = proof
            request.secrets.append(proof)
        return problem

    async def _send(self, request: TokenRequest, origin: str) -> Response | FetchError:
        try:
            return await self._post(request)
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            return _transport_error(error, origin, request)
        except BaseException as error:
            if ends_the_task(error):
                raise
            failure = TransportError(
                f"the session failed with {type(error).__name__} before an answer came; is it "
                "open, and of this event loop?"
            )
            failure.__cause__ = sanitize(error, request.secrets)
            return failure

    async def _post(self, request: TokenRequest) -> Response:
        sent = read(self._clock)
        async with self._session.post(
            request.url,
            data=urlencode(request.form).encode(),
            headers=request.headers,
            allow_redirects=False,
            raise_for_status=False,
            middlewares=(),
            timeout=_NO_TIMEOUT,
            proxy=self._proxy,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    response.close()
                    break
            return Response(
                status=response.status,
                headers=response.headers,
                body=bytes(body[: MAX_BODY + 1]),
                sent=sent,
                received_at=self._clock.wall_time(),
                secrets=request.secrets,
            )


def _transport_error(error: BaseException, origin: str, request: TokenRequest) -> TransportError:
    """Say in plain words what kept an answer from coming.

    aiohttp's own errors hold the request's headers, so their cause is chained instead, if they have
    one that does not.
    """
    cause: BaseException | None = getattr(error, "os_error", None)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        reason = scrub(str(getattr(cause, "verify_message", cause)), request.secrets).rstrip(".")
        why = (
            f"the certificate of {origin} is not trusted: {reason}; check the domain, this "
            "machine's clock, and the CA bundle"
        )
    elif isinstance(error, aiohttp.ServerFingerprintMismatch):
        why = (
            f"the certificate of {origin} is not trusted: it is not the one that the session "
            "expects; check the domain, and the session's fingerprint"
        )
    elif isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        why = f"TLS with {origin} failed; check the domain, and {_BETWEEN}"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        why = f"{origin} has no address; check the domain and the name server"
    elif isinstance(error, aiohttp.ClientConnectorError):
        why = f"no connection to {origin}; check the network, the proxy and the firewall"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        why = (
            f"the proxy refused the connection ({error.status}); check its address and credentials"
        )
    elif isinstance(error, aiohttp.ClientResponseError):
        why = f"what {origin} answered is no valid HTTP; check the domain, and {_BETWEEN}"
    elif isinstance(error, aiohttp.ClientPayloadError):
        why = f"the answer of {origin} is incomplete or garbled; check {_BETWEEN}"
    else:
        cause = error if isinstance(error, OSError) else None
        why = f"the connection to {origin} broke before there was an answer; check {_BETWEEN}"
    failure = TransportError(
        f"{why} ({type(error).__name__})", retryable=not isinstance(error, _UNTRUSTED)
    )
    if cause is not None:
        failure.__cause__ = sanitize(cause, request.secrets)
    return failure
