"""Probes: prompts that show how a model keeps the rules of a policy, made from the rules themselves."""
