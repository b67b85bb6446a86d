"""Compare the received requests with what a test expects, and show them in a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from okta_tokens.sandbox._clients import scope_set
from okta_tokens.sandbox._received_request import ReceivedRequest

_SHOWN: Final = 50
_HEAD: Final = ("", "time (UTC)", "path", "client", "method", "scopes", "status", "error")


def matching(
    requests: Iterable[ReceivedRequest],
    *,
    scopes: str | Iterable[str] | None,
    client_id: str | None,
    status: int | None,
    path: str | None,
) -> list[ReceivedRequest]:
    """Return the requests that have all given properties.

    Args:
        requests: The received requests.
        scopes: The requested scopes, in any order.
        client_id: The id of the client.
        status: The status of the response.
        path: The path; ``None`` is the token endpoint of any authorization server.
    """
    names = None if scopes is None else scope_set(scopes if type(scopes) is str else [*scopes])
    return [
        request
        for request in requests
        if (request.path.endswith("/v1/token") if path is None else request.path == path)
        and names in {None, frozenset(request.scopes)}
        and client_id in {None, request.client_id}
        and status in {None, request.status}
    ]


def table(requests: Sequence[ReceivedRequest], matched: Sequence[ReceivedRequest]) -> str:
    """Return the last requests as a table without secrets, in which the matched ones have a mark.

    Args:
        requests: The received requests.
        matched: Those of them that match.
    """
    if not requests:
        return "The sandbox received no request."
    rows = [_HEAD, *(_row(request, request in matched) for request in requests[-_SHOWN:])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    more = len(requests) - _SHOWN
    return "\n".join([*lines, *[f"{more} earlier requests are not shown."] * (more > 0)])


def _row(request: ReceivedRequest, matches: bool) -> tuple[str, ...]:  # noqa: FBT001 — private
    return (
        "*" if matches else "",
        f"{datetime.fromtimestamp(request.at, UTC):%H:%M:%S.%f}"[:-3],
        request.path,
        request.client_id or "-",
        request.method or "-",
        " ".join(request.scopes) or "-",
        "dropped" if request.status is None else str(request.status),
        request.error or "-",
    )
