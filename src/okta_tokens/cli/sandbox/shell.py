"""Lines that set environment variables, as a POSIX shell or PowerShell evaluates them."""

from __future__ import annotations

import os
import shlex

SHELLS = ("posix", "powershell")
DEFAULT_SHELL = "powershell" if os.name == "nt" else "posix"


def assignment(shell: str, name: str, value: str) -> str:
    """Return the line that sets a variable.

    Args:
        shell: One of `SHELLS`.
        name: The name of the variable.
        value: Its value.
    """
    if shell == "powershell":
        quoted = value.replace("'", "''")
        return f"$env:{name} = '{quoted}'"
    return f"export {name}={shlex.quote(value)}"


def removal(shell: str, name: str) -> str:
    """Return the line that removes a variable.

    Args:
        shell: One of `SHELLS`.
        name: The name of the variable.
    """
    return f"$env:{name} = $null" if shell == "powershell" else f"unset {name}"
