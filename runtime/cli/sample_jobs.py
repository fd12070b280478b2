"""What `bylaw sample` asks: an endpoint, a model in this process, or that model under the policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.sampling import ModelChoice
from bylaw.runtime.cli.scoring import Scoring, live_prompts
from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.judges.budget import Meter
    from bylaw.runtime.running.plan import Done, Plan, Prompt, Sample
    from bylaw.runtime.running.run import Job
    from bylaw.runtime.running.store import RunStore
    from bylaw.runtime.scorers.asking import Asker


@dataclass(frozen=True, slots=True)
class Wanted:
    """How samples are to be made, as the command line says it. `seed` None: none is sent."""

    model: str | None
    allow_download: bool
    endpoint: str | None
    endpoint_key: str | None
    limit_field: str
    at_once: int
    timeout: float
    retries: int
    epochs: int
    max_tokens: int
    temperature: float
    stop: tuple[str, ...]
    seed: int | None
    regulated: bool
    decoder: str
    options: tuple[str, ...]
    calibration: str | None


@contextmanager
def job_of(
    wanted: Wanted,
    compiled: Compiled | None,
    rules: str,
    scoring: Scoring,
    read: Transcripts,
    system: str | None,
    meter: Meter,
) -> Iterator[Job]:
    """The plan and the way to its samples; whatever cannot be is one message and an exit."""
    from bylaw.runtime.judges.interface import JudgeError
    from bylaw.runtime.models.interface import ModelError
    from bylaw.runtime.running.plan import RunningError, prompts_of

    try:
        prompts = prompts_of(read.traces, system)
        if wanted.endpoint is not None:
            yield _endpoint_job(wanted, prompts, meter)
        elif not wanted.regulated:
            yield _model_job(wanted, prompts, meter)
        else:
            assert compiled is not None
            with live_prompts(compiled, rules, scoring, read, wanted.model) as (live, asker):
                yield from _regulated_job(wanted, compiled, prompts, live, asker, meter)
    except (RunningError, ModelError, JudgeError) as error:
        fail(str(error), UNUSABLE)


def _settings(wanted: Wanted, kind: str, place: str, model: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "place": place,
        "model": model,
        "temperature": wanted.temperature,
        "max_tokens": wanted.max_tokens,
        "stop": list(wanted.stop),
        "seed": wanted.seed,
    }


def _endpoint_job(wanted: Wanted, prompts: tuple[Prompt, ...], meter: Meter) -> Job:
    from bylaw.runtime.judges.wire import Endpoint, require_usable
    from bylaw.runtime.running.endpoint import EndpointSampler
    from bylaw.runtime.running.plan import Plan
    from bylaw.runtime.running.run import Job

    assert wanted.endpoint is not None
    if wanted.model is None:
        fail("an endpoint needs --model, the name that it knows its model by", UNUSABLE)
    endpoint = Endpoint(
        wanted.endpoint, wanted.endpoint_key, wanted.timeout, wanted.retries, wanted.at_once,
        "max_completion_tokens" if wanted.limit_field == "max_completion_tokens" else "max_tokens",
    )  # fmt: skip
    settings = _settings(wanted, "endpoint", endpoint.base_url.rstrip("/"), wanted.model)
    plan = Plan(prompts, wanted.epochs, settings)

    def bring(store: RunStore, missing: Sequence[Sample], done: Done) -> Iterator[str]:
        with EndpointSampler(endpoint, store, meter) as sampler:
            yield from sampler.bring(plan, missing, done)

    return Job(plan, bring, lambda: require_usable(endpoint))


def _model_job(wanted: Wanted, prompts: tuple[Prompt, ...], meter: Meter) -> Job:
    from bylaw.runtime.running.local import sample_model
    from bylaw.runtime.running.plan import Plan, prompts_digest
    from bylaw.runtime.running.run import Job

    model = ModelChoice(wanted.model, wanted.allow_download).load_stopping(wanted.temperature, wanted.stop)
    # The random numbers of a sample belong to the position of its prompt, so the prompts have to stay as they are.
    settings = {**_settings(wanted, "model", "in process", model.digest), "prompts": prompts_digest(prompts)}
    plan = Plan(prompts, wanted.epochs, settings)
    return Job(plan, lambda store, missing, done: sample_model(plan, missing, model, store, meter, done))


def _regulated_job(
    wanted: Wanted,
    compiled: Compiled,
    prompts: tuple[Prompt, ...],
    live: Transcripts,
    asker: Asker | None,
    meter: Meter,
) -> Iterator[Job]:
    """One job, with the errors of decoding told as `bylaw generate` tells them."""
    from bylaw.runtime.cli.generate_setup import answers_refused
    from bylaw.runtime.running.run import Job

    with answers_refused(compiled):
        plan, bring = _regulated(wanted, compiled, prompts, live, asker, meter)
        yield Job(plan, bring)


def _regulated(
    wanted: Wanted,
    compiled: Compiled,
    prompts: tuple[Prompt, ...],
    live: Transcripts,
    asker: Asker | None,
    meter: Meter,
) -> tuple[Plan, Any]:
    from bylaw.runtime.cli import generate_setup
    from bylaw.runtime.generation.prepare import PrepareSettings, prepare
    from bylaw.runtime.running.local import sample_regulated
    from bylaw.runtime.running.plan import Plan, prompts_digest

    if wanted.seed is None:
        fail("--no-seed is of use with --endpoint only", UNUSABLE)
    asked = generate_setup.Asked(
        wanted.decoder, wanted.options, wanted.epochs, wanted.seed, None, wanted.max_tokens, wanted.temperature,
        wanted.stop, None, wanted.calibration, None, None, False, False,
    )  # fmt: skip
    choice = ModelChoice(wanted.model, wanted.allow_download)
    decoder = generate_setup.decoder_or_exit(asked, generate_setup.Wanted((), None, None, None, None, 1.0), choice)
    model = choice.load_stopping(wanted.temperature, wanted.stop)
    preparing = PrepareSettings(wanted.max_tokens, wanted.temperature)
    multipliers, base = generate_setup.known_before(asked, compiled, live.traces, model, preparing)
    settings = {
        **_settings(wanted, "regulated", "in process", model.digest),
        "prompts": prompts_digest(prompts),
        "rules": compiled.require().digest,
        "decoder": [wanted.decoder, *wanted.options],
        # A decoder draws all answers to a prompt together.
        "epochs": wanted.epochs,
        "multipliers": None if multipliers is None else [sorted(multipliers.common.items()), list(multipliers.own)],
        "scorers": None if asker is None else asker.scorers.digest,
    }
    plan = Plan(prompts, wanted.epochs, _as_json(settings))

    def bring(store: RunStore, missing: Sequence[Sample], done: Done) -> Iterator[str]:
        prepared = prepare(compiled.require(), live.traces, model, preparing, _Stages(), multipliers, None, base)
        for remark in prepared.remarks:
            click.echo(f"note: {remark}", err=True)
        yield from sample_regulated(plan, missing, prepared, decoder, model, store, meter, done)

    return plan, bring


class _Stages:
    """A line for each stage: the bar on the screen is that of the samples."""

    def stage(self, name: str, total: int) -> None:
        click.echo(f"{name} ...", err=True)

    def progress(self, done: int, total: int) -> None: ...


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as they come back from the store: lists, no tuples."""
    import json

    found: dict[str, Any] = json.loads(json.dumps(settings))
    return found
