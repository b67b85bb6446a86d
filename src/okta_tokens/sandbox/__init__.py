"""The sandbox: an Okta-like authorization server on this machine, for those without a tenant.

    from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
    from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox

    async with Sandbox() as sandbox, TokenProvider() as provider:
        secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        client = OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, secret)
        token = await provider.get_token(client, "customScope")

It is strict, refusing what Okta would refuse in Okta's words, and counts what it received. Faults
come on demand. It keeps everything in memory and is no authorization server for anything real.
"""

from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._model import DEFAULT_CLIENT, SandboxClient
from okta_tokens.sandbox._server import ReceivedRequest, Sandbox

__all__ = ["DEFAULT_CLIENT", "Fault", "ReceivedRequest", "Sandbox", "SandboxClient"]
