"""Batch normalisation and its relatives

Exported from nbs/07_batchnorm.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:ba44d1112dabe689 head:e2594e81
__all__ = ['BatchNorm', 'LayerNorm', 'RMSNorm', 'InstanceNorm', 'GroupNorm', 'RunningBatchNorm']


# %% 07_batchnorm.ipynb cell 12 #6e8d311e
import math

import torch
from torch import nn
from torch.autograd import Function

from exp.nb_06 import applied


def _plain(x, weight, bias, dims, eps, centre=True):
    "Normalise x over `dims`, then scale and shift; the gradient is left to autograd."
    mean = x.mean(dims, keepdim=True) if centre else 0.
    var = (x - mean).square().mean(dims, keepdim=True)
    return (x - mean) * (var + eps).rsqrt() * weight + bias


# %% 07_batchnorm.ipynb cell 24 #9f98d27f
@applied
class _Normalise(Function):
    "`_plain` with the gradient by hand. -> (y, mean, variance), of which only y is differentiable"
    @staticmethod
    def forward(ctx, x, weight, bias, dims, eps, centre):
        mean = x.mean(dims, keepdim=True) if centre else x.new_zeros(())
        xhat = x - mean
        var = xhat.square().mean(dims, keepdim=True)
        rstd = (var + eps).rsqrt()
        ctx.args = dims, eps, centre
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.mark_non_differentiable(mean, var)
        return xhat.mul_(rstd).mul_(weight).add_(bias), mean, var

    @staticmethod
    def backward(ctx, grad, *_):
        x, weight, bias, mean, rstd = ctx.saved_tensors
        dims, eps, centre = ctx.args
        if torch.is_grad_enabled():    # the gradient will itself be differentiated
            needed = ctx.needs_input_grad
            return *_plain_grads(needed, grad, x, weight, bias, *ctx.args), *[None] * 3
        xhat = (x - mean).mul_(rstd)
        along = grad * xhat
        d_weight = along.sum_to_size(weight.shape) if ctx.needs_input_grad[1] else None
        d_bias = grad.sum_to_size(bias.shape) if ctx.needs_input_grad[2] else None
        out = grad * weight
        out -= xhat.mul_(along.mul_(weight).mean(dims, keepdim=True))
        if centre:
            out -= out.mean(dims, keepdim=True)
        return out.mul_(rstd), d_weight, d_bias, None, None, None


# %% 07_batchnorm.ipynb cell 25 #2078557c
def _plain_grads(needed, grad, x, weight, bias, *args):
    "The three gradients through `_plain`, as part of a graph; None where none is needed."
    inputs = [t for t, need in zip((x, weight, bias), needed) if need]
    out = _plain(x, weight, bias, *args)
    grads = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
    return [next(grads) if need else None for need in needed[:3]]


# %% 07_batchnorm.ipynb cell 34 #c87c9723
def _wide(x):
    "Half-precision numbers as float32, others as they are."
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# %% 07_batchnorm.ipynb cell 36 #86328225
class _Norm(nn.Module):
    "Base of the norms: `weight` (ones) and `bias` (zeros) of a shape, each may be None."
    def __init__(self, shape, eps, weight, bias, device, dtype):
        super().__init__()
        if eps is not None and not 0 <= eps < math.inf:
            raise ValueError(f'{type(self).__name__}: eps must be a number ≥ 0, not {eps!r}')
        self.eps = eps
        for name, wanted, value in (('weight', weight, 1.), ('bias', bias, 0.)):
            start = torch.full(shape, value, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(start) if wanted else None)

    def _normalise(self, x, dims, shape, eps, centre=True):
        "Normalise x over `dims`; weight and bias are seen as `shape`. -> (like x, mean, variance)"
        wide = _wide(x)
        weight = wide.new_ones(()) if self.weight is None else self.weight.view(shape)
        bias = wide.new_zeros(()) if self.bias is None else self.bias.view(shape)
        out, mean, var = _Normalise(wide, weight, bias, dims, eps, centre)
        return out.to(x.dtype), mean, var

    def _check_dtype(self, x):
        "Refuse whole numbers, and float64 that meets float32."
        name = type(self).__name__
        if not x.is_floating_point():
            raise TypeError(f'{name}: the input must be floating point, not {x.dtype}')
        if self.weight is not None and _wide(x).dtype != _wide(self.weight).dtype:
            raise TypeError(f'{name}: the input is {x.dtype}, its weight {self.weight.dtype}; '
                            'bring them to one with .to(dtype)')


# %% 07_batchnorm.ipynb cell 38 #0e0a7683
def _per_channel(x):
    "The shape in which one number per channel meets (bs, c, …): (1, c, 1, …)."
    return 1, -1, *[1] * (x.dim() - 2)


def _check_channels(norm, x, n, min_dim=2):
    "Refuse an input that is not (bs, n, …)."
    if x.dim() < min_dim or x.shape[1] != n:
        raise ValueError(f'{type(norm).__name__}({n}): the input must be (bs, {n}'
                         f'{", …" if min_dim > 2 else ""}) with the channels in axis 1, '
                         f'not {tuple(x.shape)}')
    norm._check_dtype(x)


# %% 07_batchnorm.ipynb cell 40 #3c0d2d32
class _Tracking(_Norm):
    "Base of the norms that can keep running statistics."
    def __init__(self, num_features, eps, momentum, affine, track, device, dtype, bias):
        super().__init__((num_features,), eps, affine, affine and bias, device, dtype)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f'{type(self).__name__}: momentum is the weight of the new batch, '
                             f'from 0 to 1, not {momentum!r}')
        self.num_features, self.momentum = num_features, momentum
        self.affine, self.track_running_stats = affine, track
        for name, value in (('running_mean', 0.), ('running_var', 1.)):
            start = torch.full((num_features,), value, device=device, dtype=dtype)
            self.register_buffer(name, start if track else None)
        count = torch.tensor(0, dtype=torch.long, device=device)
        self.register_buffer('num_batches_tracked', count if track else None)

    def extra_repr(self):
        return (f'{self.num_features}, eps={self.eps}, momentum={self.momentum}, '
                f'affine={self.affine}, track_running_stats={self.track_running_stats}')


# %% 07_batchnorm.ipynb cell 42 #156bcec3
class _Tracks(_Tracking):
    @torch.no_grad()
    def _track(self, mean, var, m, share):
        "Move the running statistics by `share` towards a batch's; var is biased, over m values."
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((var * (m / (m - 1))).to(self.running_var.dtype), share)

    def _by(self, x, mean, var):
        "Normalise x by the mean and variance of each channel that are given."
        scale = (_wide(var) + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -_wide(mean) * scale
        shift = shift if self.bias is None else shift + self.bias
        shape = _per_channel(x)
        return (_wide(x) * scale.view(shape) + shift.view(shape)).to(x.dtype)


# %% 07_batchnorm.ipynb cell 44 #f91eeae8
class _ByBatch(_Tracks):
    def _by_batch(self, x):
        "Normalise x by its own statistics; in training move the running ones towards them."
        dims = (0, *range(2, x.dim()))
        out, mean, var = self._normalise(x, dims, _per_channel(x), self.eps)
        if self.training and self.running_mean is not None:
            self.num_batches_tracked += 1
            share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            if m := x.numel() // self.num_features:    # an empty batch says nothing
                self._track(mean.flatten(), var.flatten(), m, share)
        return out


# %% 07_batchnorm.ipynb cell 46 #78e55af0
class BatchNorm(_ByBatch):
    """Batch normalisation: mean 0, variance 1 for each channel, over the batch and all positions.

    (bs, c, …) -> the same shape, for any number of axes from two: rows, sequences, pictures,
    volumes. Arguments, parameters and buffers are those of `torch.nn.BatchNorm1d` to `3d`, state
    dicts can be exchanged. momentum: weight of the new batch in the running statistics, None for
    the plain average · in `eval()` the running statistics are used, if it tracks them. Raises
    ValueError for another number of channels, and for a single value per channel where statistics
    of the batch are needed; TypeError for whole numbers, or float64 that meets float32. Source:
    Ioffe and Szegedy 2015, arXiv 1502.03167.
    """
    def __init__(self, num_features, eps=1e-5, momentum=.1, affine=True, track_running_stats=True,
                 device=None, dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype,
                         bias)

    def forward(self, x):
        _check_channels(self, x, self.num_features)
        if not self.training and self.running_mean is not None:
            return self._by(x, self.running_mean, self.running_var)
        if x.numel() == self.num_features:
            raise ValueError(f'BatchNorm: expected more than 1 value per channel, but the input is '
                             f'{tuple(x.shape)}: one value has no variance; use a larger batch, '
                             'or a norm that does not need one (GroupNorm, LayerNorm)')
        return self._by_batch(x)


# %% 07_batchnorm.ipynb cell 72 #501cf929
class _LastAxes(_Norm):
    "Base of the norms over the last axes of each sample."
    def __init__(self, normalized_shape, eps, weight, bias, device, dtype):
        whole = isinstance(normalized_shape, int)
        shape = (normalized_shape,) if whole else tuple(normalized_shape)
        if not shape:
            raise ValueError(f'{type(self).__name__}: normalized_shape must name at least one axis')
        super().__init__(shape, eps, weight, bias, device, dtype)
        self.normalized_shape = shape

    def _check(self, x):
        shape = self.normalized_shape
        if tuple(x.shape[-len(shape):]) != shape:
            raise ValueError(f'{type(self).__name__}: the last axes of the input must be {shape}, '
                             f'but it is {tuple(x.shape)}')
        self._check_dtype(x)
        return tuple(range(-len(shape), 0))

    def extra_repr(self):
        return f'{self.normalized_shape}, eps={self.eps}'


# %% 07_batchnorm.ipynb cell 74 #c9087b9f
class LayerNorm(_LastAxes):
    """Layer normalisation: mean 0 and variance 1 over the last axes of each sample.

    (…, *normalized_shape) -> the same shape. Arguments and parameters as in `torch.nn.LayerNorm`:
    weight and bias have the shape of the normalised axes. For pictures (bs, c, h, w) and
    statistics over c, h and w use `GroupNorm(1, c)`. Raises ValueError if the last axes are
    others, TypeError for whole numbers, or float64 that meets float32. Source: Ba, Kiros and
    Hinton 2016, arXiv 1607.06450.
    """
    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None,
                 dtype=None):
        super().__init__(normalized_shape, eps, elementwise_affine, elementwise_affine and bias,
                         device, dtype)

    def forward(self, x):
        return self._normalise(x, self._check(x), self.normalized_shape, self.eps)[0]


# %% 07_batchnorm.ipynb cell 78 #cf476559
class RMSNorm(_LastAxes):
    """Root-mean-square normalisation: x divided by √(mean of x² + eps) over the last axes.

    (…, *normalized_shape) -> the same shape. Arguments as in `torch.nn.RMSNorm`; eps=None is the
    machine epsilon of the input's dtype. Raises as `LayerNorm` does. Source: Zhang and Sennrich
    2019, arXiv 1910.07467.
    """
    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None,
                 dtype=None):
        super().__init__(normalized_shape, eps, elementwise_affine, False, device, dtype)

    def forward(self, x):
        dims = self._check(x)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return self._normalise(x, dims, self.normalized_shape, eps, centre=False)[0]


# %% 07_batchnorm.ipynb cell 82 #85264860
class InstanceNorm(_Tracks):
    """Instance normalisation: mean 0, variance 1 over the positions of each channel of a sample.

    (bs, c, …) with at least one axis of positions -> the same shape. Arguments, parameters and
    buffers as in `torch.nn.InstanceNorm1d` to `3d`, but the batch axis must be there. With
    track_running_stats, `eval()` uses running averages of the samples' statistics (with
    momentum=None they stay as they are, as in torch). Raises ValueError for another number of
    channels or a single position, TypeError as `BatchNorm`. Source: Ulyanov, Vedaldi and Lempitsky
    2016, arXiv 1607.08022.
    """
    def __init__(self, num_features, eps=1e-5, momentum=.1, affine=False, track_running_stats=False,
                 device=None, dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype,
                         bias)

    def forward(self, x):
        _check_channels(self, x, self.num_features, min_dim=3)
        if not self.training and self.running_mean is not None:
            return self._by(x, self.running_mean, self.running_var)
        m = math.prod(x.shape[2:])
        if m == 1:
            raise ValueError('InstanceNorm: expected more than 1 position per channel, but the '
                             f'input is {tuple(x.shape)}: one value has no variance')
        out, mean, var = self._normalise(x, tuple(range(2, x.dim())), _per_channel(x), self.eps)
        if self.training and self.running_mean is not None and len(x):
            self._track(mean.mean(0).flatten(), var.mean(0).flatten(), m, self.momentum or 0.)
        return out


# %% 07_batchnorm.ipynb cell 86 #88b8f393
class GroupNorm(_Norm):
    """Group normalisation: mean 0 and variance 1 over each group of channels of each sample.

    (bs, c, …) -> the same shape. Arguments and parameters as in `torch.nn.GroupNorm`; as a `norm`
    for `conv_block` write `partial(GroupNorm, 4)`. Raises ValueError if the groups do not divide
    the channels, for another number of channels, and (as torch does) for a batch with one value
    per group in a single sample; TypeError as `BatchNorm`. Source: Wu and He 2018, arXiv
    1803.08494.
    """
    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *,
                 bias=True):
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f'GroupNorm: {num_channels} channels cannot be split into '
                             f'{num_groups} groups')
        super().__init__((num_channels,), eps, affine, affine and bias, device, dtype)
        self.num_groups, self.num_channels = num_groups, num_channels

    def forward(self, x):
        _check_channels(self, x, self.num_channels)
        if x.numel() == self.num_groups:
            raise ValueError('GroupNorm: expected more than 1 value per group, but the input is '
                             f'{tuple(x.shape)} with {self.num_groups} groups')
        size = self.num_groups, self.num_channels // self.num_groups
        groups = x.reshape(len(x), *size, *x.shape[2:])          # (bs, groups, channels of one, …)
        shape = 1, *size, *[1] * (x.dim() - 2)
        out, *_ = self._normalise(groups, tuple(range(2, groups.dim())), shape, self.eps)
        return out.reshape(x.shape)

    def extra_repr(self):
        return f'{self.num_groups}, {self.num_channels}, eps={self.eps}'


# %% 07_batchnorm.ipynb cell 94 #da3de8e0
class _Blends(_Tracks):
    def _blend(self, x, w):
        "Mean and variance of the past mixed with x, whose share is w; they become those of the past."
        dims = 0, *range(2, x.dim())
        mean = x.mean(dims)
        var = (x - mean.view(_per_channel(x))).square().mean(dims)
        gap = mean - _wide(self.running_mean)
        var = (1 - w) * _wide(self.running_var) + w * var + w * (1 - w) * gap.square()
        mean = _wide(self.running_mean) + w * gap
        with torch.no_grad():
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        return mean, var


# %% 07_batchnorm.ipynb cell 96 #0a3c9e3b
class RunningBatchNorm(_Blends):
    """Batch normalisation by running statistics in training too, for batches that are too small.

    (bs, c, …) -> the same shape. Mean and variance are those of the present batch mixed with the
    past; gradients flow through the share of the present batch. In `eval()` it is `BatchNorm`,
    with the same parameters and buffers; but `running_var` here holds the variance of the mixture.
    momentum: weight of a new batch; None chooses it so that the statistics rest on about `memory`
    = 128 samples, 2·bs/(128 + bs). A single value per channel works. Raises as `BatchNorm` does,
    and ValueError for a momentum of 0. Idea: Howard and Gugger, fast.ai course part 2, 2019; the mixture of
    variances: Chan et al. 1979.
    """
    memory = 128

    def __init__(self, num_features, eps=1e-5, momentum=None, affine=True, device=None, dtype=None,
                 *, bias=True):
        if momentum == 0:
            raise ValueError('RunningBatchNorm: with momentum=0 no batch has any weight')
        super().__init__(num_features, eps, momentum, affine, True, device, dtype, bias)

    def forward(self, x):
        _check_channels(self, x, self.num_features)
        mean, var = self.running_mean, self.running_var
        if self.training and len(x):
            mean, var = self._blend(_wide(x), self._share(len(x)))
        return self._by(x, mean, var)

    def _share(self, bs):
        "The share w of the new batch in the mixture: 1 for the first, later momentum."
        self.num_batches_tracked += 1
        momentum = min(1., 2 * bs / (self.memory + bs)) if self.momentum is None else self.momentum
        return momentum / (1 - (1 - momentum)**self.num_batches_tracked.item())


# cell hashes: 6e8d311e:58bbea64 9f98d27f:6a3c3281 2078557c:894c8e4d c87c9723:92209395
#   86328225:f95d9140 0e0a7683:79636855 3c0d2d32:b664da72 156bcec3:140d094e f91eeae8:6a1f364e
#   78e55af0:cebd49a8 501cf929:b6ff2424 c9087b9f:38c12234 cf476559:a3423030 85264860:e593d8bd
#   88b8f393:704008a9 da3de8e0:5b5c5cce 0a3c9e3b:2c492dff
