"""A cache entry: its states, its window and its damping."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._cache.entry import FOR_EVICTION, FOR_RENEWAL, USED, Damping, Entry, State
from okta_tokens._runtime.clock import Instant
from okta_tokens.errors import TransportError
from tests.clock import ManualClock

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
KEY = TokenKey(CLIENT, frozenset({"a"}))
START = Instant(1_000.0, 1_800_000_000.0)

# Sums of sixty-fourths of a second are exact, so that a test can meet a bound exactly.
seconds = st.integers(0, 64 * 7_200).map(lambda number: number / 64)
moments = st.integers(64 * -10, 64 * 4_000).map(lambda number: START.later(number / 64))


def new_token(
    value: str = "token", now: Instant = START, lifetime: float = 300.0, leeway: float = 5.0
) -> AccessToken:
    """Return a token whose lifetime begins at a moment."""
    return AccessToken(
        value=value,
        token_type="Bearer",
        scope=KEY.scope,
        key=KEY,
        expiry=now.later(lifetime),
        leeway=leeway,
        clock=ManualClock(),
    )


def accept(
    entry: Entry,
    value: str = "token",
    now: Instant = START,
    *,
    lifetime: float = 300.0,
    refresh: float = 250.0,
) -> None:
    """Let an entry accept a token whose lifetime begins now."""
    leeway = min(5.0, lifetime / 20)
    entry.accept(
        new_token(value, now, lifetime, leeway),
        lifetime=lifetime,
        refresh_at=now.boot + refresh,
        now=now,
    )


def holding(value: str = "token", *, lifetime: float = 300.0, refresh: float = 250.0) -> Entry:
    """Return an entry with a token whose lifetime begins at the start."""
    entry = Entry(KEY)
    accept(entry, value, lifetime=lifetime, refresh=refresh)
    return entry


def failed() -> Entry:
    """Return an entry whose fetches and renewals failed."""
    entry = Entry(KEY)
    entry.failed_renewals, entry.failed_fetches = 2, 3
    entry.error = TransportError("no response")
    entry.refuse_until = entry.renew_after = START.boot + 60
    return entry


def is_open(entry: Entry, wall: float) -> bool:
    """Tell whether the wall clock alone decides a hit, as a hit does."""
    return entry.opens <= wall < entry.closes


def test_a_new_entry_is_absent() -> None:
    """A new entry is absent and unused, and has no window."""
    entry = Entry(KEY)

    assert entry.key is KEY
    assert entry.state(START) is State.ABSENT
    assert (entry.token, entry.error, entry.instant) == (None, None, None)
    assert (entry.used, entry.failed_renewals, entry.failed_fetches) == (0, 0, 0)
    assert (entry.kept_fresh, entry.detached) == (False, False)
    assert entry.lifetime == 0
    assert (entry.refresh_at, entry.unusable_at) == (math.inf, -math.inf)
    assert entry.renew_after == entry.refuse_until == -math.inf
    assert (entry.opens, entry.closes) == (math.inf, -math.inf)
    assert (entry.damping, entry.ignored) == (5, 0)


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (0, State.FRESH),
        (249.9, State.FRESH),
        (250, State.DUE),
        (294.9, State.DUE),
        (295, State.EXPIRED),
        (300, State.EXPIRED),
    ],
)
def test_an_entry_is_fresh_then_due_then_expired(age: float, state: State) -> None:
    """An entry is fresh, then due, and expired once its leeway begins."""
    assert holding().state(START.later(age)) is state


@pytest.mark.parametrize(
    ("boot", "wall", "state"),
    [
        (0, 295, State.EXPIRED),
        (295, 0, State.EXPIRED),
        (295, -86_400, State.EXPIRED),
        (0, 294, State.FRESH),
        (250, -86_400, State.DUE),
        (100, -86_400, State.FRESH),
    ],
)
def test_either_clock_ends_a_token(boot: float, wall: float, state: State) -> None:
    """Either clock ends a token's life, and boot time alone decides when its renewal is due."""
    now = Instant(START.boot + boot, START.wall + wall)

    assert holding().state(now) is state


def test_an_entry_without_a_token_cools_down() -> None:
    """An entry without a token cools down before `refuse_until`, and is absent from then on."""
    entry = Entry(KEY)
    entry.refuse_until = START.boot + 8

    assert entry.state(START) is State.COOLING_DOWN
    assert entry.state(START.later(7.9)) is State.COOLING_DOWN
    assert entry.state(START.later(8)) is State.ABSENT


def test_a_cool_down_begins_when_the_token_expires() -> None:
    """A usable token is handed out despite a cool-down, which counts once the token is expired."""
    entry = holding()
    entry.refuse_until = START.boot + 298

    assert entry.state(START) is State.FRESH
    assert entry.state(START.later(290)) is State.DUE
    assert entry.state(START.later(295)) is State.COOLING_DOWN
    assert entry.state(START.later(298)) is State.EXPIRED


def test_states_have_readable_values() -> None:
    """The states have the values that a snapshot shows."""
    assert [state.value for state in State] == [
        "absent",
        "fresh",
        "due",
        "expired",
        "cooling down",
    ]


def test_a_new_token_clears_earlier_failures() -> None:
    """A new token clears earlier failures, the back-off and the cool-down."""
    entry = failed()
    accept(entry)

    assert entry.token == new_token()
    assert (entry.lifetime, entry.refresh_at) == (300, START.boot + 250)
    assert entry.unusable_at == START.boot + 295
    assert (entry.failed_renewals, entry.failed_fetches) == (0, 0)
    assert entry.error is None
    assert entry.refuse_until == entry.renew_after == -math.inf


def test_a_new_token_counts_as_unused_for_renewal() -> None:
    """A new token counts as unused for renewal, and its entry still counts as used for eviction."""
    entry = Entry(KEY)
    entry.used = USED
    accept(entry)

    assert entry.used == FOR_EVICTION
    assert USED == FOR_EVICTION | FOR_RENEWAL


def test_a_new_token_closes_the_window() -> None:
    """A window of the old token is closed for the new one."""
    entry = holding()
    entry.open_window(START)
    accept(entry, "next")

    assert not is_open(entry, START.wall)


@pytest.mark.parametrize(
    ("age", "length"),
    [
        pytest.param(0, 1, id="a-second"),
        pytest.param(249.25, 0.75, id="until-the-renewal"),
        pytest.param(250, 1, id="due"),
        pytest.param(294.5, 0.5, id="until-the-leeway"),
    ],
)
def test_a_window_lasts_a_second_or_until_a_change(age: float, length: float) -> None:
    """A window lasts a second, or ends where the state would change."""
    entry, now = holding(), START.later(age)
    entry.open_window(now)

    assert is_open(entry, now.wall)
    assert is_open(entry, now.wall + length - 0.01)
    assert not is_open(entry, now.wall + length)
    assert not is_open(entry, now.wall - 0.01)


def test_a_window_is_no_longer_than_the_leeway() -> None:
    """A window is no longer than the leeway, so no clock is trusted after a token's expiry."""
    entry = holding(lifetime=4.0, refresh=2.0)
    entry.open_window(START)

    assert entry.closes == START.wall + 0.2


def test_a_window_ends_with_the_back_off() -> None:
    """A window ends where a failed renewal may be tried again."""
    entry, now = holding(), START.later(260)
    entry.renew_after = now.boot + 0.25
    entry.open_window(now)

    assert entry.closes == now.wall + 0.25


def test_a_window_ends_at_the_leeway_by_wall_time() -> None:
    """After a jump of the wall clock a window ends where the leeway begins by wall time."""
    entry = holding()
    now = Instant(START.boot + 10, START.wall + 294.5)
    entry.open_window(now)

    assert entry.closes == now.wall + 0.5


def test_a_closed_window_is_never_open() -> None:
    """A closed window is not open at any time."""
    entry = holding()
    entry.open_window(START)
    entry.close_window()

    assert not any(is_open(entry, wall) for wall in (START.wall, -math.inf, 0.0, math.inf))
    assert (entry.opens, entry.closes) == (math.inf, -math.inf)


def test_a_window_ends_at_the_leeway_by_boot_time() -> None:
    """After the wall clock was set back, a window ends where the leeway begins by boot time."""
    entry = holding()
    now = Instant(START.boot + 294.5, START.wall - 86_400)
    entry.open_window(now)

    assert entry.closes == now.wall + 0.5


@QUICK
@given(
    st.integers(64, 64 * 7_200).map(lambda number: number / 64),
    seconds,
    seconds,
    moments,
    st.integers(-64 * 10, 64 * 10).map(lambda number: number / 64),
    st.integers(0, 63).map(lambda number: number / 64),
)
def test_the_state_does_not_change_in_a_window(
    lifetime: float, refresh: float, wait: float, now: Instant, jump: float, later: float
) -> None:
    """While a window is open, the state stays the same by both clocks."""
    entry = holding(lifetime=lifetime, refresh=refresh)
    entry.renew_after = START.boot + wait
    now = Instant(now.boot, now.wall + jump)
    state = entry.state(now)
    assume(state in {State.FRESH, State.DUE})

    entry.open_window(now)
    then = now.later(later)

    assert entry.closes - entry.opens <= min(1.0, 5.0, lifetime / 20) + 1e-6
    if is_open(entry, then.wall - 1e-6):
        assert entry.state(now.later(max(0.0, later - 1e-6))) is state
        assert (now.boot < entry.renew_after) == (then.boot - 1e-6 < entry.renew_after)


def test_a_rejected_token_is_dropped() -> None:
    """A rejected token is dropped, and its window is closed."""
    entry = holding()
    entry.open_window(START)

    assert entry.reject("token", START.later(1)) == 0
    assert entry.token is None
    assert entry.state(START.later(1)) is State.ABSENT
    assert entry.unusable_at == -math.inf
    assert not is_open(entry, START.wall)


@pytest.mark.parametrize("value", ["another", "", "toke"])
def test_the_rejection_of_another_token_does_nothing(value: str) -> None:
    """The rejection of a token that the entry does not hold changes nothing."""
    entry = holding()
    entry.open_window(START)

    assert entry.reject(value, START) is None
    assert entry.state(START) is State.FRESH
    assert is_open(entry, START.wall)


def test_an_entry_without_a_token_rejects_nothing() -> None:
    """If an entry holds no token, a rejection changes nothing."""
    entry = holding()
    entry.reject("token", START)

    assert entry.reject("token", START) is None
    assert Entry(KEY).reject("token", START) is None


def test_a_rejection_does_not_shorten_a_cool_down() -> None:
    """A rejection does not shorten a cool-down."""
    entry = holding()
    entry.refuse_until = START.boot + 30
    entry.reject("token", START)

    assert entry.state(START) is State.COOLING_DOWN


def test_a_token_is_expired_when_its_timer_fires() -> None:
    """A token is expired at `unusable_at`, even if a sum and a difference of floats disagree."""
    start = Instant(9.4, START.wall)
    entry = Entry(KEY)
    accept(entry, now=start, lifetime=7.0)
    end = Instant(entry.unusable_at, START.wall)
    assert entry.token is not None
    assert entry.token._usable_for(*end) > 0

    assert entry.state(end) is State.EXPIRED


def test_a_replacement_is_kept_for_the_damping_window() -> None:
    """The replacement of a rejected token is kept within the damping window, but not after it."""
    entry = holding("first")
    entry.reject("first", START.later(100))
    accept(entry, "second", START.later(100))

    assert entry.damping == 5
    assert entry.reject("second", START.later(101)) == 4
    assert entry.reject("second", START.later(104.75)) == 0.25
    assert entry.token is not None
    assert entry.reject("second", START.later(105)) == 0
    assert entry.token is None


def test_a_first_rejection_counts_soon_after_boot() -> None:
    """A first rejection drops the token, however low boot time is."""
    damping = Damping()

    assert damping.reject(Instant(2.0, START.wall)) == 0


def test_a_token_after_an_ignored_rejection_is_a_replacement() -> None:
    """A token that replaces one with an ignored rejection is damped, too."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second")
    entry.reject("second", START.later(1))
    accept(entry, "third", START.later(2))

    assert entry.reject("third", START.later(3)) == 4


def test_ignored_rejections_are_counted() -> None:
    """The ignored rejections of the present token are counted."""
    entry = holding("first")
    entry.reject("first", START)

    assert entry.ignored == 0

    accept(entry, "second")

    assert entry.ignored == 0

    entry.reject("another", START)
    entry.reject("second", START)
    entry.reject("second", START)

    assert entry.ignored == 2

    accept(entry, "third")

    assert entry.ignored == 0


def test_a_renewed_token_is_not_damped() -> None:
    """A token that did not replace a rejected one is dropped at its first rejection."""
    entry = holding("first")
    accept(entry, "renewed", START.later(1))

    assert entry.reject("renewed", START.later(1)) == 0


def test_the_rejection_of_another_token_makes_no_replacement() -> None:
    """Only the rejection of the present token makes the next token a replacement."""
    entry = holding("first")
    entry.reject("late", START)
    accept(entry, "second")

    assert entry.reject("second", START) == 0


def test_the_damping_window_doubles() -> None:
    """If each replacement is rejected in turn, the damping window doubles up to five minutes."""
    entry, now, windows = holding("0", lifetime=3_600.0), START, []
    for number in range(9):
        while (kept := entry.reject(f"{number}", now)) != 0:
            assert kept is not None
            now = now.later(kept)
        windows.append(entry.damping)
        accept(entry, f"{number + 1}", now, lifetime=3_600.0)

    assert windows == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_the_damping_window_shrinks() -> None:
    """A replacement that lived for five minutes without a rejection resets the window."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second", START)
    entry.reject("second", START.later(299))

    assert entry.damping == 10

    accept(entry, "third", START.later(300), lifetime=3_600.0)
    entry.reject("third", START.later(600))

    assert entry.damping == 5


def test_an_ignored_rejection_does_not_reset_the_window() -> None:
    """A replacement with an ignored rejection does not reset the window, however long it lives."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second", START, lifetime=3_600.0)
    entry.reject("second", START.later(1))
    entry.reject("second", START.later(600))

    assert entry.damping == 10


def test_the_renewal_of_a_replacement_is_not_a_replacement() -> None:
    """A token that renews a replacement is an ordinary token."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second", START)
    accept(entry, "third", START.later(1))

    assert entry.reject("third", START.later(1)) == 0


def test_a_dropped_token_leaves_an_absent_entry() -> None:
    """An entry whose token was dropped is absent, is never due, and stays as used as before."""
    entry = holding()
    entry.used = USED
    entry.open_window(START)
    entry.drop_token()

    assert entry.state(START.later(260)) is State.ABSENT
    assert entry.refresh_at == math.inf
    assert entry.used == USED
    assert not is_open(entry, START.wall)


def test_a_detached_entry_holds_no_token() -> None:
    """A detached entry holds no token, and its sources look the key up again."""
    entry = holding()
    entry.open_window(START)
    entry.detach()

    assert entry.detached
    assert entry.token is None
    assert not is_open(entry, START.wall)
