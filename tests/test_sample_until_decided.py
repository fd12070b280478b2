"""`bylaw sample --until-decided`: no question more than it takes, and an audit of these answers decides the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sample_server import NAME, prompts, server

from bylaw.runtime.cli import main

RULES = """policy lamps version "1"
rule polite { must not contain "guarantee" }
rule seldom { limit response contains "sorry" to at most 40% of responses }
"""


def answer(body: dict[str, object]) -> str:
    number = hashlib.sha256(json.dumps(body["messages"]).encode()).digest()[0]
    return "sorry" if number % 10 == 0 else "on its way"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Path("prompts.jsonl").write_text(prompts(120))
    Path("rules.bylaw").write_text(RULES.replace('rule polite { must not contain "guarantee" }\n', ""))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


def ask(url: str, *words: str) -> Result:
    return run("sample", "rules.bylaw", "--endpoint", url, "--model", NAME, "--out", "a.samples", *words)


def test_no_more_is_asked_and_the_audit_decides_the_same(folder: Path) -> None:
    with server(judge=answer) as at:
        found = ask(at.url, "--until-decided", "--seed", "5", "--json")
        assert found.exit_code == 0, found.output
        said = json.loads(found.stdout)
        assert said["stopping"]["ended"] == "decided"
        assert said["samples"]["answered"] == len(at.requests) == said["stopping"]["transcripts_read"] < 120
        assert len(at.requests) % 20 == 0
        again = json.loads(ask(at.url, "--until-decided", "--seed", "5", "--json").stdout)
        assert again["stopping"] == said["stopping"]
        assert again["this_call"]["requests"] == 0
        text = ask(at.url, "--until-decided", "--seed", "5")
        assert "Every limit that could be followed was decided after" in text.stdout
    for transcripts in ("a.jsonl", "a.samples"):
        audited = run("audit", "rules.bylaw", transcripts, "--stop", "--seed", "5", "--format", "json")
        (limit,) = json.loads(audited.stdout)["stopping"]["limits"]
        (decided,) = said["stopping"]["limits"]
        assert (limit["state"], limit["decided_at"]) == ("kept", decided["decided_at"])


def test_a_budget_leaves_it_open(folder: Path) -> None:
    Path("rules.bylaw").write_text(RULES)
    with server(judge=answer) as at:
        found = ask(at.url, "--until-decided", "--budget-requests", "30")
        assert found.exit_code == 3
        assert "the budget of 30 requests is used up" in found.output
        assert "undecided" in found.output
        # what goes on asks the rest, all of it: 120 prompts cannot show a hard rule
        rest = ask(at.url, "--until-decided")
        assert rest.exit_code == 0
        assert "All 120 prompts were read. 1 undecided, 1 kept." in rest.output
        assert len(at.requests) == 120


@pytest.mark.parametrize(
    ("rules", "source", "message"),
    [
        (RULES, "prompts.jsonl", "--until-decided needs a policy RULES"),
        ('policy x version "1"\nrule kind { should contain "please" weight 1 }\n', "rules.bylaw", "nothing to decide"),
        (
            'policy x version "1"\nconcept rude means "Insults." { like "You fool." unlike "No." }\n'
            "rule kind { limit response expresses rude to at most 10% of responses }\n",
            "rules.bylaw",
            "`kind` hangs on what a text expresses",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused_before_anything_is_asked(folder, rules, source, message) -> None:
    Path("rules.bylaw").write_text(rules)
    found = run(
        "sample",
        source,
        "--endpoint",
        "http://127.0.0.1:9/v1",
        "--model",
        NAME,
        "--out",
        "a.samples",
        "--until-decided",
    )
    assert found.exit_code == 2
    assert message in " ".join(found.output.split())
    assert not Path("a.samples").exists()
