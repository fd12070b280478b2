"""The law inside other people's generation loops: transformers and vLLM.

Importing this package loads none of them, nor torch; each module loads what it is for.

    prefixes                 the token-level part of a law along beginnings of responses, for any loop
    transformers_processor   `LawProcessor`, a logits processor for `generate`, with the exact weights of what it made
    transformers_generate    `LawGeneration`, for `generate(custom_generate=...)`: our decoders on a loaded model
    vllm_processor           a logits processor for vLLM's batches, rules by request

A logits processor can carry the proposal only: which token comes next. What makes samples follow the law is their
weights, so each of these has a way to get them.
"""
