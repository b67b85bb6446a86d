"""Files of keys and secrets: what is read, and what is said about a file that cannot be used."""

from pathlib import Path
from typing import Self

import pytest

from okta_tokens._auth.files import UnreadableFile, is_open_to_others, read_file
from okta_tokens._auth.signing import load_thumbprint, read_material
from tests.keys import ec_key, pem


def problem_of(path: Path) -> str:
    """Return what is wrong with a file."""
    found = read_file(path)
    assert isinstance(found, UnreadableFile)
    return found.problem


def test_a_file_is_read_through_a_link_that_changes(tmp_path: Path) -> None:
    """A link is followed each time, as Kubernetes replaces the files of a secret."""
    link = tmp_path / "key"
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name)

        assert read_file(link) == name.encode()


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path that begins with a tilde is below the home directory of the process."""
    (tmp_path / "key").write_text("x")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert read_file(Path("~/key")) == b"x"


def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem names the path, and the reason of the system."""
    monkeypatch.chdir(tmp_path)
    path = Path("key")

    assert problem_of(path) == (
        f"cannot be read from {path}: no such file or directory; check the path"
    )
    assert problem_of(Path("..")) == "cannot be read from ..: is a directory; check the path"
    assert problem_of(Path("\0")) == "cannot be read from the file: ValueError; check the path"
    path.write_text(" \n")
    assert problem_of(path) == f"is missing: {path} is empty; check what writes the file"
    path.write_bytes(b"x" * 65_537)
    assert problem_of(path) == f"is too long: {path} has more than 64 KiB; check the path"


def test_a_file_that_is_gone_is_not_open_to_others() -> None:
    """A file that is removed after it was read is no warning."""
    assert not is_open_to_others(Path("/nowhere/key"))


def test_a_long_path_is_shown_by_its_last_name() -> None:
    """A path whose names are as mixed as a secret is shown as far as it looks like a path."""
    home = Path("/home/JohnDoe1/projects/2026/orders-service/secrets/okta")

    assert "from …/privateKey.pem: no such file" in problem_of(home / "privateKey.pem")


@pytest.mark.parametrize(
    "text",
    [pem(ec_key()).decode(), "x" * 300, "MHcCAQEEIODNC1fE3ryWzW0vzPW2lXcJmGRQS2xPmV8mKO0bQm1U"],
    ids=["pem", "long", "base64"],
)
def test_what_may_be_a_key_is_not_named(text: str) -> None:
    """A text that is a key instead of a path is not repeated."""
    assert "from the file: " in problem_of(Path(text))


def test_the_code_of_a_path_may_raise() -> None:
    """An error of a subclass's own code is a problem of the file."""

    class Broken(type(Path())):  # type: ignore[misc]  # before 3.12 a `Path` has no subclass
        def expanduser(self) -> Self:
            raise RuntimeError("no home")

        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert problem_of(Broken("x")) == "cannot be read from the file: RuntimeError; check the path"


def test_a_public_key_file_that_cannot_be_read_is_named() -> None:
    """The public key of a signer may be a file, too."""
    assert load_thumbprint(read_material(Path("nowhere"))) == (
        None,
        "cannot be read from nowhere: no such file or directory; check the path",
    )
