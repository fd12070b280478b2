"""Everything that runs: models, decoders, audits, reports and the command line."""

if __name__ != "bylaw.runtime":
    raise ImportError("import bylaw.runtime, not runtime")
