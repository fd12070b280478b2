"""The policy language: text in, typed rules out. Imports nothing else of ours."""

if __name__ != "bylaw.spec":
    raise ImportError("import bylaw.spec, not spec")
