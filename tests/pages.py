"""The README and the guides, whose examples the tests run."""

import re
from pathlib import Path

from okta_tokens import events

ROOT = Path(__file__).parent.parent

PAGES = {
    "README": ROOT / "README.md",
    "settings": ROOT / "src/okta_tokens/README.md",
    "auth": ROOT / "src/okta_tokens/_auth/README.md",
    "cache": ROOT / "src/okta_tokens/_cache/README.md",
    "adapters": ROOT / "src/okta_tokens/adapters/README.md",
    "cli": ROOT / "src/okta_tokens/cli/README.md",
    "errors": ROOT / "src/okta_tokens/errors/README.md",
    "doctor": ROOT / "src/okta_tokens/doctor/README.md",
    "sandbox": ROOT / "src/okta_tokens/sandbox/README.md",
    "stores": ROOT / "src/okta_tokens/stores/README.md",
    "telemetry": ROOT / "src/okta_tokens/telemetry/README.md",
    "testing": ROOT / "src/okta_tokens/testing/README.md",
    "recipes": ROOT / "tests/recipes/README.md",
    "moving": ROOT / "tests/recipes/moving/README.md",
}
"""The pages with examples, by name."""

EVENTS = {
    kind.name: kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and hasattr(kind, "level")
}
"""The class of each event by the name of its log line."""

OTHER_LINES = {"okta_tokens.observer_failed": "warning"}
"""The log lines that are no events, and their levels."""


def page(name: str) -> str:
    """Return the text of a page."""
    return PAGES[name].read_text("utf-8")


def marked_block(kind: str, name: str) -> str:
    """Return the code block after a marker in one of the guides.

    Args:
        kind: The kind of the marker: `recipe` or `diff`.
        name: The name in the marker.
    """
    pattern = rf"^<!-- {kind}: {re.escape(name)} -->\n```\w+\n(.*?)^```$"
    (code,) = [
        code
        for text in map(page, PAGES)
        for code in re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL)
    ]
    return str(code)
