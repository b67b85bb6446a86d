"""A fault describes a wrong response, and the plan assigns faults to requests."""

from __future__ import annotations

import pytest

from okta_tokens.sandbox import Fault
from okta_tokens.sandbox._faults import DEFAULT_OUTAGE, FaultPlan, Timed
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
    assert fault._rate(1000, TRUE) == shown


def test_queued_faults_come_first_and_outage_windows_last() -> None:
    """A queued fault comes before the lasting fault, and that before an outage window."""
    plan = FaultPlan()
    plan.windows = ((10, 5),)
    assert [plan.take(1000 + uptime, 1000) for uptime in (9, 10, 14.9, 15)] == [
        None,
        DEFAULT_OUTAGE,
        DEFAULT_OUTAGE,
        None,
    ]

    plan.lasting = Fault.junk()
    plan.queue.append(Fault.html())
    assert [plan.take(12, 0), plan.take(12, 0)] == [Fault.html(), Fault.junk()]


def test_a_timed_fault_comes_after_the_queue_and_before_the_lasting_fault() -> None:
    """A timed fault comes after queued faults, and the lasting fault returns at its end."""
    plan = FaultPlan()
    plan.lasting, plan.timed = Fault.junk(), Timed(Fault.drop(), until=15)
    plan.windows = ((10, 5),)
    plan.queue.append(Fault.html())

    assert [plan.take(now, 0) for now in (14, 14.9, 15)] == [
        Fault.html(),
        Fault.drop(),
        Fault.junk(),
    ]
    assert [*plan.under_way(14, 0)] == [
        (Fault.drop(), 1),
        (Fault.junk(), None),
        (DEFAULT_OUTAGE, 1),
    ]


def test_clearing_ends_every_fault() -> None:
    """After `clear` there is no queued, timed, lasting or planned fault."""
    plan = FaultPlan()
    plan.lasting, plan.timed, plan.windows = Fault.junk(), Timed(Fault.drop(), 99), ((10, 5),)
    plan.queue.append(Fault.html())
    plan.clear()

    assert plan.take(12, 0) is None


@pytest.mark.parametrize("name", ["404", "5032", "flood", "none", "", "\u0665\u0660\u0663"])
def test_an_unknown_name_is_not_repeated(name: str) -> None:
    """A name that no fault has brings an error with the names of the faults."""
    with pytest.raises(ValueError, match=r"^give a fault, one of: a 5xx status, outage, html, "):
        Fault.named(name)


def test_a_fault_has_a_name_on_the_command_line() -> None:
    """A 5xx status and each of the names are faults."""
    assert Fault.named("504") == Fault.status(504)
    assert Fault.named("outage") == Fault.status(503)
    assert len({Fault.named(name).name for name in Fault.names()}) == len(Fault.names()) == 11


def test_a_fault_is_shown_by_its_name() -> None:
    """Signatures and logs show a fault's name, and not what the sandbox makes of it."""
    assert [repr(fault) for fault in (Fault.status(503), Fault.drip())] == [
        "<Fault: status 503>",
        "<Fault: drip>",
    ]
