"""`bylaw conflicts`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import GATE_FAILED, POLICY_ERROR, fail, show

if TYPE_CHECKING:
    from bylaw.compiler.conflict_matrix import Matrix, Pair
    from bylaw.compiler.pipeline import Compiled

SIGNS = {"apart": " ", "contradict": "x", "same": "=", "implies": ">", "implied": "<", "free": ".", "open": "?"}
LEGEND = (
    "x no text obeys both   > whatever obeys the row obeys the column   < the other way round   = both\n"
    ". free of each other   ? not decided   blank: never in force together"
)
LARGEST_TABLE = 40
"""Sentences; of more, only the pairs that are not free of each other are listed."""
LONGEST_WITNESS = 60


@click.command("conflicts")
@click.argument("rules", type=PolicyPath())
@click.option("--rule", "chosen", multiple=True, metavar="NAME", help="Show this rule against all others; repeatable.")
@click.option("--cache/--no-cache", "is_cached", default=True, help="Keep what was proved for the next time.")
@click.option(
    "--gate", "is_gate", is_flag=True, help="Exit with 4 when two sentences of one level contradict each other."
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the matrix.",
)
def command(rules: str, chosen: tuple[str, ...], is_cached: bool, is_gate: bool, output: str) -> None:
    """Show how each two sentences of a policy stand to each other: which contradict each other, which imply which.

    Each answer is a proof, or comes with a text that obeys both sentences. Rules about conversations and facts are not
    in the matrix: proofs speak of answers.

    Exit code 0 when the matrix was made, 1 when the policy cannot be read as rules, 2 when the file cannot be read, 4
    with --gate when sentences of one level contradict each other wherever one of them applies.
    """
    from bylaw.compiler.conflict_matrix import Matrix

    compiled = _resolved(rules)
    found: Matrix | None = None
    for each in _progress(compiled, rules, chosen, is_cached):
        if isinstance(each, Matrix):
            found = each
    assert found is not None
    if output == "json":
        click.echo(_as_json(found))
    else:
        _print(found, bool(chosen))
    clashes = [p for p in found.pairs if p.relation == "contradict" and p.winner is None and p.where is None]
    raise SystemExit(GATE_FAILED if is_gate and clashes else 0)


def _resolved(path: str) -> Compiled:
    """The policy as far as its names are known; contradictions are what is asked about, so they are no obstacle."""
    from bylaw.compiler.pipeline import compile_file
    from bylaw.runtime.cli.shared import UNUSABLE
    from bylaw.spec.errors import PolicyError

    try:
        compiled = compile_file(path)
    except PolicyError as error:
        show(error.diagnostics, error.source)
        raise SystemExit(UNUSABLE) from None
    if compiled.regulators is None or compiled.draft is None:
        show([each for each in compiled.diagnostics if each.is_error], compiled.source)
        raise SystemExit(POLICY_ERROR)
    return compiled


def _progress(compiled: Compiled, path: str, chosen: tuple[str, ...], is_cached: bool) -> list[Pair | Matrix]:
    """All pairs and the matrix, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    from bylaw.compiler.conflict_matrix import matrix, sentences_of
    from bylaw.compiler.proof_memory import load, save
    from bylaw.compiler.witnesses import LIKELY_TEXTS, Witnesses
    from bylaw.runtime.cache import proof_memory

    assert compiled.regulators is not None
    rules = {each.rule for each in compiled.regulators.regulators}
    for name in chosen:
        if name not in rules:
            from bylaw.spec import catalog

            nearest = catalog.nearest(name, tuple(sorted(rules)))
            fail(f"there is no rule called `{name}`" + (f"; did you mean `{nearest}`?" if nearest else ""), 2)
    file = proof_memory(f"{path}#conflicts")
    memory = load(file) if is_cached else None
    witnesses = Witnesses() if memory is None else memory.witnesses()
    for text in LIKELY_TEXTS:
        witnesses.add(text)
    demands, _ = sentences_of(compiled.regulators)
    witnesses.is_thorough = len(demands) > LARGEST_TABLE
    total = len(demands) * (len(demands) - 1) // 2 + 1
    pairs = matrix(compiled.regulators, witnesses, chosen, len(demands) <= LARGEST_TABLE)
    console = Console(stderr=True)
    found = list(
        track(pairs, "Comparing rules", total, console=console, disable=not console.is_terminal, transient=True)
    )
    if is_cached and witnesses.is_thorough:
        from contextlib import suppress

        with suppress(OSError):  # it only saves time
            save(file, witnesses)
    return found


def _as_json(found: Matrix) -> str:
    from dataclasses import asdict

    data = {
        "sentences": [{"id": name, "level": level} for name, level in found.sentences],
        "left_out": list(found.left_out),
        "counts": _counts(found),
        "pairs": [{key: value for key, value in asdict(pair).items() if value is not None} for pair in found.pairs],
    }
    return json.dumps(data, ensure_ascii=False, indent=2)


def _counts(found: Matrix) -> dict[str, int]:
    return {relation: sum(pair.relation == relation for pair in found.pairs) for relation in SIGNS}


def _print(found: Matrix, is_part: bool) -> None:
    if not is_part and 1 < len(found.sentences) <= LARGEST_TABLE:
        click.echo(_table(found))
        click.echo(f"\n{LEGEND}\n")
    for pair in found.pairs:
        if is_part or pair.relation in ("contradict", "same", "implies", "implied", "open"):
            click.echo(_line(pair))
    counts = _counts(found)
    total = len(found.pairs)
    click.echo(
        f"{len(found.sentences)} sentences, {total} pairs: {counts['contradict']} contradict each other, "
        f"{counts['same'] + counts['implies'] + counts['implied']} where one implies the other, {counts['open']} not "
        f"decided, {counts['apart']} never in force together"
    )
    if found.left_out:
        names = ", ".join(f"`{name}`" for name in found.left_out)
        click.echo(f"not in the matrix, because they depend on more than the answer: {names}")


def _table(found: Matrix) -> str:
    """The lower triangle, one row a sentence; columns have the numbers of the rows."""
    numbers = {name: number for number, (name, _) in enumerate(found.sentences)}
    cells = {(numbers[pair.second], numbers[pair.first]): pair.relation for pair in found.pairs}
    turned = {"implies": "implied", "implied": "implies"}
    width = max(len(f"{name} {level}") for name, level in found.sentences)
    digits = len(str(len(found.sentences)))
    head = " ".join(f"{number + 1:>{digits}}" for number in range(len(found.sentences)))
    rows = [f"{'':{width + digits + 1}}  {head}"]
    for row, (name, level) in enumerate(found.sentences):
        signs = (SIGNS[turned.get(cells[row, column], cells[row, column])] for column in range(row))
        shown = " ".join(f"{sign:>{digits}}" for sign in signs)
        rows.append(f"{row + 1:>{digits}} {name:{width - len(level) - 1}} {level}  {shown}".rstrip())
    return "\n".join(rows)


def _line(pair: Pair) -> str:
    first, second = f"`{pair.first}`", f"`{pair.second}`"
    text = ""
    if pair.witness is not None:
        shown = pair.witness if len(pair.witness) <= LONGEST_WITNESS else pair.witness[:LONGEST_WITNESS] + "..."
        text = f"; {shown!r} obeys both"
    match pair.relation:
        case "contradict":
            won = f", and `{pair.winner}` stands above" if pair.winner else ", and both stand at one level"
            met = f" where {pair.where}" if pair.where else ""
            return f"{first} and {second} contradict each other{met}{won} ({pair.proof})"
        case "same":
            return f"{first} and {second} say the same ({pair.proof})"
        case "implies":
            return f"whatever obeys {first} obeys {second} ({pair.proof})"
        case "implied":
            return f"whatever obeys {second} obeys {first} ({pair.proof})"
        case "open":
            return f"{first} and {second}: not decided ({pair.why})"
        case "apart":
            return f"{first} and {second} are never in force together"
    return f"{first} and {second} are free of each other{text}" + (f"; {pair.why}" if pair.why else "")
