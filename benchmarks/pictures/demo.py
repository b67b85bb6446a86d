"""The live table of `okta-tokens demo` at its end, as SVG."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from typing import Final
from xml.sax.saxutils import escape

from rich.console import Console
from rich.text import Text

from okta_tokens.cli.demo.command import run_scenarios
from okta_tokens.cli.demo.live_display import LiveDisplay
from okta_tokens.cli.demo.plan import Plan

_TITLE: Final = "okta-tokens demo"

COLUMNS: Final = 80
"""The width of the terminal."""

_FONT_FACES: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONT: Final = "Fira Code, monospace"
_FONTS: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


async def record(plan: Plan, source: str) -> str:
    """Run the demo, and return what it leaves on a terminal.

    Args:
        plan: The size of the demo.
        source: Where the recording comes from, for its description.

    Returns:
        The SVG document.

    Raises:
        RuntimeError: If a figure of the demo is wrong.
    """
    # Without a terminal, rich prints a live table once, at its end.
    console = Console(file=io.StringIO(), record=True, width=COLUMNS)
    console.print(Text("$ okta-tokens demo\n", style="bold"))
    printed = io.StringIO()
    with redirect_stdout(printed):
        exit_code = await run_scenarios(plan, LiveDisplay(console))
    if exit_code:
        raise RuntimeError(f"a figure of the demo is wrong: {printed.getvalue()}")
    verdict = printed.getvalue().splitlines()[-1]
    console.print(Text(f"\n\n{verdict}", style="bold"))
    document = console.export_svg(title=_TITLE, unique_id="demo")
    return _FONT_FACES.sub("", document).replace(_FONT, _FONTS).replace("<!--", _about(source), 1)


def _about(source: str) -> str:
    """Return a title and a description, before the comment with which rich begins."""
    description = f"The table of the demo at its end, in {COLUMNS} columns. {source}"
    return f"<title>{_TITLE}</title>\n<desc>{escape(description)}</desc>\n<!--"
