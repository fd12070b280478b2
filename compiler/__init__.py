"""From typed rules to one law: the reward program, its evaluator, automata and the dual. Imports only `bylaw.spec`."""

if __name__ != "bylaw.compiler":
    raise ImportError("import bylaw.compiler, not compiler")
