"""Send commands to a running sandbox on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from okta_tokens.cli._console import FAILED, MISCONFIGURED
from okta_tokens.cli.sandbox.address import reachable

_SERVER = "okta-tokens-sandbox"
_TIMEOUT = 10.0
_MAX_BODY = 1024 * 1024
_OK = 200
_NOT_FOUND = 404


class ControlError(Exception):
    """A command that no sandbox obeyed.

    Args:
        message: What is wrong, and what to do.
        exit_code: The exit code of the command.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ControlClient:
    """A client for the control endpoint of a sandbox. It uses no proxy.

    Args:
        host: The address on which the sandbox listens.
        port: The port on which the sandbox listens.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = reachable(host)
        self._port = port
        self._where = f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    def report(self) -> dict[str, Any]:
        """Return the counters, faults and settings of the sandbox.

        Raises:
            ControlError: If no sandbox that can be steered listens there.
        """
        return self._exchange("GET", "/control")

    def send(self, name: str, members: Mapping[str, object]) -> dict[str, Any]:
        """Send a command.

        The report is requested first, so that only a sandbox gets a new secret.

        Args:
            name: The name of the command.
            members: Its members; those that are `None` are left out.

        Returns:
            The response, with a message for the user.

        Raises:
            ControlError: If no sandbox that can be steered listens there, or the sandbox refuses
                the command.
        """
        self.report()
        given = {member: value for member, value in members.items() if value is not None}
        return self._exchange("POST", f"/control/{name}", json.dumps(given))

    def _exchange(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        connection = HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read(_MAX_BODY)
        except HTTPException:
            raise self._no_sandbox() from None
        except OSError as error:
            raise ControlError(
                f"no sandbox answers at {self._where} ({error.strerror or error}). "
                "Start one with okta-tokens sandbox, or name the port of a running one with --port."
            ) from None
        finally:
            connection.close()
        return self._result(response, content)

    def _result(self, response: HTTPResponse, content: bytes) -> dict[str, Any]:
        try:
            result = json.loads(content)
        except (ValueError, RecursionError):
            result = None
        if response.headers["Server"] != _SERVER or not isinstance(result, dict):
            raise self._no_sandbox()
        if response.status == _NOT_FOUND:
            raise ControlError(
                f"the sandbox at {self._where} cannot be steered. Start it with "
                "okta-tokens sandbox, or with Sandbox(control=True)."
            )
        if response.status != _OK:
            raise ControlError(str(result.get("error_description")), MISCONFIGURED)
        return result

    def _no_sandbox(self) -> ControlError:
        return ControlError(
            f"what listens at {self._where} is not a sandbox. "
            "Name the port of a running sandbox with --port."
        )
