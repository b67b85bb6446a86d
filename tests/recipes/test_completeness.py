"""Every example of the pages is complete and short, so that a reader can paste it."""

import builtins
import re
import symtable
from collections.abc import Iterator

import pytest

from tests.pages import PAGES, page
from tests.recipes.support import recipe

CONTINUED = {
    "fastapi.readiness": "fastapi",
    "aiohttp.web.readiness": "aiohttp.web",
}
"""The fragments: each is a route for the application of another recipe, and stands after it."""

MOST_LINES = 25


def examples() -> dict[str, str]:
    """Return every Python example of the pages, by its marker, or by its page and number."""
    pattern = r"^(?:<!-- \w+: ([\w.]+) -->\n)?```python\n(.*?)^```$"
    return {
        marker or f"{name}-{number}": code
        for name in PAGES
        for number, (marker, code) in enumerate(
            re.findall(pattern, page(name), re.MULTILINE | re.DOTALL)
        )
    }


EXAMPLES = examples()


def tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    """Yield a scope of a program, and every scope in it."""
    yield table
    for child in table.get_children():
        yield from tables(child)


def unbound_names(code: str) -> set[str]:
    """Return the global names that a program reads and does not bind itself."""
    module = symtable.symtable(code, "example", "exec")
    read, bound = set[str](), {"__name__", *dir(builtins)}
    for table in tables(module):
        for symbol in table.get_symbols():
            if table is module or symbol.is_global():
                if symbol.is_referenced():
                    read.add(symbol.get_name())
                if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
                    bound.add(symbol.get_name())
    return read - bound


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_binds_every_name(name: str) -> None:
    """An example imports or defines each name that it uses; a fragment may use another recipe's."""
    before = recipe(CONTINUED[name]) if name in CONTINUED else ""

    assert unbound_names(before + EXAMPLES[name]) == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    """An example has at most 25 lines, except blank lines."""
    lines = [line for line in EXAMPLES[name].splitlines() if line.strip()]

    assert len(lines) <= MOST_LINES


def test_a_fragment_needs_the_recipe_before_it() -> None:
    """The list of fragments contains no recipe that is complete without another one."""
    assert all(unbound_names(EXAMPLES[name]) for name in CONTINUED)
