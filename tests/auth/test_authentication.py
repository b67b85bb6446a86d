"""Client authentication with a secret, and the failures of every method."""

from __future__ import annotations

import asyncio
import copy
from base64 import b64decode
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

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
    """Return a request without a credential."""
    return TokenRequest("https://acme.okta.com/oauth2/v1/token", "0oa1", {}, {}, NOW)


async def authenticated(method: ClientAuthentication) -> TokenRequest:
    """Return a request with the credential of a method."""
    request = new_request()
    assert await authenticate(method, request) is None
    return request


async def failure(method: ClientAuthentication) -> CredentialError:
    """Return the error of a method that fails."""
    error = await authenticate(method, new_request())
    assert error is not None
    return error


def made_or_refused(
    make: Callable[..., ClientAuthentication], secret: object
) -> ClientAuthentication | ConfigurationError:
    """Make a method; return the error if the secret is invalid."""
    try:
        return make(secret)
    except ConfigurationError as error:
        return error


def read_vault() -> str:
    """Return the secret."""
    return SECRET


async def read_vault_later() -> str:
    """Return the secret in a later step of the event loop."""
    await asyncio.sleep(0)
    return SECRET


class Vault:
    """An object with a secret. All vaults are equal, and no vault is hashable."""

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
    """HTTP Basic sends id and secret unchanged in one header, and nothing in the form."""
    secret = "a:b%c+d/e=f g"
    request = await authenticated(ClientSecretBasic(secret))
    scheme, _, credentials = request.headers.pop("Authorization").partition(" ")

    assert scheme == "Basic"
    assert b64decode(credentials) == f"0oa1:{secret}".encode()
    assert (request.headers, request.form) == ({}, {})
    assert request.secrets == [secret, credentials]


async def test_post() -> None:
    """`ClientSecretPost` sends id and secret in the form, and no header."""
    request = await authenticated(ClientSecretPost(SECRET))

    assert request.form == {"client_id": "0oa1", "client_secret": SECRET}
    assert request.headers == {}
    assert request.secrets == [SECRET]


async def test_a_request_shows_no_secret() -> None:
    """The repr of a request contains neither form, headers nor secrets."""
    for method in METHODS:
        request = await authenticated(method(SECRET))

        assert repr(request) == (
            "TokenRequest(url='https://acme.okta.com/oauth2/v1/token', client_id='0oa1')"
        )


@pytest.mark.parametrize(
    "source",
    [
        read_vault,
        read_vault_later,
        Vault().read,
        Vault(),
        partial(str, SECRET),
        lambda: asyncio.ensure_future(read_vault_later()),
    ],
    ids=["plain", "async", "method", "object", "partial", "future"],
)
async def test_callables(source: Callable[[], str | Awaitable[str]]) -> None:
    """A callable is a function, a method or an object, plain or async."""
    for method in METHODS:
        request = await authenticated(method(source))

        assert request.secrets[0] == SECRET


@pytest.mark.parametrize("method", METHODS)
async def test_a_callable_is_called_for_every_request(method: Method) -> None:
    """A callable is called for every request, and not before."""
    secrets = iter(["first", "second"])
    client = method(lambda: next(secrets))

    assert [(await authenticated(client)).secrets[0] for _ in range(2)] == ["first", "second"]


@pytest.mark.parametrize(("secret", "problem"), BAD_SECRETS, ids=ascii)
def test_bad_secrets(secret: str, problem: str) -> None:
    """An invalid secret is refused at once; neither the message nor a frame contains it."""
    for method in METHODS:
        with pytest.raises(ConfigurationError) as caught:
            method(secret)

        error = caught.value

        assert str(error) == f"{method.__name__}: the secret {problem}"
        assert len(list(frames_of(error))) == 1
        assert locals_with(error, SECRET) == []


@pytest.mark.parametrize(("secret", "problem"), BAD_SECRETS, ids=ascii)
async def test_bad_secrets_of_a_callable(secret: str, problem: str) -> None:
    """An invalid secret of a callable fails the request; the error is final and has no frames."""
    error = await failure(ClientSecretBasic(lambda: secret))

    assert str(error) == f"the callable for the client secret returned a value that {problem}"
    assert not error.retryable
    assert list(frames_of(error)) == []


def test_good_secrets() -> None:
    """A secret is any printable ASCII without white space around it."""
    for secret in ("a", "a b", "{", "{a}b", "<", "~" * 1_000, "pass:word%41"):
        assert secret_problem(secret) is None


@QUICK
@given(st.sampled_from(METHODS), st.text(max_size=40))
def test_a_secret_is_kept_or_refused(method: Method, secret: str) -> None:
    """Any text is sent unchanged, or refused with a message that does not repeat it."""
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
        (read_vault, "<read_vault>"),
        (Vault().read, "<Vault.read>"),
        (Vault(), "<Vault>"),
        (partial(str, SECRET), "<partial>"),
    ],
    ids=["str", "function", "method", "object", "partial"],
)
def test_repr(secret: str | SecretCallable, shown: str) -> None:
    """The repr contains the method and the name of a callable, but never the secret."""
    assert repr(ClientSecretBasic(secret)) == f"ClientSecretBasic({shown})"
    assert repr(ClientSecretPost(secret)) == f"ClientSecretPost({shown})"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "secret", [SECRET, read_vault, Vault()], ids=["secret", "function", "object"]
)
def test_equality(method: Method, secret: str | SecretCallable) -> None:
    """Two methods of one type are equal if their secret or callable is the same."""
    one, other = method(secret), method(secret)

    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("method", METHODS)
def test_equality_of_methods(method: Method) -> None:
    """Bound methods are compared by their object and function."""
    vault = Vault()

    assert method(vault.read) == method(vault.read)
    assert hash(method(vault.read)) == hash(method(vault.read))
    assert method(vault.read) != method(Vault().read)


@pytest.mark.parametrize("method", METHODS)
def test_inequality(method: Method) -> None:
    """Secrets are compared by value, callables by identity, and never with each other."""
    assert method("one") != method("other")
    assert method(Vault()) != method(Vault())
    assert method(lambda: SECRET) != method(lambda: SECRET)
    assert method(SECRET) != method(read_vault)
    assert method(read_vault) != method(SECRET)


def test_methods_differ() -> None:
    """Methods of different types are never equal, and no method equals another value."""
    assert ClientSecretBasic(SECRET) != ClientSecretPost(SECRET)
    assert ClientSecretBasic(SECRET) != SECRET
    assert hash(ClientSecretBasic(SECRET)) != hash(ClientSecretPost(SECRET))


@pytest.mark.parametrize("method", METHODS)
def test_copies(method: Method) -> None:
    """A copy is the original itself."""
    original = method(SECRET)

    assert copy.copy(original) is copy.deepcopy([original])[0] is original


class VaultError(Exception):
    """An error of a vault's client library."""


def raising(error: BaseException) -> SecretCallable:
    """Return a callable that has the secret in its frame and raises an error."""

    def fail(secret: str = SECRET) -> str:
        assert secret
        raise error from KeyError(secret)

    return fail


@pytest.mark.parametrize("method", METHODS)
async def test_a_callable_that_raises(method: Method) -> None:
    """The message names the type of a callable's error, which is the cause, without frames."""
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


async def test_an_error_that_contains_a_secret() -> None:
    """If the text of a callable's error may contain a secret, the cause has only its type."""
    error = await failure(ClientSecretBasic(raising(VaultError(f"cannot use {SECRET}0X"))))

    assert str(error.__cause__) == f"{__name__}.VaultError (its text is withheld)"


async def test_an_error_that_contains_the_credential() -> None:
    """The text of a method's error is withheld if it contains a secret of the request."""

    class Method:
        """A method that fails after it has added its credential."""

        async def __call__(self, request: TokenRequest, /) -> None:
            """Add a short credential, then fail."""
            request.secrets.append("hunter2")
            raise VaultError("hunter2 is of no use")

    error = await failure(Method())

    assert "hunter2" not in f"{error} {error.__cause__}"


async def test_an_error_of_ours_has_no_frames() -> None:
    """A method's `CredentialError` is returned unchanged, without frames and cause."""
    expected = CredentialError("the vault is sealed", retryable=True)
    error = await failure(ClientSecretPost(raising(expected)))

    assert error is expected
    assert error.retryable
    assert error.__cause__ is None
    assert error.__traceback__ is None


async def test_an_error_of_ours_that_contains_a_secret() -> None:
    """A `CredentialError` that may contain a secret is replaced by one that names its type."""
    error = await failure(ClientSecretPost(raising(CredentialError(f"cannot use {SECRET}0X"))))

    assert SECRET not in f"{error} {error!r} {error.__cause__}"
    assert "raised CredentialError" in str(error)
    assert list(frames_of(error)) == []


async def test_an_own_cancellation_of_a_callable_is_a_failure() -> None:
    """A `CancelledError` that a callable raises itself does not cancel the task."""
    error = await failure(ClientSecretBasic(raising(asyncio.CancelledError())))

    assert "raised CancelledError" in str(error)
    assert error.retryable


async def test_a_cancellation_is_passed_on() -> None:
    """A cancellation of the task ends the wait for a secret."""
    called = asyncio.Event()

    async def wait() -> str:
        called.set()
        await asyncio.Event().wait()
        return SECRET

    task = asyncio.create_task(authenticate(ClientSecretBasic(wait), new_request()))
    await called.wait()
    task.cancel()
    done, _ = await asyncio.wait([task])

    assert [each.cancelled() for each in done] == [True]


async def test_a_cancellation_outside_of_tasks_is_passed_on() -> None:
    """Outside of tasks, every `CancelledError` counts as a cancellation."""
    result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def run() -> None:
        method = ClientSecretBasic(raising(asyncio.CancelledError()))
        try:
            authenticate(method, new_request()).send(None)
        except BaseException as error:  # noqa: BLE001 - its type is the result
            result.set_result(type(error).__name__)

    asyncio.get_running_loop().call_soon(run)

    assert await result == "CancelledError"


class Panic(BaseException):
    """An error of a library in another language, which is no `Exception`."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_ends_a_program_is_passed_on(kind: type[BaseException]) -> None:
    """An error that ends the program is not a failure of the callable."""

    def fail() -> NoReturn:
        raise kind

    with pytest.raises(kind):
        await authenticate(ClientSecretBasic(fail), new_request())


async def test_a_callable_that_panics() -> None:
    """A `BaseException` that does not end the program is a failure of the callable."""

    def fail() -> NoReturn:
        raise Panic("a library broke")

    error = await authenticate(ClientSecretBasic(fail), new_request())

    assert isinstance(error, CredentialError)
    assert isinstance(error.__cause__, Panic)


@pytest.mark.parametrize("method", METHODS)
async def test_a_secret_file_is_read_every_time(method: Method, tmp_path: Path) -> None:
    """A rotated file is used for the next request; a line break at its end is not a part of it."""
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n")
    made = method(path)
    assert (await authenticated(made)).secrets[0] == "first"

    path.write_text("second\n")

    assert (await authenticated(made)).credential == "second"
    assert repr(made) == f"{method.__name__}({path!r})"
    assert made == method(path)
    assert made != method("second")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read from {}: no such file or directory; check the path"),
        (b"\n", "is missing: {} is empty; check what writes the file"),
        (b"\xff\xfe\xff", "is no text: {} is not UTF-8; check what writes the file"),
        (b"a\nb", CHARACTERS),
        (b" a", EDGES),
    ],
    ids=["gone", "empty", "binary", "two-lines", "space"],
)
async def test_a_bad_secret_file_is_named(
    content: bytes | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a valid secret is refused at once; later, it fails the request."""
    monkeypatch.chdir(tmp_path)
    path, file = Path("secret"), tmp_path / "secret"
    file.write_text(SECRET)
    made = ClientSecretBasic(path)
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        ClientSecretBasic(path)
    error = await failure(made)

    assert str(caught.value) == f"ClientSecretBasic: the secret {problem.format(path)}"
    assert str(error).startswith("the client secret ")
    assert str(error).endswith(problem.format(path))
    assert list(frames_of(error)) == []
