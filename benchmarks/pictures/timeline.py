"""The life of one token through an outage of Okta: measured in virtual time, and drawn."""

from __future__ import annotations

import random
from typing import Final

from benchmarks.pictures import Data
from benchmarks.pictures.rows import Band, Rows
from benchmarks.pictures.svg import Picture, Role
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import FetchError
from okta_tokens.sandbox import Sandbox, SandboxClient
from okta_tokens.testing import ManualClock

_LIFETIME: Final = 3_600
_BEGIN: Final = 45 * 60
_OUTAGE: Final = (48 * 60, 57 * 60)
_END: Final = 65 * 60
_SEED: Final = 1
_OK = 200

_STATES: Final[dict[str, tuple[Role, str]]] = {
    "fresh": ("good", "fresh"),
    "due": ("due", "due: still usable"),
    "expired": ("bad", "expired"),
    "cooling down": ("bad", "cooling down"),
}
_APP = SandboxClient("0oatimeline", ["timeline-secret"], scopes=["orders:read"])


async def measure() -> Data:
    """Let Okta fail while a token that is used every second is due, and record what happens.

    Returns:
        Instants in seconds since the first token, states, the status of each token request, and
        how many calls between `begin` and `end` got a token at once, waited or failed.
    """
    random.seed(_SEED)  # the provider draws from it
    clock = ManualClock()
    begun = clock.wall
    calls = {"at once": 0, "waited": 0, "failed": 0}
    states: list[tuple[int, str]] = []
    client = [_APP]
    async with (
        Sandbox(client, lifetime=_LIFETIME, wall_time=clock.wall_time) as sandbox,
        TokenProvider(clock=clock) as provider,
    ):
        clock.watch(provider)
        acme = OktaClient(sandbox.origin, _APP.client_id, ClientSecretBasic(_APP.secrets[0]))
        source = provider.source(acme, "orders:read")
        await source.get_token()
        sandbox.outage_windows = [(begin, end - begin) for begin, end in [_OUTAGE]]
        for now in range(_END):
            calls[_call(source)] += now >= _BEGIN
            (status,) = provider.inspect()
            if not states or states[-1][1] != status.state:
                states.append((now, status.state))
            await clock.advance(1)
        requests = [(round(each.at - begun, 1), each.status) for each in sandbox.received]
    return {
        "lifetime": _LIFETIME,
        "begin": _BEGIN,
        "outage": _OUTAGE,
        "end": _END,
        "states": states,
        "requests": requests,
        "calls": calls,
    }


def _call(source: TokenSource) -> str:
    """Get a token without waiting; return how that ended."""
    call = source.get_token()
    try:
        call.send(None)
    except StopIteration:
        return "at once"
    except FetchError:
        return "failed"
    call.close()
    return "waited"


def draw(data: Data, source: str, width: int) -> str:
    """Draw the token's life around the outage.

    Args:
        data: What `measure` returned.
        source: Where the figures come from.
        width: The width of the picture in pixels.
    """
    begin, end = data["outage"]
    minutes = (end - begin) / 60
    requests = [each for each in data["requests"] if each[0] > 0]
    renewed_at = next(instant for instant, status in requests if status == _OK)
    failures = [status for _, status in requests if status != _OK]
    failed = len(failures)
    answer = ", ".join(map(str, sorted({*failures})))
    calls = data["calls"]
    served = _served(calls)
    unnoticed = calls["waited"] == calls["failed"] == 0
    picture = Picture(
        f"Okta fails for {minutes:g} minutes" + ", and no caller notices" * unnoticed,
        f"A timeline of one token with a lifetime of {data['lifetime'] // 60} minutes. The token "
        f"endpoint fails from minute {begin / 60:g} to minute {end / 60:g}. The provider tries to "
        f"renew the token {failed} times in vain and succeeds at minute {renewed_at / 60:.1f}. "
        f"{served[0]}. {source}",
        width,
    )
    picture.paragraph(
        f"A token lives for {data['lifetime'] // 60} minutes, and its renewal falls due during the "
        "outage. The provider repeats the renewal. Callers keep getting the token that is held.",
        role="muted",
    )
    picture.y += 14
    rows = Rows(picture, data["begin"], data["end"])
    rows.bands(
        "Okta",
        "",
        [
            (begin, "good", ["answers", "up"]),
            (end, "bad", [f"{answer} to every request", answer]),
            (data["end"], "good", ["answers", "up"]),
        ],
    )
    expires = data["lifetime"]
    rows.bands("First token", f"expires at minute {expires / 60:g}", _first_token(data, renewed_at))
    rows.marks(
        "Renewals",
        f"{failed} failed (×), {len(requests) - failed} succeeded (●)",
        [(instant, status == _OK) for instant, status in requests],
    )
    rows.bands(
        "Second token",
        f"fetched at minute {renewed_at / 60:.1f}",
        [(renewed_at, None, []), (data["end"], "good", ["fresh"])],
    )
    rows.bands("Callers", "one call each second", [(data["end"], "ours", served)])
    rows.axis()
    picture.y += 6
    picture.paragraph(source, role="muted", size=11)
    return picture.render()


def _served(calls: dict[str, int]) -> list[str]:
    """Return how the calls ended, in two lengths."""
    total = f"{sum(calls.values()):,} calls:"
    others = f"{calls['waited']:,} waited, {calls['failed']:,} failed"
    return [f"{total} {calls['at once']:,} got a token at once, {others}", f"{total} {others}"]


def _first_token(data: Data, renewed_at: float) -> list[Band]:
    """Return the states of the entry until the renewal, and what remained of the token's life."""
    states = [state for state in data["states"] if state[0] < renewed_at]
    ends = [*(instant for instant, _ in states[1:]), renewed_at]
    bands: list[Band] = []
    for (_, state), end in zip(states, ends, strict=True):
        role, text = _STATES[state]
        bands.append((end, role, [text, state]))
    return [*bands, (data["lifetime"], "muted", ["spare"])]
