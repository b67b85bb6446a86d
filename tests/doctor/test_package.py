"""The doctor as a package."""

from __future__ import annotations

import logging

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.doctor import diagnose
from okta_tokens.events import Event, ProviderNotReused
from okta_tokens.sandbox import Sandbox
from tests.support import default_client
from tests.test_imports import loaded_by


def test_the_doctor_needs_no_terminal_and_no_extra() -> None:
    """A service that runs the checks loads neither the command nor what only the command needs."""
    loaded = loaded_by("import okta_tokens.doctor") - loaded_by("import structlog")
    not_needed = {"argparse", "okta_tokens.cli", "okta_tokens.sandbox", "redis", "rich"}

    assert not loaded & not_needed


async def test_a_diagnosis_leaves_no_trace_in_the_service(caplog: pytest.LogCaptureFixture) -> None:
    """What the doctor finds is no event of the service's log, and its provider warns of nothing."""
    caplog.set_level(logging.DEBUG, "okta_tokens")
    events: list[Event] = []
    async with Sandbox() as sandbox:
        client = default_client(sandbox)
        wrong = OktaClient(sandbox.origin, client.client_id, ClientSecretBasic("a-wrong-secret"))
        results = [await diagnose(each, "customScope") for each in (client, wrong)]
        logged = [record for record in caplog.records if record.name == "okta_tokens"]
        async with TokenProvider(observers=[events.append]) as provider:
            await provider.get_token(client, "customScope")

    assert [result.ok for result in results] == [True, False]
    assert logged == []
    assert ProviderNotReused not in map(type, events)
