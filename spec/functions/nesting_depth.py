"""How deep brackets stand inside brackets: round, square and curly ones; 0 without any.

A closing bracket closes the latest opening one of its kind, and what was opened after that; one that closes nothing is
passed over. Brackets that are never closed do not count.
"""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT

CLOSING = {")": "(", "]": "[", "}": "{"}


def value(text: str) -> float:
    deepest = 0
    opened: list[tuple[str, int]] = []  # each open bracket with the depth of what was closed inside it
    waiting = dict.fromkeys(CLOSING.values(), 0)
    for character in text:
        if character in waiting:
            opened.append((character, 0))
            waiting[character] += 1
        elif character in CLOSING and waiting[CLOSING[character]]:
            inner = 0
            while True:
                bracket, depth = opened.pop()
                waiting[bracket] -= 1
                inner = max(inner, depth)
                if bracket == CLOSING[character]:
                    break
            deepest = max(deepest, inner + 1)
            if opened:
                opened[-1] = (opened[-1][0], max(opened[-1][1], inner + 1))
    return float(deepest)


FUNCTION = Function(
    summary="how deep brackets stand inside brackets",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("a (b [c {d}]) (e)",), 3.0),
        FunctionExample(("((( :-)",), 1.0),
        FunctionExample(("none)",), 0.0),
    ),
)
