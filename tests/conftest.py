"""Makes sibling helpers (tinymodels) importable: pytest's importlib mode does not put tests/ on sys.path."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected outputs under tests/golden")


class Golden:
    """Compares a text with a file under tests/golden, or writes the file with `--update-golden`."""

    def __init__(self, update: bool) -> None:
        self.folder = Path(__file__).parent / "golden"
        self._update = update

    def check(self, name: str, text: str) -> None:
        """Fails when tests/golden/NAME does not hold exactly this text."""
        path = self.folder / name
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run `pytest --update-golden` and look at what it writes"
        assert path.read_text(encoding="utf-8") == text


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(bool(request.config.getoption("--update-golden")))
