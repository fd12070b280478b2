"""`bylaw generate` as it is called: answers, lines of JSON, going on after an interruption, every refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_endpoint import Server, completion

import bylaw
import bylaw.runtime.generation.answers as answers_module
from bylaw.runtime.calibration.record import CalibrationRecordError
from bylaw.runtime.cli import main
from bylaw.runtime.cli.sampling import ModelChoice
from bylaw.runtime.decoders.interface import DecodeError, DecodeResult, RegulatedSample
from bylaw.runtime.decoders.sir import Sir

POLICY = """policy fernhill.desk version "1.0.0" edition 1

levels root > system > developer > user > guideline

rule no_promise "Promise no refund" at developer {
  must not mention any of ["full refund", "we will refund"]
}

rule wishes "End with best wishes" at user {
  should mention any of ["Best wishes"] weight 2
}
"""
HARD = """policy fernhill.bird version "1.0.0" edition 1

levels root > system > developer > user > guideline

rule bird "Name the bird" at developer {
  must mention any of ["kingfisher"]
}
"""
LIMIT = """policy fernhill.limit version "1.0.0" edition 1

levels root > system > developer > user > guideline

rule few_sorry "Rarely sorry" at user {
  limit response mentions "sorry" to at most 10% of responses
}
"""
QUESTION = "My lamp arrived broken."


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "rules.bylaw"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"id": f"p{n}", "prompt": f"My lamp {n} broke."}) + "\n" for n in range(5)))
    return str(path)


LOAD = cache(ModelChoice.load)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is read from the disk once for all tests."""
    monkeypatch.setattr(ModelChoice, "load", lambda choice, temperature: LOAD(choice, temperature))


def generate(*arguments: str, stdin: str | bytes | None = None, tokens: int = 20) -> Result:
    options = ["--max-tokens", str(tokens)] if "--max-tokens" not in arguments else []
    options += ["--samples", "8"]
    result = CliRunner().invoke(main, ["generate", *arguments, *options], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def refused(result: Result, code: int, *words: str) -> None:
    """Ended with this code, nothing on standard output, and these words in one message."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    for word in words:
        assert word in result.stderr


SIR = ("--decoder", "sir", "--option", "particles=8")


# ------------------------------------------------------------------------------------------------------------ answers
def test_one_question_has_its_answer_on_standard_output(policy: str) -> None:
    result = generate(policy, QUESTION)
    assert result.exit_code == 0
    assert len(result.stdout.strip()) > 20
    assert "prompt" not in result.stdout
    assert "prompt 1: qrs: distance from the law" in result.stderr
    assert generate(policy, QUESTION).stdout == result.stdout
    assert generate(policy, QUESTION, "--seed", "1").stdout != result.stdout
    assert generate(policy, "-", stdin=f"{QUESTION}\n").stdout == result.stdout


def test_several_questions_are_told_apart(policy: str) -> None:
    result = generate(policy, QUESTION, "Where is my parcel?", "-n", "2", *SIR)
    first, second = result.stdout.split("\nprompt 2: Where is my parcel?\n")
    assert first.startswith(f"prompt 1: {QUESTION}\n")
    assert result.stderr.count("prompt 2: sir:") == 1
    lines = [
        json.loads(line)
        for line in generate(policy, QUESTION, "Where is my parcel?", "-n", "2", *SIR, "--json").stdout.splitlines()
    ]
    assert [line["id"] for line in lines] == ["1", "2"]
    for line, text in zip(lines, (first, second), strict=True):
        assert [len(line["responses"]), line["together"]] == [2, 2]
        assert all(response["text"].strip() in text for response in line["responses"])


@pytest.mark.parametrize(
    "decoder",
    [("mask",), ("smc", "--option", "particles=8"), ("mh", "--option", "particles=4"), ("tree", "--option", "draws=8"),
     ("best_of_n", "--option", "n=4")],
    ids=lambda options: options[0],
)  # fmt: skip
def test_each_decoder_answers(policy: str, decoder: tuple[str, ...]) -> None:
    result = generate(policy, QUESTION, "--decoder", *decoder, "--json", tokens=16)
    line = json.loads(result.stdout)
    assert (result.exit_code, line["decoder"], len(line["responses"])) == (0, decoder[0], 1)
    assert line["biased"] == (decoder[0] in ("mask", "best_of_n"))
    assert ("biased" in result.stderr) == line["biased"]


def test_a_reward_model_steers(policy: str) -> None:
    from bylaw.runtime.default_model import default_model_path

    steered = ("--reward-model", str(default_model_path()), "--alpha", "0.2", "--option", "particles=8", "--json")
    for decoder in ("arm", "smc"):
        result = generate(policy, QUESTION, "--decoder", decoder, *steered, tokens=12)
        [response] = json.loads(result.stdout)["responses"]
        assert abs(response["log_q"] - response["log_p0"]) > 0.05


def test_streaming_shows_the_same_answer(policy: str) -> None:
    """With one prompt nothing else changes; with several each has its head before its text."""
    mask = ("--decoder", "mask")
    assert generate(policy, QUESTION, *mask, "--stream").stdout == generate(policy, QUESTION, *mask).stdout
    both = generate(policy, QUESTION, "Where is my parcel?", *mask, "--stream").stdout
    assert both.startswith("prompt 1\n")
    assert "\n\nprompt 2\n" in both


def test_stop_strings_end_the_answer(policy: str, tmp_path: Path) -> None:
    whole = generate(policy, QUESTION, *SIR).stdout
    assert "," in whole
    stopped = generate(policy, QUESTION, *SIR, "--stop", ",", "--stop", ".").stdout
    assert not {",", "."} & set(stopped)
    assert generate(policy, QUESTION, *SIR, "--stop", "qqq").stdout == whole
    bird = tmp_path / "bird.bylaw"
    bird.write_text(HARD)
    stops = ("--stop", "er", "--stop", "ER", "--stop", "eR", "--stop", "Er")
    assert generate(str(bird), QUESTION, tokens=4).exit_code == 0
    refused(generate(str(bird), QUESTION, *stops, tokens=4), 1, "error[P701]", "at most 4 tokens obeys `bird`")


def test_grammars_and_schemas_are_kept(policy: str, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    grammar = tmp_path / "g.lark"
    grammar.write_text('start: "Good day, " ("Anna" | "Lena") "."\n')
    result = generate(policy, QUESTION, *SIR, "--grammar", str(grammar), tokens=30)
    assert result.stdout in ("Good day, Anna.\n", "Good day, Lena.\n")
    refused(generate(policy, QUESTION, "--grammar", str(grammar), "--stop", "x"), 2, "stop strings cannot be combined")
    grammar.write_text("start: (")
    refused(generate(policy, QUESTION, "--grammar", str(grammar)), 2, "the grammar is not valid")
    refused(generate(policy, QUESTION, "--json-schema", str(tmp_path / "none.json")), 2, "cannot be read: no such file")


def test_reports_are_written_and_can_be_explained(policy: str, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    result = generate(policy, QUESTION, "Hello?", *SIR, "--report", str(folder))
    names = [f"prompt-{n}-answer-1.{kind}" for n in (1, 2) for kind in ("json", "svg")]
    assert (result.exit_code, sorted(path.name for path in folder.iterdir())) == (0, sorted(names))
    told = CliRunner().invoke(main, ["explain", "--decode", str(folder / "prompt-1-answer-1.json")])
    assert told.exit_code == 0
    assert f"prompt 1: “{QUESTION}”" in told.stdout
    assert "decoder `sir`" in told.stdout
    result = generate(policy, QUESTION, "--report", str(folder), "--passes", "0")
    assert "there is no finished answer to report on" in result.stderr
    refused(generate(policy, QUESTION, "--report", policy), 2, "the reports cannot be written", "file exists")


# ------------------------------------------------------------------------------------------------------------- limits
def test_limits_give_the_best_so_far(policy: str) -> None:
    nothing = generate(policy, QUESTION, "--deadline", "0")
    refused(nothing, 3, "no answer was found within the limits; allow more of them")
    some = generate(policy, QUESTION, "--passes", "60", "--json")
    line = json.loads(some.stdout)
    assert (some.exit_code, line["stopped"]) == (0, "passes")
    assert line["passes"] <= 60
    assert line["rescued"]
    assert "keeps the hard rules and was ended without the model" in some.stderr
    assert generate(policy, QUESTION, "--passes", "60").stdout == line["rescued"] + "\n"
    free = generate(policy, QUESTION, "--passes", "100000", "--deadline", "600", "--json")
    assert json.loads(free.stdout)["stopped"] is None


def test_rare_rules_are_warned_of(tmp_path: Path) -> None:
    bird = tmp_path / "bird.bylaw"
    bird.write_text(HARD)
    result = generate(str(bird), QUESTION, *SIR)
    assert "kingfisher" in result.stdout.casefold()
    assert "warning: `bird`: the base model obeys with probability" in result.stderr
    short = generate(str(bird), QUESTION, tokens=2)
    refused(short, 1, "error[P701]", "no response of at most 2 tokens obeys `bird`")


# ----------------------------------------------------------------------------------------------------- a file to keep
class Interrupting(Sir):
    """Ctrl-C comes when the second batch is to be decoded."""

    calls = 0

    def decode(self, *arguments: object, **options: object) -> list[DecodeResult]:  # type: ignore[override]
        Interrupting.calls += 1
        if Interrupting.calls == 2:
            raise KeyboardInterrupt
        return super().decode(*arguments, **options)  # type: ignore[arg-type]


def without_seconds(path: Path) -> list[dict[str, object]]:
    return [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]


def test_an_interrupted_run_is_gone_on_with(
    policy: str, prompts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sir = (policy, "--prompts", prompts, "--decoder", "sir", "--option", "particles=64", "--max-tokens", "10")
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    first = generate(*sir, "--out", str(whole))
    assert (first.exit_code, first.stdout) == (0, "")
    with monkeypatch.context() as patch:
        patch.setattr("bylaw.runtime.generation.decoder_options.decoder_class", lambda name: Interrupting)
        result = generate(*sir, "--out", str(part))
    refused(result, 130, f"interrupted; 2 answered prompts are kept in `{part}`")
    assert without_seconds(part) == without_seconds(whole)[:3]
    again = generate(*sir, "--out", str(part))
    assert again.exit_code == 0
    assert f"2 of 5 prompts are answered in `{part}` already" in again.stderr
    assert without_seconds(part) == without_seconds(whole)
    assert generate(*sir, "--out", str(part)).exit_code == 0
    refused(generate(*sir, "--out", str(part), "--seed", "1"), 2, "were made otherwise (seed)")
    eight = [text.replace("particles=64", "particles=8") for text in sir]
    refused(generate(*eight, "--out", str(part)), 2, "(options, prompts_together)")
    printed = generate(*sir, "--json")
    assert [{**json.loads(text), "seconds": None} for text in printed.stdout.splitlines()] == without_seconds(whole)[1:]


def test_an_interruption_without_a_file_says_so(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bylaw.runtime.generation.decoder_options.decoder_class", lambda name: Interrupting)
    monkeypatch.setattr(Interrupting, "calls", 1)
    refused(generate(policy, QUESTION), 130, "interrupted; nothing is kept: with --out FILE")


def test_prompts_without_an_answer_count_when_they_are_kept_too(policy: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out.jsonl")
    for _ in range(2):
        assert generate(policy, QUESTION, "--passes", "0", "--out", out).exit_code == 3


def test_another_file_is_left_alone(policy: str, prompts: str) -> None:
    before = Path(prompts).read_bytes()
    refused(generate(policy, QUESTION, "--out", prompts), 2, "exists and is no file of answers")
    assert Path(prompts).read_bytes() == before


def test_a_changed_scorer_makes_other_answers(policy: str, tmp_path: Path) -> None:
    own, out = tmp_path / "own.py", str(tmp_path / "out.jsonl")
    own.write_text("def score(text): return -0.1 * len(text)\n")
    scored = (policy, QUESTION, *SIR, "--scorer", f"{own}:score", "--out", out)
    assert generate(*scored).exit_code == 0
    own.write_text("def score(text): return 0.1 * len(text)\n")
    refused(generate(*scored), 2, "made otherwise (files)")


# ---------------------------------------------------------------------------------------------------------- safety net
def test_an_illegal_response_is_withheld(policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder with a defect hands out what the rules forbid: nothing is printed, nothing is written."""

    class Lying(Sir):
        def decode(self, model: object, tasks: list[object], **_: object) -> list[DecodeResult]:  # type: ignore[override]
            sample = RegulatedSample((1,), "A full refund for you.", -1.0, -1.0, 0.0)
            return [DecodeResult((sample,), (sample,), (), 1, 0, 0, 0.0, 1.0, False) for _ in tasks]

    monkeypatch.setattr("bylaw.runtime.generation.decoder_options.decoder_class", lambda name: Lying)
    out, reports = tmp_path / "out.jsonl", tmp_path / "reports"
    for options in ((), ("--json",), ("--out", str(out)), ("--report", str(reports))):
        refused(generate(policy, QUESTION, *options), 4, "breaks `no_promise` by the reference evaluator", "withheld")
    assert len(out.read_text().splitlines()) == 1  # the head
    assert list(reports.iterdir()) == []


def test_every_response_is_looked_at(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = answers_module.require_legal

    def watched(plan: object, result: DecodeResult) -> None:
        seen.extend(response.text for response in result.responses)
        real(plan, result)  # type: ignore[arg-type]

    monkeypatch.setattr(answers_module, "require_legal", watched)
    lines = generate(policy, QUESTION, "Hello?", "-n", "2", *SIR, "--json").stdout.splitlines()
    assert seen == [response["text"] for line in lines for response in json.loads(line)["responses"]]


def test_an_illegal_pick_of_an_endpoint_is_withheld(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import bylaw.runtime.decoders.best_of_n as module

    def lying(texts: list[str], *_: object) -> module.PickedText:
        return module.PickedText("A full refund for you.", 0.0, 1, 1, module.Diagnostics())

    monkeypatch.setattr(module, "best_of_texts", lying)
    found = Server()
    refused(generate(policy, QUESTION, "--endpoint", found.url, "--model", "m"), 4, "breaks `no_promise`")
    found.http.shutdown()
    found.http.server_close()


# ------------------------------------------------------------------------------------------------------------- Python
def test_the_public_page_gives_the_same_answers(policy: str, tmp_path: Path) -> None:
    compiled, model = bylaw.compile_file(policy), bylaw.load_model()
    asked = {"max_tokens": 20, "samples": 8}
    questions = [QUESTION, bylaw.Trace((bylaw.Message("user", "Where is my parcel?"),), id="2")]
    lines = generate(policy, QUESTION, "Where is my parcel?", "-n", "2", "--json").stdout.splitlines()
    found = bylaw.generate(compiled, questions, model, responses=2, **asked)
    assert [list(answer.texts) for answer in found] == [
        [response["text"] for response in json.loads(line)["responses"]] for line in lines
    ]
    [stopped] = bylaw.generate(compiled, [QUESTION], model, decoder=Sir(8, responses=1), stop=[","], **asked)
    assert stopped.texts == (generate(policy, QUESTION, *SIR, "--stop", ",").stdout[:-1],)
    with pytest.raises(CalibrationRecordError):
        bylaw.generate(compiled, [QUESTION], model, calibration=tmp_path)
    with pytest.raises(DecodeError, match="no decoder `qsr`"):
        bylaw.generate(compiled, [QUESTION], model, decoder="qsr")


# -------------------------------------------------------------------------------------------------------- calibration
def test_a_limit_is_kept_with_the_multipliers_of_a_calibration(tmp_path: Path, prompts: str) -> None:
    """Its base samples serve the look-ahead; a limit for each prompt holds for the prompts it was solved for only."""
    for words in ("", " for each prompt"):
        rules, folder = tmp_path / "limit.bylaw", tmp_path / f"calibration{len(words)}"
        rules.write_text(LIMIT.replace("of responses\n", f"of responses{words}\n"))
        missing = generate(str(rules), QUESTION)
        refused(missing, 1, "error[P701]", "run `bylaw calibrate`", "--calibration")
        solve = ["calibrate", str(rules), "--prompts", prompts, "--out", str(folder), "--max-tokens", "12"]
        solved = CliRunner().invoke(main, [*solve, "--samples", "16", "--draws", "16", "--ess-floor", "10"])
        assert solved.exit_code in (0, 4), solved.output
        asked = ["generate", str(rules), "--prompts", prompts, "--calibration", str(folder), "--max-tokens", "12"]
        same = CliRunner().invoke(main, [*asked, *SIR, "--json"])
        assert same.exit_code == 0, same.output
        assert len(same.stdout.splitlines()) == 5
        assert "sampling the base model" not in same.stderr  # it was sampled by the calibration
        assert "these are others" not in same.stderr
        other = generate(str(rules), QUESTION, "--calibration", str(folder), *SIR, tokens=12)
        if words:
            refused(other, 1, "error[P701]", "has not been solved for yet")
        else:
            assert other.exit_code == 0
            assert "on average over the 5 prompts of the calibration, and these are others" in other.stderr
        refused(generate(str(rules), QUESTION, "--calibration", str(folder), "--stop", "x", tokens=12), 2, "do without")
        refused(generate(str(rules), QUESTION, "--calibration", str(folder), tokens=13), 2, "--max-tokens (12, now 13)")
    refused(generate(str(rules), QUESTION, "--calibration", str(tmp_path)), 2, "`bylaw calibrate` writes one")


# ----------------------------------------------------------------------------------------------------------- endpoints
@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def test_an_endpoint_is_sampled_and_the_best_picked(policy: str, server: Server) -> None:
    said = ["A full refund for you.", "No.", "Sorry. Best wishes"]
    server.answers = [lambda body: (200, {}, completion(*[(text, "stop") for text in said[: body["n"]]]))]
    options = ("--endpoint", server.url, "--model", "m", "--decoder", "best_of_n", "--option", "n=3", "--stop", "#")
    result = generate(policy, QUESTION, *options)
    assert (result.exit_code, result.stdout) == (0, "Sorry. Best wishes\n")
    assert "2 of 3 samples keep the hard rules" in result.stderr
    assert {"stop": ["#"], "max_tokens": 20, "model": "m"}.items() <= server.requests[0].items()
    line = json.loads(generate(policy, QUESTION, *options, "--json").stdout)
    assert (line["text"], line["samples"], line["legal"], line["log_reward"]) == ("Sorry. Best wishes", 3, 2, 0.0)
    server.answers = [lambda body: (200, {}, completion(*[(said[0], "stop")] * body["n"]))]
    refused(generate(policy, QUESTION, *options), 3, "0 of 3 samples keep the hard rules")
    server.answers = [lambda body: (401, {}, b'{"error": {"message": "no such key"}}')]
    refused(generate(policy, QUESTION, *options), 2, "401", "no such key")


def test_what_an_endpoint_cannot_do_is_refused(policy: str) -> None:
    url = ("--endpoint", "http://127.0.0.1:9/v1")
    refused(generate(policy, QUESTION, *url), 2, "an endpoint needs --model")
    refused(generate(policy, QUESTION, *url, "--model", "m", "--decoder", "sir"), 2, "`best_of_n` or `qrs`")
    refused(generate(policy, QUESTION, *url, "--model", "m", "--out", "x"), 2, "--out cannot be used with --endpoint")
    refused(generate(policy, QUESTION, "--endpoint", "ftp://x", "--model", "m"), 2, "no address of an endpoint")
    refused(generate(policy, QUESTION, "--endpoint-key", "KEY"), 2, "with --endpoint only")


# ------------------------------------------------------------------------------------------------------------ refusals
def test_the_decoders_are_listed_without_a_policy() -> None:
    result = CliRunner().invoke(main, ["generate", "--decoders"])
    assert result.exit_code == 0
    for name in ("arm", "best_of_n", "mask", "mh", "qrs", "sir", "smc", "tree"):
        assert f"\n{name}: " in f"\n{result.stdout}"
    assert "    total_variation=0.05  (a number)\n" in result.stdout
    assert "    responses=" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lamp", "--decoder", "qsr"), "there is no decoder `qsr`; did you mean"),
        (("lamp", "--decoder", "arm"), "the decoder `arm` needs a --reward-model"),
        (("lamp", "--option", "x=1"), "the decoder `qrs` has no option `x`"),
        (("lamp", "--decoder", "sir", "--option", "particles=0"), "decoding needs one particle at least"),
        (("lamp", "--option", "total_variation=nan"), "a total variation of nan cannot be aimed at"),
        (("lamp", "--model", "/no/model"), "there is no model directory `/no/model`"),
        (("lamp", "--stop", ""), "a stop string needs one character at least"),
        (("lamp", "--scorer", "none.py:f"), "there is no file `none.py`"),
        (("lamp", "--stream", "--json"), "use one of them"),
        (("lamp", "--deadline", "nan"), "nan is not a number that can be used here"),
        (("lamp", "--alpha", "inf"), "inf is not a number that can be used here"),
        (("lamp", "--prompts", "x"), "not from both"),
        (("lamp " * 600,), "do not fit into the 512 tokens"),
        (("",), "prompt 1 is empty"),
        (("-", "-"), "give `-` once"),
        ((), "there are no prompts"),
    ],
)
def test_wrong_usage_ends_with_2(policy: str, arguments: tuple[str, ...], words: str) -> None:
    refused(generate(policy, *arguments, stdin="lamp"), 2, words)


def test_standard_input_that_is_no_text_is_refused(policy: str) -> None:
    refused(generate(policy, "-", stdin=b"\xff\xfe"), 2, "is not UTF-8 text")
    refused(generate(policy, "-", stdin="  \n"), 2, "prompt 1 is empty")


def test_prompts_that_cannot_be_read_are_left_out(policy: str, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"id": "a", "prompt": "My lamp broke."}\n{"id": 7}\n')
    result = generate(policy, "--prompts", str(path), *SIR)
    assert (result.exit_code, bool(result.stdout)) == (3, True)
    assert "line 2" in result.stderr


def test_a_progress_bar_leaves_the_answers_alone(
    policy: str, prompts: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal's standard error there is a bar, and it takes nothing away from standard output."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    arguments = ["generate", policy, "--prompts", prompts, *SIR, "--max-tokens", "16", "--samples", "8", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert ended.value.code == 0
    assert [json.loads(line)["id"] for line in shown.out.splitlines()] == [f"p{n}" for n in range(5)]
    assert "answering" in shown.err
