"""What stands in a pickle for a credential or a private key: their public facts."""

from __future__ import annotations

from typing import NoReturn

from okta_tokens._runtime.record import Record
from okta_tokens.errors import CredentialError


class AbsentSecret(Record):
    """The place of a client's authentication, or of its DPoP key, in a key that was unpickled.

    Args:
        text: The repr of the object that stayed in its process; it contains no secret.
        algorithm: The algorithm of a DPoP key; `None` for an authentication.
        thumbprint: The thumbprint of a DPoP key; `None` for an authentication.
    """

    text: str
    algorithm: str | None
    thumbprint: str | None

    def __repr__(self) -> str:
        """Return the repr of the object that stayed in its process."""
        return self.text

    async def __call__(self, *_: object) -> NoReturn:
        """Refuse to authenticate.

        Raises:
            CredentialError: Always.
        """
        message = (
            "the client was unpickled, and a pickle contains no secret; make the OktaClient in "
            "the process that requests the token"
        )
        raise CredentialError(message)

    async def prove(self, *_: object, **__: object) -> NoReturn:
        """Refuse to make a proof.

        Raises:
            CredentialError: Always.
        """
        await self()
