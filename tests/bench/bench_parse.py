"""How long a policy takes to parse and to resolve, against Lark's own parser of the same grammar on the same text.

    python tests/bench/bench_parse.py

All in one run, in turns, the best of several rounds in processor time: `bare Lark` is its LALR parser with the
contextual lexer, building plain trees; `parse` makes the typed tree with spans and diagnostics; `check` is the whole
command on a file of 50 rules in a new process, against one that only imports what the command needs.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bylaw.spec import grammar_tables
from bylaw.spec.loader import load
from bylaw.spec.parser import parse
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source

GRAMMAR = Path(grammar_tables.__file__).with_name("grammar.lark")
ROUNDS, COLD_ROUNDS = 7, 9
HEAD = """policy bench.rules version "1.0.0" edition 1
levels root > developer > user
param longest : number = 120 between 10 and 900 "words"
lexicon greetings = ["good morning", "good afternoon", /hi( there)?/i]
define is_long as number of words in prompt > longest
"""
RULE = """
# Number {n} of the rules that somebody wrote down in the spring.
rule rule_{n} "What to do in case {n}" at developer {{
  because "Case {n} came up twice; people asked for a rule."
  when prompt contains "topic {n}" and not is_long
  must have at most 1{n:03} words
  response should not mention any of ["phrase {n}", "wording {n}"] weight 0.5
  complies "An answer that names nothing."
}}
"""


def policy(rules: int) -> str:
    """The text of a policy."""
    return HEAD + "".join(RULE.format(n=number) for number in range(1, rules + 1))


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def parse_and_resolve(text: str) -> None:
    """Both; the text has to be sound."""
    parsed = parse(Source("bench.bylaw", text))
    parsed.require()
    resolution = resolve(load(parsed, None))
    assert resolution.ok, resolution.diagnostics[:3]


def cold(*arguments: str) -> float:
    """Processor time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the times and their ratios."""
    text = policy(1000)
    lark = grammar_tables.build_parser(GRAMMAR.read_text(encoding="utf-8"))
    works: dict[str, Callable[[], object]] = {
        "bare Lark": lambda: lark.parse(text),
        "parse": lambda: parse(Source("bench.bylaw", text)).require(),
        "parse + resolve": lambda: parse_and_resolve(text),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            best[name] = min(best[name], seconds(work))
    print(f"1,000 rules, {len(text):,} characters; Python {sys.version.split()[0]}; best of {ROUNDS} rounds")
    for name, taken in best.items():
        print(f"  {name:<16} {taken:.3f} s   {taken / best['bare Lark']:.2f} x bare Lark")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.bylaw"
        file.write_text(policy(50), encoding="utf-8")
        commands = {
            "imports": ("-c", "import bylaw.runtime.cli.check, bylaw.compiler.pipeline"),
            "check": ("-m", "bylaw", "check", str(file)),
        }
        coldest = dict.fromkeys(commands, float("inf"))
        for _ in range(COLD_ROUNDS):
            for name, arguments in commands.items():
                coldest[name] = min(coldest[name], cold(*arguments))
    print(f"`bylaw check` of 50 rules in a new process, best of {COLD_ROUNDS}")
    for name, taken in coldest.items():
        print(f"  {name:<16} {taken:.3f} s   {taken / coldest['imports']:.2f} x imports")


if __name__ == "__main__":
    main()
