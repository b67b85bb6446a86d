"""npm's oidc-provider in its own process, with a TLS certificate that only the tests trust."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import trustme

from tests.interop.apps import BASIC_ID, BASIC_SECRET, registrations

SOURCES = Path(__file__).parent

Claims = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a token or revocation endpoint, and its response.

    Args:
        url: The endpoint.
        form: The fields of the body.
        proof: The `DPoP` header; `None` if the request had no proof.
        status: The HTTP status of the response.
        error: The `error` of the response; `None` if the response has no error.
    """

    url: str
    form: Mapping[str, str]
    proof: str | None
    status: int
    error: str | None

    @property
    def assertion(self) -> Claims:
        """The claims of the client assertion."""
        return _part(self.form["client_assertion"], 1)

    @property
    def assertion_header(self) -> Claims:
        """The header of the client assertion."""
        return _part(self.form["client_assertion"], 0)

    @property
    def nonce(self) -> object:
        """The nonce in the proof; `None` if the proof has no nonce."""
        assert self.proof is not None
        return _part(self.proof, 1).get("nonce")


def _part(jwt: str, number: int) -> Claims:
    text = jwt.split(".")[number]
    part: Claims = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return part


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """A running server.

    Args:
        origin: The origin that the server listens on, `https://localhost:PORT`.
        ca_pem: The CA certificate.
        ssl_context: A TLS context that trusts the CA.
    """

    origin: str
    ca_pem: Path
    ssl_context: ssl.SSLContext

    def session(self) -> aiohttp.ClientSession:
        """Return a new session that trusts the server; the caller closes it."""
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.ssl_context))

    async def requests(self) -> list[Request]:
        """Return the requests to the token and revocation endpoints so far."""
        async with self.session() as session, session.get(f"{self.origin}/requests") as response:
            return [Request(**recorded) for recorded in await response.json()]

    async def token_requests(self) -> int:
        """Return the number of requests to a token endpoint so far."""
        return sum(request.url.endswith("/token") for request in await self.requests())

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[list[Request]]:
        """Yield a list; after the context it contains the requests that arrived within it."""
        before = len(await self.requests())
        recorded: list[Request] = []
        yield recorded
        recorded += (await self.requests())[before:]

    async def replace_responses(self, *statuses: int) -> None:
        """Replace the next responses with errors; the server still handles the requests.

        Args:
            *statuses: The HTTP status of each error.
        """
        await self._control(replacements=statuses)

    async def set_ahead(self, seconds: float) -> None:
        """Set the server's clock ahead of this machine's clock by a number of seconds."""
        await self._control(ahead=seconds)

    async def _control(self, **settings: object) -> None:
        async with (
            self.session() as session,
            session.post(f"{self.origin}/control", json=settings, raise_for_status=True),
        ):
            pass

    async def introspect(self, session: aiohttp.ClientSession, token: str) -> Mapping[str, object]:
        """Return the introspection response for a token (RFC 7662)."""
        form = {"token": token, "client_id": BASIC_ID, "client_secret": BASIC_SECRET}
        url = f"{self.origin}/oauth2/default/v1/introspect"
        async with session.post(url, data=form, raise_for_status=True) as response:
            introspection: dict[str, object] = await response.json()
            return introspection


@contextmanager
def running(node: str, node_modules: Path, directory: Path) -> Iterator[AuthorizationServer]:
    """Run the server until the context ends.

    Args:
        node: The Node executable.
        node_modules: The directory in which npm installed oidc-provider.
        directory: An empty directory for the server's files.
    """
    # Node looks for packages beside the script that imports them, so the script is copied there.
    script = Path(shutil.copy(SOURCES / "server.mjs", directory))
    (directory / "node_modules").symlink_to(node_modules)
    authority = trustme.CA()
    ca_pem = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_pem))
    certificate = authority.issue_cert("localhost")
    chain, key = directory / "certificate.pem", directory / "key.pem"
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(chain), append=number > 0)
    certificate.private_key_pem.write_to_path(str(key))
    clients = directory / "clients.json"
    clients.write_text(json.dumps(registrations()))

    log = directory / "stderr.log"
    with (
        log.open("w") as stderr,
        # At the end of the block its standard input is closed, which stops the server.
        subprocess.Popen(
            [node, script, chain, key, clients],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        first_line = process.stdout.readline()
        assert first_line, f"the server did not start:\n{log.read_text()}"
        yield AuthorizationServer(
            origin=f"https://localhost:{json.loads(first_line)['port']}",
            ca_pem=ca_pem,
            ssl_context=ssl.create_default_context(cafile=ca_pem),
        )
