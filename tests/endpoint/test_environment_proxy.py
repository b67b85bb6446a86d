"""The proxy of the environment: which variable counts, and which values are refused."""

from collections.abc import Callable

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens._endpoint.environment_proxy import environment_proxy
from okta_tokens.errors import ConfigurationError

ORIGIN = "https://acme.okta.com"
SOCKS = "SOCKS proxies are not supported"
NEITHER = "the URL of the proxy begins with neither http:// nor https://"
REMEDY = (
    "set it to http://host:port, add the domain to NO_PROXY, or give the provider a session that "
    "uses the proxy"
)
PROXIES = {"https": "http://proxy.example:3128", "http": "http://other.example:3128"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_https_uses_the_proxy_of_the_environment() -> None:
    """A request over https uses the proxy for https."""
    proxy = environment_proxy(ORIGIN, lambda: PROXIES, lambda _: False)

    assert proxy == "http://proxy.example:3128"


def test_plain_http_uses_no_proxy() -> None:
    """A request over plain http, which is only for this machine, uses no proxy."""
    assert environment_proxy("http://localhost:8080", lambda: PROXIES, lambda _: False) is None


def test_a_host_in_no_proxy_uses_no_proxy() -> None:
    """The host and the port of an origin are looked up in `NO_PROXY`."""
    hosts: list[str] = []

    def bypass(host: str) -> int:
        hosts.append(host)
        return 1

    assert environment_proxy("https://acme.okta.com:8443", lambda: PROXIES, bypass) is None
    assert hosts == ["acme.okta.com:8443"]


def test_without_a_proxy_for_https_there_is_no_proxy() -> None:
    """If the environment names no proxy for https, no proxy is used."""
    assert environment_proxy(ORIGIN, lambda: {"http": PROXIES["http"]}, lambda _: False) is None


@pytest.mark.parametrize(
    ("case", "no_proxy", "proxy"),
    [
        (str.lower, "", "http://proxy.example:3128"),
        (str.upper, "example.com", "http://proxy.example:3128"),
        (str.upper, "acme.okta.com", None),
        (str.lower, "localhost,.okta.com", None),
        (str.lower, "acme.okta.com:8443", "http://proxy.example:3128"),
        (str.lower, "*", None),
    ],
)
def test_the_proxy_variables_are_those_of_the_standard_library(
    case: Callable[[str], str], no_proxy: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables are used as the standard library uses them, in either case of letters."""
    monkeypatch.setenv(case("https_proxy"), "http://proxy.example:3128")
    monkeypatch.setenv(case("no_proxy"), no_proxy)

    assert environment_proxy(ORIGIN) == proxy


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"HTTPS_PROXY": "proxy.example:3128"}, "http://proxy.example:3128"),
        ({"https_proxy": "me:pw@[::1]:3128"}, "http://me:pw@[::1]:3128"),
        ({"HTTPS_PROXY": "https://X.example"}, "https://X.example"),
        ({"ALL_PROXY": "proxy.example"}, "http://proxy.example"),
        ({"ALL_PROXY": "http://a.example", "HTTPS_PROXY": "http://b.example"}, "http://b.example"),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://proxy.example"}, None),
    ],
)
def test_the_variables_are_read_as_curl_reads_them(
    variables: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`host:port` is a proxy for http, and `ALL_PROXY` stands in for a missing `HTTPS_PROXY`."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert environment_proxy(ORIGIN) == proxy


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        (
            "HTTPS_PROXY",
            "socks5h://me:canary@proxy.example:1080",
            SOCKS,
        ),
        ("all_proxy", "SOCKS4://proxy.example", SOCKS),
        ("https_proxy", "ftp://canary.example", NEITHER),
        ("HTTPS_PROXY", "http://:3128", "it is not the URL of a proxy"),
        ("HTTPS_PROXY", "canary.example:port", "it is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://canary.example:0", "it is not the URL of a proxy"),
        ("HTTPS_PROXY", '"http://canary.example:3128"', NEITHER),
        ("HTTPS_PROXY", "canary.example:3128 ", "it is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://[canary", "it is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://me:canary://@proxy.example", "it is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://canary.exämple", "it is not the URL of a proxy"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_a_configuration_error(
    variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller gets an error that names the variable, but not its value, and nothing is sent."""
    monkeypatch.setenv(variable, value)
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("a-secret-of-the-client"))
    async with TokenProvider() as provider:
        for _ in range(2):
            with pytest.raises(ConfigurationError) as caught:
                await provider.get_token(client, "a")

            assert str(caught.value) == f"{variable}: {problem}; {REMEDY}"
        assert provider.stats().fetches_failed == 0


def test_a_proxy_of_the_operating_system_is_named_as_such() -> None:
    """If no variable has the value, the error names this machine's settings."""
    error = environment_proxy(ORIGIN, lambda: {"https": "socks://proxy.example"}, lambda _: False)

    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        "the proxy in this machine's settings: SOCKS proxies are not supported; set it to "
        "http://host:port, add the domain to NO_PROXY, or give the provider a session that uses "
        "the proxy"
    )
