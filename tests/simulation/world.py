"""A simulation: the real provider, its callers, and everything that happens to them."""

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
from tests.simulation.books import MAX_NAP, MAX_WAIT, Breach, Key, Rule
from tests.simulation.machine import Machine, VirtualLoop, run
from tests.simulation.okta import App, Domain, Okta
from tests.simulation.referee import Referee
from tests.simulation.script import FAULTS, Action, draw, plan_key

AUDIT = 120.0
"""Seconds between two looks at what the provider holds on to."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a simulation came to."""

    broken: Breach | None
    """The rule that was broken first; None if none was."""
    digest: str
    """A fingerprint of all that happened: the same for the same script."""
    counts: Counter[str]


def simulate(
    seed: int,
    keys: Iterable[int],
    actions: Iterable[Action],
    told: Callable[[float], object] = lambda _: None,
) -> Report:
    """Play a script, and judge what the provider does.

    Args:
        seed: From which everything is drawn that the script does not say.
        keys: The numbers of the keys that there are.
        actions: The script, in order; it begins with its first action.
        told: Called now and then with the time, in seconds of the event loop's time.
    """
    actions = iter(actions)
    first = next(actions, Action(0.0, "restart"))
    state = random.getstate()
    random.seed(seed)  # what the provider itself draws from
    try:
        return run(_simulate(seed, [*keys], chain([first], actions), told), first.at)
    finally:
        random.setstate(state)


async def _simulate(
    seed: int, keys: list[int], actions: Iterator[Action], told: Callable[[float], object]
) -> Report:
    world = World(seed, keys)
    async with world.living():
        await world.play(actions, told)
    referee = world.referee
    return Report(referee.broken, referee.digest, referee.counts)


class World:
    """Everything that there is. Its public methods are what a script may ask for."""

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
        self._callers: dict[asyncio.Task[None], float] = {}  # and when they began to wait
        self._provider = self._new_provider()

    def _client(self, number: int) -> OktaClient:
        plan = self.referee.keys[number].plan

        def secret() -> str:
            key = self.referee.keys[number]
            self.referee.asks(key)
            return self._vaults[number].secret(self._loop.time(), self.referee, key)

        async def awaited() -> str:
            key = self.referee.keys[number]
            self.referee.asks(key)
            vault = self._vaults[number]
            try:
                await asyncio.sleep(vault.delay(self._loop.time()))
            except asyncio.CancelledError as error:
                self.referee.broke(key, error)
                raise
            return vault.secret(self._loop.time(), self.referee, key)

        return OktaClient(
            f"okta{plan.domain}.example",
            f"0oa{number}",
            ClientSecretBasic(awaited if plan.awaits_its_secret else secret),
            authorization_server=None if plan.org_server else "default",
            dpop=DPoP() if plan.bound else None,
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
    async def living(self) -> AsyncIterator[None]:
        """Run the provider; at the end close it, and see that nothing is left."""
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
            _, forgotten = await asyncio.wait(self._callers, timeout=0)
            if forgotten:
                referee.breaks(
                    Rule.NOTHING_LEFT, None, f"{len(forgotten)} callers still wait after closing"
                )
        left = len(asyncio.all_tasks()) - 1 - len(self._callers)
        timers = len(self._provider._schedule)
        inside = sum(len(place.inside) for place in referee.places.values())
        if left or timers or inside:
            why = f"closing left {left} tasks, {timers} timers and {inside} requests behind"
            referee.breaks(Rule.NOTHING_LEFT, None, why)
        referee.closing = False

    # Playing

    async def play(self, actions: Iterator[Action], told: Callable[[float], object]) -> None:
        """Let everything happen at its time, until a rule is broken."""
        audit_at = told_at = self._loop.time()
        for action in actions:
            while audit_at < action.at:
                await self._sleep_until(audit_at)
                self._audit()
                audit_at += AUDIT
            await self._sleep_until(action.at)
            if self.referee.broken is not None:
                return
            if action.at >= told_at:
                told(action.at)
                told_at = action.at + 3_600
            self.referee.saw(f"script: {action.kind}")
            happens = getattr(self, action.kind, None)
            if happens is not None:
                result = happens(action.target, action.amount)
                if result is not None:
                    await result
            else:
                self._fault(action)
        await self._calm_down()

    async def _sleep_until(self, instant: float) -> None:
        """Let time pass, and whatever falls due happen."""
        if not self._loop.skip(instant) and self._loop.time() < instant:
            await asyncio.sleep(instant - self._loop.time())

    async def _calm_down(self) -> None:
        """Let everyone who still waits have an answer."""
        if self._callers:
            await asyncio.wait(self._callers, timeout=MAX_WAIT + 2 * MAX_NAP)
        if forgotten := len(self._callers):
            why = f"{forgotten} callers were never answered"
            self.referee.breaks(Rule.NOTHING_LEFT, None, why)

    def _audit(self) -> None:
        """Look for what piles up, and for what was forgotten."""
        provider, referee = self._provider, self.referee
        keeper = provider._manager
        flights = len(keeper.flights.under_way)
        tasks = len(asyncio.all_tasks()) - len(self._callers) - 2  # this one and the owner
        timers, entries = len(provider._schedule), len(keeper.entries)
        pending = sum(entry.timer is not None for entry in keeper.entries)
        oldest = next(iter(self._callers.values()), math.inf)
        waited = self._loop.time() - oldest
        for wrong, why in (
            (waited > MAX_WAIT + MAX_NAP, f"somebody has waited for {waited:.0f} s"),
            (tasks != flights, f"there are {tasks} tasks for {flights} flights"),
            (timers > pending + 2 * flights, f"{timers} timers wait, and {pending} entries"),
            (len(provider._schedule._heap) > 2 * timers + 100, "cancelled timers pile up"),
            (entries > len(referee.keys), f"there are {entries} entries"),
        ):
            if wrong:
                referee.breaks(Rule.NOTHING_LEFT, None, why)

    # Callers

    def get(self, number: int, patience: float) -> None:
        """Let somebody ask; who waits longer than their patience, if they have any, leaves."""
        key = self.referee.keys[number]
        self.referee.saw("calls")
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
            self.referee.served(key, done.value)
        except TokenProviderError as error:
            why = f"a caller got {type(error).__name__} while a usable token was held"
            self.referee.breaks(Rule.UNNOTICED, key, why)
        else:
            call.close()
            self.referee.breaks(
                Rule.UNNOTICED, key, "a caller had to wait while a usable token was held"
            )

    async def _wait(self, key: Key, call: Coroutine[Any, Any, AccessToken]) -> None:
        began, turn = self._loop.time(), self._loop.turn
        self.referee.waits(key)
        try:
            token = await call
        except asyncio.CancelledError:
            self.referee.left(key)
        except TokenProviderError as error:
            self.referee.failed(key, error, began, waited=self._loop.turn > turn)
        else:
            self.referee.got(key, token, began)

    def everyone(self, domain: int, _: float) -> None:
        """Let somebody ask for each key of a domain."""
        for number, key in self.referee.keys.items():
            if key.plan.domain == domain:
                self.get(number, 0.0)

    def rush(self, number: int, amount: float) -> None:
        """Let many ask at once; every third of them is cancelled in the event loop's next turn."""
        before = len(self._callers)
        for _ in range(int(amount)):
            self.get(number, 0)
        for caller in [*self._callers][before::3]:
            self._loop.call_soon(caller.cancel)

    def reject(self, number: int, amount: float) -> None:
        """Let an API reject the held token, and as many callers report it."""
        key = self.referee.keys[number]
        token = key.token
        if token is not None:
            for _ in range(int(amount)):
                self._report(key, token.value)

    def reject_late(self, number: int, _: float) -> None:
        """Let a rejection of a token arrive that was replaced long ago."""
        self._report(self.referee.keys[number], f"token-{number}-0")

    def _report(self, key: Key, value: str) -> None:
        assert key.source is not None
        self.referee.rejected(key, value, dropped=key.source.invalidate(value))

    # What goes wrong

    def _fault(self, action: Action) -> None:
        assert action.kind in FAULTS
        self._domains[action.target].faults[action.kind] = self._loop.time() + action.amount

    def quota(self, domain: int, amount: float) -> None:
        """Allow so many requests a minute."""
        self._domains[domain].quota = int(amount)

    def crowd(self, domain: int, amount: float) -> None:
        """Allow so many requests at once."""
        self._domains[domain].crowd = int(amount)

    def skew(self, domain: int, amount: float) -> None:
        """Let Okta's clock go wrong by so many seconds."""
        self._domains[domain].clock_offset = amount

    def lifetime(self, number: int, amount: float) -> None:
        """Let tokens live for so many seconds from now on."""
        self._apps[number].lifetime = int(amount)

    def disable(self, number: int, amount: float) -> None:
        """Let Okta refuse the client for so many seconds."""
        self._apps[number].disabled_until = self._loop.time() + amount

    def rotate(self, number: int, amount: float) -> None:
        """Change the secret: the old one works for a minute, the vault has the new one later."""
        app, vault, now = self._apps[number], self._vaults[number], self._loop.time()
        app.secret += 1
        app.secret_expires_at = now + 60
        vault.changes_at, vault.next_secret = now + amount, app.secret

    def vault_fails(self, number: int, amount: float) -> None:
        """Let the callable for the secret raise, for so many seconds."""
        self._vaults[number].fails_until = self._loop.time() + amount

    def vault_hangs(self, number: int, amount: float) -> None:
        """Let the callable for the secret be slow or hang, for so many seconds."""
        self._vaults[number].hangs_until = self._loop.time() + amount

    def offline(self, _: int, amount: float) -> None:
        """Let the machine reach nobody for so many seconds."""
        for domain in self._domains.values():
            domain.faults["refuse"] = self._loop.time() + amount

    def sleep(self, _: int, amount: float) -> None:
        """Let the machine sleep for so many seconds."""
        self.referee.disturbed(slept=True)
        self.machine.slept += amount
        self.referee.disturbed(slept=True)

    def set_wall_clock(self, _: int, amount: float) -> None:
        """Set the wall clock to so many seconds ahead of the true time, a moment after calls."""
        for domain in self._domains:
            self.everyone(domain, 0.0)
        self.referee.disturbed(slept=False)
        self.machine.wall_error = amount
        self.referee.disturbed(slept=False)

    async def restart(self, _: int, __: float) -> None:
        """Close the provider while everybody asks, and start another one."""
        for domain in self._domains:
            self.everyone(domain, 0.0)
        await asyncio.sleep(0.04)
        await self._stop()
        self.referee.restarted()
        self._provider = self._new_provider()
        await self._start()


@dataclass(slots=True)
class _Vault:
    """Where the provider's side keeps a secret."""

    number: int = 0
    next_secret: int = 0
    changes_at: float = math.inf
    fails_until: float = 0.0
    hangs_until: float = 0.0

    def delay(self, now: float) -> float:
        """Return how long it takes to answer, in seconds."""
        return min(self.hangs_until - now, 60.0) if now < self.hangs_until else 0.01

    def secret(self, now: float, referee: Referee, key: Key) -> str:
        """Return the secret."""
        if now < self.fails_until:
            referee.secret_failed(key)
            raise OSError("the vault is sealed")
        if now >= self.changes_at:
            self.number, self.changes_at = self.next_secret, math.inf
        secret = f"secret-{self.number}"
        referee.tells(key, secret)
        return secret
