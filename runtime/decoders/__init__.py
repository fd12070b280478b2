"""Ways to sample from the law of a policy. One file is one decoder, named after it; `interface` says what they share.

Importing this package imports nothing else: the decoders need numpy and an automaton, none of them needs torch.
"""
