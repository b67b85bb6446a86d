"""Build the API reference from the docstrings: `python .ci/reference.py FOLDER`.

Every warning is an error. So are a link to a page or a name that does not exist, and an example
that is not shown as code.
"""

import re
import sys
import warnings
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import jinja2
import pdoc
from markupsafe import Markup
from pdoc.render_helpers import relative_link

import okta_tokens

NO_API = re.compile(r"\._|\.cli\b")
"""The modules that are left out: private ones, and the command."""

DOT = r"(?:\.|</span><span class=\"o\">\.</span><span class=\"n\">)"
"""The dot in a name, also if the parts of the name are highlighted apart."""

PRIVATE_NAME = re.compile(rf"\b[a-z]\w*(?:{DOT}[a-z]\w*)*{DOT}_\w+(?:{DOT}\w+)+")
"""The full name of an object in a private module."""

CLASS_IN_CODE = re.compile(
    r"<code>(?P<text>(?P<anchor>(?P<name>[A-Z]\w+)(?:\.\w+)?)(?:\(\))?)</code>"
)
"""A class, or a member of one, that a docstring names and pdoc did not link."""


class Page(HTMLParser):
    """The ids and the links of a page.

    Args:
        text: The page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the ids, and the links within the reference."""
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif tag == "a" and name == "href" and value and ":" not in value:
                self.links.add(value)


def public_modules() -> list[str]:
    """Return the names of the modules with public names."""
    found = walk_packages(okta_tokens.__path__, "okta_tokens.")
    return ["okta_tokens", *(each.name for each in found if not NO_API.search(each.name))]


def public_names() -> dict[str, tuple[str, str]]:
    """Return the module and the name by which users import a class, by where it is defined."""
    names = {}
    for module in map(import_module, reversed(public_modules())):
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if isinstance(value, type):
                names[f"{value.__module__}.{value.__qualname__}"] = (module.__name__, name)
    return names


def link_public_names(environment: jinja2.Environment) -> None:
    """Let pages name a class as users import it, and link the classes of other modules.

    pdoc shows the private module in which a class is defined, and links a docstring's `TokenStore`
    only on the page of its module.
    """
    names = public_names()
    modules = {name: module for module, name in names.values()}
    linkify = environment.filters["linkify"]

    def public(match: re.Match[str]) -> str:
        name = re.sub(DOT, ".", match[0])
        return ".".join(names.get(name, name.rsplit(".", 1)[1:]))

    @jinja2.pass_context
    def linkify_public(context: jinja2.runtime.Context, code: str, **options: object) -> Markup:
        page = context["module"].modulename

        def link(match: re.Match[str]) -> str:
            if match["name"] not in modules:
                return match[0]
            target = relative_link(page, modules[match["name"]])
            return f'<code><a href="{target}#{match["anchor"]}">{match["text"]}</a></code>'

        linked = linkify(context, PRIVATE_NAME.sub(public, code), **options)
        return Markup(CLASS_IN_CODE.sub(link, linked))  # noqa: S704 - it was one before

    environment.filters["linkify"] = linkify_public


def problems(folder: Path) -> list[str]:
    """Return what is wrong with the pages of a folder."""
    texts = {path: path.read_text("utf-8") for path in folder.rglob("*.html")}
    pages = {path: Page(text) for path, text in texts.items()}
    found = [f"{path}: an example is not shown as code" for path in texts if "```" in texts[path]]
    for path, page in pages.items():
        for link in page.links:
            target, _, name = link.partition("#")
            other = pages.get((path.parent / target).resolve() if target else path)
            if other is None or (name and name not in other.ids):
                found.append(f"{path}: the link {link} leads nowhere")
    return found


def main(folder: Path) -> None:
    """Write the reference into a folder."""
    warnings.simplefilter("error")
    # pdoc finds the modules of a package without `__all__` by itself, too.
    warnings.filterwarnings("ignore", "The module specification .* adds a module named")
    pdoc.render.configure(
        docformat="google",
        footer_text=f"okta-tokens {okta_tokens.__version__}",
        show_source=False,
        template_directory=Path(__file__).parent,  # for module.html.jinja2
    )
    link_public_names(pdoc.render.env)
    pdoc.pdoc(*public_modules(), r"!.*\._", output_directory=folder)
    if found := problems(folder.resolve()):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
