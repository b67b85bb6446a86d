"""Check built distributions: `python .ci/check_dist.py FOLDER [TAG]`.

The README that the package index will show has to render there, with links that work there. With a
tag, the distributions also have to be the release that the tag names.
"""

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from readme_renderer import markdown

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"


def read_metadata(folder: Path) -> tuple[Message, Message]:
    """Return the metadata of the wheel and of the source distribution."""
    (wheel,) = folder.glob("*.whl")
    (source,) = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        in_wheel = files.read(name)
    with tarfile.open(source) as archive:
        file = archive.extractfile(f"{source.name.removesuffix('.tar.gz')}/PKG-INFO")
        in_source = b"" if file is None else file.read()
    parser = BytesParser()
    return parser.parsebytes(in_wheel), parser.parsebytes(in_source)


def problems_of_readme(text: str) -> Iterator[str]:
    """Yield what is wrong with the README."""
    page = markdown.render(text)
    if page is None:
        yield "the README does not render"
        return
    for link in re.findall(r'(?:href|src)="([^"]*)"', page):
        if not link.startswith(("https://", "#")):
            yield f"the README's link {link} leads nowhere on the package index"


def problems_of_release(metadata: Message, tag: str) -> Iterator[str]:
    """Yield why the distributions are not the release that a tag names."""
    version = metadata["Version"]
    if tag != f"v{version}":
        yield f"the tag is {tag}, but src/okta_tokens/_version.py says {version}"
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, CHANGELOG.read_text("utf-8"), re.MULTILINE):
        yield f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD`"
    if "Project-URL" not in metadata:
        yield "`repository` in pyproject.toml is empty; set it to the address of the repository"


def main(folder: Path, tag: str | None = None) -> None:
    """Exit with a message if something is wrong."""
    metadata, other = read_metadata(folder)
    found = [] if tag is None else [*problems_of_release(metadata, tag)]
    if metadata.as_bytes() != other.as_bytes():
        found.append("the wheel and the source distribution differ in their metadata")
    found += problems_of_readme(str(metadata.get_payload()))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
