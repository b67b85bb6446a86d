"""The program that type checkers check as a user's names everything that is public."""

import ast
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import okta_tokens

MODULES = [
    module
    for name in [
        "okta_tokens",
        *(found.name for found in pkgutil.walk_packages(okta_tokens.__path__, "okta_tokens.")),
    ]
    if "._" not in name and hasattr(module := import_module(name), "__all__")
]
"""Every public module."""

TREE = ast.parse(Path(__file__).with_name("consumer.py").read_text("utf-8"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_consumer_imports_every_public_name(module: ModuleType) -> None:
    """A public name that the program does not import has types that no type checker checks."""
    imported = {
        alias.name
        for node in ast.walk(TREE)
        if isinstance(node, ast.ImportFrom) and node.module == module.__name__
        for alias in node.names
    }

    assert imported == {*module.__all__}
