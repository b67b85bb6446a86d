"""A user with the least rights, who loses them for a while."""

from __future__ import annotations

import pytest

from tests.stores.servers import execute, server
from tests.stores.topologies.fleet import fleet
from tests.stores.topologies.guide import RIGHTS

pytestmark = pytest.mark.timeout(60)


async def test_a_user_may_lose_the_rights_for_a_while() -> None:
    """Processes whose user has the least rights share; without the rights they work alone."""
    async with server(user=f"fleet on >password {RIGHTS}") as shared:
        url = f"redis://fleet:password@127.0.0.1:{shared.port}/0"
        async with fleet([url, url, url]) as processes:
            async with processes.under_load() as load:
                await load.renewals(4)
                events = [process.events[:] for process in processes.processes]
                await execute(shared.client, "ACL SETUSER", "fleet", "nocommands")
                await load.outages(processes.processes)
                await execute(shared.client, "ACL SETUSER", "fleet", *RIGHTS.split())
                await load.recovery()

            assert events == [[], [], []]
            await processes.assert_unharmed(load)
