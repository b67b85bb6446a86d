"""A fault describes a wrong response, and the plan assigns faults to requests."""

from __future__ import annotations

import pytest

from okta_tokens.sandbox import Fault
from okta_tokens.sandbox._faults import DEFAULT_OUTAGE, FaultPlan
from okta_tokens.sandbox._rate_limits import RateState
from okta_tokens.sandbox._responses import Response

TRUE = RateState(10, 4, 1050.0)


@pytest.mark.parametrize("status", [499, 600])
def test_fault_status_accepts_only_a_5xx(status: int) -> None:
    """`Fault.status` is for server errors; its error names `Fault.answer` for others."""
    with pytest.raises(ValueError, match=r"Fault\.answer"):
        Fault.status(status)


@pytest.mark.parametrize(
    ("body", "sent"), [(b"\xff", b"\xff"), ("\u00e9", b"\xc3\xa9"), ({"a": 1}, b'{"a": 1}')]
)
def test_a_fault_answer_can_have_any_body(
    body: bytes | str | dict[str, object], sent: bytes
) -> None:
    """Bytes are sent unchanged, a string as UTF-8 and a mapping as JSON."""
    fault = Fault.answer(418, body, headers={"X-A": "b"}, content_type="text/plain")

    assert fault.reply == Response(418, sent, "text/plain", {"X-A": "b"})


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (Fault.status(500), TRUE),
        (Fault.rate_limited(), RateState(10, 0, 1050.0)),
        (Fault.rate_limited(30), RateState(10, 0, 1030.0)),
        (Fault.concurrency_limited(), RateState(0, 0, 1050.0)),
    ],
)
def test_only_limiting_faults_change_the_rate_limit_headers(fault: Fault, shown: RateState) -> None:
    """The two faults of a 429 change the rate-limit headers, and no other fault does."""
    assert fault.rate(1000, TRUE) == shown


def test_queued_faults_come_first_and_outage_windows_last() -> None:
    """A queued fault comes before the lasting fault, and that before an outage window."""
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
