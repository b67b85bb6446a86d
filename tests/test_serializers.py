"""No serializer gets a secret or a token value out of a public object."""

from __future__ import annotations

import copy
import copyreg
import dataclasses
import json
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import orjson
import pydantic
import pydantic_core
import pytest
import structlog

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    TokenKey,
    TokenProvider,
    TokenRequest,
    TokenSource,
)
from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.clock import Instant
from okta_tokens.adapters._grpc_credentials import TokenPlugin
from okta_tokens.adapters.aiohttp import TokenMiddleware
from okta_tokens.adapters.grpc import token_interceptors
from okta_tokens.adapters.httpx import TokenAuth
from okta_tokens.adapters.httpx2 import TokenAuth as TokenAuth2
from okta_tokens.errors import FetchError
from okta_tokens.events import FetchFailed, KeyIdle
from okta_tokens.stores import SharedToken
from okta_tokens.stores.redis import RedisTokenStore
from tests.clock import ManualClock
from tests.keys import ec_key, jwk

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d7e8f"
TOKEN = "Canary-Token-0a1b2c3d4e5f"
PRIVATE = str(jwk(ec_key())["d"])
STORE_KEY = "Q2FuYXJ5LVN0b3JlLUtleS0wMTIzNDU2Nzg5YWJjZGU="
CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET), dpop=DPoP(ec_key()))
KEY = TokenKey(CLIENT, frozenset({"a"}))
PROVIDER = TokenProvider()
SOURCE = PROVIDER.source(CLIENT, "a")
BEARER = PROVIDER.source(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), "a")
ORIGINS = ["https://api.acme.com"]

HANDLES: dict[str, object] = {
    "provider": PROVIDER,
    "source": SOURCE,
    "middleware": TokenMiddleware(SOURCE, origins=ORIGINS),
    "TokenAuth": TokenAuth(SOURCE, origins=ORIGINS),
    "TokenAuth of httpx2": TokenAuth2(SOURCE, origins=ORIGINS),
    "gRPC plugin": TokenPlugin("token_channel", BEARER),
    **{type(each).__name__: each for each in token_interceptors(BEARER)},
}
"""Objects that lead to a provider."""

OBJECTS: dict[str, object] = {
    "AccessToken": AccessToken(
        *(TOKEN, "Bearer", KEY.scope, KEY),
        expiry=Instant(1_000.0, 1_000.0),
        leeway=1.0,
        clock=ManualClock(),
        identity=StoreIdentity(SECRET),
    ),
    "SharedToken": SharedToken(TOKEN, "Bearer", KEY.scopes, 300.0, 1_800_000_000.0),
    "OktaClient": CLIENT,
    "TokenKey": KEY,
    "ClientSecretBasic": ClientSecretBasic(SECRET),
    "ClientSecretPost": ClientSecretPost(SECRET),
    "ClientSecretJWT": ClientSecretJWT(SECRET),
    "PrivateKeyJWT": PrivateKeyJWT(ec_key()),
    "DPoP": CLIENT.dpop,
    "TokenRequest": TokenRequest(
        CLIENT.token_url, "0oa1", {"client_secret": SECRET}, {"DPoP": TOKEN}, 0.0, [SECRET], SECRET
    ),
    "StoreIdentity": StoreIdentity(SECRET),
    "RedisTokenStore": RedisTokenStore(f"redis://:{SECRET}@localhost", keys=[STORE_KEY]),
    "event": KeyIdle(key=KEY),
    "event with an error": FetchFailed(
        key=KEY,
        error=FetchError("why", key=KEY),
        reason="missing",
        duration=1.0,
        waited=1.0,
        waiters=1,
        failures=1,
        without_token=1.0,
        cooldown=1.0,
        adopted=False,
    ),
    "error": FetchError("why", key=KEY),
    **HANDLES,
}


def state(value: object) -> object:
    """Return what every object gives to `copy` and to serializers that know no better."""
    return value.__getstate__()


def fields(value: Any) -> object:  # noqa: ANN401 - an object of any type
    """Return what serializers of dataclasses read."""
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def copyreg_state(value: Any) -> object:  # noqa: ANN401 - an object of any type
    """Return what `copyreg` takes from an object for the oldest protocols."""
    reduce: Any = vars(copyreg)["_reduce_ex"]
    return reduce(value, 1)


def pydantic_json(value: object) -> object:
    """Serialize as a model with a field of any type does."""
    return pydantic.RootModel[Any](value).model_dump_json()


def structlog_line(value: object) -> object:
    """Render a log line with the default handlers."""
    return structlog.processors.JSONRenderer()(None, "info", {"value": value})


SERIALIZERS: dict[str, Callable[[Any], object]] = {
    **{
        f"pickle {protocol}": partial(pickle.dumps, protocol=protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copyreg": copyreg_state,
    "__reduce_ex__": lambda value: value.__reduce_ex__(4),
    "__getstate__": state,
    "vars": vars,
    "dataclasses.asdict": dataclasses.asdict,
    "dataclasses.astuple": dataclasses.astuple,
    "dataclasses.fields": fields,
    "json, default=vars": lambda value: json.dumps(value, default=vars),
    "json, default=str": lambda value: json.dumps(value, default=str),
    "json, default=repr": lambda value: json.dumps(value, default=repr),
    "orjson": orjson.dumps,
    "orjson, default=str": lambda value: orjson.dumps(value, default=str),
    "msgspec.json": msgspec.json.encode,
    "msgspec.json, enc_hook=str": lambda value: msgspec.json.encode(value, enc_hook=str),
    "msgspec.msgpack": msgspec.msgpack.encode,
    "msgspec.to_builtins": msgspec.to_builtins,
    "pydantic_core.to_json": pydantic_core.to_json,
    "pydantic_core.to_json, unknown": lambda value: pydantic_core.to_json(
        value, serialize_unknown=True
    ),
    "pydantic_core.to_jsonable_python": lambda value: pydantic_core.to_jsonable_python(
        value, serialize_unknown=True
    ),
    "pydantic": pydantic_json,
    "structlog": structlog_line,
}


def shown(value: object) -> str:
    """Return everything that a serializer's result shows, with each level of its containers."""
    if isinstance(value, bytes | bytearray):
        return value.decode("latin-1")
    return repr(value)


@pytest.mark.parametrize("serialize", SERIALIZERS.values(), ids=SERIALIZERS)
@pytest.mark.parametrize("value", OBJECTS.values(), ids=OBJECTS)
def test_no_serializer_gets_a_secret(value: object, serialize: Callable[[Any], object]) -> None:
    """A serializer fails with an object that contains a secret, or writes the object without it."""
    try:
        result = shown(serialize(value))
    except Exception as error:  # noqa: BLE001 - each serializer refuses with a type of its own
        result = f"{error!r}"

    for canary in (SECRET, TOKEN, PRIVATE, STORE_KEY):
        assert canary not in result


@pytest.mark.parametrize("value", HANDLES.values(), ids=HANDLES)
def test_a_copy_of_a_handle_is_the_handle(value: object) -> None:
    """A copy of settings that hold a provider, a source or an adapter uses the same provider."""
    assert copy.copy(value) is value
    assert copy.deepcopy({"key": value})["key"] is value


@pytest.mark.parametrize("value", [PROVIDER, SOURCE], ids=["provider", "source"])
def test_a_copy_of_a_method_is_a_method_of_the_handle(value: TokenProvider | TokenSource) -> None:
    """A copy of settings that hold a method of a provider or source uses the same provider."""
    method: Any = copy.deepcopy([value.get_token])[0]
    assert method.__self__ is value


@pytest.mark.parametrize("value", HANDLES.values(), ids=HANDLES)
def test_a_handle_cannot_be_pickled(value: object) -> None:
    """The error of every protocol says what to do instead."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(value, protocol)
        assert str(caught.value) == (
            f"{type(value).__name__} contains a secret and cannot be pickled; make another one in "
            "the process that needs it"
        )


def test_the_table_finds_a_secret() -> None:
    """A plain dataclass with a secret is found by serializers of each kind."""

    @dataclasses.dataclass
    class Careless:
        secret: str = dataclasses.field(default=SECRET, repr=False)

    found = set()
    for name, serialize in SERIALIZERS.items():
        try:
            if SECRET in shown(serialize(Careless())):
                found.add(name)
        except Exception:  # noqa: BLE001, S112 - some cannot serialize a local class
            continue
    assert found > {"__getstate__", "vars", "dataclasses.asdict", "orjson", "pydantic"}
