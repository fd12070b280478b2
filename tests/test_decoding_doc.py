"""runtime/DECODING.md is kept true: its commands and snippets are run, and what they say is compared.

Answers are sampled, and another processor rounds otherwise, so that one draw among thousands falls on the other side of
its threshold and another answer comes. Compared is what does not hang on that: each command and snippet, what is told
about an answer (without its numbers), what has a label. `--update-golden` writes what is said now.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from click.testing import CliRunner

from bylaw.runtime.cli import main
from bylaw.runtime.decoders.choose import decoder_names
from bylaw.runtime.generation.prepare import LEAST_SAMPLES

PAGE = Path(__file__).parents[1] / "runtime" / "DECODING.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the page, in the working directory."""
    blocks = dict(reversed([(match[1], match[2]) for match in FENCE.finditer(PAGE.read_text(encoding="utf-8"))]))
    (tmp_path / "rules.bylaw").write_text(blocks["bylaw"], encoding="utf-8")
    (tmp_path / "prompts.jsonl").write_text(blocks["json"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)


TOLD = re.compile(r"(\$ |prompt |note: |warning: |wrote |sampling |policy |log |\d+ answers|rules in force|\[-?\d)")
BY_CHANCE = re.compile(r"heavy tail|proposals left|no position was changed|were resampled")


def frame(page: str) -> list[list[str]]:
    """The words of all lines of a page, without numbers; of what commands and snippets say, those that do not hang on
    the one answer that was drawn."""
    found, inside = [], False
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line in ("```console", "```text")
        if not inside or (TOLD.match(line) and not BY_CHANCE.search(line)):
            found.append(re.sub(r"[-+−]?\d[\d.]*", "#", line).split())
    return found


def said_by_commands(block: str) -> str:
    """The commands of a block, each followed by what it says now."""
    parts = []
    for command in re.findall(r"^\$ bylaw (.*)$", block, re.MULTILINE):
        result = CliRunner().invoke(main, shlex.split(command))
        assert result.exit_code == 0, result.output
        parts.append(f"$ bylaw {command}\n{result.output.rstrip()}\n")
    return "".join(parts)


def said_by_snippet(source: str, names: dict[str, object]) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(source, str(PAGE), "exec"), names)
    return said.getvalue().rstrip() + "\n"


def now(page: str) -> str:
    """The page with what its commands and snippets say now."""
    names: dict[str, object] = {}
    last = ""

    def replaced(match: re.Match[str]) -> str:
        nonlocal last
        kind, body = match[1], match[2]
        if kind == "console":
            body = said_by_commands(body)
        elif kind == "python":
            last = said_by_snippet(body, names)
        elif kind == "text":
            body = last
        return f"```{kind}\n{body}```"

    return FENCE.sub(replaced, page)


def test_commands_and_snippets_say_what_the_page_says(beside: None, request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = now(page)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(found, encoding="utf-8")
    else:
        assert frame(found) == frame(page)
        assert len(frame(found)) > 200
    assert page.count("```python") == page.count("```text") >= 4
    assert os.path.exists("report/prompt-1-answer-1.svg")


def test_every_decoder_is_in_the_table() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## Which decoder")[1].split("`bylaw generate --decoders`")[0]
    assert all(f"`{name}`" in table for name in decoder_names())


def test_the_default_is_the_one_that_was_measured() -> None:
    assert f"why {LEAST_SAMPLES} is the default for a single prompt" in " ".join(
        PAGE.read_text(encoding="utf-8").split()
    )


def test_the_table_of_base_samples_is_that_of_the_bench() -> None:
    measured = PAGE.parents[1] / "tests" / "bench" / "decoding" / "bench_base_samples.txt"
    rows = [line.split()[:6] for line in measured.read_text(encoding="utf-8").splitlines()[2:]]
    assert len(rows) == 5
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {' | '.join(row)} |" in page for row in rows)
