"""Fully connected: the forward and the backward pass

Exported from nbs/02_fully_connected.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:d19b90dcb7fd361e head:e3aca0ae
__all__ = ['normalize', 'mse', 'peak_memory', 'Module', 'ReLU', 'Linear', 'MSE']


# %% 02_fully_connected.ipynb cell 17 #9ddb87aa
import math

import torch


# %% 02_fully_connected.ipynb cell 18 #c81ee822
def normalize(x, mean, std):
    """(x − mean) / std: the scale that weights expect. Any shape -> the same shape.

    x: a tensor · mean, std: numbers, or tensors that broadcast to the shape of `x`, taken from the
    *training* data and used unchanged for all other data. Raises ValueError for an std that is not
    finite and above 0 (a constant feature), and where broadcasting would change the shape of `x`.
    """
    s = torch.as_tensor(std)
    bad = ~((s > 0) & s.isfinite())
    if bad.any():
        raise ValueError(f'normalize: {int(bad.sum())} of {s.numel()} values of std are not finite '
                         'and above 0. A feature that never changes has std 0: drop it, or pass 1')
    out = (x - mean) / std
    if out.shape != x.shape:
        raise ValueError(f'normalize: x is {tuple(x.shape)}, but mean and std broadcast it to '
                         f'{tuple(out.shape)}; keep their axes aligned with those of x')
    return out


# %% 02_fully_connected.ipynb cell 63 #1fa46cee
def mse(preds, targ):
    """Mean squared error, the mean of (preds − targ)² over all elements: two of a shape -> a scalar

    Raises ValueError if the shapes differ, where broadcasting would compare every prediction with
    every target, and TypeError if both are whole numbers.
    """
    if preds.shape != targ.shape:
        raise ValueError(f'mse: preds {tuple(preds.shape)} and targ {tuple(targ.shape)} differ in '
                         'shape; bring them to one, for example with preds[:, 0] or targ[:, None]')
    diff = preds - targ
    if not diff.is_floating_point():
        raise TypeError(f'mse: {preds.dtype} and {targ.dtype}; one must be floating point')
    return diff.square().mean()


# %% 02_fully_connected.ipynb cell 86 #8aca6064
import json
import os
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.profiler import profile


def peak_memory(f):
    """Most memory that torch held at a moment during `f()`, on top of what it held before. -> bytes

    Counts the blocks of torch's own allocators (CPU and GPU) as the profiler records them; scratch
    space inside a library such as MKL is not seen.
    """
    os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # or it reports each start and stop on stderr
    with profile(profile_memory=True) as prof:
        f()
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'trace.json'
        prof.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    blocks = sorted((e for e in events if e.get('name') == '[memory]'), key=lambda e: e['ts'])
    return max(accumulate((e['args']['Bytes'] for e in blocks), initial=0))


# %% 02_fully_connected.ipynb cell 133 #4b48c948
def _grad_for(layer, grad):
    "`grad`, if it fits the latest output of `layer`; 1 for an output of one number; else an error."
    name, out = type(layer).__name__, layer.out
    if out is None:
        raise RuntimeError(f'{name}.backward: nothing to go back through: call it on an input')
    if grad is None and out.numel() == 1:
        return torch.ones_like(out)
    if grad is None or grad.shape != out.shape:
        got = 'no gradient' if grad is None else f'a gradient of shape {tuple(grad.shape)}'
        raise ValueError(f'{name}.backward: {got} for an output of shape {tuple(out.shape)}')
    return grad


# %% 02_fully_connected.ipynb cell 134 #7d78c6b6
class Module:
    """Base of layers with a backward pass written by hand.

    A subclass defines `forward(*args) -> out` and `bwd(grad, *args)`, which takes the gradient of
    the loss with respect to `out`, adds those of the layer's parameters to their `.grad` (with
    `add_grad`) and returns that of the input. `args` and `out` are those of the latest call.
    """
    out = None

    def __call__(self, *args):
        self.args = args
        self.out = self.forward(*args)
        return self.out

    def forward(self, *args):
        "The output for these inputs; each layer writes its own."
        raise NotImplementedError(f'{type(self).__name__} needs a method forward(*args)')

    def bwd(self, grad, *args):
        "The gradient of the inputs, given that of the output; a layer with parameters also sets theirs."
        raise NotImplementedError(f'{type(self).__name__} needs a method bwd(grad, *args)')

    @torch.no_grad()
    def backward(self, grad=None):
        """Gradient of the latest output -> gradient of its input. A loss needs no `grad`: it is 1.

        Raises RuntimeError before the first call, ValueError if `grad` has not the shape of `out`.
        """
        return self.bwd(_grad_for(self, grad), *self.args)

    def add_grad(self, param, grad):
        "Add `grad` to what `param.grad` holds already."
        param.grad = grad if param.grad is None else param.grad + grad


# %% 02_fully_connected.ipynb cell 136 #88cdea30
class ReLU(Module):
    "max(x, 0) for each element: any shape -> the same shape. The gradient at exactly 0 is 0."
    def forward(self, x):
        return x.clamp(min=0)

    def bwd(self, grad, x):
        return grad * (x > 0)


# %% 02_fully_connected.ipynb cell 138 #759019c5
class Linear(Module):
    """x @ weight.T + bias: (…, n_in) -> (…, n_out).

    weight: (n_out, n_in), normally distributed with std √(2/n_in), which keeps the scale through a
    ReLU (He et al. 2015, arXiv 1502.01852, equation 10) · bias: (n_out,), zeros, or None.
    Raises ValueError for sizes below 1, and where the last axis of the input is not n_in.
    """
    def __init__(self, n_in, n_out, bias=True, device=None, dtype=None):
        if min(n_in, n_out) < 1:
            raise ValueError(f'Linear: n_in and n_out must be 1 or more, not {n_in} and {n_out}')
        self.weight = torch.randn(n_out, n_in, device=device, dtype=dtype) * math.sqrt(2 / n_in)
        self.bias = torch.zeros(n_out, device=device, dtype=dtype) if bias else None

    def forward(self, x):
        n_out, n_in = self.weight.shape
        if x.dim() == 0 or x.shape[-1] != n_in:
            raise ValueError(f'Linear({n_in}, {n_out}): the last axis of the input must be {n_in}, '
                             f'but the input is {tuple(x.shape)}')
        out = x @ self.weight.T
        return out if self.bias is None else out + self.bias

    def bwd(self, grad, x):
        n_out, n_in = self.weight.shape
        rows, g = x.reshape(-1, n_in), grad.reshape(-1, n_out)    # all leading axes as one batch
        self.add_grad(self.weight, g.T @ rows)
        if self.bias is not None:
            self.add_grad(self.bias, g.sum(0))
        return grad @ self.weight


# %% 02_fully_connected.ipynb cell 140 #937ae3b6
class MSE(Module):
    "Mean squared error as a layer, `mse` with its gradient: two tensors of one shape -> a scalar."
    def forward(self, preds, targ):
        return mse(preds, targ)

    def bwd(self, grad, preds, targ):
        return grad * 2 * (preds - targ) / preds.numel()


# cell hashes: 9ddb87aa:ee008946 c81ee822:2e502c80 1fa46cee:22af0592 8aca6064:5f401d0d
#   4b48c948:3665ff27 7d78c6b6:89eb52f5 88cdea30:f58c9a48 759019c5:3215d317 937ae3b6:fa6e1fd6
