"""The part of a Kafka broker that a producer with OAUTHBEARER needs."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.protocol import admin, metadata, produce
from aiokafka.protocol.api import Response

from okta_tokens.sandbox import Sandbox
from tests.recipes.support import is_valid

TOPIC = "orders"

UNSUPPORTED_VERSION = 35
AUTHENTICATION_FAILED = 58  # SASL_AUTHENTICATION_FAILED

# librdkafka sends batches in the present format only to a broker that also has Fetch 4.
VERSIONS = [(0, 3, 3), (1, 4, 4), (3, 0, 0), (17, 1, 1), (18, 0, 0), (36, 0, 0)]
"""The supported APIs, each with its lowest and its highest version."""


class Broker:
    """The only broker of a cluster with one topic. It accepts the tokens that a sandbox accepts.

    Args:
        sandbox: Its resource checks the tokens.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.port = 0
        self.authorizations: list[str] = []
        """The value of `auth=` of each connection."""
        self.rejections = 0
        """The number of rejected tokens."""
        self.batches = 0
        """The number of batches from producers with a valid token."""
        self._sandbox = sandbox
        self._connections: set[asyncio.StreamWriter] = set()

    def close_connections(self) -> None:
        """Close all connections, as a broker does when the token of a session expires."""
        for writer in self._connections:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to the requests of one connection until it is closed."""
        self._connections.add(writer)
        authenticated = False
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                api, version, correlation, length = struct.unpack_from(">hhih", request)
                body = request[10 + length :]
                if api == 36:
                    response = await self._authenticate(body)
                    authenticated = response.error_code == 0
                else:
                    assert authenticated or api in {17, 18}
                    response = self._respond(api, version)
                payload = struct.pack(">i", correlation) + response.encode()
                writer.write(struct.pack(">i", len(payload)) + payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client or `close_connections` closed the connection
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _authenticate(self, body: bytes) -> Response:
        """Check a token (RFC 7628 section 3.1)."""
        message = admin.SaslAuthenticateRequest_v0.decode(body).sasl_auth_bytes.decode()
        header, _, authorization = message.rstrip("\x01").partition("\x01auth=")
        assert header == "n,,"
        self.authorizations.append(authorization)
        if await is_valid(self._sandbox, authorization):
            return admin.SaslAuthenticateResponse_v0(0, None, b"")
        self.rejections += 1
        return admin.SaslAuthenticateResponse_v0(AUTHENTICATION_FAILED, "invalid token", b"")

    def _respond(self, api: int, version: int) -> Response:
        match api:
            case 0:
                self.batches += 1
                return produce.ProduceResponse_v3([(TOPIC, [(0, 0, self.batches, -1)])], 0)
            case 3:
                partition = (0, 0, 0, [0], [0])
                return metadata.MetadataResponse_v0(
                    [(0, "127.0.0.1", self.port)], [(0, TOPIC, [partition])]
                )
            case 17:
                return admin.SaslHandShakeResponse_v1(0, ["OAUTHBEARER"])
            case _:
                assert api == 18
                return admin.ApiVersionResponse_v0(UNSUPPORTED_VERSION if version else 0, VERSIONS)


@asynccontextmanager
async def run_broker(sandbox: Sandbox) -> AsyncIterator[Broker]:
    """Run a broker beside a sandbox."""
    running = Broker(sandbox)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    async with server:
        yield running
        running.close_connections()
