"""As much of a Kafka broker as a producer with OAUTHBEARER needs."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.protocol import admin, metadata, produce
from aiokafka.protocol.api import Response

from okta_tokens.sandbox import Sandbox
from tests.recipes.support import is_live

TOPIC = "orders"

REFUSED = 58
"""SASL_AUTHENTICATION_FAILED."""

VERSIONS = [(0, 3, 3), (3, 0, 0), (17, 1, 1), (18, 0, 0), (36, 0, 0)]
"""The APIs that there are, each with its lowest and its highest version."""


class Broker:
    """The one broker of a cluster with one topic, which takes the tokens that a sandbox takes.

    Args:
        sandbox: Its resource judges the tokens.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.port = 0
        self.authorizations: list[str] = []
        """What stood behind `auth=`, connection by connection."""
        self.refusals = 0
        self.batches = 0
        """How many were received from those who have a token."""
        self._sandbox = sandbox
        self._connections: set[asyncio.StreamWriter] = set()

    def drop(self) -> None:
        """Close all connections, as a broker does whose session's token has expired."""
        for writer in self._connections:
            writer.close()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        self._connections.add(writer)
        admitted = False
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                api, _, correlation, length = struct.unpack_from(">hhih", request)
                body = request[10 + length :]
                if api == 36:
                    answer = await self._authenticate(body)
                    admitted = answer.error_code == 0
                else:
                    assert admitted or api in {17, 18}
                    answer = self._answer(api)
                payload = struct.pack(">i", correlation) + answer.encode()
                writer.write(struct.pack(">i", len(payload)) + payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has closed it, or `drop` has
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _authenticate(self, body: bytes) -> Response:
        """Judge a token (RFC 7628 section 3.1)."""
        sent = admin.SaslAuthenticateRequest_v0.decode(body).sasl_auth_bytes.decode()
        beginning, _, authorization = sent.rstrip("\x01").partition("\x01auth=")
        assert beginning == "n,,"
        self.authorizations.append(authorization)
        if await is_live(self._sandbox, authorization):
            return admin.SaslAuthenticateResponse_v0(0, None, b"")
        self.refusals += 1
        return admin.SaslAuthenticateResponse_v0(REFUSED, "no such token", b"")

    def _answer(self, api: int) -> Response:
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
                return admin.ApiVersionResponse_v0(0, VERSIONS)


@asynccontextmanager
async def broker(sandbox: Sandbox) -> AsyncIterator[Broker]:
    """Run a broker beside a sandbox."""
    made = Broker(sandbox)
    server = await asyncio.start_server(made.converse, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        made.drop()
