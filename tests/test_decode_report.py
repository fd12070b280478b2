"""Decode reports on a model small enough to enumerate: what sums, what each rule does alone, and what people see.

Everything is compared with sums over all responses, so nothing here is sampled but the base samples of the twists.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tinylanguage import Tiny, TinySession

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.cli import main
from bylaw.runtime.decode_report import (
    DecodeReport,
    DecodeReportError,
    build_report,
    build_reports,
    load,
    save,
    to_json,
)
from bylaw.runtime.decode_report.picture import cells_of, picture, save_picture
from bylaw.runtime.decode_report.record import Position
from bylaw.runtime.decode_report.text import render_position, render_text
from bylaw.runtime.decode_report.words import words_of
from bylaw.runtime.decoders.interface import (
    DecodeResult,
    DecodeTask,
    Diagnostics,
    Estimate,
    PromptLaw,
    RegulatedSample,
)
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.enforcement import PromptPlan, decode_tasks, plan_prompts
from bylaw.runtime.integrations.weigh import weigh
from bylaw.runtime.models import BaseSample, sample_base
from bylaw.runtime.models.interface import FloatArray, IntArray, OutOfMemory
from bylaw.runtime.models.stopping import StoppingModel
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

CAP = 4
HEAD = 'policy tiny version "1"\nlevels root > user\n'
NO_BA = 'rule no_ba "No bah" at root { must not contain "ba" }\n'
SOME_C = 'rule some_c at root { must contain "c" }\n'
RARELY = 'rule rarely at user { should not end with "a" weight 1.5 }\n'
NEVER_SEEN = 'rule never_seen at user { should not contain "zz" weight 2 }\n'
NOT_HERE = 'rule not_here at user { when prompt contains "zebra" must not contain "a" }\n'
ON_THE_WHOLE = 'rule on_the_whole at user { prefer lower different_characters(response, "abc1") weight 0.2 }\n'


@dataclass(frozen=True)
class World:
    """A policy on the tiny model, and every response there is."""

    model: Tiny
    program: RewardProgram
    plan: PromptPlan
    base: list[BaseSample]
    task: DecodeTask

    @cached_property
    def everything(self) -> tuple[list[tuple[int, ...]], FloatArray, FloatArray]:
        """(responses, log p0 [Y], log reward [Y]) by enumeration."""
        responses, log_p0 = self.model.table.enumerate()
        rewards = [self.task.law.log_reward(self.model.vocabulary.text(tokens)) for tokens in responses]
        return responses, log_p0, np.array(rewards)

    @cached_property
    def law(self) -> FloatArray:
        """[Y] p*."""
        _, log_p0, rewards = self.everything
        return np.exp(log_p0 + rewards - np.logaddexp.reduce(log_p0 + rewards))

    @cached_property
    def legal(self) -> list[tuple[int, ...]]:
        responses, _, rewards = self.everything
        return [tokens for tokens, reward in zip(responses, rewards, strict=True) if np.isfinite(reward)]

    def reports(self, tokens: Sequence[tuple[int, ...]], decoder: str = "sir", **more: int) -> tuple[DecodeReport, ...]:
        """Of given responses, as if a decoder had found them."""
        mode = "mask" if decoder == "mask" else "twist"
        samples = weigh(self.model, self.task, tokens, CAP, mode=mode)  # type: ignore[arg-type]
        found = tuple(sample for sample in samples if sample is not None)
        assert len(found) == len(tokens)
        return self.of(result_of(found), decoder, **more)

    def of(self, result: DecodeResult, decoder: str = "sir", **more: int) -> tuple[DecodeReport, ...]:
        return build_reports(
            self.program, self.plan, self.model, self.task, result, self.base,
            decoder=decoder, seed=3, max_tokens=CAP, options={"particles": 8}, **more,  # type: ignore[arg-type]
        )  # fmt: skip


def result_of(samples: tuple[RegulatedSample, ...]) -> DecodeResult:
    told = Diagnostics(12, Estimate(0.5, 0.4, 0.6), -1.25, Estimate(0.04, 0.02, 0.07), remarks=("an invented remark",))
    return DecodeResult(samples, samples, (), len(samples), 0, 0, -1.5, 3.0, False, told)


def program_of(rules: str) -> RewardProgram:
    found = compile_source(Source.of("tiny.bylaw", HEAD + rules))
    assert found.ok, [diagnostic.message for diagnostic in found.diagnostics]
    return found.require()


def world_of(rules: str) -> World:
    model = Tiny(TabularModel(letters=b"abc1", max_tokens=CAP, seed=39))
    program = program_of(rules)
    plan = plan_prompts(program, [Trace((Message("user", "short please"),), {}, "p1")], model, CAP)[0]
    base = sample_base(model, [plan.tokens], 300, CAP, seed=7)[0]
    return World(model, program, plan, base, decode_tasks([plan], [base], model, {}, CAP)[0])


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(NO_BA + SOME_C + RARELY + NEVER_SEEN + NOT_HERE + ON_THE_WHOLE)


@pytest.fixture(scope="module")
def all_reports(world: World) -> tuple[DecodeReport, ...]:
    """One report for every legal response."""
    return world.reports(world.legal)


@pytest.fixture(scope="module")
def report(world: World) -> DecodeReport:
    """One that a decoder really found."""
    result = Sir(16, 2).decode(world.model, [world.task], max_tokens=CAP, seed=1)[0]
    return world.of(result)[0]


# ----------------------------------------------------------------------------------------------------------- what sums
def test_positions_add_up_to_the_response(world: World, all_reports: tuple[DecodeReport, ...]) -> None:
    responses, log_p0, rewards = world.everything
    exact = dict(zip(responses, zip(log_p0, rewards, strict=True), strict=True))
    for tokens, report in zip(world.legal, all_reports, strict=True):
        said = tuple(position.token for position in report.positions if not position.is_end)
        assert said == tokens
        assert sum(position.log_p0 for position in report.positions) == pytest.approx(exact[tokens][0], abs=1e-9)
        ratio = sum(position.log_q - position.log_p0 for position in report.positions)
        assert ratio == pytest.approx(report.outcome.log_q - report.outcome.log_p0, abs=1e-9)
        assert sum(row.reward or 0.0 for row in report.rows) == pytest.approx(exact[tokens][1], abs=1e-9)
        assert report.remarks == ("an invented remark",)  # the decoder's law is the one that is shown
        assert report.ending == ("cap" if len(tokens) == CAP else "end of text")


class ExactValue:
    """log V of every beginning, by enumeration: with it the proposal is p* itself."""

    name = "exact"

    def __init__(self, world: World) -> None:
        self.world = world
        self.values: dict[tuple[int, ...], float] = {}
        self.rewards: dict[tuple[int, ...], float] = {}
        responses, log_p0, rewards = world.everything
        own = dict(zip(responses, log_p0, strict=True))
        for tokens, reward in zip(responses, rewards, strict=True):
            self.rewards[tokens] = reward
            for size in range(len(tokens) + 1):
                before = self.values.get(tokens[:size], -np.inf)
                self.values[tokens[:size]] = float(np.logaddexp(before, own[tokens] + reward))
        table = world.model.table
        for beginning in sorted(self.values, key=len, reverse=True):  # from joint mass to mass given the beginning
            steps = [float(table.next_log_probs([beginning[:i]])[0][t]) for i, t in enumerate(beginning)]
            self.values[beginning] -= sum(steps)

    def begin(self, prompts: Sequence[tuple[int, ...]], begun: Sequence[tuple[int, ...]]) -> ExactState:
        return ExactState(self, list(begun))


@dataclass
class ExactState:
    exact: ExactValue
    rows: list[tuple[int, ...]]

    @property
    def paid(self) -> FloatArray:
        return np.zeros(len(self.rows))

    def look_ahead(self, left: IntArray) -> FloatArray:
        width = len(self.exact.world.model.vocabulary)
        found = np.full((len(self.rows), width), -np.inf)
        for at, row in enumerate(self.rows):
            for token in range(width - 1):
                found[at, token] = self.exact.values.get((*row, token), -np.inf)
            found[at, -1] = self.exact.rewards[row]
        return found

    def value(self, left: IntArray) -> FloatArray:
        return np.array([self.exact.values[row] for row in self.rows])

    def final(self) -> FloatArray:
        return np.array([self.exact.rewards[row] for row in self.rows])

    def advance(self, tokens: IntArray) -> None:
        self.rows = [(*row, int(token)) for row, token in zip(self.rows, tokens, strict=True)]

    def select(self, indices: IntArray) -> None:
        self.rows = [self.rows[int(index)] for index in indices]


def test_with_the_exact_look_ahead_what_is_paid_is_the_divergence_of_the_law(world: World) -> None:
    """Identity 13: Σ_t E_p* KL(p*(·|h) ‖ p0(·|h)) = KL(p* ‖ p0)."""
    law = PromptLaw((), world.task.law.log_reward)
    exact = replace(world, task=DecodeTask(world.plan.tokens, law, (), (ExactValue(world),)))
    responses, log_p0, _ = world.everything
    weights = {tokens: share for tokens, share in zip(responses, world.law, strict=True) if share > 0}
    found = exact.reports(list(weights))
    for tokens, report in zip(weights, found, strict=True):
        log_q = sum(position.log_q for position in report.positions)
        assert log_q == pytest.approx(math.log(weights[tokens]), abs=1e-9)
    paid = sum(share * report.total_kl for share, report in zip(weights.values(), found, strict=True))
    divergence = sum(share * (math.log(share) - p) for share, p in zip(world.law, log_p0, strict=True) if share > 0)
    assert paid == pytest.approx(divergence, abs=1e-9)
    assert divergence > 0.5  # there is something to pay


def test_what_hard_rules_remove_is_what_no_legal_response_goes_on_with(
    world: World, all_reports: tuple[DecodeReport, ...]
) -> None:
    beginnings = {tokens[:size] for tokens in world.legal for size in range(len(tokens) + 1)}
    end = world.model.table.eos_id
    for tokens, report in list(zip(world.legal, all_reports, strict=True))[::7]:
        for position in report.positions:
            before = tokens[: position.index]
            law = world.model.table.next_log_probs([before])[0]
            illegal = [t for t in range(end) if (*before, t) not in beginnings]
            illegal += [] if before in world.legal else [end]
            assert position.removed == pytest.approx(sum(math.exp(law[t]) for t in illegal), abs=1e-12)
            assert position.wanted[0].token == int(np.argmax(law))
            best = sorted(math.exp(p) for p in law)[::-1][:5]
            assert [each.probability for each in position.wanted] == pytest.approx(best)
            assert all(each.law == 0 for each in position.wanted if each.token in illegal)
            assert not set(illegal) & {each.token for each in position.lawful}


# ------------------------------------------------------------------------------------------------------ each rule alone
@pytest.mark.parametrize("rule", [NO_BA, SOME_C, RARELY], ids=["never", "always", "weighed"])
def test_a_rule_by_itself_is_all_of_the_change(rule: str) -> None:
    world = world_of(rule)
    for report in world.reports(world.legal[::9]):
        (row,) = report.rows
        assert row.kl == pytest.approx(report.total_kl, abs=1e-9)
        assert row.on_response == pytest.approx(report.outcome.log_q - report.outcome.log_p0, abs=1e-9)
        for position in report.positions:
            assert position.interaction == pytest.approx(0.0, abs=1e-9)
            for effect in position.effects:
                assert effect.kl == pytest.approx(position.kl_law, abs=1e-9)
                assert effect.on_chosen == pytest.approx(position.log_law - position.log_p0, abs=1e-9)


def test_rules_that_do_nothing_do_nothing(world: World, all_reports: tuple[DecodeReport, ...]) -> None:
    for report in all_reports[::5]:
        rows = {row.term: row for row in report.rows}
        assert rows["not_here"].how == "not in force"
        assert rows["never_seen"].how == "automaton"
        assert rows["on_the_whole"].how == "finished text"
        for name in ("not_here", "never_seen", "on_the_whole"):
            assert rows[name].kl == pytest.approx(0.0, abs=1e-9)
            assert rows[name].on_response == pytest.approx(0.0, abs=1e-9)
            assert not any(effect.term == name for position in report.positions for effect in position.effects)
        assert rows["on_the_whole"].reward == pytest.approx(-0.2 * len(set(report.response)))
    assert max(row.kl or 0.0 for report in all_reports for row in report.rows if row.term == "no_ba") > 0.1


def test_removing_a_rule_without_effect_changes_nothing(world: World, all_reports: tuple[DecodeReport, ...]) -> None:
    without = world_of(NO_BA + SOME_C + RARELY + NOT_HERE + ON_THE_WHOLE)
    for report, again in zip(all_reports[::11], without.reports(world.legal[::11]), strict=True):
        for left, right in zip(report.positions, again.positions, strict=True):
            assert (left.kl, left.log_q) == pytest.approx((right.kl, right.log_q), abs=1e-9)
            pairs = (
                [(e.term, e.kl, e.on_chosen) for e in left.effects],
                [(e.term, e.kl, e.on_chosen) for e in right.effects],
            )
            assert [pair[0] for pair in pairs[0]] == [pair[0] for pair in pairs[1]]
            assert [pair[1:] for pair in pairs[0]] == [pytest.approx(pair[1:], abs=1e-9) for pair in pairs[1]]


def test_the_rule_that_forbids_what_was_wanted_is_named(world: World, all_reports: tuple[DecodeReport, ...]) -> None:
    b, a = 1, 0
    seen = 0
    for report in all_reports:
        for before, position in zip(report.positions, report.positions[1:], strict=False):
            if before.token == b and position.wanted[0].token == a:
                seen += 1
                assert position.acted[0] == "no_ba"
                effect = next(effect for effect in position.effects if effect.term == "no_ba")
                assert effect.on_wanted == -math.inf
                said = render_position(report, position.index + 1)
                assert "`no_ba` (No bah)" in said
                assert "on what the model most wanted: forbids it" in said
    assert seen > 3
    assert sum(row.forbade or 0 for report in all_reports for row in report.rows if row.term == "no_ba") >= seen


def test_beyond_the_cap_rules_are_looked_at_as_one(world: World) -> None:
    tokens = world.legal[17:19]
    each, few = world.reports(tokens), world.reports(tokens, most_rules=1)
    for whole, capped in zip(each, few, strict=True):
        hows = {row.term: row.how for row in capped.rows}
        assert hows["no_ba"] == "automaton"
        assert hows["some_c"] == hows["rarely"] == hows["never_seen"] == "among the rest"
        rest = next(row for row in capped.rows if row.how == "the rest")
        assert rest.term == "(3 more rules)"
        paid = sum(row.reward for row in whole.rows if row.term in ("some_c", "rarely", "never_seen"))  # type: ignore[misc]
        assert rest.reward == pytest.approx(paid)
        assert rest.kl > 0.01  # type: ignore[operator]
        assert [p.kl for p in capped.positions] == pytest.approx([p.kl for p in whole.positions])


# ------------------------------------------------------------------------------------------------------------- decoders
def test_masking_pays_for_its_mask_and_not_for_rewards(world: World) -> None:
    result = Mask(6).decode(world.model, [world.task], max_tokens=CAP, seed=2)[0]
    for report, sample in zip(world.of(result, "mask"), result.responses, strict=True):
        assert report.law == "mask"
        assert report.outcome.biased
        assert report.remarks == ()
        assert sum(position.log_q for position in report.positions) == pytest.approx(sample.log_q, abs=1e-9)
        for position in report.positions:
            assert position.kl == pytest.approx(-math.log1p(-position.removed), abs=1e-9)
        assert "biased" in render_text(report)


def test_a_decoder_that_draws_otherwise_is_told_of(world: World) -> None:
    result = Sir(8, 1).decode(world.model, [world.task], max_tokens=CAP, seed=1)[0]
    other = replace(result.responses[0], log_q=result.responses[0].log_p0)
    (report,) = world.of(replace(result, responses=(other,)))
    assert len(report.remarks) == 1
    assert "proposes in another way" in report.remarks[0]


class NarrowSession(TinySession):
    """Has room for one row at a time."""

    def advance(self, tokens: IntArray) -> None:
        if len(tokens) > 1:
            raise OutOfMemory("no room")
        super().advance(tokens)


def test_a_batch_that_does_not_fit_is_halved(world: World, all_reports: tuple[DecodeReport, ...]) -> None:
    class Small(Tiny):
        def session(self, prompts: Sequence[tuple[int, ...]]) -> TinySession:
            whole = super().session(prompts)
            return NarrowSession(whole.tables, whole.prefixes)

    samples = weigh(world.model, world.task, world.legal[:4], CAP)
    found = tuple(sample for sample in samples if sample is not None)
    small = replace(world, model=Small(world.model.table)).of(result_of(found))
    assert [report.positions for report in small] == [report.positions for report in all_reports[:4]]


def test_one_pass_for_each_token(world: World) -> None:
    tokens = next(tokens for tokens in world.legal if len(tokens) == 3)
    (report,) = world.reports([tokens])
    assert report.report_passes == 4  # the prompt, and each token with something behind it
    twice = world.reports([tokens, tokens])
    assert twice[0] == twice[1]
    assert (twice[0].positions, twice[0].report_passes) == (report.positions, 4)


def test_what_cannot_be_reported_is_refused(world: World) -> None:
    result = Sir(8, 1).decode(world.model, [world.task], max_tokens=CAP, seed=1)[0]

    def one(result: DecodeResult, number: int) -> DecodeReport:
        return build_report(
            world.program, world.plan, world.model, world.task, result, world.base,
            decoder="sir", seed=3, max_tokens=CAP, response=number,
        )  # fmt: skip

    assert one(result, 0).response == result.responses[0].text
    with pytest.raises(DecodeReportError, match="no response number 2: the decoder found 1"):
        one(result, 1)
    illegal = replace(result.responses[0], tokens=(1, 0))
    with pytest.raises(DecodeReportError, match="token 2 of the response is one that its rules do not allow here"):
        one(replace(result, responses=(illegal,)), 0)
    assert world.of(replace(result, responses=())) == ()


# -------------------------------------------------------------------------------------------------------- file and verb
def explain(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["explain", "--decode", *map(str, arguments)], catch_exceptions=False)


def test_a_report_is_read_back_as_it_was_written(report: DecodeReport, tmp_path: Path) -> None:
    forbidding = replace(report.positions[0].effects[0], on_wanted=-math.inf)
    odd = replace(report.positions[0], effects=(forbidding,), interaction=None)
    changed = replace(report, positions=(odd, *report.positions[1:]))
    assert load(save(changed, tmp_path / "r.json")) == changed
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(DecodeReportError, match="cannot be written: no such file"):
        save(report, tmp_path / "missing" / "r.json")


def test_explain_says_which_rule_and_what_the_model_wanted(
    all_reports: tuple[DecodeReport, ...], tmp_path: Path
) -> None:
    report = next(
        report
        for report in all_reports
        if any(p.acted[:1] == ("no_ba",) and p.kl == max(q.kl for q in report.positions) for p in report.positions)
    )
    path = save(report, tmp_path / "r.json")
    said = explain(path)
    assert said.exit_code == 0
    at = max(report.positions, key=lambda position: position.kl)
    lines = said.stdout.splitlines()
    start = lines.index("the most changed positions")
    assert f"position {at.index + 1}," in lines[start + 1]
    assert "the model most wanted" in lines[start + 2]
    assert "`no_ba` (No bah) forbids it" in lines[start + 2]
    assert "log Ẑ -1.50 nats, ESS 3.0" in said.stdout
    assert "estimated TV from the law 0.04 (0.02 to 0.07)" in said.stdout
    assert "on_the_whole  graded, on the finished text" in said.stdout
    assert "1 rule is not in force" in said.stdout
    assert "an invented remark" in said.stdout
    one = explain(path, "--position", at.index + 1)
    assert one.stdout.startswith(f"position {at.index + 1} of {len(report.positions)}")
    whole = explain(path, "--json")
    assert json.loads(whole.stdout) == json.loads(to_json(report))
    only = json.loads(explain(path, "--position", at.index + 1, "--format", "json").stdout)
    assert only["acted"][0] == "no_ba"
    assert only["index"] == at.index


def test_bad_files_are_one_message(report: DecodeReport, tmp_path: Path) -> None:
    good = json.loads(to_json(report))

    def refused(text: str) -> str:
        path = tmp_path / "bad.json"
        path.write_text(text, encoding="utf-8")
        done = explain(path)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "is no decode report: it is not JSON" in refused("{")
    assert "bylaw generate --report" in refused('{"schema_version": 1}')
    assert "bylaw generate --report" in refused("[1]")
    assert "schema version 7, and this bylaw reads version 1" in refused(json.dumps({**good, "schema_version": 7}))
    assert "no positions" in refused(json.dumps({**good, "positions": []}))
    assert "`seed`" in refused(json.dumps({**good, "seed": "soon"}))
    positions = [{**good["positions"][0], "kl": True}, *good["positions"][1:]]
    assert "`positions.0.kl`" in refused(json.dumps({**good, "positions": positions}))
    missing = explain(tmp_path / "missing.json")
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    path = save(report, tmp_path / "r.json")
    beyond = explain(path, "--position", 99)
    assert beyond.exit_code == 2
    assert f"this response has {len(report.positions)}" in beyond.stderr
    assert explain(path, "--position", 99, "--json").exit_code == 2
    drawn = explain(path, "--picture", tmp_path / "x.pdf")
    assert drawn.exit_code == 2
    assert ".svg or .png" in drawn.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.json", "r.json"]


def test_the_verb_explains_itself() -> None:
    done = CliRunner().invoke(main, ["explain", "--decode", "--help"])
    assert done.exit_code == 0
    assert "which rule changed which word" in " ".join(done.stdout.split())


# ------------------------------------------------------------------------------------------------------------- pictures
def long_one(report: DecodeReport, count: int) -> DecodeReport:
    """The same with `count` positions, line breaks and strange characters among them."""
    odd = ["\n", " <b>&amp;", "$x_1$", "\x1b[31m", " 漢字", "\\xe2", " tail\n"]
    found: list[Position] = []
    for index in range(count):
        position = report.positions[index % (len(report.positions) - 1)]
        text = odd[index % 50] if index % 50 < len(odd) and count > 1 else position.text
        found.append(replace(position, index=index, text=text, data=text.encode().hex()))
    return replace(report, positions=tuple(found))


@pytest.mark.parametrize("count", [1, 500])
def test_pictures_of_short_and_long_responses(
    all_reports: tuple[DecodeReport, ...], count: int, tmp_path: Path
) -> None:
    report = next(each for each in all_reports if any(p.acted[:1] == ("no_ba",) for p in each.positions))
    drawn = long_one(report, count)
    first = picture(drawn, ".svg")
    if count == 1:
        assert picture(drawn, ".svg") == first  # no dates, no random ids
    texts = [element.text or "" for element in ET.fromstring(first).iter() if element.tag.endswith("text")]
    for position in drawn.positions[:40]:
        if position.acted:
            assert any(text.startswith(position.acted[0]) for text in texts)
        if position.kl >= 0.005:
            assert f"{position.kl:.2f}" in texts  # readable without colour
    assert "divergence from the base model at the token (nats)" in texts
    for label in ("log Ẑ", "ESS", "acceptance", "estimated TV"):
        assert label in texts
    assert "0.04 (0.02 to 0.07)" in texts
    cells = cells_of(drawn)
    assert len(cells) == count
    for left, right in pairwise(cells):
        assert (left.line, left.column + left.width) <= (right.line, right.column) or right.line > left.line
    assert max(cell.column + cell.width for cell in cells) <= 113
    assert b"\x1b" not in first
    assert "\x1b" not in render_text(drawn)
    if count == 1:
        assert save_picture(drawn, tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_words_are_what_stands_between_spaces(report: DecodeReport) -> None:
    pieces = ["Hello", " wor", "ld", ",", "\n", "\n", "It", " ", "is", " \u00e9"[:2], "\u00e9", ""]
    base = report.positions[0]
    positions = [
        replace(base, index=i, text=text, data=text.encode().hex(), is_end=text == "") for i, text in enumerate(pieces)
    ]
    words = words_of(replace(report, positions=tuple(positions)))
    assert [word.text for word in words] == ["Hello", "world,", "It", "is", "éé", "(end)"]
    assert [word.breaks_before for word in words] == [False, False, True, False, False, False]
    assert sum(word.kl for word in words) == pytest.approx(len(pieces) * base.kl)


def test_a_response_that_a_stop_string_ended(world: World) -> None:
    model = StoppingModel(world.model, ("1c",))
    base = sample_base(model, [world.plan.tokens], 200, CAP, seed=1)
    task = decode_tasks([world.plan], base, model, {}, CAP)[0]
    result = Sir(80, 40).decode(model, [task], max_tokens=CAP, seed=2)[0]
    found = build_reports(
        world.program, world.plan, model, task, result, base[0], decoder="sir", seed=2, max_tokens=CAP
    )
    assert {report.ending for report in found} == {"end of text", "stop string", "cap"}
    for report, sample in zip(found, result.responses, strict=True):
        said = "".join(position.text for position in report.positions)
        assert said == report.response + ("1c" if report.ending == "stop string" else "")
        assert sum(position.log_q for position in report.positions) == pytest.approx(sample.log_q, abs=1e-9)


def test_without_rules_nothing_is_paid() -> None:
    world = world_of(NOT_HERE)
    (report,) = world.reports([(0, 1)])
    assert (report.total_kl, [row.how for row in report.rows]) == (0.0, ["not in force"])
    assert all(p.lost is None and not p.effects and p.removed == 0 for p in report.positions)
    said = render_text(report)
    assert "no position was changed by 0.005 nats or more" in said
    assert "no rule is in force for this prompt" in said
    assert "no rule makes a difference here" in render_position(report, 1)
    assert picture(report, ".svg")
