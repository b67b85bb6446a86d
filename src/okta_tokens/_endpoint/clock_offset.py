"""The clock offset of a domain: how far Okta's clock is ahead of this machine's."""

from __future__ import annotations

_RESOLUTION = 1.0
"""Seconds: the smallest step of the time in a response."""

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

    __slots__ = ("_unconfirmed", "is_known", "seconds")

    def __init__(self) -> None:
        self.seconds: float = 0.0
        """Seconds by which Okta's clock is ahead of this machine's."""
        self.is_known: bool = False
        """Whether a response of Okta has told it."""
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
            or not self.is_known
        ):
            self.seconds, self.is_known, self._unconfirmed = seconds, True, None
        else:
            self._unconfirmed = seconds


def estimated_offset(server_time: float, sent: float, received: float) -> float:
    """Return by how many seconds a server's clock is ahead, by one of its responses.

    The server may have read its clock at any moment between request and response. If the clocks may
    agree, they do: half of the time that a slow response takes is no offset.

    Args:
        server_time: The time in the response, in seconds since the epoch.
        sent: When the request was sent, by this machine's clock.
        received: When the response arrived, by this machine's clock.
    """
    if sent - _RESOLUTION <= server_time <= received + _RESOLUTION:
        return 0.0
    return server_time - (sent + received) / 2
