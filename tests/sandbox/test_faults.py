"""Faults say what goes wrong, and the plan says with which request."""

from __future__ import annotations

import pytest

from okta_tokens.sandbox import Fault
from okta_tokens.sandbox._answers import Answer
from okta_tokens.sandbox._faults import DEFAULT_OUTAGE, FaultPlan
from okta_tokens.sandbox._limits import RateState

TRUE = RateState(10, 4, 1050.0)


@pytest.mark.parametrize("status", [200, 404, 600])
def test_only_a_5xx_is_an_outage(status: int) -> None:
    """`Fault.status` is for server errors, and says what answers anything else."""
    with pytest.raises(ValueError, match=r"Fault\.answer"):
        Fault.status(status)


@pytest.mark.parametrize(
    ("body", "sent"), [(b"\xff", b"\xff"), ("\u00e9", b"\xc3\xa9"), ({"a": 1}, b'{"a": 1}')]
)
def test_an_answer_can_be_anything(body: bytes | str | dict[str, object], sent: bytes) -> None:
    """Bytes are sent as they are, text as UTF-8 and a mapping as JSON."""
    fault = Fault.answer(418, body, headers={"X-A": "b"}, content_type="text/plain")

    assert fault.reply == Answer(418, sent, "text/plain", {"X-A": "b"})


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (Fault.status(500), TRUE),
        (Fault.rate_limited(), RateState(10, 0, 1050.0)),
        (Fault.rate_limited(30), RateState(10, 0, 1030.0)),
        (Fault.concurrency_limited(), RateState(0, 0, 1050.0)),
    ],
)
def test_a_429_shows_it_in_the_headers(fault: Fault, shown: RateState) -> None:
    """Only faults that limit change the rate-limit headers."""
    assert fault.rate(1000, TRUE) == shown


def test_the_plan_takes_queued_faults_first_and_windows_last() -> None:
    """A queued fault comes before the lasting one, and that before a window's."""
    plan = FaultPlan()
    plan.windows = ((10, 5),)
    assert [plan.take(uptime) for uptime in (9, 10, 14.9, 15)] == [
        None,
        DEFAULT_OUTAGE,
        DEFAULT_OUTAGE,
        None,
    ]

    plan.lasting = Fault.junk()
    plan.queue.append(Fault.html())
    assert [plan.take(12), plan.take(12)] == [Fault.html(), Fault.junk()]
