"""The referee: knows from what Okta sent and what callers got whether every rule was kept.

It shares no code with the package: it keeps books of its own, and judges what it sees from outside.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from multidict import CIMultiDict

from okta_tokens import AccessToken
from okta_tokens.errors import FetchError, ProviderStateError, RateLimitedError, TokenProviderError
from tests.simulation.books import (
    A_MOMENT,
    ATTEMPTS,
    FIRST_DAMPING,
    MAX_COOLDOWN,
    MAX_DAMPING,
    MAX_NAP,
    MAX_PAUSE,
    MAX_WAIT,
    PLACES,
    QUEUE,
    REJECTIONS_AN_HOUR,
    REQUEST_TIMEOUT,
    Breach,
    Held,
    Key,
    Place,
    Rule,
)
from tests.simulation.machine import Machine
from tests.simulation.script import KeyPlan

_MENDED = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
"""A proof without the right nonce, and a secret that has changed perhaps."""


class Referee:
    """Judge what happens.

    Args:
        machine: Tells the time.
        plans: The keys that there are.
    """

    def __init__(self, machine: Machine, plans: list[KeyPlan]) -> None:
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self.places = {plan.domain: Place() for plan in plans}
        self.keys = {plan.number: Key(plan, self.places[plan.domain]) for plan in plans}
        self.counts = Counter[str]()
        self.broken: Breach | None = None
        self.disturbed_at = -math.inf
        """When the machine last slept, or its wall clock last jumped, in seconds of boot time."""
        self.slept_at = -math.inf
        self.closing = False
        self._digest = hashlib.blake2b(digest_size=8)

    @property
    def digest(self) -> str:
        """A fingerprint of all that happened."""
        return self._digest.hexdigest()

    def saw(self, what: str) -> None:
        """Count something."""
        self.counts[what] += 1

    def _note(self, key: Key, what: str) -> None:
        self._digest.update(f"{self._loop.time():.6f} {key.plan.number} {what}\n".encode())

    def breaks(self, rule: Rule, key: Key | None, why: str) -> None:
        """Take note of a broken rule; the first one ends the simulation."""
        if self.broken is None:
            number = None if key is None else key.plan.number
            self.broken = Breach(rule, why, number, self._loop.time())

    def restarted(self) -> None:
        """Forget what the provider has forgotten: everything."""
        self.places = {number: Place() for number in self.places}
        for number, key in self.keys.items():
            self.keys[number] = Key(key.plan, self.places[key.plan.domain])

    def disturbed(self, *, slept: bool) -> None:
        """The machine's clocks went another way than the event loop's."""
        boot, wall = self._now()
        self.disturbed_at = boot
        if slept:
            self.slept_at = boot
        for key in self.keys.values():
            token = key.token
            if token is not None and token.left(boot, wall) <= token.leeway:
                token.perhaps_forgotten = True

    # What callers see

    def usable(self, key: Key) -> bool:
        """Tell whether a caller must get the token that arrived last, and at once."""
        token = key.token
        if token is None or token.perhaps_forgotten:
            return False
        return token.left(*self._now()) > token.leeway

    def served(self, key: Key, token: AccessToken) -> None:
        """A caller got a token."""
        self.saw("tokens handed out")
        held = key.token
        self._note(key, token.value)
        if held is None or held.value != token.value:
            self.breaks(Rule.REJECTION, key, f"{token.value} was handed out, which is not held")
            return
        left = held.left(*self._now())
        held.used = True
        # Within a window one clock decides, so the other may be late by as much.
        slack = min(1.0, held.leeway) if self._machine.boot_time() - self.disturbed_at < 2 else 0.0
        if left <= held.leeway - slack - A_MOMENT:
            self.breaks(Rule.LIFETIME, key, f"a token was handed out {left:.3f} s before its end")

    def waits(self, key: Key) -> None:
        """A caller begins to wait: no usable token is held. Was that avoidable?"""
        key.waiting += 1
        key.wanted = True
        token = key.token
        if token is not None and (token.used or key.plan.kept_fresh):
            self._judge_expiry(key, token)

    def _judge_expiry(self, key: Key, token: Held) -> None:
        """A token that should have been renewed is not usable any more: is there a reason?"""
        boot, _ = self._now()
        due = token.refresh_from
        excused = (
            token.perhaps_forgotten
            or self.disturbed_at >= token.sent_boot
            or key.side.pause_ended >= due
            or key.place.crowded_at >= due
            or key.attempt_began is not None
            or token.hopeless
        )
        if not excused and token.last_try_ended < token.final_try - A_MOMENT:
            tried = f"last {boot - token.last_try_ended:.0f} s ago" if token.failures else "never"
            why = f"a token expired, and its renewal was tried {tried}"
            self.breaks(Rule.UNNOTICED if token.used else Rule.IDLE, key, why)

    def got(self, key: Key, token: AccessToken, began: float) -> None:
        """A caller who may have waited got a token."""
        key.waiting -= 1
        self.served(key, token)
        self._judge_patience(key, began)

    def _judge_patience(self, key: Key, began: float) -> None:
        elapsed = self._loop.time() - began
        boot, _ = self._now()
        if elapsed > MAX_WAIT + A_MOMENT and boot - self.slept_at > MAX_WAIT + MAX_NAP:
            self.breaks(Rule.NOTHING_LEFT, key, f"a caller waited for {elapsed:.1f} s")

    def left(self, key: Key) -> None:
        """A caller was cancelled, or lost patience."""
        key.waiting -= 1
        self.saw("callers cancelled")
        self._note(key, "left")

    def failed(self, key: Key, error: TokenProviderError, began: float, *, waited: bool) -> None:
        """A caller got an error.

        Args:
            key: Whose token it wanted.
            error: What it got.
            began: When it asked, in seconds of the event loop's time.
            waited: Whether it was suspended.
        """
        key.waiting -= 1
        self.saw(type(error).__name__)
        self._note(key, type(error).__name__)
        if isinstance(error, FetchError):
            self._judge_patience(key, began)
            self._judge_error(key, error, self._loop.time() - began, waited=waited)
        elif not isinstance(error, ProviderStateError) or not self.closing:
            why = f"a caller got {type(error).__name__}: {error}"
            self.breaks(Rule.NOTHING_LEFT, key, why)

    def _judge_error(self, key: Key, error: FetchError, elapsed: float, *, waited: bool) -> None:
        boot, _ = self._now()
        if self.usable(key):
            why = "a caller got an error while a usable token was held"
            self.breaks(Rule.UNNOTICED, key, why)
        if error.attempts > ATTEMPTS + len(_MENDED):
            self.breaks(Rule.ONE_ERROR, key, f"a fetch made {error.attempts} attempts")
        self._compare(key, error, boot, waited=waited)
        if error.attempts == 0:
            told_of_a_pause = isinstance(error, RateLimitedError)
            if told_of_a_pause and boot > key.side.pause_ended:
                self.breaks(Rule.LIMITS, key, "a caller was told of a pause that there is not")
        elif waited and elapsed < MAX_WAIT - A_MOMENT:
            self._fetch_failed(key, boot)
        else:
            # A fetch may also fail some time after its last attempt: while it waits for another.
            age = boot - max(key.last_failure, key.failed_at)
            if not waited and age > MAX_COOLDOWN + A_MOMENT:
                self.breaks(Rule.ONE_ERROR, key, f"an error is {age:.0f} s old")

    def _compare(self, key: Key, error: FetchError, boot: float, *, waited: bool) -> None:
        """Those who fail together get copies of one error, each its own."""
        if key.errors_at != boot:
            key.errors, key.errors_at = [], boot
        if any(other is error for other in key.errors):
            self.breaks(Rule.ONE_ERROR, key, "two callers got the same error object")
        if waited:
            key.errors.append(error)

    def _fetch_failed(self, key: Key, boot: float) -> None:
        """A flight is over, without a token; nobody may ask again for a while."""
        if key.failed_at == boot:
            return  # the others who waited for it
        key.ended_attempts = 0
        key.wanted = False
        token = key.token
        if token is not None and token.left(*self._now()) > token.leeway:
            return  # a wall clock was set right meanwhile, so it was a renewal that failed
        # The provider forgets a key that nobody asks for, and one whose token is over; and with it
        # how often it failed. (A token may be over after a failure: wall clocks are set right.)
        end = -math.inf if token is None else token.unusable_at
        remembered = boot <= key.quiet_until + MAX_COOLDOWN and not key.failed_at < end <= boot
        key.failed_at = boot
        key.failures = key.failures + 1 if remembered else 1
        key.quiet_until = boot + min(MAX_COOLDOWN, 2.0 ** min(key.failures, 10)) / 2

    # What Okta sees

    def asks(self, key: Key) -> None:
        """An attempt begins: the provider asks for the secret; or it does so again at once."""
        boot, wall = self._now()
        if key.attempt_began is not None and key.refused_at == boot:
            self.saw("requests mended")
            self._judge_pause(key, boot)
            key.asked_again, key.refused_at = True, -math.inf
            return
        self.saw("attempts")
        place = key.place
        if key.attempt_began is not None:
            self.breaks(Rule.SINGLE_FLIGHT, key, "two requests for one key were under way")
        self._judge_pause(key, boot)
        if boot < key.quiet_until - A_MOMENT:
            self.breaks(
                Rule.ONE_ERROR, key, f"{key.quiet_until - boot:.2f} s of a cool-down were left"
            )
        self._judge_attempt(key, boot, wall)
        key.attempt_began = boot
        place.inside.add(key.plan.number)
        if len(place.inside) > PLACES:
            self.breaks(
                Rule.LIMITS, key, f"{len(place.inside)} requests were under way for a domain"
            )
        renewals = sum(not self.keys[number].wanted for number in place.inside)
        if renewals > PLACES // 2:
            self.breaks(Rule.LIMITS, key, f"{renewals} renewals were under way for a domain")
        self._see_crowd(place, boot)

    def _judge_pause(self, key: Key, boot: float) -> None:
        left = key.side.paused_until - boot
        if left > A_MOMENT:
            self.breaks(Rule.LIMITS, key, f"{left:.1f} s of a pause were left")

    def _judge_attempt(self, key: Key, boot: float, wall: float) -> None:
        """Is there a reason for it?"""
        token = key.token
        left = 0.0 if token is None else token.left(boot, wall) - token.leeway
        if token is None or token.perhaps_forgotten or left <= A_MOMENT:
            self._judge_fetch(key, token, boot)
        else:
            self._judge_renewal(key, token, boot)

    def _judge_fetch(self, key: Key, token: Held | None, boot: float) -> None:
        """Nothing usable is held: somebody must want a token."""
        if key.plan.kept_fresh and token is not None:
            self._judge_expiry(key, token)
        if key.wanted or key.plan.kept_fresh:
            return
        lost_at = key.lost_at if token is None else min(token.unusable_at, boot)
        # A renewal may have waited, for a place or for the secret, while its token expired.
        patience = QUEUE if boot - key.place.crowded_at < QUEUE else REQUEST_TIMEOUT
        perhaps = token is not None and self.disturbed_at >= token.sent_boot
        if boot - lost_at > patience and not perhaps:
            self.breaks(Rule.IDLE, key, "a token was fetched that nobody wanted")

    def _judge_renewal(self, key: Key, token: Held, boot: float) -> None:
        """A usable token is held: its renewal must be due, and wanted."""
        self.saw("renewals")
        if boot < token.refresh_from - A_MOMENT:
            self.breaks(
                Rule.IN_TIME, key, f"a renewal came {token.refresh_from - boot:.1f} s too early"
            )
        if boot < token.try_after - A_MOMENT:
            self.breaks(
                Rule.UNNOTICED,
                key,
                f"a renewal was retried {token.try_after - boot:.2f} s too early",
            )
        if not token.used and not key.plan.kept_fresh:
            self.breaks(Rule.IDLE, key, "a token was renewed that nobody used")

    def sends(self, key: Key) -> None:
        """A request is sent."""
        self.saw("requests")
        if key.attempt_began is None:
            self.breaks(Rule.ANEW, key, "a request was sent with a secret that was not asked for")
        key.sent = self._now()
        key.asked_again = False

    def wants_nonce(self, key: Key, works: range) -> None:
        """Okta asks for another nonce than the one in the proof: the provider did not know it."""
        self.saw("nonces asked for")
        side, (boot, _) = key.side, self._now()
        known = side.nonce in works
        # What was being put together meanwhile may hold the one before.
        if known and boot - side.nonce_told_at > 2 * REQUEST_TIMEOUT:
            self.breaks(Rule.ANEW, key, "a proof was sent without the nonce that was told")

    def tells(self, key: Key, secret: str) -> None:
        """The callable for the secret returned it: one that was refused is not sent again."""
        refused = key.refused == HTTPStatus.UNAUTHORIZED
        if key.asked_again and refused and secret == key.secret:
            self._attempt_failed(key, hopeless=True)
        key.secret = secret

    def secret_failed(self, key: Key) -> None:
        """The callable for the secret raised an error."""
        self._note(key, "no secret")
        self._attempt_failed(key, hopeless=True)

    def answered(
        self,
        key: Key,
        status: int,
        headers: CIMultiDict[str],
        grants: tuple[str, int] | None,
    ) -> None:
        """An answer has arrived, all of it."""
        self._note(key, str(status))
        boot, wall = self._now()
        if grants is not None:
            value, lifetime = grants
            held = Held(value, *key.sent, lifetime, boot, self._is_replacement(key, boot, wall))
            if held.left(boot, wall) > held.leeway:
                self._arrived(key, held)
                return
        if (nonce := headers.get("DPoP-Nonce")) is not None and int(nonce) != key.side.nonce:
            key.side.nonce, key.side.nonce_told_at = int(nonce), boot
        if status in _MENDED and status not in key.mended:
            key.mended.add(status)
            key.refused, key.refused_at = status, boot
            self._loop.call_soon(self._left_as_it_is, key)
            return
        if status == 429:
            self._limited(key, headers, boot)
        limited = status == 429
        self._attempt_failed(key, hopeless=300 <= status < 500 and not limited, limited=limited)

    def _left_as_it_is(self, key: Key) -> None:
        """A refusal was not mended in the turn in which it came: so it will not be, in a pause."""
        if key.refused_at > -math.inf:
            boot, _ = self._now()
            if boot > key.side.pause_ended:
                why = f"a refusal ({key.refused}) was not mended, and there is no pause"
                self.breaks(Rule.ANEW, key, why)
            self._attempt_failed(key, hopeless=key.refused == HTTPStatus.UNAUTHORIZED)

    def broke(self, key: Key, error: BaseException | None) -> None:
        """An attempt ended without an answer."""
        self._note(key, type(error).__name__)
        boot, _ = self._now()
        began = key.attempt_began or boot
        if isinstance(error, asyncio.CancelledError) and not self.closing:
            self.saw("time-outs")
            # The last of several has what is left of the time for all of them.
            if boot - began < REQUEST_TIMEOUT - 1 - A_MOMENT and key.ended_attempts < 2:
                self.breaks(
                    Rule.SINGLE_FLIGHT, key, f"a request was cancelled after {boot - began:.2f} s"
                )
        self._attempt_failed(key, hopeless=key.asked_again)

    def _arrived(self, key: Key, token: Held) -> None:
        self.saw("tokens fetched")
        self._attempt_over(key)
        token.used = key.waiting > 0
        key.token = token
        key.rejected = key.wanted = False
        key.failures = key.ended_attempts = 0
        key.quiet_until = -math.inf

    def _is_replacement(self, key: Key, boot: float, wall: float) -> bool | None:
        """Tell whether a token that arrives now takes the place of a rejected one."""
        if not key.rejected:
            return False
        remembered = (
            boot - key.lost_at < FIRST_DAMPING
            if key.token is None
            else not key.token.perhaps_forgotten and key.token.left(boot, wall) > key.token.leeway
        )
        return remembered or None

    def _see_crowd(self, place: Place, boot: float) -> None:
        """Renewals may have to wait; they may be fewer: somebody once waited for some of these."""
        if len(place.inside) >= PLACES // 2:
            place.crowded_at = boot

    def _attempt_over(self, key: Key) -> None:
        self._see_crowd(key.place, self._machine.boot_time())
        key.attempt_began = None
        key.refused, key.refused_at, key.asked_again = 0, -math.inf, False
        key.mended.clear()
        key.place.inside.discard(key.plan.number)

    def _attempt_failed(self, key: Key, *, hopeless: bool = False, limited: bool = False) -> None:
        self.saw("failed attempts")
        boot, wall = self._now()
        self._attempt_over(key)
        key.last_failure = boot
        key.ended_attempts += 1
        token = key.token
        if token is not None:
            token.last_try_ended = boot
            token.hopeless = hopeless
        if key.wanted:
            return
        key.ended_attempts = 0  # a flight that nobody waits for makes one attempt
        if token is None or token.left(boot, wall) <= token.leeway:
            if not limited:
                self._fetch_failed(key, boot)
        elif limited:
            token.try_after = max(token.try_after, key.side.paused_until)
        else:
            token.failures += 1
            if token.failures > token.most_failures:
                self.breaks(Rule.IN_TIME, key, f"a renewal failed {token.failures} times")
            cap, base = token.backoff
            least = min(cap, base * 2.0 ** min(token.failures - 1, 30)) / 2
            end = token.final_try if boot < token.final_try else token.unusable_at
            token.try_after = min(boot + least, end)

    def _limited(self, key: Key, headers: Mapping[str, str], boot: float) -> None:
        """Okta asked to be left alone."""
        at_once = headers["X-Rate-Limit-Limit"] == "0"
        self.saw("429s: too many at once" if at_once else "429s: too many a minute")
        side = key.side
        reset = headers["X-Rate-Limit-Reset"]
        date = parsedate_to_datetime(headers["Date"]).timestamp()
        told = min(max(int(reset) - date + 1, 0.0), MAX_PAUSE)
        at_least = min(told, 2.0) if at_once else told
        side.paused_until = max(side.paused_until, boot + at_least)
        # A renewal comes up to ten seconds after the end of a pause.
        side.pause_ended = max(side.pause_ended, boot + MAX_PAUSE + 10)

    # What is reported to the provider

    def rejected(self, key: Key, value: str, *, dropped: bool) -> None:
        """Somebody reported a rejected token; the provider said whether it dropped it."""
        self.saw("rejections")
        token = key.token
        boot, wall = self._now()
        if token is None or token.value != value:
            if dropped:
                self.breaks(Rule.REJECTION, key, "a token was dropped that was not held")
            return
        age = boot - token.arrived
        if dropped:
            self.saw("tokens dropped")
            if token.replaces_a_rejected_one and age < FIRST_DAMPING - A_MOMENT:
                self.breaks(Rule.REJECTION, key, f"a replacement was dropped after {age:.2f} s")
            key.rejections = [at for at in key.rejections if at > boot - 3_600] + [boot]
            if len(key.rejections) > REJECTIONS_AN_HOUR:
                self.breaks(
                    Rule.REJECTION, key, f"{len(key.rejections)} tokens were dropped in an hour"
                )
            key.token, key.lost_at = None, boot
            key.rejected = True
        else:
            key.rejected = True
            damped = token.replaces_a_rejected_one is not False and age < MAX_DAMPING + A_MOMENT
            gone = token.perhaps_forgotten or token.left(boot, wall) <= token.leeway
            if not damped and not gone:
                self.breaks(Rule.REJECTION, key, "a rejected token was kept")

    def _now(self) -> tuple[float, float]:
        return self._machine.boot_time(), self._machine.wall_time()
