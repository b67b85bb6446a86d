"""The referee checks every rule by what Okta receives and what callers get.

It shares no code with the package: it keeps its own state, and observes the provider from outside.
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
from tests.simulation.machine import Machine
from tests.simulation.referee_state import DomainState, HeldToken, KeyState
from tests.simulation.rules import (
    ATTEMPTS,
    FIRST_DAMPING,
    MAX_CLOCK_SLEEP,
    MAX_CONCURRENT_REQUESTS,
    MAX_COOLDOWN,
    MAX_DAMPING,
    MAX_PAUSE,
    MAX_QUEUE_TIME,
    MAX_WAIT,
    REJECTIONS_AN_HOUR,
    REQUEST_TIMEOUT,
    TOLERANCE,
    Rule,
    Violation,
)
from tests.simulation.script import KeyPlan

_IMMEDIATE_RETRIES = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
"""Refusals that allow an immediate retry: a missing nonce, and a secret that may have changed."""


class Referee:
    """Checks the rules, and records what happens.

    Args:
        machine: The provider's clocks.
        plans: The keys.
    """

    def __init__(self, machine: Machine, plans: list[KeyPlan]) -> None:
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self.domains = {plan.domain: DomainState() for plan in plans}
        self.keys = {plan.number: KeyState(plan, self.domains[plan.domain]) for plan in plans}
        self.counts = Counter[str]()
        self.violation: Violation | None = None
        self.clocks_changed_at = -math.inf
        """When the machine last slept, or its wall clock last jumped, in seconds of boot time."""
        self.slept_at = -math.inf
        self.closing = False
        self._digest = hashlib.blake2b(digest_size=8)

    @property
    def digest(self) -> str:
        """A fingerprint of everything that happened."""
        return self._digest.hexdigest()

    def count(self, name: str) -> None:
        """Count an occurrence."""
        self.counts[name] += 1

    def _record(self, key: KeyState, text: str) -> None:
        self._digest.update(f"{self._loop.time():.6f} {key.plan.number} {text}\n".encode())

    def report(self, rule: Rule, key: KeyState | None, why: str) -> None:
        """Record a violation; only the first one counts, because it ends the simulation."""
        if self.violation is None:
            number = None if key is None else key.plan.number
            self.violation = Violation(rule, why, number, self._loop.time())

    def provider_restarted(self) -> None:
        """Forget what the provider has forgotten, which is everything."""
        self.domains = {number: DomainState() for number in self.domains}
        for number, key in self.keys.items():
            self.keys[number] = KeyState(key.plan, self.domains[key.plan.domain])

    def clocks_changed(self, *, slept: bool) -> None:
        """Note that the machine's clocks and the event loop's clock no longer agree."""
        boot, wall = self._now()
        self.clocks_changed_at = boot
        if slept:
            self.slept_at = boot
        for key in self.keys.values():
            token = key.token
            if token is not None and token.remaining(boot, wall) <= token.leeway:
                token.maybe_dropped = True

    # Callers

    def usable(self, key: KeyState) -> bool:
        """Tell whether a caller must get the last token without waiting."""
        token = key.token
        if token is None or token.maybe_dropped:
            return False
        return token.remaining(*self._now()) > token.leeway

    def token_returned(self, key: KeyState, token: AccessToken) -> None:
        """Check a token that a caller got."""
        self.count("tokens returned")
        held = key.token
        self._record(key, token.value)
        if held is None or held.value != token.value:
            self.report(Rule.REJECTION, key, f"{token.value} was returned, but is not held")
            return
        remaining = held.remaining(*self._now())
        held.used = True
        # Within a window, a hit compares one clock only, so the other clock may be late by as much.
        recently = self._machine.boot_time() - self.clocks_changed_at < 2
        slack = min(1.0, held.leeway) if recently else 0.0
        if remaining <= held.leeway - slack - TOLERANCE:
            why = f"a token was returned {remaining:.3f} s before its expiry"
            self.report(Rule.LIFETIME, key, why)

    def caller_waits(self, key: KeyState) -> None:
        """Check whether the provider could have had a usable token for a caller that waits."""
        key.waiters += 1
        key.wanted = True
        token = key.token
        if token is not None and (token.used or key.plan.kept_fresh):
            self._check_expiry(key, token)

    def _check_expiry(self, key: KeyState, token: HeldToken) -> None:
        """Check whether there is a reason why a token expired before it was renewed."""
        boot, _ = self._now()
        due = token.refresh_from
        excused = (
            token.maybe_dropped
            or self.clocks_changed_at >= token.sent_boot
            or key.server_group.pause_ended >= due
            or key.domain.saturated_at >= due
            or key.attempt_started is not None
            or token.not_retryable
        )
        if not excused and token.last_attempt_ended < token.last_attempt_at - TOLERANCE:
            ago = f"{boot - token.last_attempt_ended:.0f} s before"
            tried = ago if token.failed_renewals else "never"
            why = f"a token expired, and its last renewal was tried {tried}"
            self.report(Rule.UNNOTICED if token.used else Rule.IDLE, key, why)

    def waiter_got_token(self, key: KeyState, token: AccessToken, began: float) -> None:
        """Check a token that a caller got after it called at an instant of the event loop."""
        key.waiters -= 1
        self.token_returned(key, token)
        self._check_wait(key, began)

    def _check_wait(self, key: KeyState, began: float) -> None:
        elapsed = self._loop.time() - began
        boot, _ = self._now()
        if elapsed > MAX_WAIT + TOLERANCE and boot - self.slept_at > MAX_WAIT + MAX_CLOCK_SLEEP:
            self.report(Rule.NOTHING_LEFT, key, f"a caller waited for {elapsed:.1f} s")

    def waiter_left(self, key: KeyState) -> None:
        """Note that a waiter was cancelled."""
        key.waiters -= 1
        self.count("callers cancelled")
        self._record(key, "left")

    def waiter_failed(
        self, key: KeyState, error: TokenProviderError, began: float, *, waited: bool
    ) -> None:
        """Check an error that a caller got.

        Args:
            key: The caller's key.
            error: The error.
            began: When the caller called, in seconds of the event loop's time.
            waited: Whether the caller was suspended.
        """
        key.waiters -= 1
        self.count(type(error).__name__)
        self._record(key, type(error).__name__)
        if isinstance(error, FetchError):
            self._check_wait(key, began)
            self._check_error(key, error, self._loop.time() - began, waited=waited)
        elif not isinstance(error, ProviderStateError) or not self.closing:
            why = f"a caller got {type(error).__name__}: {error}"
            self.report(Rule.NOTHING_LEFT, key, why)

    def _check_error(
        self, key: KeyState, error: FetchError, elapsed: float, *, waited: bool
    ) -> None:
        boot, _ = self._now()
        if self.usable(key):
            why = "a caller got an error while a usable token was held"
            self.report(Rule.UNNOTICED, key, why)
        if error.attempts > ATTEMPTS + len(_IMMEDIATE_RETRIES):
            self.report(Rule.ONE_ERROR, key, f"a fetch made {error.attempts} attempts")
        self._check_copies(key, error, boot, waited=waited)
        if error.attempts == 0:
            if isinstance(error, RateLimitedError) and boot > key.server_group.pause_ended:
                self.report(Rule.LIMITS, key, "a caller's error names a pause that does not exist")
        elif waited and elapsed < MAX_WAIT - TOLERANCE:
            self._fetch_failed(key, boot)
        else:
            # A fetch may also fail between two attempts, some time after the last one.
            age = boot - max(key.attempt_failed_at, key.fetch_failed_at)
            if not waited and age > MAX_COOLDOWN + TOLERANCE:
                self.report(Rule.ONE_ERROR, key, f"an error is {age:.0f} s old")

    def _check_copies(self, key: KeyState, error: FetchError, boot: float, *, waited: bool) -> None:
        """Check that every waiter of a failed fetch gets its own copy of the error."""
        if key.errors_at != boot:
            key.errors, key.errors_at = [], boot
        if any(other is error for other in key.errors):
            self.report(Rule.ONE_ERROR, key, "two callers got the same error object")
        if waited:
            key.errors.append(error)

    def _fetch_failed(self, key: KeyState, boot: float) -> None:
        """Note that a flight ended without a token, which starts a cool-down."""
        if key.fetch_failed_at == boot:
            return  # another waiter of the same fetch
        key.failed_attempts = 0
        key.wanted = False
        token = key.token
        if token is not None and token.remaining(*self._now()) > token.leeway:
            return  # the wall clock was corrected meanwhile, so the fetch was a renewal
        # Two cases in which the provider has forgotten the number of failed fetches: no caller
        # used the key since the cool-down, or its token expired after the last failure. (A token
        # may outlive a failure, because wall clocks are corrected.)
        expiry = -math.inf if token is None else token.unusable_at
        expired_since = key.fetch_failed_at < expiry <= boot
        remembered = boot <= key.no_request_before + MAX_COOLDOWN and not expired_since
        key.fetch_failed_at = boot
        key.failed_fetches = key.failed_fetches + 1 if remembered else 1
        key.no_request_before = boot + min(MAX_COOLDOWN, 2.0 ** min(key.failed_fetches, 10)) / 2

    # Attempts

    def secret_requested(self, key: KeyState) -> None:
        """Check the start of an attempt, or of an immediate retry: the secret is requested."""
        boot, wall = self._now()
        if key.attempt_started is not None and key.refused_at == boot:
            self.count("immediate retries")
            self._check_pause(key, boot)
            key.retrying, key.refused_at = True, -math.inf
            return
        self.count("attempts")
        domain = key.domain
        if key.attempt_started is not None:
            self.report(Rule.SINGLE_FLIGHT, key, "two requests for one key were under way")
        self._check_pause(key, boot)
        if boot < key.no_request_before - TOLERANCE:
            why = f"{key.no_request_before - boot:.2f} s of a cool-down remained"
            self.report(Rule.ONE_ERROR, key, why)
        self._check_attempt(key, boot, wall)
        key.attempt_started = boot
        domain.attempting.add(key.plan.number)
        if (requests := len(domain.attempting)) > MAX_CONCURRENT_REQUESTS:
            self.report(Rule.LIMITS, key, f"{requests} requests of a domain were under way")
        self._check_renewals(key, boot)
        self._note_saturation(domain, boot)

    def _check_renewals(self, key: KeyState, boot: float) -> None:
        """Check that renewals leave places to callers: half, or one if they are in a hurry."""
        unwanted = [self.keys[number] for number in key.domain.attempting]
        unwanted = [key for key in unwanted if not key.wanted]
        hurried = sum(
            key.token is None or key.token.last_attempt_at <= boot + TOLERANCE for key in unwanted
        )
        if len(unwanted) - hurried > MAX_CONCURRENT_REQUESTS // 2:
            self.report(Rule.LIMITS, key, f"{len(unwanted)} renewals of a domain were under way")
        if len(unwanted) >= MAX_CONCURRENT_REQUESTS:
            self.report(Rule.LIMITS, key, "renewals had every place of a domain")

    def _check_pause(self, key: KeyState, boot: float) -> None:
        remaining = key.server_group.paused_until - boot
        if remaining > TOLERANCE:
            self.report(Rule.LIMITS, key, f"{remaining:.1f} s of a pause remained")

    def _check_attempt(self, key: KeyState, boot: float, wall: float) -> None:
        """Check whether there is a reason for an attempt."""
        token = key.token
        usable_for = 0.0 if token is None else token.remaining(boot, wall) - token.leeway
        if token is None or token.maybe_dropped or usable_for <= TOLERANCE:
            self._check_fetch(key, token, boot)
        else:
            self._check_renewal(key, token, boot)

    def _check_fetch(self, key: KeyState, token: HeldToken | None, boot: float) -> None:
        """Check that a caller wants the token of a fetch."""
        if key.plan.kept_fresh and token is not None:
            self._check_expiry(key, token)
        if key.wanted or key.plan.kept_fresh:
            return
        lost_at = key.dropped_at if token is None else min(token.unusable_at, boot)
        # A renewal may have waited at the gate, or for the secret, until its token expired.
        saturated = boot - key.domain.saturated_at < MAX_QUEUE_TIME
        patience = MAX_QUEUE_TIME if saturated else REQUEST_TIMEOUT
        excused = token is not None and self.clocks_changed_at >= token.sent_boot
        if boot - lost_at > patience and not excused:
            self.report(Rule.IDLE, key, "a token was fetched for no caller")

    def _check_renewal(self, key: KeyState, token: HeldToken, boot: float) -> None:
        """Check that a renewal is due, and that its token is used."""
        self.count("renewals")
        if boot < token.refresh_from - TOLERANCE:
            why = f"a renewal started {token.refresh_from - boot:.1f} s too early"
            self.report(Rule.IN_TIME, key, why)
        if boot < token.retry_after - TOLERANCE:
            why = f"a renewal was tried again {token.retry_after - boot:.2f} s too early"
            self.report(Rule.UNNOTICED, key, why)
        if not token.used and not key.plan.kept_fresh:
            self.report(Rule.IDLE, key, "an unused token was renewed")

    def request_sent(self, key: KeyState) -> None:
        """Check that the secret was requested for a request."""
        self.count("requests")
        if key.attempt_started is None:
            self.report(
                Rule.FRESH_CREDENTIAL, key, "a request was sent without requesting the secret"
            )
        key.sent_at = self._now()
        key.retrying = False

    def nonce_demanded(self, key: KeyState, valid: range) -> None:
        """Check that the provider did not know any of the nonces that are valid now."""
        self.count("nonces demanded")
        group, (boot, _) = key.server_group, self._now()
        known = group.nonce in valid
        # A proof that was signed meanwhile may contain the previous nonce.
        if known and boot - group.nonce_received_at > 2 * REQUEST_TIMEOUT:
            self.report(Rule.FRESH_CREDENTIAL, key, "a proof was sent without the last nonce")

    def secret_returned(self, key: KeyState, secret: str) -> None:
        """Note a secret: an immediate retry with the refused secret does not send a request."""
        refused = key.refused_status == HTTPStatus.UNAUTHORIZED
        if key.retrying and refused and secret == key.last_secret:
            self._attempt_failed(key, not_retryable=True)
        key.last_secret = secret

    def secret_failed(self, key: KeyState) -> None:
        """Note that the callable for the secret raised an error."""
        self._record(key, "no secret")
        self._attempt_failed(key, not_retryable=True)

    def response_received(
        self,
        key: KeyState,
        status: int,
        headers: CIMultiDict[str],
        issued: tuple[str, int] | None,
    ) -> None:
        """Note a complete response.

        Args:
            key: The request's key.
            status: The response's status.
            headers: The response's headers.
            issued: The token in the response and its lifetime in seconds.
        """
        self._record(key, str(status))
        boot, wall = self._now()
        if issued is not None:
            value, lifetime = issued
            replaces_rejected = self._replaces_rejected(key, boot, wall)
            token = HeldToken(value, *key.sent_at, lifetime, boot, replaces_rejected)
            if token.remaining(boot, wall) > token.leeway:
                self._token_received(key, token)
                return
        group = key.server_group
        if (nonce := headers.get("DPoP-Nonce")) is not None and int(nonce) != group.nonce:
            group.nonce, group.nonce_received_at = int(nonce), boot
        if status in _IMMEDIATE_RETRIES and status not in key.retried_statuses:
            key.retried_statuses.add(status)
            key.refused_status, key.refused_at = status, boot
            self._loop.call_soon(self._check_immediate_retry, key)
            return
        limited = status == HTTPStatus.TOO_MANY_REQUESTS
        if limited:
            self._rate_limited(key, headers, boot)
        not_retryable = 300 <= status < 500 and not limited
        self._attempt_failed(key, not_retryable=not_retryable, limited=limited)

    def _check_immediate_retry(self, key: KeyState) -> None:
        """Check, a turn of the loop after a refusal, that only a pause prevented the retry."""
        if key.refused_at > -math.inf:
            boot, _ = self._now()
            if boot > key.server_group.pause_ended:
                why = f"a refusal ({key.refused_status}) had no immediate retry, without a pause"
                self.report(Rule.FRESH_CREDENTIAL, key, why)
            self._attempt_failed(key, not_retryable=key.refused_status == HTTPStatus.UNAUTHORIZED)

    def attempt_aborted(self, key: KeyState, error: BaseException | None) -> None:
        """Note an attempt that ended without a response."""
        self._record(key, type(error).__name__)
        boot, _ = self._now()
        began = key.attempt_started or boot
        if isinstance(error, asyncio.CancelledError) and not self.closing:
            self.count("time-outs")
            # The last of several attempts has the rest of the fetch's total time-out.
            if boot - began < REQUEST_TIMEOUT - 1 - TOLERANCE and key.failed_attempts < 2:
                why = f"a request was cancelled after {boot - began:.2f} s"
                self.report(Rule.SINGLE_FLIGHT, key, why)
        self._attempt_failed(key, not_retryable=key.retrying)

    def _token_received(self, key: KeyState, token: HeldToken) -> None:
        self.count("tokens fetched")
        self._attempt_ended(key)
        token.used = key.waiters > 0
        key.token = token
        key.rejected = key.wanted = False
        key.failed_fetches = key.failed_attempts = 0
        key.no_request_before = -math.inf

    def _replaces_rejected(self, key: KeyState, boot: float, wall: float) -> bool | None:
        """Tell whether a token that arrives now replaces a rejected one."""
        if not key.rejected:
            return False
        token = key.token
        remembered = (
            boot - key.dropped_at < FIRST_DAMPING
            if token is None
            else not token.maybe_dropped and token.remaining(boot, wall) > token.leeway
        )
        return remembered or None

    def _note_saturation(self, domain: DomainState, boot: float) -> None:
        """Note whether renewals may have to wait at the gate.

        Half of the places are enough for that: the referee cannot tell which of the attempts
        started as renewals, because a caller may have joined them.
        """
        if len(domain.attempting) >= MAX_CONCURRENT_REQUESTS // 2:
            domain.saturated_at = boot

    def _attempt_ended(self, key: KeyState) -> None:
        self._note_saturation(key.domain, self._machine.boot_time())
        key.attempt_started = None
        key.refused_status, key.refused_at, key.retrying = 0, -math.inf, False
        key.retried_statuses.clear()
        key.domain.attempting.discard(key.plan.number)

    def _attempt_failed(
        self, key: KeyState, *, not_retryable: bool = False, limited: bool = False
    ) -> None:
        self.count("failed attempts")
        boot, wall = self._now()
        self._attempt_ended(key)
        key.attempt_failed_at = boot
        key.failed_attempts += 1
        token = key.token
        if token is not None:
            token.last_attempt_ended = boot
            token.not_retryable = not_retryable
        if key.wanted:
            return
        key.failed_attempts = 0  # a flight without waiters makes one attempt
        if token is None or token.remaining(boot, wall) <= token.leeway:
            if not limited:
                self._fetch_failed(key, boot)
        elif limited:
            token.retry_after = max(token.retry_after, key.server_group.paused_until)
        else:
            token.failed_renewals += 1
            if token.failed_renewals > token.max_failures:
                why = f"a renewal failed {token.failed_renewals} times"
                self.report(Rule.IN_TIME, key, why)
            cap, base = token.backoff
            shortest = min(cap, base * 2.0 ** min(token.failed_renewals - 1, 30)) / 2
            end = token.last_attempt_at if boot < token.last_attempt_at else token.unusable_at
            token.retry_after = min(boot + shortest, end)

    def _rate_limited(self, key: KeyState, headers: Mapping[str, str], boot: float) -> None:
        """Note the pause that a 429 requests."""
        concurrency = headers["X-Rate-Limit-Limit"] == "0"
        self.count("429s: concurrency limit" if concurrency else "429s: rate limit")
        group = key.server_group
        reset = int(headers["X-Rate-Limit-Reset"])
        date = parsedate_to_datetime(headers["Date"]).timestamp()
        requested = min(max(reset - date + 1, 0.0), MAX_PAUSE)
        shortest = min(requested, 2.0) if concurrency else requested
        group.paused_until = max(group.paused_until, boot + shortest)
        # A renewal starts up to ten seconds after the end of a pause.
        group.pause_ended = max(group.pause_ended, boot + MAX_PAUSE + 10)

    # Rejections

    def token_rejected(self, key: KeyState, value: str, *, dropped: bool) -> None:
        """Check whether the provider dropped a token that a caller reported as rejected."""
        self.count("rejections")
        token = key.token
        boot, wall = self._now()
        if token is None or token.value != value:
            if dropped:
                self.report(Rule.REJECTION, key, "a token was dropped that was not held")
            return
        age = boot - token.received_at
        if dropped:
            self.count("tokens dropped")
            if token.replaces_rejected and age < FIRST_DAMPING - TOLERANCE:
                self.report(Rule.REJECTION, key, f"a replacement was dropped after {age:.2f} s")
            key.rejections = [at for at in key.rejections if at > boot - 3_600] + [boot]
            if (drops := len(key.rejections)) > REJECTIONS_AN_HOUR:
                self.report(Rule.REJECTION, key, f"{drops} tokens were dropped in an hour")
            key.token, key.dropped_at = None, boot
            key.rejected = True
        else:
            key.rejected = True
            damped = token.replaces_rejected is not False and age < MAX_DAMPING + TOLERANCE
            gone = token.maybe_dropped or token.remaining(boot, wall) <= token.leeway
            if not damped and not gone:
                self.report(Rule.REJECTION, key, "a rejected token was kept")

    def _now(self) -> tuple[float, float]:
        return self._machine.boot_time(), self._machine.wall_time()
