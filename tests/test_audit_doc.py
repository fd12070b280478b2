"""runtime/audit/AUDIT.md is kept true: its commands are run on examples/audit, and what they print is compared.

A block of commands is shown whole, or from one line to another: `<!-- show "FROM" to "TO" -->` above it names how these
lines begin, and `…` stands for what is left out. `--update-golden` writes what is printed now.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bylaw.runtime.cli import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "runtime" / "audit" / "AUDIT.md"
BLOCK = re.compile(r'(<!-- show "(.*?)" to "(.*?)" -->\n)?^```console\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r'^\$ bylaw (?P<words>.*?)(?P<head> \| head -n (?P<lines>\d+))?(?P<code>; echo "exit \$\?")?$')
OMITTED = "…"


@pytest.fixture
def fennick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the example, as the page asks for it."""
    shutil.copytree(ROOT / "examples" / "audit", tmp_path / "fennick")
    monkeypatch.chdir(tmp_path / "fennick")
    monkeypatch.delenv("COLUMNS", raising=False)


def said(line: str, start: str, end: str) -> str:
    """What a command says now, between two lines."""
    found = COMMAND.match(line)
    assert found is not None, line
    result = CliRunner().invoke(main, shlex.split(found["words"]))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lines = [each.rstrip() for each in result.output.splitlines()]
    if found["lines"]:
        lines = [each.rstrip() for each in result.stdout.splitlines()][: int(found["lines"])]
    shown = excerpt(lines, start, end)
    if found["code"]:
        shown.append(f"exit {result.exit_code}")
    else:
        assert result.exit_code == 0, (line, result.output)
    return "\n".join([line, *shown]) + "\n"


def excerpt(lines: list[str], start: str, end: str) -> list[str]:
    """The lines from the first that begins with `start` to the next that begins with `end`, or all."""
    if not start and not end:
        return lines
    first = next((number for number, line in enumerate(lines) if line.startswith(start)), -1)
    last = next((number for number in range(first, len(lines)) if lines[number].startswith(end)), -1)
    assert min(first, last) >= 0, (start, end, lines)
    while not lines[first]:
        first += 1
    return [*([OMITTED] if first > 1 else []), *lines[first : last + 1], *([OMITTED] if lines[last + 1 :] else [])]


def now(page: str) -> str:
    """The page with what its commands say now."""

    def replaced(match: re.Match[str]) -> str:
        mark, start, end = match[1] or "", match[2] or "", match[3] or ""
        body = "".join(said(line, start, end) for line in match[4].splitlines() if line.startswith("$ "))
        return f"{mark}```console\n{body}```"

    return BLOCK.sub(replaced, page)


def test_commands_say_what_the_page_says(fennick: None, request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = now(page)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(found, encoding="utf-8")
    else:
        assert found.splitlines() == page.splitlines()
    assert len(BLOCK.findall(page)) >= 11
    assert {path.name for path in Path("report").iterdir()} == set(re.findall(r"`([\w.]+\.(?:\w+))`", files(page)))


def files(page: str) -> str:
    return page.split("| `--report` | file | for |")[1].split("\n\n")[0]


def test_verbs_and_options_that_the_page_names_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    context = click.Context(main)
    for line in re.findall(r"bylaw ((?:audit|label|plan|compare|sample|probe)\b[^`\n]*)", page):
        command, words = main.get_command(context, line.split()[0]), line.split()[1:]
        while isinstance(command, click.Group) and words and (inner := command.get_command(context, words[0])):
            command, words = inner, words[1:]
        assert command is not None, line
        options = {option for each in command.params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, line
    audit, plan = (main.get_command(context, name) for name in ("audit", "plan"))
    assert audit is not None
    assert plan is not None
    known = {option for command in (audit, plan) for each in command.params for option in each.opts}
    loose = set(re.findall(r"`(--[\w-]+)", page)) - {"--until-decided"}
    assert loose <= known, loose - known


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    from bylaw.runtime.cli import shared

    table = PAGE.read_text(encoding="utf-8").split("| exit code |")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == ["0", "1", "2", "3", "4", "130"]
    assert (shared.UNUSABLE, shared.LEFT_OUT) == (2, 3)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).exists(), target


def test_the_example_is_run_by_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command = (ROOT / "examples/audit/rules.bylaw").read_text(encoding="utf-8").partition("\n")[0]
    done = CliRunner().invoke(main, [*command.removeprefix("# bylaw ").split(), "--examples", "0"])
    assert (done.exit_code, "In 300 transcripts" in done.output) == (0, True)
