"""What all tests share: helpers beside them, one thread for each worker, a cache folder of their own, golden files."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# pytest's importlib mode does not put tests/ on sys.path, where tinymodels and other helpers are.
sys.path.insert(0, str(Path(__file__).parent))

# Workers run side by side, one to each core: more threads in one of them only take time from the others. This is read
# when numpy and torch are loaded, and handed down to the programs that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

# Both of these are measured by the clock on the wall, so that a busy machine fails them. What must be fast has a test
# of its own, in seconds of the processor.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# While tests are collected, nearly all that is made stays: looking for what does not took a third of that time.
gc.disable()
# Later it is looked for less often than by default, which is every 700 objects: a tenth of the time of all tests.
GARBAGE_EVERY = (50_000, 20, 50)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected outputs under tests/golden")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One to each core, but one process for files that are named, and where several tests write README.md."""
    is_named = all(".py" in argument for argument in config.args)
    return 0 if is_named or config.getoption("--update-golden") else None


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update-golden: several tests write README.md, so it needs one process, as by -n 0")
    # No test looks at what is logged, and listening for it costs a hundredth of the time of all tests.
    config.pluginmanager.set_blocked("logging-plugin")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests with their parameters live until the end: the garbage collector need not look at them again
    and again, least of all in the middle of something that is timed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_EVERY)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered between runs lies in a folder of this worker, and no terminal says how wide tables are.

    Proofs and twists are remembered for all workers of a run: these stores are made for several processes, their keys
    name all that they hang on, and what is in them says the same as what would be worked out anew.
    """
    cache = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:
        for name in ("proofs", "twists"):
            shared = tmp_path_factory.getbasetemp().parent / "shared" / name
            shared.mkdir(parents=True, exist_ok=True)
            (cache / name).symlink_to(shared, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("BYLAW_CACHE", str(cache))
        yield


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
