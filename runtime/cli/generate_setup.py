"""What `bylaw generate` gets ready before the first answer: the decoder, what is known already, extras, the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.sampling import ModelChoice, calibration_or_exit, refusals
from bylaw.runtime.cli.shared import GATE_FAILED, UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.calibration.draws import Draw
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.decoders.interface import Decoder
    from bylaw.runtime.generation.extras import Extras
    from bylaw.runtime.generation.file import AnswersFile
    from bylaw.runtime.generation.prepare import PrepareSettings
    from bylaw.runtime.look_ahead.interface import LookAhead
    from bylaw.runtime.models.interface import LanguageModel
    from bylaw.runtime.models.metering import Limits
    from bylaw.spec.trace import Trace


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for, apart from policy, model and prompts. `options` are NAME=VALUE."""

    decoder: str
    options: tuple[str, ...]
    responses: int
    seed: int
    limits: Limits | None
    max_tokens: int
    temperature: float
    stop: tuple[str, ...]
    samples: int | None
    calibration: str | None
    out: str | None
    report: str | None
    stream: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is added to the law, as it was typed."""

    scorers: tuple[str, ...]
    prefix_rule: str | None
    json_schema: str | None
    grammar: str | None
    reward_model: str | None
    alpha: float


@contextmanager
def answers_refused(compiled: Compiled) -> Iterator[None]:
    """Each way in which answering can turn out impossible is one message and an exit."""
    from bylaw.runtime.decode_report.record import DecodeReportError
    from bylaw.runtime.decoders.interface import DecodeError
    from bylaw.runtime.enforcement import EnforcementError
    from bylaw.runtime.generation.answers import BrokenRule
    from bylaw.runtime.generation.file import AnswersFileError

    with refusals(compiled):
        try:
            yield
        except BrokenRule as error:
            fail(str(error), GATE_FAILED)
        except (DecodeError, DecodeReportError, AnswersFileError) as error:
            fail(str(error), UNUSABLE)
        except EnforcementError as error:
            if error.terms:
                raise
            fail(str(error), UNUSABLE)  # it is about a prompt, not about a rule


def decoder_or_exit(asked: Asked, wanted: Wanted, choice: ModelChoice) -> Decoder:
    """The decoder that was asked for. Raises DecodeError, ModelError."""
    from bylaw.runtime.generation.decoder_options import make_decoder

    if asked.decoder != "arm":
        return make_decoder(asked.decoder, asked.responses, asked.options)
    if wanted.reward_model is None:
        fail("the decoder `arm` needs a --reward-model", UNUSABLE)
    reward_model = ModelChoice(wanted.reward_model, choice.allow_download).load(1.0)
    return make_decoder("arm", asked.responses, asked.options, reward_model=reward_model, alpha=wanted.alpha)


def known_before(
    asked: Asked, compiled: Compiled, prompts: Sequence[Trace], model: LanguageModel, settings: PrepareSettings
) -> tuple[Multipliers | None, tuple[Draw, ...]]:
    """(the multipliers of an earlier calibration, its base samples where the look-ahead can be counted on them).

    A calibration of another policy or model ends with exit code 2. Multipliers that it solved for prompt by prompt
    count for those prompts only.
    """
    if asked.calibration is None:
        return None, ()
    from bylaw.runtime.calibration.record import StaleRecord, prompts_digest, require_current
    from bylaw.runtime.generation.entry import multipliers_for
    from bylaw.runtime.generation.kept import kept_samples

    record = calibration_or_exit(asked.calibration)
    if asked.stop and record.budgets:
        fail(
            "the multipliers of a calibration hold for answers that end by themselves, and --stop makes another law of "
            "them: do without --stop",
            UNUSABLE,
        )
    same = {"temperature": asked.temperature, "max_tokens": asked.max_tokens}
    try:
        require_current(record, compiled.require(), model, settings=same)
    except StaleRecord as error:
        fail(str(error), UNUSABLE)
    path = Path(asked.calibration)
    folder = path if path.is_dir() else path.parent
    kept = kept_samples(folder, model, settings) if asked.samples is None else ()
    if record.budgets and record.prompts_digest != prompts_digest(prompts):
        click.echo(
            f"note: the limits were solved for on average over the {record.prompt_count} prompts of the calibration, "
            "and these are others",
            err=True,
        )
    return multipliers_for(record, prompts), kept


def extras_of(wanted: Wanted, choice: ModelChoice, model: LanguageModel, asked: Asked) -> tuple[Extras, dict[str, str]]:
    """(what was asked for besides the policy, digests of the files that it comes from). Raises DecodeError."""
    from bylaw.runtime.generation.extras import Extras, prefix_rule, scorer

    scorers = tuple(scorer(place) for place in wanted.scorers)
    rule = None if wanted.prefix_rule is None else prefix_rule(wanted.prefix_rule)
    places = [*wanted.scorers, *([] if wanted.prefix_rule is None else [wanted.prefix_rule])]
    files = {place: _digest(Path(place.rpartition(":")[0])) for place in places}
    grammars = []
    for path, is_schema in ((wanted.json_schema, True), (wanted.grammar, False)):
        if path is None:
            continue
        from bylaw.runtime.look_ahead.grammar import Grammar

        make = Grammar.from_json_schema if is_schema else Grammar.from_lark
        grammars.append(make(_text_of(path), model.vocabulary))
        files[path] = _digest(Path(path))
    for warning in (warning for grammar in grammars for warning in grammar.warnings):
        click.echo(f"warning: {warning}", err=True)
    factors: list[LookAhead] = [*grammars]
    if wanted.reward_model is not None and asked.decoder != "arm":
        from bylaw.runtime.look_ahead.autoregressive_reward import AutoregressiveReward

        reward_model = ModelChoice(wanted.reward_model, choice.allow_download).load(1.0)
        files[wanted.reward_model] = reward_model.digest
        factors.append(AutoregressiveReward(reward_model, wanted.alpha, model.vocabulary))
    return Extras(scorers, rule, tuple(grammar.log_reward for grammar in grammars), tuple(factors)), files


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"`{path}` cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}", UNUSABLE)


def answers_file(
    asked: Asked,
    wanted: Wanted,
    compiled: Compiled,
    prompts: Sequence[Trace],
    model: LanguageModel,
    known: tuple[Multipliers | None, tuple[Draw, ...], dict[str, str]],
    rows: int,
) -> AnswersFile | None:
    """The file of --out, whose first line says all that answers depend on. Raises AnswersFileError."""
    if asked.out is None:
        return None
    from bylaw.runtime.calibration.record import prompts_digest
    from bylaw.runtime.calibration.sample_store import digest_of
    from bylaw.runtime.generation.answers import prompts_together
    from bylaw.runtime.generation.file import AnswersFile

    multipliers, kept_base, files = known
    beside = ("out", "report", "stream", "as_json", "calibration", "limits")
    head = {name: value for name, value in {**asdict(asked), **asdict(wanted)}.items() if name not in beside}
    head |= {
        "rules": compiled.require().digest,
        "model": model.digest,
        "prompts": prompts_digest(prompts),
        "files": files,
        "limits": None if asked.limits is None else asdict(asked.limits),
        "multipliers": None if multipliers is None else [sorted(multipliers.common.items()), multipliers.own],
        "look_ahead": digest_of([draw.tokens for draw in kept_base]) if kept_base else None,
        "prompts_together": prompts_together(rows, alone=asked.limits is not None or asked.stream),
    }
    kept = AnswersFile(Path(asked.out), json.loads(json.dumps(head)))
    if kept.done:
        click.echo(f"{len(kept.done)} of {len(prompts)} prompts are answered in `{asked.out}` already", err=True)
    return kept
