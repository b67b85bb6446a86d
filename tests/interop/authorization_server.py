"""npm's oidc-provider in a process of its own, on TLS with a certificate that only tests trust."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import trustme

SOURCES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """A running server.

    Args:
        origin: Where it listens, `https://localhost:PORT`.
        ca_pem: The certificate of the authority that signed the server's.
        ssl_context: Trusts that authority.
    """

    origin: str
    ca_pem: Path
    ssl_context: ssl.SSLContext

    def session(self) -> aiohttp.ClientSession:
        """Return a new session that trusts the server; the caller closes it."""
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.ssl_context))

    async def token_requests(self) -> int:
        """Return how many requests have reached the token endpoint."""
        async with self.session() as session, session.get(f"{self.origin}/count") as response:
            count: int = (await response.json())["token_requests"]
            return count

    async def introspect(
        self, session: aiohttp.ClientSession, token: str, client_id: str, client_secret: str
    ) -> Mapping[str, object]:
        """Return what the server says about a token (RFC 7662)."""
        form = {"token": token, "client_id": client_id, "client_secret": client_secret}
        url = f"{self.origin}/oauth2/default/v1/introspect"
        async with session.post(url, data=form, raise_for_status=True) as response:
            answer: dict[str, object] = await response.json()
            return answer


@contextmanager
def running(node: str, node_modules: Path, directory: Path) -> Iterator[AuthorizationServer]:
    """Run the server as long as the context lasts.

    Args:
        node: The Node executable.
        node_modules: Where npm put oidc-provider.
        directory: Empty, for files of the server's.
    """
    # Node looks for packages beside the script that imports them, so the script goes there.
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

    log = directory / "stderr.log"
    with (
        log.open("w") as stderr,
        # Leaving the block closes the pipe to its standard input, which ends it.
        subprocess.Popen(
            [node, script, chain, key],
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
