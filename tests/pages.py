"""The README and the guides, whose examples the tests run."""

from pathlib import Path

ROOT = Path(__file__).parent.parent

PAGES = {
    "README": ROOT / "README.md",
    "settings": ROOT / "src/okta_tokens/README.md",
    "adapters": ROOT / "src/okta_tokens/adapters/README.md",
    "cli": ROOT / "src/okta_tokens/cli/README.md",
    "doctor": ROOT / "src/okta_tokens/doctor/README.md",
    "sandbox": ROOT / "src/okta_tokens/sandbox/README.md",
    "stores": ROOT / "src/okta_tokens/stores/README.md",
    "telemetry": ROOT / "src/okta_tokens/telemetry/README.md",
    "recipes": ROOT / "tests/recipes/README.md",
}
"""The pages with examples, by name."""


def page(name: str) -> str:
    """Return the text of a page."""
    return PAGES[name].read_text("utf-8")
