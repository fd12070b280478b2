"""`bylaw audit --stop` and `--power` on the command line, and what the reports say of them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bylaw.runtime.cli import main

RULES = """policy demo version "1"
rule clean { must not contain "bad" }
rule seldom { limit response contains "sorry" to at most 30% of responses }
"""


@pytest.fixture
def audit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.bylaw").write_text(RULES)
    lines = ({"prompt": f"q{n}", "response": f"{'sorry' if n % 10 == 0 else 'fine'} {n}"} for n in range(500))
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lambda *words: CliRunner().invoke(main, ["audit", "rules.bylaw", "answers.jsonl", *words])


def test_stopping_is_said_in_every_format_and_passes_the_gate(audit, tmp_path):
    found = audit("--stop", "--seed", "3", "--gate", "--format", "json")
    assert found.exit_code == 0, found.output
    record = json.loads(found.stdout)
    stopping = record["stopping"]
    assert [each["state"] for each in stopping["limits"]] == ["kept", "kept"]
    assert (stopping["read"], record["transcripts"], stopping["prompts"]) == (309, 309, 500)
    assert record["tests"] is None
    again = json.loads(audit("--stop", "--seed", "3", "--gate", "--format", "json").stdout)
    assert again == record
    other = json.loads(audit("--stop", "--seed", "4", "--format", "json").stdout)
    assert other["stopping"]["order"] != stopping["order"]
    assert audit("--stop", "--seed", "3", "--out", "report").exit_code == 0
    sentence = "Every limit that could be followed was decided after 309 of 500 prompts. 2 kept."
    text = audit("--stop", "--seed", "3").stdout
    for shown in (text, (tmp_path / "report/report.md").read_text(), (tmp_path / "report/report.html").read_text()):
        assert sentence in shown
        assert "however often one looks" in " ".join(shown.split()).lower()


def test_a_budget_leaves_limits_open_and_fails_the_gate(audit):
    found = audit("--stop", "--budget", "100", "--gate")
    assert found.exit_code == 4
    assert "The budget of 100 prompts ended the reading" in found.stdout
    assert "not within 100" in found.stdout
    assert audit("--stop", "--budget", "100").exit_code == 0
    # a looser word for "none" is decided sooner
    assert audit("--stop", "--budget", "100", "--stop-hard", "10%", "--gate").exit_code == 0


def test_what_is_broken_is_found_early(audit, tmp_path):
    lines = ({"prompt": f"q{n}", "response": "sorry, bad" if n % 2 else "fine"} for n in range(500))
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = audit("--stop", "--gate", "--format", "json")
    assert found.exit_code == 4
    stopping = json.loads(found.stdout)["stopping"]
    assert [each["state"] for each in stopping["limits"]] == ["broken", "broken"]
    assert stopping["read"] < 150


def test_planted_violations_are_found_or_fail_the_gate(audit):
    strong = audit("--power", "seldom=3", "--power-runs", "60", "--gate")
    assert strong.exit_code == 0, strong.output
    assert "Planted violations of `seldom` are found in at least 80% of audits such as this one." in strong.stdout
    weak = audit("--power", "seldom=0.5", "--power-runs", "60", "--gate", "--format", "json")
    assert weak.exit_code == 4
    (found,) = json.loads(weak.stdout)["power"]
    assert found["power"] < 0.5 < found["least"]
    assert found["untilted"] == 0
    assert audit("--power", "seldom=0.5", "--power-runs", "60").exit_code == 0


def test_reports_say_why_a_gate_does_not_pass(audit, tmp_path):
    weak = "Planted violations of `seldom` are not known to be found in at least 80% of audits such as this one"
    ended = "Of 2 rules and limits that must be kept, it cannot be told whether 1 were."
    for words, headline in (
        (("--power", "seldom=0.5", "--power-runs", "60"), weak),
        (("--stop", "--budget", "100"), ended),
    ):
        found = audit(*words, "--gate", "--out", "report", "--report", "html,md,junit,sarif")
        assert found.exit_code == 4, found.output
        summary = json.loads((tmp_path / "report/summary.json").read_text())
        assert (summary["result"], summary["gate"]) == ("cannot be told", False)
        assert summary["headline"].startswith(headline)
        junit = (tmp_path / "report/junit.xml").read_text()
        assert 'failures="0" errors="1"' in junit
        sarif = json.loads((tmp_path / "report/audit.sarif").read_text())
        assert sarif["runs"][0]["properties"]["result"] == "cannot be told"
        for name in ("audit.html", "audit.md"):
            assert "annot be told" in (tmp_path / "report" / name).read_text()
    # that the hard rule was not followed long enough is said where it stands
    states = {each["term"]: each["state"] for each in summary["terms"]}
    assert states == {"clean": "unknown", "seldom": "kept"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "10"), "--budget is of use with --stop only"),
        (("--seed", "1"), "--seed is of use with --stop only"),
        (("--stop-hard", "1%"), "--stop-hard is of use with --stop only"),
        (("--stop", "--stop-hard", "0"), "--stop-hard lies between 0% and 100%"),
        (("--stop", "--stop-range", "seldom=1"), "write it as RULE=LOWEST..HIGHEST"),
        (("--stop", "--stop-range", "seldom=0..1"), "a range is for a limit on a quantity, and `seldom` is none"),
        (("--stop", "--power", "seldom=1"), "--stop and --power do not go together"),
        (("--stop", "--against", "answers.jsonl"), "--stop and --against do not go together"),
        (("--power", "seldom"), "write it as RULE=MULTIPLIER"),
        (("--power", "seldom=-1"), "above 0 and at most 100"),
        (("--power", "seldm=1"), "there is no rule `seldm` to plant; rules here: clean, seldom"),
        (("--power", "clean=1"), "`clean` cannot be planted: no answer here breaks it"),
        (("--power-runs", "50"), "--power-runs and --power-least are of use with --power only"),
    ],
)
def test_each_wrong_word_is_one_message_and_exit_code_2(audit, words, message):
    found = audit(*words, "--out", "report")
    assert found.exit_code == 2, found.output
    assert message in " ".join(found.output.split())
    assert "Traceback" not in found.output
