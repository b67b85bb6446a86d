"""A local authorization server that behaves like Okta, for tests and experiments.

Example:
    ```python
    from okta_tokens.sandbox import Sandbox, SandboxClient

    client = SandboxClient("0oa1b2c3", ["a-secret-of-yours"], scopes=["orders:read"])

    async with Sandbox([client], lifetime=300) as sandbox:
        print(sandbox.origin)  # POST /oauth2/default/v1/token there
    ```
"""

from okta_tokens.sandbox._clients import DEFAULT_CLIENT, SandboxClient
from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._received_request import ReceivedRequest
from okta_tokens.sandbox._server import Sandbox

__all__ = ["DEFAULT_CLIENT", "Fault", "ReceivedRequest", "Sandbox", "SandboxClient"]
