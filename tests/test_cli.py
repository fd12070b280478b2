"""The command line as a person meets it: exit codes, one clear message for each mistake, nothing half-written."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from bylaw.compiler.pipeline import compile_file
from bylaw.runtime.cli import VERBS, main
from bylaw.spec.errors import Diagnostic, Label, Severity
from bylaw.spec.source import Span

EXAMPLES = Path(__file__).parents[1] / "examples"
STORIES = Path(__file__).parents[2] / "shared" / "data" / "models" / "stories260K"


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def write(folder: Path, text: str, name: str = "rules.bylaw") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------------------- help
def test_every_verb_explains_itself() -> None:
    assert all(verb in call("--help").output for verb in VERBS)
    for verb in VERBS:
        result = call(verb, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.output


def test_an_unknown_verb_is_refused_with_a_suggestion() -> None:
    result = call("chek", "x")
    assert result.exit_code == 2
    assert "Did you mean `check`?" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_BYLAW_COMPLETE" in call("completion", shell).output


def completions(*words: str) -> list[tuple[str, str]]:
    """What a shell offers for the last word: kind and value."""
    *before, begun = words
    found = ShellComplete(main, {}, "bylaw", "_BYLAW_COMPLETE").get_completions(before, begun)
    return [(item.type, item.value) for item in found]


def test_verbs_and_options_complete() -> None:
    assert {("plain", verb) for verb in VERBS} <= set(completions(""))
    assert completions("upg") == [("plain", "upgrade")]
    assert completions("check", "--form") == [("plain", "--format")]
    assert [value for _, value in completions("check", "--format", "")] == ["text", "json", "sarif", "github", "junit"]
    assert completions("explain", "--format", "m") == [("plain", "markdown")]
    assert completions("explain", "p2")[0] == ("plain", "P201")
    assert [value for _, value in completions("new", "")] == ["policy", "predicate", "rule"]
    assert completions("new", "rule", "x", "--in") == [("plain", "--into")]
    assert completions("upgrade", "--d") == [("plain", "--diff")]


@pytest.mark.parametrize("words", [("check",), ("check", "--strict"), ("upgrade",), ("new", "rule", "x", "--into")])
def test_files_complete_to_policies(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    for name in ("a.bylaw", "b.bylaw.md", "notes.md", "policies/c.bylaw", "policies/d.txt"):
        (tmp_path / name).touch()
    assert completions(*words, "a") == [("plain", "a.bylaw")]
    assert completions("explain", "a") == [("plain", "a.bylaw")]
    assert completions(*words, "b") == [("plain", "b.bylaw.md")]
    assert completions(*words, "policies/") == [("plain", "policies/c.bylaw")]
    assert completions(*words, "./a") == [("plain", "./a.bylaw")]
    # Folders, other files and folders that do not exist are left to the shell.
    for begun in ("", "n", "pol", "none/x"):
        assert completions(*words, begun) == [("file", begun)]


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "bylaw", "--version"], [sys.executable, "-c", "import bylaw"]]
)
def test_works_from_any_directory(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------------------ check
@pytest.mark.parametrize("example", sorted(path.parent.name for path in EXAMPLES.glob("*/rules.bylaw")))
def test_the_examples_are_sound(example: str) -> None:
    result = call("check", EXAMPLES / example / "rules.bylaw")
    assert result.exit_code == 0
    assert "sound" in result.output
    assert "warning" not in result.output


@pytest.mark.parametrize(
    ("policy", "code", "words"),
    [
        ("rule r { must be jsn }", "P103", "a text cannot be `jsn`"),
        ("rule r { must sparkle }", "P005", "1:15"),
        ('rule a {\n  must contain "x"\n\nrule b { must contain "y" }', "P003", "a `{` is never closed"),
        ('rule a { must start with "Sure, " }\nrule b { must have no commas }', "P401", "can never both hold"),
    ],
)
def test_a_wrong_policy_gets_one_message_with_a_place(policy: str, code: str, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, policy)
    for arguments in (("check", path), ("run", path, "--out", tmp_path / "out"), ("audit", path, path)):
        result = call(*arguments)
        assert result.exit_code == 1
        assert result.output.count("error[") == 1
        assert f"error[{code}]" in result.output
        assert words in result.output
        assert f" --> {path}:" in result.output
    assert not (tmp_path / "out").exists()


def test_check_as_json_and_stages(tmp_path: Path) -> None:
    path = write(tmp_path, "rule r { must be jsn }")
    found = json.loads(call("check", path, "--format", "json").output)
    assert found["ok"] is False
    assert found["diagnostics"][0]["code"] == "P103"
    good = EXAMPLES / "support" / "rules.bylaw"
    for stage in ("ast", "regulators", "program"):
        assert json.loads(call("check", good, "--emit", stage).output)


def test_emit_wins_over_json(tmp_path: Path) -> None:
    good = EXAMPLES / "support" / "rules.bylaw"
    assert json.loads(call("check", good, "--emit", "program", "--format", "json").stdout)["policy"]
    result = call("check", write(tmp_path, "rule r { must be jsn }"), "--emit", "program", "--format", "json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error[P103]" in result.stderr


@pytest.mark.parametrize(("severity", "code", "words"), [("note", 0, ""), ("warning", 1, "; 1 warning")])
def test_strict_is_about_warnings_only(severity: str, code: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile_file(EXAMPLES / "support" / "rules.bylaw")
    said = Diagnostic("P402", Severity(severity), "something was not decided", Label(Span(0, 1)))
    monkeypatch.setattr("bylaw.compiler.pipeline.compile_file", lambda *_: replace(compiled, diagnostics=(said,)))
    result = call("check", "--strict", "rules.bylaw")
    assert result.exit_code == code
    assert result.stdout.endswith(f"examples checked{words}\n")
    assert "something was not decided" in result.stderr


def test_a_policy_that_cannot_be_read(tmp_path: Path) -> None:
    assert call("check", tmp_path / "none.bylaw").exit_code == 2
    (tmp_path / "binary.bylaw").write_bytes(b"rule \xff\xfe")
    result = call("check", tmp_path / "binary.bylaw")
    assert result.exit_code == 2
    assert "UTF-8" in result.output


# ------------------------------------------------------------------------------------------------------------ audit
POLICY = """
rule no_damn at root { must not mention "damn" }
rule rare { limit response mentions any of ["sorry"] to at most 10% of responses }
"""


def test_a_broken_line_is_named_and_the_rest_audited(tmp_path: Path) -> None:
    rules = write(tmp_path, POLICY)
    lines = [
        '{"prompt": "hi", "response": "Hello."}',
        '{"prompt": "hi", "resp',
        '{"prompt": "hi", "response": "Damn."}',
    ]
    transcripts = write(tmp_path, "\n".join(lines), "log.jsonl")
    result = call("audit", rules, transcripts, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "line 2" in result.output
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["transcripts"] == 2
    assert [term["violated"] for term in record["terms"]] == [1, 0]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html",
        "report.md",
        "report.json",
        "rates.svg",
    }


def test_the_gate_fails_on_a_broken_hard_rule_only_when_asked(tmp_path: Path) -> None:
    rules = write(tmp_path, POLICY)
    transcripts = write(tmp_path, '{"prompt": "hi", "response": "Damn."}\n', "log.jsonl")
    assert call("audit", rules, transcripts).exit_code == 0
    assert call("audit", rules, transcripts, "--gate").exit_code == 4


def test_the_gate_fails_on_what_could_not_be_scored(tmp_path: Path) -> None:
    rules = write(tmp_path, 'rule r at root { must not mention "damn" unless meta.topic == "quotes" }')
    transcripts = write(tmp_path, '{"prompt": "hi", "response": "Damn."}\n', "log.jsonl")
    assert call("audit", rules, transcripts).exit_code == 0
    result = call("audit", rules, transcripts, "--gate")
    assert result.exit_code == 4, result.output
    assert "no rule could be scored" in result.output


@pytest.mark.parametrize("verb", ["audit", "run"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = write(tmp_path, POLICY)
    log = write(tmp_path, '{"prompt": "hi", "response": "Damn."}\n', "log.jsonl")
    if verb == "run":
        pytest.importorskip("torch", reason="running a model needs the extra `models`")
        monkeypatch.setattr("bylaw.runtime.run.run_policy", lambda *_: pytest.fail("the work began"))
    inputs = (rules, "--prompts", log) if verb == "run" else (rules, log)
    for place in (log, log / "deeper"):
        result = call(verb, *inputs, "--out", place)
        assert result.exit_code == 2
        assert result.output.count("error:") == 1
        assert "cannot be written" in result.output


def test_columns_and_labels(tmp_path: Path) -> None:
    rules = write(tmp_path, POLICY)
    table = write(tmp_path, "q,a,label\nhi,Hello,fine\nhi,Damn it,rude\nyo,Damn!,fine\n", "log.csv")
    columns = ("--prompt-column", "q", "--response-column", "a")
    result = call("audit", rules, table, *columns, "--compare", "no_damn=label:rude", "--format", "json")
    assert result.exit_code == 0
    (agreement,) = json.loads(result.output)["agreements"]
    assert (agreement["true_positive"], agreement["false_positive"], agreement["true_negative"]) == (1, 1, 1)
    assert call("audit", rules, table, "--prompt-column", "qq", "--response-column", "a").exit_code == 2
    assert call("audit", rules, table, *columns, "--compare", "nothing=label:rude").exit_code == 2
    assert call("audit", rules, table, *columns, "--compare", "no_damn=label:typo").exit_code == 2


def test_transcripts_that_do_not_exist(tmp_path: Path) -> None:
    result = call("audit", write(tmp_path, POLICY), tmp_path / "none.jsonl")
    assert result.exit_code == 2
    assert result.output.count("error:") == 1


# -------------------------------------------------------------------------------------------------------------- run
def test_run_without_prompts(tmp_path: Path) -> None:
    result = call("run", write(tmp_path, POLICY))
    assert result.exit_code == 2
    assert "prompts.jsonl" in result.output


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_a_folder_that_is_not_a_model(content: str | None, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    rules, prompts = write(tmp_path, POLICY), write(tmp_path, '{"prompt": "hi"}\n', "prompts.jsonl")
    model = tmp_path / "model"
    if content is not None:
        model.mkdir()
        (model / "config.json").write_text(content, encoding="utf-8")
    result = call("run", rules, "--prompts", prompts, "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.output.count("error:") == 1
    assert str(model) in result.output
    assert not (tmp_path / "out").exists()


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run_policy(*_: object) -> None:
        raise error

    monkeypatch.setattr("bylaw.runtime.run.run_policy", run_policy)


@pytest.mark.parametrize(
    ("module", "name", "arguments", "code"),
    [
        ("runtime.enforcement", "EnforcementError", ("it is so", "no_damn"), 1),
        ("runtime.enforcement", "EnforcementError", ("it is so",), 1),
        ("runtime.calibration.problem", "TooFewSamples", ("it is so", ("rare",)), 1),
        ("compiler.factors", "Infeasible", (("no_damn",),), 1),
        ("runtime.twist", "TwistError", ("it is so",), 1),
        ("runtime.decoders.interface", "DecodeError", ("it is so",), 1),
        ("compiler.law.numerics", "EmptySupport", ("it is so",), 1),
        ("compiler.law.numerics", "LowEffectiveSampleSize", (3.0, 100.0), 1),
        ("runtime.models.interface", "ModelError", ("it is so",), 2),
        ("runtime.report", "ReportError", ("it is so",), 2),
    ],
)
def test_every_refusal_is_one_message(
    module: str, name: str, arguments: tuple[object, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    error = getattr(importlib.import_module(f"bylaw.{module}"), name)
    raised = error(*arguments)
    _failing(monkeypatch, raised)
    prompts = write(tmp_path, '{"prompt": "hi"}\n', "prompts.jsonl")
    result = call("run", write(tmp_path, POLICY), "--prompts", prompts, "--out", tmp_path / "out" / "deeper")
    assert result.exit_code == code, result.output
    assert len(re.findall(r"^error", result.output, re.MULTILINE)) == 1
    assert str(raised) in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "where", ["runtime.cli.shared.compile_file", "runtime.run.run_policy", "runtime.report.write_report"]
)
def test_ctrl_c_anywhere_is_one_word(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"bylaw.{where}", stop)
    if where.endswith("write_report"):
        monkeypatch.setattr("bylaw.runtime.run.run_policy", lambda *_: None)
    prompts = write(tmp_path, '{"prompt": "hi"}\n', "prompts.jsonl")
    result = call("run", write(tmp_path, POLICY), "--prompts", prompts, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.endswith("interrupted\n")
    assert not (tmp_path / "out").exists()


def test_a_verb_that_is_interrupted_while_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bylaw.runtime.cli.importlib.import_module", stop)
    result = CliRunner().invoke(main, ["check", "x"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_budget_that_the_model_cannot_meet_is_marked_in_the_policy(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    if not STORIES.is_dir():
        pytest.skip("the story model lies in shared/data beside the checkout, which is not here")
    # Every answer with an e in it has a vowel, so it cannot be a tenth of them.
    limit = "limit response contains /[aeiou]/ to at most 10% of responses"
    rules = write(tmp_path, f'rule e {{ must contain "e" }}\nrule r {{ {limit} }}')
    prompts = write(tmp_path, '{"prompt": "Once upon a time,"}\n' * 4, "prompts.jsonl")
    arguments = ("--model", STORIES, "--max-tokens", 12, "--samples", 20, "--particles", 40, "--out", tmp_path / "out")
    result = call("run", rules, "--prompts", prompts, *arguments)
    assert result.exit_code == 1, result.output
    assert "error[P703]" in result.output
    assert "the model cannot meet this budget" in result.output
    assert "limit response contains" in result.output
    assert not (tmp_path / "out").exists()


def test_run_writes_a_whole_report_that_is_repeatable(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    rules = write(
        tmp_path, 'rule polite at root { must not mention "sorry" }\nrule brief { should have at most 20 words }'
    )
    prompts = write(tmp_path, '{"prompt": "My lamp is broken."}\n{"prompt": "Where is my order?"}\n', "prompts.jsonl")
    sizes = ("--samples", 4, "--particles", 8, "--responses", 4, "--max-tokens", 30)
    records = []
    for name in ("one", "two"):
        result = call("run", rules, "--prompts", prompts, *sizes, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
        record = json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8"))
        record.pop("seconds")
        records.append(record)
    assert records[0] == records[1]
    assert records[0]["temperature"] == 1.0
    assert records[0]["prompts_digest"] == hashlib.sha256(prompts.read_bytes()).hexdigest()
    assert records[0]["complete"]
    assert (tmp_path / "one" / "report.html").stat().st_size > 5_000


def test_ctrl_c_leaves_a_partial_report(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    import signal
    import time

    rules = EXAMPLES / "support" / "rules.bylaw"
    lines = (EXAMPLES / "support" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = write(tmp_path, "\n".join(lines[:12]), "prompts.jsonl")
    command = [sys.executable, "-m", "bylaw", "run", str(rules), "--prompts", str(prompts), "--samples", "4"]
    command += ["--out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("calibrating"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, rest
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["complete"] is False
    assert record["base"] is not None
    assert record["regulated"] is None
    assert "nterrupted" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
