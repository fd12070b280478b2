"""Audits: sources of transcripts, verdicts in columns, statistics, and what compares two of them."""
