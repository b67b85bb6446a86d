"""Write SVG: rectangles, lines, marks and texts, in the colours of the reader's scheme.

A picture is readable without its style sheet's host page: it has its own background, uses the
system's fonts, and loads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, get_args
from xml.sax.saxutils import escape

WIDE: Final = 760
"""The width for screens of a computer, in pixels."""

NARROW: Final = 343
"""The width for telephones, in pixels: 375 without the margins of a page."""

MARGIN: Final = 16
"""The distance between the border and the content, in pixels."""

SIZE: Final = 13
"""The size of plain text, in pixels."""

Anchor = Literal["start", "middle", "end"]
"""The point of a text that a position means."""

Role = Literal["ink", "muted", "rule", "ours", "peer", "good", "due", "bad"]
"""What a colour says; `_SCHEMES` has the colours."""

_SCHEMES: Final[dict[str, dict[str, str]]] = {
    "light": {
        "ground": "#ffffff",
        "ink": "#1f2328",
        "muted": "#59636e",
        "rule": "#d1d9e0",
        "ours": "#0969da",
        "peer": "#818b98",
        "good": "#1a7f37",
        "due": "#9a6700",
        "bad": "#cf222e",
        "muted-band": "#ffffff",
        "ours-band": "#ddf4ff",
        "good-band": "#dafbe1",
        "due-band": "#fff8c5",
        "bad-band": "#ffebe9",
    },
    "dark": {
        "ground": "#0d1117",
        "ink": "#f0f6fc",
        "muted": "#9198a1",
        "rule": "#3d444d",
        "ours": "#4493f8",
        "peer": "#7d8590",
        "good": "#3fb950",
        "due": "#d29922",
        "bad": "#f85149",
        "muted-band": "#0d1117",
        "ours-band": "#121d2f",
        "good-band": "#12261e",
        "due-band": "#272115",
        "bad-band": "#2d1519",
    },
}
"""The colours of GitHub's light and dark page, which have enough contrast."""

_FONTS: Final = (
    "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
)

_NAMESPACE: Final = "http://www.w3.org/2000/svg"

_NARROW_LETTERS: Final = frozenset("fijlrtI.,:;'()[]|! ")
_WIDE_LETTERS: Final = frozenset("mwMW@—×●")
_BOLD_FONT: Final = ' font-weight="600"'
_BOLD: Final = 1.12
"""How much wider a bold letter is."""


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """Return how wide a text is at most, in pixels, in the fonts of the common systems.

    DejaVu Sans, the widest of them, sets the widths of the letters.

    Args:
        text: The text.
        size: The size of the font in pixels.
        bold: Whether the text is bold.
    """
    return sum(map(_letter_width, text)) * size * (_BOLD if bold else 1)


def _letter_width(letter: str) -> float:
    if letter in _NARROW_LETTERS:
        return 0.42
    if letter in _WIDE_LETTERS:
        return 1.0
    return 0.75 if letter.isupper() else 0.64


def wrap(text: str, width: float, size: float = SIZE, *, bold: bool = False) -> list[str]:
    """Return the lines of a text that are not wider than a width.

    Args:
        text: The text; words are separated by one space.
        width: The width in pixels.
        size: The size of the font in pixels.
        bold: Whether the text is bold.
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size, bold=bold) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


class Picture:
    """An SVG document that is drawn from top to bottom.

    Args:
        title: The title, which is also drawn.
        description: What the picture shows, for readers that do not see it.
        width: The width in pixels.
    """

    def __init__(self, title: str, description: str, width: int) -> None:
        self.width = width
        self.left = MARGIN
        self.right = width - MARGIN
        self.y = float(MARGIN)
        """How far the picture is drawn, in pixels from the top."""
        self._title = title
        self._description = description
        self._elements: list[str] = []
        self.paragraph(title, size=16, bold=True)
        self.y += 3

    def bar(self, x: float, y: float, width: float, height: float, role: Role) -> None:
        """Draw a filled rectangle.

        Args:
            x: The left side.
            y: The upper side.
            width: The width in pixels.
            height: The height in pixels.
            role: What its colour says.
        """
        self._elements.append(
            f'<rect class="{role}" x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" '
            f'height="{height:.1f}"/>'
        )

    def band(
        self, x: float, y: float, width: float, height: float, role: Role, texts: Sequence[str]
    ) -> None:
        """Draw a rectangle with a border, and inside it the first text that fits.

        Args:
            x: The left side.
            y: The upper side.
            width: The width in pixels.
            height: The height in pixels.
            role: What its colour says.
            texts: The text, and shorter ones that say the same.
        """
        self._elements.append(
            f'<rect class="{role} band" x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" '
            f'height="{height:.1f}"/>'
        )
        for text in texts:
            if text_width(text) <= width - 4:
                self.text(x + width / 2, y + height / 2 + SIZE * 0.36, text, anchor="middle")
                break

    def line(self, x1: float, y1: float, x2: float, y2: float, role: Role) -> None:
        """Draw a line.

        Args:
            x1: Where it begins.
            y1: The same.
            x2: Where it ends.
            y2: The same.
            role: What its colour says.
        """
        self._elements.append(
            f'<line class="{role}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def cross(self, x: float, y: float, role: Role, *, radius: float = 3.5) -> None:
        """Draw a mark for a failure.

        Args:
            x: Its centre.
            y: The same.
            role: What its colour says.
            radius: Half of its width in pixels.
        """
        self._elements.append(
            f'<path class="{role}" d="M{x - radius:.1f} {y - radius:.1f}l{2 * radius:g} '
            f'{2 * radius:g}m0 {-2 * radius:g}l{-2 * radius:g} {2 * radius:g}"/>'
        )

    def dot(self, x: float, y: float, role: Role, *, radius: float = 4.5) -> None:
        """Draw a mark for a success.

        Args:
            x: Its centre.
            y: The same.
            role: What its colour says.
            radius: Its radius in pixels.
        """
        self._elements.append(f'<circle class="{role}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        role: Role = "ink",
        size: float = SIZE,
        bold: bool = False,
        anchor: Anchor = "start",
        room: float = math.inf,
    ) -> None:
        """Draw a line of text.

        Args:
            x: The left side, the middle or the right side, as `anchor` says.
            y: The base line.
            text: The text.
            role: What its colour says.
            size: The size of the font in pixels.
            bold: Whether the text is bold.
            anchor: Which point of the text is at `x`.
            room: How wide the text may be, in pixels.

        Raises:
            ValueError: If the text does not fit into the picture or its room.
        """
        width = text_width(text, size, bold=bold)
        self._check(
            text, x - {"start": 0.0, "middle": width / 2, "end": width}[anchor], width, room
        )
        weight = _BOLD_FONT if bold else ""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._elements.append(
            f'<text class="{role}" x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{weight}{where}>'
            f"{escape(text)}</text>"
        )

    def heading(self, x: float, y: float, text: str, note: str) -> None:
        """Draw a bold text and a note beside it.

        Args:
            x: The left side.
            y: The base line.
            text: The text.
            note: The note; may be empty.

        Raises:
            ValueError: If both do not fit into the picture.
        """
        self._check(text, x, text_width(text, bold=True) + 8 + text_width(note))
        self._elements.append(
            f'<text class="ink" x="{x:.1f}" y="{y:.1f}" font-size="{SIZE}">'
            f"<tspan{_BOLD_FONT}>{escape(text)}</tspan>"
            f'<tspan class="muted" dx="8">{escape(note)}</tspan></text>'
        )

    def _check(self, text: str, begin: float, width: float, room: float = math.inf) -> None:
        if begin < 0 or begin + width > self.width or width > room:
            raise ValueError(f"the text {text!r} does not fit. Shorten it.")

    def paragraph(
        self, text: str, *, role: Role = "ink", size: float = SIZE, bold: bool = False
    ) -> None:
        """Draw a text in as many lines as it needs, below everything that is drawn.

        Args:
            text: The text.
            role: What its colour says.
            size: The size of the font in pixels.
            bold: Whether the text is bold.
        """
        for line in wrap(text, self.right - self.left, size, bold=bold):
            self.y += size * 1.35
            self.text(self.left, self.y - size * 0.3, line, role=role, size=size, bold=bold)

    def render(self) -> str:
        """Return the document. The picture ends below everything that is drawn."""
        height = round(self.y + MARGIN)
        styles = (
            f"text{{font-family:{_FONTS}}}path{{stroke-width:2}}",
            _style(_SCHEMES["light"]),
            f"@media (prefers-color-scheme:dark){{{_style(_SCHEMES['dark'])}}}",
        )
        size = f'width="{self.width}" height="{height}" viewBox="0 0 {self.width} {height}"'
        ground = f'x="0.5" y="0.5" width="{self.width - 1}" height="{height - 1}" rx="6"'
        lines = [
            f'<svg xmlns="{_NAMESPACE}" {size} role="img" aria-labelledby="title desc">',
            f'<title id="title">{escape(self._title)}</title>',
            f'<desc id="desc">{escape(self._description)}</desc>',
            f"<style>{''.join(styles)}</style>",
            f'<rect class="ground" {ground}/>',
            *self._elements,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def _style(colours: dict[str, str]) -> str:
    """Return rules for the fills and lines of each role."""
    rules = [f".ground{{fill:{colours['ground']};stroke:{colours['rule']}}}"]
    for role in get_args(Role):
        colour = colours[role]
        rules.append(f".{role}{{fill:{colour}}}line.{role},path.{role}{{stroke:{colour}}}")
        if band := colours.get(f"{role}-band"):
            rules.append(f".{role}.band{{fill:{band};stroke:{colour}}}")
    return "".join(rules)
