"""Answers under a policy: what it takes to prepare a law for prompts, and answers as they are handed out and kept."""
