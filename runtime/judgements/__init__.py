"""Judgements of people about answers: read from files, compared, and turned into the weights of a policy."""
