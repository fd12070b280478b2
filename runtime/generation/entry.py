"""Answers under a policy in one call, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bylaw.compiler.pipeline import Compiled
from bylaw.runtime.calibration.draws import Draw
from bylaw.runtime.calibration.problem import Multipliers
from bylaw.runtime.calibration.record import CalibrationRecord, load_record, prompts_digest, require_current
from bylaw.runtime.decoders.interface import Decoder
from bylaw.runtime.generation.answers import Answer, answers
from bylaw.runtime.generation.decoder_options import make_decoder, rows_of
from bylaw.runtime.generation.extras import Extras
from bylaw.runtime.generation.kept import kept_samples
from bylaw.runtime.generation.prepare import PrepareSettings, prepare
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits
from bylaw.runtime.models.stopping import StoppingModel
from bylaw.spec.trace import Message, Trace


class _Quiet:
    def stage(self, name: str, total: int) -> None: ...
    def progress(self, done: int, total: int) -> None: ...


def load_model(path: str | Path | None = None, *, temperature: float = 1.0) -> LanguageModel:
    """A Hugging Face model in a folder; None: the small one that comes with bylaw. Raises ModelError."""
    from bylaw.runtime.default_model import default_model_path
    from bylaw.runtime.models.huggingface import load_model as load

    return load(path or default_model_path(), temperature=temperature, name=None if path else "default")


def generate(
    compiled: Compiled,
    prompts: str | Trace | Sequence[str | Trace],
    model: LanguageModel | None = None,
    *,
    decoder: str | Decoder = "qrs",
    responses: int = 1,
    max_tokens: int = 160,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    limits: Limits | None = None,
    calibration: str | Path | None = None,
    extras: Extras | None = None,
    samples: int | None = None,
) -> list[Answer]:
    """Answers to prompts (questions, or conversations that end with one) under a policy, in their order.

    What `bylaw generate` does: equal arguments give equal answers. `answer.texts` are the responses; `answer.result`
    has their weights and how close their law is to that of the policy. `limits` are for each prompt. `calibration` is
    what `bylaw calibrate` wrote, which a policy with limits needs. A decoder that is an object knows itself how many
    responses it gives. `samples`: see `PrepareSettings`.

    Raises TypeError for a policy that is not compiled, PolicyError where it is not sound, EnforcementError and
    Infeasible where it cannot be enforced, DecodeError (wrong decoder, option or extra), ModelError, TwistError,
    CalibrationRecordError, and BrokenRule where a decoder has a defect.
    """
    if not isinstance(compiled, Compiled):
        raise TypeError("the policy comes compiled: bylaw.generate(bylaw.compile_file('rules.bylaw'), ...)")
    # a single text is meant as one, not as its letters
    prompts = [prompts] if isinstance(prompts, str | Trace) else prompts
    stop = (stop,) if isinstance(stop, str) else stop
    program = compiled.require()
    base = model or load_model()
    stopping = StoppingModel(base, tuple(stop)) if stop else base
    traces = [
        prompt if isinstance(prompt, Trace) else Trace((Message("user", prompt),), id=str(number))
        for number, prompt in enumerate(prompts, 1)
    ]
    made = make_decoder(decoder, responses) if isinstance(decoder, str) else decoder
    settings = PrepareSettings(max_tokens, float(getattr(base, "temperature", 1.0)), samples)
    multipliers: Multipliers | None = None
    kept: tuple[Draw, ...] = ()
    if calibration is not None:
        record = load_record(calibration)
        require_current(
            record, program, stopping, settings={"temperature": settings.temperature, "max_tokens": max_tokens}
        )
        multipliers = multipliers_for(record, traces)
        place = Path(calibration)
        folder = place if place.is_dir() else place.parent
        kept = kept_samples(folder, stopping, settings) if samples is None else ()
    prepared = prepare(program, traces, stopping, settings, _Quiet(), multipliers, extras, kept)
    found = answers(
        prepared, made, stopping, max_tokens=max_tokens, seed=seed, particles=rows_of(made), limits=limits,
        responses=responses if isinstance(decoder, str) else None,
    )  # fmt: skip
    return sorted(found, key=lambda answer: answer.index)


def multipliers_for(record: CalibrationRecord, prompts: Sequence[Trace]) -> Multipliers:
    """The multipliers of a calibration (nats) for these prompts.

    Those of limits on each prompt are there only where the prompts are those of the calibration: for others they are
    not known.
    """
    if record.prompts_digest == prompts_digest(prompts):
        return Multipliers(record.multipliers, tuple(tuple(pairs.items()) for pairs in record.own()))
    single = {budget.term for budget in record.budgets if budget.each_prompt}
    return Multipliers({name: value for name, value in record.multipliers.items() if name not in single})
