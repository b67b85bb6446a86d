"""Objects that contain a secret or lead to one, which no serializer may write."""

from __future__ import annotations

from typing import NoReturn, Self


class Unserializable:
    """An object that contains a secret or leads to one: its copy is itself, a pickle is refused.

    A class with a secret of its own has slots, so `vars` fails, and is not a dataclass, since some
    serializers write every field of a dataclass.
    """

    __slots__ = ()

    def __copy__(self) -> Self:
        """Return the object itself, which is immutable, or stands for something that is shared."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the object itself, which is immutable, or stands for something that is shared."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse pickling.

        Raises:
            TypeError: Always.
        """
        name = type(self).__name__
        del self  # an error tracker records the locals of the frame that raises
        message = (
            f"{name} contains a secret and cannot be pickled; make another one in the process "
            "that needs it"
        )
        raise TypeError(message)

    def __getstate__(self) -> NoReturn:
        """Refuse to return the slots, which some serializers request.

        Raises:
            TypeError: Always.
        """
        self.__reduce__()
