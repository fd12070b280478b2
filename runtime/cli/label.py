"""`bylaw label`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.audit_labels import label_sheets_refused, text_or_exit
from bylaw.runtime.cli.audit_steps import Request, measure_or_exit
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.scoring import Scoring, scorers_or_exit, scoring_options
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.label_sheet_files import Sheets
    from bylaw.runtime.audit.label_sheets import Drawn, Labels
    from bylaw.runtime.cli.audit_steps import Measured
    from bylaw.spec.trace import Trace

_MOST_SHOWN = 20
_format = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)


@click.group(
    "label",
    epilog="\b\nExample:\n"
    "  bylaw label export rules.bylaw answers.jsonl --rule no_diagnosis --out sheet.csv\n"
    "  bylaw label import sheet.csv sheet-second.csv --key sheet.key.json --out labels.json\n"
    "  bylaw audit rules.bylaw answers.jsonl --label-sheet labels.json",
)
def command() -> None:
    """Have people judge a random part of the answers of an audit, and correct its rates by that.

    `export` draws answers and writes a sheet without verdicts, and a key that stays with you. People fill in the sheet.
    `import` checks it against the key, says how far people agree, and writes the labels that `bylaw audit
    --label-sheet` takes. Not to be confused with `bylaw audit --labels`: texts that scorers of concepts learn from.
    """


# ----------------------------------------------------------------------------------------------------------- export
@command.command(
    "export",
    epilog="\b\nExamples:\n"
    "  bylaw label export rules.bylaw answers.jsonl --rule no_diagnosis --out sheet.csv\n"
    "  bylaw label export rules.bylaw answers.jsonl --by random --number 100 --out sheet.csv",
)
@click.argument("rules", type=PolicyPath())
@click.argument("transcripts", type=click.Path())
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The sheet (.csv) to write.")
@click.option(
    "--rule",
    "chosen",
    multiple=True,
    metavar="NAME",
    help="A rule that people judge; repeatable.  [default: every rule that hangs on scores]",
)
@click.option(
    "--number", default=150, show_default=True, type=click.IntRange(4, 100_000), help="Answers to label for each rule."
)
@click.option(
    "--by",
    type=click.Choice(["verdict", "random"]),
    default="verdict",
    show_default=True,
    help="Draw as many answers that are judged to break a rule as such that keep it, or evenly from all.",
)
@click.option(
    "--not-applicable",
    default=0,
    show_default=True,
    metavar="N",
    type=click.IntRange(0, 100_000),
    help="Also N answers to which a rule is judged not to apply, where its condition is a matter of scores.",
)
@click.option(
    "--twice",
    default=30,
    show_default=True,
    metavar="N",
    type=click.IntRange(0, 100_000),
    help="Answers of each rule that go to a second person too, on a sheet of their own.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of all that is drawn by chance.")
@click.option("--prompt-column", default="prompt", show_default=True, help="Column or JSON key of the user's message.")
@click.option("--response-column", default="response", show_default=True, help="Column or JSON key of the answer.")
@click.option("--system-column", help="Column or JSON key of the system message.")
@scoring_options
@_format
def export_command(
    rules: str, transcripts: str, out: str, chosen: tuple[str, ...], number: int, by: str, not_applicable: int,
    twice: int, seed: int, prompt_column: str, response_column: str, system_column: str | None, scoring: Scoring,
    output: str,
) -> None:  # fmt: skip
    """Draw answers from TRANSCRIPTS for people to judge by rules of the policy RULES, and write them to a sheet.

    The sheet shows the question, the conversation and the answer, in random order, and nothing of verdicts, models or
    names. People write `yes`, `no`, `does not apply` or `cannot say` into the column `label`. Beside it is written a
    key, <sheet>.key.json, which holds the verdicts and how often each was drawn: keep it away from who labels. With
    --twice there is a second sheet, <sheet>-second.csv, for another person. Files that are there are not overwritten.

    Exit code 0, 1 when the policy is not sound, 2 for input that cannot be used, 3 where a part of it was left out.
    """
    from bylaw.runtime.audit.inputs import ColumnNames

    sheet, second, key = _places(out)
    compiled = compile_or_exit(rules)
    program = compiled.require()
    terms = _terms(program, chosen)
    scorers = scorers_or_exit(compiled, rules, scoring)
    columns = ColumnNames(prompt=prompt_column, response=response_column, system=system_column)
    measured = measure_or_exit(Request(compiled, transcripts, columns, scorers, (), 0))
    if not measured.record.complete:
        raise KeyboardInterrupt
    with label_sheets_refused():
        drawn, sheets = _drawn(measured, terms, number, by, not_applicable, twice, seed)
    _write_sheets(drawn, sheets, (sheet, second, key))
    _say_export(drawn, sheets, (sheet, second, key), output)
    raise SystemExit(LEFT_OUT if measured.record.problems or scorers.left_out else 0)


def _places(out: str) -> tuple[Path, Path, Path]:
    """Where the sheet, the second one and the key go; none of them is there yet."""
    sheet = Path(out)
    if sheet.suffix.lower() != ".csv":
        raise click.UsageError(f"--out names the sheet, a .csv file; `{out}` is none")
    places = sheet, sheet.with_name(f"{sheet.stem}-second.csv"), sheet.with_name(f"{sheet.stem}.key.json")
    for place in places:
        if place.exists():
            fail(
                f"`{place}` is there already, perhaps with labels in it; name another --out, or move it away", UNUSABLE
            )
    if not sheet.parent.is_dir():
        fail(f"there is no folder `{sheet.parent}`; make it first", UNUSABLE)
    return places


def _terms(program: RewardProgram, chosen: Sequence[str]) -> list[int]:
    """The places of the clauses that are labelled. A rule names all clauses of it that an answer keeps or breaks."""
    from bylaw.compiler.program import scores_in
    from bylaw.runtime.audit.inputs import quote, quote_all, suggestion

    terms = list(enumerate(program.terms))
    if not chosen:
        found = [place for place, term in terms if term.holds is not None and scores_in(term)]
        if not found:
            names = quote_all(term.id for _, term in terms if term.holds is not None)
            raise click.UsageError(f"no rule of this policy hangs on scores; name those to label with --rule: {names}")
        return found
    found = []
    for name in dict.fromkeys(chosen):
        own = [place for place, term in terms if name in (term.id, term.rule)]
        if not own:
            known = [term.id for _, term in terms]
            raise click.UsageError(
                f"there is no rule {quote(name)}{suggestion(name, known) or ': ' + quote_all(known)}"
            )
        statements = [place for place in own if terms[place][1].holds is not None]
        if not statements:
            raise click.UsageError(f"{quote(name)} measures a quantity; people judge what an answer keeps or breaks")
        found += statements
    return sorted(set(found))


def _drawn(
    measured: Measured, terms: Sequence[int], number: int, by: str, not_applicable: int, twice: int, seed: int
) -> tuple[Drawn, Sheets]:
    from bylaw.runtime.audit.audit import clause_text
    from bylaw.runtime.audit.label_sheet_files import sheets_of
    from bylaw.runtime.audit.label_sheets import By, Drawn, draw, transcripts_digest
    from bylaw.runtime.judges.under_test import models_that_answered

    program, columns = measured.request.program, measured.columns
    way: By = "random" if by == "random" else "verdict"
    drawn, silent = [], _silent(measured, terms)
    for place in terms:
        term = program.terms[place]
        clause = clause_text(measured.request.compiled.source, term)
        codes, values = columns.codes(place), columns.values(place)
        drawn.append(
            draw(
                term, clause, codes, values,
                number=number, by=way, not_applicable=not_applicable, seed=seed, silent=silent,
            )
        )  # fmt: skip
    wanted = {place for _, places in drawn for place, _ in places}
    kept: dict[int, Trace] = {}
    models: set[tuple[str, ...]] = set()

    def keeping() -> Iterator[Trace]:
        for place, trace in enumerate(measured.traces):
            if place in wanted:
                kept[place] = trace
            models.add(models_that_answered((trace,)))
            yield trace

    digest, count = transcripts_digest(keeping())
    if len(models) > 1:
        click.echo(
            f"warning: these are answers of {len(models)} models; the labels hold for all of them together and for "
            f"none by itself: judges err by another amount on each, so export a sheet for each to compare them",
            err=True,
        )
    sheets = sheets_of(drawn, lambda place: kept[place], twice=twice, seed=seed)
    made = Drawn(
        program.policy, program.version, program.digest, measured.request.transcripts, count, digest, way, seed,
        tuple(sheet for sheet, _ in drawn),
    )  # fmt: skip
    return made, sheets


def _silent(measured: Measured, terms: Sequence[int]) -> NDArray[np.bool_] | None:
    """[n] which transcripts have no answer that people could judge; None where every one has a verdict."""
    import numpy as np

    from bylaw.runtime.audit.columns import UNSCORED

    if not any((measured.columns.codes(place) == UNSCORED).any() for place in terms):
        return None
    return np.array([trace.response is None for trace in measured.traces], np.bool_)


def _write_sheets(drawn: Drawn, sheets: Sheets, places: tuple[Path, Path, Path]) -> None:
    """All files or none: what was written is taken back where a later one fails."""
    from bylaw.runtime.audit.label_sheet_files import LONGEST_CELL, table
    from bylaw.runtime.audit.label_sheets import KEY_KIND, Key, sealed
    from bylaw.spec.fixes import write_atomically

    texts = {places[0]: table(sheets.first), places[2]: sealed(Key(KEY_KIND, drawn, sheets.items))}
    if sheets.second:
        texts[places[1]] = table(sheets.second)
    done: list[Path] = []
    try:
        for place, text in texts.items():
            write_atomically(place, text)
            done.append(place)
    except (OSError, KeyboardInterrupt) as error:
        for written in done:
            written.unlink(missing_ok=True)
        if isinstance(error, KeyboardInterrupt):
            raise
        fail(f"`{place}` cannot be written: {(error.strerror or str(error)).lower()}", UNUSABLE)
    for place in done:
        click.echo(f"wrote {place}", err=True)
    if any(len(cell) > LONGEST_CELL for row in sheets.first for cell in row):
        click.echo(
            f"warning: some texts are longer than {LONGEST_CELL:,} characters, which spreadsheet programs cut off; "
            f"use a text editor or LibreOffice for this sheet",
            err=True,
        )


def _say_export(drawn: Drawn, sheets: Sheets, places: tuple[Path, Path, Path], output: str) -> None:
    if output == "json":
        data = {
            "sheet": str(places[0]),
            "second": str(places[1]) if sheets.second else None,
            "key": str(places[2]),
            "items": len(sheets.items),
            "twice": len(sheets.second),
            "rules": [
                {"rule": rule.term, "question": rule.question, "strata": [asdict(each) for each in rule.strata]}
                for rule in drawn.rules
            ],
        }
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        return
    for rule in drawn.rules:
        parts = ", ".join(f"{each.drawn:,} of {each.texts:,} {each.name}" for each in rule.strata)
        click.echo(f"{rule.term}: {parts}")
    click.echo(f"{len(sheets.items):,} answers to label in {places[0]}; keep {places[2]} away from who labels them")
    if sheets.second:
        click.echo(f"{len(sheets.second):,} of them for a second person in {places[1]}")


# ----------------------------------------------------------------------------------------------------------- import
@command.command(
    "import",
    epilog="\b\nExample:\n  bylaw label import sheet.csv sheet-second.csv --key sheet.key.json --out labels.json",
)
@click.argument("sheets", nargs=-1, required=True, type=click.Path())
@click.option("--key", "key_path", required=True, type=click.Path(), help="The key that `bylaw label export` wrote.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file of labels to write (.json).")
@click.option("--force", is_flag=True, help="Replace a file of labels that is there already; never another file.")
@_format
def import_command(sheets: tuple[str, ...], key_path: str, out: str, force: bool, output: str) -> None:
    """Check sheets that people filled in, a file a person, and write their labels for `bylaw audit --label-sheet`.

    Every item has to be there, unchanged, with one of `yes`, `no`, `does not apply` and `cannot say`; the first thing
    that is wrong is named with its line, and nothing is written. Where several people labelled the same answer, most of
    them decide, and among as many the first file does; how far they agree is shown, and on which answers they differ.
    Labels that are there already are replaced with --force only.

    Exit code 0, or 2 for a file that cannot be used.
    """
    from bylaw.runtime.audit.label_sheet_files import imported
    from bylaw.runtime.audit.label_sheets import key_of_text, sealed
    from bylaw.runtime.cli.shared import write_whole

    _free_or_exit(out, force)
    with label_sheets_refused():
        labels = imported(key_of_text(text_or_exit(key_path), key_path), sheets)
    write_whole(out, sealed(labels).encode("utf-8"))
    _say_import(labels, output)


def _free_or_exit(out: str, force: bool) -> None:
    """The file of labels is not there yet, or may be replaced: only by --force, and only where it is one of these."""
    from bylaw.runtime.audit.label_sheets import LABELS_KIND

    place = Path(out)
    if not place.exists():
        return
    if not force:
        fail(f"`{out}` is there already; name another --out, or replace it with --force", UNUSABLE)
    if f'"{LABELS_KIND}"' not in (text_or_exit(out) if place.is_file() else ""):
        fail(f"`{out}` is no file of labels, and --force replaces nothing else; name another --out", UNUSABLE)


def _say_import(labels: Labels, output: str) -> None:
    from bylaw.runtime.audit.corrected import agreement_of, settled
    from bylaw.runtime.audit.label_sheets import ANSWERS
    from bylaw.runtime.record import writable
    from bylaw.runtime.report.audit_corrected import agreement_sentence

    rules, differing = [], []
    for rule in labels.drawn.rules:
        mine = [label for label in labels.labels if label.term == rule.term]
        said = [settled(label) for label in mine]
        rules.append((rule.term, {answer: said.count(answer) for answer in ANSWERS}, agreement_of(mine)))
        differing += [
            (label.item, rule.term, label.answers)
            for label in mine
            if len({each for each in label.answers if each not in (None, "cannot say")}) > 1
        ]
    if output == "json":
        data = {
            "files": labels.files,
            "rules": [
                {"rule": term, "labels": counts, "agreement": None if of is None else asdict(of)}
                for term, counts, of in rules
            ],
            "disagreements": [
                {"item": item, "rule": term, "labels": dict(zip(labels.files, answers, strict=True))}
                for item, term, answers in differing
            ],
        }
        click.echo(json.dumps(writable(data), ensure_ascii=False, indent=2))
        return
    for term, counts, of in rules:
        click.echo(f"{term}: " + ", ".join(f"{count:,} {answer}" for answer, count in counts.items() if count))
        if of is not None:
            click.echo(f"  {agreement_sentence(of)}")
    for item, term, answers in differing[:_MOST_SHOWN]:
        said_by = ", ".join(f"{name} {answer}" for name, answer in zip(labels.files, answers, strict=True) if answer)
        click.echo(f"  item {item} ({term}): {said_by}")
    if len(differing) > _MOST_SHOWN:
        click.echo(f"  and {len(differing) - _MOST_SHOWN:,} more (--format json)")
