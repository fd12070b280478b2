"""The least number of characters to insert, delete or replace to make one text of another (Levenshtein's distance).

Myers, A fast bit-vector algorithm for approximate string matching (1999), in Hyyrö's form for whole texts, with one
long bit vector. The time grows with the product of the lengths, so longer texts than 20,000 characters have no value.
"""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT, not_longer

LONGEST = 20_000


def value(text: str, other: str) -> float:
    left, right = not_longer(text, LONGEST), not_longer(other, LONGEST)
    if not left or not right:
        return float(max(len(left), len(right)))
    places: dict[str, int] = {}
    for place, character in enumerate(left):
        places[character] = places.get(character, 0) | 1 << place
    return float(_distance(places, len(left), right))


def _distance(places: dict[str, int], length: int, right: str) -> int:
    full, last = (1 << length) - 1, 1 << (length - 1)
    up, down, distance = full, 0, length
    for character in right:
        same = places.get(character, 0)
        diagonal = ((((same & up) + up) ^ up) | same | down) & full
        more, less = (down | ~(diagonal | up)) & full, up & diagonal
        distance += bool(more & last) - bool(less & last)
        more, less = (more << 1 | 1) & full, less << 1 & full
        up, down = (less | ~(diagonal | more)) & full, more & diagonal
    return distance


FUNCTION = Function(
    summary="how many characters have to change to make one text of another",
    parameters=(TEXT, Parameter("other", "text")),
    result="number",
    value=value,
    examples=(
        FunctionExample(("kitten", "sitting"), 3.0),
        FunctionExample(("", "abc"), 3.0),
        FunctionExample(("same", "same"), 0.0),
    ),
)
