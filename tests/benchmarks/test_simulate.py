"""The command `simulate`: its report, and the script that it prints for a broken rule."""

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from okta_tokens import RefreshPolicy

SHORT = ["simulate", "--days", "0.5", "--seed", "3", "--keys", "4"]


def test_a_simulation_prints_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints counts and a digest, which are the same for the same seed."""
    printed = []
    for _ in range(2):
        assert command.main(SHORT) == 0
        printed.append(capsys.readouterr())

    (out, err), (again, _) = printed
    lines = out.splitlines()
    counts = dict(line.rsplit(maxsplit=1) for line in lines if line.startswith("  "))
    assert err == ""
    assert lines[0] == "seed 3, 4 keys, 0.5 days"
    for name in ("calls", "requests", "renewals", "no fault"):
        assert int(counts[f"  {name}"].replace(",", "")) > 0
    assert lines[-2].startswith("digest: ")
    assert lines[-1].startswith("wall time: ")
    assert lines[:-1] == again.splitlines()[:-1]


def test_a_broken_rule_is_printed_as_a_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A printed script fails when it is replayed, until the defect is repaired."""
    path = tmp_path / "script"
    with monkeypatch.context() as broken:
        broken.setattr(RefreshPolicy, "refresh_after", lambda _, lifetime, *__: lifetime / 3)
        assert command.main(SHORT) == 1
        out, err = capsys.readouterr()
        path.write_text(out)
        assert command.main(["simulate", "--replay", str(path)]) == 1
        replayed = capsys.readouterr().out

    assert err == "A rule was broken. Looking for a shorter script that breaks it ...\n"
    assert "no renewal starts too early" in out
    assert len([line for line in out.splitlines() if not line.startswith("#")]) < 10
    assert "no renewal starts too early" in replayed.splitlines()[-1]
    assert command.main(["simulate", "--replay", str(path)]) == 0


@pytest.mark.parametrize("option", ["--days=0", "--days=-1", "--days=inf", "--keys=0", "--keys=x"])
def test_an_invalid_number_is_refused(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """The number of days and of keys must be positive and finite."""
    with pytest.raises(SystemExit) as exit_:
        command.main(["simulate", option])

    assert exit_.value.code == 2
    assert "is not a positive number" in capsys.readouterr().err
