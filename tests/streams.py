"""The stream of a response's body, for stand-ins of aiohttp's responses."""

from collections.abc import AsyncIterator


class Stream:
    """The part of `aiohttp.StreamReader` that the package uses.

    Args:
        parts: The parts of the body, as they arrive; none of them is empty.
    """

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    async def readany(self) -> bytes:
        """Return the next part, or nothing at the end of the body."""
        return await anext(self._parts, b"")
