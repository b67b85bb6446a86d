"""The clock offset of a domain: how far Okta's clock is ahead of this machine's."""

from __future__ import annotations

MAX_STEP = 60.0
"""Seconds. Two offsets that differ by more do not agree."""


class ClockOffset:
    """Learn the clock offset of a domain from the responses of Okta.

    The offset dates assertions and proofs, and the ends of shared pauses and tokens. With a wrong
    one Okta and APIs refuse requests. A middlebox between this machine and Okta may send any
    `Date`, so a response that is not Okta's teaches nothing (`Response.is_oktas`). Three cases of
    the others:

    1. The first offset, one that agrees with the present one, and one of a refusal for time: it
       counts at once.
    2. Another one that agrees with the last response's: it counts, too.
    3. Any other one: it counts only if the next response agrees with it.

    A middlebox that imitates Okta's JSON can still teach a wrong offset: with the first response of
    a domain, with two responses in a row, or with a refusal for time. The offset is right again
    after Okta's next refusal for time, or its next two responses.
    """

    __slots__ = ("_is_known", "_unconfirmed", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        """Seconds by which Okta's clock is ahead of this machine's."""
        self._is_known = False
        self._unconfirmed: float | None = None

    def learn(self, seconds: float, *, refused_for_time: bool) -> None:
        """Use the offset of a response, or keep it until the next response confirms it.

        Args:
            seconds: The offset by the `Date` of a response of Okta.
            refused_for_time: Whether the response refuses a request for its time.
        """
        other = self._unconfirmed
        if (
            abs(seconds - self.seconds) <= MAX_STEP
            or (other is not None and abs(seconds - other) <= MAX_STEP)
            or refused_for_time
            or not self._is_known
        ):
            self.seconds, self._is_known, self._unconfirmed = seconds, True, None
        else:
            self._unconfirmed = seconds
