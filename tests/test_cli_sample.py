"""`bylaw sample`: what is refused before anything is asked or written, and what a run says of itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from judge_server import BEHAVIOURS, KEY, Exchange
from sample_server import NAME, RULES, prompts, server

from bylaw.runtime.cli import main

NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("BIRCHWOOD_KEY", raising=False)
    Path("prompts.jsonl").write_text(prompts(4))
    Path("rules.bylaw").write_text(RULES)
    return tmp_path


def sample(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sample", *arguments])


def ask(url: str, *arguments: str) -> Result:
    return sample("prompts.jsonl", "--endpoint", url, "--model", NAME, "--out", "a.samples", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prompts.jsonl", "--endpoint", NOWHERE, "--out", "a.samples"], "an endpoint needs --model"),
        (["prompts.jsonl", "--endpoint", "lamps", "--model", "x", "--out", "a"], "is no address of an endpoint"),
        (["prompts.jsonl", "--endpoint", "http://a:b@c/v1", "--model", "x", "--out", "a"], "must not hold a password"),
        (["prompts.jsonl", "--regulated", "--out", "a.samples"], "--regulated needs a policy RULES"),
        (["rules.bylaw", "--regulated", "--endpoint", NOWHERE, "--out", "a"], "which no endpoint gives"),
        (["prompts.jsonl", "--prompts", "prompts.jsonl", "--out", "a.samples"], "with a policy RULES only"),
        (["prompts.jsonl", "--endpoint-key", "KEY", "--out", "a.samples"], "of use with --endpoint only"),
        (["prompts.jsonl", "--no-seed", "--out", "a.samples"], "of use with --endpoint only"),
        (["prompts.jsonl", "--temperature", "0", "--out", "a.samples"], "needs a --temperature above 0"),
        (["prompts.jsonl", "--temperature", "nan", "--out", "a.samples"], "not a temperature"),
        (["prompts.jsonl", "--budget-seconds", "inf", "--out", "a.samples"], "not a number that can be used"),
        (["prompts.jsonl", "--calibration", "c", "--out", "a.samples"], "of use with --regulated only"),
        (["prompts.jsonl", "--stop", "", "--out", "a.samples"], "an empty --stop"),
        (["prompts.jsonl", "--endpoint", NOWHERE, "--model", "x", "--out", "prompts.jsonl"], "is what is read"),
        (["prompts.jsonl", "--endpoint", NOWHERE, "--model", "x", "--out", "prompts.samples"], "is not of this run"),
        (["prompts.jsonl", "--endpoint", NOWHERE, "--model", "x", "--out", "a.jsonl"], "both the store"),
        (["prompts.jsonl", "--endpoint", NOWHERE, "--model", "x", "--out", "old.samples"], "is not of this run"),
        (["prompts.jsonl", "--endpoint", NOWHERE, "--model", "x", "--out", "no/a.samples"], "there is no folder"),
        (["prompts.jsonl", "--endpoint", NOWHERE, "--model", "x", "--out", "."], "is a folder"),
        (["prompts.jsonl", "--system", "none.txt", "--out", "a.samples"], "`none.txt` cannot be read"),
        (["none.jsonl", "--out", "a.samples"], "there is no file `none.jsonl`"),
        (["empty.jsonl", "--out", "a.samples"], "there is no prompt to read"),
    ],
)
def test_what_cannot_be_is_one_message_and_nothing_written(folder: Path, arguments: list[str], words: str) -> None:
    Path("empty.jsonl").write_text("")
    Path("old.jsonl").write_text('{"prompt": "mine"}\n')
    before = {path: path.read_bytes() for path in folder.iterdir()}
    found = sample(*arguments)
    assert found.exit_code == 2
    assert words in " ".join(found.output.split())
    assert "Traceback" not in found.output
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_without_the_extra_nothing_is_begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    before = set(folder.iterdir())
    found = ask(NOWHERE)
    assert found.exit_code == 2
    assert " ".join(found.output.split()) == (
        "error: an endpoint needs the extra `endpoint` (openai is missing): install bylaw with it, as in "
        "pip install '.[endpoint]'"
    )
    assert set(folder.iterdir()) == before


def test_a_dry_run_says_the_price_and_writes_nothing(folder: Path) -> None:
    before = set(folder.iterdir())
    found = ask(NOWHERE, "--epochs", "3", "--max-tokens", "100", "--dry-run", "--price-in", "10", "--price-out", "1000")
    assert found.exit_code == 0
    # "Where is order 0?" has 17 bytes: 6 tokens, and 8 for the message.
    assert "12 samples, 12 to ask: about 168 tokens in and at most 1,200 out" in found.output
    assert "at most about 1.20 at these prices" in found.output
    assert set(folder.iterdir()) == before


def test_a_run_says_how_it_stands(folder: Path) -> None:
    def script(body: dict[str, object], number: int) -> str:
        return "content filter" if "order 1?" in str(body["messages"]) else "verdict"

    Path("system.txt").write_text("Be kind.\n")
    with server(script=script) as at:
        first = ask(at.url, "--budget-requests", "2", "--system", "system.txt")
        assert first.exit_code == 3
        assert "still to ask" in first.output
        assert "the budget of 2 requests is used up" in first.output
        found = ask(at.url, "--json", "--system", "system.txt")
        assert found.exit_code == 3
        said = json.loads(found.stdout)
        assert said["samples"]["planned"] == 4
        assert said["samples"]["answered"] == 3
        assert said["samples"]["failed"] == {"filtered": 1}
        assert said["samples"]["missing"] == 0
        assert said["this_call"]["requests"] == 2
        assert [each["role"] for each in at.requests[0]["messages"]] == ["system", "user"]
        assert at.requests[0]["messages"][0]["content"] == "Be kind."
        other = ask(at.url, "--temperature", "0", "--system", "system.txt")
        assert other.exit_code == 2
        assert "other settings: temperature (1.0, now 0.0); name another file" in other.output
        assert len(at.requests) == 4
    audited = CliRunner().invoke(main, ["audit", "rules.bylaw", "a.jsonl", "--format", "json"])
    assert [term["unscored"] for term in json.loads(audited.stdout)["terms"]] == [1, 1]


def test_the_key_is_sent_and_never_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as at:
        missing = ask(at.url, "--endpoint-key", "BIRCHWOOD_KEY")
        assert missing.exit_code == 2
        assert "`BIRCHWOOD_KEY` that should hold the API key is not set" in missing.output
        assert not Path("a.samples").exists()
        monkeypatch.setenv("BIRCHWOOD_KEY", KEY)
        found = ask(at.url, "--endpoint-key", "BIRCHWOOD_KEY")
        assert found.exit_code == 0, found.output
        assert {headers["authorization"] for headers in at.headers} == {f"Bearer {KEY}"}
        assert "***" not in Path("a.jsonl").read_text()

    def echo(it: Exchange) -> None:
        it.send(200, it.answer(message={"content": f"You sent {it.headers['authorization']}."}, model=KEY))

    monkeypatch.setitem(BEHAVIOURS, "echo", echo)
    with server(script=lambda body, number: "echo") as at:
        said = ask(at.url, "--endpoint-key", "BIRCHWOOD_KEY", "--out", "b.samples", "--json")
        assert (
            json.loads(Path("b.jsonl").read_text().splitlines()[0])["messages"][-1]["content"] == "You sent Bearer ***."
        )
    assert not any(KEY.encode() in path.read_bytes() for path in folder.iterdir())
    assert KEY not in found.output + said.output


def test_a_regulated_model_goes_on_and_keeps_its_rules(folder: Path) -> None:
    pytest.importorskip("torch", reason="running a model needs the extra `models`")
    Path("rules.bylaw").write_text(RULES.split("rule")[0] + 'rule short at user { response must not contain "e" }\n')
    Path("prompts.jsonl").write_text(prompts(2))
    arguments = ["rules.bylaw", "--regulated", "--epochs", "2", "--max-tokens", "6", "--out"]
    whole = sample(*arguments, "whole.samples")
    assert whole.exit_code == 0, whole.output
    part = sample(*arguments, "part.samples", "--budget-tokens", "1")
    assert part.exit_code == 3
    assert "the budget of 1 tokens is used up" in part.output
    assert "2 answered" in part.output
    assert sample(*arguments, "part.samples").exit_code == 0
    assert Path("part.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    texts = [json.loads(line)["messages"][-1]["content"] for line in Path("whole.jsonl").read_text().splitlines()]
    assert len(texts) == 4
    assert not any("e" in text for text in texts)
    base = sample("prompts.jsonl", "--epochs", "2", "--max-tokens", "6", "--out", "base.samples")
    assert base.exit_code == 0, base.output
    free = [json.loads(line)["messages"][-1]["content"] for line in Path("base.jsonl").read_text().splitlines()]
    assert len(free) == 4
    assert any("e" in text for text in free)
