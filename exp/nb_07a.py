"""LSUV: initialising by measuring

Exported from nbs/07a_lsuv.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:a482765d64314d8c head:6dbdb768
__all__ = ['lsuv_init']


# %% 07a_lsuv.ipynb cell 17 #a0594434
import math
from contextlib import contextmanager

import torch
from torch import nn

from exp.nb_02b import orthogonal_
from exp.nb_06 import Hook, Hooks


# %% 07a_lsuv.ipynb cell 19 #333f0c31
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
           nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@contextmanager
def _untouched(model):
    "Eval mode, no gradients; afterwards the modes are as before, after an error the weights too."
    modes = {m: m.training for m in model.modules()}
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    try:
        with torch.no_grad():
            yield model.eval()
    except BaseException:
        model.load_state_dict(state)
        raise
    finally:
        for m, mode in modes.items():
            m.training = mode


# %% 07a_lsuv.ipynb cell 20 #c7440e0d
def _in_order(model, xb, layers):
    "The layers by name, in the order in which a forward pass first calls them. -> dict"
    names = {m: name for name, m in model.named_modules()}
    layers = [m for m in names if isinstance(m, _LAYERS)] if layers is None else list(layers)
    strangers = [type(m).__name__ for m in layers
                 if m not in names or getattr(m, 'weight', None) is None]
    if not layers or strangers:
        what = ', '.join(strangers) or 'no convolution or linear layer'
        raise ValueError(f'lsuv_init: {what} found; layers must be modules of this model that '
                         'have a weight')
    called = {}
    with Hooks(layers, lambda module, inp, out: called.setdefault(names[module], module)):
        model(xb)
    missing = [names[m] for m in layers if names[m] not in called]
    if missing:
        raise ValueError(f'lsuv_init: the forward pass never calls {", ".join(missing)}; '
                         'pass the layers that it does call as layers=[…]')
    return called


# %% 07a_lsuv.ipynb cell 22 #106662aa
def _output_std(model, xb, layer):
    "Standard deviation of all that `layer` puts out in one forward pass of the model. -> float"
    outs = []    # copied: what follows may work in place
    with Hook(layer, lambda module, inp, out: outs.append(_numbers(out).flatten().clone())):
        model(xb)
    return torch.cat(outs).std().item()


def _numbers(out):
    "The output itself, in at least float32."
    return out.float() if out.dtype in (torch.float16, torch.bfloat16) else out


# %% 07a_lsuv.ipynb cell 24 #c74039a9
def _scale_layer(model, xb, name, layer, target_std, tol, max_iter):
    "Scale one weight until the output has the target std. -> (std before, std after, scalings)"
    before = std = _output_std(model, xb, layer)
    for i in range(max_iter + 1):
        if not (math.isfinite(std) and std > 0):
            raise ValueError(f'lsuv_init: the output of {name} has std {std}, which no '
                             'factor mends: is its weight zero, or its input dead or empty?')
        if abs(std / target_std - 1) <= tol:
            return before, std, i
        if i < max_iter:
            layer.weight.mul_(target_std / std)
            std = _output_std(model, xb, layer)
    raise RuntimeError(f'lsuv_init: after {max_iter} scalings the output of {name} has std '
                       f'{std:.3g}, not {target_std:g} (tol {tol:g}). Is its bias too large? '
                       'Allow more by max_iter or tol')


# %% 07a_lsuv.ipynb cell 26 #78644911
def lsuv_init(model, xb, target_std=1., tol=.01, max_iter=10, init=orthogonal_, layers=None):
    """Scale each weight so that the layer's output has std `target_std` on a batch. -> list of dict

    model: any module, changed in place; modes, hooks and buffers are as before · xb: a batch that
    `model(xb)` takes, on the model's device, normalised as in training; some hundred samples ·
    tol: relative deviation allowed · max_iter: scalings per layer at most · init: fills each
    weight first, None keeps the weights; biases stay · layers: the modules to scale (default: all
    convolutions and linear layers), done in the order in which the forward pass calls them. The
    result has one dict per layer: name, before, after (std of the output before and after
    scaling), iterations. Raises ValueError for bad numbers, layers that are never called, and
    outputs that are constant or not finite; RuntimeError if a layer is not within tol after
    max_iter. The model then is as it was. Source: Mishkin and Matas 2015, arXiv 1511.06422,
    algorithm 1.
    """
    if not (target_std > 0 and tol > 0 and isinstance(max_iter, int) and max_iter > 0):
        raise ValueError('lsuv_init: target_std and tol must be positive and max_iter a whole '
                         f'number ≥ 1, not {target_std!r}, {tol!r} and {max_iter!r}')
    rows = []
    with _untouched(model):
        ordered = _in_order(model, xb, layers)
        for layer in ordered.values():
            if init is not None:
                init(layer.weight)
        for name, layer in ordered.items():
            before, after, n = _scale_layer(model, xb, name, layer, target_std, tol, max_iter)
            rows.append(dict(name=name, before=before, after=after, iterations=n))
    return rows


# cell hashes: a0594434:dcfb37cc 333f0c31:aa677f79 c7440e0d:30fe4dd9 106662aa:46ef48a9
#   c74039a9:dfe35886 78644911:e3300dd5
