"""The architecture page agrees with the code."""

import ast
import re
from pathlib import Path

import pytest

import okta_tokens
from tests.test_imports import ROWS

ROOT = Path(__file__).parents[1]
PACKAGE = Path(okta_tokens.__file__).parent
PAGE = (ROOT / ".github" / "ARCHITECTURE.md").read_text("utf-8")


def table(marker: str) -> list[list[str]]:
    """Return the cells of the table that follows a marker, row by row.

    Args:
        marker: The text of an HTML comment.
    """
    _, _, rest = PAGE.partition(f"<!-- {marker} -->\n")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code_names(text: str) -> list[str]:
    """Return the texts in backquotes."""
    return re.findall(r"`([^`]+)`", text)


def test_the_page_lists_the_enforced_layers() -> None:
    """The page lists the rows of modules that the import test enforces, in the same order."""
    rows = [
        tuple("__init__" if name == "okta_tokens" else name for name in code_names(modules))
        for _, modules, _ in table("layers")
    ]

    assert rows == [*ROWS]


def test_every_rule_names_a_test_that_exists() -> None:
    """The test or the test file that shows a rule exists under the name on the page."""
    missing = []
    for rule, shown_by in table("rules"):
        (name,) = code_names(shown_by)
        file, _, function = name.partition("::")
        names = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if function and function not in names:
            missing.append(rule)

    assert missing == []
    assert len(table("rules")) == 19


@pytest.mark.parametrize("path", sorted({*re.findall(r"`([\w/]+(?:\.py|/))`", PAGE)}))
def test_every_file_on_the_page_exists(path: str) -> None:
    """A file or folder that the page names exists in the package or in the repository."""
    assert (PACKAGE / path).exists() or (ROOT / path).exists()
