"""The main job on a model small enough to enumerate: rates, multipliers and prices against the exact law."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tinylanguage import Quiet, Tiny

from bylaw.compiler.evaluate import TermScore, evaluate, evaluate_term
from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.runtime.calibration.job import calibrate_policy
from bylaw.runtime.calibration.problem import BudgetInfeasible
from bylaw.runtime.enforcement import EnforcementError
from bylaw.runtime.record import RunRecord
from bylaw.runtime.run import RunSettings, run_policy
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

MAX_TOKENS = 5

POLICY = """
policy tiny version "1"
levels root > user
rule no_ba at root { must not contain "ba" }
rule some_c at root { must contain "c" }
rule rarely at user { should not end with "d" weight 1.5 }
rule little at user { prefer lower number of characters in response weight 0.2 }
rule seldom at user { limit response contains "aa" to at most 2% of responses }
rule asked at user { when prompt contains "long" should contain "dd" weight 2 }
"""


def compiled(text: str) -> Compiled:
    found = compile_source(Source.of("tiny.bylaw", text))
    assert found.ok, [diagnostic.message for diagnostic in found.diagnostics]
    return found


@pytest.fixture(scope="module")
def model() -> Tiny:
    return Tiny(TabularModel(letters=b"abcd1", max_tokens=MAX_TOKENS, seed=5))


def prompts() -> list[Trace]:
    texts = ["short please", "a long one", "short again", "long and long"]
    return [Trace((Message("user", text),), {}, f"p{number}") for number, text in enumerate(texts)]


SETTINGS = RunSettings(
    samples=120, particles=800, responses=60, max_tokens=MAX_TOKENS, seed=11, calibration_particles=800
)
QUICK = replace(SETTINGS, samples=40, particles=100, responses=20, calibration_particles=200)
"""For what does not hang on how exact a run is."""


@pytest.fixture(scope="module")
def record(model: Tiny) -> RunRecord:
    return run_policy(compiled(POLICY), prompts(), "prompts", model, SETTINGS, Quiet())


@dataclass(frozen=True)
class ExactRun:
    multiplier: float
    base: dict[str, float]
    regulated: dict[str, float]
    kl: float


@pytest.fixture(scope="module")
def exact(model: Tiny) -> ExactRun:
    """Everything that a run estimates, by enumeration of all responses to every prompt."""
    program = compiled(POLICY).require()
    responses, log_p0 = model.table.enumerate()
    texts = [model.vocabulary.text(tokens) for tokens in responses]
    names = [term.id for term in program.terms]
    budget = names.index("seldom")
    base_rates, populations, tables = [], [], []
    for trace in prompts():
        scores = [evaluate(program.with_multipliers({"seldom": 0.0}), trace.answered(text)) for text in texts]
        factors = np.array([sum(term.contribution or 0.0 for term in score.terms) for score in scores])
        events = np.array([[term.verdict.value == "violated" for term in score.terms] for score in scores])
        applicable = np.array([term.verdict.value != "not applicable" for term in scores[0].terms])
        base_rates.append(np.where(applicable, np.exp(log_p0) @ events, np.nan))
        populations.append(PromptSamples(log_p0 + factors + math.log(len(texts)), events[:, [budget]].astype(float)))
        tables.append((factors, events, applicable))
    solution = solve_dual(Population(populations), [0.02], ["at most"], ess_floor=0.0)
    multiplier = float(solution.mu[0])
    rates, kls = [], []
    for factors, events, applicable in tables:
        exponent = factors - multiplier * events[:, budget]
        log_law = log_p0 + exponent
        log_z = float(np.logaddexp.reduce(log_law))
        law = np.exp(log_law - log_z)
        rates.append(np.where(applicable, law @ events, np.nan))
        kls.append(float(law @ np.where(law > 0, exponent, 0.0)) - log_z)
    mean = np.nanmean(np.array(base_rates), axis=0), np.nanmean(np.array(rates), axis=0)
    return ExactRun(
        multiplier, dict(zip(names, mean[0], strict=True)), dict(zip(names, mean[1], strict=True)), float(np.mean(kls))
    )


def test_the_multiplier_is_that_of_the_exact_dual(record: RunRecord, exact: ExactRun) -> None:
    assert record.calibration is not None
    (budget,) = record.calibration.budgets
    assert exact.multiplier > 0.8
    # The interval is a 95 % one; three times as wide fails one seed in 10^8, and the seed is fixed.
    half = 1.5 * (budget.multiplier_interval.high - budget.multiplier_interval.low)
    assert abs(budget.multiplier - exact.multiplier) < half
    assert half < 1.0
    assert budget.status == "binding"
    assert record.check is not None
    assert record.check.budgets[0].status == "met within its error"


STEEP = 'rule r { limit response contains "dddd" to at least 20% of responses }'
EACH = 'rule each { limit response contains "a" to at most 10% for each prompt }'


@pytest.mark.parametrize(("text", "draws", "several"), [(POLICY, 120, False), (EACH, 120, False), (STEEP, 30, True)])
def test_a_run_finds_what_calibration_by_itself_finds(
    model: Tiny, text: str, draws: int, several: bool, tmp_path: Path
) -> None:
    """One law, one way to solve for it: every figure is the same, down to the last bit, in one round or in several."""
    other = Tiny(model.table, others=(TabularModel(letters=b"abcd1", max_tokens=MAX_TOKENS, seed=6),))
    traces = [Trace((Message("user", f"a long prompt {number}"),), {}, f"p{number}") for number in range(2)]
    settings = replace(SETTINGS, samples=draws // 2, calibration_particles=draws)
    found = run_policy(compiled(text), traces, "prompts", other, settings, Quiet("sampling under"))
    program = compiled(text).require()
    alone = calibrate_policy(program, traces, "prompts", other, settings.job, tmp_path, Quiet()).record
    assert found.calibration is not None
    assert found.calibration == alone.summary()
    assert (found.calibration.rounds > 1, len(found.calibration.budgets)) == (several, 1)
    assert abs(found.calibration.budgets[0].multiplier) > 0.5


def test_rates_before_and_after_are_those_of_the_exact_laws(record: RunRecord, exact: ExactRun) -> None:
    assert record.base is not None
    assert record.regulated is not None
    for audit, truth, answers in ((record.base, exact.base, 120 * 4), (record.regulated, exact.regulated, 60 * 4)):
        for term in audit.terms:
            if term.rate is None:
                continue
            share = 0.5 if term.term == "asked" else 1.0
            error = math.sqrt(max(truth[term.term] * (1 - truth[term.term]), 1e-4) / (answers * share))
            # Five standard errors: one false alarm in 10^6, and resampled answers only vary more.
            assert abs(term.rate - truth[term.term]) < 5 * 1.4 * error, term.term


def test_hard_rules_hold_in_every_answer(record: RunRecord) -> None:
    assert record.regulated is not None
    hard = [term for term in record.regulated.terms if term.kind == "hard"]
    assert [term.violated for term in hard] == [0, 0]
    assert all(term.applicable == 240 for term in hard)
    base = {term.term: term.violated for term in record.base.terms} if record.base else {}
    assert base["no_ba"] > 20
    assert base["some_c"] > 20


def test_the_price_is_the_exact_divergence_and_its_shares_add_up(record: RunRecord, exact: ExactRun) -> None:
    assert record.price is not None
    error = (record.price.kl_interval.high - record.price.kl_interval.low) / (2 * 1.96)
    assert abs(record.price.kl - exact.kl) < 5 * error
    assert error < 0.05 * exact.kl
    assert sum(term.kl for term in record.price.terms) == pytest.approx(record.price.kl, abs=1e-9)


def test_equal_seeds_give_equal_records_and_others_do_not(model: Tiny) -> None:
    record = run_policy(compiled(POLICY), prompts(), "prompts", model, QUICK, Quiet())
    again = run_policy(compiled(POLICY), prompts(), "prompts", model, QUICK, Quiet())
    assert (again.base, again.calibration, again.regulated, again.price) == (
        record.base,
        record.calibration,
        record.regulated,
        record.price,
    )
    other = run_policy(compiled(POLICY), prompts(), "prompts", model, replace(QUICK, seed=12), Quiet())
    assert other.base != record.base
    assert other.calibration != record.calibration


@pytest.mark.parametrize(
    ("stage", "reached"),
    [("sampling the base", []), ("calibrating", ["base"]), ("sampling under", ["base", "calibration"]),
     ("pricing", ["base", "calibration", "regulated"])],
)  # fmt: skip
def test_an_interrupt_keeps_what_was_reached(model: Tiny, stage: str, reached: list[str]) -> None:
    found = run_policy(compiled(POLICY), prompts(), "prompts", model, QUICK, Quiet(stage))
    assert not found.complete
    parts = [name for name in ("base", "calibration", "regulated", "price") if getattr(found, name) is not None]
    assert parts == reached


def test_an_interrupt_inside_an_audit_ends_the_run(model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10_000))

    def interrupting(term: object, trace: object) -> TermScore:
        if next(calls) == 50:
            raise KeyboardInterrupt
        return evaluate_term(term, trace)  # type: ignore[arg-type]

    monkeypatch.setattr("bylaw.runtime.audit.tally.evaluate_term", interrupting)
    found = run_policy(compiled(POLICY), prompts(), "prompts", model, SETTINGS, Quiet())
    assert found.base is not None
    assert 0 < found.base.transcripts < 480
    assert (found.complete, found.calibration, found.regulated) == (False, None, None)


def test_a_budget_that_cannot_be_met_is_an_error_with_its_name(model: Tiny) -> None:
    text = 'rule some_c { must contain "c" }\nrule seldom { limit response contains "c" to at most 10% of responses }'
    settings = replace(SETTINGS, samples=40, calibration_particles=100)
    with pytest.raises(BudgetInfeasible) as error:
        run_policy(compiled(text), prompts(), "prompts", model, settings, Quiet())
    assert error.value.terms == ("seldom",)


def test_rules_that_no_short_answer_obeys_are_reported_before_sampling_under_them(model: Tiny) -> None:
    text = 'rule long { must contain "abcdabcdabcd" }'
    with pytest.raises(EnforcementError, match="no response of at most 5 tokens"):
        run_policy(compiled(text), prompts(), "prompts", model, SETTINGS, Quiet())


def test_a_missing_fact_is_an_error_and_not_a_guess(model: Tiny) -> None:
    text = 'rule r { when meta.kind == "x"\n must contain "c" }'
    with pytest.raises(EnforcementError, match=r"meta\.kind"):
        run_policy(compiled(text), prompts(), "prompts", model, SETTINGS, Quiet())


def exact_kl(model: Tiny, text: str) -> float:
    """KL(p*||p0) of a policy of hard rules alone: -log p0(H)."""
    program = compiled(text).require()
    responses, log_p0 = model.table.enumerate()
    legal = [
        evaluate(program, Trace((Message("user", "x"),)).answered(model.vocabulary.text(tokens))).allowed
        for tokens in responses
    ]
    return -math.log(float(np.exp(log_p0)[np.array(legal)].sum()))


@pytest.mark.parametrize("rule", ["must have at most 2 characters\n must not be json", "must not be json"])
def test_rules_that_are_not_regular_are_weighed_and_priced_on_the_finished_answer(model: Tiny, rule: str) -> None:
    # `json` is no regular language: only weights can enforce it. Digits alone are JSON here.
    text = f"rule few {{ {rule} }}"
    settings = replace(SETTINGS, samples=400, particles=1600)
    found = run_policy(compiled(text), prompts()[:2], "prompts", model, settings, Quiet())
    assert found.regulated is not None
    assert all(term.violated == 0 for term in found.regulated.terms)
    assert found.price is not None
    error = (found.price.kl_interval.high - found.price.kl_interval.low) / (2 * 1.96)
    # Five standard errors: one false alarm in 10^6.
    assert abs(found.price.kl - exact_kl(model, text)) < 5 * error + 1e-6


def test_a_prompt_without_a_legal_answer_is_an_error(model: Tiny) -> None:
    # No answer of this model is a JSON object, and only finished answers show it.
    text = "rule object { must be json and contain /[abcd]/ }"
    with pytest.raises(EnforcementError, match="none of 50 proposals"):
        run_policy(compiled(text), prompts(), "prompts", model, replace(SETTINGS, particles=50), Quiet())


def test_a_budget_that_cannot_be_scored_is_an_error(model: Tiny) -> None:
    text = "rule r { limit average number of characters in response / number of commas in response to at most 0.5 }"
    with pytest.raises(EnforcementError, match="division by zero"):
        run_policy(compiled(text), prompts(), "prompts", model, SETTINGS, Quiet())


def test_an_average_of_nothing_is_a_hard_rule(model: Tiny) -> None:
    text = 'rule r { limit average number of "a" in response to at most 0 }'
    found = run_policy(
        compiled(text), prompts(), "prompts", model, replace(SETTINGS, samples=40, particles=40), Quiet()
    )
    assert found.regulated is not None
    (term,) = found.regulated.terms
    assert (term.kind, term.violated) == ("hard", 0)


def test_what_is_rare_but_possible_is_found(model: Tiny) -> None:
    # One answer in several hundred; the first rounds see it for no prompt at all.
    settings = replace(SETTINGS, samples=40, particles=400, calibration_particles=60)
    found = run_policy(compiled(STEEP), prompts(), "prompts", model, settings, Quiet())
    assert found.check is not None
    assert found.check.budgets[0].status != "missed"
    assert found.check.budgets[0].rate > 0.1


def test_limits_on_each_prompt_and_among_some_answers(model: Tiny) -> None:
    """Each of the four prompts keeps the first limit by itself, one answer in ten among those with "d" has "c"."""
    other = Tiny(model.table, others=(TabularModel(letters=b"abcd1", max_tokens=MAX_TOKENS, seed=6),))
    text = (
        'rule each at user { limit response contains "a" to at most 10% for each prompt }\n'
        'rule part at user { limit response contains "c" to at most 10% of responses where response contains "d" }'
    )
    traces = [Trace((Message("user", f"prompt {number}"),), {}, f"p{number}") for number in range(2)]
    found = run_policy(compiled(text), traces, "prompts", other, replace(SETTINGS, responses=4), Quiet())
    assert found.calibration is not None
    assert found.check is not None
    assert found.regulated is not None
    each, part = found.calibration.budgets
    # The two prompts need multipliers of their own, and the rates are those of the bounds.
    assert each.multiplier_interval.high - each.multiplier_interval.low > 0.2
    assert each.multiplier_interval.low < each.multiplier < each.multiplier_interval.high
    for budget, checked in zip(found.calibration.budgets, found.check.budgets, strict=True):
        assert budget.base_rate > 0.15
        assert budget.rate == pytest.approx(0.1, rel=0.05)
        assert (budget.status, checked.status) == ("binding", "met within its error")
        assert checked.rate == pytest.approx(0.1, abs=0.03)
    program = compiled(text).require()
    assert found.price is not None
    assert {term.term for term in found.price.terms} == {term.id for term in program.terms}
    assert part.multiplier > 0.5
    # Four answers to a prompt could not tell: the law says that both are met.
    assert {term.term: term.within for term in found.regulated.terms} == {"each": True, "part": True}


def test_few_particles_leave_a_budget_undetermined(model: Tiny) -> None:
    found = run_policy(
        compiled(POLICY), prompts(), "prompts", model, replace(SETTINGS, particles=8, responses=8), Quiet()
    )
    assert found.check is not None
    assert found.check.budgets[0].status == "undetermined"
    assert found.regulated is not None
    assert next(term.within for term in found.regulated.terms if term.bound is not None) is None


def test_intervals_allow_for_resampling(model: Tiny) -> None:
    """With far more answers than particles, the intervals after must still cover: 40 runs, at 95 %.

    Below 33 of 40 has a probability of 2 in 10^3 for an interval that covers 95 %; they are wide here, and cover more.
    """
    covered, truth = 0, _rate_without_the_budget(model)
    policy = compiled(POLICY.replace("rule seldom", "#"))
    for seed in range(40):
        settings = replace(SETTINGS, samples=8, particles=24, responses=80, seed=seed)
        # The prices, which come last, are not what this is about.
        found = run_policy(policy, prompts()[:2], "prompts", model, settings, Quiet("pricing"))
        assert found.regulated is not None
        term = next(term for term in found.regulated.terms if term.term == "asked")
        assert term.interval is not None
        covered += term.interval.low <= truth <= term.interval.high
    assert covered >= 33


def _rate_without_the_budget(model: Tiny) -> float:
    program = compiled(POLICY.replace("rule seldom", "#")).require()
    responses, log_p0 = model.table.enumerate()
    trace = Trace((Message("user", "a long one"),))
    scores = [evaluate(program, trace.answered(model.vocabulary.text(tokens))) for tokens in responses]
    weight = np.exp(log_p0 + np.array([score.reward for score in scores], dtype=float))
    broken = np.array([score.term("asked").verdict.value == "violated" for score in scores])
    return float(weight @ broken / weight.sum())


def test_masking_is_labelled_biased_and_does_not_follow_the_law(model: Tiny, exact: ExactRun) -> None:
    settings = replace(SETTINGS, particles=900, responses=900, decoder="mask", calibration_particles=200)
    found = run_policy(compiled(POLICY), prompts(), "prompts", model, settings, Quiet())
    assert found.decoder is not None
    assert found.decoder.biased
    assert found.regulated is not None
    rates = {term.term: term.rate for term in found.regulated.terms}
    assert rates["no_ba"] == rates["some_c"] == 0
    # Masking ignores the weight of 1.5 nats: the rate stays far above that of the law, by over ten standard errors.
    assert rates["rarely"] is not None
    assert found.regulated.transcripts == 3600
    assert rates["rarely"] - exact.regulated["rarely"] > 10 * math.sqrt(0.12 * 0.88 / 3600)
    # Its weights repair it: the price of the policy is the same.
    assert found.price is not None
    error = (found.price.kl_interval.high - found.price.kl_interval.low) / (2 * 1.96)
    assert abs(found.price.kl - exact.kl) < 5 * error
