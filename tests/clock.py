"""The manual clock, and what tests do with it."""

from collections.abc import Callable

from okta_tokens._runtime.schedule import Schedule, Timer
from okta_tokens.testing import ManualClock
from okta_tokens.testing._manual_clock import settle

__all__ = ["ManualClock", "call_at", "settle"]


def call_at(schedule: Schedule, instant: float, callback: Callable[[], object]) -> Timer:
    """Set a new timer that calls a function without arguments, and return the timer."""
    timer = Timer()
    schedule.call_at(instant, lambda _: callback(), timer)
    return timer
