"""The client: the app that requests tokens, its authorization server and its authentication."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from okta_tokens._auth.authentication import ClientAuthentication
from okta_tokens._auth.dpop import DPoP
from okta_tokens._model import key_identity
from okta_tokens._model.client_settings import (
    authentication_problems,
    client_id_problems,
    dpop_problems,
    flag_problems,
    server_problems,
    swap_problems,
)
from okta_tokens._model.domain import parse_domain
from okta_tokens._model.key_identity import Identified, constructor_arguments
from okta_tokens._model.parameters import Parameters, parse_parameters
from okta_tokens._model.urls import leaves_in_clear_text
from okta_tokens._runtime.arguments import raise_problems, text_of
from okta_tokens._runtime.unserializable import Unserializable

if TYPE_CHECKING:
    from okta_tokens._model.environment import ClientArguments


class OktaClient(Identified, Unserializable):
    """A client of one authorization server: client and scopes decide which token Okta issues.

    It is immutable and hashable. Two clients are equal if they use the same server with the same
    client id, the same credential and the same DPoP key. It contains a secret, so it cannot be
    pickled: each process makes its own.

    Args:
        domain: The Okta host, `acme.okta.com` or a custom domain, as `host[:port]`. A leading
            `https://` and a trailing slash are dropped; upper case becomes lower case. `http://` is
            for a server on this machine, unless `allow_http` is true.
        client_id: The id of the app, `0oa…`.
        authentication: How the client authenticates: `ClientSecretBasic`, `ClientSecretPost`,
            `ClientSecretJWT` or `PrivateKeyJWT`.
        authorization_server: The id of a custom authorization server; `None` for the org
            authorization server (Okta: "Authorization servers").
        dpop: Requests tokens that are bound to this key; `None` for bearer tokens.
        parameters: Additional fields of each token request, such as `resource` (RFC 8707) or
            `audience`: strings, or tuples of strings for a field that is sent several times. They
            are part of the key, so that other values get other tokens. Only the names are shown.
        allow_http: Whether the domain may be `http://` although it is not on this machine, so that
            the secret and the tokens leave the process in clear text: for a service mesh that adds
            TLS outside the process, and for a sandbox in a container. It does not allow a proxy,
            and changes nothing for https. The first request emits an event, `PlainHttpUsed`.

    Raises:
        ConfigurationError: If a value is invalid. The message lists every problem and repeats no
            value.
    """

    __slots__ = (
        "allow_http",
        "authentication",
        "authorization_server",
        "client_id",
        "domain",
        "dpop",
        "origin",
        "parameters",
        "token_url",
    )

    domain: str
    """The host and port, as they are written in the URL."""
    origin: str
    """The domain with its scheme: `https://acme.okta.com`."""
    client_id: str
    authentication: ClientAuthentication
    authorization_server: str | None
    dpop: DPoP | None
    parameters: Parameters | None
    """The additional fields of each token request; the repr shows only their names."""
    allow_http: bool
    """Whether the domain is plain http to another machine, which has to be allowed."""
    token_url: str
    """The URL of the token endpoint, exactly as it is requested."""

    def __init__(
        self,
        domain: str,
        client_id: str,
        authentication: ClientAuthentication,
        *,
        authorization_server: str | None = "default",
        dpop: DPoP | None = None,
        parameters: Mapping[str, str | tuple[str, ...]] | None = None,
        allow_http: bool = False,
    ) -> None:
        origin, domain_problems = parse_domain(domain, allow_http=allow_http is True)
        problems = {
            "domain": domain_problems,
            "client_id": client_id_problems(client_id) or swap_problems(client_id, authentication),
            "authentication": authentication_problems(authentication),
            "authorization_server": server_problems(authorization_server, "None"),
            "dpop": dpop_problems(dpop),
            "parameters": (fields := parse_parameters(parameters))[1],
            "allow_http": flag_problems(allow_http),
        }
        if any(problems.values()):
            # An error tracker records the locals of the frame that raises, and users do put
            # a password into a URL or a secret into the wrong argument.
            del self, domain, client_id, authentication, authorization_server, dpop, origin
            del parameters, fields, allow_http
            raise_problems(
                "OktaClient", [f"{name}: {each}" for name in problems for each in problems[name]]
            )
        self._set(
            origin=origin,
            client_id=text_of(client_id),
            authentication=authentication,
            authorization_server=text_of(authorization_server),
            dpop=dpop,
            parameters=fields[0],
            allow_http=allow_http and leaves_in_clear_text(origin),
        )

    @classmethod
    def _of(cls, **values: Any) -> Self:  # noqa: ANN401 - by attribute, each of its own type
        """Make a client of valid values, for a key that was pickled without its secrets."""
        client = cls.__new__(cls)
        client._set(**values)
        return client

    def _set(self, *, origin: str, **values: object) -> None:
        values |= {"origin": origin, "domain": origin.partition("://")[2]}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "token_url", self._endpoint_url("token"))
        self._compute_hash()

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        prefix: str = "OKTA_CLIENT_",
        allow_http: bool = False,
    ) -> OktaClient:
        """Make a client from environment variables: those of Okta's own SDKs, and more.

        - `OKTA_CLIENT_ORGURL` is the domain, `OKTA_CLIENT_CLIENTID` the client id.
        - One of four variables has the credential. `OKTA_CLIENT_SECRET` is the secret for
          `ClientSecretBasic`, `OKTA_CLIENT_SECRET_FILE` the path of a file with it.
          `OKTA_CLIENT_PRIVATEKEY` is the private key for `PrivateKeyJWT`, in any form or as the
          path of its file, and `OKTA_CLIENT_PRIVATEKEY_FILE` always the path.
        - `OKTA_CLIENT_PRIVATEKEYID`, or `OKTA_CLIENT_KID`, is the `kid` of the key.
        - `OKTA_CLIENT_AUTHORIZATIONSERVER` is the id of the authorization server: `default` if it
          is not set, `org` for the org authorization server.
        - `OKTA_CLIENT_DPOPENABLED`, `true` or `false`, requests tokens that are bound to a new key.

        A variable of this prefix that means nothing is a `UserWarning`.

        Args:
            environ: The environment; `None` for the environment of the process.
            prefix: How the names begin, for services that have several clients.
            allow_http: As for `OktaClient`; no variable can set it.

        Returns:
            The client.

        Raises:
            ConfigurationError: If a variable is missing or invalid. The message lists every problem
                by its variable and repeats no value.
        """
        from okta_tokens._model.environment import (  # noqa: PLC0415 - most programs do not need it
            parse_environment,
            unknown_variables,
        )

        environ = os.environ if environ is None else environ
        arguments = parse_environment(environ, prefix, allow_http=allow_http)
        unknown = unknown_variables(environ, prefix)
        del environ, allow_http  # an error tracker records the locals of the frame that raises
        for warning in unknown:
            warnings.warn(warning, stacklevel=2)
        if isinstance(arguments, list):
            raise_problems("environment", arguments)
        return cls(**arguments)

    @classmethod
    def from_file(cls, path: str | Path | None = None, *, allow_http: bool = False) -> OktaClient:
        """Make a client from a YAML file in the form of Okta's own SDKs. It needs the extra `yaml`.

        The fields are below `okta.client`. They mean what the variables of `from_env` mean:
        `orgUrl`, `clientId`, `authorizationServer`, `dpopEnabled`, `privateKeyId` or `kid`, and one
        of `clientSecret`, `clientSecretFile`, `privateKey` and `privateKeyFile`. A `privateKey` may
        also be a mapping, which is a JWK. A relative path begins at the current directory. Other
        fields of the SDKs, such as `scopes`, mean nothing here.

        A client comes from one source: no variable of the environment is read. A field that means
        nothing is a `UserWarning`, and so is a file that other users of the machine may read.

        Args:
            path: The file (`~` is the home directory); `None` for `~/.okta/okta.yaml`, and never a
                file of the current directory.
            allow_http: As for `OktaClient`; no field can set it.

        Returns:
            The client.

        Raises:
            ConfigurationError: If the file cannot be read or is not YAML, if a field is missing,
                invalid or there twice, or if the extra is not installed. The message names the
                file, and lists every problem by its field or its line. It repeats no value.
        """
        source, arguments, found = _parse_file(path, allow_http)
        del path, allow_http  # an error tracker records the locals of the frame that raises
        for warning in found:
            warnings.warn(warning, stacklevel=2)
        if isinstance(arguments, list):
            raise_problems(source, arguments)
        return cls(**arguments)

    @property
    def revocation_url(self) -> str:
        """The URL of the revocation endpoint, exactly as it is requested."""
        return self._endpoint_url("revoke")

    def _endpoint_url(self, name: str) -> str:
        server = self.authorization_server
        return f"{self.origin}/oauth2{f'/{server}' if server else ''}/v1/{name}"

    def _identity(self) -> tuple[Hashable, ...]:
        return tuple(constructor_arguments(self, key_identity.CLIENT_IDENTITY).values())

    def __repr__(self) -> str:
        """Return the call that makes an equal client, without its secret."""
        arguments = constructor_arguments(self, key_identity.CLIENT_IDENTITY)
        positional = [repr(arguments.pop(name)) for name in _POSITIONAL]
        server = f"authorization_server={arguments.pop('authorization_server')!r}"
        rest = [
            f"{name}={value!r}" for name, value in arguments.items() if value not in {None, False}
        ]
        return f"OktaClient({', '.join([*positional, server, *rest])})"


def _parse_file(
    path: object, allow_http: object
) -> tuple[str, ClientArguments | list[str], list[str]]:
    try:
        from okta_tokens._model.okta_yaml import parse_file  # noqa: PLC0415 - needs an extra
    except ImportError:
        problem = "needs the extra yaml: pip install 'okta-tokens[yaml]'"
        return "OktaClient.from_file", [problem], []
    return parse_file(path, allow_http=allow_http)


_POSITIONAL = ("domain", "client_id", "authentication")
