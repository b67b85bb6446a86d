"""Rows of bands and marks with a common axis of time."""

from __future__ import annotations

from typing import Final, TypeAlias

from benchmarks.pictures.svg import SIZE, Anchor, Picture, Role

Band: TypeAlias = tuple[float, Role | None, list[str]]
"""The end of a band in seconds, what its colour says, and its text in several lengths."""

_BAND: Final = 26
"""The height of a band in pixels."""

_MARKS: Final = 20
"""The height of a row of marks in pixels."""

_GAP: Final = 12
"""The distance between two rows in pixels."""

_TICK: Final = 300
"""The distance between two ticks in seconds."""


class Rows:
    """Rows of a picture with a common axis of time, drawn from top to bottom.

    Args:
        picture: The picture.
        begin: The time at the left side, in seconds.
        end: The time at the right side, in seconds.
    """

    def __init__(self, picture: Picture, begin: float, end: float) -> None:
        self._picture = picture
        self._begin = begin
        self._end = end

    def bands(self, name: str, note: str, bands: list[Band]) -> None:
        """Draw a row of bands, each of which begins where the one before ends.

        Args:
            name: The name of the row.
            note: What the row shows; may be empty.
            bands: The bands.
        """
        y = self._head(name, note)
        left: float = self._picture.left
        for end, role, texts in bands:
            right = self._x(end)
            if role is not None and right > left:
                self._picture.band(left, y, right - left, _BAND, role, texts)
            left = right
        self._picture.y = y + _BAND + _GAP

    def marks(self, name: str, note: str, requests: list[tuple[float, bool]]) -> None:
        """Draw a row of marks for token requests.

        Args:
            name: The name of the row.
            note: What the row shows; may be empty.
            requests: The instant of each request, and whether it succeeded.
        """
        picture, y = self._picture, self._head(name, note) + _MARKS / 2
        picture.line(picture.left, y, picture.right, y, "rule")
        for instant, succeeded in requests:
            if succeeded:
                picture.dot(self._x(instant), y, "good")
            else:
                picture.cross(self._x(instant), y, "bad")
        picture.y = y + _MARKS / 2 + _GAP

    def axis(self) -> None:
        """Draw the axis, with a tick for each five minutes."""
        picture = self._picture
        y = picture.y
        anchors: dict[float, Anchor] = {self._begin: "start", self._end: "end"}
        for second in range(int(self._begin), int(self._end) + 1, _TICK):
            x = self._x(second)
            picture.line(x, y - 4, x, y, "muted")
            text = f"{second // 60} min" if second == self._begin else f"{second // 60}"
            picture.text(
                x, y + SIZE, text, role="muted", size=12, anchor=anchors.get(second, "middle")
            )
        picture.y = y + SIZE + 4
        picture.paragraph(
            "Minutes since the first token was fetched, moved by a ManualClock.",
            role="muted",
            size=12,
        )

    def _head(self, name: str, note: str) -> float:
        picture = self._picture
        y = picture.y + SIZE
        picture.heading(picture.left, y, name, note)
        return y + 6

    def _x(self, instant: float) -> float:
        share = (instant - self._begin) / (self._end - self._begin)
        picture = self._picture
        return picture.left + min(1.0, max(0.0, share)) * (picture.right - picture.left)
