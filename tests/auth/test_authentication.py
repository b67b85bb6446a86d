"""How a client proves who it is."""

from __future__ import annotations

import asyncio
import copy
import pickle
from base64 import b64decode
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens import ClientAuthentication, ClientSecretBasic, ClientSecretPost
from okta_tokens._auth.authentication import TokenRequest, authenticate
from okta_tokens._auth.client_secret import SecretCallable, secret_problem
from okta_tokens.errors import ConfigurationError, CredentialError
from tests.runtime.test_redaction import frames_of, locals_with

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
NOW = 1_800_000_000.0

Method = type[ClientSecretBasic] | type[ClientSecretPost]
METHODS: list[Method] = [ClientSecretBasic, ClientSecretPost]

NOT_A_STRING = "is not a string; pass the client secret as a string"
EMPTY = "is empty; copy the client secret from your app"
EDGES = "begins or ends with white space; remove it (a file often ends with a line break)"
PLACEHOLDER = "is a placeholder; replace it with the client secret of your app"
CHARACTERS = "contains a character that is not printable ASCII; copy the secret again"

BAD_SECRETS = [
    (None, NOT_A_STRING),
    (7, NOT_A_STRING),
    (SECRET.encode(), NOT_A_STRING),
    ("", EMPTY),
    (" \n", EMPTY),
    (f"{SECRET}\n", EDGES),
    (f" {SECRET}", EDGES),
    ("{clientSecret}", PLACEHOLDER),
    ("${OKTA_CLIENT_SECRET}", PLACEHOLDER),
    ("<your secret>", PLACEHOLDER),
    (f"{SECRET}\u00e9", CHARACTERS),
    (f"{SECRET}\x00{SECRET}", CHARACTERS),
    (f"{SECRET}\r\nX-Injected: 1", CHARACTERS),
]


def new_request() -> TokenRequest:
    """Return a request to which nothing was added."""
    return TokenRequest("https://acme.okta.com/oauth2/v1/token", "0oa1", {}, {}, NOW)


async def authenticated(method: ClientAuthentication) -> TokenRequest:
    """Return a request that a method has edited."""
    request = new_request()
    assert await authenticate(method, request) is None
    return request


async def failure(method: ClientAuthentication) -> CredentialError:
    """Return why a method failed."""
    error = await authenticate(method, new_request())
    assert error is not None
    return error


def made_or_refused(
    make: Callable[..., ClientAuthentication], secret: object
) -> ClientAuthentication | ConfigurationError:
    """Make a method; return the error if it refuses the secret."""
    try:
        return make(secret)
    except ConfigurationError as error:
        return error


def ask_vault() -> str:
    """Return the secret."""
    return SECRET


async def ask_vault_slowly() -> str:
    """Return the secret, some time later."""
    await asyncio.sleep(0)
    return SECRET


class Vault:
    """Something with a secret; all of them are equal, and none is hashable."""

    __hash__ = None  # type: ignore[assignment]  # deliberately

    def __eq__(self, other: object) -> bool:
        """Be equal to every vault."""
        return isinstance(other, Vault)

    def read(self) -> str:
        """Return the secret."""
        return SECRET

    async def __call__(self) -> str:
        """Return the secret."""
        return SECRET


async def test_basic() -> None:
    """HTTP Basic sends id and secret as they are in one header, and nothing in the form."""
    secret = "a:b%c+d/e=f g"
    request = await authenticated(ClientSecretBasic(secret))
    scheme, _, credentials = request.headers.pop("Authorization").partition(" ")

    assert scheme == "Basic"
    assert b64decode(credentials) == f"0oa1:{secret}".encode()
    assert (request.headers, request.form) == ({}, {})
    assert request.secrets == [secret, credentials]


async def test_post() -> None:
    """The other method sends id and secret in the form, and no header."""
    request = await authenticated(ClientSecretPost(SECRET))

    assert request.form == {"client_id": "0oa1", "client_secret": SECRET}
    assert request.headers == {}
    assert request.secrets == [SECRET]


async def test_a_request_shows_no_secret() -> None:
    """The repr of a request shows neither form, headers nor secrets."""
    for method in METHODS:
        request = await authenticated(method(SECRET))

        assert repr(request) == (
            "TokenRequest(url='https://acme.okta.com/oauth2/v1/token', client_id='0oa1')"
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "ask",
    [
        ask_vault,
        ask_vault_slowly,
        Vault().read,
        Vault(),
        partial(str, SECRET),
        lambda: asyncio.ensure_future(ask_vault_slowly()),
    ],
    ids=["plain", "async", "method", "object", "partial", "future"],
)
async def test_callables(method: Method, ask: Callable[[], str | Awaitable[str]]) -> None:
    """A callable may be a function, a method or an object, and may be async."""
    request = await authenticated(method(ask))

    assert request.secrets[0] == SECRET


@pytest.mark.parametrize("method", METHODS)
async def test_a_callable_is_asked_every_time(method: Method) -> None:
    """A callable is asked for every request, and never before."""
    secrets = iter(["first", "second"])
    client = method(lambda: next(secrets))

    assert [(await authenticated(client)).secrets[0] for _ in range(2)] == ["first", "second"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("secret", "problem"), BAD_SECRETS, ids=ascii)
def test_bad_secrets(method: Method, secret: str, problem: str) -> None:
    """A secret that cannot be right is refused at once, without being repeated or left behind."""
    with pytest.raises(ConfigurationError) as caught:
        method(secret)

    error = caught.value

    assert str(error) == f"{method.__name__}: the secret {problem}"
    assert len(list(frames_of(error))) == 1
    assert locals_with(error, SECRET) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("secret", "problem"), BAD_SECRETS, ids=ascii)
async def test_bad_secrets_of_a_callable(method: Method, secret: str, problem: str) -> None:
    """A callable that returns what is no secret fails the request, for good and without frames."""
    error = await failure(method(lambda: secret))

    assert str(error) == f"the callable for the client secret returned a value that {problem}"
    assert not error.retryable
    assert list(frames_of(error)) == []


@pytest.mark.parametrize("secret", ["a", "a b", "{", "{a}b", "<", "~" * 1_000, "pass:word%41"])
def test_good_secrets(secret: str) -> None:
    """Whatever is printable ASCII, without white space around it, may be a secret."""
    assert secret_problem(secret) is None


@QUICK
@given(st.sampled_from(METHODS), st.text(max_size=40))
def test_a_secret_is_kept_or_refused(method: Method, secret: str) -> None:
    """Any text is sent as it is, or refused by one of a few sentences that do not repeat it."""
    made = made_or_refused(method, secret)

    if isinstance(made, ConfigurationError):
        sentences = {
            f"{method.__name__}: the secret {problem}"
            for problem in (EMPTY, EDGES, PLACEHOLDER, CHARACTERS)
        }

        assert str(made) in sentences
    else:
        assert asyncio.run(authenticated(made)).secrets[0] == secret
        assert repr(made) == f"{method.__name__}(<secret>)"
        assert secret.isascii()
        assert secret.isprintable()


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (SECRET, "<secret>"),
        (ask_vault, "<ask_vault>"),
        (Vault().read, "<Vault.read>"),
        (Vault(), "<Vault>"),
        (partial(str, SECRET), "<partial>"),
    ],
    ids=["str", "function", "method", "object", "partial"],
)
def test_repr(secret: str | SecretCallable, shown: str) -> None:
    """The repr tells the method, and the callable if there is one; never the secret."""
    assert repr(ClientSecretBasic(secret)) == f"ClientSecretBasic({shown})"
    assert repr(ClientSecretPost(secret)) == f"ClientSecretPost({shown})"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "secret", [SECRET, ask_vault, Vault()], ids=["secret", "function", "object"]
)
def test_equality(method: Method, secret: str | SecretCallable) -> None:
    """Two of one method are equal, and have one hash, if secret or callable are the same."""
    one, other = method(secret), method(secret)

    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("method", METHODS)
def test_equality_of_methods(method: Method) -> None:
    """A bound method is the same callable each time that it is read from one object."""
    vault = Vault()

    assert method(vault.read) == method(vault.read)
    assert hash(method(vault.read)) == hash(method(vault.read))
    assert method(vault.read) != method(Vault().read)


@pytest.mark.parametrize("method", METHODS)
def test_inequality(method: Method) -> None:
    """Secrets differ by value, callables by identity, and a secret from a callable for it."""
    assert method("one") != method("other")
    assert method(Vault()) != method(Vault())
    assert method(lambda: SECRET) != method(lambda: SECRET)
    assert method(SECRET) != method(ask_vault)
    assert method(ask_vault) != method(SECRET)


def test_methods_differ() -> None:
    """The two methods are never equal, nor is one to anything else."""
    assert ClientSecretBasic(SECRET) != ClientSecretPost(SECRET)
    assert ClientSecretBasic(SECRET) != SECRET
    assert hash(ClientSecretBasic(SECRET)) != hash(ClientSecretPost(SECRET))


@pytest.mark.parametrize("method", METHODS)
def test_copies(method: Method) -> None:
    """A copy, also one that was pickled, is equal."""
    original = method(SECRET)
    travelled = cast("object", pickle.loads(pickle.dumps(original)))  # noqa: S301 - our own bytes

    assert copy.copy(original) == original
    assert copy.deepcopy(original) == original
    assert travelled == original


class VaultError(Exception):
    """What a vault's client library raises."""


def raising(error: BaseException) -> SecretCallable:
    """Return a callable that holds the secret and raises an error."""

    def ask(secret: str = SECRET) -> str:
        assert secret
        raise error from KeyError(secret)

    return ask


@pytest.mark.parametrize("method", METHODS)
async def test_a_callable_that_raises(method: Method) -> None:
    """An error of the callable is told by its type and chained, without frames and chain."""
    cause = VaultError("sealed")
    error = await failure(method(raising(cause)))

    assert str(error) == (
        "the callable for the client's secret, key or signature raised VaultError; "
        "fix the callable, or pass the secret or key itself"
    )
    assert error.retryable
    assert error.__cause__ is cause
    assert cause.__cause__ is None
    assert list(frames_of(error)) == []
    assert locals_with(error, SECRET) == []


async def test_an_error_that_tells_a_secret() -> None:
    """An error of the callable that holds what looks like a secret is chained by its type alone."""
    error = await failure(ClientSecretBasic(raising(VaultError(f"cannot use {SECRET}0X"))))

    assert str(error.__cause__) == f"{__name__}.VaultError (its text is withheld)"


async def test_an_error_that_tells_the_credential() -> None:
    """An error of a method that holds what was already put into the request is withheld."""

    class Method:
        """A method that fails late."""

        async def __call__(self, request: TokenRequest, /) -> None:
            """Add a short credential, then fail."""
            request.secrets.append("hunter2")
            raise VaultError("hunter2 is of no use")

    error = await failure(Method())

    assert "hunter2" not in f"{error} {error.__cause__}"


async def test_an_error_of_ours_has_no_frames() -> None:
    """A CredentialError of a method is passed on as it is, without frames and chain."""
    expected = CredentialError("the vault is sealed", retryable=True)
    error = await failure(ClientSecretPost(raising(expected)))

    assert error is expected
    assert error.retryable
    assert error.__cause__ is None
    assert error.__traceback__ is None


async def test_an_error_of_ours_that_tells_a_secret() -> None:
    """A CredentialError that holds what looks like a secret is told by its type, without frames."""
    error = await failure(ClientSecretPost(raising(CredentialError(f"cannot use {SECRET}0X"))))

    assert SECRET not in f"{error} {error!r} {error.__cause__}"
    assert "raised CredentialError" in str(error)
    assert list(frames_of(error)) == []


async def test_an_unasked_cancellation_is_a_failure() -> None:
    """A CancelledError that a callable raises of itself does not cancel the request's task."""
    error = await failure(ClientSecretBasic(raising(asyncio.CancelledError())))

    assert "raised CancelledError" in str(error)
    assert error.retryable


async def test_a_cancellation_is_passed_on() -> None:
    """A cancellation of the task that makes the request ends it while a secret is awaited."""
    asked = asyncio.Event()

    async def ask() -> str:
        asked.set()
        await asyncio.Event().wait()
        return SECRET

    task = asyncio.create_task(authenticate(ClientSecretBasic(ask), new_request()))
    await asked.wait()
    task.cancel()
    done, _ = await asyncio.wait([task])

    assert [each.cancelled() for each in done] == [True]


async def test_a_cancellation_outside_of_tasks_is_passed_on() -> None:
    """Where there is no task whose cancellation could be told apart, one counts as asked for."""
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def run() -> None:
        method = ClientSecretBasic(raising(asyncio.CancelledError()))
        try:
            authenticate(method, new_request()).send(None)
        except BaseException as error:  # noqa: BLE001 - its type is the outcome
            outcome.set_result(type(error).__name__)

    asyncio.get_running_loop().call_soon(run)

    assert await outcome == "CancelledError"


class Panic(BaseException):
    """What libraries in other languages raise when they break."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_ends_a_program_is_passed_on(kind: type[BaseException]) -> None:
    """What ends the program is not the callable's failure, and goes its way."""

    def ask() -> NoReturn:
        raise kind

    with pytest.raises(kind):
        await authenticate(ClientSecretBasic(ask), new_request())


async def test_a_callable_that_panics() -> None:
    """What is no Exception and ends no program either is a failure like any other."""

    def ask() -> NoReturn:
        raise Panic("a library broke")

    error = await authenticate(ClientSecretBasic(ask), new_request())

    assert isinstance(error, CredentialError)
    assert isinstance(error.__cause__, Panic)
