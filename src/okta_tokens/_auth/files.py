"""Files that hold a key, a secret or a client: read them, or say what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

from okta_tokens._runtime.arguments import looks_secret
from okta_tokens._runtime.redaction import sanitize

_MAX_FILE = 64 * 1024
"""Bytes. No key and no secret is longer."""

_MAX_PATH = 256  # characters that a message shows
_MIN_SECRET = 20  # characters; the names in a path are less mixed than other names


class UnreadableFile:
    """A file that cannot be used.

    Args:
        problem: What is wrong with it, as the end of a sentence that begins with the name of what
            the file should hold.
    """

    __slots__ = ("problem",)

    def __init__(self, problem: str) -> None:
        self.problem = problem


def read_file(path: Path) -> bytes | UnreadableFile:
    """Return the content of a file, or what is wrong with the file.

    A `~` at the beginning of the path is the home directory. A link is followed at each call.

    Args:
        path: The file.
    """
    try:
        with path.expanduser().open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else type(error).__name__
        return UnreadableFile(f"cannot be read from {shown_path(path)}: {reason}; check the path")
    except Exception as error:  # noqa: BLE001 - RuntimeError, or whatever a subclass raises
        return UnreadableFile(
            f"cannot be read from {shown_path(path)}: {type(error).__name__}; check the path"
        )
    if not content.strip():
        return UnreadableFile(
            f"is missing: {shown_path(path)} is empty; check what writes the file"
        )
    if len(content) > _MAX_FILE:
        return UnreadableFile(
            f"is too long: {shown_path(path)} has more than {_MAX_FILE // 1024} KiB; check the path"
        )
    return content


def read_secret(path: Path) -> str | UnreadableFile:
    """Return the secret in a file, without the line break at its end, or what is wrong.

    Args:
        path: The file.
    """
    content = read_file(path)
    if isinstance(content, UnreadableFile):
        return content
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        del content  # a debugger shows the locals of a frame with a chained error
        return UnreadableFile(
            f"is no text: {shown_path(path)} is not UTF-8; check what writes the file"
        )


def is_open_to_others(path: Path) -> bool:
    """Tell whether other users of this machine may read or change a file.

    Args:
        path: The file.
    """
    try:
        mode = path.expanduser().stat().st_mode
    except Exception:  # noqa: BLE001 - the file is gone, or whatever a subclass raises
        return False
    return os.name == "posix" and mode & 0o077 != 0


def shown_path(path: Path) -> str:
    """Return a path for a message, as far as it cannot be taken for a key or a secret.

    An error with a text that looks like a secret loses its text. So a long path, whose names are as
    mixed as a secret, is shown by its last name.

    Args:
        path: The path.
    """
    try:
        text, name = str(path), path.name
    except Exception:  # noqa: BLE001 - the code of a subclass
        return "the file"
    for shown in (text, f"…/{name}"):
        is_path = text.isprintable() and len(shown) <= _MAX_PATH and "BEGIN " not in shown
        error = ValueError(shown)
        if is_path and not looks_secret(shown, _MIN_SECRET) and sanitize(error) is error:
            return shown
    return "the file"
