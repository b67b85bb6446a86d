"""One process of the demo's fleet: gets the tokens that it is told to, a line of JSON at a time."""

from __future__ import annotations

import asyncio
import json
import sys
from hashlib import sha256

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.errors import FetchError
from okta_tokens.sandbox import DEFAULT_CLIENT
from okta_tokens.stores.redis import RedisTokenStore


async def _main() -> None:
    """Read where Okta and the store are, and then scopes; answer each with a token's fingerprint.

    The pipe is closed by whoever writes to it, also when that dies.
    """
    told = json.loads(sys.stdin.readline())
    secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
    client = OktaClient(told["origin"], DEFAULT_CLIENT.client_id, secret)
    async with (
        # Patient, since a demo may share two cores with whatever else there is.
        RedisTokenStore(told["store"], keys=told["keys"], timeout=5) as store,
        TokenProvider(store=store) as provider,
    ):
        print(json.dumps("ready"), flush=True)
        while scopes := (await asyncio.to_thread(sys.stdin.readline)).strip():
            try:
                token = await provider.get_token(client, scopes)
            except FetchError as error:
                print(json.dumps({"error": str(error)}), flush=True)
            else:
                fingerprint = sha256(token.value.encode()).hexdigest()
                print(json.dumps({"token": fingerprint}), flush=True)


def main() -> None:
    """Be such a process."""
    asyncio.run(_main())
