"""`bylaw generate --endpoint`: answers picked among samples of an OpenAI-compatible endpoint, which gives no logits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.generate_setup import answers_refused
from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.cli.generate_setup import Asked, Wanted
    from bylaw.runtime.decoders.best_of_n import BestOfN, PickedText
    from bylaw.runtime.decoders.interface import PromptLaw
    from bylaw.runtime.enforcement import PromptPlan
    from bylaw.runtime.generation.extras import Extras
    from bylaw.runtime.models.endpoint import Endpoint
    from bylaw.spec.trace import Trace

_DECODERS = {"best_of_n": "best", "qrs": "reject"}


def answer_from_endpoint(
    compiled: Compiled,
    prompts: Sequence[Trace],
    url: str,
    model: str | None,
    key_variable: str | None,
    asked: Asked,
    wanted: Wanted,
) -> int:
    """Samples, picks and prints answers to each prompt; the number of those that are missing."""
    from bylaw.runtime.models.endpoint import Endpoint

    if model is None:
        fail("an endpoint needs --model, the name that it knows its model by", UNUSABLE)
    decoder = _decoder(asked)
    _refuse_what_needs_logits(asked, wanted)
    missing = 0
    with answers_refused(compiled):
        endpoint = Endpoint(
            url, model, key_variable, temperature=asked.temperature, max_tokens=asked.max_tokens, stop=asked.stop
        )
        extras = _extras(wanted)
        for plan in _plans(compiled, prompts):
            law = _law(plan, extras)
            for number in range(asked.responses):
                picked, problems = _pick(endpoint, plan, law, decoder, asked.seed + number * decoder.n)
                _show(plan, picked, problems, asked, len(prompts))
                missing += picked.text is None
    return missing


def _decoder(asked: Asked) -> BestOfN:
    from typing import cast

    from bylaw.runtime.decoders.best_of_n import BestOfN
    from bylaw.runtime.decoders.interface import DecodeError
    from bylaw.runtime.generation.decoder_options import make_decoder

    if asked.decoder not in _DECODERS:
        known = " or ".join(f"`{name}`" for name in _DECODERS)
        fail(f"`{asked.decoder}` needs the model's own probabilities; an endpoint can be asked by {known}", UNUSABLE)
    own = [] if any(option.startswith("pick") for option in asked.options) else [f"pick={_DECODERS[asked.decoder]}"]
    try:
        return cast(BestOfN, make_decoder("best_of_n", 1, (*own, *asked.options)))
    except DecodeError as error:
        fail(str(error), UNUSABLE)


def _refuse_what_needs_logits(asked: Asked, wanted: Wanted) -> None:
    given = {
        "--calibration": asked.calibration,
        "--json-schema": wanted.json_schema,
        "--grammar": wanted.grammar,
        "--reward-model": wanted.reward_model,
        "--report": asked.report,
        "--out": asked.out,
        "--stream": asked.stream,
        "--deadline or --passes": asked.limits,
    }
    names = [name for name, value in given.items() if value]
    if names:
        fail(f"{', '.join(names)} cannot be used with --endpoint", UNUSABLE)


def _extras(wanted: Wanted) -> Extras:
    from bylaw.runtime.generation.extras import Extras, prefix_rule, scorer

    rule = None if wanted.prefix_rule is None else prefix_rule(wanted.prefix_rule)
    return Extras(tuple(scorer(place) for place in wanted.scorers), rule)


def _plans(compiled: Compiled, prompts: Sequence[Trace]) -> list[PromptPlan]:
    """What is alive for each prompt. Raises EnforcementError, for limits too: they have no multiplier here."""
    from bylaw.compiler.specialise import CannotSpecialise, specialise
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.enforcement import EnforcementError, PromptPlan
    from bylaw.runtime.generation.prepare import require_multipliers

    found = []
    for trace in prompts:
        try:
            found.append(PromptPlan(trace, (), specialise(compiled.require(), trace)))
        except CannotSpecialise as error:
            raise EnforcementError(f"prompt {trace.id}: {error}", error.term) from None
    require_multipliers(found, Multipliers({}))
    return found


def _law(plan: PromptPlan, extras: Extras) -> PromptLaw:
    from bylaw.compiler.factors import factorise
    from bylaw.runtime.twist.policies import law_of

    return extras.law(law_of(factorise(plan.terms), plan.trace))


def _pick(
    endpoint: Endpoint, plan: PromptPlan, law: PromptLaw, decoder: BestOfN, seed: int
) -> tuple[PickedText, tuple[str, ...]]:
    from bylaw.runtime.decoders.best_of_n import best_of_texts
    from bylaw.runtime.generation.answers import require_legal_texts

    messages = [{"role": message.role, "content": message.content} for message in plan.trace.messages]
    samples = endpoint.sample(messages, decoder.n, seed=seed)
    picked = best_of_texts([text.text for text in samples.texts], law, decoder, seed)
    if picked.text is not None:
        require_legal_texts(plan, [picked.text])
    return picked, samples.problems


def _show(plan: PromptPlan, picked: PickedText, problems: Sequence[str], asked: Asked, total: int) -> None:
    from bylaw.runtime.report.text import one_line

    name = f"prompt {plan.trace.id}"
    if asked.as_json:
        body = {
            "id": plan.trace.id,
            "text": picked.text,
            "log_reward": picked.log_reward if picked.text is not None else None,
            "samples": picked.samples,
            "legal": picked.legal,
            "remarks": [*picked.diagnostics.remarks, *problems],
        }
        click.echo(json.dumps(body, ensure_ascii=False))
    else:
        if total > 1:
            click.echo(f"{name}: {one_line(plan.trace.messages[-1].content)}")
        if picked.text is not None:
            click.echo(picked.text)
    click.echo(f"{name}: {picked.legal} of {picked.samples} samples keep the hard rules", err=True)
    for remark in (*picked.diagnostics.remarks, *problems):
        click.echo(f"{name}: {remark}", err=True)
