"""A network that delivers nothing between some processes and their store."""

from __future__ import annotations

import pytest

from tests.stores.servers import server
from tests.stores.topologies.fleet import fleet
from tests.stores.topologies.link import link

pytestmark = pytest.mark.timeout(60)


async def test_the_half_without_the_store_works_alone_and_comes_back() -> None:
    """The processes on the store's side go on to share, the others work alone until they return."""
    async with server() as shared, link(shared.port) as network:
        far = f"redis://127.0.0.1:{network.port}/0"
        async with fleet([shared.url, shared.url, far, far]) as processes:
            near, away = processes.processes[:2], processes.processes[2:]
            async with processes.under_load() as load:
                await load.renewals(1)
                network.cut()
                await load.outages(away)
                await load.renewals(2)
                requests = await processes.requests_for_a_new_token()
                network.restore()
                await load.recovery()

            assert requests == 1 + len(away)
            assert [process.events for process in near] == [[], []]
            await processes.assert_unharmed(load)
