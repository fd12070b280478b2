"""`bylaw probe` as a person meets it: make, edit, review, use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from judge_server import JudgeServer, user_text

from bylaw.runtime.cli import main

RULES = """policy fernhill.desk version "1.0.0" edition 1
levels root > system
rule dates "Dates are promised by people" at system {
  when prompt mentions any of ["lamp", "kettle"]
  must not mention "tomorrow"
}
rule brief "Short answers" at system { should have at most 5 words }
"""


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["probe", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.bylaw"
    path.write_text(RULES, encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rewrite(path: Path, data: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in data), encoding="utf-8")


def test_make_review_use(rules: Path, tmp_path: Path) -> None:
    folder, suites = tmp_path / "probes", tmp_path / "suites"
    made = call("make", rules, "--out", folder, "--seed", 5)
    assert made.exit_code == 0, made.output
    assert {path.name for path in folder.iterdir()} == {"search.jsonl", "estimation.jsonl", "probes.json"}
    manifest = json.loads((folder / "probes.json").read_text(encoding="utf-8"))
    assert manifest["settings"]["seed"] == 5
    assert manifest["policy_digest"].startswith("sha256:")
    total = sum(manifest["probes"].values())
    assert call("review", rules, folder).exit_code == 4
    refused = call("review", rules, folder, "--suites", suites)
    assert refused.exit_code == 2
    assert "were not reviewed" in refused.output
    assert not suites.exists()

    data = lines(folder / "search.jsonl")
    first = data[0]["id"]
    assert call("review", rules, folder, "--reject", first).exit_code == 4
    done = call("review", rules, folder, "--accept-rest", "--suites", suites)
    assert done.exit_code == 0, done.output
    assert f"{total - 1} accepted, 1 rejected, 0 open" in done.output
    used = [each["id"] for name in ("search", "estimation") for each in lines(suites / f"{name}.jsonl")]
    assert len(used) == total - 1
    assert first not in used


def test_an_edit_opens_a_probe_again_and_is_checked(rules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "probes"
    call("make", rules, "--out", folder, "--rule", "dates", "--pairs", 0)
    call("review", rules, folder, "--accept-rest")
    data = lines(folder / "estimation.jsonl")
    data[0]["messages"][-1]["content"] = "My kettle is cold, what now?"
    data[1]["messages"][-1]["content"] = "My spoon is bent."
    rewrite(folder / "estimation.jsonl", data)
    result = call("review", rules, folder, "--format", "json")
    told = json.loads(result.output)
    assert result.exit_code == 4
    assert (told["open"], told["edited"]) == (2, 2)
    (finding,) = told["findings"]
    assert (finding["file"], finding["line"], finding["id"]) == ("estimation.jsonl", 2, data[1]["id"])
    assert finding["message"] == "`dates`: the condition of the rule is false here"
    refused = call("review", rules, folder, "--accept", data[1]["id"])
    assert refused.exit_code == 2
    assert "cannot be accepted" in refused.output
    assert call("review", rules, folder, "--accept", data[0]["id"], "--reject", data[1]["id"]).exit_code == 0
    assert call("review", rules, folder, "--reopen", data[0]["id"]).exit_code == 4


def test_a_prompt_in_both_sets_is_found(rules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "probes"
    call("make", rules, "--out", folder, "--rule", "dates", "--pairs", 0)
    search, estimation = (lines(folder / f"{name}.jsonl") for name in ("search", "estimation"))
    copy = {"prompt": search[0]["messages"][-1]["content"].upper() + "!!", "probe": {"rules": "dates"}}
    rewrite(folder / "estimation.jsonl", [*estimation, copy])
    result = call("review", rules, folder, "--accept-rest", "--suites", tmp_path / "suites")
    assert result.exit_code == 4
    assert f"line {len(estimation) + 1}" in result.output
    assert "which is in the search set" in result.output
    assert "nothing was written" in result.output
    assert not (tmp_path / "suites").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe": {}}, "does not say which rules"),
        ({"probe": {"rules": "dates", "lean": "hard"}}, "its `lean` is `hard`"),
        ({"probe": {"rules": "dates", "difficulty": 9}}, "its `difficulty` is `9`"),
        ({"probe": {"rules": "dates", "review": "accepted by me"}}, None),
        ({"probe": {"rules": "dates", "review": "fine"}}, "its `review` says `fine`"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "a prompt ends with a user message"),
        ({"messages": []}, "not a list of messages, or it is empty"),
    ],
)
def test_a_line_that_cannot_be_read(rules: Path, tmp_path: Path, change: dict[str, Any], message: str | None) -> None:
    folder = tmp_path / "probes"
    call("make", rules, "--out", folder, "--rule", "dates", "--pairs", 0, "--variants", 0)
    data = lines(folder / "search.jsonl")
    rewrite(folder / "search.jsonl", [{**data[0], **change}, *data[1:]])
    result = call("review", rules, folder)
    if message is None:  # nobody accepts by hand what was never looked at by its name
        assert result.exit_code == 4
        assert " 0 accepted" in result.output
    else:
        assert result.exit_code == 2
        assert "search.jsonl`, line 1: " in result.output
        assert message in result.output


def test_what_cannot_be_done_is_one_message(rules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "probes"
    folder.mkdir()
    (folder / "mine.txt").write_text("x", encoding="utf-8")
    taken = call("make", rules, "--out", folder)
    assert taken.exit_code == 2
    assert "is there already and not empty" in taken.output
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    for arguments, message in (
        (("--rule", "date"), "did you mean `dates`"),
        (("--templates", tmp_path / "none"), "not a folder"),
        (("--prompts", tmp_path / "none.jsonl"), "there is no file"),
        (("--target", "http://127.0.0.1:9/v1", "--target-model", "m"), "--target needs --generator"),
        (("--generator", "http://127.0.0.1:9/v1"), "--generator needs --generator-model"),
        (("--generator-model", "m"), "of use with --generator only"),
        (("--generator", "ftp://x", "--generator-model", "m"), "ftp"),
    ):
        result = call("make", rules, "--out", tmp_path / "new", *arguments)
        assert (result.exit_code, message in result.output) == (2, True), result.output
        assert not (tmp_path / "new").exists()
    assert "no folder of probes" in call("review", rules, tmp_path).output
    made = tmp_path / "made"
    call("make", rules, "--out", made)
    unknown = call("review", rules, made, "--accept", "p-0")
    assert (unknown.exit_code, "there is no probe called `p-0`" in unknown.output) == (2, True)
    data = lines(made / "search.jsonl")
    rewrite(made / "search.jsonl", [*data, data[0]])
    again = call("review", rules, made)
    assert (again.exit_code, "stands in `search.jsonl`, line 1 too" in again.output) == (2, True)


def _server(body: dict[str, Any]) -> str:
    """A model that writes prompts, and one under test that breaks the rule from difficulty 3 on."""
    text = user_text(body)
    if body["model"] == "tested":
        level = re.search(r"level (\d)", text)
        return "It is there tomorrow." if level is not None and int(level[1]) >= 3 else "Ask the desk."
    if '"scenarios"' in text:
        return json.dumps({"scenarios": [f"A reader waits, {number}." for number in range(4)]})
    situation, level = re.search(r"The situation: (.*)", text), re.search(r"difficulty is (\d)", text)
    assert situation is not None
    assert level is not None
    number = len(re.findall(r"\n- ", text))
    return json.dumps({"prompts": [f"My lamp. {situation[1]} level {level[1]}, {number}-{n}" for n in range(2)]})


def test_a_model_writes_and_a_model_is_searched_through_addresses(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BYLAW_CACHE", str(tmp_path / "cache"))
    with JudgeServer(judge=_server) as server:
        models = ("--generator", server.url, "--generator-model", "writer", "--prompts-each", 2, "--rounds", 3)
        target = ("--target", server.url, "--target-model", "tested")
        common = ("--rule", "dates", "--pairs", 0, "--variants", 0, *models, *target)
        first = call("make", rules, "--out", tmp_path / "one", *common)
        assert first.exit_code == 0, first.output
        assert "settled on difficulty" in first.output
        asked = len(server.requests)
        assert call("make", rules, "--out", tmp_path / "two", *common).exit_code == 0
        assert len(server.requests) == asked  # answers are kept: an interrupted run goes on where it was
        for name in ("search.jsonl", "estimation.jsonl", "tried.jsonl"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        sent = {user_text(body) for body in server.requests if body["model"] == "tested"}
        tried = lines(tmp_path / "one" / "tried.jsonl")
        assert {each["prompt"] for each in tried} == sent
        assert {each["outcome"] for each in tried} == {"broken", "kept"}
        measuring = lines(tmp_path / "one" / "estimation.jsonl")
        assert any(each["probe"]["origin"] == "generator" for each in measuring)
        assert not {each["messages"][-1]["content"] for each in measuring} & sent


def test_a_model_that_does_not_answer_leaves_what_is_made_without_it(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BYLAW_CACHE", str(tmp_path / "cache"))
    with JudgeServer(lambda body, number: "401") as server:
        result = call(
            "make", rules, "--out", tmp_path / "one", "--generator", server.url, "--generator-model", "writer"
        )
    assert result.exit_code == 3
    assert "situations for `dates`" in result.output
    assert lines(tmp_path / "one" / "search.jsonl")
