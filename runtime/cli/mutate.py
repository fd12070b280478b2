"""`bylaw mutate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from bylaw.compiler.mutants.text import OPERATORS
from bylaw.runtime.cli import INTERRUPTED
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import GATE_FAILED, POLICY_ERROR, UNUSABLE, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from bylaw.compiler.mutants import Bench, Edit, Plan, Report, Settings, Tried
    from bylaw.spec.source import Source

MOST_LINES = 6
"""Lines of one change that are shown."""
_OPERATOR_HELP = "\b\nOperators:\n" + "\n".join(f"  {name:10}  {what}" for name, what in OPERATORS.items())


class _Operators(click.ParamType[tuple[str, ...]]):
    """Names of operators with commas between."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value
        for name in names:
            if name not in OPERATORS:
                self.fail(f"there is no operator `{name}`; there are {', '.join(OPERATORS)}", param, ctx)
        return tuple(names)


@click.command("mutate", epilog=_OPERATOR_HELP)
@click.argument("rules", nargs=-1, required=True, type=PolicyPath())
@click.option("-k", "--rule", "rule", default="", metavar="NAME", help="Change only what has NAME in its name.")
@click.option("--operators", type=_Operators(), default=(), help="Make only these changes: names from the list below.")
@click.option("--max", "most", type=click.IntRange(1), help="Try a sample of so many changes a file.")
@click.option("--seed", default=0, show_default=True, help="What samples are drawn with.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes that try changes."
)
@click.option("--fail-under", type=click.FloatRange(0, 100), help="Exit with 4 when the score (%) of a file is lower.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the results.",
)
def command(
    rules: tuple[str, ...], rule: str, operators: tuple[str, ...], most: int | None, seed: int, workers: int,
    fail_under: float | None, output: str,
) -> None:  # fmt: skip
    """Change policies in small ways, and see whether their examples and tests notice.

    Each change makes a mutant: a policy in which one rule says something else, such as `at most 80` for `at most 81`.
    Where an example or a test fails, the change was noticed. Where none does, that rule could be wrong without anybody
    knowing; the change is shown, with an example to add that would tell the two apart, as the policy judges it now.
    Look at it before you add it: perhaps the rule is not what you meant.

    The score is the share of changes that were noticed. Changes that are proved to say the same, or that leave no
    sound policy, do not count. What no example can show (weights, reasons, bounds of limits) is not changed.

    Exit code 0 when all was tried, 1 when a policy is not sound or its own examples fail (nothing is changed then), 2
    when a file cannot be read, 4 when a score is below --fail-under, 130 when interrupted: what is known by then is
    printed.
    """
    from bylaw.compiler.mutants import Settings

    settings = Settings(rule=rule, operators=operators, most=most, seed=seed)
    code, files = 0, []
    for path in rules:
        done = _file(path, settings, workers, output)
        code = max(code, done.pop("code"))
        score = done["score"]
        if fail_under is not None and score is not None and score * 100 < fail_under:
            code = max(code, GATE_FAILED)
        files.append(done)
        if code == INTERRUPTED:
            break
    if output == "json":
        click.echo(json.dumps({"ok": code == 0, "files": files}, ensure_ascii=False, indent=2))
    raise SystemExit(code)


def _file(path: str, settings: Settings, workers: int, output: str) -> dict[str, Any]:
    """One file: prints what was found, or gives it as JSON values; `code` is its exit code."""
    from pathlib import Path

    from bylaw.compiler.mutants import Bench, plan, report
    from bylaw.spec.errors import PolicyError, SourceError, to_json
    from bylaw.spec.source import Source

    try:
        bench = Bench(Source.read(path), Path(path))
    except PolicyError as error:
        wrong = [each for each in error.diagnostics if each.is_error]
        if output == "text":
            show(wrong, error.source)
            click.echo(f"{path}: not sound, so nothing was changed")
        found = [to_json(each, error.source) for each in wrong]
        code = UNUSABLE if isinstance(error, SourceError) else POLICY_ERROR
        return {"path": path, "code": code, "score": None, "diagnostics": found}
    planned = plan(bench, settings)
    if settings.rule and not planned.edits:
        raise click.UsageError(f"nothing in `{path}` that can be changed has `{settings.rule}` in its name")
    tried: list[Tried] = []
    is_complete = _try_all(path, bench, planned, workers, tried)
    made = report(planned, tried)
    if output == "text":
        _print(path, made, bench.source, is_complete)
    return {"path": path, "code": 0 if is_complete else INTERRUPTED, **_data(made, bench.source, is_complete)}


# ---------------------------------------------------------------------------------------------------------- trying
@cache
def _bench(path: str) -> Bench:
    """The policy that is tried, once in each process beside the first."""
    from pathlib import Path

    from bylaw.compiler.mutants import Bench
    from bylaw.spec.source import Source as Text

    return Bench(Text.read(path), Path(path))


def _judge(task: tuple[str, Edit]) -> Tried:
    return _bench(task[0]).judge(task[1])


def _ignore_interrupts() -> None:
    """The first process ends the others."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _try_all(path: str, bench: Bench, planned: Plan, workers: int, tried: list[Tried]) -> bool:
    """Tries everything; what is known goes to `tried`. False where it was interrupted."""
    try:
        with _results(path, bench, planned, workers) as results, _bar(path, len(planned.edits)) as advance:
            for each in results:
                tried.append(each)
                advance()
    except KeyboardInterrupt:
        return False
    return True


@contextmanager
def _results(path: str, bench: Bench, planned: Plan, workers: int) -> Iterator[Iterator[Tried]]:
    """What becomes of the mutants, in any order."""
    if workers == 1 or len(planned.edits) < 2:
        yield map(bench.judge, planned.edits)
        return
    from multiprocessing import get_context

    tasks = [(path, edit) for edit in planned.edits]
    with get_context("spawn").Pool(min(workers, len(tasks)), _ignore_interrupts) as pool:
        yield pool.imap_unordered(_judge, tasks, chunksize=4)


@contextmanager
def _bar(path: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with shown as bar:
        task = bar.add_task(path, total=total)
        yield lambda: bar.update(task, advance=1)


# -------------------------------------------------------------------------------------------------------- printing
def _print(path: str, made: Report, source: Source, is_complete: bool) -> None:
    from bylaw.compiler.mutants import as_syntax, difference, place

    for each in made.survivors:
        edit = each.edit
        click.echo(f"{path}:{place(source, edit)}: no example notices this change ({edit.operator})")
        before, after = difference(source, edit)
        for mark, lines in (("-", before), ("+", after)):
            for line in lines[:MOST_LINES]:
                click.echo(f"  {mark} {line}")
            if len(lines) > MOST_LINES:
                click.echo(f"  {mark} ... ({len(lines) - MOST_LINES} more lines)")
        if each.telling is None:
            click.echo("  no example was found that tells the two apart")
        else:
            rule = each.telling.example.rule
            click.echo(f"  add this example to `{rule}` (changed, the policy would say `{each.telling.mutant}`):")
            for line in as_syntax(each.telling.example).splitlines():
                click.echo(f"    {line}")
        click.echo()
    click.echo(f"{path}: {_score(made)}{'' if is_complete else f'; interrupted after {len(made.tried)}'}")
    for line in _rest(made):
        click.echo(f"  {line}")


def _score(made: Report) -> str:
    killed, survived = made.count("killed"), made.count("survived")
    sample = f" of a sample of {made.planned} of {made.made}" if made.planned < made.made else ""
    if made.score is None:
        return f"nothing to notice{sample}"
    return f"{killed} of {killed + survived} changes{sample} are noticed: score {made.score:.1%}"


def _rest(made: Report) -> Iterator[str]:
    """What is not in the score, and why."""
    said = {
        "equivalent": "proved to say the same",
        "duplicate": "the same as another change",
        "unseen": "a level or a strength that no verdict depends on",
        "invalid": "no sound policy",
    }
    parts = [f"{count} {what}" for status, what in said.items() if (count := made.count(status))]
    if parts:
        yield f"not in the score: {'; '.join(parts)}"
    for reason, count in made.left_out.items():
        yield f"not changed: {reason} ({count})"


def _data(made: Report, source: Source, is_complete: bool) -> dict[str, Any]:
    """A report as JSON values."""
    statuses = ("killed", "survived", "equivalent", "duplicate", "unseen", "invalid")
    return {
        "score": made.score,
        "complete": is_complete,
        "made": made.made,
        "planned": made.planned,
        "counts": {status: made.count(status) for status in statuses},
        "operators": {name: {"noticed": seen, "of": total} for name, (seen, total) in made.operators.items()},
        "not_changed": dict(made.left_out),
        "mutants": [_mutant(each, source) for each in made.tried],
    }


def _mutant(tried: Tried, source: Source) -> dict[str, Any]:
    from bylaw.compiler.mutants import as_syntax, difference, place

    before, after = difference(source, tried.edit)
    data: dict[str, Any] = {
        "line": place(source, tried.edit),
        "operator": tried.edit.operator,
        "declaration": tried.edit.owner,
        "before": list(before),
        "after": list(after),
        "status": tried.status,
        "rules": list(tried.rules),
    }
    if tried.code:
        data["code"] = tried.code
    if tried.by is not None:
        data["noticed_in_line"] = source.position(tried.by)[0]
    if tried.telling is not None:
        data["example"] = {
            "rule": tried.telling.example.rule,
            "text": as_syntax(tried.telling.example),
            "verdict": tried.telling.example.verdict,
            "with_the_change": tried.telling.mutant,
        }
    return data
