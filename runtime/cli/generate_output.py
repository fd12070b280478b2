"""What `bylaw generate` prints: answers to standard output, what is to be said of them to standard error."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from bylaw.runtime.cli.sampling import Bars
from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.decoders.interface import Decoder, Estimate
    from bylaw.runtime.generation.answers import Answer
    from bylaw.runtime.generation.prepare import Prepared
    from bylaw.runtime.models.interface import LanguageModel


@dataclass
class Printer:
    """Prints answers as they come. `names` are those of all prompts; with one, its answers stand alone."""

    names: tuple[str, ...]
    as_json: bool
    decoder: str
    _out: TextIO = field(default_factory=lambda: sys.stdout)  # a progress bar may stand in for it later
    _told: dict[int, str] = field(default_factory=dict)
    _headed: set[int] = field(default_factory=set)

    def watch(self, index: int, text: str) -> None:
        """The answer to prompt `index` has grown to `text`."""
        if index not in self._told:
            self._head(index)
        said = self._told.setdefault(index, "")
        if text.startswith(said):
            click.echo(text[len(said) :], file=self._out, nl=False)
            self._told[index] = text

    def line(self, answer: Answer) -> dict[str, object]:
        """The answer as a line of JSON has it."""
        from bylaw.runtime.generation.answers import as_json

        return as_json(answer, self.decoder)

    def show(self, answer: Answer, is_printed: bool = True) -> None:
        """One prompt is answered."""
        if is_printed and self.as_json:
            click.echo(json.dumps(self.line(answer), ensure_ascii=False, allow_nan=False), file=self._out)
        elif is_printed:
            self._print(answer)
        for line in remarks(answer, self.decoder):
            click.echo(line, err=True)

    def _head(self, index: int, text: str | None = None) -> None:
        """What stands above the answers to one of several prompts."""
        if len(self.names) > 1 and index not in self._headed:
            between = "\n" if self._headed else ""
            self._headed.add(index)
            click.echo(f"{between}prompt {self.names[index]}{'' if text is None else f': {text}'}", file=self._out)

    def _print(self, answer: Answer) -> None:
        texts = answer.texts
        said = self._told.pop(answer.index, "")
        self._head(answer.index, _question(answer))
        if said and not (texts and texts[0].startswith(said)):
            click.echo(file=self._out)
            click.echo(f"prompt {answer.plan.trace.id}: what was shown as it grew is no answer", err=True)
            said = ""
        for number, text in enumerate(texts):
            if number:
                click.echo(file=self._out)
            click.echo(text if number else text[len(said) :], file=self._out)


class Answering:
    """A progress bar of answered prompts on a terminal's standard error, where answers are not printed to a terminal
    themselves."""

    def __init__(self, total: int, done: int, is_hidden: bool) -> None:
        shown = total > 1 and not is_hidden and sys.stderr.isatty() and not sys.stdout.isatty()
        self._bars = Bars() if shown else None
        self._total, self._done = total, done

    def __enter__(self) -> Answering:
        if self._bars is not None:
            self._bars.__enter__()
            self._bars.stage("answering", self._total)
            self._bars.progress(self._done, self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.__exit__()

    def advance(self) -> None:
        """One more prompt is answered."""
        self._done += 1
        if self._bars is not None:
            self._bars.progress(self._done, self._total)


def _question(answer: Answer) -> str:
    from bylaw.runtime.report.text import one_line

    messages = answer.plan.trace.messages
    return one_line(messages[-1].content) if messages else ""


def remarks(answer: Answer, decoder: str) -> list[str]:
    """What must be known of an answer besides its text, a line each."""
    result, told = answer.result, answer.result.diagnostics
    shared = f" for {answer.together} prompts together" if answer.together > 1 else ""
    parts = [f"{told.passes} evaluations of the model", f"{answer.seconds:.1f} s{shared}"]
    if told.acceptance is not None:
        tried = "steps" if decoder == "mh" else "proposals"
        parts.insert(0, f"{told.acceptance.value:.0%} of the {tried} accepted")
    elif result.particles > 1 and result.responses:
        parts.insert(0, f"{result.particles} proposals, worth {result.ess:.1f} independent ones")
    if told.total_variation is not None:
        parts.insert(0, f"distance from the law {_within(told.total_variation)} (total variation)")
    name = f"prompt {answer.plan.trace.id}"
    found = [f"{name}: {decoder}{', biased' if result.biased else ''}: {', '.join(parts)}"]
    found += [f"{name}: {remark}" for remark in told.remarks]
    if told.stopped is not None and not told.remarks:
        limit = {"passes": "--passes", "deadline": "--deadline"}.get(told.stopped, told.stopped)
        found.append(f"{name}: stopped early by {limit}; what is given is what had been reached")
    if any(answer.cut):
        some = f"{sum(answer.cut)} of {len(answer.cut)} answers were" if len(answer.cut) > 1 else "the answer was"
        found.append(f"{name}: {some} still going on at the most tokens, and cut there (--max-tokens)")
    if result.responses:
        return found
    if answer.texts:
        found.append(f"{name}: no answer was finished; this one keeps the hard rules and was ended without the model")
    else:
        found.append(f"{name}: no answer was found{_lost(answer)}")
    return found


def _lost(answer: Answer) -> str:
    """What became of the proposals, and what to do."""
    result = answer.result
    if result.diagnostics.stopped is not None:
        return " within the limits; allow more of them"
    parts = [
        f"{count} {what}"
        for count, what in (
            (result.forbidden, "were refused when they were finished"),
            (result.dead_ends, "ended where nothing may follow"),
        )
        if count
    ]
    told = f": of {result.particles} proposals {', '.join(parts)}" if parts else ""
    return f"{told}; allow longer answers (--max-tokens), more proposals (--option), or ask less of them"


def _within(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}, {estimate.low:.3f} to {estimate.high:.3f}"


def list_decoders() -> None:
    """Prints every decoder, what it is for, and its options."""
    from bylaw.runtime.decoders.choose import decoder_class, decoder_names
    from bylaw.runtime.generation.decoder_options import options_of

    for name in decoder_names():
        kind = decoder_class(name)
        module = __import__(kind.__module__, fromlist=["__doc__"])
        click.echo(f"{name}: {(module.__doc__ or '').strip().splitlines()[0]}")
        for option in options_of(name):
            click.echo(f"    {option.name}={option.default}  ({option.takes})")


def say_before(prepared: Prepared, model: LanguageModel, max_tokens: int) -> None:
    """Says on standard error what must be known before the first answer: where the base model hardly ever keeps the
    hard rules, and what look-ahead cannot promise."""
    from bylaw.runtime.twist.policies import hard_mass

    for remark in prepared.remarks:
        click.echo(f"note: {remark}", err=True)
    for found in hard_mass(prepared.plans, prepared.base, model, max_tokens, compiler=prepared.compiler):
        if found.is_rare:
            click.echo(f"warning: {found.message()}", err=True)


def report_folder_or_exit(folder: Path) -> None:
    """Makes the folder for reports before any work; exit code 2 where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"the reports cannot be written to `{folder}`: {(error.strerror or str(error)).lower()}", UNUSABLE)


def write_reports(
    folder: Path,
    prepared: Prepared,
    model: LanguageModel,
    answer: Answer,
    decoder: Decoder,
    max_tokens: int,
    multipliers: Multipliers | None,
) -> None:
    """A JSON file and a picture for each response to one prompt. Raises DecodeReportError, TwistError, ModelError."""
    from bylaw.runtime.decode_report.build import build_reports
    from bylaw.runtime.decode_report.picture import save_picture
    from bylaw.runtime.decode_report.record import save

    if not answer.result.responses:
        click.echo(f"prompt {answer.plan.trace.id}: there is no finished answer to report on", err=True)
        return
    reports = build_reports(
        prepared.program, answer.plan, model, prepared.tasks[answer.index], answer.result,
        prepared.counted_for(answer.index), decoder=decoder.name, seed=answer.seed, max_tokens=max_tokens,
        multipliers=None if multipliers is None else multipliers.common, options=vars(decoder),
    )  # fmt: skip
    try:
        for number, report in enumerate(reports, 1):
            name = f"prompt-{answer.index + 1}-answer-{number}"
            click.echo(f"wrote {save(report, folder / f'{name}.json')}", err=True)
            click.echo(f"wrote {save_picture(report, folder / f'{name}.svg')}", err=True)
    except OSError as error:
        fail(f"the reports cannot be written to `{folder}`: {(error.strerror or str(error)).lower()}", UNUSABLE)
