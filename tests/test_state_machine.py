"""Calls, rejections, failures, clock jumps and closings in any order, compared with a model.

The provider is real, Okta is in memory, and time is virtual. Without a setting, each run plays the
same examples. `OKTA_TOKENS_EXAMPLES=20000 python -m pytest --timeout=0 tests/test_state_machine.py`
plays other examples in each run, and prints the steps that break a rule.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeVar, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import (
    ConfigurationError,
    FetchError,
    InvalidResponseError,
    ProviderStateError,
    RateLimitedError,
    TokenProviderError,
    TransportError,
)
from okta_tokens.events import (
    Event,
    FetchFailed,
    KeyEvent,
    KeyEvicted,
    KeyForgotten,
    RenewalFailed,
    RenewalPostponed,
    TokenFetched,
)
from tests.clock import settle
from tests.manual_okta import ERRORS, PERMANENT, ManualOkta, Reply, Request
from tests.reference_model import (
    ATTEMPTS,
    MAX_COOLDOWN,
    MAX_PAUSE,
    MAX_WAIT,
    REQUEST_TIMEOUT,
    SPREAD,
    TOTAL_TIMEOUT,
    Key,
    Now,
    Token,
)
from tests.simulation.machine import Machine, VirtualLoop
from tests.support import SECRET

EXAMPLES = int(os.environ.get("OKTA_TOKENS_EXAMPLES", "0"))

MAX_TOKENS = 3
PLACES = 2
WINDOW = 1.0
SETTLING = 30.0
"""Seconds after which all timers have noticed that the machine slept."""
STEP = 1e-6
"""Seconds between two steps."""
ROUNDING = 1e-5
"""Seconds by which wall time may be rounded."""

A = OktaClient("a.example", "0oa1", ClientSecretBasic(SECRET))
A_ORG = OktaClient("a.example", "0oa1", ClientSecretBasic(SECRET), authorization_server=None)
B = OktaClient("b.example", "0oa1", ClientSecretBasic(SECRET))
CLIENTS = {"a0": A, "a1": A, "a2": A, "org": A_ORG, "b0": B, "b1": B}
"""The client of each key, by the scopes of the key."""

NEVER = Now(-math.inf, -math.inf)

T = TypeVar("T")

keys = st.integers(0, 5)
domains = st.sampled_from(["a.example", "b.example"])
lifetimes = st.sampled_from([1, 5, 20, 60, 300, 3_600, 86_400])
failures = st.sampled_from(
    [Reply(kind) for kind in ERRORS if kind not in {"limited", "no response"}]
)
limits = st.sampled_from([0, 3, 45, 200]).map(lambda seconds: Reply("limited", seconds))
choices = st.integers(0, 1_000)
"""Chooses an element of a list of any length."""


@dataclass(eq=False)
class Caller:
    """A caller that requests a token."""

    record: Record
    expected: str
    """What the caller must get at once by the model: `token`, `error` or nothing."""
    began: Now
    tokens_before: int
    """How many tokens Okta had sent for the key when the caller started."""
    task: asyncio.Task[None] | None = None
    waited: bool = False


@dataclass(eq=False)
class Record:
    """A key: its model, its callers, its flight and its requests."""

    scope: str
    source: TokenSource
    model: Key = field(default_factory=Key)
    waiting: list[Caller] = field(default_factory=list)
    wanted: bool = False
    """Whether a caller has waited for the current flight."""
    attempts: int = 0
    began: float = -math.inf
    """When the first attempt of the flight began, in seconds of boot time."""
    request: Request | None = None
    requested: Now = NEVER
    """When the last request was sent."""
    latest: Token | None = None
    """The last token that Okta sent."""
    useful: bool = False
    """Whether that token was usable when it arrived."""
    handed_at: Now = NEVER
    """When a token was last handed out."""
    last_reply: str = ""
    values: list[str] = field(default_factory=list)
    handed: AccessToken | None = None
    error: TokenProviderError | None = None
    """The error of the last failed flight."""
    failed_at: float = -math.inf
    """When that flight failed, in seconds of boot time; a key may be evicted at the same time."""
    errors: list[TokenProviderError] = field(default_factory=list)
    """The copies of the error that callers got."""

    @property
    def client(self) -> OktaClient:
        """The client of the key."""
        return CLIENTS[self.scope]

    @property
    def side(self) -> tuple[str, bool]:
        """The domain, and whether the org server issues the token: a 429 pauses both together."""
        return self.client.domain, self.client.authorization_server is None


class ProviderMachine(RuleBasedStateMachine):
    """A provider with its callers, Okta and clocks."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop(0.0)
        self.machine = Machine(self.loop)
        self.violations: list[str] = []
        """Descriptions of the rules that were broken."""
        self.slept_at = -math.inf
        self.closing = False

    @initialize(
        seed=st.integers(0, 1_000),
        scopes=st.sampled_from(["a0", "a0 b0", "a0 a1 a2", "a0 org b0", " ".join(CLIENTS)]),
    )
    def begin(self, seed: int, scopes: str) -> None:
        """Start a provider."""
        random.seed(seed)  # the provider draws from this generator; Hypothesis restores it
        self.scopes = scopes.split()
        self.start()

    def start(self) -> None:
        """Start another provider."""
        self.okta = ManualOkta(self)
        sides = [(client.domain, org) for client in (A, B) for org in (True, False)]
        self.paused = dict.fromkeys(sides, -math.inf)
        self.slowest = 0.0
        self.pause_ends = dict.fromkeys(sides, -math.inf)
        self.freed_at = {"a.example": -math.inf, "b.example": -math.inf}
        """When a place of a domain became free, in seconds of the event loop's time."""
        self.provider = TokenProvider(
            session=cast("aiohttp.ClientSession", self.okta),
            clock=self.machine,
            max_tokens=MAX_TOKENS,
            max_concurrent_requests=PLACES,
            observers=[self.on_event],
        )
        self.records: dict[str, Record] = {}
        self.run(self.provider.start())
        self.records = {
            scope: Record(scope, self.provider.source(client, scope))
            for scope, client in CLIENTS.items()
            if scope in self.scopes
        }
        self.perform(lambda: None)
        self.steps = 0

    def record(self, number: int) -> Record:
        """Return the record of a key."""
        return self.records[self.scopes[number % len(self.scopes)]]

    # Time

    def run(self, coroutine: Coroutine[None, None, T]) -> T:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(coroutine)

    def perform(self, act: Callable[[], T]) -> T:
        """Call a function, then run everything that follows from the call before time passes.

        Virtual time passes only when no task can run.
        """

        async def main() -> T:
            result = act()
            await asyncio.sleep(STEP)
            return result

        return self.run(main())

    def pass_time(self, seconds: float) -> None:
        """Move time forward, then run the tasks that are ready at the same instant."""

        async def main() -> None:
            await asyncio.sleep(seconds)
            await settle(10)

        self.run(main())

    def now(self) -> Now:
        """Return the current instant."""
        return Now(self.machine.boot_time(), self.machine.wall_time())

    @property
    def in_flight(self) -> set[str]:
        """The scopes of the keys that have a flight."""
        return {" ".join(key.scopes) for key in self.provider._manager.flights.under_way}

    @property
    def callers(self) -> list[Caller]:
        """All callers that wait."""
        return [caller for record in self.records.values() for caller in record.waiting]

    def check(self, holds: bool, why: str) -> None:  # noqa: FBT001 - like the condition of `assert`
        """Record a broken rule. An assertion here would fail in a frame of the provider."""
        if not holds:
            self.violations.append(why)

    # Requests

    def request_started(self, request: Request) -> None:
        """Check that a request is needed and allowed."""
        record, now = self.records[request.scope], self.now()
        model = record.model
        inside = [
            self.records[other.scope]
            for other in self.okta.pending
            if other.domain == request.domain
        ]
        record.wanted = record.wanted or bool(record.waiting)
        if not record.attempts:
            record.began = now.boot
        elif record.last_reply in PERMANENT:
            self.check(False, "a fetch goes on after a permanent failure")  # noqa: FBT003 - fails
        record.attempts += 1
        self.check(record.request is None, "two requests for one key")
        self.check(len(inside) < PLACES, "too many requests for a domain")
        renewals = sum(not other.wanted for other in inside)
        self.check(record.wanted or renewals < PLACES // 2, "too many renewals for a domain")
        self.check(now.boot > self.paused[record.side] - ROUNDING, "a request during a pause")
        self.check(record.attempts <= (ATTEMPTS if record.wanted else 1), "too many attempts")
        if model.usable(now):
            if not record.wanted:
                self.check(model.used or model.kept_fresh, "a renewal of a key that is not used")
                self.check(now.boot > model.renewal_at(0.5) - ROUNDING, "a renewal comes early")
        else:
            queued = self.freed_at[request.domain] > self.loop.time() - ROUNDING
            self.check(record.wanted or model.kept_fresh or queued, "a fetch without a caller")
            self.check(now.boot > model.cooldown_end(0.5) - ROUNDING, "a fetch during a cool-down")
        record.request, record.requested = request, now

    def request_ended(self, request: Request, reply: Reply | None) -> None:
        """Record the end of a request."""
        record, now = self.records[request.scope], self.now()
        self.freed_at[request.domain] = self.loop.time()
        record.request = None
        if reply is None:
            record.last_reply = "no response"
            self.check(
                self.closing
                or now.boot > record.requested.boot + REQUEST_TIMEOUT - ROUNDING
                or now.boot > record.began + TOTAL_TIMEOUT - 1,
                "a request was given up early",
            )
            return
        record.last_reply = reply.kind
        if not reply.kind:
            self.slowest = max(self.slowest, now.boot - record.requested.boot)
            record.latest = Token(
                request.value,
                record.requested,
                float(reply.amount),
                now.boot,
                record.model.rejected,
                self.slowest,
            )
            record.useful = record.latest.remaining(now) > 0
            record.values.append(request.value)
        elif reply.kind == "limited":
            # A pause of unknown length takes at least two seconds.
            least, most = (reply.amount or 2), (reply.amount or MAX_PAUSE)
            for pause, seconds in ((self.paused, least), (self.pause_ends, most)):
                end = now.boot + min(seconds, MAX_PAUSE)
                pause[record.side] = max(pause[record.side], end)

    # Events

    def on_event(self, event: Event) -> None:
        """Update the model of a key."""
        if not isinstance(event, KeyEvent) or not self.records:
            return
        record, now = self.records[" ".join(event.key.scopes)], self.now()
        model = record.model
        match event:
            case TokenFetched():
                assert record.latest is not None
                self.check(record.useful, "a token was kept that was unusable on arrival")
                model.store(record.latest)
            case FetchFailed():
                self._fetch_failed(record, event.error, now)
            case RenewalFailed():
                model.failed_renewals += 1
                model.renewal_failed_at = now.boot
                model.permanent = record.last_reply in PERMANENT
                record.error, record.errors, record.failed_at = event.error, [], now.boot
            case KeyEvicted() | KeyForgotten():
                self.check(not model.kept_fresh, "a key that is kept fresh was dropped")
                record.model = Key()
            case _:
                pass
        if isinstance(event, TokenFetched | FetchFailed | RenewalFailed | RenewalPostponed):
            record.wanted, record.attempts = False, 0

    def _fetch_failed(self, record: Record, error: TokenProviderError, now: Now) -> None:
        model = record.model
        model.failed_fetches += 1
        model.fetch_failed_at = now.boot
        model.permanent = record.last_reply in PERMANENT
        record.error, record.errors, record.failed_at = error, [], now.boot
        if isinstance(error, TransportError) and not error.attempts:
            self.check(not record.waiting, "a fetch was given up although a caller waited")
        elif not isinstance(error, RateLimitedError):
            self.check(
                type(error).__name__ == ERRORS.get(record.last_reply, "InvalidResponseError"),
                f"{type(error).__name__} is the wrong error for: {record.last_reply}",
            )
            gave_up = (
                record.wanted
                and record.last_reply in ERRORS
                and record.last_reply not in PERMANENT
                and record.attempts < ATTEMPTS
                and now.boot < record.began + TOTAL_TIMEOUT - 1
            )
            self.check(not gave_up, "a fetch gave up early")

    # Callers

    def call(self, record: Record, patience: float | None, *, by_source: bool) -> Caller:
        """Start a caller.

        Args:
            record: The key.
            patience: The seconds after which the caller leaves; `None` if it does not leave.
            by_source: Whether it calls the source instead of the provider.
        """
        now = self.now()
        caller = Caller(record, "", now, len(record.values))
        caller.task = self.loop.create_task(self._call(caller, patience, by_source=by_source))
        caller.task.add_done_callback(self._check_end)
        return caller

    def _check_end(self, task: asyncio.Task[None]) -> None:
        """Check that a caller did not end with an unexpected exception."""
        self.check(task.cancelled() or task.exception() is None, "a caller failed")

    async def _call(self, caller: Caller, patience: float | None, *, by_source: bool) -> None:
        record = caller.record
        model, now = record.model, self.now()
        if self.closing:
            pass
        elif model.usable(now):
            caller.expected = "token"
        elif now.boot < model.cooldown_end(0.5) or (
            self.paused[record.side] > now.boot + MAX_WAIT and record.scope not in self.in_flight
        ):
            caller.expected = "error"
        recording = self.loop.call_soon(self._record_wait, caller)
        try:
            async with asyncio.timeout(patience):
                token = await (
                    record.source.get_token()
                    if by_source
                    else self.provider.get_token(record.client, record.scope)
                )
        except (TimeoutError, asyncio.CancelledError):
            pass
        except TokenProviderError as error:
            self._check_error(caller, error)
        else:
            self._check_token(caller, token)
        finally:
            recording.cancel()
            if caller.waited:
                record.waiting.remove(caller)

    def _record_wait(self, caller: Caller) -> None:
        """Record that a caller waits."""
        record = caller.record
        if not record.wanted:  # this renewal becomes a fetch
            self.freed_at[record.client.domain] = self.loop.time()
        caller.waited = record.wanted = True
        record.waiting.append(caller)
        self.check(not caller.expected, f"a caller waits that must get a {caller.expected} at once")

    def _check_token(self, caller: Caller, token: AccessToken) -> None:
        record, now = caller.record, self.now()
        self.check(caller.expected != "error", "a caller got a token during a cool-down")
        latest = record.latest if caller.waited else record.model.token
        if latest is None or latest.value != token.value:
            self.check(False, "a caller got a token that is not held")  # noqa: FBT003 - fails
            return
        # The wall clock alone decides for a second, and may have been set back into this second.
        since = now.wall - record.handed_at.wall
        clock_set_back = abs(since) < WINDOW and since < now.boot - record.handed_at.boot - ROUNDING
        excess = -latest.remaining(now)
        if excess > ROUNDING:
            self.check(clock_set_back, f"a caller got a token {excess:.3f} s too late")
            return
        record.model.used = True
        record.handed, record.handed_at = token, now

    def _check_error(self, caller: Caller, error: TokenProviderError) -> None:
        record, now = caller.record, self.now()
        if self.closing:
            self.check(isinstance(error, ProviderStateError), "closing raised another error")
            return
        self.check(isinstance(error, FetchError), f"a caller got {type(error).__name__}: {error}")
        self.check(
            caller.expected != "token", "a caller got an error while a usable token was held"
        )
        timed_out = (
            caller.waited
            and now.boot > caller.began.boot + MAX_WAIT - ROUNDING
            and isinstance(error, TransportError | RateLimitedError)
        )
        paused = (
            isinstance(error, RateLimitedError)
            and self.pause_ends[record.side] > caller.began.boot + MAX_WAIT - ROUNDING
        )
        # A caller that resumes too late joins a second flight. After that it gets an error.
        resumed_too_late = (
            caller.waited
            and isinstance(error, InvalidResponseError)
            and error.retryable
            and record.latest is not None
            and record.latest.remaining(now) < ROUNDING
            and len(record.values) >= caller.tokens_before + 2
        )
        if timed_out or paused or resumed_too_late:
            return
        model = record.model
        recent = record.failed_at if caller.waited else model.cooldown_end(1)
        self.check(now.boot < recent + ROUNDING, "a caller got an old error")
        self.check(
            record.error is not None
            and type(error) is type(record.error)
            and str(error) == str(record.error),
            "a caller got another error than that of the flight",
        )
        self.check(error is not record.error, "a caller got the provider's own error")
        self.check(all(error is not other for other in record.errors), "two callers share an error")
        record.errors.append(error)

    @rule(key=keys, patience=st.sampled_from([None, None, 0.5, 15.0]), by_source=st.booleans())
    def get(self, key: int, patience: float | None, *, by_source: bool) -> None:
        """Start a caller."""
        self.perform(lambda: self.call(self.record(key), patience, by_source=by_source))

    @rule(key=keys, number=st.integers(2, 4))
    def rush(self, key: int, number: int) -> None:
        """Start several callers at once."""
        self.perform(
            lambda: [self.call(self.record(key), None, by_source=True) for _ in range(number)]
        )

    @rule(key=keys, lifetime=lifetimes)
    def fetch(self, key: int, lifetime: int) -> None:
        """Start a caller, and let Okta send a token."""
        record = self.record(key)
        self.perform(lambda: self.call(record, None, by_source=True))
        if record.request is not None:
            self._respond(record.request, Reply(amount=lifetime))

    @precondition(lambda self: self.callers)
    @rule(which=choices)
    def cancel(self, which: int) -> None:
        """Cancel a caller that waits."""
        caller = self.callers[which % len(self.callers)]
        others, in_flight = len(self.callers) - 1, self.in_flight
        assert caller.task is not None
        self.perform(caller.task.cancel)

        assert (len(self.callers), self.in_flight) == (others, in_flight), (
            "a flight ended with a caller"
        )

    # Responses of Okta

    @precondition(lambda self: self.okta.pending)
    @rule(which=choices, lifetime=lifetimes)
    def respond(self, which: int, lifetime: int) -> None:
        """Respond to a request with a token."""
        self._reply(which, Reply(amount=lifetime))

    @precondition(lambda self: self.okta.pending)
    @rule(which=choices, failure=failures | limits)
    def fail(self, which: int, failure: Reply) -> None:
        """Respond to a request with a failure."""
        self._reply(which, failure)

    def _reply(self, which: int, reply: Reply) -> None:
        self._respond(self.okta.pending[which % len(self.okta.pending)], reply)

    def _respond(self, request: Request, reply: Reply) -> None:
        if not request.reply.done():
            self.perform(lambda: request.reply.set_result(reply))

    @precondition(lambda self: self.okta.pending and self.callers)
    @rule(
        which=choices,
        caller=choices,
        reply=lifetimes.map(lambda seconds: Reply(amount=seconds)) | failures,
    )
    def respond_and_cancel(self, which: int, caller: int, reply: Reply) -> None:
        """Respond to a request and cancel a caller in the same turn of the event loop."""
        task = self.callers[caller % len(self.callers)].task
        assert task is not None
        self.perform(task.cancel) if caller % 2 else task.cancel()
        if self.okta.pending:
            self._reply(which, reply)

    @precondition(lambda self: self.okta.pending)
    @rule(which=choices, turns=st.integers(1, 8), seconds=st.sampled_from([10.0, 3_600.0]))
    def respond_and_sleep(self, which: int, turns: int, seconds: float) -> None:
        """Respond to a request, and let the machine sleep before all tasks have run."""
        request = self.okta.pending[which % len(self.okta.pending)]
        requested, now = self.records[request.scope].requested, self.now()

        self.slowest = max(self.slowest, REQUEST_TIMEOUT)

        async def main() -> None:
            request.reply.set_result(Reply(amount=3_600))
            for _ in range(turns):
                await asyncio.sleep(0)
            self._sleep(seconds)
            await asyncio.sleep(STEP)

        if max(now.boot - requested.boot, now.wall - requested.wall) < 3_000:
            self.run(main())

    @rule(
        domain=domains,
        reply=st.none() | lifetimes.map(lambda seconds: Reply(amount=seconds)) | failures | limits,
    )
    def set_default_reply(self, domain: str, reply: Reply | None) -> None:
        """Let a domain give every request the same response from now on, or end this."""
        self.okta.default_replies.pop(domain, None)
        if reply is not None:
            self.okta.default_replies[domain] = reply
            for request in [*self.okta.pending]:
                if request.domain == domain:
                    self._respond(request, reply)

    # Rejections and settings

    @rule(key=keys, old=st.booleans())
    def invalidate(self, key: int, *, old: bool) -> None:
        """Report that an API has rejected a token."""
        record = self.record(key)
        model, handed = record.model, record.handed
        values = record.values[:-1] if old else record.values[-1:]
        value = values[-1] if values else "unknown"
        expected = model.drops(value, self.now().boot)

        def report() -> bool:
            if handed is not None and handed.value == value:
                reported = self.provider.invalidate(handed)
            else:
                reported = record.source.invalidate(value)
            if model.token is not None and model.token.value == value:
                model.rejected = True
            if reported:
                model.token = None
            return reported

        dropped = self.perform(report)

        assert expected is None or dropped is expected

    @rule(key=keys)
    def keep_fresh(self, key: int) -> None:
        """Keep a key fresh."""
        record = self.record(key)
        kept = sum(other.model.kept_fresh for other in self.records.values())
        allowed = record.model.kept_fresh or kept < MAX_TOKENS

        def keep() -> bool:
            try:
                self.provider.source(record.client, record.scope, keep_fresh=True)
            except ConfigurationError:
                return False
            record.model.kept_fresh = True
            return True

        assert self.perform(keep) is allowed

    # Time

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 11.0, 31.0, 120.0, 3_600.0]))
    def advance(self, seconds: float) -> None:
        """Move time forward."""
        self.pass_time(seconds)

    @rule(key=keys, which=choices, offset=st.sampled_from([-0.001, 0.001]))
    def approach(self, key: int, which: int, offset: float) -> None:
        """Move time to 1 ms before or after an instant at which the provider may act."""
        record, now = self.record(key), self.now()
        model = record.model
        instants = [model.cooldown_end(0.5), model.cooldown_end(1), self.paused[record.side]]
        if model.token is not None:
            instants += [model.renewal_at(0.5), model.renewal_at(1), model.token.unusable_at]
            instants += [model.token.last_renewal_at, model.token.unusable_at - 0.5]
        if record.request is not None:
            instants.append(record.requested.boot + REQUEST_TIMEOUT)
        instants += [caller.began.boot + MAX_WAIT for caller in record.waiting[:1]]
        # A wall clock that was set back reaches the old time again.
        instants += [now.boot + record.handed_at.wall - now.wall]
        waits = [instant + offset - now.boot for instant in instants]
        ahead = [seconds for seconds in waits if 0 < seconds < 90_000]
        if ahead:
            self.pass_time(ahead[which % len(ahead)])

    @rule(seconds=st.sampled_from([-3_600.0, -60.0, -3.0, 3.0, 60.0, 3_600.0]))
    def set_wall_clock(self, seconds: float) -> None:
        """Set the wall clock."""
        self.machine.wall_error += seconds

    @rule(seconds=st.sampled_from([3.0, 60.0, 3_600.0]))
    def sleep(self, seconds: float) -> None:
        """Let the machine sleep. No timer fires before the machine is awake."""
        self._sleep(seconds)
        self.perform(lambda: None)

    def _sleep(self, seconds: float) -> None:
        self.machine.slept += seconds
        self.slept_at = self.loop.time()

    # Closing

    @precondition(lambda self: self.steps > 15)
    @rule(calling=st.lists(keys, max_size=3))
    def restart(self, calling: list[int]) -> None:
        """Close the provider while callers wait, and start another provider."""
        self.close(calling)
        self.start()

    def close(self, calling: list[int]) -> None:
        """Close the provider; check that every caller gets an error and no task is left."""

        async def main() -> None:
            records = [self.record(key) for key in calling]
            callers = [self.call(record, None, by_source=True) for record in records]
            await self.provider.aclose()
            await asyncio.sleep(STEP)
            callers += [self.call(record, None, by_source=False) for record in records]
            await asyncio.sleep(STEP)
            assert all(caller.task is None or caller.task.done() for caller in callers)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        self.closing = True
        try:
            self.run(main())
        finally:
            self.closing = False

        assert not self.callers, "a caller still waits after closing"
        assert not self.okta.pending
        assert len(self.provider._schedule) == 0
        assert self.provider.stats().in_flight == 0
        assert {status.remaining for status in self.provider.inspect()} <= {None}

    def teardown(self) -> None:
        """Close the last provider."""
        try:
            if hasattr(self, "provider"):
                self.close([])
                self.no_rule_is_broken()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.close()

    # Invariants

    @invariant()
    def all_invariants(self) -> None:
        """Check all invariants."""
        self.steps += 1
        self.no_rule_is_broken()
        self.every_caller_waits_for_a_flight()
        self.used_tokens_are_renewed()
        self.snapshots_agree()

    def no_rule_is_broken(self) -> None:
        """Check that no rule was broken."""
        assert not self.violations, self.violations

    def every_caller_waits_for_a_flight(self) -> None:
        """Check that each caller waits for a flight, and not longer than allowed."""
        now, in_flight = self.now(), self.in_flight
        for caller in self.callers:
            assert caller.record.scope in in_flight
        if self.loop.time() > self.slept_at + SETTLING:
            for caller in self.callers:
                assert now.boot < caller.began.boot + MAX_WAIT + ROUNDING
            for request in self.okta.pending:
                requested = self.records[request.scope].requested
                assert now.boot < requested.boot + REQUEST_TIMEOUT + ROUNDING

    def used_tokens_are_renewed(self) -> None:
        """Check that the renewal of each used or kept-fresh token has begun in time."""
        now, in_flight = self.now(), self.in_flight
        if self.loop.time() < self.slept_at + SETTLING + ROUNDING:
            return
        for scope, record in self.records.items():
            model = record.model
            if model.usable(now) and (model.used or model.kept_fresh) and scope not in in_flight:
                after_cooldown = model.cooldown_end(1) + MAX_COOLDOWN  # the wall clock may return
                due = max(
                    model.renewal_at(1), self.pause_ends[record.side] + SPREAD, after_cooldown
                )
                assert now.boot < due + ROUNDING, f"the renewal of {scope} is late"

    def snapshots_agree(self) -> None:
        """Check that the snapshots agree with the model, and that tasks and timers are bounded."""
        provider, now = self.provider, self.now()
        stats, in_flight = provider.stats(), self.in_flight
        kept = sum(record.model.kept_fresh for record in self.records.values())
        statuses = {" ".join(status.scopes): status for status in provider.inspect()}
        tasks = len(asyncio.all_tasks(self.loop)) - len(self.callers) - 1

        assert len(statuses) == stats.keys <= MAX_TOKENS + kept
        assert (stats.waiters, stats.in_flight) == (len(self.callers), len(in_flight))
        assert tasks == len(in_flight)
        assert len(provider._schedule) <= stats.keys + 2 * len(in_flight)
        for scope, record in self.records.items():
            token = record.model.token
            if token is not None and abs(token.remaining(now)) > ROUNDING:
                usable = statuses[scope].state in {"fresh", "due"}
                assert usable == record.model.usable(now)


@pytest.mark.timeout(0 if EXAMPLES else 120)  # about 8 s of CPU time, on a machine with other work
def test_the_provider_behaves_like_the_model(caplog: pytest.LogCaptureFixture) -> None:
    """The provider does what the model says, for any steps in any order."""
    caplog.set_level(logging.CRITICAL, "okta_tokens")

    run_state_machine_as_test(
        ProviderMachine,
        settings=settings(
            max_examples=EXAMPLES or 120,
            stateful_step_count=50,
            deadline=None,
            database=None,
            derandomize=not EXAMPLES,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[*HealthCheck],
        ),
    )
