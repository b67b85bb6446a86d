"""The simulation as a command: what happened, and how to see it again."""

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from okta_tokens import RefreshPolicy

SHORT = ["simulate", "--days", "0.5", "--seed", "3", "--keys", "4"]


def test_a_simulation_tells_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    """Its counts and its digest are printed, nothing else is, and the same seed gives the same."""
    printed = []
    for _ in range(2):
        assert command.main(SHORT) == 0
        printed.append(capsys.readouterr())

    (out, err), (again, _) = printed
    lines = out.splitlines()
    counts = dict(line.rsplit(maxsplit=1) for line in lines if line.startswith("  "))
    assert err == ""
    assert lines[0] == "seed 3, 4 keys, 0.5 days"
    assert {int(counts[f"  {name}"].replace(",", "")) > 0 for name in ("calls", "requests")} == {
        True
    }
    assert lines[:-1] == again.splitlines()[:-1]  # the last one is how long it took


def test_a_broken_rule_is_printed_as_a_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a failing simulation prints can be played: it fails as long as the defect is there."""
    path = tmp_path / "script"
    with monkeypatch.context() as broken:
        broken.setattr(RefreshPolicy, "refresh_after", lambda _, lifetime, __: lifetime / 3)
        assert command.main(SHORT) == 1
        out, err = capsys.readouterr()
        path.write_text(out)
        assert command.main(["simulate", "--replay", str(path)]) == 1
        replayed = capsys.readouterr().out

    assert err == "a rule was broken; looking for a shorter script that breaks it ...\n"
    assert "no renewal comes early" in out
    assert len([line for line in out.splitlines() if not line.startswith("#")]) < 10
    assert "no renewal comes early" in replayed.splitlines()[-1]
    assert command.main(["simulate", "--replay", str(path)]) == 0


@pytest.mark.parametrize("wrong", ["--days=0", "--days=-1", "--days=inf", "--keys=0", "--keys=x"])
def test_a_number_that_means_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """No days and no keys simulate nothing."""
    with pytest.raises(SystemExit) as exit_:
        command.main(["simulate", wrong])

    assert exit_.value.code == 2
    assert "is no positive number" in capsys.readouterr().err
