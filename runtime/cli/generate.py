"""`bylaw generate`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli import INTERRUPTED
from bylaw.runtime.cli.generate_output import (
    Answering,
    Printer,
    list_decoders,
    report_folder_or_exit,
    say_before,
    write_reports,
)
from bylaw.runtime.cli.generate_setup import (
    Asked,
    Wanted,
    answers_file,
    answers_refused,
    decoder_or_exit,
    extras_of,
    known_before,
)
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sampling import Bars, ModelChoice, law_options, prompts_or_exit
from bylaw.runtime.cli.scoring import Scoring, live_prompts, scoring_options
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.generation.file import AnswersFile
    from bylaw.runtime.scorers.asking import Asker


class Finite(click.FloatRange):
    """A number; the floats of click let `nan` and `inf` through."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a number that can be used here.", param, ctx)
        return found


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        list_decoders()
        context.exit()


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
@click.option(
    "--decoders", is_flag=True, is_eager=True, expose_value=False, callback=_list,
    help="List the decoders and their options, and end; needs no RULES.",
)  # fmt: skip
@click.option("-n", "--responses", default=1, show_default=True, type=click.IntRange(1), help="Answers to each prompt.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Makes the answers repeatable.")
@click.option(
    "--deadline",
    type=Finite(min=0),
    help="Most seconds for the answer to each prompt, once look-ahead is counted; then the best answer so far.",
)
@click.option("--passes", type=click.IntRange(0), help="Most evaluations of the model for each prompt.")
@click.option("--stop", multiple=True, help="End an answer before this text; repeatable.")
@click.option(
    "--samples", type=click.IntRange(1), help="Answers of the base model to each prompt, for the look-ahead. "
    "Default: those of --calibration where they are kept, else 64 in all and 16 for each prompt at least."
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
@click.option("--alpha", default=1.0, show_default=True, type=Finite(), help="How strongly the reward model steers.")
@click.option("--endpoint", metavar="URL", help="Sample an OpenAI-compatible endpoint instead; --model is its name.")
@click.option("--endpoint-key", metavar="VARIABLE", help="The environment variable with the endpoint's API key.")
@click.option(
    "--out",
    type=click.Path(),
    help="Keep answers in this file (JSON Lines) instead of printing them; run again to go on.",
)
@click.option("--report", type=click.Path(), help="Write a report of each answer to this folder: JSON and a picture.")
@click.option(
    "--stream",
    is_flag=True,
    help="Print answers while they grow, one prompt at a time. `mask` can; others tell when they have decided.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each prompt.")
@scoring_options
def command(
    rules: str, prompt: tuple[str, ...], model: str | None, allow_download: bool, prompts: str | None, max_tokens: int,
    temperature: float, decoder: str, options: tuple[str, ...], responses: int, seed: int, deadline: float | None,
    passes: int | None, stop: tuple[str, ...], samples: int | None, calibration: str | None,
    scorers: tuple[str, ...], prefix_rule: str | None, json_schema: str | None, grammar: str | None,
    reward_model: str | None, alpha: float, endpoint: str | None, endpoint_key: str | None, out: str | None,
    report: str | None, stream: bool, as_json: bool, scoring: Scoring,
) -> None:  # fmt: skip
    """Answer prompts under the policy RULES.

    PROMPT is one question, or several; `-` reads one from standard input. Without any, the prompts are those of
    --prompts, of the suites of the policy, or of prompts.jsonl beside it. Answers go to standard output, what is to be
    said of them to standard error.

        bylaw generate rules.bylaw "Can I have my money back?" --deadline 5

    Every answer keeps every hard rule: each is checked again before it is shown. How close their law is to that of the
    policy is estimated and told. runtime/DECODING.md explains the decoders and the numbers.

    What an answer expresses is scored as in `bylaw audit`. Where that cannot be told, a `must` forbids the answer.

    Exit codes: 0 every prompt has an answer, 1 the policy cannot be enforced, 2 wrong usage or unusable input, 3 a
    prompt has no answer or could not be read, 4 an answer failed the last check and was withheld, 130 interrupted
    (answers in --out are kept; the same command goes on with them).
    """
    from bylaw.runtime.models.metering import Limits

    if stream and as_json:
        fail("--stream prints text and --json prints lines of JSON; use one of them", UNUSABLE)
    limits = None if deadline is None and passes is None else Limits(passes, deadline)
    asked = Asked(
        decoder, options, responses, seed, limits, max_tokens, temperature, stop, samples, calibration, out, report,
        stream, as_json,
    )  # fmt: skip
    wanted = Wanted(scorers, prefix_rule, json_schema, grammar, reward_model, alpha)
    compiled = compile_or_exit(rules)
    read = _prompts(compiled, prompt, prompts, Path(rules).parent / "prompts.jsonl")
    if endpoint is None and endpoint_key is not None:
        fail("--endpoint-key is of use with --endpoint only", UNUSABLE)
    with live_prompts(compiled, rules, scoring, read, model) as (live, asker):
        if endpoint is not None:
            from bylaw.runtime.cli.generate_endpoint import answer_from_endpoint

            missing = answer_from_endpoint(compiled, live.traces, endpoint, model, endpoint_key, asked, wanted)
        else:
            missing = _answer(compiled, live, ModelChoice(model, allow_download), asked, wanted, asker)
    raise SystemExit(LEFT_OUT if missing or read.problems else 0)


def _prompts(compiled: Compiled, typed: tuple[str, ...], given: str | None, beside: Path) -> Transcripts:
    """Prompts from the command line, from standard input, or from where other verbs take them."""
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.spec.trace import Message, Trace

    if not typed:
        read, _, _ = prompts_or_exit(compiled, given, beside)
        for problem in read.problems:
            click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
        if not read.traces:
            fail("there are no prompts to answer", UNUSABLE)
        return read
    if given is not None:
        fail("prompts come either from the command line or from --prompts, not from both", UNUSABLE)
    if typed.count("-") > 1:
        fail("standard input holds one prompt: give `-` once", UNUSABLE)
    texts = [_standard_input() if text == "-" else text for text in typed]
    for number, text in enumerate(texts, 1):
        if not text.strip():
            fail(f"prompt {number} is empty", UNUSABLE)
    return Transcripts(tuple(Trace((Message("user", text),), id=str(n)) for n, text in enumerate(texts, 1)), ())


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError:
        fail("the prompt on standard input is not UTF-8 text", UNUSABLE)


def _answer(
    compiled: Compiled, read: Transcripts, choice: ModelChoice, asked: Asked, wanted: Wanted, asker: Asker | None
) -> int:
    """Decodes and prints; the number of prompts that were left without an answer."""
    from bylaw.runtime.generation.answers import answers
    from bylaw.runtime.generation.decoder_options import rows_of
    from bylaw.runtime.generation.prepare import PrepareSettings, prepare

    with answers_refused(compiled), _interruptible() as state:
        decoder = decoder_or_exit(asked, wanted, choice)
        model = choice.load_stopping(asked.temperature, asked.stop)
        settings = PrepareSettings(asked.max_tokens, asked.temperature, asked.samples)
        multipliers, kept_base = known_before(asked, compiled, read.traces, model, settings)
        extras, files = extras_of(wanted, choice, model, asked)
        files |= {} if asker is None else {"scorers": asker.scorers.digest}
        if asked.report is not None:
            report_folder_or_exit(Path(asked.report))
        kept = state.kept = answers_file(
            asked, wanted, compiled, read.traces, model, (multipliers, kept_base, files), rows_of(decoder)
        )
        done = frozenset() if kept is None else kept.done
        missing = 0 if kept is None else kept.missing
        if len(done) == len(read.traces):
            return missing
        with Bars() as bars:
            prepared = prepare(compiled.require(), read.traces, model, settings, bars, multipliers, extras, kept_base)
        say_before(prepared, model, asked.max_tokens)
        printer = Printer(tuple(trace.id for trace in read.traces), asked.as_json, decoder.name)
        with Answering(len(read.traces), len(done), is_hidden=asked.stream) as progress:
            for answer in answers(
                prepared, decoder, model, max_tokens=asked.max_tokens, seed=asked.seed, particles=rows_of(decoder),
                responses=asked.responses, limits=asked.limits, done=done,
                watch=printer.watch if asked.stream else None,
            ):  # fmt: skip
                if kept is not None:
                    kept.add(printer.line(answer))
                    state.answered += 1
                printer.show(answer, is_printed=kept is None or asked.stream)
                if asked.report is not None:
                    write_reports(Path(asked.report), prepared, model, answer, decoder, asked.max_tokens, multipliers)
                missing += not answer.texts
                progress.advance()
    return missing


class _State:
    """What an interruption finds done."""

    kept: AnswersFile | None = None
    answered = 0


@contextmanager
def _interruptible() -> Iterator[_State]:
    """Ctrl-C ends with what is kept, and exit code 130."""
    state = _State()
    try:
        yield state
    except KeyboardInterrupt:
        said = "nothing is kept: with --out FILE the same command would go on from here"
        if state.kept is not None:
            count = len(state.kept.done) + state.answered
            said = f"{count} answered prompts are kept in `{state.kept.path}`, and the same command goes on from there"
        click.echo(f"\ninterrupted; {said}", err=True)
        raise SystemExit(INTERRUPTED) from None
