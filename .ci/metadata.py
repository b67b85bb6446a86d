"""The metadata that the build makes from one setting, the address of the repository.

The package index shows the README without the files around it, so its links become absolute there.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(
    r"^```.*?^```$|`[^`\n]+`"  # code
    r'|(?P<before>\]\(|\b(?:href|src|srcset)=")(?!#|[a-z]+:)(?P<path>[^)"\s]+)',
    re.MULTILINE | re.DOTALL,
)
"""A relative link or picture, of Markdown or HTML. What looks like one in code is matched without
a path."""

PICTURE = re.compile(r"\.(?:gif|jpe?g|png|svg|webp)$")


def absolute(readme: str, repository: str, tag: str) -> str:
    """Return a README whose relative links lead into the repository.

    Args:
        readme: The README, in Markdown.
        repository: The address of the repository.
        tag: The tag at which the files are shown.
    """

    def link(match: re.Match[str]) -> str:
        path = match["path"]
        if path is None:
            return match[0]
        kind = "raw" if PICTURE.search(path) else "blob"
        return f"{match['before']}{repository}/{kind}/{tag}/{path}"

    return LINK.sub(link, readme)


class CustomMetadataHook(MetadataHookInterface):
    """Sets the README and the URLs of the project; hatchling calls it."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add to the metadata."""
        text = Path(self.root, "README.md").read_text("utf-8")
        repository = self.config["repository"]
        if repository:
            tag = f"v{metadata['version']}"
            text = absolute(text, repository, tag)
            metadata["urls"] = {
                "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
                "Repository": repository,
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
