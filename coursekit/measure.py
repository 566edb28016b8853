"""What a notebook's process is asked at the end of a notebook that passed."""
from __future__ import annotations

import sys


def parameters(names: dict) -> int | None:
    """How many parameters the largest model has that a notebook holds; None if it holds none.

    names: the notebook's variables. A model is a `torch.nn.Module`, or one in another object's
    attribute `model`, such as a learner's.
    """
    torch = sys.modules.get('torch')
    if torch is None:
        return None
    held = list(names.values())
    held += [own(value).get('model') for value in held]
    models = [m for m in held if isinstance(m, torch.nn.Module)]
    return max((sum(p.numel() for p in m.parameters()) for m in models), default=None)


def own(value) -> dict:
    "An object's own attributes, without running any code of its class."
    try:
        return object.__getattribute__(value, '__dict__')
    except AttributeError:
        return {}


def model_size(names: dict) -> int | None:
    "`parameters`, whatever the notebook holds: odd objects must not fail a run."
    try:
        return parameters(names)
    except Exception:
        return None
