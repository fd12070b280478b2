"""`bylaw import` as a person meets it: files, accounts, exit codes, nothing half-written."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bylaw.compiler.importers import importer, kinds
from bylaw.runtime.cli import main

GOOD = '{"key": 1, "prompt": "Hi", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}\n'
ODD = GOOD.replace("1", "2").replace('_comma"], "kwargs": [{}', '_comma", "new\\u001b:type"], "kwargs": [{}, {}')


def call(*arguments: object, text: bytes | str | None = None) -> Result:
    result = CliRunner().invoke(main, ["import", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(folder: Path, text: str = GOOD, name: str = "in.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_help_says_what_each_kind_is() -> None:
    said = " ".join(call("--help").stdout.split())
    assert kinds() == ("gitleaks", "ifeval", "model-spec", "promptfoo", "rbr")
    for kind in kinds():
        assert f"{kind} {importer(kind).summary}" in said
    with pytest.raises(LookupError, match="`interface`"):
        importer("interface")


def test_a_policy_goes_to_standard_output_and_its_account_to_the_other(tmp_path: Path) -> None:
    result = call("ifeval", written(tmp_path, GOOD + ODD))
    assert result.exit_code == 0
    assert result.stdout.startswith("# Imported: 2 prompts.")
    assert result.stderr.splitlines() == [
        "line 2  skipped  prompt 2: new :type  this type of instruction is not known",
        "3 parts: 2 imported, 1 skipped",
    ]
    assert "line 1" in call("ifeval", written(tmp_path, GOOD), "--verbose").stderr


def test_a_policy_and_its_suite_are_files_that_pass_a_check(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    out, suite = tmp_path / "prompts.bylaw", tmp_path / "suites" / "prompts.jsonl"
    result = call("ifeval", written(tmp_path), "--out", out, "--suite", suite)
    assert (result.exit_code, result.stdout) == (0, "")
    assert 'policy prompts version "0.1.0" edition 1' in out.read_text(encoding="utf-8")
    assert 'file "suites/prompts.jsonl"' in out.read_text(encoding="utf-8")
    assert suite.read_text(encoding="utf-8") == '{"prompt": "Hi", "meta": {"key": 1}}\n'
    assert CliRunner().invoke(main, ["check", "--strict", str(out)]).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "prompts.bylaw", "suites"]


def test_standard_input_and_json(tmp_path: Path) -> None:
    result = call("ifeval", "-", "--json", text=GOOD)
    report = json.loads(result.stdout)
    assert report["policy"].startswith("# Imported: 1 prompts.")
    assert report["counts"] == {"imported": 1, "changed": 0, "proposed": 0, "skipped": 0, "unreadable": 0}
    assert report["account"] == [
        {"place": "line 1", "what": "prompt 1: punctuation:no_comma", "outcome": "imported", "reason": ""}
    ]
    out = tmp_path / "a.bylaw"
    report = json.loads(call("ifeval", "-", "--json", "--out", out, text=GOOD).stdout)
    assert ("policy" in report, report["out"]) == (False, str(out))


EXITS = [((GOOD,), 0, 0), ((GOOD, ODD), 0, 3), ((GOOD, "{\n"), 3, 3), (("{\n",), 2, 2), ((), 2, 2)]


@pytest.mark.parametrize(("lines", "plain", "strict"), EXITS)
def test_exit_codes(lines: tuple[str, ...], plain: int, strict: int) -> None:
    assert call("ifeval", "-", text="".join(lines)).exit_code == plain
    assert call("ifeval", "-", "--strict", text="".join(lines)).exit_code == strict


def test_files_that_are_there_stay_unless_forced(tmp_path: Path) -> None:
    out, suite = written(tmp_path, "mine", "a.bylaw"), tmp_path / "b.jsonl"
    result = call("ifeval", written(tmp_path), "--out", out, "--suite", suite)
    assert (result.exit_code, result.stderr) == (2, f"error: `{out}` is there already; --force replaces it\n")
    assert (out.read_text(), suite.exists()) == ("mine", False)
    assert call("ifeval", written(tmp_path), "--out", out, "--force").exit_code == 0
    assert out.read_text().startswith("# Imported")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


WRONG = [
    (("ifeval", "in.jsonl", "--out", "a.txt"), "must end with `.bylaw`"),
    (("ifeval", "in.jsonl", "--out", "a.bylaw.md"), "must end with `.bylaw`"),
    (("model-spec", "in.jsonl", "--out", "a.bylaw"), "must end with `.bylaw.md`"),
    (("gitleaks", "in.jsonl", "--suite", "a.jsonl"), "`gitleaks` has no prompts for a suite"),
    (("ifeval", "in.jsonl", "--suite", "in.jsonl", "--force"), "must be different files"),
    (("ifeval", "in.jsonl", "--out", "none/a.bylaw"), "the folder of `none/a.bylaw` is not there"),
    (("ifeval", "missing"), "`missing` cannot be read: No such file"),
    (("ifeval", "."), "`.` cannot be read: Is a directory"),
    (("ifeval", "bytes"), "`bytes` is not UTF-8 text: line 2 has the byte 0xff"),
    (("gitleaks", "in.jsonl"), "`in.jsonl` cannot be imported: this is not TOML"),
    (("unknown", "in.jsonl"), "'unknown' is not one of"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_usage(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    (tmp_path / "bytes").write_bytes(b"a\n\xff")
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(os.listdir()) == ["bytes", "in.jsonl"]


def test_a_suite_needs_prompts(tmp_path: Path) -> None:
    config = "tests: [{assert: [{type: contains, value: a}]}]\n"
    suite = tmp_path / "s.jsonl"
    result = call("promptfoo", written(tmp_path, config, "c.yaml"), "--suite", suite)
    assert (result.exit_code, suite.exists()) == (2, False)
    assert "gives no prompts for a suite" in result.stderr


def test_a_policy_that_would_be_too_large() -> None:
    line = GOOD.replace(
        '["punctuation:no_comma"], "kwargs": [{}]', '["startend:end_checker"], "kwargs": [{"end_phrase": "PHRASE"}]'
    )
    text = "".join(line.replace('"key": 1', f'"key": {n}').replace("PHRASE", "x" * 9000) for n in range(120))
    result = call("ifeval", "-", text=text)
    assert result.exit_code == 2
    assert "the policy would have more than 1,000,000 bytes; split the input" in result.stderr
