"""Samples of a model in this process: of the base model, or of the model under a policy.

Both come in groups that are fixed by the plan, and a group is stored as one: after a kill it is drawn again as a whole,
with the same random numbers and the same rows beside each other, so that not even rounding makes a difference.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from bylaw.runtime.judges.budget import Meter
from bylaw.runtime.judges.store import Answer
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.running.plan import Done, Plan, RunningError, Sample, is_plain
from bylaw.runtime.running.store import Failure, RunStore
from bylaw.runtime.scorers.interface import Cost

if TYPE_CHECKING:
    from bylaw.runtime.decoders.interface import Decoder
    from bylaw.runtime.generation.answers import Answer as PolicyAnswer
    from bylaw.runtime.generation.prepare import Prepared

_TOGETHER = 16


def sample_model(
    plan: Plan, missing: Sequence[Sample], model: LanguageModel, store: RunStore, meter: Meter, done: Done
) -> Generator[str, None, None]:
    """Draws the missing samples from the base model and stores them, group by group.

    A sample's random numbers belong to the seed, its prompt and its epoch. `done` is told how many of `missing` are
    there. Yields, for each sample that a budget leaves out, which one it is. Raises ModelError, and StoreError for the
    store.
    """
    from bylaw.runtime.models.sampling import sample_rows

    most, seed = int(plan.settings["max_tokens"]), int(plan.settings["seed"])
    wanted = {sample.index for sample in missing}
    encoded: dict[int, tuple[int, ...]] = {}
    count = 0
    meter.start()
    for first in range(0, len(plan.samples), _TOGETHER):
        group = plan.samples[first : first + _TOGETHER]
        fresh = [sample for sample in group if sample.index in wanted]
        if not fresh:
            continue
        for number in {sample.prompt for sample in group} - encoded.keys():
            encoded[number] = model.encode_chat(_chat(plan, number))
        reserved = sum(len(encoded[sample.prompt]) + most for sample in group)
        no = meter.reserve(reserved)
        if no is not None:
            yield from (no for _ in range(len(missing) - count))
            return
        prompts = [encoded.get(number, ()) for number in range(group[-1].prompt + 1)]
        rows = sample_rows(model, prompts, [(each.prompt, each.epoch) for each in group], most, seed)
        answers = []
        for sample, row in zip(group, rows, strict=True):
            is_cut = len(row.tokens) == most and not row.ended and not model.vocabulary.stopped(row.tokens)
            tokens = len(encoded[sample.prompt]), len(row.tokens)
            answers.append((sample.key, _answer(row.text, model.name, tokens, is_cut=is_cut)))
        store.put_all(answers)
        meter.settle(reserved, _cost([answer for _, answer in answers]), is_estimated=False)
        count += len(fresh)
        done(count)


def sample_regulated(
    plan: Plan,
    missing: Sequence[Sample],
    prepared: Prepared,
    decoder: Decoder,
    model: LanguageModel,
    store: RunStore,
    meter: Meter,
    done: Done,
) -> Generator[str, None, None]:
    """Decodes answers under a policy to the prompts that miss some, and stores them, prompt by prompt.

    What comes for a prompt does not depend on which others are there already. Where a decoder finds fewer answers than
    epochs, the others are stored as withheld (`filtered`). Yields as `sample_model` does; a budget is looked at between
    calls of the decoder. Raises what `bylaw.runtime.generation.answers.answers` raises, and StoreError.
    """
    from bylaw.runtime.generation.answers import answers
    from bylaw.runtime.generation.decoder_options import rows_of

    wanted = {sample.prompt for sample in missing}
    finished = frozenset(range(len(plan.prompts))) - wanted
    meter.start()
    no = meter.used_up()
    count = 0
    found = answers(
        prepared, decoder, model, max_tokens=int(plan.settings["max_tokens"]), seed=int(plan.settings["seed"]),
        particles=rows_of(decoder), responses=plan.epochs, done=finished,
    )  # fmt: skip
    while no is None:
        answer = next(found, None)
        if answer is None:
            return
        cost = _keep(plan, answer, model, decoder.name, store)
        if meter.reserve(0) is None:
            meter.settle(0, cost, is_estimated=False)
        count += 1
        done(min(count * plan.epochs, len(missing)))
        no = meter.used_up()
    yield from (no for _ in range(len(missing) - min(count * plan.epochs, len(missing))))


def _keep(plan: Plan, answer: PolicyAnswer, model: LanguageModel, decoder: str, store: RunStore) -> Cost:
    """Stores everything about one prompt in one transaction; the tokens of it."""
    own = plan.samples[answer.index * plan.epochs : (answer.index + 1) * plan.epochs]
    tokens_in = len(model.encode_chat(_chat(plan, answer.index)))
    lengths = [len(sample.tokens) for sample in answer.result.responses]
    found = []
    for number, (sample, text) in enumerate(zip(own, answer.texts, strict=False)):
        is_cut = number < len(answer.cut) and answer.cut[number]
        tokens = tokens_in, lengths[number] if number < len(lengths) else 0
        found.append((sample.key, _answer(text, model.name, tokens, is_cut=is_cut)))
    few = f"the decoder `{decoder}` found {len(found)} of {plan.epochs} answers that keep the rules"
    store.put_all(found, [(sample.key, Failure("filtered", few)) for sample in own[len(found) :]])
    return _cost([answer for _, answer in found])


def _answer(text: str, model: str, tokens: tuple[int, int], *, is_cut: bool) -> Answer:
    return Answer(
        json.dumps({"content": text}, ensure_ascii=False), model, "length" if is_cut else "stop", *tokens, attempts=1
    )


def _cost(answers: Sequence[Answer]) -> Cost:
    return Cost(
        tokens_in=sum(answer.tokens_in for answer in answers), tokens_out=sum(answer.tokens_out for answer in answers)
    )


def _chat(plan: Plan, prompt: int) -> list[dict[str, str]]:
    """The messages of a prompt. Raises RunningError for calls of tools."""
    if not is_plain(plan.prompts[prompt]):
        raise RunningError(
            f"the prompt `{plan.prompts[prompt].id}` holds calls of tools, which a model in this process is not shown: "
            "leave it out, or use --endpoint"
        )
    return [dict(each) for each in plan.prompts[prompt].messages]
