"""When to renew, retry and give up."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens.errors import ConfigurationError

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
MONTH = 30 * 86_400.0

lifetimes = st.floats(1.0, MONTH)
draws = st.floats(0.0, 1.0, exclude_max=True)
failures = st.integers(1, 10**9)


Policy = RefreshPolicy | RetryPolicy


def made_or_refused(
    make: Callable[..., Policy], values: dict[str, object]
) -> Policy | ConfigurationError:
    """Make a policy of values of any type; return the error if the values are invalid."""
    try:
        return make(**values)
    except ConfigurationError as error:
        return error


def lowest() -> float:
    """Draw the lower end of the unit interval."""
    return 0.0


def highest() -> float:
    """Draw the upper end of the unit interval."""
    return 1.0


@st.composite
def refresh_policies(draw: st.DrawFn) -> RefreshPolicy:
    """Draw any valid policy."""
    min_lead = draw(st.floats(0.1, 1_000.0))
    values: dict[str, object] = {
        "lead_fraction": draw(st.floats(0.01, 0.99)),
        "min_lead": min_lead,
        "max_lead": min_lead * draw(st.floats(1.0, 100.0)),
        "max_leeway": draw(st.floats(0.01, 50.0)),
        "max_backoff": draw(st.floats(0.1, 1_000.0)),
    }
    policy = made_or_refused(RefreshPolicy, values)
    assume(isinstance(policy, RefreshPolicy))
    assert isinstance(policy, RefreshPolicy)
    return policy


def test_refresh_defaults() -> None:
    """The defaults of a refresh policy are the documented ones."""
    assert dataclasses.asdict(RefreshPolicy()) == {
        "lead_fraction": 0.2,
        "min_lead": 10.0,
        "max_lead": 600.0,
        "max_leeway": 5.0,
        "max_backoff": 60.0,
    }


def test_retry_defaults() -> None:
    """The defaults of a retry policy are the documented ones."""
    assert dataclasses.asdict(RetryPolicy()) == {
        "attempts": 6,
        "request_timeout": 10.0,
        "total_timeout": 30.0,
        "max_wait": 60.0,
        "max_pause": 90.0,
        "max_cooldown": 30.0,
    }


@pytest.mark.parametrize("make", [RefreshPolicy, RetryPolicy])
def test_policies_are_values(make: type[Policy]) -> None:
    """A policy is immutable, and equal to another policy with the same numbers."""
    field = dataclasses.fields(make)[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(make(), field, 7.0)

    assert make() == make()
    assert hash(make()) == hash(make())


@pytest.mark.parametrize("make", [RefreshPolicy, RetryPolicy])
def test_numbers_have_names(make: Callable[..., Policy]) -> None:
    """A policy takes its numbers by name only, because they all look alike."""
    with pytest.raises(TypeError, match="positional argument"):
        make(0.5)


@pytest.mark.parametrize(
    ("lifetime", "lead", "leeway"),
    [
        pytest.param(1, 0.5, 0.05, id="one-second"),
        pytest.param(10, 5, 0.5, id="half-of-a-short-life"),
        pytest.param(30, 10, 1.5, id="min_lead"),
        pytest.param(100, 20, 5, id="max_leeway-begins"),
        pytest.param(300, 60, 5, id="the-shortest-of-Okta"),
        pytest.param(3_000, 600, 5, id="max_lead-begins"),
        pytest.param(3_600, 600, 5, id="org-server"),
        pytest.param(86_400, 600, 5, id="the-longest-of-Okta"),
    ],
)
def test_lead_and_leeway(lifetime: float, lead: float, leeway: float) -> None:
    """Lead and leeway follow the formulas for every kind of lifetime."""
    policy = RefreshPolicy()

    assert policy.lead(lifetime) == lead
    assert policy.leeway(lifetime) == leeway


def test_refresh_is_drawn_from_the_first_half_of_the_lead() -> None:
    """The renewal is due in the first half of the lead, depending on the draw."""
    policy = RefreshPolicy()

    assert policy.refresh_after(300, lowest) == 240
    assert policy.refresh_after(300, lambda: 0.5) == 255
    assert policy.refresh_after(300, highest) == 270


@pytest.mark.parametrize(
    ("lifetime", "response_time", "age"),
    [(5, 0.1, 3.75), (5, 1, 3), (5, 4, 2.5), (300, 3, 270), (300, 20, 260), (0.5, 4, 1)],
)
def test_refresh_leaves_time_for_a_slow_server(
    lifetime: float, response_time: float, age: float
) -> None:
    """The renewal starts twice the response time before expiry, but after half of the lifetime."""
    assert RefreshPolicy().refresh_after(lifetime, highest, response_time) == age


@QUICK
@given(refresh_policies(), lifetimes, draws)
def test_refresh_precedes_the_leeway(policy: RefreshPolicy, lifetime: float, draw: float) -> None:
    """With any policy and lifetime, the renewal is due before the token is unusable."""
    refresh = policy.refresh_after(lifetime, lambda: draw)
    lead = policy.lead(lifetime)

    assert refresh < lifetime - policy.leeway(lifetime)
    assert lifetime - lead <= refresh <= lifetime - lead / 2 + 1e-6


@QUICK
@given(refresh_policies(), lifetimes)
def test_no_renewal_in_the_first_half_of_a_lifetime(policy: RefreshPolicy, lifetime: float) -> None:
    """No renewal is due in the first half of a lifetime, however short the lifetime is."""
    assert policy.refresh_after(lifetime, lowest) >= lifetime / 2


@QUICK
@given(refresh_policies(), lifetimes)
def test_leeway_takes_a_twentieth_at_most(policy: RefreshPolicy, lifetime: float) -> None:
    """The leeway is at most a twentieth of the lifetime and at most `max_leeway`."""
    leeway = policy.leeway(lifetime)

    assert 0 < leeway <= policy.max_leeway
    assert leeway <= lifetime / 20


@QUICK
@given(refresh_policies(), lifetimes, st.floats(1.0, 100.0))
def test_longer_lives_never_have_shorter_leads(
    policy: RefreshPolicy, lifetime: float, factor: float
) -> None:
    """Lead and leeway grow with the lifetime, but never faster than the lifetime."""
    for share in (policy.lead, policy.leeway):
        assert share(lifetime) <= share(factor * lifetime) <= factor * share(lifetime) * (1 + 1e-9)


@QUICK
@given(st.floats(1.0, 10.0), st.floats(1.0, 2.0), draws, failures)
def test_short_lives_are_scaled_down(
    lifetime: float, factor: float, draw: float, count: int
) -> None:
    """Below 20 s, every duration is a fixed share of the lifetime."""
    policy = RefreshPolicy()

    def durations(life: float) -> list[float]:
        return [
            policy.lead(life),
            policy.leeway(life),
            policy.refresh_after(life, lambda: draw),
            policy.backoff(count, life, lambda: draw),
            policy.final_call(life, 10.0),
            policy.spread(life, lambda: draw),
        ]

    scaled = [factor * duration for duration in durations(lifetime)]

    assert durations(factor * lifetime) == pytest.approx(scaled)


@pytest.mark.parametrize(
    ("lifetime", "waits"),
    [
        pytest.param(3_600, [1, 2, 4, 8, 16, 32, 60, 60], id="max_backoff"),
        pytest.param(300, [1, 2, 4, 8, 15, 15], id="quarter-of-the-lead"),
        pytest.param(10, [0.3125, 0.625, 1.25, 1.25], id="base-of-a-short-life"),
    ],
)
def test_backoff(lifetime: float, waits: list[float]) -> None:
    """The wait after a failed renewal doubles up to its cap; the draw may halve it."""
    policy = RefreshPolicy()
    counts = range(1, len(waits) + 1)

    assert [policy.backoff(count, lifetime, highest) for count in counts] == waits
    assert [2 * policy.backoff(count, lifetime, lowest) for count in counts] == waits


@QUICK
@given(refresh_policies(), lifetimes, failures, draws)
def test_backoff_is_capped(policy: RefreshPolicy, lifetime: float, count: int, draw: float) -> None:
    """No wait between two renewals exceeds `max_backoff` or a quarter of the lead."""
    wait = policy.backoff(count, lifetime, lambda: draw)

    assert 0 < wait <= min(policy.max_backoff, policy.lead(lifetime) / 4)


@QUICK
@given(refresh_policies(), lifetimes, st.integers(1, 100), draws)
def test_backoff_never_shrinks(
    policy: RefreshPolicy, lifetime: float, count: int, draw: float
) -> None:
    """Another failure never makes the next renewal start sooner."""
    waits = [policy.backoff(times, lifetime, lambda: draw) for times in (count, count + 1)]

    assert waits == sorted(waits)


@pytest.mark.parametrize(
    ("lifetime", "request_timeout", "instant"),
    [(3_600, 10.0, 10.0), (3_600, 250.0, 200.0), (300, 30.0, 20.0), (6, 10.0, 1.0)],
)
def test_final_call(lifetime: float, request_timeout: float, instant: float) -> None:
    """The last renewal leaves time for a request, but at most a third of the lead."""
    assert RefreshPolicy().final_call(lifetime, request_timeout) == instant


@pytest.mark.parametrize(("lifetime", "longest"), [(3_600, 10.0), (300, 7.5), (8, 0.5)])
def test_spread(lifetime: float, longest: float) -> None:
    """After a pause, renewals spread over 10 s, or an eighth of the lead if that is less."""
    policy = RefreshPolicy()

    assert policy.spread(lifetime, lowest) == 0
    assert policy.spread(lifetime, highest) == longest


def test_delay() -> None:
    """The wait between two attempts doubles up to 5 s; the draw may halve it."""
    policy = RetryPolicy()
    waits = [0.25, 0.5, 1, 2, 4, 5, 5]

    assert [policy.delay(attempt, highest) for attempt in range(1, 8)] == waits
    assert [2 * policy.delay(attempt, lowest) for attempt in range(1, 8)] == waits


def test_cooldown() -> None:
    """The cool-down after a failed fetch doubles up to its cap; the draw may halve it."""
    policy = RetryPolicy()
    waits = [2, 4, 8, 16, 30, 30]

    assert [policy.cooldown(count, highest) for count in range(1, 7)] == waits
    assert [2 * policy.cooldown(count, lowest) for count in range(1, 7)] == waits


@QUICK
@given(st.floats(0.001, 1e6), failures, draws)
def test_waits_of_a_fetch_are_capped(max_cooldown: float, count: int, draw: float) -> None:
    """After any number of failures, delay and cool-down do not exceed their caps."""
    policy = RetryPolicy(max_cooldown=max_cooldown)

    assert 0 < policy.cooldown(count, lambda: draw) <= max_cooldown
    assert 0 < policy.delay(count, lambda: draw) <= 5


@pytest.mark.parametrize(
    ("make", "field"),
    [
        pytest.param(make, field.name, id=f"{make.__name__}-{field.name}")
        for make in (RefreshPolicy, RetryPolicy)
        for field in dataclasses.fields(make)
    ],
)
def test_each_value_must_be_a_positive_number(make: Callable[..., Policy], field: str) -> None:
    """Each value of a policy must be a positive, finite number."""
    invalid: list[object] = [0, -1, 0.0, -0.5, math.nan, math.inf, -math.inf, True, None, "5", 1j]
    for value in [*invalid, [1]]:
        with pytest.raises(ConfigurationError) as caught:
            make(**{field: value})

        assert str(caught.value).endswith(f": {field} must be a positive, finite number")


@QUICK
@given(
    st.sampled_from([RefreshPolicy, RetryPolicy]),
    st.dictionaries(
        st.integers(0, 4),
        st.one_of(
            st.floats(),
            st.integers(-(10**9), 10**9),
            st.text(max_size=5),
            st.none(),
            st.booleans(),
            st.complex_numbers(),
        ),
    ),
)
def test_a_policy_is_made_or_refused(kind: type[Policy], values: dict[int, object]) -> None:
    """Any values make a policy that works, or raise a `ConfigurationError`."""
    names = [field.name for field in dataclasses.fields(kind)]
    policy = made_or_refused(kind, {names[index]: value for index, value in values.items()})

    if isinstance(policy, ConfigurationError):
        assert str(policy).startswith(f"{kind.__name__}: ")
    else:
        assert all(math.isfinite(value) and value > 0 for value in dataclasses.astuple(policy))


def test_all_problems_in_one_message() -> None:
    """One message lists every invalid value of a policy."""
    with pytest.raises(ConfigurationError) as caught:
        RefreshPolicy(lead_fraction=0, min_lead=-1, max_backoff=math.nan)

    assert [name for name in vars(RefreshPolicy()) if name in str(caught.value)] == [
        "lead_fraction",
        "min_lead",
        "max_backoff",
    ]


def test_all_contradictions_in_one_message() -> None:
    """One message lists every contradiction between the numbers of a refresh policy."""
    with pytest.raises(ConfigurationError) as caught:
        RefreshPolicy(lead_fraction=1, min_lead=20, max_lead=10, max_leeway=30)

    assert str(caught.value) == (
        "RefreshPolicy: lead_fraction must be less than 1; min_lead must not exceed max_lead; "
        "max_leeway must be less than half of the lead of a token of 600 s; reduce max_leeway, or "
        "raise lead_fraction, min_lead or max_lead"
    )


def test_all_contradictions_of_a_retry_policy() -> None:
    """One message lists every contradiction between the numbers of a retry policy."""
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(attempts=2.5, request_timeout=31)  # type: ignore[arg-type]  # deliberately

    assert str(caught.value) == (
        "RetryPolicy: attempts must be a whole number; "
        "request_timeout must not exceed total_timeout"
    )


def test_the_limits_themselves_are_allowed() -> None:
    """Values on the limits of a policy are valid."""
    assert RefreshPolicy(min_lead=60, max_lead=60).lead(3_600) == 60
    assert RefreshPolicy(lead_fraction=0.999).lead(100) == 50
    assert RetryPolicy(request_timeout=30).total_timeout == 30
    assert RetryPolicy(attempts=1).attempts == 1


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"lead_fraction": 0.05}, id="a-small-fraction"),
        pytest.param({"max_lead": 10.0}, id="a-small-max_lead"),
    ],
)
def test_the_renewal_must_precede_the_leeway(options: dict[str, float]) -> None:
    """A policy by which a renewal could be due within the leeway is refused."""
    with pytest.raises(ConfigurationError, match="max_leeway must be less than half of the lead"):
        RefreshPolicy(max_leeway=5.0, **options)

    assert RefreshPolicy(max_leeway=4.99, **options).max_leeway == 4.99


def test_the_least_fraction() -> None:
    """With a small `min_lead`, half of the lead must exceed a twentieth of any lifetime."""
    with pytest.raises(ConfigurationError, match="max_leeway must be less than half of the lead"):
        RefreshPolicy(lead_fraction=0.1, min_lead=1)

    assert RefreshPolicy(lead_fraction=0.101, min_lead=1).lead(100) == pytest.approx(10.1)


def test_numbers_beyond_all_floats_are_refused() -> None:
    """A whole number that is too large for a float is refused as not finite."""
    with pytest.raises(ConfigurationError, match="max_lead must be a positive, finite number"):
        RefreshPolicy(max_lead=10**400)


def test_numbers_that_vanish_are_refused() -> None:
    """The smallest float is refused, because half of it is zero; the smallest normal one is not."""
    with pytest.raises(ConfigurationError, match="max_backoff must be a positive, finite number"):
        RefreshPolicy(max_backoff=5e-324)

    assert RefreshPolicy(max_backoff=sys.float_info.min).backoff(1, 3_600, lowest) > 0


def test_a_subclass_may_be_a_dataclass() -> None:
    """A policy of the user's own may be a frozen dataclass with fields of its own."""

    @dataclasses.dataclass(frozen=True)
    class Patient(RefreshPolicy):
        patience: float = 1.0

    assert Patient(patience=2.0) == dataclasses.replace(Patient(), patience=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Patient().patience = 2.0  # type: ignore[misc]  # deliberately
