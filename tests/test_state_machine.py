"""Callers, rejections, failures, clocks and closing in any order, against a model of a key.

The provider is the real one; Okta is a puppet, and time is virtual. What CI runs is the same each
time. `OKTA_TOKENS_EXAMPLES=20000 python -m pytest --timeout=0 tests/test_state_machine.py` looks
further, differently each time, and prints the steps that break a rule.
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
from tests.puppet import ERRORS, HOPELESS, Puppet, Reply, Request
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
MAX_NAP = 30.0
A_MOMENT = 1e-6
"""Seconds between two steps."""
ROUNDING = 1e-5
"""Seconds; wall time has no more digits."""

A = OktaClient("a.example", "0oa1", ClientSecretBasic(SECRET))
A_ORG = OktaClient("a.example", "0oa1", ClientSecretBasic(SECRET), authorization_server=None)
B = OktaClient("b.example", "0oa1", ClientSecretBasic(SECRET))
CLIENTS = {"a0": A, "a1": A, "a2": A, "org": A_ORG, "b0": B, "b1": B}
"""The keys, by their scopes."""

NEVER = Now(-math.inf, -math.inf)

T = TypeVar("T")

keys = st.integers(0, 5)
domains = st.sampled_from(["a.example", "b.example"])
lifetimes = st.sampled_from([1, 5, 20, 60, 300, 3_600, 86_400])
failures = st.sampled_from([Reply(kind) for kind in ERRORS if kind not in {"limited", "no answer"}])
limits = st.sampled_from([0, 3, 45, 200]).map(lambda seconds: Reply("limited", seconds))
whom = st.integers(0, 1_000)


@dataclass(eq=False)
class Caller:
    """Somebody who asks for a token."""

    book: Book
    must: str
    """What the model says that must happen at once: `token`, `error` or nothing."""
    began: Now
    task: asyncio.Task[None] | None = None
    waited: bool = False


@dataclass(eq=False)
class Book:
    """What is known of a key beside the model: what is under way."""

    scope: str
    source: TokenSource
    model: Key = field(default_factory=Key)
    waiting: list[Caller] = field(default_factory=list)
    wanted: bool = False
    """Whether somebody has waited for the flight that is under way."""
    attempts: int = 0
    began: float = -math.inf
    """When its first attempt began, in seconds of boot time."""
    request: Request | None = None
    asked: Now = NEVER
    """When its last request was sent."""
    latest: Token | None = None
    """What Okta sent last."""
    useful: bool = False
    """Whether it could still be handed out when it arrived."""
    served: Now = NEVER
    """When a token was last handed out."""
    last_reply: str = ""
    values: list[str] = field(default_factory=list)
    handed: AccessToken | None = None
    error: TokenProviderError | None = None
    """What the last flight that failed ended with."""
    failed_at: float = -math.inf
    """When that was, in seconds of boot time; the key may have been evicted at once."""
    errors: list[TokenProviderError] = field(default_factory=list)
    """What callers got of it."""

    @property
    def client(self) -> OktaClient:
        """Whose key it is."""
        return CLIENTS[self.scope]

    @property
    def side(self) -> tuple[str, bool]:
        """What a 429 pauses."""
        return self.client.domain, self.client.authorization_server is None


class ProviderMachine(RuleBasedStateMachine):
    """A provider, those who use it, and what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop(0.0)
        self.machine = Machine(self.loop)
        self.wrong: list[str] = []
        """What broke a rule, in words."""
        self.slept_at = -math.inf
        self.closing = False

    @initialize(
        seed=st.integers(0, 1_000),
        scopes=st.sampled_from(["a0", "a0 b0", "a0 a1 a2", "a0 org b0", " ".join(CLIENTS)]),
    )
    def begin(self, seed: int, scopes: str) -> None:
        """Start a provider."""
        random.seed(seed)  # what the provider draws from; Hypothesis restores it
        self.scopes = scopes.split()
        self.start()

    def start(self) -> None:
        """Start another provider."""
        self.okta = Puppet(self)
        sides = [(client.domain, org) for client in (A, B) for org in (True, False)]
        self.paused = dict.fromkeys(sides, -math.inf)
        self.pause_ends = dict.fromkeys(sides, -math.inf)
        self.freed_at = {"a.example": -math.inf, "b.example": -math.inf}
        """When a place of a domain was given up, in seconds of the event loop's time."""
        self.provider = TokenProvider(
            session=cast("aiohttp.ClientSession", self.okta),
            clock=self.machine,
            max_tokens=MAX_TOKENS,
            max_concurrent_requests=PLACES,
            observers=[self.hear],
        )
        self.books: dict[str, Book] = {}
        self.run(self.provider.start())
        self.books = {
            scope: Book(scope, self.provider.source(client, scope))
            for scope, client in CLIENTS.items()
            if scope in self.scopes
        }
        self.let(lambda: None)
        self.steps = 0

    def book(self, number: int) -> Book:
        """Return the book of a key."""
        return self.books[self.scopes[number % len(self.scopes)]]

    # Time

    def run(self, coroutine: Coroutine[None, None, T]) -> T:
        """Run something to its end."""
        return self.loop.run_until_complete(coroutine)

    def let(self, act: Callable[[], T]) -> T:
        """Let something happen, and then everything that follows from it at this moment.

        Virtual time passes only once nothing else can happen.
        """

        async def main() -> T:
            result = act()
            await asyncio.sleep(A_MOMENT)
            return result

        return self.run(main())

    def now(self) -> Now:
        """Return the moment."""
        return Now(self.machine.boot_time(), self.machine.wall_time())

    @property
    def flying(self) -> set[str]:
        """The keys for which a flight is under way."""
        return {" ".join(key.scopes) for key in self.provider._manager.flights.under_way}

    @property
    def callers(self) -> list[Caller]:
        """All who wait."""
        return [caller for book in self.books.values() for caller in book.waiting]

    def judge(self, holds: bool, why: str) -> None:  # noqa: FBT001 - as `assert` takes it
        """Take note if something is wrong: the frames above belong to the provider."""
        if not holds:
            self.wrong.append(why)

    # What Okta sees

    def asked(self, request: Request) -> None:
        """Judge whether there is a reason for a request, and nothing against it."""
        book, now = self.books[request.scope], self.now()
        model = book.model
        inside = [
            self.books[other.scope] for other in self.okta.pending if other.domain == request.domain
        ]
        book.wanted = book.wanted or bool(book.waiting)
        if not book.attempts:
            book.began = now.boot
        elif book.last_reply in HOPELESS:
            self.judge(False, "a hopeless fetch goes on")  # noqa: FBT003 - a verdict
        book.attempts += 1
        self.judge(book.request is None, "two requests for one key")
        self.judge(len(inside) < PLACES, "too many requests for a domain")
        renewals = sum(not other.wanted for other in inside)
        self.judge(book.wanted or renewals < PLACES // 2, "too many renewals for a domain")
        self.judge(now.boot > self.paused[book.side] - ROUNDING, "a request in a pause")
        self.judge(book.attempts <= (ATTEMPTS if book.wanted else 1), "too many attempts")
        if model.usable(now):
            if not book.wanted:
                self.judge(model.used or model.kept, "a renewal that nobody wants")
                self.judge(now.boot > model.renewal(0.5) - ROUNDING, "a renewal that comes early")
        else:
            queued = self.freed_at[request.domain] > self.loop.time() - ROUNDING
            self.judge(book.wanted or model.kept or queued, "a fetch that nobody wants")
            self.judge(now.boot > model.refused_until(0.5) - ROUNDING, "a fetch in a cool-down")
        book.request, book.asked = request, now

    def answered(self, request: Request, reply: Reply | None) -> None:
        """Take note of the end of a request."""
        book, now = self.books[request.scope], self.now()
        self.freed_at[request.domain] = self.loop.time()
        book.request = None
        if reply is None:
            book.last_reply = "no answer"
            self.judge(
                self.closing
                or now.boot > book.asked.boot + REQUEST_TIMEOUT - ROUNDING
                or now.boot > book.began + TOTAL_TIMEOUT - 1,
                "a request was given up",
            )
            return
        book.last_reply = reply.kind
        if not reply.kind:
            book.latest = Token(
                request.value, book.asked, float(reply.amount), now.boot, book.model.rejected
            )
            book.useful = book.latest.left(now) > 0
            book.values.append(request.value)
        elif reply.kind == "limited":
            # What does not tell how long it lasts is two seconds at least.
            least, most = (reply.amount or 2), (reply.amount or MAX_PAUSE)
            for pause, seconds in ((self.paused, least), (self.pause_ends, most)):
                end = now.boot + min(seconds, MAX_PAUSE)
                pause[book.side] = max(pause[book.side], end)

    # What the provider tells

    def hear(self, event: Event) -> None:
        """Take note of what became of a key."""
        if not isinstance(event, KeyEvent) or not self.books:
            return
        book, now = self.books[" ".join(event.key.scopes)], self.now()
        model = book.model
        match event:
            case TokenFetched():
                assert book.latest is not None
                self.judge(book.useful, "a token was kept that was past its use on arrival")
                model.arrives(book.latest)
            case FetchFailed():
                self._fetch_failed(book, event.error, now)
            case RenewalFailed():
                model.failed_renewals += 1
                model.renewal_failed_at = now.boot
                model.hopeless = book.last_reply in HOPELESS
                book.error, book.errors, book.failed_at = event.error, [], now.boot
            case KeyEvicted() | KeyForgotten():
                self.judge(not model.kept, "a key that is kept fresh was dropped")
                book.model = Key()
            case _:
                pass
        if isinstance(event, TokenFetched | FetchFailed | RenewalFailed | RenewalPostponed):
            book.wanted, book.attempts = False, 0

    def _fetch_failed(self, book: Book, error: TokenProviderError, now: Now) -> None:
        model = book.model
        model.failed_fetches += 1
        model.fetch_failed_at = now.boot
        model.hopeless = book.last_reply in HOPELESS
        book.error, book.errors, book.failed_at = error, [], now.boot
        if not isinstance(error, RateLimitedError):
            self.judge(
                type(error).__name__ == ERRORS.get(book.last_reply, "InvalidResponseError"),
                f"{type(error).__name__} is not what happened: {book.last_reply}",
            )
            gave_up = (
                book.wanted
                and book.last_reply in ERRORS
                and book.last_reply not in HOPELESS
                and book.attempts < ATTEMPTS
                and now.boot < book.began + TOTAL_TIMEOUT - 1
            )
            self.judge(not gave_up, "a fetch gave up early")

    # Callers

    def call(self, book: Book, patience: float | None, *, by_source: bool) -> Caller:
        """Let somebody ask; who waits longer than their patience, if they have any, leaves."""
        now = self.now()
        caller = Caller(book, "", now)
        caller.task = self.loop.create_task(self._call(caller, patience, by_source=by_source))
        caller.task.add_done_callback(self._hung_up)
        return caller

    def _hung_up(self, task: asyncio.Task[None]) -> None:
        """See that a caller did not end in a way that nobody foresaw."""
        self.judge(task.cancelled() or task.exception() is None, "a caller failed")

    async def _call(self, caller: Caller, patience: float | None, *, by_source: bool) -> None:
        book = caller.book
        model, now = book.model, self.now()
        if self.closing:
            pass
        elif model.usable(now):
            caller.must = "token"
        elif now.boot < model.refused_until(0.5) or (
            self.paused[book.side] > now.boot + MAX_WAIT and book.scope not in self.flying
        ):
            caller.must = "error"
        waits = self.loop.call_soon(self._waits, caller)
        try:
            async with asyncio.timeout(patience):
                token = await (
                    book.source.get_token()
                    if by_source
                    else self.provider.get_token(book.client, book.scope)
                )
        except (TimeoutError, asyncio.CancelledError):
            pass
        except TokenProviderError as error:
            self._judge_error(caller, error)
        else:
            self._judge_token(caller, token)
        finally:
            waits.cancel()
            if caller.waited:
                book.waiting.remove(caller)

    def _waits(self, caller: Caller) -> None:
        """Somebody was not answered at once."""
        book = caller.book
        if not book.wanted:  # a renewal that somebody waits for is none any more
            self.freed_at[book.client.domain] = self.loop.time()
        caller.waited = book.wanted = True
        book.waiting.append(caller)
        self.judge(not caller.must, f"a caller waits who must get a {caller.must} at once")

    def _judge_token(self, caller: Caller, token: AccessToken) -> None:
        book, now = caller.book, self.now()
        self.judge(caller.must != "error", "a caller got a token in a cool-down")
        latest = book.latest if caller.waited else book.model.token
        if latest is None or latest.value != token.value:
            self.judge(False, "a token was handed out that is not held")  # noqa: FBT003 - a verdict
            return
        # For a second one clock may decide, and it may have been set back into that second.
        since = now.wall - book.served.wall
        fooled = abs(since) < WINDOW and since < now.boot - book.served.boot - ROUNDING
        late = -latest.left(now)
        if late > ROUNDING:
            self.judge(fooled, f"a token was handed out {late:.3f} s late")
            return
        book.model.used = True
        book.handed, book.served = token, now

    def _judge_error(self, caller: Caller, error: TokenProviderError) -> None:
        book, now = caller.book, self.now()
        if self.closing:
            self.judge(
                isinstance(error, ProviderStateError), "closing told a caller something else"
            )
            return
        self.judge(isinstance(error, FetchError), f"a caller got {type(error).__name__}: {error}")
        self.judge(caller.must != "token", "a caller got an error while a usable token was held")
        out_of_time = (
            caller.waited
            and now.boot > caller.began.boot + MAX_WAIT - ROUNDING
            and isinstance(error, TransportError | RateLimitedError)
        )
        paused = (
            isinstance(error, RateLimitedError)
            and self.pause_ends[book.side] > caller.began.boot + MAX_WAIT - ROUNDING
        )
        if out_of_time or paused:
            return
        model = book.model
        recent = book.failed_at if caller.waited else model.refused_until(1)
        self.judge(now.boot < recent + ROUNDING, "a caller got an error of long ago")
        self.judge(
            book.error is not None
            and type(error) is type(book.error)
            and str(error) == str(book.error),
            "a caller got another error than what happened",
        )
        self.judge(error is not book.error, "a caller got the provider's own error")
        self.judge(all(error is not other for other in book.errors), "two callers share an error")
        book.errors.append(error)

    @rule(key=keys, patience=st.sampled_from([None, None, 0.5, 15.0]), by_source=st.booleans())
    def get(self, key: int, patience: float | None, *, by_source: bool) -> None:
        """Let somebody ask."""
        self.let(lambda: self.call(self.book(key), patience, by_source=by_source))

    @rule(key=keys, number=st.integers(2, 4))
    def rush(self, key: int, number: int) -> None:
        """Let several ask at once."""
        self.let(lambda: [self.call(self.book(key), None, by_source=True) for _ in range(number)])

    @rule(key=keys, lifetime=lifetimes)
    def have(self, key: int, lifetime: int) -> None:
        """Let somebody ask, and Okta answer."""
        book = self.book(key)
        self.let(lambda: self.call(book, None, by_source=True))
        if book.request is not None:
            self._answer(book.request, Reply(amount=lifetime))

    @precondition(lambda self: self.callers)
    @rule(which=whom)
    def cancel(self, which: int) -> None:
        """Cancel one who waits."""
        caller = self.callers[which % len(self.callers)]
        others, flying = len(self.callers) - 1, self.flying
        assert caller.task is not None
        self.let(caller.task.cancel)

        assert (len(self.callers), self.flying) == (others, flying), "a flight ended with a caller"

    # What Okta does

    @precondition(lambda self: self.okta.pending)
    @rule(which=whom, lifetime=lifetimes)
    def answer(self, which: int, lifetime: int) -> None:
        """Answer a request."""
        self._reply(which, Reply(amount=lifetime))

    @precondition(lambda self: self.okta.pending)
    @rule(which=whom, failure=failures | limits)
    def fail(self, which: int, failure: Reply) -> None:
        """Let a request fail."""
        self._reply(which, failure)

    def _reply(self, which: int, reply: Reply) -> None:
        self._answer(self.okta.pending[which % len(self.okta.pending)], reply)

    def _answer(self, request: Request, reply: Reply) -> None:
        if not request.reply.done():
            self.let(lambda: request.reply.set_result(reply))

    @precondition(lambda self: self.okta.pending and self.callers)
    @rule(which=whom, whose=whom, reply=lifetimes.map(lambda it: Reply(amount=it)) | failures)
    def answer_as_one_leaves(self, which: int, whose: int, reply: Reply) -> None:
        """Answer a request and cancel one who waits, before either is noticed."""
        task = self.callers[whose % len(self.callers)].task
        assert task is not None
        self.let(task.cancel) if whose % 2 else task.cancel()
        if self.okta.pending:
            self._reply(which, reply)

    @precondition(lambda self: self.okta.pending)
    @rule(which=whom, turns=st.integers(1, 8), seconds=st.sampled_from([10.0, 3_600.0]))
    def answer_and_sleep(self, which: int, turns: int, seconds: float) -> None:
        """Answer a request, and let the machine sleep before everyone has heard of it."""
        request = self.okta.pending[which % len(self.okta.pending)]
        asked, now = self.books[request.scope].asked, self.now()

        async def main() -> None:
            request.reply.set_result(Reply(amount=3_600))
            for _ in range(turns):
                await asyncio.sleep(0)
            self._sleep(seconds)
            await asyncio.sleep(A_MOMENT)

        if max(now.boot - asked.boot, now.wall - asked.wall) < 3_000:
            self.run(main())

    @rule(
        domain=domains,
        reply=st.none() | lifetimes.map(lambda it: Reply(amount=it)) | failures | limits,
    )
    def get_into_a_habit(self, domain: str, reply: Reply | None) -> None:
        """Let a domain answer every request in the same way from now on: an outage, or its end."""
        self.okta.habits.pop(domain, None)
        if reply is not None:
            self.okta.habits[domain] = reply
            for request in [it for it in self.okta.pending if it.domain == domain]:
                self._answer(request, reply)

    # What APIs and operators do

    @rule(key=keys, old=st.booleans())
    def invalidate(self, key: int, *, old: bool) -> None:
        """Report that an API rejected a token."""
        book = self.book(key)
        model, handed = book.model, book.handed
        values = book.values[:-1] if old else book.values[-1:]
        value = values[-1] if values else "unheard-of"
        expected = model.drops(value, self.now().boot)

        def report() -> bool:
            if handed is not None and handed.value == value:
                reported = self.provider.invalidate(handed)
            else:
                reported = book.source.invalidate(value)
            if model.token is not None and model.token.value == value:
                model.rejected = True
            if reported:
                model.token = None
            return reported

        dropped = self.let(report)

        assert expected is None or dropped is expected

    @rule(key=keys)
    def keep_fresh(self, key: int) -> None:
        """Ask for a key to be kept fresh."""
        book = self.book(key)
        kept = sum(other.model.kept for other in self.books.values())
        allowed = book.model.kept or kept < MAX_TOKENS

        def ask() -> bool:
            try:
                self.provider.source(book.client, book.scope, keep_fresh=True)
            except ConfigurationError:
                return False
            book.model.kept = True
            return True

        assert self.let(ask) is allowed

    # Time

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 11.0, 31.0, 120.0, 3_600.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(seconds))

    @rule(key=keys, which=whom, offset=st.sampled_from([-0.001, 0.001]))
    def approach(self, key: int, which: int, offset: float) -> None:
        """Let time pass until just before, or just after, something."""
        book, now = self.book(key), self.now()
        model = book.model
        instants = [model.refused_until(0.5), model.refused_until(1), self.paused[book.side]]
        if model.token is not None:
            instants += [model.renewal(0.5), model.renewal(1), model.token.unusable_at]
            instants += [model.token.last_call, model.token.unusable_at - 0.5]
        instants += [book.asked.boot + REQUEST_TIMEOUT for _ in range(book.request is not None)]
        instants += [caller.began.boot + MAX_WAIT for caller in book.waiting[:1]]
        instants += [now.boot + book.served.wall - now.wall]  # where a clock was that was set back
        ahead = [it + offset for it in instants if now.boot < it + offset < now.boot + 90_000]
        if ahead:
            self.run(asyncio.sleep(ahead[which % len(ahead)] - now.boot))

    @rule(seconds=st.sampled_from([-3_600.0, -60.0, -3.0, 3.0, 60.0, 3_600.0]))
    def set_wall_clock(self, seconds: float) -> None:
        """Set the wall clock."""
        self.machine.wall_error += seconds

    @rule(seconds=st.sampled_from([3.0, 60.0, 3_600.0]))
    def sleep(self, seconds: float) -> None:
        """Let the machine sleep; no timer fires before it is awake for a while."""
        self._sleep(seconds)
        self.let(lambda: None)

    def _sleep(self, seconds: float) -> None:
        self.machine.slept += seconds
        self.slept_at = self.loop.time()

    # The end

    @precondition(lambda self: self.steps > 15)
    @rule(asking=st.lists(keys, max_size=3))
    def restart(self, asking: list[int]) -> None:
        """Close the provider while some still ask, and start another one."""
        self.close(asking)
        self.start()

    def close(self, asking: list[int]) -> None:
        """Close the provider: everyone is told, nothing is left."""

        async def main() -> None:
            books = [self.book(key) for key in asking]
            callers = [self.call(book, None, by_source=True) for book in books]
            await self.provider.aclose()
            await asyncio.sleep(A_MOMENT)
            callers += [self.call(book, None, by_source=False) for book in books]
            await asyncio.sleep(A_MOMENT)
            assert all(caller.task is None or caller.task.done() for caller in callers)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        self.closing = True
        try:
            self.run(main())
        finally:
            self.closing = False

        assert not self.callers, "somebody still waits after closing"
        assert not self.okta.pending
        assert len(self.provider._schedule) == 0
        assert self.provider.stats().in_flight == 0
        assert {status.remaining for status in self.provider.inspect()} <= {None}

    def teardown(self) -> None:
        """Close the provider for good."""
        try:
            if hasattr(self, "provider"):
                self.close([])
                self.nothing_is_wrong()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.close()

    # What always holds

    @invariant()
    def all_is_well(self) -> None:
        """Judge what was seen, and look at everything."""
        self.steps += 1
        self.nothing_is_wrong()
        self.nobody_waits_for_nothing()
        self.what_is_used_is_renewed()
        self.snapshots_tell_the_truth()

    def nothing_is_wrong(self) -> None:
        """Nothing was seen that breaks a rule."""
        assert not self.wrong, self.wrong

    def nobody_waits_for_nothing(self) -> None:
        """Everyone who waits has a flight to wait for, and has waited no longer than allowed."""
        now, flying = self.now(), self.flying
        for caller in self.callers:
            assert caller.book.scope in flying
        if self.loop.time() > self.slept_at + MAX_NAP:
            for caller in self.callers:
                assert now.boot < caller.began.boot + MAX_WAIT + ROUNDING
            for request in self.okta.pending:
                asked = self.books[request.scope].asked
                assert now.boot < asked.boot + REQUEST_TIMEOUT + ROUNDING

    def what_is_used_is_renewed(self) -> None:
        """The renewal of a token that is used, or kept fresh, has begun in time."""
        now, flying = self.now(), self.flying
        if self.loop.time() < self.slept_at + MAX_NAP + ROUNDING:
            return
        for scope, book in self.books.items():
            model = book.model
            if model.usable(now) and (model.used or model.kept) and scope not in flying:
                forgotten = model.refused_until(1) + MAX_COOLDOWN  # if the wall clock came back
                due = max(model.renewal(1), self.pause_ends[book.side] + SPREAD, forgotten)
                assert now.boot < due + ROUNDING, f"the renewal of {scope} is late"

    def snapshots_tell_the_truth(self) -> None:
        """The snapshots agree with the model, and nothing piles up."""
        provider, now = self.provider, self.now()
        stats, flying = provider.stats(), self.flying
        kept = sum(book.model.kept for book in self.books.values())
        statuses = {" ".join(status.scopes): status for status in provider.inspect()}
        tasks = len(asyncio.all_tasks(self.loop)) - len(self.callers) - 1

        assert len(statuses) == stats.keys <= MAX_TOKENS + kept
        assert (stats.waiters, stats.in_flight) == (len(self.callers), len(flying))
        assert tasks == len(flying)
        assert len(provider._schedule) <= stats.keys + 2 * len(flying)
        for scope, book in self.books.items():
            token = book.model.token
            if token is not None and abs(token.left(now)) > ROUNDING:
                usable = statuses[scope].state in {"fresh", "due"}
                assert usable == book.model.usable(now)


def test_every_rule_holds_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens in whatever order, the provider does what the model says."""
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
