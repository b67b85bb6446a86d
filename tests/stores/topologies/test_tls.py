"""A server that wants a certificate of each client."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlencode

import trustme

from tests.stores.servers import encrypted, server
from tests.stores.topologies.fleet import LONG_TIMEOUT, fleet


class Certificates:
    """The certificates of a server and of its clients.

    Attributes:
        context: The context of the server, which requires certificates of its own authority.

    Args:
        folder: An empty folder for the files of the clients.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.configure_trust(self.context)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.renew()

    def renew(self) -> None:
        """Give the server another certificate, which it presents to each new connection."""
        self._authority.issue_cert("localhost").configure_cert(self.context)

    def issue(self, client: str, name: str, authority: trustme.CA | None = None) -> Path:
        """Write the certificate of a client to the client's file, and return the file.

        Args:
            client: The client.
            name: The name in the certificate.
            authority: The authority of the certificate; by default the one that the server trusts.
        """
        file = self._folder / f"{client}.pem"
        issued = (authority or self._authority).issue_cert(name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))
        return file

    def url(self, port: int, name: str, authority: trustme.CA | None = None) -> str:
        """Return the URL with which a client presents a certificate.

        Args:
            port: The port of the server.
            name: The name of the client.
            authority: As for `issue`.
        """
        file = self.issue(name, name, authority)
        options = {"ssl_ca_certs": self._folder / "ca.pem", "ssl_certfile": file}
        return f"rediss://localhost:{port}/0?{urlencode(options)}"


async def test_a_server_may_renew_its_certificate(tmp_path: Path) -> None:
    """If a server renews its certificate, processes with certificates connect again and share."""
    certificates = Certificates(tmp_path)
    async with server() as shared, encrypted(shared, certificates.context) as port:
        urls = [certificates.url(port, name) for name in ("orders", "stock", "billing")]
        async with fleet(urls, LONG_TIMEOUT) as processes:
            async with processes.under_load() as load:
                await load.renewals(1)
                certificates.renew()
                await shared.client.client_kill_filter(_type="normal", skipme=True)
                await load.renewals(2)

            assert [process.events for process in processes.processes] == [[], [], []]
            await processes.assert_unharmed(load)


async def test_the_certificates_of_clients_may_be_replaced(tmp_path: Path) -> None:
    """If the files of clients are replaced, and the earlier certificates revoked, all share."""
    certificates, names, revoked = Certificates(tmp_path), ("orders", "stock"), set[str]()
    async with server() as shared, encrypted(shared, certificates.context, revoked) as port:
        urls = [certificates.url(port, name) for name in names]
        async with fleet(urls, LONG_TIMEOUT) as processes:
            async with processes.under_load() as load:
                await load.renewals(1)
                for name in names:
                    certificates.issue(name, f"new-{name}")
                revoked.update(names)
                await shared.client.client_kill_filter(_type="normal", skipme=True)
                await load.renewals(2)

            assert [process.events for process in processes.processes] == [[], []]
            await processes.assert_unharmed(load)


async def test_a_process_without_a_valid_certificate_works_alone(tmp_path: Path) -> None:
    """A process whose certificate the server refuses gets tokens; the others go on to share."""
    certificates = Certificates(tmp_path)
    async with server() as shared, encrypted(shared, certificates.context) as port:
        urls = [certificates.url(port, "orders"), certificates.url(port, "stock")]
        stranger = certificates.url(port, "stranger", trustme.CA())
        async with fleet([*urls, stranger], LONG_TIMEOUT) as processes:
            assert await processes.requests_for_a_new_token() == 2
            assert [process.has_a_store for process in processes.processes] == [True, True, False]
