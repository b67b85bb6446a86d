"""An entry of the cache, and its life."""

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

# Sixty-fourths of a second add up without rounding, so that bounds can be met to the letter.
seconds = st.integers(0, 64 * 7_200).map(lambda number: number / 64)
moments = st.integers(64 * -10, 64 * 4_000).map(lambda number: START.later(number / 64))


def new_token(
    value: str = "token", now: Instant = START, lifetime: float = 300.0, leeway: float = 5.0
) -> AccessToken:
    """Return a token whose lifetime begins at a moment."""
    return AccessToken(
        value=value,
        token_type="Bearer",
        scopes=KEY.scopes,
        key=KEY,
        _boot_expiry=now.boot + lifetime,
        _wall_expiry=now.wall + lifetime,
        _leeway=leeway,
        _clock=ManualClock(),
    )


def accept(
    entry: Entry,
    value: str = "token",
    now: Instant = START,
    *,
    lifetime: float = 300.0,
    refresh: float = 250.0,
) -> None:
    """Let an entry take in a token whose lifetime begins now."""
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
    """Return an entry for which fetches have failed."""
    entry = Entry(KEY)
    entry.failed_renewals, entry.failed_fetches = 2, 3
    entry.error = TransportError("no answer")
    entry.refuse_until = entry.renew_after = START.boot + 60
    return entry


def is_open(entry: Entry, wall: float) -> bool:
    """Tell whether a hit is decided by the wall clock alone, as a hit does."""
    return entry.opens <= wall < entry.closes


def test_a_new_entry() -> None:
    """A new entry is absent, unused and without a window."""
    entry = Entry(KEY)

    assert entry.key is KEY
    assert entry.state(START) is State.ABSENT
    assert (entry.token, entry.error, entry.timer) == (None, None, None)
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
        (10**6, State.EXPIRED),
    ],
)
def test_states(age: float, state: State) -> None:
    """An entry is fresh, then due, then expired once its leeway begins."""
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
def test_states_by_two_clocks(boot: float, wall: float, state: State) -> None:
    """Either clock ends a token's life; the one that cannot jump says when it is renewed."""
    now = Instant(START.boot + boot, START.wall + wall)

    assert holding().state(now) is state


def test_cooling_down() -> None:
    """An entry without a usable token cools down until the instant at which it is asked again."""
    entry = Entry(KEY)
    entry.refuse_until = START.boot + 8

    assert entry.state(START) is State.COOLING_DOWN
    assert entry.state(START.later(7.9)) is State.COOLING_DOWN
    assert entry.state(START.later(8)) is State.ABSENT


def test_a_usable_token_does_not_cool_down() -> None:
    """Whatever failed, a usable token is handed out; once it is not, the cool-down counts."""
    entry = holding()
    entry.refuse_until = START.boot + 298

    assert entry.state(START) is State.FRESH
    assert entry.state(START.later(290)) is State.DUE
    assert entry.state(START.later(295)) is State.COOLING_DOWN
    assert entry.state(START.later(298)) is State.EXPIRED


def test_states_in_words() -> None:
    """The states have the names that people read in a snapshot."""
    assert [state.value for state in State] == [
        "absent",
        "fresh",
        "due",
        "expired",
        "cooling down",
    ]


def test_accept() -> None:
    """A token that arrives makes an entry forget what failed."""
    entry = failed()
    accept(entry)

    assert entry.token == new_token()
    assert (entry.lifetime, entry.refresh_at) == (300, START.boot + 250)
    assert entry.unusable_at == START.boot + 295
    assert (entry.failed_renewals, entry.failed_fetches) == (0, 0)
    assert entry.error is None
    assert entry.refuse_until == entry.renew_after == -math.inf


def test_accept_ends_the_use_for_renewal() -> None:
    """With a new token an entry counts as not used yet, except for eviction."""
    entry = Entry(KEY)
    entry.used = USED
    accept(entry)

    assert entry.used == FOR_EVICTION
    assert USED == FOR_EVICTION | FOR_RENEWAL


def test_accept_closes_the_window() -> None:
    """A window that was open over the old token is not open over the new one."""
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
def test_windows(age: float, length: float) -> None:
    """A window is a second long, or ends where something would change."""
    entry, now = holding(), START.later(age)
    entry.open_window(now)

    assert is_open(entry, now.wall)
    assert is_open(entry, now.wall + length - 0.01)
    assert not is_open(entry, now.wall + length)
    assert not is_open(entry, now.wall - 0.01)


def test_windows_of_short_lives() -> None:
    """A window is no longer than the leeway, so that no clock is trusted past a token's expiry."""
    entry = holding(lifetime=4.0, refresh=2.0)
    entry.open_window(START)

    assert entry.closes == START.wall + 0.2


def test_a_window_ends_with_a_wait_for_renewal() -> None:
    """A window ends where a renewal that failed is tried again."""
    entry, now = holding(), START.later(260)
    entry.renew_after = now.boot + 0.25
    entry.open_window(now)

    assert entry.closes == now.wall + 0.25


def test_a_window_after_a_jump() -> None:
    """A window ends where the wall clock, which may have jumped, says that the leeway begins."""
    entry = holding()
    now = Instant(START.boot + 10, START.wall + 294.5)
    entry.open_window(now)

    assert entry.closes == now.wall + 0.5


def test_close_window() -> None:
    """A closed window is open at no time at all."""
    entry = holding()
    entry.open_window(START)
    entry.close_window()

    assert not any(is_open(entry, wall) for wall in (START.wall, -math.inf, 0.0, math.inf))
    assert (entry.opens, entry.closes) == (math.inf, -math.inf)


def test_a_window_after_a_jump_back() -> None:
    """A window ends where the clock that never goes back says that the leeway begins."""
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
def test_nothing_changes_in_a_window(
    lifetime: float, refresh: float, wait: float, now: Instant, jump: float, later: float
) -> None:
    """While a window is open the state is what it was when it opened, by both clocks."""
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


def test_reject() -> None:
    """A rejected token is dropped, and a window over it closed."""
    entry = holding()
    entry.open_window(START)

    assert entry.reject("token", START.later(1)) == 0
    assert entry.token is None
    assert entry.state(START.later(1)) is State.ABSENT
    assert entry.unusable_at == -math.inf
    assert not is_open(entry, START.wall)


@pytest.mark.parametrize("value", ["another", "", "toke", "token "])
def test_reject_another_token(value: str) -> None:
    """The rejection of a token that is not held does nothing: a thousand late ones cost nothing."""
    entry = holding()
    entry.open_window(START)

    assert entry.reject(value, START) is None
    assert entry.state(START) is State.FRESH
    assert is_open(entry, START.wall)


def test_reject_without_a_token() -> None:
    """Where no token is held, none is rejected."""
    entry = holding()
    entry.reject("token", START)

    assert entry.reject("token", START) is None
    assert Entry(KEY).reject("token", START) is None


def test_reject_leaves_a_cool_down() -> None:
    """A rejection does not shorten a cool-down."""
    entry = holding()
    entry.refuse_until = START.boot + 30
    entry.reject("token", START)

    assert entry.state(START) is State.COOLING_DOWN


def test_no_token_outlives_the_instant_at_which_a_timer_looks() -> None:
    """At its end a token is over, also where a sum and a difference of floats do not agree."""
    born = Instant(9.4, START.wall)
    entry = Entry(KEY)
    accept(entry, now=born, lifetime=7.0)
    end = Instant(entry.unusable_at, START.wall)
    assert entry.token is not None
    assert entry.token._usable_for(*end) > 0

    assert entry.state(end) is State.EXPIRED


def test_damping() -> None:
    """A token that replaced a rejected one is kept for the damping window, and not beyond."""
    entry = holding("first")
    entry.reject("first", START.later(100))
    accept(entry, "second", START.later(100))

    assert entry.damping == 5
    assert entry.reject("second", START.later(101)) == 4
    assert entry.reject("second", START.later(104.75)) == 0.25
    assert entry.token is not None
    assert entry.reject("second", START.later(105)) == 0
    assert entry.token is None


def test_a_first_rejection_counts_soon_after_the_machine_booted() -> None:
    """Nothing that was never rejected is taken for a replacement, however young the clock is."""
    damping = Damping()

    assert damping.reject(Instant(2.0, START.wall)) == 0


def test_one_ignored_rejection_makes_a_replacement_of_the_next_token() -> None:
    """A token that renewed one of which a single rejection was ignored is damped, too."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second")
    entry.reject("second", START.later(1))
    accept(entry, "third", START.later(2))

    assert entry.reject("third", START.later(3)) == 4


def test_ignored_rejections_are_counted() -> None:
    """The ignored rejections are those of the token that is held, by its own value."""
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


def test_no_damping_of_a_first_token() -> None:
    """A token that replaced no rejected one is dropped at once, however young it is."""
    entry = holding("first")
    accept(entry, "renewed", START.later(1))

    assert entry.reject("renewed", START.later(1)) == 0


def test_a_rejection_of_another_token_makes_no_replacement() -> None:
    """Only the rejection of the token that is held makes the next one its replacement."""
    entry = holding("first")
    entry.reject("late", START)
    accept(entry, "second")

    assert entry.reject("second", START) == 0


def test_the_window_doubles() -> None:
    """While each replacement is rejected in turn, the damping window doubles up to five minutes."""
    entry, now, windows = holding("0", lifetime=3_600.0), START, []
    for number in range(9):
        while (kept := entry.reject(f"{number}", now)) != 0:
            assert kept is not None
            now = now.later(kept)
        windows.append(entry.damping)
        accept(entry, f"{number + 1}", now, lifetime=3_600.0)

    assert windows == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_the_window_shrinks() -> None:
    """A replacement that lived for five minutes without being rejected ends the doubling."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second", START)
    entry.reject("second", START.later(299))

    assert entry.damping == 10

    accept(entry, "third", START.later(300), lifetime=3_600.0)
    entry.reject("third", START.later(600))

    assert entry.damping == 5


def test_an_ignored_rejection_keeps_the_window_growing() -> None:
    """A replacement whose rejection was ignored lived for no five minutes without one."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second", START, lifetime=3_600.0)
    entry.reject("second", START.later(1))
    entry.reject("second", START.later(600))

    assert entry.damping == 10


def test_a_renewed_replacement_is_none() -> None:
    """The token that renews a replacement is an ordinary one."""
    entry = holding("first")
    entry.reject("first", START)
    accept(entry, "second", START)
    accept(entry, "third", START.later(1))

    assert entry.reject("third", START.later(1)) == 0


def test_drop_token() -> None:
    """An entry whose token is dropped is absent, never due, and as used as before."""
    entry = holding()
    entry.used = USED
    entry.open_window(START)
    entry.drop_token()

    assert entry.state(START.later(260)) is State.ABSENT
    assert entry.refresh_at == math.inf
    assert entry.used == USED
    assert not is_open(entry, START.wall)


def test_detach() -> None:
    """A detached entry hands out nothing, and says that it is useless."""
    entry = holding()
    entry.open_window(START)
    entry.detach()

    assert entry.detached
    assert entry.token is None
    assert not is_open(entry, START.wall)


def test_the_last_rejections_are_remembered() -> None:
    """A key remembers the values of a few rejected tokens, not of all there ever were."""
    entry = Entry(KEY)
    values = [f"token {number}" for number in range(100)]
    for value in values:
        entry.remember_rejected(value)

    assert [value for value in values if value in entry.rejected] == values[-4:]
