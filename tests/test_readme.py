"""The README is true: its commands are those that CI runs, its output is that of the committed run, its code works."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.runtime.cli import main
from bylaw.runtime.record import RunRecord, run_from_json
from bylaw.runtime.report import render_console, render_picture
from bylaw.spec.source import Source

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPECTED = ROOT / "examples" / "support" / "expected"
WIDTH = 118


def block(name: str) -> str:
    found = re.search(rf"^<!-- {name} -->\n```\w*\n(.*?)```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found.group(1)


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return run_from_json((EXPECTED / "report.json").read_text(encoding="utf-8"))


def printed(record: RunRecord) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    render_console(record, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def test_the_output_is_that_of_the_committed_run(record: RunRecord, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        start = README.index("<!-- output -->\n```text\n") + len("<!-- output -->\n```text\n")
        changed = README[:start] + printed(record) + README[README.index("```", start) :]
        (ROOT / "README.md").write_text(changed, encoding="utf-8")
        (EXPECTED / "rates.svg").write_text(render_picture(record) or "", encoding="utf-8")
        return
    assert block("output") == printed(record)
    assert (EXPECTED / "rates.svg").read_text(encoding="utf-8") == render_picture(record)


def test_the_committed_run_is_of_the_shipped_policy_model_and_prompts(record: RunRecord) -> None:
    compiled = compile_file(ROOT / "examples" / "support" / "rules.bylaw")
    assert record.policy_digest == compiled.require().digest
    assert record.policy_text == compiled.source.text
    assert record.complete
    assert record.prompt_count == len(
        (ROOT / "examples/support/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    )
    pytest.importorskip("torch", reason="the digest of the model is computed where models can be loaded")
    from bylaw.runtime.default_model import default_model_path
    from bylaw.runtime.models.huggingface import load_model

    assert record.model_digest == load_model(default_model_path()).digest


def test_the_committed_run_says_what_the_main_job_promises(record: RunRecord) -> None:
    assert record.base is not None
    assert record.regulated is not None
    assert record.calibration is not None
    checked = record.check or record.calibration
    assert any(term.violated for term in record.base.terms if term.kind == "hard")
    assert not any(term.violated for term in record.regulated.terms if term.kind == "hard")
    assert all(budget.status.startswith("met") for budget in checked.budgets)


def test_the_policy_of_the_readme_is_sound() -> None:
    found = re.search(r"^```bylaw\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert compile_source(Source.of("README.md", found.group(1))).ok


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    monkeypatch.chdir(ROOT)
    exec(compile(found.group(1), "README.md", "exec"), {})
    assert capsys.readouterr().out == "violated\n"


def test_the_committed_calibration_is_of_the_shipped_policy_model_and_prompts(record: RunRecord) -> None:
    from bylaw.runtime.calibration.record import load_record

    kept = load_record(EXPECTED / "calibration")
    assert kept.rules == record.policy_digest
    assert (kept.model_digest, kept.prompts_digest != "") == (record.model_digest, True)
    prompts = (ROOT / "examples/support/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["id"] for line in prompts} >= {prompt.prompt for b in kept.budgets for prompt in b.prompts}
    assert all(budget.status == "binding" for budget in kept.budgets)


@pytest.mark.parametrize("name", ["explain", "coverage", "diff", "residual", "price", "fit", "audit", "concept"])
def test_the_output_of_a_command_is_what_it_prints(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command = shlex.split(block(name).replace("\\\n", " "))
    assert command[0] == "bylaw"
    done = CliRunner().invoke(main, command[1:])
    assert done.exit_code == 0
    if request.config.getoption("--update-golden"):
        page = (ROOT / "README.md").read_text(encoding="utf-8")
        opened = f"<!-- {name}-output -->\n```text\n"
        start = page.index(opened) + len(opened)
        shown = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        changed = page[:start] + shown + page[page.index("```", start) :]
        (ROOT / "README.md").write_text(changed, encoding="utf-8")
        return
    assert settled(block(f"{name}-output")) == settled(done.stdout)


def settled(printed: str) -> list[str]:
    """The lines but one: which of several smallest sets of judgements `fit` names is up to a solver."""
    lines = [line.rstrip() for line in printed.splitlines()]
    return [
        line for before, line in zip(["", *lines], lines, strict=False) if "weights that do not exist" not in before
    ]


def test_the_commands_for_authors_are_commands() -> None:
    named = set(re.findall(r"^\| `bylaw (\w+)", README, re.MULTILINE))
    assert named
    assert named <= set(main.list_commands(click.Context(main)))


def test_the_kinds_of_imports_are_these() -> None:
    from bylaw.compiler import importers

    table = README[README.index("| kind |") :].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == list(importers.kinds())


def test_the_hooks_of_the_readme_are_those_of_the_repository() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert all(f"`{hook['id']}`" in README for hook in hooks)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_commands_that_ci_runs_are_these() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name in ("main-job", "tests"):
        assert name in ci
        assert block(name).startswith("python3 -m venv .venv && ")


def test_records_survive_json(record: RunRecord) -> None:
    from bylaw.runtime.record import to_json

    assert run_from_json(to_json(record)) == record
    assert json.loads(to_json(record))["schema_version"] == 1


def test_the_answer_under_a_policy_comes_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer itself is sampled, and another processor rounds otherwise: compared is what is told about it."""
    pytest.importorskip("torch", reason="answers need a model")
    shown = block("generate").replace("\\\n", " ")
    command, _, _ = shown.partition("\n")
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, shlex.split(command.removeprefix("$ bylaw ")))
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if "heavy tail" not in line]
    expected = [line for line in shown.splitlines() if line.startswith(("note:", "sampling", "prompt"))]
    assert [re.sub(r"[\d.]+", "#", line) for line in told] == [re.sub(r"[\d.]+", "#", line) for line in expected]
    assert len(result.stdout.split()) > 20
