"""What Python refuses from the end of the main thread on."""

from __future__ import annotations

NO_THREADS = (
    "the main thread has ended, and since then Python starts no thread for name lookups, files and "
    "signatures; let the main thread wait for the threads that need tokens"
)

_REFUSALS = ("interpreter shutdown", "can't register atexit after shutdown")
"""What the errors of CPython say, which have no class of their own."""


def refuses_threads(error: BaseException) -> bool:
    """Tell whether an error says that Python starts no thread, because the interpreter exits.

    Args:
        error: The error.
    """
    return type(error) is RuntimeError and any(words in str(error) for words in _REFUSALS)
