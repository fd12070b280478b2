"""Automata over characters: patterns and counts as languages and values, their algebra, and their token tables.

Everything but `tokens` is pure Python, and this package imports none of it by itself, so that checking a policy starts
fast.
"""

if __name__ != "bylaw.compiler.automata":
    raise ImportError("import bylaw.compiler.automata, not compiler.automata")
