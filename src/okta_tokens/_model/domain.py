"""Parse the domain of a client: the Okta host, with an optional scheme and port."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from okta_tokens._model.urls import is_address, is_loopback, split
from okta_tokens._runtime.arguments import looks_secret, text_of

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
_MAX_HOST = 253  # characters; RFC 1035 section 2.3.4, without the final dot and as text
_MAX_URL = 1024  # characters that are parsed
_PLACEHOLDER = re.compile(r"[{}<>$]|your-?okta-?domain", re.IGNORECASE)


def parse_domain(domain: object, *, allow_http: bool = False) -> tuple[str, list[str]]:
    """Return the origin of a domain, and the problems of the domain.

    Args:
        domain: What the user gave: `host[:port]`, with or without `https://`.
        allow_http: Whether `http://` is valid for another machine.

    Returns:
        The origin, such as `https://acme.okta.com`, and what is wrong with the domain, as the ends
        of sentences that begin with the setting's name. The problems do not repeat the domain. If
        there are any, the origin is meaningless.
    """
    text = text_of(domain)
    if text is None or not text.strip():
        return "", ["is empty; give the Okta host, like acme.okta.com"]
    if is_placeholder(text):
        return "", ["is a placeholder; replace it with your Okta host"]
    if text.split() != [text]:
        return "", ["contains white space; remove it"]
    if looks_secret(text):
        return "", ["looks like a secret or a token; give the Okta host, like acme.okta.com"]
    url = text if "://" in text else f"https://{text}"
    parsed = split(url) if len(url) <= _MAX_URL else None
    if parsed is None:
        return "", ["is not host[:port]; give the Okta host, like acme.okta.com"]
    parts, origin = parsed
    return origin, _problems(text, parts, allow_http=allow_http)


def is_placeholder(text: str) -> bool:
    """Tell whether a text was copied from a documentation page without being filled in.

    Args:
        text: A domain or a client id.
    """
    return _PLACEHOLDER.search(text) is not None


def is_okta(origin: str, domain: str) -> bool:
    """Tell whether an API belongs to Okta.

    Args:
        origin: The origin of the API: scheme, host and port.
        domain: The origin of a client's domain, which belongs to Okta.
    """
    host = urlsplit(origin).hostname or ""
    return origin == domain or host.endswith(tuple(f".{base}" for base in _OKTA_DOMAINS))


def _problems(domain: str, url: SplitResult, *, allow_http: bool) -> list[str]:
    host = url.hostname or ""
    problems = []
    if url.scheme not in {"https", "http"}:
        problems.append("has a scheme other than https; use https")
    if url.scheme == "http" and not is_loopback(host) and not allow_http:
        problems.append(
            "plain http would send the secret in clear text; use https (http is for a server on "
            "this machine), or, in code, pass allow_http=True for a service mesh or a container's "
            "sandbox"
        )
    if "@" in url.netloc:
        problems.append(
            "contains a user name or password; remove it, and pass the credential as authentication"
        )
    if url.path not in {"", "/"}:
        problems.append("contains a path; give only the host, and authorization_server separately")
    if set(domain) & {"?", "#"}:
        problems.append("contains a query or fragment; give only the host")
    if not url.netloc.isascii() or not (_is_name(host) or is_address(host)):
        problems.append("is not a host name; write an international name in its xn-- form")
    if url.port == 0:
        problems.append("has port 0, which is invalid; give the port of the server")
    if any(host.endswith(f"-admin.{base}") for base in _OKTA_DOMAINS):
        problems.append("is the host of the admin console; remove -admin")
    if any(host.endswith(f"{base}.com") for base in _OKTA_DOMAINS if base.endswith(".com")):
        problems.append("ends in .com twice; remove one of them")
    return problems


def _is_name(host: str) -> bool:
    if host.rpartition(".")[2].isdecimal():
        return False  # some resolvers take it for an address
    return len(host) <= _MAX_HOST and _HOST.fullmatch(host) is not None
