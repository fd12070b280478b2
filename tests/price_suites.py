"""Scored suites for the tests of prices: a model small enough to enumerate, and samples of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.specialise import specialise
from bylaw.runtime.calibration.record import CalibrationRecord, program_text, save_record
from bylaw.runtime.enforcement import PromptPlan, score_samples
from bylaw.runtime.prices.scored import Origin, ScoredPrompt, ScoredSuite
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

POLICY = """
policy tiny version "1"
levels root > user
rule no_ba at root { must not contain "ba" }
rule rarely at user { should not end with "d" weight 1.5 }
rule little at user { prefer lower number of characters in response weight 0.3 }
rule seldom at user { limit response contains "aa" to at most 1% of responses }
rule often at user { limit response contains "c" to at least 60% of responses }
rule asked at user { when prompt contains "long" should contain "d" weight 1 }
rule within at user { limit response contains "b" to at most 20% of responses where response contains "d" }
"""
PROMPTS = ("short please", "a long one", "short again")


def program_of(text: str) -> RewardProgram:
    """The compiled program of a policy text."""
    found = compile_source(Source.of("tiny.bylaw", text))
    assert found.ok, [diagnostic.message for diagnostic in found.diagnostics]
    return found.require()


def origin(program: RewardProgram, seed: int = 0) -> Origin:
    """Where the scores say that they come from."""
    return Origin(program.digest, "m" * 64, "p" * 64, 1.0, 4, seed)


@cache
def model(number: int) -> tuple[tuple[str, ...], np.ndarray]:
    """(all responses to prompt `number`, their log-probabilities [Y])."""
    table = TabularModel(letters=b"abcd1", max_tokens=4, seed=5 + number, spread=0.6)
    responses, log_p0 = table.enumerate()
    return tuple(table.text(response).decode() for response in responses), log_p0


def plans(program: RewardProgram, texts: Sequence[str] = PROMPTS) -> list[PromptPlan]:
    """The prompts with the terms that are alive for them."""
    traces = [Trace((Message("user", text),), {}, f"p{number}") for number, text in enumerate(texts)]
    return [PromptPlan(trace, (), specialise(program, trace)) for trace in traces]


def exact_suite(program: RewardProgram) -> ScoredSuite:
    """All responses to each prompt, with their probabilities."""
    prompts = []
    for number, plan in enumerate(plans(program)):
        texts, log_p0 = model(number)
        scored = score_samples(program, plan, texts)
        prompts.append(ScoredPrompt(plan.trace.id, log_p0, scored.values, scored.counts, scored.violated))
    return ScoredSuite(origin(program), tuple(term.id for term in program.terms), tuple(prompts))


def sampled_suite(program: RewardProgram, count: int, seed: int, suite: ScoredSuite) -> ScoredSuite:
    """`count` draws of the model for each prompt of an exact suite, a tenth of them without a text."""
    rng = np.random.default_rng(seed)
    prompts = []
    for prompt in suite.prompts:
        probability = np.exp(prompt.log_ratio)
        picks = rng.choice(len(probability), count, p=probability / probability.sum())
        ratio = np.where(rng.random(count) < 0.1, -np.inf, 0.0)
        prompts.append(
            ScoredPrompt(prompt.id, ratio, prompt.values[picks], prompt.counts[picks], prompt.violated[picks])
        )
    return ScoredSuite(origin(program, seed), suite.terms, tuple(prompts))


def write_calibration(folder: Path, program: RewardProgram, suite: ScoredSuite, floor: float = 100.0) -> None:
    """What `bylaw calibrate` leaves, with scores that are given."""
    folder.mkdir(parents=True, exist_ok=True)
    made = suite.origin
    record = CalibrationRecord(
        policy=program.policy,
        policy_version=program.version,
        rules=program.digest,
        model="tiny",
        model_digest=made.model,
        prompts="prompts",
        prompts_digest=made.prompts,
        prompt_count=len(suite.prompts),
        temperature=made.temperature,
        max_tokens=made.max_tokens,
        seed=made.seed,
        floor=floor,
        proposals=(),
        samples=suite.size,
        ess=float(suite.size),
        smallest_prompt_ess=1.0,
        rounds=1,
        converged=True,
        elastic=(),
        budgets=(),
        terms=(),
        warnings=(),
        versions=(),
        program=program_text(program),
    )
    save_record(record, folder)
    suite.save(folder / "scores.npz")
