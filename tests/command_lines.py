"""Which texts put a secret or a token on a command line.

Every user of a machine can read the arguments of all its processes. The environment of a process
can be read only by its own user and by root, but a line that sets a variable to a secret stays in
the history of the shell, so such a line is refused as well.
"""

import re

_CLIENTS = (
    r"(?<![\w./-])"
    r"(?:curl|wget|xh|aria2c|grpcurl|http (?=GET|POST|PUT|-|:|http)|redis-cli|valkey-cli)\b"
)
_SECRET_NAME = r"(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|STORE_KEYS?|API_?KEY)"
_PUBLIC = "the-well-known-secret-of-the-sandbox"
_COMMAND = r"(?:\S+/)?(?:python3? -m okta_tokens\.cli|okta-tokens)"

RULES = {
    "the output of a command becomes an argument": re.compile(
        r"(?:\$\(|(?<!\")\"`)\s*" + _COMMAND + r" (?:get|store-key)"
    ),
    "a header with a credential is an argument": re.compile(
        r"(?:-H|--header)[ =]*[\"']?(?:Proxy-)?(?:Authorization|DPoP)\s*:", re.IGNORECASE
    ),
    "a client gets a credential as an argument": re.compile(
        _CLIENTS + r"[^\n]*(?:"
        r"\s(?:-u|-U|-a|--user|--proxy-user|--pass|--http-password|--password)[ =](?!\w+://)|"
        r"--oauth2-bearer|"
        r"(?<![\w-])(?:client_secret|client_assertion|access_token|token)=|"
        r"\b(?:Bearer|DPoP|Basic) \S|"
        r"//[^\s/@]+:[^\s/@]+@)"
    ),
    "an option is a secret": re.compile(
        r"(?<![\w-])--(?:client-)?(?:secret|password|token)[ =][\"']?[\w$<]"
    ),
    "a variable with a secret becomes an argument": re.compile(
        r"\$\{?[A-Z0-9_]*" + _SECRET_NAME + r"\b"
    ),
    "a variable is set to a secret": re.compile(
        r"\b[A-Z0-9_]*" + _SECRET_NAME + r"=(?![\"']?(?:\s|$|\$\(cat |" + _PUBLIC + r"))\S",
        re.MULTILINE,
    ),
}
"""What a line must not do, and how that looks."""


def joined(text: str) -> str:
    """Return a text with each continued line of a shell on one line."""
    return re.sub(r"\\\n\s*", " ", text)


def offences(*texts: str) -> list[str]:
    """Return what the texts do that no text may do, with the place."""
    return [
        f"{rule}: {match[0]}"
        for text in texts
        for rule, pattern in RULES.items()
        for match in pattern.finditer(joined(text))
    ]
