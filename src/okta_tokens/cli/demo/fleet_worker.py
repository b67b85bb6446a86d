"""One process of the demo's fleet: gets the tokens that standard input requests, line by line."""

from __future__ import annotations

import asyncio
import json
import sys
from hashlib import sha256

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.cli._console import silence_log
from okta_tokens.errors import FetchError
from okta_tokens.sandbox import DEFAULT_CLIENT
from okta_tokens.stores.redis import RedisTokenStore


async def _main() -> None:
    """Read the settings, then scopes; report the fingerprint of a token for each line of scopes.

    Standard input is closed by the process that writes to it, or by that process's end.
    """
    settings = json.loads(sys.stdin.readline())
    secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
    client = OktaClient(settings["origin"], DEFAULT_CLIENT.client_id, secret)
    async with (
        # A long timeout, since the whole fleet may share two cores with other programs.
        RedisTokenStore(settings["store"], keys=settings["keys"], timeout=5) as store,
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
    """Run the process."""
    silence_log()
    asyncio.run(_main())
