"""The client: who asks which authorization server, and how it proves who it is."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from okta_tokens._auth.authentication import ClientAuthentication
from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._auth.client_secret import ClientSecretBasic, secret_problem
from okta_tokens._auth.dpop import DPoP
from okta_tokens._model.urls import is_address, is_loopback, split
from okta_tokens.errors import ConfigurationError

ORG_SERVER = "org"
"""How the environment and the command line spell the org's own authorization server."""

_OKTA_DOMAINS = (
    "okta.com",
    "oktapreview.com",
    "okta-emea.com",
    "okta-gov.com",
    "okta.mil",
    "okta-miltest.com",
    "trex-govcloud.com",
)
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_MAX_HOST = 253  # RFC 1035 §2.3.4, without the final dot and as text
_SERVER_ID = re.compile(r"[A-Za-z0-9_-]+")
_PLACEHOLDER = re.compile(r"[{}<>$]|your-?okta-?domain", re.IGNORECASE)


class OktaClient:
    """A client of one authorization server: what, with the scopes, decides which token comes back.

    It is immutable and hashable. Two are equal if they ask the same server as the same client with
    the same credential.

    Args:
        domain: The Okta host, `acme.okta.com` or a custom one, as `host[:port]`. A leading
            `https://` and a trailing slash are dropped, upper case is lowered. `http://` is for a
            server on this machine.
        client_id: The id of the app, `0oa…`.
        authentication: How it authenticates: `ClientSecretBasic`, `ClientSecretPost`,
            `ClientSecretJWT` or `PrivateKeyJWT`.
        authorization_server: The id of a custom authorization server; None for the org's own.
        dpop: Asks for tokens that are bound to its key; None for bearer tokens.

    Raises:
        ConfigurationError: If a value cannot be right. The message lists every problem, and repeats
            no value.
    """

    __slots__ = (
        "_hash",
        "authentication",
        "authorization_server",
        "client_id",
        "domain",
        "dpop",
        "origin",
    )

    domain: str
    """The host and port, as they stand in the URL."""
    origin: str
    """The domain with its scheme: `https://acme.okta.com`."""
    client_id: str
    authentication: ClientAuthentication
    authorization_server: str | None
    dpop: DPoP | None
    _hash: int

    def __init__(
        self,
        domain: str,
        client_id: str,
        authentication: ClientAuthentication,
        *,
        authorization_server: str | None = "default",
        dpop: DPoP | None = None,
    ) -> None:
        origin, domain_problems = _parse_domain(domain)
        problems = [
            *(f"domain: {problem}" for problem in domain_problems),
            *(f"client_id: {problem}" for problem in _client_id_problems(client_id)),
            *(f"authentication: {problem}" for problem in _method_problems(authentication)),
            *(
                f"authorization_server: {problem}, or None for the org's own"
                for problem in _server_problems(authorization_server)
            ),
            *(f"dpop: {problem}" for problem in _dpop_problems(dpop)),
        ]
        if problems:
            # An error tracker records the locals of the frame that raises, and people do put
            # a password into a URL or a secret into the wrong place.
            del self, domain, client_id, authentication, authorization_server, dpop, origin
            _refuse("OktaClient", problems)
        values = {
            "domain": origin.partition("://")[2],
            "origin": origin,
            "client_id": client_id,
            "authentication": authentication,
            "authorization_server": authorization_server,
            "dpop": dpop,
            "_hash": hash((origin, client_id, authentication, authorization_server, dpop)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> OktaClient:
        """Make a client from the environment variables of Okta's own SDKs, and two more.

        `OKTA_CLIENT_ORGURL` is the domain, `OKTA_CLIENT_CLIENTID` the client id. Either
        `OKTA_CLIENT_SECRET` is the secret, sent as HTTP Basic credentials; or
        `OKTA_CLIENT_PRIVATEKEY` is the private key for `PrivateKeyJWT`, as PEM, as a JWK or as the
        path of a file of one of them, and `OKTA_CLIENT_PRIVATEKEYID` its `kid`.
        `OKTA_CLIENT_AUTHORIZATIONSERVER` is the authorization server's id, `default` if it is not
        set; `org` means the org's own. `OKTA_CLIENT_DPOPENABLED`, `true` or `false`, asks for
        tokens that are bound to a new key.

        Args:
            environ: Where to look; the process's environment if None.

        Raises:
            ConfigurationError: If one is missing, or cannot be right. The message lists every
                problem.
        """
        variables = os.environ if environ is None else environ
        domain, client_id, server, dpop = (
            variables.get(f"OKTA_CLIENT_{name}") or default
            for name, default in (
                ("ORGURL", ""),
                ("CLIENTID", ""),
                ("AUTHORIZATIONSERVER", "default"),
                ("DPOPENABLED", "false"),
            )
        )
        method = _method_of(variables)
        problems = [
            *(f"OKTA_CLIENT_ORGURL: {problem}" for problem in _parse_domain(domain)[1]),
            *(f"OKTA_CLIENT_CLIENTID: {problem}" for problem in _client_id_problems(client_id)),
            *([method] if isinstance(method, str) else []),
            *(
                f"OKTA_CLIENT_AUTHORIZATIONSERVER: {problem}, or {ORG_SERVER} for the org's own"
                for problem in _server_problems(server)
            ),
        ]
        if str(dpop).lower() not in {"true", "false"}:
            problems.append("OKTA_CLIENT_DPOPENABLED: must be true or false")
        if problems or isinstance(method, str):
            del domain, client_id, server, dpop, method, variables, environ
            _refuse("environment", problems)
        return cls(
            domain,
            client_id,
            method,
            authorization_server=None if server == ORG_SERVER else server,
            dpop=DPoP() if dpop.lower() == "true" else None,
        )

    @property
    def token_url(self) -> str:
        """The URL of the token endpoint; the one that is requested, to the letter."""
        return self._endpoint("token")

    @property
    def revocation_url(self) -> str:
        """The URL of the revocation endpoint; the one that is requested, to the letter."""
        return self._endpoint("revoke")

    def _endpoint(self, name: str) -> str:
        server = self.authorization_server
        return f"{self.origin}/oauth2{f'/{server}' if server else ''}/v1/{name}"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: a client is part of the cache's keys."""
        del value  # it may be a secret
        message = f"{type(self).__name__} is immutable; make another one"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse: a client is part of the cache's keys."""
        message = f"{type(self).__name__} is immutable"
        raise AttributeError(message)

    def __eq__(self, other: object) -> bool:
        """Compare everything that changes which token comes back, or who may have it."""
        if not isinstance(other, OktaClient):
            return NotImplemented
        return self is other or (
            self._hash == other._hash
            and self.origin == other.origin
            and self.client_id == other.client_id
            and self.authorization_server == other.authorization_server
            and self.authentication == other.authentication
            and self.dpop == other.dpop
        )

    def __hash__(self) -> int:
        """Return the hash, which was computed once."""
        return self._hash

    def __repr__(self) -> str:
        """Return the call that makes an equal client, without its secret."""
        dpop = "" if self.dpop is None else f", dpop={self.dpop!r}"
        return (
            f"OktaClient({self.origin!r}, {self.client_id!r}, {self.authentication!r}, "
            f"authorization_server={self.authorization_server!r}{dpop})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by the constructor: hashes of strings differ between processes."""
        return (
            _rebuild,
            (
                self.origin,
                self.client_id,
                self.authentication,
                self.authorization_server,
                self.dpop,
            ),
        )


def _method_of(variables: Mapping[str, str]) -> ClientSecretBasic | PrivateKeyJWT | str:
    """Return how the environment says to authenticate, or what is wrong with that."""
    secret, key = (variables.get(f"OKTA_CLIENT_{name}") for name in ("SECRET", "PRIVATEKEY"))
    if not secret and not key:
        return "OKTA_CLIENT_SECRET: is empty, and so is OKTA_CLIENT_PRIVATEKEY"
    if secret and key:
        return "OKTA_CLIENT_SECRET: is set, and so is OKTA_CLIENT_PRIVATEKEY; give one of them"
    if not key:
        problem = secret_problem(secret or "")
        return f"OKTA_CLIENT_SECRET: {problem}" if problem else ClientSecretBasic(secret or "")
    kid = variables.get("OKTA_CLIENT_PRIVATEKEYID") or None
    is_path = "BEGIN " not in key and not key.lstrip().startswith("{")
    try:
        return PrivateKeyJWT(Path(key) if is_path else key, kid=kid)
    except ConfigurationError as error:
        return f"OKTA_CLIENT_PRIVATEKEY: {str(error).removeprefix('PrivateKeyJWT: ')}"


def _rebuild(
    origin: str,
    client_id: str,
    authentication: ClientAuthentication,
    server: str | None,
    dpop: DPoP | None,
) -> OktaClient:
    return OktaClient(origin, client_id, authentication, authorization_server=server, dpop=dpop)


def _refuse(what: str, problems: list[str]) -> NoReturn:
    message = f"{what}: {'; '.join(problems)}"
    raise ConfigurationError(message)


def _parse_domain(domain: object) -> tuple[str, list[str]]:
    """Return the origin of a domain, and what is wrong with it; the problems repeat no value."""
    if not isinstance(domain, str) or not domain.strip():
        return "", ["is empty; give the Okta host, like acme.okta.com"]
    if _PLACEHOLDER.search(domain):
        return "", ["is a placeholder; put your Okta host in its place"]
    if any(character.isspace() for character in domain):
        return "", ["holds white space"]
    parsed = split(domain if "://" in domain else f"https://{domain}")
    if parsed is None:
        return "", ["is no host[:port]"]
    url, origin = parsed
    return origin, _domain_problems(domain, url)


def _domain_problems(domain: str, url: SplitResult) -> list[str]:
    host = url.hostname or ""
    problems = []
    if url.scheme not in {"https", "http"}:
        problems.append("the scheme must be https")
    if url.scheme == "http" and not is_loopback(host):
        problems.append("plain http would send the secret in clear; only this machine may use it")
    if "@" in url.netloc:
        problems.append("holds a user name or password; credentials go into the authentication")
    if url.path not in {"", "/"}:
        problems.append("holds a path; give the host alone, and authorization_server by itself")
    if set(domain) & {"?", "#"}:
        problems.append("holds a query or fragment; give the host alone")
    if not url.netloc.isascii() or not (_is_name(host) or is_address(host)):
        problems.append("is no host name (an international one is written in its xn-- form)")
    if url.port == 0:
        problems.append("port 0 is none")
    if any(host.endswith(f"-admin.{base}") for base in _OKTA_DOMAINS):
        problems.append("is the admin console's host; leave -admin out")
    if any(host.endswith(f"{base}.com") for base in _OKTA_DOMAINS if base.endswith(".com")):
        problems.append("ends in .com twice")
    return problems


def is_okta(origin: str, client: OktaClient) -> bool:
    """Tell whether an API is Okta's own.

    Args:
        origin: The API's: scheme, host and port.
        client: A client, whose domain is Okta's.
    """
    host = urlsplit(origin).hostname or ""
    return origin == client.origin or host.endswith(tuple(f".{base}" for base in _OKTA_DOMAINS))


def _is_name(host: str) -> bool:
    return len(host) <= _MAX_HOST and _HOST.fullmatch(host) is not None


def _client_id_problems(client_id: object) -> list[str]:
    if not isinstance(client_id, str) or not client_id.strip():
        return ["is empty"]
    if _PLACEHOLDER.search(client_id.replace("$", "")):
        return ["is a placeholder; put your app's client id in its place"]
    if not (client_id.isascii() and client_id.isprintable()) or set(client_id) & {" ", ":"}:
        return ["must be printable ASCII without spaces and colons"]
    return []


def _server_problems(server: object) -> list[str]:
    if server is None or (isinstance(server, str) and _SERVER_ID.fullmatch(server)):
        return []
    return ["must be an id such as default or aus…"]


def _method_problems(method: object) -> list[str]:
    if callable(method) and not isinstance(method, type) and isinstance(method, Hashable):
        return []
    return ["must be ClientSecretBasic(…), or another of the methods"]


def _dpop_problems(dpop: object) -> list[str]:
    return [] if dpop is None or isinstance(dpop, DPoP) else ["must be DPoP(…) or None"]
