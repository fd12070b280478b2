"""`bylaw generate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.generate_output import Printer, list_decoders, warn_if_rare
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sampling import Bars, ModelChoice, calibration_or_exit, law_options, prompts_or_exit, refusals
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.decoders.interface import Decoder
    from bylaw.runtime.generation.answers import Answer
    from bylaw.runtime.generation.extras import Extras
    from bylaw.runtime.generation.file import AnswersFile
    from bylaw.runtime.generation.prepare import Prepared
    from bylaw.runtime.look_ahead.interface import LookAhead
    from bylaw.runtime.models.interface import LanguageModel
    from bylaw.runtime.models.metering import Limits


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


@click.command("generate")
@click.argument("rules", type=PolicyPath())
@click.argument("prompt", nargs=-1)
@law_options
@click.option(
    "--decoder",
    default="qrs",
    show_default=True,
    help="How to sample. `--decoders` lists them with their options.",
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the decoder; repeatable.")
@click.option("--decoders", "listing", is_flag=True, help="List the decoders and their options, and end.")
@click.option("-n", "--responses", default=1, show_default=True, type=click.IntRange(1), help="Answers to each prompt.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Makes the answers repeatable.")
@click.option("--deadline", type=click.FloatRange(min=0), help="Most seconds for each prompt; the best answer so far.")
@click.option("--passes", type=click.IntRange(0), help="Most evaluations of the model for each prompt.")
@click.option("--stop", multiple=True, help="End an answer before this text; repeatable.")
@click.option(
    "--samples", type=click.IntRange(1), help="Answers of the base model to each prompt, for the look-ahead. "
    "Default: 256 in all, 16 for each prompt at least. They are kept in the cache."
)  # fmt: skip
@click.option("--calibration", type=click.Path(), help="What `bylaw calibrate` wrote; a policy with limits needs it.")
@click.option(
    "--scorer", "scorers", multiple=True, metavar="FILE.py:NAME[@sentence]",
    help="A function of yours that scores an answer, or each of its sentences, in nats; repeatable. The file is run.",
)  # fmt: skip
@click.option(
    "--prefix-rule", metavar="FILE.py:NAME",
    help="A function of yours that says of a beginning whether it may still become a legal answer. The file is run.",
)  # fmt: skip
@click.option("--json-schema", type=click.Path(), help="A JSON schema (file) that every answer has to meet.")
@click.option("--grammar", type=click.Path(), help="A grammar (file, Lark style) that every answer has to follow.")
@click.option("--reward-model", type=click.Path(), help="A model whose log probabilities steer: see the decoder `arm`.")
@click.option("--alpha", default=1.0, show_default=True, type=float, help="How strongly the reward model steers.")
@click.option("--endpoint", metavar="URL", help="Sample an OpenAI-compatible endpoint instead; --model is its name.")
@click.option("--endpoint-key", metavar="VARIABLE", help="The environment variable with the endpoint's API key.")
@click.option("--out", type=click.Path(), help="Keep answers in this file (JSON Lines); run again to go on with it.")
@click.option("--report", type=click.Path(), help="Write a report of each answer to this folder: JSON and a picture.")
@click.option("--stream", is_flag=True, help="Print an answer while it grows, where the decoder can tell.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each prompt.")
def command(
    rules: str, prompt: tuple[str, ...], model: str | None, allow_download: bool, prompts: str | None, max_tokens: int,
    temperature: float, decoder: str, options: tuple[str, ...], listing: bool, responses: int, seed: int,
    deadline: float | None, passes: int | None, stop: tuple[str, ...], samples: int | None, calibration: str | None,
    scorers: tuple[str, ...], prefix_rule: str | None, json_schema: str | None, grammar: str | None,
    reward_model: str | None, alpha: float, endpoint: str | None, endpoint_key: str | None, out: str | None,
    report: str | None, stream: bool, as_json: bool,
) -> None:  # fmt: skip
    """Answer prompts under the policy RULES.

    PROMPT is one question, or several; `-` reads one from standard input. Without any, the prompts are those of
    --prompts, of the suites of the policy, or of prompts.jsonl beside it. Answers go to standard output, what is to be
    said of them to standard error.

        bylaw generate rules.bylaw "Can I have my money back?" --deadline 5

    Every answer keeps every hard rule. How close their law is to that of the policy is estimated and told. Exit codes:
    0 every prompt has an answer, 1 the policy cannot be enforced, 2 wrong usage, 3 a prompt has no answer, 130
    interrupted (answers in --out are kept; the same command goes on with them).
    """
    if listing:
        list_decoders()
        return
    from bylaw.runtime.models.metering import Limits

    compiled = compile_or_exit(rules)
    read = _prompts(compiled, prompt, prompts, Path(rules).parent / "prompts.jsonl")
    limits = None if deadline is None and passes is None else Limits(passes, deadline)
    asked = Asked(
        decoder, options, responses, seed, limits, max_tokens, temperature, stop, samples, calibration, out, report,
        stream, as_json,
    )  # fmt: skip
    wanted = Wanted(scorers, prefix_rule, json_schema, grammar, reward_model, alpha)
    if endpoint is not None:
        from bylaw.runtime.cli.generate_endpoint import answer_from_endpoint

        raise SystemExit(answer_from_endpoint(compiled, read.traces, endpoint, model, endpoint_key, asked, wanted))
    left_out = _answer(compiled, read, ModelChoice(model, allow_download), asked, wanted)
    raise SystemExit(LEFT_OUT if left_out else 0)


def _prompts(compiled: Compiled, typed: tuple[str, ...], given: str | None, beside: Path) -> Transcripts:
    """Prompts from the command line, from standard input, or from where other verbs take them."""
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.spec.trace import Message, Trace

    if not typed:
        read, _, _ = prompts_or_exit(compiled, given, beside)
        for problem in read.problems:
            click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
        return read
    if given is not None:
        fail("prompts come either from the command line or from --prompts, not from both", UNUSABLE)
    texts = [sys.stdin.read().strip() if text == "-" else text for text in typed]
    if not all(texts):
        fail("a prompt is empty", UNUSABLE)
    return Transcripts(tuple(Trace((Message("user", text),), id=str(n)) for n, text in enumerate(texts, 1)), ())


def _answer(compiled: Compiled, read: Transcripts, choice: ModelChoice, asked: Asked, wanted: Wanted) -> bool:
    """Decodes and prints; whether a prompt was left without an answer."""
    from bylaw.runtime.generation.answers import answers, as_json
    from bylaw.runtime.generation.prepare import PrepareSettings, prepare

    with refusals(compiled):
        decoder = _decoder(asked, wanted, choice)
        model = choice.load_stopping(asked.temperature, asked.stop)
        multipliers = _multipliers(asked, compiled, model)
        extras = _extras(wanted, choice, model, asked)
        kept = _answers_file(asked, wanted, compiled, read, model)
        settings = PrepareSettings(asked.max_tokens, asked.temperature, asked.samples)
        with Bars() as bars:
            prepared = prepare(compiled.require(), read.traces, model, settings, bars, multipliers, extras)
        warn_if_rare(prepared, model, asked.max_tokens)
        printer = Printer(len(read.traces), asked.as_json, decoder.name)
        missing = len(read.problems)
        found = answers(
            prepared, decoder, model, max_tokens=asked.max_tokens, seed=asked.seed, particles=_rows(decoder),
            limits=asked.limits, watch=printer.watch if asked.stream else None,
            done=frozenset() if kept is None else kept.done,
        )  # fmt: skip
        for answer in found:
            if kept is not None:
                kept.add(answer.index, as_json(answer, decoder.name))
            printer.show(answer)
            if asked.report is not None:
                _write_reports(asked, prepared, model, answer, decoder, multipliers)
            missing += not answer.result.responses and answer.result.rescued is None
    return missing > 0


def _extras(wanted: Wanted, choice: ModelChoice, model: LanguageModel, asked: Asked) -> Extras:
    """What was asked for besides the policy. Raises DecodeError."""
    from bylaw.runtime.generation.extras import Extras, prefix_rule, scorer

    grammars = []
    if wanted.json_schema is not None or wanted.grammar is not None:
        from bylaw.runtime.look_ahead.grammar import Grammar

        if wanted.json_schema is not None:
            grammars.append(Grammar.from_json_schema(_text_of(wanted.json_schema), model.vocabulary))
        if wanted.grammar is not None:
            grammars.append(Grammar.from_lark(_text_of(wanted.grammar), model.vocabulary))
        for warning in (warning for grammar in grammars for warning in grammar.warnings):
            click.echo(f"warning: {warning}", err=True)
    factors: list[LookAhead] = [*grammars]
    if wanted.reward_model is not None and asked.decoder != "arm":
        from bylaw.runtime.look_ahead.autoregressive_reward import AutoregressiveReward

        reward_model = ModelChoice(wanted.reward_model, choice.allow_download).load(1.0)
        factors.append(AutoregressiveReward(reward_model, wanted.alpha, model.vocabulary))
    return Extras(
        tuple(scorer(place) for place in wanted.scorers),
        None if wanted.prefix_rule is None else prefix_rule(wanted.prefix_rule),
        tuple(grammar.log_reward for grammar in grammars),
        tuple(factors),
    )


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"`{path}` cannot be read: {getattr(error, 'strerror', None) or error}", UNUSABLE)


def _decoder(asked: Asked, wanted: Wanted, choice: ModelChoice) -> Decoder:
    """The decoder that was asked for; a wrong name or option ends with exit code 2."""
    from bylaw.runtime.decoders.interface import DecodeError
    from bylaw.runtime.generation.decoder_options import make_decoder

    parts: dict[str, object] = {}
    if asked.decoder == "arm":
        if wanted.reward_model is None:
            fail("the decoder `arm` needs a --reward-model", UNUSABLE)
        parts = {
            "reward_model": ModelChoice(wanted.reward_model, choice.allow_download).load(1.0),
            "alpha": wanted.alpha,
        }
    try:
        return make_decoder(asked.decoder, asked.responses, asked.options, **parts)
    except DecodeError as error:
        fail(str(error), UNUSABLE)


def _rows(decoder: Decoder) -> int:
    """Sequences that a decoder grows at once for one prompt, roughly."""
    names = ("particles", "proposals", "draws", "chains", "responses")
    return max((int(getattr(decoder, name, 1) or 1) for name in names), default=1)


def _multipliers(asked: Asked, compiled: Compiled, model: LanguageModel) -> Multipliers | None:
    """Those of an earlier calibration of this policy on this model; another one ends with exit code 2."""
    if asked.calibration is None:
        return None
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.calibration.record import StaleRecord, require_current

    record = calibration_or_exit(asked.calibration)
    same = {"temperature": asked.temperature, "max_tokens": asked.max_tokens}
    try:
        require_current(record, compiled.require(), model, settings=same)
    except StaleRecord as error:
        fail(str(error), UNUSABLE)
    return Multipliers(record.multipliers)


def _answers_file(
    asked: Asked, wanted: Wanted, compiled: Compiled, read: Transcripts, model: LanguageModel
) -> AnswersFile | None:
    if asked.out is None:
        return None
    from bylaw.runtime.calibration.record import prompts_digest
    from bylaw.runtime.generation.file import AnswersFile, AnswersFileError

    settings = {
        name: value
        for name, value in {**asdict(asked), **asdict(wanted)}.items()
        if name not in ("out", "report", "stream", "as_json", "limits")
    }
    limits = None if asked.limits is None else asdict(asked.limits)
    about = {"rules": compiled.require().digest, "model": model.digest, "prompts": prompts_digest(read.traces)}
    try:
        kept = AnswersFile(Path(asked.out), json.loads(json.dumps({**about, **settings, "limits": limits})))
    except AnswersFileError as error:
        fail(str(error), UNUSABLE)
    if kept.done:
        click.echo(f"{len(kept.done)} of {len(read.traces)} prompts are answered in `{asked.out}` already", err=True)
    return kept


def _write_reports(
    asked: Asked,
    prepared: Prepared,
    model: LanguageModel,
    answer: Answer,
    decoder: Decoder,
    multipliers: Multipliers | None,
) -> None:
    """A JSON file and a picture for each response to one prompt."""
    from bylaw.runtime.decode_report.build import build_reports
    from bylaw.runtime.decode_report.picture import save_picture
    from bylaw.runtime.decode_report.record import save

    assert asked.report is not None
    folder = Path(asked.report)
    reports = build_reports(
        prepared.program, answer.plan, model, prepared.tasks[answer.index], answer.result, prepared.base[answer.index],
        decoder=decoder.name, seed=answer.seed, max_tokens=asked.max_tokens,
        multipliers=None if multipliers is None else multipliers.common, options=vars(decoder),
    )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, report in enumerate(reports, 1):
            name = f"prompt-{answer.index + 1}-answer-{number}"
            click.echo(f"wrote {save(report, folder / f'{name}.json')}", err=True)
            click.echo(f"wrote {save_picture(report, folder / f'{name}.svg')}", err=True)
    except OSError as error:
        fail(f"the reports cannot be written to `{folder}`: {error.strerror or error}", UNUSABLE)
