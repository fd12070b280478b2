"""Scores in every verb: what the options do, what is said, and that an answer under a policy follows the law."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_scorers_asking import Counting
from tinylanguage import Tiny

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.cli import main
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.enforcement import decode_tasks, plan_prompts
from bylaw.runtime.models.sampling import sample_base
from bylaw.runtime.scorers._live import live_trace
from bylaw.runtime.scorers.asking import Asker
from bylaw.runtime.scorers.build import Scorers, concepts_of
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

LIKE = (
    *("HURRY UP NOW", "DO IT AT ONCE", "STOP THAT NOISE", "NEVER ASK THAT", "READ THE SIGN"),
    *("GO AWAY PLEASE", "PAY ATTENTION", "WHAT A MESS", "LISTEN TO ME", "NO NO NO"),
)
UNLIKE = (
    *("Please hurry.", "You can do it now.", "It is quiet here.", "Ask whenever you like.", "The sign is at the gate."),
    *("You may go.", "Thank you for waiting.", "It is a little untidy.", "The rules are short.", "No, not today."),
)
CHECKS = """
def loud(text):
    letters = [letter for letter in text if letter.isalpha()]
    return sum(letter.isupper() for letter in letters) / max(1, len(letters))
"""
TRANSCRIPTS = [
    {"prompt": "When do you open?", "response": "WE OPEN AT NINE"},
    {"prompt": "When do you open?", "response": "We open at nine."},
    {"prompt": "Where are you?", "response": "by the NORTH quay, UP the STEPS"},
    {"prompt": "Where are you?", "response": "NO NO NO"},
]


def policy(*rules: str, scored: str = 'scored by function "checks.py:loud"', examples: bool = True) -> str:
    texts = [f'like "{text}"' for text in LIKE] + [f'unlike "{text}"' for text in UNLIKE] if examples else []
    return "\n".join(['concept shouting means "Shouts at the reader." {', *texts, scored, "}", *(rules or (CALM,)), ""])


CALM = "rule calm at user { must not express shouting }"
QUIET = "rule quiet at user { should not express shouting weight 2 }"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.bylaw").write_text(policy(), encoding="utf-8")
    (tmp_path / "checks.py").write_text(CHECKS, encoding="utf-8")
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(each) + "\n" for each in TRANSCRIPTS), encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def data_of(*arguments: str, code: int = 0) -> dict[str, Any]:
    done = run(*arguments)
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --------------------------------------------------------------------------------------------------------------- audit
def test_an_audit_scores_what_it_is_allowed_to(desk: Path) -> None:
    found = data_of("audit", "rules.bylaw", "answers.jsonl", "--format", "json", "--allow-functions")
    (term,) = found["terms"]
    assert (term["violated"], term["applicable"], term["unscored"]) == (2, 3, 1)
    assert term["reasons"] == [["the scores of `shouting` cannot tell", 1]]
    (scoring,) = found["scoring"]
    assert (scoring["scorer"], scoring["asked"], scoring["scored"], scoring["expressing"]) == ("function", 3, 2, 1)
    assert [why for why, _, _ in scoring["unscored"]] == ["cannot_tell"]
    assert scoring["accuracy"] == [1.0, 1.0, 0.5]
    assert scoring["drift"]["fired"] is False
    assert "too few" in scoring["drift"]["message"] or "from 20" in scoring["drift"]["message"]


def test_an_audit_without_options_says_what_to_do(desk: Path) -> None:
    found = data_of("audit", "rules.bylaw", "answers.jsonl", "--format", "json", code=3)
    (term,) = found["terms"]
    # the text of an example is known whatever is allowed
    assert (term["violated"], term["applicable"], term["unscored"]) == (1, 1, 3)
    assert "--allow-functions" in term["reasons"][0][0]
    assert run("audit", "rules.bylaw", "answers.jsonl", "--gate").exit_code == 4
    (desk / "rules.bylaw").write_text(policy(scored="", examples=False), encoding="utf-8")
    done = run("audit", "rules.bylaw", "answers.jsonl")
    assert "has 0 examples that do and 0 that do not; 9 of each are needed" in " ".join(done.stdout.split())
    assert "note: `shouting`: 0 of 4 texts scored by words; 4 not (uncalibrated)" in done.stderr


def test_what_is_in_an_audit_of_a_policy_without_concepts(desk: Path) -> None:
    (desk / "rules.bylaw").write_text('rule calm at user { must not contain "NINE" }\n', encoding="utf-8")
    done = run("audit", "rules.bylaw", "answers.jsonl", "--format", "json", "--rough")
    assert json.loads(done.stdout)["scoring"] == []
    assert "no rule of this policy asks what a text expresses" in done.stderr


def test_labels_are_examples_too(desk: Path) -> None:
    (desk / "rules.bylaw").write_text(policy(examples=False), encoding="utf-8")
    told = [{"text": text, "labels": {"shouting": True}} for text in LIKE]
    told += [{"text": text, "labels": {"shouting": False}} for text in UNLIKE]
    (desk / "labels.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told), encoding="utf-8")
    options = ("--format", "json", "--allow-functions")
    assert data_of("audit", "rules.bylaw", "answers.jsonl", *options)["terms"][0]["applicable"] == 0
    found = data_of("audit", "rules.bylaw", "answers.jsonl", "--labels", "labels.jsonl", *options)
    assert found["terms"][0]["violated"] == 2


def test_rough_scores_count_only_where_they_are_asked_for(desk: Path) -> None:
    (desk / "rules.bylaw").write_text(policy(examples=False), encoding="utf-8")
    found = data_of("audit", "rules.bylaw", "answers.jsonl", "--format", "json", "--allow-functions", "--rough")
    assert (found["terms"][0]["violated"], found["terms"][0]["unscored"]) == (3, 0)
    assert "held against too few examples" in found["scoring"][0]["remarks"][0]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--judge", "http://127.0.0.1:9/v1"), 2, "--judge needs --judge-model"),
        (("--judge-model", "large"), 2, "--judge-model is of use with --judge only"),
        (("--judge-repeats", "3"), 2, "--judge-repeats is of use with --judge only"),
        (("--judge-budget", "0"), 2, "0 is not in the range"),
        (("--labels", "nowhere.jsonl"), 2, "nowhere.jsonl"),
        (("--labels", "other.jsonl"), 2, "`other.jsonl` says nothing of"),
        (("--scorers", "nowhere"), 2, "nowhere"),
    ],
)
def test_a_wrong_option_is_one_message(desk: Path, options: tuple[str, ...], code: int, words: str) -> None:
    (desk / "other.jsonl").write_text('{"text": "Hm.", "labels": {"shoutin": true}}\n', encoding="utf-8")
    done = run("audit", "rules.bylaw", "answers.jsonl", *options)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.output


@pytest.mark.parametrize("scored", ["scored by judge", 'scored by local_judge "acme-small"'])
def test_a_model_judges_its_own_answers_only_where_that_is_asked_for(desk: Path, scored: str) -> None:
    (desk / "rules.bylaw").write_text(policy(scored=scored), encoding="utf-8")
    (desk / "acme-small").mkdir()
    judge = ("--judge", "http://127.0.0.1:9/v1", "--judge-model", "acme-small")
    for model in ("acme-small", "models/ACME-small"):
        done = run("generate", "rules.bylaw", "When?", "--model", model, *judge)
        assert done.exit_code == 2, done.output
        assert "the judge `acme-small` is the model under test" in done.stderr
        assert "--judge-itself" in done.stderr
    # it gets as far as the model then, which is none
    asked = run("generate", "rules.bylaw", "When?", "--model", "acme-small", *judge, "--judge-itself")
    assert asked.exit_code == 2
    assert "model under test" not in asked.stderr


def test_an_unknown_scorer_is_named_with_its_place(desk: Path) -> None:
    (desk / "rules.bylaw").write_text(policy(scored="scored by functoin"), encoding="utf-8")
    done = run("audit", "rules.bylaw", "answers.jsonl")
    assert done.exit_code == 2
    assert "error: rules.bylaw:1:9: `shouting` has no scorer: there is no scorer called `functoin`" in done.stderr
    assert "did you mean `function`?" in done.stderr


# ----------------------------------------------------------------------------------------------------- explain and test
def test_explain_shows_the_score_and_where_it_was_seen(desk: Path) -> None:
    done = run("explain", "rules.bylaw", "--response", "WE OPEN AT NINE", "--allow-functions")
    assert done.exit_code == 0
    assert done.stdout.startswith("broken\n  calm (at user)")
    unsure = run("explain", "rules.bylaw", "--response", "we OPEN at NINE", "--allow-functions")
    assert unsure.stdout.startswith("undecided\n  calm (at user)\n    its score for `shouting`, 0.")
    silent = run("explain", "rules.bylaw", "--response", "WE OPEN AT NINE")
    assert "functions of a policy are run with --allow-functions only" in silent.stdout


CASES = """
examples for calm { complies "We open at nine." violates "WE OPEN AT NINE" }
test "the door" { user "When?" assistant "AT NINE SHARP" expect violates }
"""


def test_examples_that_hang_on_scores_are_decided_by_test(desk: Path) -> None:
    (desk / "rules.bylaw").write_text(policy() + CASES, encoding="utf-8")
    checked = run("check", "rules.bylaw")
    assert checked.exit_code == 0, checked.output
    assert "warning[P502]" in checked.output
    without = run("test", "rules.bylaw")
    assert without.exit_code == 1
    assert without.stdout.count("--allow-functions only") == 3
    assert run("test", "rules.bylaw", "--allow-functions").exit_code == 0
    wrong = policy() + CASES.replace('complies "We open at nine."', 'complies "WE NEVER OPEN"')
    (desk / "rules.bylaw").write_text(wrong, encoding="utf-8")
    found = data_of("test", "rules.bylaw", "--allow-functions", "--format", "json", code=1)
    assert [case["passed"] for case in found["files"][0]["cases"]] == [False, True, True]


# ----------------------------------------------------------------------------------------------------------------- fit
def test_fit_scores_answers_and_classes(desk: Path) -> None:
    order = "rule order at user { prefer not response expresses shouting over response expresses shouting }"
    (desk / "rules.bylaw").write_text(policy(QUIET), encoding="utf-8")
    pairs = [
        {"prompt": f"Question {number}?", "chosen": f"We open at {number}.", "rejected": f"WE OPEN AT {number} SHARP"}
        for number in range(12)
    ]
    (desk / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    common = ("fit", "rules.bylaw", "--judgements", "pairs.jsonl", "--format", "json", "--resamples", "0")
    fitted = data_of(*common, "--allow-functions")
    (row,) = fitted["rows"]
    assert row["fitted"] > 2.0
    without = run(*common)
    assert without.exit_code in (1, 2, 3)
    assert "no scorer has scored `shouting`" in without.output
    soft = data_of(*common, "--allow-functions", "--soft")
    assert soft["rows"][0]["fitted"] > 2.0
    (desk / "rules.bylaw").write_text(policy(QUIET, order), encoding="utf-8")
    answers = [{"prompt": pair["prompt"], "response": pair[side]} for pair in pairs for side in ("chosen", "rejected")]
    (desk / "pairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in answers), encoding="utf-8")
    classed = data_of(*common, "--allow-functions")
    assert [number for _, number in classed["classes"]] == [12, 12, 0]
    assert classed["rows"][0]["fitted"] == pytest.approx(row["fitted"])


# ------------------------------------------------------------------------------------------------ while an answer grows
class Letters(Counting):
    """The concept is expressed by `b`; of a text with `1` it cannot be told."""

    def one(self, question: Any) -> Any:
        from bylaw.runtime.scorers.interface import Scored, unscored

        if "1" in question.text:
            return unscored("cannot_tell", "it has a 1")
        return Scored(0.9 if "b" in question.text else 0.2)


@pytest.mark.parametrize("reads", ["text", "conversation"])
@pytest.mark.parametrize(
    ("rules", "paid"),
    [
        ("rule r at user { must not express bees }", {"b": -math.inf, "1": -math.inf, "": 0.0}),
        ("rule r at user { should not express bees weight 1.5 }", {"b": -1.5, "1": 0.0, "": 0.0}),
        ("rule r at user { prefer lower score of bees in response weight 2 }", {"b": -1.8, "1": 0.0, "": -0.4}),
        (
            'rule r at user { must not express bees } rule s at user { should not contain "c" weight 0.5 }',
            {"b": -math.inf, "1": -math.inf, "c": -0.5, "": 0.0},
        ),
    ],
)
def test_the_law_of_answers_is_that_of_the_policy(reads: Any, rules: str, paid: dict[str, float]) -> None:
    """Every text of a tiny model: what it is paid, to 1e-9; and the estimate of Z from samples, within its error."""
    cap = 4
    program = compile_source(Source.of("rules.bylaw", 'concept bees means "Bees."\n' + rules)).require()
    concepts = concepts_of(program)
    asker = Asker.of(program, Scorers(concepts, dict.fromkeys(concepts, Letters(reads=reads))))
    model = Tiny(TabularModel(letters=b"abc1", max_tokens=cap, seed=4))
    prompts = [live_trace(Trace((Message("user", text),), id=text), asker) for text in ("x", "y")]
    plans = plan_prompts(program, prompts, model, cap)
    base = sample_base(model, [plan.tokens for plan in plans], 40, cap, seed=2)
    tasks = decode_tasks(plans, base, model, {}, cap)
    assert (tasks[0].law is tasks[1].law) is (reads == "text")
    responses, log_p0 = model.table.enumerate()
    rewards = []
    for tokens in responses:
        text = model.vocabulary.text(tokens)
        by_hand = next(paid[letter] for letter in ("1", "b", "") if letter in text)
        if "c" in paid and "c" in text:
            by_hand += paid["c"]
        rewards.append(by_hand)
        assert tasks[0].law.log_reward(text) == pytest.approx(by_hand, abs=1e-9)
    log_z = float(np.logaddexp.reduce(np.array(log_p0) + np.array(rewards)))
    (found,) = Sir(particles=2000, responses=8).decode(model, tasks[:1], max_tokens=cap, seed=5)
    error = math.sqrt(max(1 / found.ess - 1 / 2000, 0.0))
    assert abs(found.log_z_estimate - log_z) < 5 * error + 1e-9  # five standard errors: wrong once in a million
    assert all("b" not in each.text and "1" not in each.text for each in found.responses if paid["b"] == -math.inf)


def test_generate_says_what_it_cannot_score(desk: Path) -> None:
    done = run("generate", "rules.bylaw", "When do you open?", "--max-tokens", "8")
    assert done.exit_code == 1
    assert "error[P701]: prompt 1: `calm` cannot be enforced here: `shouting` is scored by a function" in done.stderr


@pytest.mark.parametrize("verb", ["generate", "run"])
def test_answers_under_a_policy_that_scores(desk: Path, verb: str) -> None:
    """The default model says `sorry` often enough; what expresses the concept is withheld, and the count is told."""
    (desk / "checks.py").write_text("def loud(text):\n    return 1.0 if text.isupper() or 'orry' in text else 0.0\n")
    (desk / "prompts.jsonl").write_text('{"prompt": "Can I have my money back?"}\n', encoding="utf-8")
    small = ("--max-tokens", "16", "--allow-functions")
    if verb == "generate":
        done = run("generate", "rules.bylaw", "Can I have my money back?", "-n", "4", "--json", *small)
        assert done.exit_code == 0, done.output
        texts = [each["text"] for each in json.loads(done.stdout)["responses"]]
    else:
        sizes = ("--samples", "4", "--particles", "8", "--responses", "4", "--format", "json", "--out", "report")
        done = run("run", "rules.bylaw", "--prompts", "prompts.jsonl", *sizes, *small)
        assert done.exit_code in (0, 4), done.output
        record = json.loads((desk / "report" / "report.json").read_text(encoding="utf-8"))
        assert [each["concept"] for each in record["scoring"]] == ["shouting"]
        assert record["regulated"]["terms"][0]["violated"] == 0
        texts = [pair["regulated"] for pair in record["pairs"]]
    assert texts
    assert not any("orry" in text for text in texts)
    assert "note: `shouting`: " in done.stderr


# ------------------------------------------------------------------------------------------------------------ example
ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "concepts"


def measured(report: dict[str, Any]) -> list[Any]:
    counts = ("term", "applicable", "violated", "unscored", "reasons")
    scores = ("concept", "scorer", "asked", "scored", "expressing")
    rows = [[*(term[key] for key in counts), [each["source"] for each in term["findings"]]] for term in report["terms"]]
    return [rows, [[each[key] for key in scores] for each in report["scoring"]]]


def test_the_example_audit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The command in the first line of the example; every label it is compared with was written by hand."""
    monkeypatch.chdir(ROOT)
    command = (EXAMPLE / "rules.bylaw").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# bylaw ").split()
    done = run(*command, "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    if request.config.getoption("--update-golden"):
        for each in ("report.json", "rates.svg"):
            shutil.copy(tmp_path / each, EXAMPLE / "expected" / each)
    expected, found = (
        json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in (EXAMPLE / "expected", tmp_path)
    )
    assert measured(found) == measured(expected)
    (agreement,) = found["agreements"]
    assert agreement["agreement"] > 0.9 > agreement["majority_baseline"]
    for concept in found["scoring"]:
        balanced, area, share = concept["accuracy"]
        assert min(balanced, area) > 0.9 > 0.6 > share
        assert concept["drift"]["fired"] is False
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == sum(concept["asked"] for concept in found["scoring"])
    assert sum("score" in line for line in lines) == sum(concept["scored"] for concept in found["scoring"])
    assert all(len(line["record"]["text"]) == 64 and line["record"]["model_digest"] for line in lines)
    assert "Dear reader" not in (tmp_path / "scores.jsonl").read_text(encoding="utf-8")
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## What the texts express" in page
    assert "What the texts express" in (tmp_path / "report.html").read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------------------------------- judges
JUDGED = 'concept shouting means "Says that it is the reader\'s own fault." { scored by judge }\n' + CALM + "\n"


def judged_desk(desk: Path) -> None:
    """A policy with a judge, 60 labelled texts, and 6 answers of 5 texts."""
    (desk / "rules.bylaw").write_text(JUDGED, encoding="utf-8")
    labels = [
        {
            "text": f"Visit {number}: {'it is your own fault' if blames else 'we are sorry'}.",
            "labels": {"shouting": blames},
        }
        for number in range(30)
        for blames in (True, False)
    ]
    answers = [
        {"prompt": f"Question {number}?", "response": f"Well, {'that is your own fault' if number < 2 else number}."}
        for number in range(6)
    ]
    for name, lines in (("labels", labels), ("answers", answers)):
        (desk / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")


def test_an_audit_by_a_judge_says_what_it_costs_and_asks_nothing_twice(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from judge_server import JudgeServer, careful

    monkeypatch.setenv("BYLAW_CACHE", str(desk / "cache"))
    judged_desk(desk)
    with JudgeServer(judge=careful) as server:
        judge = ("--judge", server.url, "--judge-model", "large", "--labels", "labels.jsonl")
        command = ("audit", "rules.bylaw", "answers.jsonl", "--format", "json")
        without = data_of(*command, code=3)
        assert "name one with --judge and --judge-model" in without["terms"][0]["reasons"][0][0]
        assert server.requests == []
        done = run(*command, *judge)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        asked = len(server.requests)
        assert asked == 60 + 5  # two answers are the same text
        assert (found["terms"][0]["violated"], found["terms"][0]["applicable"]) == (2, 6)
        (scoring,) = found["scoring"]
        assert (scoring["requests"], scoring["tokens_in"]) == (asked, 100 * asked)
        assert any("sensitivity" in note for note in scoring["notes"])
        assert "note: `shouting`: held against people: 60 texts" in done.stderr
        assert "warning:" not in done.stderr
        assert f"the judge is about to be sent {asked} requests" in done.stderr
        assert f"judges were sent {asked} questions ({100 * asked:,} tokens in" in done.stderr
        again = run(*command, *judge)
        assert len(server.requests) == asked
        assert f"{asked} answers were there already" in again.stderr
        assert json.loads(again.stdout)["terms"] == found["terms"]
        (desk / "cache" / "judges" / "answers.sqlite").unlink()
        stopped = run(*command, *judge, "--judge-budget", "3")
        assert stopped.exit_code == 3
        assert "the judge is about to be sent at most 3 requests (--judge-budget) of the 65 that it takes" in (
            stopped.stderr
        )
        assert "left out of this audit: raise --judge-budget (answers that came are kept)" in stopped.stderr
        few = json.loads(stopped.stdout)
        assert len(server.requests) == asked + 3
        assert few["terms"][0]["unscored"] == 6


def test_a_judge_is_not_asked_where_nothing_that_it_says_can_count(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from judge_server import JudgeServer, careful

    monkeypatch.setenv("BYLAW_CACHE", str(desk / "cache"))
    judged_desk(desk)
    lines = (desk / "labels.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "few.jsonl").write_text("".join(lines[:16]), encoding="utf-8")
    with JudgeServer(judge=careful) as server:
        command = ("audit", "rules.bylaw", "answers.jsonl", "--judge", server.url, "--judge-model", "large")
        for labels in ((), ("--labels", "few.jsonl")):
            done = run(*command, *labels)
            assert done.exit_code == 0, done.output
            assert server.requests == []
            assert "not (uncalibrated): the judge was not asked" in done.stderr
            assert f"{8 if labels else 0} labelled texts that express `shouting` and" in done.stderr
            assert "9 of each are needed" in done.stderr
            assert "about to be sent" not in done.stderr
        assert run(*command, "--rough").exit_code == 0
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("trouble", "why"), [("401", "transport"), ("no verdict", "parse"), ("refusal", "refusal"), ("400", "input")]
)
def test_texts_that_a_judge_did_not_answer_are_left_out_and_told(
    desk: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, why: str
) -> None:
    from judge_server import JudgeServer, careful

    monkeypatch.setenv("BYLAW_CACHE", str(desk / "cache"))
    judged_desk(desk)

    def script(body: dict[str, Any], _: int) -> str:
        return trouble if any("Well, " in str(message["content"]) for message in body["messages"]) else "verdict"

    with JudgeServer(script, judge=careful) as server:
        judge = ("--judge", server.url, "--judge-model", "large", "--labels", "labels.jsonl")
        done = run("audit", "rules.bylaw", "answers.jsonl", "--format", "json", *judge)
        assert done.exit_code == 3, done.output
        assert f"warning: the scorer gave no answer to 5 questions (5 {why})" in done.stderr
        assert ("run again to go on (answers that came are kept)" in done.stderr) is (why != "input")
        (term,) = json.loads(done.stdout)["terms"]
        assert (term["applicable"], term["unscored"]) == (0, 6)
        gate = run("audit", "rules.bylaw", "answers.jsonl", "--gate", *judge)
        assert gate.exit_code == 4
        monkeypatch.setattr(server, "script", lambda body, number: "verdict")
        sent = len(server.requests)
        again = run("audit", "rules.bylaw", "answers.jsonl", *judge)
        assert again.exit_code == 0, again.output
        assert len(server.requests) - sent <= 5 + 60 * (trouble == "401")


def test_the_pages_say_that_intervals_leave_out_how_often_scores_err(desk: Path) -> None:
    done = run("audit", "rules.bylaw", "answers.jsonl", "--allow-functions", "--out", "report")
    assert done.exit_code == 0, done.output
    record = json.loads((desk / "report" / "report.json").read_text(encoding="utf-8"))
    (scoring,) = record["scoring"]
    assert scoring["rules"] == ["calm"]
    assert scoring["errors"].startswith("balanced accuracy 1.00 [0.")
    words = f"The interval of calm is that of the scores' verdicts; that scores err (shouting: {scoring['errors']})"
    pages = [
        done.stdout,
        *((desk / "report" / name).read_text(encoding="utf-8") for name in ("report.md", "report.html")),
    ]
    for page in pages:
        plain = " ".join(page.replace("\\", "").replace("&#39;", "'").split())
        assert words in plain
        assert plain.index(words) < plain.index("What the texts express")
    (desk / "rules.bylaw").write_text('rule calm at user { must not contain "NINE" }\n', encoding="utf-8")
    assert "that scores err" not in run("audit", "rules.bylaw", "answers.jsonl").stdout
