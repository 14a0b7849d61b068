"""Every example runs at its smallest size and says what it found."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
SAYS = {
    "01_first_loop.py": ["cloning: ", " of 4 (95 % ", "DAgger: ", "DAgger - cloning: "],
    "02_your_own_arrays.py": ["policy ", "repeat last command", "mean action"],
    "03_your_controller.py": ["  0 ms late:  4 of 4 stay on the road", "100 ms late"],
}


def test_all_examples_are_covered() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--smoke"])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    said = capsys.readouterr().out
    for text in SAYS[name]:
        assert text in said
    assert len((EXAMPLES / name).read_text().splitlines()) < 60, "an example fits on a screen"
