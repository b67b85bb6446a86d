"""The doctor as a package."""

from __future__ import annotations

import ast
from pathlib import Path

import okta_tokens.cli.doctor

FOLDER = Path(okta_tokens.cli.doctor.__file__).parent
TERMINAL_MODULES = {"command", "report"}


def test_only_two_modules_know_the_terminal() -> None:
    """Only `command` and `report` use the command line, so services can run the checks, too."""
    wrong = [
        f"{path.stem}: {ast.unparse(node)}"
        for path in sorted(FOLDER.glob("*.py"))
        if path.stem not in TERMINAL_MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("okta_tokens.cli")
            and not (node.module or "").startswith("okta_tokens.cli.doctor.")
        )
        or (isinstance(node, ast.Import) and node.names[0].name in {"argparse", "rich", "sys"})
        or (isinstance(node, ast.Name) and node.id == "print")
    ]

    assert wrong == []
