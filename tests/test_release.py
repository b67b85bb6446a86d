"""What a release has: a changelog, and distributions that look right on the package index."""

import io
import re
import runpy
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import okta_tokens
from tests.pages import ROOT

ABSOLUTE = runpy.run_path(str(ROOT / ".ci/metadata.py"))["absolute"]
CHECK = runpy.run_path(str(ROOT / ".ci/check_dist.py"))["main"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
HEADINGS = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
SOURCE = "https://example.org/okta-tokens"


def test_the_changelog_has_the_sections_that_a_release_needs() -> None:
    """Below what is unreleased, each release has its version and its day, the newest first."""
    unreleased, *released = HEADINGS
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", each) for each in released]
    versions = [tuple(map(int, match[1].split("."))) for match in dated if match]

    assert unreleased == "[Unreleased]"
    assert len(versions) == len(released)
    assert versions == sorted({*versions}, reverse=True)


def test_the_changelog_names_every_public_name_of_the_package() -> None:
    """Each name that `okta_tokens` exports, and each public module, is in the changelog in full."""
    found = walk_packages(okta_tokens.__path__, "okta_tokens.")
    modules = [each.name for each in found if not re.search(r"\._|\.cli\b", each.name)]
    names = [f"okta_tokens.{name}" for name in okta_tokens.__all__ if not name.startswith("_")]
    leaves = [name for name in modules if getattr(import_module(name), "__all__", ())]

    assert [name for name in (*names, *leaves) if not re.search(rf"`{name}\b", CHANGELOG)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[a](LICENSE)", f"[a]({SOURCE}/blob/v1/LICENSE)", id="link"),
        pytest.param("[`a`](b/c.md#d)", f"[`a`]({SOURCE}/blob/v1/b/c.md#d)", id="anchor elsewhere"),
        pytest.param("![a](b/c.svg)", f"![a]({SOURCE}/raw/v1/b/c.svg)", id="picture"),
        pytest.param(
            '<source srcset="a.svg"><img src="b.png">',
            f'<source srcset="{SOURCE}/raw/v1/a.svg"><img src="{SOURCE}/raw/v1/b.png">',
            id="HTML",
        ),
        pytest.param("[a](#b)", "[a](#b)", id="anchor"),
        pytest.param("[a](https://b.org/c)", "[a](https://b.org/c)", id="absolute"),
        pytest.param("`x[a](b)`", "`x[a](b)`", id="code"),
        pytest.param("```python\nx[a](b)\n```", "```python\nx[a](b)\n```", id="code block"),
    ],
)
def test_links_of_the_readme_lead_into_the_repository(text: str, expected: str) -> None:
    """A relative link leads to the file at the tag, that of a picture to its bytes."""
    assert ABSOLUTE(text, SOURCE, "v1") == expected


NAME = "okta_tokens-999.0.0"
METADATA = "Metadata-Version: 2.4\nName: okta-tokens\nVersion: 999.0.0\n\n{readme}"


def write_wheel(folder: Path, metadata: str) -> None:
    """Write a wheel that has only metadata."""
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{NAME}.dist-info/METADATA", metadata)


def write_distributions(folder: Path, readme: str) -> None:
    """Write a wheel and a source distribution that have only metadata."""
    metadata = METADATA.format(readme=readme)
    write_wheel(folder, metadata)
    with tarfile.open(folder / f"{NAME}.tar.gz", "w:gz") as archive:
        file = tarfile.TarInfo(f"{NAME}/PKG-INFO")
        file.size = len(metadata)
        archive.addfile(file, io.BytesIO(metadata.encode()))


def test_distributions_with_absolute_links_pass(tmp_path: Path) -> None:
    """Without a tag, the links of the README have to work on the package index."""
    write_distributions(tmp_path, f"[a]({SOURCE}/blob/v1/LICENSE) [b](#c)")

    CHECK(tmp_path)


@pytest.mark.parametrize("link", ["[a](LICENSE)", "![a](b.svg)"])
def test_distributions_with_relative_links_are_refused(tmp_path: Path, link: str) -> None:
    """A link into a repository that the package index does not have is named."""
    write_distributions(tmp_path, link)

    with pytest.raises(SystemExit, match=r"the README's link (LICENSE|b\.svg) leads nowhere"):
        CHECK(tmp_path)


def test_a_release_without_an_address_or_a_changelog_is_refused(tmp_path: Path) -> None:
    """The refusal names the tag of another version, the missing section and the empty setting."""
    write_distributions(tmp_path, "text")

    with pytest.raises(SystemExit) as refused:
        CHECK(tmp_path, "v999.0.1")

    assert str(refused.value).splitlines() == [
        "the tag is v999.0.1, but src/okta_tokens/_version.py says 999.0.0",
        "CHANGELOG.md has no section `## [999.0.0] - YYYY-MM-DD`",
        "`repository` in pyproject.toml is empty; set it to the address of the repository",
    ]


def test_distributions_of_different_trees_are_refused(tmp_path: Path) -> None:
    """The wheel and the source distribution have the same metadata."""
    write_distributions(tmp_path, "text")
    write_wheel(tmp_path, METADATA.format(readme="other text"))

    with pytest.raises(SystemExit, match="differ in their metadata"):
        CHECK(tmp_path)
