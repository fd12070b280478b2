"""What a policy compiles to besides its reward program: data sets, reward functions, questions, a prompt, engines.

One file is one target; `catalog` lists them without importing one. A target makes files out of a sound policy (and data
that somebody else has read); `writing` puts them into a folder, whole or not at all.
"""
