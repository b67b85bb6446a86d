"""A simulation: plays a script's actions with the real provider, its callers and an Okta."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import aiohttp

from okta_tokens import AccessToken, ClientSecretBasic, DPoP, OktaClient, TokenProvider
from okta_tokens.errors import TokenProviderError
from tests.simulation.machine import Machine, VirtualLoop, run
from tests.simulation.okta import App, Domain, Okta
from tests.simulation.referee import Referee
from tests.simulation.referee_state import KeyState
from tests.simulation.rules import MAX_CLOCK_SLEEP, MAX_WAIT, Rule, Violation
from tests.simulation.script import FAULTS, Action, draw, plan_key

AUDIT_INTERVAL = 120.0
"""Seconds between two audits of the provider's tasks, timers and entries."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a simulation."""

    violation: Violation | None
    """The first broken rule; `None` if every rule was kept."""
    digest: str
    """A fingerprint of everything that happened, which is the same for the same script."""
    counts: Counter[str]


def simulate(
    seed: int,
    keys: Iterable[int],
    actions: Iterable[Action],
    on_progress: Callable[[float], object] = lambda _: None,
) -> Report:
    """Play a script, and check every rule.

    Args:
        seed: The seed of everything that the script does not decide.
        keys: The numbers of the keys.
        actions: The script's actions in order. The simulation begins with the first one.
        on_progress: Called about once per simulated hour with the event loop's time in seconds.
    """
    actions = iter(actions)
    first = next(actions, Action(0.0, "restart"))
    state = random.getstate()
    random.seed(seed)  # the provider draws from it
    try:
        return run(_simulate(seed, [*keys], chain([first], actions), on_progress), first.at)
    finally:
        random.setstate(state)


async def _simulate(
    seed: int, keys: list[int], actions: Iterator[Action], on_progress: Callable[[float], object]
) -> Report:
    world = World(seed, keys)
    async with world.running():
        await world.play(actions, on_progress)
    referee = world.referee
    return Report(referee.violation, referee.digest, referee.counts)


class World:
    """The provider, its callers, its machine and Okta. The kinds of actions name its methods."""

    def __init__(self, seed: int, keys: list[int]) -> None:
        self._loop = cast("VirtualLoop", asyncio.get_running_loop())
        self.machine = Machine(self._loop)
        plans = [plan_key(seed, number) for number in keys]
        self.referee = Referee(self.machine, plans)
        self._apps = {plan.number: App(plan.lifetime) for plan in plans}
        self._vaults = {plan.number: _Vault() for plan in plans}
        self._domains = {
            number: Domain(draw(seed, "okta", number))
            for number in sorted({plan.domain for plan in plans})
        }
        self._okta = Okta(self.machine, self.referee, self._apps, self._domains)
        self._clients = {number: self._client(number) for number in keys}
        self._callers: dict[asyncio.Task[None], float] = {}  # the loop's time of their call
        self._provider = self._new_provider()

    def _client(self, number: int) -> OktaClient:
        plan = self.referee.keys[number].plan

        def secret() -> str:
            key = self.referee.keys[number]
            self.referee.secret_requested(key)
            return self._vaults[number].secret(self._loop.time(), self.referee, key)

        async def async_secret() -> str:
            key = self.referee.keys[number]
            self.referee.secret_requested(key)
            vault = self._vaults[number]
            try:
                await asyncio.sleep(vault.delay(self._loop.time()))
            except asyncio.CancelledError as error:
                self.referee.attempt_aborted(key, error)
                raise
            return vault.secret(self._loop.time(), self.referee, key)

        return OktaClient(
            f"okta{plan.domain}.example",
            f"0oa{number}",
            ClientSecretBasic(async_secret if plan.async_secret else secret),
            authorization_server=None if plan.org_server else "default",
            dpop=DPoP() if plan.dpop else None,
        )

    def _new_provider(self) -> TokenProvider:
        session = cast("aiohttp.ClientSession", self._okta)
        return TokenProvider(
            session=session, clock=self.machine, max_tokens=max(len(self._clients), 1)
        )

    async def _start(self) -> None:
        await self._provider.start()
        for number, key in self.referee.keys.items():
            key.source = self._provider.source(
                self._clients[number], f"key{number}", keep_fresh=key.plan.kept_fresh
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the provider; at the end, close it and check that nothing is left."""
        await self._start()
        try:
            yield
        finally:
            await self._stop()

    async def _stop(self) -> None:
        referee = self.referee
        referee.closing = True
        await self._provider.aclose()
        if self._callers:
            _, waiting = await asyncio.wait(self._callers, timeout=0)
            if waiting:
                why = f"{len(waiting)} callers still wait after closing"
                referee.report(Rule.NOTHING_LEFT, None, why)
        tasks = len(asyncio.all_tasks()) - 1 - len(self._callers)
        timers = len(self._provider._schedule)
        requests = sum(len(domain.attempting) for domain in referee.domains.values())
        if tasks or timers or requests:
            why = f"{tasks} tasks, {timers} timers and {requests} requests remain after closing"
            referee.report(Rule.NOTHING_LEFT, None, why)
        referee.closing = False

    # Playing

    async def play(self, actions: Iterator[Action], on_progress: Callable[[float], object]) -> None:
        """Perform each action at its time, until a rule is broken."""
        audit_at = progress_at = self._loop.time()
        for action in actions:
            while audit_at < action.at:
                await self._sleep_until(audit_at)
                self._audit()
                audit_at += AUDIT_INTERVAL
            await self._sleep_until(action.at)
            if self.referee.violation is not None:
                return
            if action.at >= progress_at:
                on_progress(action.at)
                progress_at = action.at + 3_600
            self.referee.count(f"script: {action.kind}")
            perform = getattr(self, action.kind, None)
            if perform is not None:
                result = perform(action.target, action.amount)
                if result is not None:
                    await result
            else:
                self._start_fault(action)
        await self._wait_for_callers()

    async def _sleep_until(self, instant: float) -> None:
        """Let time pass until an instant, and run everything that is due."""
        if not self._loop.skip(instant) and self._loop.time() < instant:
            await asyncio.sleep(instant - self._loop.time())

    async def _wait_for_callers(self) -> None:
        """Wait until every caller has a result."""
        if self._callers:
            await asyncio.wait(self._callers, timeout=MAX_WAIT + 2 * MAX_CLOCK_SLEEP)
        if waiting := len(self._callers):
            why = f"{waiting} callers never got a result"
            self.referee.report(Rule.NOTHING_LEFT, None, why)

    def _audit(self) -> None:
        """Check that tasks, timers and entries do not accumulate, and that no caller hangs."""
        provider, referee = self._provider, self.referee
        manager = provider._manager
        flights = len(manager.flights.under_way)
        tasks = len(asyncio.all_tasks()) - len(self._callers) - 2  # this one and the owner
        timers, entries = len(provider._schedule), len(manager.entries)
        pending = sum(entry.instant is not None for entry in manager.entries)
        oldest = next(iter(self._callers.values()), math.inf)
        waited = self._loop.time() - oldest
        for wrong, why in (
            (waited > MAX_WAIT + MAX_CLOCK_SLEEP, f"a caller has waited for {waited:.0f} s"),
            (tasks != flights, f"there are {tasks} tasks for {flights} flights"),
            (timers > pending + 2 * flights, f"there are {timers} timers for {pending} entries"),
            (len(provider._schedule._heap) > 2 * timers + 100, "cancelled timers accumulate"),
            (entries > len(referee.keys), f"there are {entries} entries"),
        ):
            if wrong:
                referee.report(Rule.NOTHING_LEFT, None, why)

    # Callers

    def get(self, number: int, patience: float) -> None:
        """Let a caller get a token, and cancel it after a patience in seconds, if that is not 0."""
        key = self.referee.keys[number]
        self.referee.count("calls")
        assert key.source is not None
        call = key.source.get_token()
        if not self.referee.usable(key):
            caller = self._loop.create_task(self._wait(key, call))
            self._callers[caller] = self._loop.time()
            caller.add_done_callback(self._callers.pop)
            if patience:
                self._loop.call_later(patience, caller.cancel)
            return
        try:
            call.send(None)
        except StopIteration as done:
            self.referee.token_returned(key, done.value)
        except TokenProviderError as error:
            why = f"a caller got {type(error).__name__} while a usable token was held"
            self.referee.report(Rule.UNNOTICED, key, why)
        else:
            call.close()
            why = "a caller had to wait while a usable token was held"
            self.referee.report(Rule.UNNOTICED, key, why)

    async def _wait(self, key: KeyState, call: Coroutine[Any, Any, AccessToken]) -> None:
        began, turn = self._loop.time(), self._loop.turn
        self.referee.caller_waits(key)
        try:
            token = await call
        except asyncio.CancelledError:
            self.referee.waiter_left(key)
        except TokenProviderError as error:
            self.referee.waiter_failed(key, error, began, waited=self._loop.turn > turn)
        else:
            self.referee.waiter_got_token(key, token, began)

    def everyone(self, domain: int, _: float) -> None:
        """Let a caller get the token of each key of a domain."""
        for number, key in self.referee.keys.items():
            if key.plan.domain == domain:
                self.get(number, 0.0)

    def rush(self, number: int, amount: float) -> None:
        """Let several callers get a token, and cancel every third in the event loop's next turn."""
        before = len(self._callers)
        for _ in range(int(amount)):
            self.get(number, 0)
        for caller in [*self._callers][before::3]:
            self._loop.call_soon(caller.cancel)

    def reject(self, number: int, amount: float) -> None:
        """Let an API reject the held token, and several callers report that."""
        key = self.referee.keys[number]
        token = key.token
        if token is not None:
            for _ in range(int(amount)):
                self._report(key, token.value)

    def reject_late(self, number: int, _: float) -> None:
        """Let a caller report a token as rejected that is not held."""
        self._report(self.referee.keys[number], f"token-{number}-0")

    def _report(self, key: KeyState, value: str) -> None:
        assert key.source is not None
        self.referee.token_rejected(key, value, dropped=key.source.invalidate(value))

    # Faults and changes

    def _start_fault(self, action: Action) -> None:
        assert action.kind in FAULTS
        self._domains[action.target].faults[action.kind] = self._loop.time() + action.amount

    def quota(self, domain: int, amount: float) -> None:
        """Set a domain's quota of requests per minute."""
        self._domains[domain].quota = int(amount)

    def crowd(self, domain: int, amount: float) -> None:
        """Set the number of a domain's concurrent requests; other clients need the others."""
        self._domains[domain].concurrency = int(amount)

    def skew(self, domain: int, amount: float) -> None:
        """Set the offset of a domain's clock, in seconds."""
        self._domains[domain].clock_offset = amount

    def lifetime(self, number: int, amount: float) -> None:
        """Set the lifetime of a key's next tokens, in seconds."""
        self._apps[number].lifetime = int(amount)

    def disable(self, number: int, amount: float) -> None:
        """Deactivate a client for some seconds."""
        self._apps[number].disabled_until = self._loop.time() + amount

    def rotate(self, number: int, amount: float) -> None:
        """Change a secret: the old one is valid for a minute, the vault has the new one later."""
        app, vault, now = self._apps[number], self._vaults[number], self._loop.time()
        app.secret += 1
        app.secret_expires_at = now + 60
        vault.changes_at, vault.next_secret = now + amount, app.secret

    def vault_fails(self, number: int, amount: float) -> None:
        """Let the callable for a secret raise for some seconds."""
        self._vaults[number].fails_until = self._loop.time() + amount

    def vault_hangs(self, number: int, amount: float) -> None:
        """Let the callable for a secret be slow or hang for some seconds."""
        self._vaults[number].hangs_until = self._loop.time() + amount

    def offline(self, _: int, amount: float) -> None:
        """Let every connection be refused for some seconds."""
        for domain in self._domains.values():
            domain.faults["refuse"] = self._loop.time() + amount

    def sleep(self, _: int, amount: float) -> None:
        """Suspend the machine for some seconds."""
        self.referee.clocks_changed(slept=True)
        self.machine.slept += amount
        self.referee.clocks_changed(slept=True)

    def set_wall_clock(self, _: int, amount: float) -> None:
        """Let every key have a caller, then set the wall clock's error, in seconds."""
        for domain in self._domains:
            self.everyone(domain, 0.0)
        self.referee.clocks_changed(slept=False)
        self.machine.wall_error = amount
        self.referee.clocks_changed(slept=False)

    async def restart(self, _: int, __: float) -> None:
        """Close the provider while every key has a caller, and start another provider."""
        for domain in self._domains:
            self.everyone(domain, 0.0)
        await asyncio.sleep(0.04)
        await self._stop()
        self.referee.provider_restarted()
        self._provider = self._new_provider()
        await self._start()


@dataclass(slots=True)
class _Vault:
    """The service's store of a secret, which learns of a new secret later than Okta."""

    number: int = 0
    next_secret: int = 0
    changes_at: float = math.inf
    fails_until: float = 0.0
    hangs_until: float = 0.0

    def delay(self, now: float) -> float:
        """Return the seconds until the async callable returns."""
        return min(self.hangs_until - now, 60.0) if now < self.hangs_until else 0.01

    def secret(self, now: float, referee: Referee, key: KeyState) -> str:
        """Return the secret, or raise if the vault fails."""
        if now < self.fails_until:
            referee.secret_failed(key)
            raise OSError("the vault is unavailable")
        if now >= self.changes_at:
            self.number, self.changes_at = self.next_secret, math.inf
        secret = f"secret-{self.number}"
        referee.secret_returned(key, secret)
        return secret
