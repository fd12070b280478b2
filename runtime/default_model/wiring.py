"""A starting point for the weights that can already copy from its context.

A small network needs most of a short training run to discover copying, and order numbers are all about copying. So
the first two layers start with the known circuit for it. Heads of layer 0 look one and two tokens back and write a code
of what they see; heads of layer 1 look for the place where the last two tokens occurred before and pass on the token
that followed. All of it is ordinary weights, which training is free to change.
"""

from __future__ import annotations

import math
from typing import Any

import torch

_LOOK_BACK = (1, 2)
_SHARPNESS = 6.0
_POSITION_PAIRS = 8  # fast rotary pairs, which tell neighbours apart
_FIRST_SLOW_PAIR = 7  # pairs from here on turn so slowly that content can be compared across a whole prompt
_LAST_CODE = 16
_BEFORE_LAST_CODE = 10
_WRITE, _MATCH, _COPY = 0.25, 2.5, 0.4


def wire_copying(model: Any) -> None:
    """Overwrite a few heads of the first two layers; the rest stays random."""
    with torch.no_grad():
        for layer in model.model.layers:
            # Small outputs keep the untrained parts from drowning the circuit.
            scale = 0.05
            layer.self_attn.o_proj.weight.mul_(scale)
            layer.mlp.down_proj.weight.mul_(scale)
        width, size = model.config.hidden_size, model.config.head_dim
        basis, _ = torch.linalg.qr(torch.randn(width, width))
        code = basis[:, :_LAST_CODE].T
        written = (basis[:, 16:32], basis[:, 32 : 32 + _BEFORE_LAST_CODE])
        first, second = (model.model.layers[k].self_attn for k in (0, 1))
        for head, back in enumerate(_LOOK_BACK):
            _look_back(model.config, first, head, back)
            rows = slice(head * size, (head + 1) * size)
            length = written[head].shape[1]
            first.v_proj.weight[rows] = 0.0
            first.v_proj.weight[head * size : head * size + length] = code[:length]
            first.o_proj.weight[:, rows] = 0.0
            first.o_proj.weight[:, head * size : head * size + length] = _WRITE * written[head]
        slow = list(range(_FIRST_SLOW_PAIR, size // 2))
        slow += [k + size // 2 for k in slow]
        for head in (0, 1):
            rows = torch.tensor(slow) + head * size
            second.q_proj.weight[head * size : (head + 1) * size] = 0.0
            second.k_proj.weight[head * size : (head + 1) * size] = 0.0
            own, before = rows[:_LAST_CODE], rows[_LAST_CODE : _LAST_CODE + _BEFORE_LAST_CODE]
            second.q_proj.weight[own] = _MATCH * code
            second.k_proj.weight[own] = _MATCH * written[0].T
            second.q_proj.weight[before] = _MATCH * written[0][:, :_BEFORE_LAST_CODE].T
            second.k_proj.weight[before] = _MATCH * written[1].T
            passed_on = basis[:, 48 + head * size : 48 + (head + 1) * size]
            second.v_proj.weight[head * size : (head + 1) * size] = passed_on.T
            second.o_proj.weight[:, head * size : (head + 1) * size] = _COPY * passed_on


def _look_back(config: Any, attention: Any, head: int, back: int) -> None:
    """Make a head attend ``back`` tokens back, by biases alone: rotary embedding turns them into a distance."""
    size = config.head_dim
    rows = slice(head * size, (head + 1) * size)
    attention.q_proj.weight[rows] *= 0.1
    attention.k_proj.weight[rows] *= 0.1
    for pair in range(_POSITION_PAIRS):
        angle = back * config.rope_parameters["rope_theta"] ** (-pair / (size // 2))
        attention.k_proj.bias[head * size + pair] = _SHARPNESS
        attention.q_proj.bias[head * size + pair] = _SHARPNESS * math.cos(angle)
        attention.q_proj.bias[head * size + pair + size // 2] = -_SHARPNESS * math.sin(angle)
