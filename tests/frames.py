"""Search the frames of an error for a secret, as thoroughly as any error tracker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import okta_tokens
from tests.runtime.test_redaction import frames_of, safe_repr

PACKAGE = Path(okta_tokens.__file__).parent


def shown_in_frames(
    error: BaseException, secret: str | re.Pattern[str], package: Path = PACKAGE
) -> list[str]:
    """Return the local variables of a package's frames that show a secret.

    A variable shows what its repr shows, what its items show, and, if it is an object of the
    package's whose repr is that of `object`, what the reprs of its attributes show.

    Args:
        error: The error; the frames of its chain are searched, too.
        secret: The secret, or a pattern that finds secrets.
        package: The directory whose frames are searched.
    """
    pattern = re.compile(re.escape(secret)) if isinstance(secret, str) else secret
    return [
        f"{frame.f_code.co_qualname}: {name}"
        for frame in frames_of(error, package)
        for name, value in frame.f_locals.items()
        if any(pattern.search(text) for text in _texts(value))
    ]


def _texts(value: object) -> Iterator[str]:
    yield safe_repr(value)
    if type(value) is dict:
        yield from _texts([*value, *value.values()])
    elif type(value) in {list, tuple, set, frozenset}:
        assert isinstance(value, Iterable)
        for item in value:
            yield from _texts(item)
    elif type(value).__repr__ is object.__repr__ and _is_own(type(value)):
        yield from map(safe_repr, _attributes(value))


def _attributes(value: object) -> Iterator[object]:
    names = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    for name in {*names, *getattr(value, "__dict__", ())}:
        try:
            yield getattr(value, name)
        except AttributeError:
            continue


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == okta_tokens.__name__
