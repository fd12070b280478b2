"""Running a model on prompts for an audit: every sample once, kept at once, and gone on with after any end.

`plan` says which samples there are to be, `store` keeps them, `endpoint` and `local` bring them, `run` does what is
missing, `export` writes them as transcripts and says how the run stands. Exception root: `RunningError`.
"""
