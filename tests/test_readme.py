"""The README and the guides are true: every example runs, every link and every name exists."""

import asyncio
import json
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import trustme

from okta_tokens import errors
from okta_tokens.cli import main
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox, SandboxClient
from tests.keys import ec_key, pem, public_jwk
from tests.pages import EVENTS, OTHER_LINES, PAGES, ROOT, page

MARKED = r"^<!-- (recipe|diff|before): ([\w.]+) -->\n```(?:python|diff|bash)\n.*?^```$"
"""A marked example, which a test in `tests/recipes` runs."""

PROSE = [
    *PAGES.values(),
    *(ROOT / name for name in ("CHANGELOG.md", "benchmarks/README.md", "tests/README.md")),
    *sorted((ROOT / ".github").glob("*.md")),
]
"""Every page, with examples or without."""

MEASURED = {*re.findall(r"^\| (?:\w+: )?`(okta_tokens[\w.]+)`", page("telemetry"), re.MULTILINE)}
"""The names of instruments and attributes, as the guide lists them."""

SECRET = "the-secret-of-the-readme-is-long-enough-to-sign"


def examples(text: str) -> list[str]:
    """Return the unmarked Python examples of a page."""
    unmarked = re.sub(MARKED, "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```$", unmarked, flags=re.MULTILINE | re.DOTALL)


README = page("README")
FIRST = examples(README)[0]


def path_id(path: Path) -> str:
    """Return the name of a page for a test's id."""
    return str(path.relative_to(ROOT))


def sandbox() -> Sandbox:
    """Make a sandbox with the client of the examples."""
    app = SandboxClient(
        "0oa1b2c3",
        [SECRET],
        scopes={"orders:read", "orders:write", "okta.users.read"},
        keys=[public_jwk(ec_key(), kid="k1")],
    )
    return Sandbox([app])


async def test_the_first_example_is_a_whole_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variables of the sandbox the first example fetches a token."""
    async with Sandbox() as okta:
        for name, value in re.findall(r"^export (\w+)=(\S+)$", README, flags=re.MULTILINE):
            monkeypatch.setenv(name, value.replace("http://127.0.0.1:6582", okta.origin))
        await asyncio.to_thread(exec, compile(FIRST, "README.md", "exec"), {})

        assert "expires in 3600 s" in capsys.readouterr().out
        assert okta.token_requests == 1


def set_up_settings(monkeypatch: pytest.MonkeyPatch, home: Path, okta: Sandbox) -> None:
    """Set the variables and write the files that the examples read."""
    monkeypatch.chdir(home)
    (home / "key.pem").write_bytes(pem(ec_key()))
    (home / "client-secret").write_text(SECRET)
    key = {"key": pem(ec_key()).decode(), "kid": "k1"}
    (home / "signing-key.json").write_text(json.dumps(key))
    for prefix in ("OKTA_CLIENT_", "ORDERS_"):
        monkeypatch.setenv(f"{prefix}ORGURL", okta.origin)
        monkeypatch.setenv(f"{prefix}CLIENTID", "0oa1b2c3")
        monkeypatch.setenv(f"{prefix}SECRET", SECRET)
    monkeypatch.setenv("HOME", str(home))
    client = f"{{orgUrl: https://acme.okta.com, clientId: 0oa1b2c3, clientSecret: {SECRET}}}"
    for folder in (".okta", "secrets"):
        (home / folder).mkdir()
        (home / folder / "okta.yaml").touch(0o600)
        (home / folder / "okta.yaml").write_text(f"okta: {{client: {client}}}")
    authority = trustme.CA()
    (home / "company-ca.pem").write_bytes(authority.cert_pem.bytes())


@pytest.mark.parametrize(
    ("name", "requests"),
    [
        pytest.param("auth", 2, id="auth"),  # one of them for a nonce
        pytest.param("settings", 1, id="settings"),
        pytest.param("sandbox", 0, id="sandbox"),  # the example has a sandbox of its own
    ],
)
async def test_each_example_of_a_page_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, requests: int
) -> None:
    """Each example of a page runs as it stands, without the names of another one."""
    async with sandbox() as okta:
        set_up_settings(monkeypatch, tmp_path, okta)
        for text in examples(page(name)):
            example = text.replace('"acme.okta.com"', repr(okta.origin))
            example = example.replace("/run/secrets/okta/", f"{tmp_path}/")
            code = compile(example, path_id(PAGES[name]), "exec")
            await asyncio.to_thread(exec, code, {"__name__": "example"})

        assert okta.token_requests == requests


def test_every_example_has_a_test() -> None:
    """An unmarked example is on a page that is run; a test names each marked one."""
    unmarked = {name for name in PAGES if examples(page(name))}
    texts = "\n".join(map(page, PAGES))
    marked = {name for _, name in re.findall(MARKED, texts, flags=re.MULTILINE | re.DOTALL)}
    recipes = (ROOT / "tests/recipes").glob("test_*.py")
    others = (ROOT / "tests/stores/topologies/guide.py", ROOT / "tests/official/test_okta.py")
    tests = "".join(path.read_text() for path in (*recipes, *others))

    assert unmarked == {"README", "auth", "settings", "sandbox"}
    assert marked
    assert {name for name in marked if f'"{name}"' not in tests} == set()


def without_variable_parts(report: str) -> str:
    """Return a report of the doctor without the parts that differ from run to run."""
    for variable in (
        r"127\.0\.0\.1:\d+",
        r"request id \S+",
        r"(?:in|took) \d+ m?s",
        r"\d+\.\d s (ahead of|behind) Okta \(margin of error: \d+\.\d s\)",
    ):
        report = re.sub(variable, "…", report)
    return report


async def test_the_doctors_report_is_a_real_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report of the doctor in the guide is what the doctor prints for that sandbox."""
    ((command, shown),) = re.findall(
        r"^\$ okta-tokens ([^\n]*)\n(.*?)^```$", page("cli"), flags=re.MULTILINE | re.DOTALL
    )
    app = SandboxClient(DEFAULT_CLIENT.client_id, [SECRET], scopes=["orders:read"])
    async with Sandbox([app]) as okta:
        monkeypatch.setenv("OKTA_CLIENT_ORGURL", okta.origin)
        monkeypatch.setenv("OKTA_CLIENT_CLIENTID", app.client_id)
        monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
        code = await asyncio.to_thread(main, shlex.split(command))

    assert code == 1
    assert without_variable_parts(capsys.readouterr().out) == without_variable_parts(shown)


def test_every_error_is_in_the_table() -> None:
    """The README's table of errors names each class that is raised, and no other."""
    rows = set(re.findall(r"^\| `(\w+Error)` \|", README, flags=re.MULTILINE))
    bases = {"TokenProviderError", "FetchError"}

    assert rows == {name for name in errors.__all__ if name.endswith("Error")} - bases


def test_the_readme_is_short() -> None:
    """The README has at most 250 lines, and its first example less than 20."""
    assert README.count("\n") <= 250
    assert examples(README) == [FIRST]
    assert FIRST.count("\n") < 20


@pytest.mark.parametrize("path", PROSE, ids=path_id)
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    """A link to a file of this repository is relative, and the file exists."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))

    assert [target for target in targets if not (path.parent / target).exists()] == []


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^##+ (.*)$", path.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PROSE, ids=path_id)
def test_every_anchor_is_that_of_a_heading(path: Path) -> None:
    """A link into a page leads to one of its headings."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", path.read_text("utf-8"))
    pages = [(path.parent / target if target else path, anchor) for target, anchor in links]

    assert [each for each in pages if each[1] not in anchors(each[0])] == []


def test_the_readme_links_to_every_guide() -> None:
    """A reader finds each guide from the README."""
    targets = {(ROOT / target).resolve() for target in re.findall(r"\]\(([^)]+\.md)\)", README)}

    assert {*PAGES.values()} - targets == {PAGES["README"]}


def find(name: str) -> object:
    """Return what a dotted name stands for.

    Raises:
        AttributeError: If there is no such name.
        ModuleNotFoundError: If there is no such module.
    """
    first, *rest = name.split(".")
    found: object = import_module(first)
    path = first
    for part in rest:
        path = f"{path}.{part}"
        if isinstance(found, ModuleType) and not hasattr(found, part):
            found = import_module(path)
        else:
            found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", PROSE, ids=path_id)
def test_every_full_name_exists(path: Path) -> None:
    """A dotted name on any page that begins with `okta_tokens` exists, or is that of a log line."""
    names = set(re.findall(r"\bokta_tokens(?:\.[A-Za-z]\w*)+", path.read_text("utf-8")))
    names -= MEASURED

    for name in names - {*EVENTS, *OTHER_LINES}:
        assert find(name) is not None


@pytest.mark.parametrize("path", PROSE, ids=path_id)
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    """A path in code quotes is that of a file, seen from the root, the package, or the page."""
    names = set(re.findall(r"`((?:\.?\w+/)+[\w.]+\.\w+|_\w+\.py)`", path.read_text("utf-8")))
    bases = (ROOT, ROOT / "src", ROOT / "src/okta_tokens", path.parent)

    assert {name for name in names if not any((base / name).exists() for base in bases)} == set()
