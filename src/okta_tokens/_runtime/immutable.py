"""Values that refuse every change."""

from __future__ import annotations

from typing import NoReturn, Self


class Immutable:
    """A value that refuses every change; a copy is the value itself."""

    __slots__ = ()

    def __copy__(self) -> Self:
        """Return the value itself, because it is immutable."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the value itself, because it is immutable."""
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse a change, because others have the same object.

        Raises:
            AttributeError: Always.
        """
        kind = type(self).__name__
        del self, name, value  # an error tracker records the locals of the frame that raises
        message = f"{kind} is immutable; make another one"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse a deletion, because others have the same object.

        Raises:
            AttributeError: Always.
        """
        kind = type(self).__name__
        del self, name
        message = f"{kind} is immutable; make another one"
        raise AttributeError(message)
