"""Mixed precision: fp16, bf16, fp8

Exported from nbs/10c_fp16.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:d3b24d54ca80578c head:37540f69
__all__ = ['float_layout', 'float_bits', 'decode_bits', 'draw_bits', 'LossScaler', 'unscale_',
           'MixedPrecision', 'saved_bytes']


# %% 10c_fp16.ipynb cell 4 #af678761
import math

import torch

_WHOLE = {8: torch.uint8, 16: torch.int16, 32: torch.int32}
_KNOWN = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def float_layout(dtype):
    """How a format's bits are shared out. -> exponent bits, mantissa bits, bias of the exponent

    dtype: float32, float16, bfloat16, float8_e4m3fn or float8_e5m2 of torch; TypeError for others.
    """
    if dtype not in _KNOWN:
        raise TypeError(f'the formats are {", ".join(str(d)[6:] for d in _KNOWN)}, not {dtype}')
    info = torch.finfo(dtype)
    n_man = round(-math.log2(info.eps))
    n_exp = info.bits - 1 - n_man
    return n_exp, n_man, 2**(n_exp - 1) - 1


def float_bits(x, dtype):
    "The bits of a number as it is in this format: '0 01111 0000000000' is 1 in float16. -> str"
    n_exp, n_man, _ = float_layout(dtype)
    n = 1 + n_exp + n_man
    whole = int(torch.tensor(float(x)).to(dtype).view(_WHOLE[n])) & (2**n - 1)
    text = f'{whole:0{n}b}'
    return f'{text[0]} {text[1:1 + n_exp]} {text[1 + n_exp:]}'


# %% 10c_fp16.ipynb cell 9 #300d26ed
def decode_bits(patterns, dtype):
    "The numbers that bit patterns mean: whole numbers (…) -> float64 (…); see `float_layout`."
    n_exp, n_man, bias = float_layout(dtype)
    patterns = patterns.long()
    sign = 1. - 2. * (patterns >> (n_exp + n_man) & 1)
    e = patterns >> n_man & (2**n_exp - 1)
    m = (patterns & (2**n_man - 1)).double() / 2**n_man
    power = 2. ** (e.clamp(min=1) - bias).double()
    value = torch.where(e == 0, m, 1 + m) * power
    top = e == 2**n_exp - 1
    if dtype == torch.float8_e4m3fn:
        value[top & (m == 1 - .5**n_man)] = math.nan
    else:
        value[top] = torch.where(m[top] == 0, math.inf, math.nan).double()
    return sign * value


# %% 10c_fp16.ipynb cell 15 #0e956e91
def draw_bits(x, dtypes=_KNOWN):
    "Draws the bits of a number in each format, sign, exponent, mantissa in colours. -> figure"
    import matplotlib.pyplot as plt
    size = 9, .42 * len(dtypes) + .3
    fig, ax = plt.subplots(figsize=size, layout='constrained', facecolor='white')
    for row, dtype in enumerate(dtypes):
        parts = float_bits(x, dtype).split()
        colors = [c for c, part in zip(('#CC79A7', '#56B4E9', '#E69F00'), parts) for _ in part]
        for i, (bit, color) in enumerate(zip(''.join(parts), colors)):
            ax.add_patch(plt.Rectangle((i, -row), .9, .8, color=color))
            ax.text(i + .45, .4 - row, bit, ha='center', va='center', fontsize=8, color='black')
        stored = float(torch.tensor(float(x)).to(dtype))
        ax.text(-.5, .4 - row, str(dtype)[6:], ha='right', va='center', fontsize=8)
        ax.text(len(colors) + .5, .4 - row, f'{stored:.9g}', va='center', fontsize=8)
    ax.set(xlim=(-7, 38), ylim=(.9 - len(dtypes), 1), title=f'{x:.9g}: sign, exponent, mantissa')
    ax.axis('off')
    return fig


# %% 10c_fp16.ipynb cell 46 #3de831e5
class LossScaler:
    """The dynamic scale of the loss: halved after an overflow, doubled after a long time without.

    init_scale: the first `scale` · growth_factor, backoff_factor: what it is multiplied by · and
    growth_interval: steps in a row without overflow before it grows. Decides as
    `torch.amp.GradScaler` does. Raises ValueError for factors on the wrong side of 1.
    Source: Micikevicius et al. 2017, arXiv 1710.03740, section 3.2.
    """
    def __init__(self, init_scale=2.**16, growth_factor=2., backoff_factor=.5,
                 growth_interval=2000):
        if not (0 < init_scale < math.inf and growth_factor > 1 and 0 < backoff_factor < 1
                and growth_interval >= 1):
            raise ValueError(f'LossScaler: init_scale={init_scale} must be positive, growth_factor='
                             f'{growth_factor} above 1, backoff_factor={backoff_factor} between 0 '
                             f'and 1, growth_interval={growth_interval} at least 1')
        self.scale, self.good_steps = float(init_scale), 0
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = growth_interval

    def update(self, overflow):
        "Tell it whether this step overflowed."
        if overflow:
            self.scale, self.good_steps = self.scale * self.backoff_factor, 0
            return
        self.good_steps += 1
        if self.good_steps == self.growth_interval:
            grown = self.scale * self.growth_factor
            self.scale, self.good_steps = grown if grown < 2.**128 else self.scale, 0


# %% 10c_fp16.ipynb cell 48 #d8c6851f
@torch.no_grad()
def unscale_(params, scale):
    "Divide the gradients of `params` by `scale`, in place. -> True if one is infinite or NaN"
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return False
    torch._foreach_mul_(grads, 1 / scale)
    return not bool(torch.stack([g.isfinite().all() for g in grads]).all())


# %% 10c_fp16.ipynb cell 59 #81758bb3
from exp.nb_04 import Callback, CancelBatch


def _as_float(x):
    "16-bit tensors as float32, in tuples, lists and dicts too; the rest as it is."
    if isinstance(x, torch.Tensor):
        return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if isinstance(x, dict):
        return {k: _as_float(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)) and not hasattr(x, '_fields'):
        return type(x)(_as_float(v) for v in x)
    return x


# %% 10c_fp16.ipynb cell 61 #3fa3dc59
class _Casting(Callback):
    def __init__(self, dtype):
        if dtype not in (torch.float16, torch.bfloat16):
            raise ValueError('MixedPrecision: dtype must be torch.bfloat16 or torch.float16, '
                             f'not {dtype!r}')
        self.dtype, self._handles, self._casts = dtype, [], []

    def before_fit(self, learn):
        "Hook the model."
        self.after_fit(learn)
        self._handles = [learn.model.register_forward_pre_hook(self._enter),
                         learn.model.register_forward_hook(self._leave, always_call=True)]

    def after_fit(self, learn):
        "Take the hooks off."
        while self._handles:
            self._handles.pop().remove()

    def _enter(self, model, args):
        self._casts.append(torch.autocast(next(model.parameters()).device.type, self.dtype))
        self._casts[-1].__enter__()

    def _leave(self, model, args, preds):
        self._casts.pop().__exit__(None, None, None)
        return _as_float(preds)


# %% 10c_fp16.ipynb cell 66 #3fbecc10
class _Skipping(_Casting):
    scaler = None  # without one nothing is scaled, and nothing skipped

    def __init__(self, dtype):
        super().__init__(dtype)
        self.skipped = []

    def _skip(self, learn):
        self.skipped.append((learn.epoch, learn.batch))
        learn.opt.zero_grad()
        if self.scaler.scale < 2.**-24:
            raise FloatingPointError('MixedPrecision: gradients overflow at every scale; there is '
                                     'a NaN or an infinity in the data, the weights or the loss')
        raise CancelBatch


# %% 10c_fp16.ipynb cell 68 #1601ab39
class _Scaling(_Skipping):
    order = -15

    def after_loss(self, learn):
        "Let backward begin with the scale in place of 1."
        if learn.training and self.scaler:
            scale, self._scaled = self.scaler.scale, learn.loss
            learn.loss.register_hook(lambda grad: grad * scale)

    def after_backward(self, learn):
        "Unscale the gradients; skip the step if they have overflowed."
        if self.scaler is None:
            return
        if learn.loss is not self._scaled:
            raise RuntimeError('MixedPrecision: learn.loss was replaced after it had been scaled; '
                               f'the callback that does so needs an order below {self.order}')
        overflow = unscale_(learn.model.parameters(), self.scaler.scale)
        self.scaler.update(overflow)
        if overflow:
            self._skip(learn)


# %% 10c_fp16.ipynb cell 70 #bfbe83c1
class MixedPrecision(_Scaling):
    """Trains in 16 bits where that is safe: the model under autocast, weights and loss in float32.

    dtype: bfloat16, or float16, for which the loss is scaled dynamically; init_scale,
    growth_factor, backoff_factor and growth_interval are those of `LossScaler`, for float16 only.
    A step with infinite or NaN gradients is skipped: weights, optimiser and `n_steps` stay as they
    were, schedules go on with the batches, and `skipped` holds its (epoch, batch). Validation and
    predictions run in 16 bits too. Works on CPU and GPU. Callbacks that add to `learn.loss` need an
    order below −15 (RuntimeError if later). Raises ValueError for another dtype; FloatingPointError
    when the scale has fallen below 2⁻²⁴.
    Source: Micikevicius et al. 2017, arXiv 1710.03740.
    """
    def __init__(self, dtype=torch.bfloat16, init_scale=2.**16, growth_factor=2., backoff_factor=.5,
                 growth_interval=2000):
        super().__init__(dtype)
        scaler = LossScaler(init_scale, growth_factor, backoff_factor, growth_interval)
        self.scaler = scaler if dtype == torch.float16 else None

    def state_dict(self):
        "The scale, for `Checkpoint`."
        scaler = self.scaler
        return dict(scale=scaler.scale, good_steps=scaler.good_steps) if scaler else {}

    def load_state_dict(self, state):
        "Go on from a `state_dict`."
        for name, value in state.items():
            setattr(self.scaler, name, value)


# %% 10c_fp16.ipynb cell 95 #eefc8a6e
def saved_bytes(model, f):
    """How many bytes autograd keeps from the call `f()` for its backward pass. -> int

    model: its parameters are not counted, as they are there anyway.
    """
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found, keep = {}, []

    def pack(t):
        storage = t.untyped_storage()
        keep.append(storage)  # a storage that is gone could give its address to the next
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        f()
    return sum(found.values())


# cell hashes: af678761:a784e2a4 300d26ed:0f10f53e 0e956e91:6ac012e4 3de831e5:b799c9d3
#   d8c6851f:befc0d00 81758bb3:4c8f31a0 3fa3dc59:357c3918 3fbecc10:7c4c85e0 1601ab39:c4037fea
#   bfbe83c1:4b3e9483 eefc8a6e:a9d24d57
