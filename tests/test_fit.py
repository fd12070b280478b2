"""`bylaw fit`: planted weights come back, what does not fit is named by its lines, only weights change in a file."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Golden

from bylaw.compiler.pipeline import compile_file
from bylaw.runtime.cli import main

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "judgements"
RBR = ROOT.parent / "shared" / "data" / "openai_rbr"

POLICY = """# A policy with comments.
policy mill.desk version "1.0.0" edition 1

levels root > system > user

concept warm means "Is kind to the reader."

rule no_card at root {
  must not contain /[0-9]{16}/
}

rule oak at system {
  should mention "oak" weight 2  # said twice
}

rule short at user {
  # bylaw: allow P409 because "it is short"
  should have at most 5 words
}

rule calm at user {
  prefer lower number of exclamation_marks in response weight 0.5
}
"""
ONE = """
rule oak at user {
  should mention "oak"
}
"""


def fit(folder: Path, policy: str, lines: list[Any], *arguments: str) -> Result:
    (folder / "rules.bylaw").write_text(policy, encoding="utf-8", newline="")
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    (folder / "judged.jsonl").write_text(text, encoding="utf-8")
    quick = ("--resamples", "0")  # unless the arguments say otherwise
    return call(folder / "rules.bylaw", "--judgements", folder / "judged.jsonl", *quick, *arguments)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["fit", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def record(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["term"]: row for row in found["rows"]}


def pair(better: str, worse: str, prompt: str = "Which?", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": better, "rejected": worse, **more}


# ------------------------------------------------------------------------------------------------------------ weights
def test_one_rule_has_its_closed_form(tmp_path: Path) -> None:
    """k of n judgements against a rule: its weight is log((n - k) / k), and their mean loss the entropy of k / n."""
    lines = [pair("An oak.", "An elm.", f"p{n}") for n in range(31)] + [
        pair("An elm.", "An oak.", f"p{n}") for n in range(31, 40)
    ]
    found = record(fit(tmp_path, ONE, lines, "--l2", "0", "--format", "json", "--resamples", "50"))
    assert rows(found)["oak"]["fitted"] == pytest.approx(math.log(31 / 9), abs=1e-6)
    share = 9 / 40
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert found["loss_after"] == pytest.approx(entropy, abs=1e-9)
    assert found["loss_before"] == pytest.approx(
        (31 * math.log1p(math.exp(-1)) + 9 * math.log1p(math.exp(1))) / 40, abs=1e-9
    )
    assert 0 <= found["gap"] < 1e-6
    # On other prompts the rule is right exactly as often as it is here, whatever its weight.
    assert found["accuracy"]["held_out"]["rate"] == pytest.approx(31 / 40)


def test_weights_margins_and_ties_count(tmp_path: Path) -> None:
    """A weight of 3 is three lines; a margin of m moves the weight by m; a tie is half a judgement each way."""
    lines = [pair("An oak.", "An elm.", "p", weight=3), pair("An elm.", "An oak.", "q")]
    found = rows(record(fit(tmp_path, ONE, lines, "--l2", "0", "--format", "json")))["oak"]
    assert (found["fitted"], found["judgements"]) == (pytest.approx(math.log(3), abs=1e-6), 4)
    tie = {"prompt": "r", "responses": ["An oak.", "An elm."], "tie": True}
    found = rows(record(fit(tmp_path, ONE, [lines[0], tie], "--l2", "0", "--format", "json")))["oak"]
    assert found["fitted"] == pytest.approx(math.log(4 / 1), abs=1e-6)  # three, and one each way
    hinge = ("--loss", "hinge", "--l2", "0", "--format", "json")
    assert rows(record(fit(tmp_path, ONE, [lines[0]], *hinge)))["oak"]["fitted"] == pytest.approx(1, abs=1e-3)
    wide = [pair("An oak.", "An elm.", "p", margin=2.5)]
    assert rows(record(fit(tmp_path, ONE, wide, *hinge)))["oak"]["fitted"] == pytest.approx(2.5, abs=1e-3)


def planted(count: int, seed: int, weights: dict[str, float]) -> list[dict[str, Any]]:
    """Judgements drawn from the law itself: the better answer wins with probability 1 / (1 + e^-difference)."""
    drawn = random.Random(seed)

    def answer() -> tuple[str, float]:
        has_oak, is_long, marks = drawn.random() < 0.5, drawn.random() < 0.5, drawn.randrange(4)
        words = ["Oak" if has_oak else "Elm", *(["and", "so", "on", "and", "on"] if is_long else ["wood"])]
        score = -weights["oak"] * (not has_oak) - weights["short"] * is_long - weights["calm"] * marks
        return " ".join(words) + "!" * marks, score

    made = []
    while len(made) < count:
        (one, first), (other, second) = answer(), answer()
        if one != other:
            is_first = drawn.random() < 1 / (1 + math.exp(second - first))
            made.append(pair(*((one, other) if is_first else (other, one)), prompt=f"p{len(made) // 2}"))
    return made


def test_planted_weights_are_in_their_intervals(tmp_path: Path) -> None:
    """Three intervals of 95 %, and a fixed seed: of such tests 14 % would fail by chance for some seed."""
    truth = {"oak": 1.5, "short": 0.7, "calm": 0.4}
    found = record(fit(tmp_path, POLICY, planted(800, 5, truth), "--format", "json", "--resamples", "200"))
    for name, weight in truth.items():
        row = rows(found)[name]
        assert row["interval"]["low"] < weight < row["interval"]["high"]
        assert row["interval"]["low"] < row["fitted"] < row["interval"]["high"]
        assert row["interval"]["high"] - row["interval"]["low"] < 0.8
        assert row["status"] == "fitted"
    assert found["loss_after"] < found["loss_before"]
    best = found["accuracy"]["held_out"]["rate"]
    assert best > found["accuracy"]["best_rule"]["rate"]
    assert found["prompts"] == 400


def test_limits_kept_weights_and_levels(tmp_path: Path) -> None:
    lines = planted(300, 6, {"oak": 0.3, "short": 1.5, "calm": 0.4})
    quick = ("--format", "json")
    free = rows(record(fit(tmp_path, POLICY, lines, *quick)))
    assert free["oak"]["fitted"] < free["short"]["fitted"]
    assert all(row["interval"] is None for row in free.values())
    ordered = rows(record(fit(tmp_path, POLICY, lines, *quick, "--monotone")))
    assert ordered["oak"]["fitted"] == pytest.approx(ordered["short"]["fitted"], abs=1e-6)
    assert free["oak"]["fitted"] < ordered["oak"]["fitted"] < free["short"]["fitted"]
    kept = rows(record(fit(tmp_path, POLICY, lines, *quick, "--keep", "oak")))["oak"]
    assert (kept["fitted"], kept["status"]) == (2.0, "kept")
    capped = rows(record(fit(tmp_path, POLICY, lines, *quick, "--at-most", "1")))["short"]
    assert (capped["fitted"], capped["status"]) == (pytest.approx(1), "upper limit")
    raised = rows(record(fit(tmp_path, POLICY, lines, *quick, "--at-least", "0.9")))["oak"]
    assert (raised["fitted"], raised["status"]) == (pytest.approx(0.9), "lower limit")
    aside = record(fit(tmp_path, POLICY, lines, *quick, "--without", "calm"))
    assert list(rows(aside)) == ["oak", "short"]


def test_what_no_judgement_depends_on_stays(tmp_path: Path) -> None:
    lines = [pair("Oak.", "Elm.", f"p{n}") for n in range(12)]
    found = rows(record(fit(tmp_path, POLICY, lines, "--format", "json", "--resamples", "20")))
    assert (found["calm"]["fitted"], found["calm"]["status"], found["calm"]["interval"]) == (0.5, "untold", None)
    together = [pair("Oak.", "Elm and so on and on.", f"p{n}") for n in range(12)]
    found = rows(record(fit(tmp_path, POLICY, together, "--format", "json", "--resamples", "20")))
    assert {found["oak"]["status"], found["short"]["status"]} == {"undetermined"}


def test_what_limits_and_order_move_is_written_too(tmp_path: Path) -> None:
    """The table says what the file gets, also of a weight that no judgement depends on."""
    lines = [pair("Oak.", "Elm.", f"p{n}") for n in range(12)]
    for arguments in (("--at-least", "0.7"), ("--at-most", "0.4"), ("--at-least", "2.5", "--monotone")):
        result = fit(tmp_path, POLICY, lines, "--format", "json", "--write", *arguments)
        assert result.exit_code == 0, result.output
        fitted = rows(record(result))
        assert fitted["calm"]["status"] == "untold"
        assert fitted["calm"]["remark"] == "no judgement depends on it; moved to where it is allowed"
        program = compile_file(tmp_path / "rules.bylaw").require()
        for name in ("oak", "short", "calm"):
            weight = program.term(name).weight
            assert weight is not None
            assert abs(weight) == pytest.approx(fitted[name]["fitted"], rel=5e-3)


def test_prompts_that_all_say_the_same_give_no_interval(tmp_path: Path) -> None:
    """Resamples of equal prompts are equal: an interval of no width would say that the weight is certain."""
    both = [each for n in range(12) for each in (pair("Oak.", "Elm.", f"p{n}"), pair("Elm.", "Oak.", f"p{n}"))]
    found = rows(record(fit(tmp_path, POLICY, both, "--format", "json", "--resamples", "20")))["oak"]
    assert (found["status"], found["interval"]) == ("fitted", None)
    assert "no interval" in found["remark"]
    more = rows(record(fit(tmp_path, POLICY, [*both, pair("Oak.", "Ash.")], "--format", "json", "--resamples", "20")))
    assert more["oak"]["interval"] is not None


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_ties_alone(tmp_path: Path, loss: str) -> None:
    tie = [{"prompt": f"p{n}", "responses": ["Oak.", "Elm."], "tie": True} for n in range(12)]
    result = fit(tmp_path, POLICY, tie, "--loss", loss)
    assert result.exit_code == 0, result.output
    assert "accuracy on prompts that were not fitted cannot be told: all judgements are ties" in result.stdout
    found = rows(record(fit(tmp_path, POLICY, tie, "--loss", loss, "--format", "json")))
    assert found["oak"]["fitted"] < 0.1


def test_judgements_that_never_disagree_need_a_limit(tmp_path: Path) -> None:
    lines = [pair("Oak.", "Elm.", f"p{n}") for n in range(12)]
    result = fit(tmp_path, POLICY, lines, "--l2", "0")
    assert result.exit_code == 1
    assert "no judgement speaks against `oak`" in result.stderr
    assert record(fit(tmp_path, POLICY, lines, "--l2", "0", "--at-most", "4", "--format", "json"))


def test_one_judgement_against_is_enough_for_a_weight(tmp_path: Path) -> None:
    """The fold that holds it out has no best weights: that is about the accuracy, not about the fit."""
    lines = [pair("Oak.", "Elm.", f"p{n}") for n in range(29)] + [pair("Elm.", "Oak.", "p29")]
    found = record(fit(tmp_path, ONE, lines, "--l2", "0", "--format", "json", "--resamples", "100"))
    row = rows(found)["oak"]
    assert row["fitted"] == pytest.approx(math.log(29), abs=1e-5)
    assert row["interval"]["low"] < math.log(29)
    assert row["interval"]["high"] is None  # a resample without it sets no end
    assert found["accuracy"] is None
    text = fit(tmp_path, ONE, lines, "--l2", "0").stdout
    assert "cannot be told: in a part of them no judgement speaks against `oak`, so its weight would grow" in text
    held = record(fit(tmp_path, ONE, lines, "--format", "json"))
    assert held["accuracy"]["held_out"]["rate"] == pytest.approx(29 / 30)


# ------------------------------------------------------------------------------------------------ what does not fit
def test_what_does_not_fit_is_named_by_its_lines(tmp_path: Path) -> None:
    lines = [
        pair("Oak.", "Elm."),  # 1 and 2 contradict each other
        pair("Elm.", "Oak."),
        pair("Oak one.", "Ash.", "Who?"),  # 3, 4 and 5 go round
        pair("Ash.", "Oak two!", "Who?"),
        pair("Oak two!", "Oak one.", "Who?"),
        pair("4242424242424242", "Oak", "Why?"),  # breaks a hard rule
        pair("Oak", "4242424242424242", "How?"),  # decided by it
        pair("Ash", "Fir", "Why?"),  # no rule tells them apart
        pair("Elm!", "Oak", "When?"),  # every rule speaks against it
        {"prompt": "When?", "responses": ["Oak a", "Oak b"], "tie": True},
        pair("Elm.", "Elm!", "Both?"),
    ]
    found = record(fit(tmp_path, POLICY, lines, "--format", "json"), 3)
    shown = {(each["kind"], *(place.partition(":")[2] for place in each["places"])) for each in found["conflicts"]}
    assert {("contradiction", "1", "2"), ("cycle", "3", "4", "5"), ("equal", "8")} <= shown
    opposed = next(
        each for each in found["conflicts"] if each["kind"] == "opposed" and "judged.jsonl:9" in each["places"]
    )
    assert opposed["rules"] == ["oak", "calm"]
    assert found["unweighed"]["contradicted"] == [["judged.jsonl:6", ["no_card"]]]
    assert found["unweighed"]["decided"] == 1
    assert (found["pairs"], found["ties"]) == (9, 1)
    text = fit(tmp_path, POLICY, lines).stdout
    assert "judged.jsonl:1, judged.jsonl:2" in text
    assert "judged.jsonl:6: breaks `no_card`" in text
    assert "a rule is missing: add one that tells the two answers apart" in text


def test_orders_that_exist_only_one_by_one(tmp_path: Path) -> None:
    """Worse by more marks, and by fewer in another pair where only they differ: each alone can be said, not both."""
    policy = POLICY.replace(
        "rule calm", "rule loud at user {\n  prefer higher number of exclamation_marks in response\n}\n\nrule calm"
    )
    lines = [pair("Oak!", "Oak.", "a"), pair("Oak.", "Oak!!", "b")]
    found = record(fit(tmp_path, policy, lines, "--format", "json"))
    (conflict,) = found["conflicts"]
    assert conflict["kind"] == "together"
    assert conflict["places"] == ["judged.jsonl:1", "judged.jsonl:2"]
    assert sorted(conflict["rules"]) == ["calm", "loud"]


def test_what_cannot_be_scored_is_left_out_and_counted(tmp_path: Path) -> None:
    policy = POLICY + "\nrule kind at user {\n  should express warm\n}\n"
    labelled = {"response": "Oak.", "labels": {"warm": True, "wram": True}}
    lines = [
        pair("Oak.", "Elm."),
        {"prompt": "p", "chosen": labelled, "rejected": {"response": "Elm.", "labels": {"warm": 0}}},
    ]
    found = record(fit(tmp_path, policy, lines, "--format", "json"), 3)
    assert found["unweighed"]["unscored"] == 1
    assert found["unweighed"]["reasons"] == [["kind", 1, "no scorer has scored `warm`"]]
    assert any("`wram`" in warning for warning in found["warnings"])
    assert rows(found)["kind"]["judgements"] == 1
    result = fit(tmp_path, policy, lines[:1])
    assert result.exit_code == 1
    assert "--without kind" in result.stderr
    assert record(fit(tmp_path, policy, lines[:1], "--without", "kind", "--format", "json"))["pairs"] == 1


def test_a_hard_rule_that_cannot_be_told_may_be_left_aside(tmp_path: Path) -> None:
    policy = POLICY + "\nrule never_cold at root {\n  must express warm\n}\n"
    result = fit(tmp_path, policy, [pair("Oak.", "Elm.")])
    assert result.exit_code == 1
    assert "`never_cold` cannot be told for 1 of them" in result.stderr
    assert "--without never_cold" in result.stderr
    found = record(fit(tmp_path, policy, [pair("Oak.", "Elm.")], "--without", "never_cold", "--format", "json"))
    assert (found["pairs"], found["options"]["without"]) == (1, ["never_cold"])


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    other = tmp_path / "a" / "judged.jsonl"
    other.write_text(json.dumps(pair("Elm.", "Oak.")) + "\n", encoding="utf-8")
    found = record(fit(tmp_path, POLICY, [pair("Oak.", "Elm.")], "--judgements", str(other), "--format", "json"))
    assert found["conflicts"][0]["places"] == [f"{tmp_path / 'judged.jsonl'}:1", f"{other}:1"]
    assert [each["judgements"] for each in found["judgements"]] == [1, 1]


def test_a_bad_line_is_left_out_and_named(tmp_path: Path) -> None:
    result = fit(tmp_path, POLICY, [pair("Oak.", "Elm."), "nonsense"])
    assert result.exit_code == 3
    assert "judged.jsonl:2: the line is not JSON" in result.stdout


def test_a_slip_in_a_key_is_told_beside_the_fit(tmp_path: Path) -> None:
    result = fit(tmp_path, POLICY, [pair("Oak.", "Elm.", wieght=2), pair("Oak!", "Elm!", wieght=2)])
    assert result.exit_code == 0
    assert result.stderr.count("warning: ") == 1
    assert "judged.jsonl:1: `wieght` was read as a fact; did you mean `weight`?" in result.stderr


# --------------------------------------------------------------------------------------------------- labelled answers
def test_labelled_answers_under_an_order(tmp_path: Path) -> None:
    lines = [
        {"prompt": f"p{n}", "response": text, "class": kind}
        for n in range(12)
        for text, kind in (("Oak.", "good"), ("Oak!", "fair"), ("Elm!", "bad"))
    ]
    found = record(fit(tmp_path, POLICY, lines, "--order", "good>fair>bad", "--format", "json", "--resamples", "20"))
    assert found["classes"] == [["good", 12], ["fair", 12], ["bad", 12], ["none of them", 0]]
    assert (found["pairs"], found["prompts"]) == (36, 12)
    assert found["options"]["order"] == ["good", "fair", "bad"]
    assert fit(tmp_path, POLICY, lines).exit_code == 2  # no order


def test_the_rule_that_ranks_is_not_weighed_itself(tmp_path: Path) -> None:
    order = '\nrule better at user {\n  prefer response mentions "oak" over response mentions "ash"\n}\n'
    lines = [{"prompt": "p", "response": text} for text in ("Oak!", "Ash.", "Fir.")]
    found = record(fit(tmp_path, POLICY + order, lines, "--format", "json"))
    assert found["classes"][0] == ['response mentions "oak"', 1]
    assert found["pairs"] == 3
    assert "better" not in rows(found)
    one = [{"prompt": str(n), "response": text, "place": "mill"} for n, text in enumerate(("Oak.", "Ash.", "Fir."))]
    result = fit(tmp_path, POLICY + order, one)
    assert result.exit_code == 2
    assert "--group-by FACT" in result.stderr
    assert record(fit(tmp_path, POLICY + order, one, "--group-by", "place", "--format", "json"))["pairs"] == 3


def test_the_examples_of_a_policy_are_judgements(tmp_path: Path) -> None:
    examples = '  complies "An oak."\n  violates "An elm."\n  violates "A fir."\n}'
    (tmp_path / "rules.bylaw").write_text(ONE.replace("}", examples), encoding="utf-8")
    found = record(call(tmp_path / "rules.bylaw", "--from-examples", "--format", "json"))
    assert (found["pairs"], rows(found)["oak"]["judgements"]) == (2, 2)
    (tmp_path / "rules.bylaw").write_text(ONE, encoding="utf-8")
    result = call(tmp_path / "rules.bylaw", "--from-examples")
    assert result.exit_code == 2
    assert "no rule has an example that complies and one that violates it" in result.stderr


# ------------------------------------------------------------------------------------------------------------ writing
def test_only_weights_change_in_the_file(tmp_path: Path) -> None:
    lines = planted(300, 5, {"oak": 1.5, "short": 0.7, "calm": 0.4})
    result = fit(tmp_path, POLICY, lines, "--diff")
    path = tmp_path / "rules.bylaw"
    assert path.read_text(encoding="utf-8") == POLICY  # --diff alone writes nothing
    assert '-  should mention "oak" weight 2  # said twice' in result.stdout
    before = compile_file(path).require()
    found = rows(record(fit(tmp_path, POLICY, lines, "--write", "--format", "json")))
    text = path.read_text(encoding="utf-8")
    changed = [(old, new) for old, new in zip(POLICY.splitlines(), text.splitlines(), strict=True) if old != new]
    assert [new.split("weight ")[0] for _, new in changed] == [
        '  should mention "oak" ',
        "  should have at most 5 words ",
        "  prefer lower number of exclamation_marks in response ",
    ]
    assert changed[0][1].endswith("# said twice")
    after = compile_file(path)
    assert after.ok
    for term, old in zip(after.require().terms, before.terms, strict=True):
        assert (term.id, term.holds is None) == (old.id, old.holds is None)
        if term.weight is not None:
            assert abs(term.weight) == pytest.approx(found[term.id]["fitted"], rel=5e-3)
            assert math.copysign(1, term.weight) == math.copysign(1, old.weight or 1)
    assert CliRunner().invoke(main, ["fmt", "--check", str(path)]).exit_code == 0
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("rules.bylaw", "\ufeff{}"),
        ("rules.bylaw.md", "# The desk\n\nWhat the *desk* says: weight 2.\n\n```bylaw\n{}```\n\nMore.\n"),
    ],
    ids=["byte order mark", "document"],
)
def test_what_surrounds_the_policy_is_kept(tmp_path: Path, name: str, wrap: str) -> None:
    path = tmp_path / name
    path.write_text(wrap.format(POLICY), encoding="utf-8")
    (tmp_path / "judged.jsonl").write_text(json.dumps(pair("Oak.", "Elm.")) + "\n", encoding="utf-8")
    result = call(path, "--judgements", tmp_path / "judged.jsonl", "--write")
    assert result.exit_code == 0, result.output
    text = path.read_text(encoding="utf-8")
    assert text != wrap.format(POLICY)
    head, _, tail = wrap.format(POLICY).partition("weight 2  #")
    assert text.startswith(head)
    assert text.endswith(tail)


@pytest.mark.parametrize(
    ("policy", "lines", "message"),
    [
        (POLICY, [pair("Elm.", "Oak.", weight=50)], "`oak` would get the weight 0"),
        (
            'rule likes(what) at user {\n  should mention what\n}\napply likes("oak") as oak at user\n',
            [pair("Oak.", "Elm.")],
            "`oak` is not written out in",
        ),
    ],
    ids=["nothing left", "applied"],
)
def test_weights_that_cannot_be_written_leave_the_file_alone(
    tmp_path: Path, policy: str, lines: list[Any], message: str
) -> None:
    result = fit(tmp_path, policy, lines, "--write")
    assert result.exit_code == 1
    assert message in result.stderr
    assert (tmp_path / "rules.bylaw").read_text(encoding="utf-8") == policy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judged.jsonl", "rules.bylaw"]


def test_all_weights_that_cannot_be_written_are_named_at_once(tmp_path: Path) -> None:
    policy = (
        ONE
        + """
rule words(word: text) at user {
  should mention word
}
apply words("ash") as ash at user
apply words("yew") as yew at user
rule elm at user {
  should mention "elm"
}
"""
    )
    lines = [pair("Ash.", "Elm.", "p"), pair("Yew.", "Elm.", "q"), pair("Ash and yew.", "Ash and elm.", "r")]
    result = fit(tmp_path, policy, lines * 20, "--write")
    assert result.exit_code == 1
    assert "`elm` would get the weight 0" in result.stderr
    assert "`ash`, `yew` are not written out in" in result.stderr
    assert "--keep ash --keep yew leaves their weights as they are" in result.stderr
    assert (tmp_path / "rules.bylaw").read_text(encoding="utf-8") == policy
    kept = fit(tmp_path, policy, lines, "--write", "--keep", "ash", "--keep", "yew", "--at-least", "0.01")
    assert kept.exit_code == 0, kept.output


def test_the_record_and_the_picture(tmp_path: Path) -> None:
    lines = planted(60, 5, {"oak": 1.5, "short": 0.7, "calm": 0.4})
    out, plot = tmp_path / "fit.json", tmp_path / "fit.svg"
    arguments = ("--resamples", "20", "--out", str(out), "--plot", str(plot))
    result = fit(tmp_path, POLICY, lines, *arguments, "--format", "json")
    assert json.loads(out.read_text(encoding="utf-8")) == record(result)
    found = record(result)
    assert found["rules"]["digest"] == compile_file(tmp_path / "rules.bylaw").require().digest
    assert found["judgements"][0]["digest"].startswith("sha256:")
    first = plot.read_text(encoding="utf-8")
    assert all(word in first for word in ("weight (nats)", "fitted, with its 95 % interval", "oak", "calm"))
    assert fit(tmp_path, POLICY, lines, *arguments).exit_code == 0
    assert plot.read_text(encoding="utf-8") == first
    markdown = fit(tmp_path, POLICY, lines, "--format", "markdown").stdout
    assert markdown.startswith("# Weights of mill.desk\n")
    assert "| oak | 2.00 |" in markdown


# ------------------------------------------------------------------------------------------------------------- misuse
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a file with --judgements"),
        (("--judgements", "absent.jsonl"), "there is no file `absent.jsonl`"),
        (("--judgements", "rules.bylaw"), "unknown ending"),
        (("--judgements", "judged.jsonl", "--judgements", "./judged.jsonl"), "is named twice"),
        (("--judgements", "judged.jsonl", "--keep", "oka"), "did you mean `oak`?"),
        (("--judgements", "judged.jsonl", "--keep", "no_card"), "no rule with a weight called `no_card`"),
        (("--judgements", "judged.jsonl", "--without", "no_cart"), "did you mean `no_card`?"),
        (("--judgements", "judged.jsonl", "--keep", "oak", "--without", "oak"), "by --keep and by --without"),
        (("--judgements", "judged.jsonl", "--order", "a>b"), "there are none"),
        (("--judgements", "judged.jsonl", "--group-by", "kind"), "there are none"),
        (("--judgements", "judged.jsonl", "--l2", "-1"), "not a number from 0 to 1,000"),
        (("--judgements", "judged.jsonl", "--l2", "nan"), "not a number from 0 to 1,000"),
        (("--judgements", "judged.jsonl", "--at-most", "inf"), "not a number from 0 to 1,000"),
        (("--judgements", "judged.jsonl", "--at-least", "2", "--at-most", "1"), "leaves no room"),
        (("--judgements", "judged.jsonl", "--plot", "a.png"), "must end with `.svg`"),
        (("--judgements", "judged.jsonl", "--out", "a.txt"), "must end with `.json`"),
        (("--judgements", "judged.jsonl", "--out", "absent/a.json"), "the folder of `absent/a.json` is not there"),
        (("--judgements", "judged.jsonl", "--resamples", "-1"), "not in the range"),
        (("--judgements", "judged.jsonl", "--resamples", "1"), "shows nothing"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else None,
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit(tmp_path, POLICY, [pair("Oak.", "Elm.")]).exit_code == 0
    result = call("rules.bylaw", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judged.jsonl", "rules.bylaw"]


def test_policies_that_cannot_be_weighed(tmp_path: Path) -> None:
    lines = [pair("Oak.", "Elm.")]
    hard = 'rule oak at user {\n  must mention "oak"\n}\n'
    result = fit(tmp_path, hard, lines)
    assert (result.exit_code, "no rule is left that has a weight" in result.stderr) == (1, True)
    unsound = fit(tmp_path, ONE.replace("mention", "mentoin"), lines)
    assert unsound.exit_code == 1
    assert fit(tmp_path, POLICY, [pair("4242424242424242", "Oak.")]).exit_code == 1
    assert fit(tmp_path, POLICY, []).exit_code == 2
    assert call(tmp_path / "absent.bylaw", "--from-examples").exit_code == 2
    unasked = fit(tmp_path, POLICY, lines, "--loss", "hinge", "--margin", "0")
    assert (unasked.exit_code, "the hinge loss asks for a margin" in unasked.stderr) == (1, True)
    contrary = fit(
        tmp_path, POLICY.replace("weight 2", "weight 0.2"), lines, "--keep", "oak", "--monotone", "--at-least", "1"
    )
    assert contrary.exit_code == 1
    assert "the weights cannot be fitted" in contrary.stderr


# ----------------------------------------------------------------------------------------------------- whole examples
def test_the_example(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command in the first line of the example prints."""
    monkeypatch.chdir(ROOT)
    command = (EXAMPLE / "rules.bylaw").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# bylaw ").split()
    assert command[0] == "fit"
    result = call(*command[1:])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "weights that do not exist" in line)
    del lines[at + 1]  # one of several minimal sets; which one is up to the solver
    golden.check("fit/example.txt", "".join(lines))


@pytest.mark.skipif(not RBR.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_the_published_gold_rows(tmp_path: Path) -> None:
    """Rows with their labels, classes worked out by the imported policy, weights fitted: better than equal weights."""
    rules = tmp_path / "graded.bylaw"
    imported = CliRunner().invoke(main, ["import", "rbr", str(RBR / "proposition_prompts.yaml"), "--out", str(rules)])
    assert imported.exit_code == 0, imported.output
    across = ("--order", "completion_class", "--group-by", "response_type", "--resamples", "10", "--format", "json")
    found = record(call(rules, "--judgements", RBR / "train.jsonl", *across))
    assert found["judgements"][0]["labelled"] == 351
    assert [count for _, count in found["classes"]] == [149, 10, 151, 24, 17, 0]
    assert found["loss_after"] < 0.2 * found["loss_before"]
    accuracy = found["accuracy"]
    assert accuracy["held_out"]["interval"]["low"] > accuracy["now"]["rate"] > accuracy["best_rule"]["rate"]
    assert found["unweighed"] == {"contradicted": [], "decided": 0, "unscored": 0, "reasons": [], "lines": []}
    assert (
        call(
            rules,
            "--judgements",
            RBR / "train.jsonl",
            *across[:-4],
            "--resamples",
            "0",
            "--at-least",
            "0.01",
            "--write",
        ).exit_code
        == 0
    )
    assert compile_file(rules).ok
