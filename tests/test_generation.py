"""From a policy and prompts to answers: every decoder on an enumerable model, what is kept, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tinylanguage import Quiet, Tiny

import bylaw
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.draws import Sampler
from bylaw.runtime.calibration.problem import Multipliers
from bylaw.runtime.calibration.sample_store import SampleStore, StoreKey
from bylaw.runtime.cli.generate_output import remarks
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask, RegulatedSample, Watch
from bylaw.runtime.enforcement import EnforcementError, score_samples
from bylaw.runtime.generation.answers import Answer, BrokenRule, answers, as_json
from bylaw.runtime.generation.decoder_options import OptionError, make_decoder, options_of
from bylaw.runtime.generation.extras import ExtraError, Extras, load_function, prefix_rule, scorer
from bylaw.runtime.generation.file import AnswersFile, AnswersFileError
from bylaw.runtime.generation.kept import kept_samples
from bylaw.runtime.generation.prepare import Prepared, PrepareSettings, prepare
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits
from bylaw.runtime.models.stopping import StoppingModel
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

CAP = 6
SETTINGS = PrepareSettings(CAP, samples=64)
STOPS = ("b1", " .")
RULES = """
rule has_a "Has an a" at developer {
  must contain "a"
}

rule no_ab "No ab" at developer {
  must not contain "ab"
}

rule few_dots "Ends in a dot" at user {
  should end with "." weight 1.5
}
"""


@cache
def program(rules: str = RULES) -> RewardProgram:
    text = f'policy fernhill.tiny version "1.0.0" edition 1\n\nlevels root > developer > user\n{rules}'
    return compile_source(Source("tiny.bylaw", text)).require()


def prompts(count: int) -> list[Trace]:
    return [Trace((Message("user", f"prompt {index}"),), id=f"p{index}") for index in range(count)]


def tiny() -> Tiny:
    return Tiny(TabularModel(max_tokens=CAP, seed=3), others=(TabularModel(max_tokens=CAP, seed=4),))


def ready(model: LanguageModel, count: int = 1, extras: Extras | None = None, rules: str = RULES) -> Prepared:
    return prepare(program(rules), prompts(count), model, SETTINGS, Quiet(), extras=extras)


def decode(prepared: Prepared, decoder: Decoder, model: LanguageModel, **options: object) -> list[Answer]:
    settings = {"max_tokens": CAP, "seed": 5, "particles": 16, **options}
    return list(answers(prepared, decoder, model, **settings))  # type: ignore[arg-type]


def decoders(model: LanguageModel) -> dict[str, Decoder]:
    return {
        "mask": make_decoder("mask", 4),
        "sir": make_decoder("sir", 4),
        "smc": make_decoder("smc", 4),
        "qrs": make_decoder("qrs", 4),
        "mh": make_decoder("mh", 4, ("particles=4",)),
        "tree": make_decoder("tree", 4),
        "best_of_n": make_decoder("best_of_n", 1, ("n=16",)),
        "arm": make_decoder("arm", 4, reward_model=model, alpha=0.3),
    }


# ------------------------------------------------------------------------------------------------------- every decoder
@pytest.mark.parametrize("name", ["mask", "sir", "smc", "qrs", "mh", "tree", "best_of_n", "arm"])
@pytest.mark.parametrize("stops", [(), STOPS], ids=["end of text", "stop strings"])
def test_responses_of_every_decoder_are_responses_of_the_law(name: str, stops: tuple[str, ...]) -> None:
    """Their log p0 and log reward are those of the enumerated model and of the reference evaluator."""
    model: LanguageModel = StoppingModel(tiny(), stops) if stops else tiny()
    prepared = ready(model)
    [answer] = decode(prepared, decoders(model)[name], model)
    everything, log_p0 = tiny().table.enumerate()
    law: dict[tuple[int, ...], list[float]] = {}
    for tokens, own in zip(everything, log_p0, strict=True):
        over = next((n for n in range(1, len(tokens) + 1) if model.vocabulary.stopped(tokens[:n])), len(tokens))
        law.setdefault(tokens[:over], []).append(float(own))
    assert answer.result.responses
    for sample in (*answer.result.responses, *answer.result.samples):
        assert sample.log_p0 == pytest.approx(np.logaddexp.reduce(law[sample.tokens]), abs=1e-9)
        factors = score_samples(prepared.program, prepared.plans[0], [sample.text]).factors
        assert sample.log_reward == pytest.approx(factors.sum(), abs=1e-9)
        assert not any(stop in sample.text for stop in stops)
    if stops and name not in ("best_of_n", "mh"):  # those two hand out few different ones
        assert any(model.vocabulary.stopped(sample.tokens) for sample in answer.result.samples)


def test_rules_are_about_the_text_before_the_stop_string() -> None:
    """The `a` that a rule asks for has to come before the stop string, and the blame names the stop string."""
    model = StoppingModel(tiny(), ("a",))
    with pytest.raises(EnforcementError, match="obeys `has_a` before it stops at `a`; stop elsewhere"):
        ready(model)


def test_a_response_that_breaks_a_hard_rule_is_not_handed_out() -> None:
    prepared = ready(tiny(), 2)
    found = answers(prepared, Lying(), tiny(), max_tokens=CAP, seed=0, particles=1)
    with pytest.raises(BrokenRule, match=r"a response to prompt p0 breaks `no_ab`.*withheld"):
        next(found)


@dataclass(frozen=True)
class Lying:
    """Hands out `ab`, or has it rescued, which the rules forbid."""

    rescued: bool = False
    name = "lying"
    biased = False

    def decode(
        self,
        model: LanguageModel,
        tasks: Sequence[DecodeTask],
        *,
        max_tokens: int,
        seed: int,
        limits: Limits | None = None,
        watch: Watch | None = None,
    ) -> list[DecodeResult]:
        sample = RegulatedSample((0, 1), "ab", -1.0, -1.0, 0.0)
        given = () if self.rescued else (sample,)
        rescued = "ab" if self.rescued else None
        return [DecodeResult(given, given, (), 1, 0, 0, 0.0, 1.0, False, rescued=rescued) for _ in tasks]


def test_a_rescued_text_is_checked_too() -> None:
    with pytest.raises(BrokenRule):
        decode(ready(tiny()), Lying(rescued=True), tiny())


@pytest.mark.parametrize("name", ["mask", "sir", "smc", "qrs", "mh", "tree", "best_of_n", "arm"])
def test_what_a_limit_cuts_ends_before_the_stop_string(name: str) -> None:
    model = StoppingModel(tiny(), STOPS)
    prepared = ready(model)
    for passes in (0, 1, 2, 5, 9):
        [answer] = decode(prepared, decoders(model)[name], model, limits=Limits(passes=passes))
        assert answer.result.diagnostics.passes <= passes
        assert answer.result.diagnostics.stopped == "passes"
        for text in answer.texts:
            assert not any(stop in text for stop in STOPS)
        assert answer.result.responses or answer.texts  # a legal text can always be made


# ----------------------------------------------------------------------------------------------------------- answers
def test_answers_do_not_depend_on_what_is_there_already() -> None:
    prepared, decoder = ready(tiny(), 5), make_decoder("sir", 2, ("particles=50",))
    whole = decode(prepared, decoder, tiny(), particles=50)
    assert [answer.together for answer in whole] == [2, 2, 2, 2, 1]
    some = decode(prepared, decoder, tiny(), particles=50, done=frozenset({0, 1, 3}))
    kept = {answer.index: answer for answer in whole}
    assert [answer.index for answer in some] == [index for index in kept if index in (2, 4)]
    for answer in some:
        assert replace(answer, seconds=0.0).result == kept[answer.index].result
        assert answer.seed == kept[answer.index].seed


def test_extras_leave_prompts_of_one_law_together() -> None:
    prepared = ready(tiny(), 4, Extras(scorers=(scorer_of("length"),)))
    assert len({id(task.law) for task in prepared.tasks}) == 1
    [*found] = decode(prepared, make_decoder("sir", 1, ("particles=8",)), tiny(), particles=8)
    assert all(answer.together == 4 for answer in found)


def scorer_of(name: str):  # type: ignore[no-untyped-def]
    from bylaw.runtime.decoders.interface import Scorer

    return Scorer(name, lambda text: -0.1 * len(text))


def test_of_too_many_responses_the_last_are_handed_out() -> None:
    prepared, decoder = ready(tiny()), make_decoder("mask", 5)
    [whole], [some] = decode(prepared, decoder, tiny()), decode(prepared, decoder, tiny(), responses=2)
    assert len(whole.result.responses) == 5
    assert some.result.responses == whole.result.responses[-2:]


def test_a_line_of_json_has_all_that_was_found() -> None:
    [answer] = decode(ready(tiny()), make_decoder("qrs", 2), tiny())
    line = json.loads(json.dumps(as_json(answer, "qrs"), allow_nan=False))
    assert set(line) == {
        "prompt", "id", "messages", "responses", "decoder", "biased", "seed", "particles", "dead_ends", "refused",
        "log_z", "effective_samples", "passes", "acceptance", "log_beta", "total_variation", "divergence", "stopped",
        "remarks", "together", "seconds",
    }  # fmt: skip
    assert (line["prompt"], line["id"], line["messages"]) == (0, "p0", [{"role": "user", "content": "prompt 0"}])
    for said, sample in zip(line["responses"], answer.result.responses, strict=True):
        assert said == {
            "text": sample.text, "tokens": list(sample.tokens), "log_p0": sample.log_p0, "log_q": sample.log_q,
            "log_reward": sample.log_reward, "cut": len(sample.tokens) == CAP,
        }  # fmt: skip
    assert line["acceptance"].keys() == {"value", "low", "high"}
    [nothing] = decode(ready(tiny()), make_decoder("qrs", 2), tiny(), limits=Limits(passes=0))
    told = as_json(nothing, "qrs")
    assert (told["responses"], told["log_z"], told["stopped"]) == ([], None, "passes")
    assert told["rescued"] == nothing.texts[0] == "a"


# ------------------------------------------------------------------------------------------------------- multipliers
LIMIT = """
rule few_b "Few b" at user {
  limit response contains "b" to at most 10% of responses
}
"""


def test_a_limit_needs_its_multiplier() -> None:
    with pytest.raises(EnforcementError, match=r"`few_b` is a limit on the average answer.*bylaw calibrate") as error:
        ready(tiny(), rules=LIMIT)
    assert error.value.terms == ("few_b",)
    solved = Multipliers({"few_b": 2.0})
    prepared = prepare(program(LIMIT), prompts(1), tiny(), SETTINGS, Quiet(), solved)
    assert prepared.tasks[0].law.log_reward("b") == pytest.approx(-2.0)
    own = Multipliers({"few_b": 0.0}, ((("few_b", 3.0),),))
    prepared = prepare(program(LIMIT), prompts(1), tiny(), SETTINGS, Quiet(), own)
    assert prepared.tasks[0].law.log_reward("b") == pytest.approx(-3.0)


# ------------------------------------------------------------------------------------------------------ base samples
def test_samples_of_a_calibration_are_used_for_the_look_ahead(tmp_path: Path) -> None:
    key = StoreKey(tiny().digest, "other prompts", 1.0, CAP, 7)
    store = SampleStore(tmp_path / "samples", key)
    plans = ready(tiny(), 3).plans
    drawn = Sampler(program(), plans, tiny(), CAP, 7, store, Quiet()).base(100)
    store.put("base-100.under.law-1", 0, [-1.0, None])  # what a calibration has beside them
    found = kept_samples(tmp_path, tiny(), SETTINGS)
    assert list(found) == [draw for own in drawn for draw in own]

    class Refusing(Tiny):
        def session(self, prompts: object) -> object:  # type: ignore[override]
            raise AssertionError("the model is asked for nothing")

    prepared = prepare(program(), prompts(2), Refusing(tiny().table), SETTINGS, Quiet(), kept=found)
    assert prepared.pool == prepared.counted_for(1) == found
    [answer] = decode(replace(prepared, tasks=prepared.tasks[:1]), make_decoder("sir", 1), tiny())
    assert answer.result.responses


@pytest.mark.parametrize(
    "changed",
    [{"model": "1" * 64}, {"temperature": 0.5}, {"max_tokens": CAP + 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_samples_of_another_law_are_not_used(tmp_path: Path, changed: dict[str, object]) -> None:
    key = replace(StoreKey(tiny().digest, "other prompts", 1.0, CAP, 7), **changed)  # type: ignore[arg-type]
    store = SampleStore(tmp_path / "samples", key)
    Sampler(program(), ready(tiny()).plans, tiny(), CAP, 7, store, Quiet()).base(4)
    assert kept_samples(tmp_path, tiny(), SETTINGS) == ()


def test_no_samples_or_damaged_ones_are_none(tmp_path: Path) -> None:
    assert kept_samples(tmp_path, tiny(), SETTINGS) == ()
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "store.json").write_text("{")
    assert kept_samples(tmp_path, tiny(), SETTINGS) == ()


# ----------------------------------------------------------------------------------------------------------- options
def test_options_are_read_as_the_decoder_declares_them() -> None:
    made = make_decoder("qrs", 3, ("total-variation=0.1", "log_beta=none", "share=all", "most=64"))
    assert (made.responses, made.total_variation, made.log_beta, made.share, made.most) == (3, 0.1, None, "all", 64)  # type: ignore[attr-defined]
    made = make_decoder("mh", 3, ("delayed=no",))
    assert (made.steps, made.burn_in, made.thin, made.delayed) == (50, 20, 10, False)  # type: ignore[attr-defined]
    assert make_decoder("mask", 3).particles == 3  # type: ignore[attr-defined]
    assert "responses" not in {option.name for option in options_of("qrs")}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("particals=3", "has no option `particals`; did you mean `particles`?"),
        ("zzz=3", "it has `particles`, `resampling`"),
        ("particles", "write NAME=VALUE"),
        ("particles=1.5", "takes a whole number, not `1.5`"),
        ("resampling=odd", "takes"),
        ("responses=3", "use -n"),
    ],
)
def test_wrong_options_are_refused(setting: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        make_decoder("sir", 1, (setting,))
    assert message in str(error.value)


# ------------------------------------------------------------------------------------------------------------ extras
OWN = """
import math
def half(text): return 0.5
def nan(text): return math.nan
def forever(text): return math.inf
def never(text): return -math.inf
def fails(text): raise KeyError("lamp")
def word(text): return "x"
def no_b(text): return "b" not in text
def one(text): return 1
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return str(path)


def test_scorers_and_rules_of_ones_own_are_part_of_the_law(own: str) -> None:
    extras = Extras((scorer(f"{own}:half@sentence"),), prefix_rule(f"{own}:no_b"), (lambda text: -1.0,))
    prepared = ready(tiny(), 1, extras)
    [answer] = decode(prepared, make_decoder("sir", 5), tiny())
    for sample in answer.result.samples:
        assert "b" not in sample.text
        ends = 0.0 if sample.text.endswith(".") else -1.5
        sentences = prepared.tasks[0].law.scorers[0].reward(sample.text)
        assert sample.log_reward == pytest.approx(ends + sentences - 1.0)
    with pytest.raises(ExtraError, match="one rule on beginnings"):
        extras.add_to(prepared.tasks)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "gave nan for the text .*must return a number of nats"),
        ("forever", "gave inf"),
        ("fails", "failed on the text .*KeyError: 'lamp'"),
        ("word", "failed on the text .*ValueError"),
    ],
)
def test_a_scorer_that_gives_no_number_is_named(own: str, name: str, message: str) -> None:
    prepared = ready(tiny(), 1, Extras((scorer(f"{own}:{name}"),)))
    with pytest.raises(ExtraError, match=message) as error:
        decode(prepared, make_decoder("sir", 1), tiny())
    assert f"own.py:{name}" in str(error.value)
    assert scorer(f"{own}:never").score("a") == -math.inf


def test_a_rule_that_does_not_decide_is_named(own: str) -> None:
    for name, message in (("one", "must return True or False"), ("fails", "KeyError")):
        with pytest.raises(ExtraError, match=message):
            prefix_rule(f"{own}:{name}")("a")


def test_functions_that_are_not_there_are_refused(own: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    for place, message in (
        (own, "write FILE.py:NAME"),
        (f"{own}:missing", "has no function `missing`"),
        (f"{own}:math", "has no function `math`"),
        (f"{own}x:half", "there is no file"),
        (f"{broken}:half", "cannot be run: ZeroDivisionError"),
    ):
        with pytest.raises(ExtraError, match=message):
            load_function(place)
    with pytest.raises(ExtraError, match="each `response` or each `sentence`, not each `word`"):
        scorer(f"{own}:half@word")


# ------------------------------------------------------------------------------------------------- a file of answers
HEAD = {"rules": "abc", "seed": 1}


def line(index: int, text: str = "a\u2028b") -> dict[str, object]:
    return {"prompt": index, "responses": [{"text": text}] if text else []}


def test_a_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first = AnswersFile(path, HEAD)
    for index in (1, 0):
        first.add(line(index, "" if index else "é\u2028"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"prompt": 2, "resp')
    again = AnswersFile(path, HEAD)
    assert (again.done, again.missing, path.read_bytes()) == ({0, 1}, 1, whole)
    begun = whole[: whole.index(b"\n") - 3]
    path.write_bytes(begun)
    assert (AnswersFile(path, HEAD).done, path.read_bytes()) == (frozenset(), whole[: whole.index(b"\n") + 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my notes\n", "exists and is no file of answers; choose another one"),
        (b"\xff\xfe", "exists and is no file of answers"),
        (b'{"format": "bylaw answers 1", "rules": "abd", "seed": 1}\n', r"made otherwise \(rules\)"),
        (b'{"format": "bylaw answers 1", "seed": 1}\n', r"made otherwise \(rules\)"),
        (b'{"format": "bylaw answers 1", "rules": "abc", "seed": 1}\n{}\n', "damaged in line 2"),
        (b'{"format": "bylaw answers 1", "rules": "abc", "seed": 1}\n{"prompt": 0, "responses": []}\nx\n', "in line 3"),
        (
            b'{"format": "bylaw answers 1", "rules": "abc", "seed": 1}\n' + b'{"prompt": 0, "responses": []}\n' * 2,
            "damaged in line 3",
        ),
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(AnswersFileError, match=message):
        AnswersFile(path, HEAD)
    assert path.read_bytes() == content


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnswersFileError, match="is no file"):
        AnswersFile(tmp_path, HEAD)
    with pytest.raises(AnswersFileError, match=r"cannot be kept in .*no such file or directory"):
        AnswersFile(tmp_path / "none" / "x.jsonl", HEAD)
    kept = AnswersFile(tmp_path / "x.jsonl", HEAD)
    (tmp_path / "x.jsonl").unlink()
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(AnswersFileError, match="cannot be written"):
        kept.add(line(0))


def test_a_single_text_is_one_prompt_and_one_stop_string() -> None:
    policy = compile_source(Source("p", 'rule calm at user { must not contain "!" }\n'))
    model = Tiny(TabularModel(max_tokens=6, seed=3))
    options = {"max_tokens": 4, "decoder": "mask", "samples": 4}
    [alone] = bylaw.generate(policy, "hello", model, stop="ab", **options)
    [listed] = bylaw.generate(policy, ["hello"], model, stop=["ab"], **options)
    assert alone.texts == listed.texts
    with pytest.raises(TypeError, match="compile_file"):
        bylaw.generate("rules.bylaw", ["hello"], model)  # type: ignore[arg-type]


def test_answers_that_are_cut_say_so() -> None:
    policy = compile_source(Source("p", 'rule calm at user { must not contain "!" }\n'))
    model = Tiny(TabularModel(max_tokens=6, seed=3))
    found = bylaw.generate(policy, ["a"] * 20, model, max_tokens=2, decoder="mask", samples=4)
    assert {answer.cut[0] for answer in found} == {True, False}
    for answer in found:
        [sample] = answer.result.responses
        assert answer.cut == (len(sample.tokens) == 2,)
        told = [line for line in remarks(answer, "mask") if "--max-tokens" in line]
        assert len(told) == answer.cut[0]
        assert as_json(answer, "mask")["responses"][0]["cut"] is answer.cut[0]  # type: ignore[index]
