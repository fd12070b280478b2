"""`bylaw concept`: what it says of concepts whose scores are known, and what it refuses."""

import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bylaw.runtime.cli import main
from bylaw.runtime.concepts.calibration import calibrate
from bylaw.runtime.concepts.examples import HeldOut, hardest, to_label
from bylaw.runtime.concepts.folder import read_folder, with_folder, write_folder
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.concepts.operation import held_out_sets
from bylaw.runtime.concepts.performance import moved
from bylaw.runtime.scorers import catalog
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Question, Scored, ScorerError, unscored
from bylaw.spec.expression import Concept

RULES = """policy harbour.desk version "1.0.0" edition 1

concept shouts means "Is written in capitals." {
  like "STOP THAT NOW!"
  unlike "Please do not do that."
  scored by function "checks.py:shouting"
}
concept rude means "Insults the reader." {
  scored by function "checks.py:coin"
}
concept unused means "Nothing asks for it." {
  scored by function "checks.py:shouting"
}
topic billing means "Invoices." {
  scored by function "checks.py:shouting"
}
rule calm at user {
  must not express shouts
}
rule kind at user {
  when prompt is about billing
  should not express rude weight 2
}
"""
CODE = """import hashlib

def shouting(text):
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) / len(letters) if letters else 0

def coin(text):
    return hashlib.sha256(text.encode()).digest()[0] / 256
"""
WORDS = "the harbour parcel ship late soon please read manual fault your invoice refund amount sent today".split()  # noqa: SIM905


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=8)) for _ in range(count)]


def label_lines(count: int, wrong: int | None = None) -> list[dict[str, Any]]:
    """Every third text shouts, but the `wrong` one only says so; rudeness is drawn."""
    draw = random.Random(2)
    found = []
    for number, text in enumerate(texts(count, 1)):
        shouts = number % 3 == 0
        shown = text.upper() if shouts and number != wrong else text
        labels = {"shouts": shouts, "rude": draw.random() < 0.5}
        found.append({"prompt": f"question {number // 2}", "text": shown, "labels": labels})
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.bylaw").write_text(RULES, encoding="utf-8")
    (tmp_path / "checks.py").write_text(CODE, encoding="utf-8")
    write(tmp_path / "labels.jsonl", label_lines(60))
    return tmp_path


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def run(folder: Path, *arguments: str, labels: str | None = "labels.jsonl") -> Result:
    given = ("--labels", str(folder / labels)) if labels else ()
    return CliRunner().invoke(main, ["concept", str(folder / "rules.bylaw"), *given, "--allow-functions", *arguments])


def data(folder: Path, *arguments: str, labels: str | None = "labels.jsonl", code: int = 0) -> dict[str, Any]:
    done = run(folder, *arguments, "--format", "json", labels=labels)
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ------------------------------------------------------------------------------------------------------ what is said
def test_the_figures_of_a_concept_that_is_told_apart(folder: Path) -> None:
    (found,) = data(folder, "shouts")["concepts"]
    assert found["examples"] == {
        "express": 21, "do_not": 41, "of_the_policy": {"express": 1, "do_not": 1}, "groups": 32,
        "missing": {"express": 0, "do_not": 0},
    }  # fmt: skip
    assert (found["gate"], found["lacking"], found["separation_error"]) == ("ok", "", "")
    assert found["rules"] == [{"rule": "calm", "must": True}]
    known = found["calibration"]
    assert known["auc"]["value"] == 1.0
    assert 0.8 < known["auc"]["interval"][0] < 1.0
    assert known["balanced_accuracy"]["value"] == 1.0
    assert known["majority_balanced_accuracy"] == 0.5
    assert known["majority_accuracy"] == pytest.approx(41 / 62)
    assert known["prevalence"] == pytest.approx(21 / 62)
    sets = found["prediction_sets"]
    assert (sets["does"]["of"], sets["does_not"]["of"], sets["unscored"]["of"]) == (21, 41, 62)
    assert sets["does"]["share"] >= 0.87


def test_a_wrong_label_is_the_hardest_example_and_stands_beside_the_nearest_of_the_other_kind(folder: Path) -> None:
    write(folder / "labels.jsonl", label_lines(60, wrong=30))
    (found,) = data(folder, "shouts", "--examples", "1")["concepts"]
    (hard,) = found["hardest"]
    assert (hard["place"], hard["expresses"]) == ("labels.jsonl:31", True)
    assert hard["score"] < 0.1
    near = hard["nearest_of_the_other_kind"]
    assert near["expresses"] is False
    assert set(near["text"].split()) & set(hard["text"].split())


def test_texts_are_named_that_are_to_be_labelled_next(folder: Path) -> None:
    unsure = [" ".join(w.upper() if n % 2 else w for n, w in enumerate(text.split())) for text in texts(4, 7)]
    known = [line["text"] for line in label_lines(60)[:10]]
    lines = [*texts(30, 8), *unsure, unsure[0] + "!", *known]
    (folder / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (found,) = data(folder, "shouts", "--texts", str(folder / "texts.txt"), "--examples", "4")["concepts"]
    assert {each["text"] for each in found["to_label"]} == set(unsure)
    assert {each["reason"] for each in found["to_label"]} == {"cannot_tell"}
    assert {leaked[1] for leaked in found["duplicates"]["leaked"]} == {f"texts.txt:{n}" for n in range(36, 46)}
    # The labelled texts and these are of one kind: words drawn from one list.
    assert found["drift"]["fired"] is False
    assert found["drift"]["p_value"] > 0.05


def test_texts_of_another_kind_are_found_out(folder: Path) -> None:
    lines = [f"Der Dampfer {word} liegt noch im Hafen und wartet auf Ladung {n}" for n in range(4) for word in WORDS]
    (folder / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run(folder, "shouts", "--texts", str(folder / "texts.txt"))
    assert done.exit_code == 0
    assert "yes, so that scores of these texts do not count: the texts" in " ".join(done.stdout.split())


def test_a_topic_that_is_asked_of_prompts_looks_at_prompts(folder: Path) -> None:
    lines = [{"prompt": f"WHERE IS PARCEL {n}", "response": "There."} for n in range(3)]
    write(folder / "texts.jsonl", lines)
    (found,) = data(folder, "billing", "--texts", str(folder / "texts.jsonl"), labels=None)["concepts"]
    assert {each["text"] for each in found["to_label"]} <= {line["prompt"] for line in lines}
    assert found["to_label"]


def test_few_examples_are_counted_and_no_figure_hides_it(folder: Path) -> None:
    (found,) = data(folder, "shouts", labels=None)["concepts"]
    assert found["examples"]["missing"] == {"express": 8, "do_not": 8}
    assert found["prediction_sets"] is None
    assert found["calibration"]["threshold_how"] == "midpoint"
    assert found["separation_error"] == ""
    done = run(folder, "shouts", labels=None)
    assert "8 more that do and 8 more that do not: with fewer, no score can be told from chance" in done.stdout
    (found,) = data(folder, "shouts", "--alpha", "0.34", labels=None)["concepts"]
    assert found["examples"]["missing"] == {"express": 1, "do_not": 1}


def test_nearly_the_same_texts_are_told(folder: Path) -> None:
    lines = label_lines(30)
    twin = {**lines[4], "text": lines[4]["text"] + " !", "labels": {"shouts": False}, "prompt": ""}
    turned = {**lines[7], "text": lines[7]["text"].title(), "labels": {"shouts": True}, "prompt": ""}
    other = {**lines[9], "prompt": "the same answer to another question"}
    write(folder / "labels.jsonl", [*lines, twin, turned, other])
    (found,) = data(folder, "shouts")["concepts"]
    assert found["duplicates"]["same"] == [["labels.jsonl:5", "labels.jsonl:31"]]
    assert found["duplicates"]["contradicting"] == [["labels.jsonl:8", "labels.jsonl:32"]]


def test_what_is_shown_cannot_reach_the_terminal(folder: Path) -> None:
    evil = {"text": "\x1b[31mRED \u202e ALERT\nNOW " + "A" * 500, "labels": {"shouts": False}}
    write(folder / "labels.jsonl", [*label_lines(60), evil])
    done = run(folder, "shouts", "--examples", "1")
    assert done.exit_code == 0
    assert "\\u{001b}[31mRED" in done.stdout
    assert not {"\x1b", "\u202e"} & set(done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 118


def test_a_judge_is_held_against_labels_and_its_cost_is_told(folder: Path) -> None:
    pytest.importorskip("openai", reason="judges need the extra `endpoint`")
    from judge_server import JudgeServer, careful

    rules = 'policy a.b version "1.0.0" edition 1\nconcept blames means "Blames the reader." { scored by judge }\n'
    (folder / "rules.bylaw").write_text(rules + "rule kind at user { must not express blames }\n", encoding="utf-8")
    lines = [
        {
            "text": f"{text} It is {'your own' if number % 2 else 'nobody s'} fault.",
            "labels": {"blames": number % 2 == 1 or number == 0},
        }
        for number, text in enumerate(texts(24, 9))
    ]
    write(folder / "labels.jsonl", lines)
    with JudgeServer(judge=careful) as server:
        judge = ("--judge", server.url, "--judge-model", "birchwood-judge-1")
        done = run(folder, "--gate", *judge)
        assert done.exit_code == 0, done.output
        assert "note: `blames`: asking the judge 24 questions, about " in done.stderr
        assert "note: `blames`: the judge was sent 24 questions (2,400 tokens in, 480 out)" in done.stderr
        assert len(server.requests) == 24
        assert "24 texts labelled by people too, sensitivity 0.92 [" in " ".join(done.stdout.split())
        (found,) = data(folder, *judge)["concepts"]
        assert len(server.requests) == 24, "what was answered once is not asked again"
    assert (found["gate"], found["lacking"]) == ("ok", "")
    assert "specificity 1.00" in found["judge"]
    # Nobody is asked without --judge, and nothing is known then.
    assert run(folder, "--gate").exit_code == 4


# -------------------------------------------------------------------------------------------------------- exit codes
def test_a_concept_that_cannot_separate_its_examples_is_an_error_and_nothing_is_written(folder: Path) -> None:
    out = folder / "fitted"
    done = run(folder, "--out", str(out))
    assert done.exit_code == 1
    assert "error: `rude` cannot tell its own examples apart" in done.stderr
    assert f"error: nothing was written to `{out}`" in done.stderr
    assert not out.exists()
    found = {each["concept"]: each for each in data(folder, code=1)["concepts"]}
    assert list(found) == ["shouts", "rude", "unused", "billing"]
    assert "AUC 0." in found["rude"]["separation_error"]
    assert found["rude"]["rules"] == [{"rule": "kind", "must": False}]
    assert found["unused"]["rules"] == []


def test_a_gate_is_about_concepts_that_a_must_hangs_on(folder: Path) -> None:
    assert run(folder, "shouts", "--gate").exit_code == 0
    # Without a function to score it nothing is known, which is no pass.
    rules = folder / "rules.bylaw"
    silent = CliRunner().invoke(main, ["concept", str(rules), "shouts", "--gate"])
    assert silent.exit_code == 4
    assert "functions of a policy are run with --allow-functions only" in " ".join(silent.stdout.split())
    assert CliRunner().invoke(main, ["concept", str(rules), "billing", "--gate"]).exit_code == 0
    # Two of three texts that are labelled so are in capitals, and one of three of the others: an AUC of 0.67.
    lines = [
        {
            "text": text.upper() if (number // 2 % 3 == 0) != (number % 2 == 1) else text,
            "labels": {"shouts": number % 2 == 1},
        }
        for number, text in enumerate(texts(240, 3))
    ]
    write(folder / "weak.jsonl", lines)
    weak = run(folder, "shouts", "--gate", labels="weak.jsonl")
    assert weak.exit_code == 4
    assert (
        "warning: the scores of `shouts` hardly tell its examples apart, and `calm` may not forbid on it" in weak.stderr
    )
    assert run(folder, "shouts", labels="weak.jsonl").exit_code == 0


def test_a_line_that_cannot_be_read_is_exit_code_3(folder: Path) -> None:
    path = folder / "labels.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "nonsense\n", encoding="utf-8")
    done = run(folder, "shouts")
    assert done.exit_code == 3
    assert "labels.jsonl, line 61: the line is not JSON" in done.stderr
    (folder / "texts.jsonl").write_text('{"text": "a"}\n{}\n', encoding="utf-8")
    write(path, label_lines(60))
    assert run(folder, "shouts", "--texts", str(folder / "texts.jsonl")).exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shout",), "there is no concept called `shout`; did you mean `shouts`? There are `shouts`, `rude`, `unused`"),
        (("--texts", "none.txt"), "there is no file `none.txt`"),
        (("--labels", "none.jsonl"), "there is no file `none.jsonl`"),
        (("--labels", "{folder}/labels.jsonl"), "a file of labels is named twice"),
        (("--scorers", "none"), "there is no folder `none`; `bylaw concept RULES --out none` writes one"),
        (("--alpha", "0.6"), "0.6 is not in the range"),
        (("--alpha", "nan"), "nan"),
        (("--judge-model", "m"), "--judge-model"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_exit_code_2(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(folder, *(each.format(folder=folder) for each in arguments))
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_a_policy_without_concepts_and_a_scorer_that_there_is_not_are_one_message(folder: Path) -> None:
    rules = folder / "rules.bylaw"
    rules.write_text(
        'policy a.b version "1.0.0" edition 1\nrule short at user { must have at most 3 words }\n', "utf-8"
    )
    done = run(folder, labels=None)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, "error: this policy has no concept")
    rules.write_text(RULES.replace('scored by function "checks.py:coin"', "scored by functoin"), encoding="utf-8")
    done = run(folder, labels=None)
    assert done.exit_code == 2
    assert (
        "rules.bylaw:8:9: `rude` has no scorer: there is no scorer called `functoin`; did you mean `function`?"
        in done.stderr
    )


# ----------------------------------------------------------------------------------------------------------- folders
def test_a_folder_gives_the_same_scores_and_holds_no_code(folder: Path) -> None:
    out = folder / "fitted"
    done = run(folder, "shouts", "--out", str(out), "--alpha", "0.2")
    assert (done.exit_code, f"wrote {out}/" in done.stderr) == (0, True)
    assert sorted(path.name for path in out.iterdir()) == ["fitted.json", "texts.jsonl"]
    again = data(folder, "shouts", "--scorers", str(out), labels=None)
    first = data(folder, "shouts", "--alpha", "0.2")
    assert again["alpha"] == 0.2
    assert again == first
    # Written again from itself: not a byte is different.
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run(folder, "shouts", "--scorers", str(out), "--out", str(out), labels=None).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def _changed(name: str, old: str, new: str) -> Any:
    def change(out: Path) -> None:
        text = (out / name).read_text(encoding="utf-8")
        assert old in text
        (out / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / "fitted.json").unlink(), "it has no fitted.json"),
        (lambda out: (out / "texts.jsonl").unlink(), "cannot be read: texts.jsonl: no such file"),
        (lambda out: (out / "fitted.json").write_text("[1]"), "is no folder that this version wrote"),
        (lambda out: (out / "fitted.json").write_bytes(b"\xff"), "is no folder that this version wrote"),
        (_changed("fitted.json", '"version": 1', '"version": 2'), "version 2, and this program reads 1"),
        (_changed("fitted.json", '"alpha": 0.1', '"alpha": 7'), "alpha is 7"),
        (_changed("fitted.json", '"slope": ', '"slope": -'), "a number is out of its range"),
        (_changed("fitted.json", '"scorer"', '"scorers"'), "'scorer' is missing"),
        (_changed("fitted.json", '"labels": [[0, 1]', '"labels": [[99, 1]'), "a label is about no text"),
        (_changed("texts.jsonl", "harbour", "harbor"), "texts.jsonl was changed"),
        (_changed("../rules.bylaw", "Is written in capitals.", "Is loud."), "`shouts` was changed since"),
    ],
)
def test_a_folder_that_was_changed_is_one_message(folder: Path, damage: Any, message: str) -> None:
    out = folder / "fitted"
    assert run(folder, "shouts", "--out", str(out)).exit_code == 0
    damage(out)
    done = run(folder, "shouts", "--scorers", str(out), labels=None)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_other_code_than_when_a_folder_was_written_is_told(folder: Path) -> None:
    out = folder / "fitted"
    assert run(folder, "shouts", "--out", str(out)).exit_code == 0
    assert "not what it was" not in run(folder, "shouts", "--scorers", str(out), labels=None).stderr
    _changed("../checks.py", "else 0", "else 0.0")(out)
    done = run(folder, "shouts", "--scorers", str(out), labels=None)
    assert f"warning: the scorer of `shouts` is not what it was when `{out}` was written" in done.stderr
    done = run(folder, "shouts", "--scorers", str(out), "--alpha", "0.3", labels=None)
    assert (done.exit_code, "was written with --alpha 0.1; leave --alpha out" in done.stderr) == (2, True)


def test_the_default_scorer_is_kept_in_a_folder_with_its_models(folder: Path) -> None:
    concept = 'concept late means "Says that something is late." { like "It is late." }\n'
    rules = f'policy a.b version "1.0.0" edition 1\n{concept}'
    (folder / "rules.bylaw").write_text(
        rules + "rule quick at user { should not express late weight 1 }\n", encoding="utf-8"
    )
    lines = [{"text": text, "labels": {"late": "late" in text.split()}} for text in texts(80, 11)]
    write(folder / "labels.jsonl", lines)
    out = folder / "fitted"
    done = run(folder, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert (out / "words").is_dir()
    first, again = data(folder), data(folder, "--scorers", str(out), labels=None)
    assert again == first
    (found,) = again["concepts"]
    assert (found["scorer"], found["gate"]) == ("words", "ok")
    assert found["calibration"]["auc"]["value"] > 0.9
    # More labels than the folder has: the models are made anew, and so is the folder.
    write(folder / "more.jsonl", [{"text": text, "labels": {"late": "late" in text.split()}} for text in texts(20, 12)])
    joined = data(folder, "--scorers", str(out), "--out", str(out), labels="more.jsonl")["concepts"][0]["examples"]
    assert joined["express"] + joined["do_not"] == 101
    assert data(folder, "--scorers", str(out), "--rough", labels=None)["concepts"][0]["examples"] == joined


def test_a_threshold_may_change_after_a_folder_was_written(folder: Path) -> None:
    out = folder / "fitted"
    assert run(folder, "shouts", "--out", str(out)).exit_code == 0
    _changed("../rules.bylaw", '  unlike "Please', '  threshold 0.7\n  unlike "Please')(out)
    assert data(folder, "shouts", "--scorers", str(out), labels=None)["concepts"][0]["threshold"] == 0.7


def test_what_others_wrote_is_not_replaced(folder: Path) -> None:
    out = folder / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep", encoding="utf-8")
    done = run(folder, "shouts", "--out", str(out))
    assert done.exit_code == 2
    assert "is there already and was not written by `bylaw concept`" in done.stderr
    assert (out / "notes.txt").read_text(encoding="utf-8") == "keep"
    (folder / "file").write_text("", encoding="utf-8")
    done = run(folder, "shouts", "--out", str(folder / "file" / "below"))
    assert (done.exit_code, f"`{folder / 'file'}` is a file" in done.stderr) == (2, True)


def test_a_scorer_that_fails_while_it_saves_leaves_the_old_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "fitted"
    assert run(folder, "shouts", "--out", str(out)).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    from bylaw.runtime.scorers.function import FunctionScorer

    def save(self: object, place: Path) -> None:
        place.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionScorer, "save", save, raising=False)
    done = run(folder, "shouts", "--out", str(out))
    assert done.exit_code == 2
    assert "cannot be written: no space left on device" in done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    concept, out = Concept("shouts", "Is loud."), tmp_path / "out"
    write_folder(out, {}, {}, {}, 0.1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    really = os.replace

    def refuse(source: Path, target: Path) -> None:
        if target == out and not str(source).endswith(".old"):
            raise OSError(28, "No space left on device")
        really(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ScorerError, match="cannot be written: no space left on device"):
        write_folder(out, {}, {}, {"shouts": [LabelledText("A", True)]}, 0.2)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert read_folder(out, {"shouts": concept}).alpha == 0.1


def test_labels_of_a_folder_and_of_files_count_once_each(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(CODE, encoding="utf-8")
    concept = Concept("shouts", "Is loud.", scorer="function", scorer_argument="checks.py:shouting")
    labels = tuple(LabelledText(each["text"], each["labels"]["shouts"], "g", "p:1", "q") for each in label_lines(20))
    odd = LabelledText("half \ud800 a pair", False)
    making = Making({"shouts": (*labels, odd)}, tmp_path, 0.3, {"function": True})
    scorers = catalog.kind("function").make((concept,), making)
    write_folder(tmp_path / "out", {"shouts": concept}, scorers, making.labels, making.alpha)
    found = read_folder(tmp_path / "out", {"shouts": concept})
    assert found.labels == {"shouts": (*labels, odd)}
    assert found.concepts["shouts"].calibration == scorers["shouts"].calibrations["shouts"]  # type: ignore[attr-defined]
    more = LabelledText("MORE", True)
    joined = with_folder(replace(making, labels={"shouts": (labels[0], more)}, alpha=0.1), found)
    assert (joined.labels, joined.alpha) == ({"shouts": (*labels, odd, more)}, 0.3)
    assert read_folder(tmp_path / "out", {}).labels == {}
    changed = replace(concept, like=("NOW",))
    with pytest.raises(ScorerError, match="`shouts` was changed since"):
        read_folder(tmp_path / "out", {"shouts": changed})


# ----------------------------------------------------------------------------------------------------------- figures
def test_sets_of_held_out_examples_cover_each_class(folder: Path) -> None:
    """300 rare and 900 frequent examples that overlap: each example's set is made without its group. Coverage
    of a class is at least 0.9 in the mean; below 0.85 of 300 in fewer than 1 of 500 draws."""
    draw = np.random.default_rng(4)
    does = np.arange(1200) % 4 == 0
    raw = draw.normal(np.where(does, 1.5, 0.0))
    examples = tuple(LabelledText(str(n), bool(d), group=f"g{n // 2}") for n, d in enumerate(does))
    sets = held_out_sets(HeldOut(examples, tuple(raw.tolist())), 0.1)
    assert (sets.does.total, sets.does_not.total, sets.unscored.total) == (300, 900, 1200)
    for share in (sets.does, sets.does_not):
        assert 0.85 < share.value < 0.95
        assert share.low < share.value < share.high
    # What both classes hold: N(1.5) above its tenth percentile, 0.22, and N(0) below its ninetieth, 1.28.
    assert sets.unscored.value == pytest.approx(0.75 * 0.313 + 0.25 * 0.313, abs=0.05)


def test_hard_examples_are_those_on_the_wrong_side(folder: Path) -> None:
    examples = tuple(LabelledText(f"text {word}", n >= 8, place=f"p{n}") for n, word in enumerate("abcdefghijklmnop"))
    raw = [0.1 * n for n in range(16)]
    raw[3], raw[12] = 3.0, -3.0
    held = HeldOut(examples, tuple(raw))
    found = hardest(held, calibrate(raw, [each.expresses for each in examples]), 3)
    assert {found[0].example.place, found[1].example.place} == {"p3", "p12"}
    assert all(each.nearest is None or each.nearest.expresses != each.example.expresses for each in found)
    with pytest.raises(ValueError, match="15 examples with 16 scores"):
        HeldOut(examples[1:], tuple(raw))


def test_what_to_label_next_is_uncertain_missing_and_new() -> None:
    def answer(score: float | None, why: Any = None) -> Scored:
        if why is None:
            assert score is not None
            return Scored(score)
        return unscored(why, "because", record={} if score is None else {"score": score})

    told = "abcdefgh"
    given = [LabelledText(f"this text is about {each * 9} and nothing else", False, place=each) for each in told]
    answers = [
        answer(0.9), answer(0.45, "cannot_tell"), answer(0.1), answer(0.6, "cannot_tell"), answer(None, "input"),
        answer(0.95), answer(0.02), answer(0.5, "cannot_tell"),
    ]  # fmt: skip
    found = to_label(given, answers, (), (0, 0), 4)
    assert [(each.text.place, each.reason) for each in found[:3]] == [
        ("h", "cannot_tell"), ("b", "cannot_tell"), ("d", "cannot_tell")
    ]  # fmt: skip
    found = to_label(given, answers, (), (3, 0), 4)
    assert [(each.text.place, each.reason) for each in found] == [
        ("h", "cannot_tell"), ("f", "likely"), ("b", "cannot_tell"), ("a", "likely")
    ]  # fmt: skip
    found = to_label(given, answers, [given[7]], (0, 3), 2)
    assert [(each.text.place, each.reason) for each in found] == [("g", "unlikely"), ("b", "cannot_tell")]
    assert to_label((), (), (), (1, 1), 4) == ()
    assert Question(Concept("a", "b"), "c").trace is None


# ------------------------------------------------------------------------------------- the threshold that is in force
def overlapping(count: int) -> list[dict[str, Any]]:
    """Texts of eight words of which some are in capitals; those that do have more of them, but not always."""
    draw, found = random.Random(5), []
    for number, text in enumerate(texts(count, 1)):
        shouts = number % 3 == 0
        many = draw.choice([3, 4, 5, 6, 8] if shouts else [0, 0, 1, 2, 4])
        words = (word.upper() if place < many else word for place, word in enumerate(text.split()))
        found.append({"text": " ".join(words), "labels": {"shouts": shouts}})
    return found


def test_the_accuracy_is_that_of_the_threshold_in_force(folder: Path) -> None:
    write(folder / "labels.jsonl", overlapping(120))
    (at_best,) = data(folder, "shouts")["concepts"]
    known = at_best["calibration"]
    assert at_best["at_threshold"]["balanced_accuracy"] == known["balanced_accuracy"]
    assert at_best["at_threshold"]["is_worse_than_best"] is False
    assert at_best["prediction_sets"]["against"]["count"] == 0
    assert "tells the examples apart worse" not in run(folder, "shouts").stderr

    rules = folder / "rules.bylaw"
    rules.write_text(RULES.replace('  unlike "Please', '  threshold 0.05\n  unlike "Please', 1), encoding="utf-8")
    (found,) = data(folder, "shouts")["concepts"]
    used = found["at_threshold"]
    assert (used["threshold"], found["calibration"]) == (0.05, known), "the calibration's figures stay those of 0.5"
    # By hand: a score of 0.05 is reached by every text with a capital letter, and by no other.
    own = [
        {"text": "STOP THAT NOW!", "labels": {"shouts": True}},
        {"text": "Please do not do that.", "labels": {"shouts": False}},
    ]
    rates = []
    for does in (True, False):
        lines = [line for line in [*overlapping(120), *own] if line["labels"]["shouts"] == does]
        rates.append(sum(any(c.isupper() for c in line["text"]) == does for line in lines) / len(lines))
    assert used["balanced_accuracy"]["value"] == pytest.approx(sum(rates) / 2)
    low, high = used["balanced_accuracy"]["interval"]
    assert low < used["balanced_accuracy"]["value"] < high < known["balanced_accuracy"]["value"]
    less = used["balanced_accuracy_less_that_at_best"]
    assert less["value"] == pytest.approx(used["balanced_accuracy"]["value"] - known["balanced_accuracy"]["value"])
    assert (less["interval"][1] < 0, used["is_worse_than_best"]) == (True, True)
    assert found["prediction_sets"]["against"]["count"] > 10

    done = run(folder, "shouts")
    told = " ".join(done.stdout.split())
    assert "0.05 (the policy's); 0.5 would tell the examples apart best" in told
    assert f"at 0.05: balanced {used['balanced_accuracy']['value']:.2f} [" in told
    assert "are decided against their set" in told
    assert "(0 is best, up to 0.07 is good)" in told
    assert "warning: `shouts`: the threshold 0.05 tells the examples apart worse than 0.5" in done.stderr


def test_the_interval_of_a_difference_holds_the_truth() -> None:
    """Two normal classes a distance of 2 apart, cut at 0.4 and at 1: the difference is known. Of 200 draws 95 % hold
    it; fewer than 180 do in less than 1 of 500 runs."""
    draw, above = np.random.default_rng(3), 0
    true = (_tail(0.4 - 2) - _tail(1 - 2) - (_tail(0.4) - _tail(1.0))) / 2
    for _ in range(200):
        does = np.arange(200) % 3 == 0
        raw = draw.normal(np.where(does, 2.0, 0.0))
        found = moved(raw > 0.4, raw > 1.0, does, np.arange(200))
        above += found.low <= true <= found.high
        assert found.low <= found.value <= found.high
    assert 180 <= above <= 200


def _tail(at: float) -> float:
    return math.erfc(at / math.sqrt(2)) / 2


# ----------------------------------------------------------------------------------------------- what is missing, said
def test_a_judge_needs_labels_and_its_examples_do_not_count(folder: Path) -> None:
    pytest.importorskip("openai", reason="judges need the extra `endpoint`")
    from judge_server import JudgeServer, careful

    shown = '{ like "It is your own fault." unlike "Good day to you." scored by judge }\n'
    head = f'policy a.b version "1.0.0" edition 1\nconcept blames means "{"Blames the reader. " * 40}" {shown}'
    (folder / "rules.bylaw").write_text(head + "rule kind at user { must not express blames }\n", encoding="utf-8")
    done = run(folder, labels=None)
    assert done.stderr.count("give --judge URL and --judge-model NAME, or remove `scored by judge`") == 1
    assert "9 more that do and 9 more that do not" in done.stdout
    assert len(" ".join(done.stdout.split("scored by")[0].split())) < 230, "a long meaning is cut"
    (folder / "texts.txt").write_text("\n".join(texts(4, 1)) + "\n", encoding="utf-8")
    lines = [
        {"text": f"{text} It is {'your own' if n % 2 else 'nobody s'} fault.", "labels": {"blames": n % 2 == 1}}
        for n, text in enumerate(texts(60, 9))
    ]
    write(folder / "labels.jsonl", lines)
    with JudgeServer(judge=careful) as server:
        judge = ("--judge", server.url, "--judge-model", "birchwood-judge-1", "--texts", str(folder / "texts.txt"))
        (found,) = data(folder, *judge, labels=None)["concepts"]
        assert found["examples"]["missing"] == {"express": 9, "do_not": 9}
        assert "9 of each are needed before" in found["lacking"]
        assert {each["reason"] for each in found["to_label"]} == {"unknown"}
        # All four are answered alike, and far from the threshold.
        (found,) = data(folder, *judge)["concepts"]
        assert (found["to_label"], found["lacking"]) == ([], "")
        assert "label next: none of the texts is doubtful" in run(folder, *judge).stdout


def test_why_a_gate_failed_is_said(folder: Path) -> None:
    silent = CliRunner().invoke(main, ["concept", str(folder / "rules.bylaw"), "shouts", "--gate"])
    assert silent.exit_code == 4
    told = "error: --gate: `shouts`, which `calm` (must) hangs on: `shouts` is scored by a function"
    assert told in silent.stderr


@pytest.mark.parametrize("options", [(), ("--rough",)])
def test_a_concept_without_any_example_cannot_be_scored_at_all(folder: Path, options: tuple[str, ...]) -> None:
    rules = 'policy a.b version "1.0.0" edition 1\nconcept late means "Says that it is late."\n'
    (folder / "rules.bylaw").write_text(rules + "rule quick at user { must not express late }\n", encoding="utf-8")
    done = run(folder, *options, labels=None)
    assert done.exit_code == 0, done.output
    assert "has no example and no label, so that nothing can be scored, not even roughly" in " ".join(
        done.stdout.split()
    )


def test_a_text_that_contains_another_is_not_called_the_same(folder: Path) -> None:
    lines = label_lines(30)
    longer = {"text": f"{lines[4]['text']} {texts(1, 99)[0]} {texts(1, 98)[0]}", "labels": {"shouts": False}}
    write(folder / "labels.jsonl", [*lines, longer])
    (found,) = data(folder, "shouts")["concepts"]
    assert (found["duplicates"]["same"], found["duplicates"]["contradicting"]) == ([], [])
    assert found["duplicates"]["contained"] == [["labels.jsonl:31", "labels.jsonl:5"]]


def test_scores_far_from_the_threshold_are_not_called_near() -> None:
    given = [LabelledText(f"text {each * 9}", False, place=each) for each in "abcd"]
    answers = [Scored(0.98), Scored(0.02), unscored("budget", "spent"), Scored(0.3)]
    found = to_label(given, answers, (), (0, 0), 4)
    assert [(each.text.place, each.reason) for each in found] == [("c", "unknown"), ("d", "uncertain")]
    found = to_label(given, answers, (), (0, 0), 4, threshold=0.9)
    assert [(each.text.place, each.reason) for each in found] == [("c", "unknown"), ("a", "uncertain")]
    assert to_label(given[:2], answers[:2], (), (0, 0), 4) == ()
