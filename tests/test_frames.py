"""No argument of any type puts a secret into an error, or into a frame of an error."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from okta_tokens import (
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RefreshPolicy,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.errors import ConfigurationError
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from okta_tokens.telemetry import OpenTelemetryObserver
from tests.frames import shown_in_frames
from tests.keys import ec_key, pem

CANARY = "C4naryS3cret-of-the-client/91d0e5a8c2b6-and-long-enough-to-sign"
KEY = pem(ec_key()).decode()
KEY_LINE = KEY.split("\n")[1]
STORE_KEY = generate_key()
URL = f"redis://:{CANARY.replace('/', '-')}@localhost"
ID = "0oa1client"
ENVIRONMENT = {
    "OKTA_CLIENT_ORGURL": "acme.okta.com",
    "OKTA_CLIENT_CLIENTID": ID,
    "OKTA_CLIENT_SECRET": CANARY,
}


class HostileError(Exception):
    """The error that hostile objects raise."""


def _fail(self: object, *_: object, **__: object) -> NoReturn:
    raise HostileError(CANARY)


class HostileText(str):
    """A string whose methods raise."""

    __slots__ = ()
    __eq__ = __hash__ = __len__ = __bool__ = __iter__ = __contains__ = _fail
    __str__ = __getitem__ = __format__ = _fail
    strip = split = encode = startswith = lower = isascii = isprintable = replace = _fail

    def __repr__(self) -> str:
        """Show the text."""
        return f"<{self.__class__.__name__} {CANARY}>"


class Hostile:
    """An object whose every method raises, and whose attribute is a secret."""

    def __repr__(self) -> str:
        """Show the secret, as a dataclass does."""
        return f"<hostile {CANARY}>"

    @property  # type: ignore[misc]  # deliberately
    def __class__(self) -> NoReturn:  # type: ignore[override]  # deliberately
        """Fail."""
        raise HostileError(CANARY)

    def __getattr__(self, name: str) -> NoReturn:
        """Fail."""
        raise HostileError(CANARY)

    __eq__ = __hash__ = __len__ = __bool__ = __iter__ = __contains__ = __float__ = __index__ = _fail
    __lt__ = __le__ = __gt__ = __ge__ = __str__ = __getitem__ = __format__ = _fail


class HostileMapping(Mapping[str, str]):
    """A mapping that raises."""

    __getitem__ = __iter__ = __len__ = get = items = _fail

    def __repr__(self) -> str:
        """Show the secret."""
        return f"<mapping {CANARY}>"


class HostileInt(int):
    """An invalid number whose methods raise."""

    __eq__ = __hash__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __int__ = _fail
    __float__ = __index__ = __abs__ = _fail

    def __repr__(self) -> str:
        """Show the secret."""
        return f"<number {CANARY}>"


BAD_TEXT = f'{CANARY}"\n\x00{KEY.partition("-----END")[0]}'

WRONG: dict[str, Callable[[], object]] = {
    "bytes": BAD_TEXT.encode,
    "bytearray": lambda: bytearray(BAD_TEXT.encode()),
    "bool": lambda: True,
    "none": lambda: None,
    "negative": lambda: -7,
    "not a number": lambda: float("nan"),
    "directory": lambda: Path(__file__).parent,
    "missing file": lambda: Path(f"/nowhere/{CANARY}"),
    "text": lambda: BAD_TEXT,
    "hostile text": lambda: HostileText(BAD_TEXT),
    "hostile object": Hostile,
    "hostile mapping": HostileMapping,
    "hostile number": lambda: HostileInt(-1),
    "list": lambda: [BAD_TEXT],
    "set": lambda: {BAD_TEXT},
    "mapping": lambda: {BAD_TEXT: BAD_TEXT},
    "tuple": lambda: (BAD_TEXT, [BAD_TEXT]),
    "huge text": lambda: f"{CANARY} \u00e9" * 100_000,
    "huge number": lambda: 10**400,
    "class": lambda: Hostile,
}
"""Values that no parameter takes, except for those in `ALLOWED`."""


def basic() -> ClientSecretBasic:
    """Return a method with the canary."""
    return ClientSecretBasic(CANARY)


async def _sign(data: bytes) -> bytes:
    return data


def source(client: object, scopes: object) -> object:
    """Make a source."""
    return TokenProvider().source(client, scopes)  # type: ignore[arg-type]  # deliberately


Make = Callable[[Any], object]
ENV = "from_env "
CALLS: dict[tuple[str, str], Make] = {
    ("OktaClient", "domain"): lambda value: OktaClient(value, ID, basic()),
    ("OktaClient", "client_id"): lambda value: OktaClient("acme.okta.com", value, basic()),
    ("OktaClient", "authentication"): lambda value: OktaClient("acme.okta.com", ID, value),
    ("OktaClient", "authorization_server"): lambda value: OktaClient(
        "acme.okta.com", ID, basic(), authorization_server=value
    ),
    ("OktaClient", "dpop"): lambda value: OktaClient("acme.okta.com", ID, basic(), dpop=value),
    ("OktaClient", "allow_http"): lambda value: OktaClient(
        "acme.okta.com", ID, basic(), allow_http=value
    ),
    ("from_env", "allow_http"): lambda value: OktaClient.from_env(allow_http=value),
    ("from_env", "environ"): OktaClient.from_env,
    **{
        ("from_env", name): lambda value, name=name: OktaClient.from_env(  # type: ignore[misc]
            {**ENVIRONMENT, name: value}
        )
        for name in (
            "OKTA_CLIENT_ORGURL",
            "OKTA_CLIENT_CLIENTID",
            "OKTA_CLIENT_SECRET",
            "OKTA_CLIENT_AUTHORIZATIONSERVER",
            "OKTA_CLIENT_DPOPENABLED",
        )
    },
    **{
        ("from_env with a key", name): lambda value, name=name: OktaClient.from_env(  # type: ignore[misc]
            {**ENVIRONMENT, "OKTA_CLIENT_SECRET": "", "OKTA_CLIENT_PRIVATEKEY": KEY, name: value}
        )
        for name in ("OKTA_CLIENT_PRIVATEKEY", "OKTA_CLIENT_PRIVATEKEYID")
    },
    ("from_file", "path"): OktaClient.from_file,
    ("ClientSecretBasic", "secret"): ClientSecretBasic,
    ("ClientSecretPost", "secret"): ClientSecretPost,
    ("ClientSecretJWT", "secret"): ClientSecretJWT,
    ("ClientSecretJWT", "algorithm"): lambda value: ClientSecretJWT(CANARY, algorithm=value),
    ("PrivateKeyJWT", "key"): PrivateKeyJWT,
    ("PrivateKeyJWT", "kid"): lambda value: PrivateKeyJWT(KEY, kid=value),
    ("PrivateKeyJWT", "algorithm"): lambda value: PrivateKeyJWT(KEY, algorithm=value),
    ("from_signer", "sign"): lambda value: PrivateKeyJWT.from_signer(
        value, kid=None, algorithm="RS256"
    ),
    ("from_signer", "kid"): lambda value: PrivateKeyJWT.from_signer(
        _sign, kid=value, algorithm="RS256"
    ),
    ("from_signer", "algorithm"): lambda value: PrivateKeyJWT.from_signer(
        _sign, kid=None, algorithm=value
    ),
    ("DPoP", "key"): DPoP,
    ("DPoP", "algorithm"): lambda value: DPoP(KEY, algorithm=value),
    ("RedisTokenStore", "url_or_client"): lambda value: RedisTokenStore(value, keys=[STORE_KEY]),
    ("RedisTokenStore", "keys"): lambda value: RedisTokenStore(URL, keys=value),
    **{
        ("RedisTokenStore", name): lambda value, name=name: RedisTokenStore(  # type: ignore[misc]
            URL, keys=STORE_KEY, **{name: value}
        )
        for name in ("prefix", "timeout", "lease")
    },
    **{
        ("TokenProvider", name): lambda value, name=name: TokenProvider(**{name: value})  # type: ignore[misc]
        for name in (
            *("refresh", "retry", "session", "store", "observers", "clock"),
            *("max_tokens", "max_concurrent_requests", "user_agent"),
        )
    },
    **{
        ("RefreshPolicy", name): lambda value, name=name: RefreshPolicy(**{name: value})  # type: ignore[misc]
        for name in inspect.signature(RefreshPolicy).parameters
    },
    **{
        ("RetryPolicy", name): lambda value, name=name: RetryPolicy(**{name: value})  # type: ignore[misc]
        for name in inspect.signature(RetryPolicy).parameters
    },
    ("OpenTelemetryObserver", "meter_provider"): lambda value: OpenTelemetryObserver(
        meter_provider=value
    ),
    ("OpenTelemetryObserver", "client_id"): lambda value: OpenTelemetryObserver(client_id=value),
    ("source", "client"): lambda value: source(value, "a"),
    ("source", "scopes"): lambda value: source(OktaClient("acme.okta.com", ID, basic()), value),
}
"""Every constructor with each of its parameters; the other arguments hold secrets."""

OPTIONAL = {
    "authorization_server",
    "dpop",
    "environ",
    "kid",
    "meter_provider",
    "path",
    "refresh",
    "retry",
    "session",
    "store",
    "user_agent",
}
NUMBERS = {"timeout", "lease", "max_tokens", "max_concurrent_requests"}
CALLABLES = {"secret", "key", "sign"}


def is_allowed(function: str, parameter: str, wrong: str) -> bool:
    """Return whether a value of `WRONG` is valid for a parameter.

    `None` is the default of some parameters; a class may be a callable for a secret.
    """
    if wrong == "none":
        by_function = {("PrivateKeyJWT", "algorithm"), ("DPoP", "key"), ("DPoP", "algorithm")}
        is_variable = parameter.startswith("OKTA_CLIENT_")
        default = parameter in {*OPTIONAL, "clock"} or (function, parameter) in by_function
        return default or (is_variable and parameter.endswith(("ID", "SERVER", "ENABLED")))
    flags = {("OpenTelemetryObserver", "client_id")}
    if wrong == "bool" and (parameter == "allow_http" or (function, parameter) in flags):
        return True
    return wrong == "class" and parameter in CALLABLES and function != "DPoP"


CASES = [
    pytest.param(call, parameter, make, id=f"{function}-{parameter}-{wrong}")
    for (function, parameter), call in CALLS.items()
    for wrong, make in WRONG.items()
    if not is_allowed(function, parameter, wrong)
]
NAMES = {
    "secret": "the secret",
    "key": "the key",
    "algorithm": "algorithm",
    "environ": "environ",
}
"""How a message names a parameter, if not by its name."""


def assert_nothing_shown(error: BaseException) -> None:
    """Fail if the text of an error, its chain or its frames show a secret."""
    assert error.__cause__ is None
    for canary in (CANARY, URL, KEY_LINE, STORE_KEY):
        assert canary not in f"{error} {error!r} {vars(error)}"
        assert shown_in_frames(error, canary) == []


@pytest.mark.parametrize(("call", "parameter", "make"), CASES)
def test_a_value_of_any_type_is_refused_without_a_secret(
    call: Make, parameter: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only error is a `ConfigurationError` that names the parameter and shows no value."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as caught:
        call(make())

    assert NAMES.get(parameter, parameter) in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.__context__ is None
    assert_nothing_shown(caught.value)


@pytest.mark.parametrize("call", [call for call in CALLS.values() if isinstance(call, type)])
def test_an_unknown_keyword_is_a_type_error(call: Callable[..., object]) -> None:
    """An unknown keyword is Python's own error, from before the first line of a constructor."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeouts'") as caught:
        call(CANARY, timeouts=1)

    assert_nothing_shown(caught.value)


@pytest.mark.parametrize("wrong", ["text", "hostile text", "hostile object", "list", "huge text"])
async def test_get_token_shows_no_argument(wrong: str) -> None:
    """`get_token` refuses a client and scopes of any type, and no frame has them."""
    client = OktaClient("acme.okta.com", ID, basic())
    async with TokenProvider() as provider:
        for arguments in ((WRONG[wrong](), "a"), (client, WRONG[wrong]())):
            with pytest.raises(ConfigurationError, match=r"^(client|scopes): ") as caught:
                await provider.get_token(*arguments)
            assert_nothing_shown(caught.value)
            assert CANARY not in repr(caught.value.__context__)
            with pytest.raises(ConfigurationError, match=r"^sources: ") as caught:
                await provider.warm(WRONG[wrong]())  # type: ignore[arg-type]  # deliberately
            assert_nothing_shown(caught.value)


def test_a_missing_extra_is_a_problem_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """If DPoP is enabled and the extra is not installed, the environment is in no frame."""
    monkeypatch.setitem(sys.modules, "okta_tokens._auth.keys", None)
    environ = {**ENVIRONMENT, "OKTA_CLIENT_DPOPENABLED": "true", "OKTA_CLIENT_CLIENTID": ""}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    for given in (None, environ, os.environ):
        with pytest.raises(ConfigurationError) as caught:
            OktaClient.from_env(given)

        assert str(caught.value) == (
            "environment: OKTA_CLIENT_CLIENTID: is empty; give the client id of your app; "
            "OKTA_CLIENT_DPOPENABLED: the key needs the extra jwt to sign: "
            "pip install 'okta-tokens[jwt]'"
        )
        assert_nothing_shown(caught.value)
