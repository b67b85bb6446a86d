"""The attributes of a sandbox that can be set at any time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from okta_tokens.sandbox._faults import Fault


class Settings(TypedDict, total=False):
    """The attributes with their types. `Sandbox` documents their meaning."""

    latency: float | tuple[float, float]
    lifetime: int
    fault: Fault | None
    outage_windows: Sequence[tuple[float, float]]
    date_offset: float
    nonce_on_every_answer: bool
    resource_nonce: bool
    rate_limit: int | None
    concurrency_limit: int | None


def check_names(names: Iterable[str]) -> None:
    """Refuse names that are not in `Settings`.

    Raises:
        TypeError: There is such a name.
    """
    for name in names:
        if name not in Settings.__annotations__:
            raise TypeError(
                f"{name} is not an attribute of a sandbox that can be set at any time. "
                f"Use one or more of {', '.join(Settings.__annotations__)}."
            )
