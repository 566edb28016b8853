"""Initialising, and how to read a paper

Exported from nbs/02b_initializing.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:be373647a2d65bb6 head:0b65032d
__all__ = ['fans', 'GAINS', 'calculate_gain', 'kaiming_normal_', 'kaiming_uniform_',
           'xavier_normal_', 'xavier_uniform_', 'orthogonal_']


# %% 02b_initializing.ipynb cell 35 #2bf9318a
import math
import warnings

import torch


def fans(tensor):
    """How many inputs feed an output, and how many outputs an input feeds. -> (int, int)

    tensor: a weight of shape (n_out, n_in) or (n_out, n_in, *kernel). The result is
    (fan_in, fan_out), the n = k²c and n̂ = k²d of He et al. 2015, arXiv 1502.01852, section 2.2.
    Raises ValueError for fewer than two axes: a bias has no fans.
    """
    if tensor.dim() < 2:
        raise ValueError('fans: a weight needs two axes or more, (n_out, n_in, *kernel), '
                         f'but this tensor has shape {tuple(tensor.shape)}')
    area = math.prod(tensor.shape[2:])
    return tensor.shape[1] * area, tensor.shape[0] * area


# %% 02b_initializing.ipynb cell 40 #d6bbd694
GAINS = {'linear': 1., 'sigmoid': 1., 'tanh': 5 / 3, 'relu': math.sqrt(2), 'selu': 3 / 4}
GAINS |= {f'conv{t}{i}d': 1. for t in ('', '_transpose') for i in (1, 2, 3)}


def calculate_gain(nonlinearity, param=None):
    """The factor by which weights are enlarged to make up for a nonlinearity. -> float

    nonlinearity: 'linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu' or 'conv1d'… (gain 1).
    param: the negative slope a of 'leaky_relu', .01 unless given; its gain is √(2/(1 + a²)), from
    equation 15 of He et al. 2015, arXiv 1502.01852. Raises ValueError for an unknown name or slope.
    """
    if nonlinearity == 'leaky_relu':
        a = .01 if param is None else param
        if isinstance(a, bool) or not isinstance(a, (int, float)):
            raise ValueError(f'calculate_gain: the negative slope must be a number, not {a!r}')
        return math.sqrt(2 / (1 + a**2))
    if nonlinearity not in GAINS:
        raise ValueError(f'calculate_gain: unsupported nonlinearity {nonlinearity!r}; '
                         f'choose from leaky_relu, {", ".join(GAINS)}')
    return GAINS[nonlinearity]


# %% 02b_initializing.ipynb cell 43 #00d22f35
def _fill(tensor, std, uniform=False, generator=None):
    "Fill `tensor` in place with random numbers of mean 0 and this std; returns it."
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise TypeError(f'weights are floating point numbers, but this tensor holds {tensor.dtype}')
    with torch.no_grad():
        if not uniform:
            return tensor.normal_(0, std, generator=generator)
        bound = math.sqrt(3) * std  # U(-b, b) has the variance b²/3
        return tensor.uniform_(-bound, bound, generator=generator)


# %% 02b_initializing.ipynb cell 45 #b5de8c89
def _kaiming_std(tensor, a, mode, nonlinearity):
    "The std of equation 10 (fan_in) or 14 (fan_out) of He et al. 2015."
    if str(mode).lower() not in ('fan_in', 'fan_out'):
        raise ValueError(f"kaiming: mode must be 'fan_in' or 'fan_out', not {mode!r}")
    fan_in, fan_out = fans(tensor)
    fan = fan_in if mode.lower() == 'fan_in' else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _is_empty(tensor):
    "Has this tensor nothing to fill? If so, it says so in a warning."
    if tensor.numel() == 0:
        warnings.warn('initialising a tensor without elements does nothing', stacklevel=3)
    return tensor.numel() == 0


# %% 02b_initializing.ipynb cell 46 #154c8908
def kaiming_normal_(tensor, a=0, mode='fan_in', nonlinearity='leaky_relu', generator=None):
    """Fill a weight in place from N(0, std²) with std = gain / √fan, and return it.

    tensor: (n_out, n_in) or (n_out, n_in, *kernel) · a: negative slope, for 'leaky_relu' only ·
    mode: 'fan_in' keeps the variance on the way forward, 'fan_out' that of the gradient on the way
    back · nonlinearity: see `calculate_gain` · generator: a torch.Generator. Raises ValueError for
    fewer than two axes, an unknown mode or nonlinearity; TypeError for whole numbers.
    Source: He et al. 2015, arXiv 1502.01852, equations 10, 14 and 15.
    """
    if _is_empty(tensor):
        return tensor
    return _fill(tensor, _kaiming_std(tensor, a, mode, nonlinearity), generator=generator)


# %% 02b_initializing.ipynb cell 47 #dd6abce8
def kaiming_uniform_(tensor, a=0, mode='fan_in', nonlinearity='leaky_relu', generator=None):
    """Fill a weight in place from U(-b, b) with b = √3 · gain / √fan, and return it.

    The same variance as `kaiming_normal_`, which explains the arguments and the errors.
    """
    if _is_empty(tensor):
        return tensor
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return _fill(tensor, std, uniform=True, generator=generator)


# %% 02b_initializing.ipynb cell 64 #40ce5963
def xavier_normal_(tensor, gain=1., generator=None):
    """Fill a weight in place from N(0, std²) and return it; std = gain · √(2 / (fan_in + fan_out)).

    tensor: (n_out, n_in) or (n_out, n_in, *kernel) · gain: see `calculate_gain` · generator: a
    torch.Generator. Raises ValueError for a tensor with fewer than two axes.
    Source: Glorot and Bengio 2010, equation 12, there for linear activations (gain 1).
    """
    if _is_empty(tensor):
        return tensor
    return _fill(tensor, gain * math.sqrt(2 / sum(fans(tensor))), generator=generator)


def xavier_uniform_(tensor, gain=1., generator=None):
    "Fill a weight in place from U(-b, b) with the variance of `xavier_normal_`, and return it."
    if _is_empty(tensor):
        return tensor
    return _fill(tensor, gain * math.sqrt(2 / sum(fans(tensor))), uniform=True, generator=generator)


# %% 02b_initializing.ipynb cell 67 #357ca634
def orthogonal_(tensor, gain=1., generator=None):
    """Fill a weight in place with a random (semi-)orthogonal matrix times `gain`, and return it.

    tensor: (n_out, n_in) or (n_out, n_in, *kernel), seen as the matrix (n_out, n_in·area). Its rows
    are orthonormal if there are fewer of them than columns, otherwise its columns are. Raises
    ValueError for fewer than two axes. Source: Saxe, McClelland and Ganguli 2013, arXiv 1312.6120;
    for the signs Mezzadri 2006, arXiv math-ph/0609050.
    """
    fans(tensor)  # refuses what is no weight
    if _is_empty(tensor):
        return tensor
    flat = _fill(tensor.new_empty(tensor.shape[0], tensor[0].numel()), 1., generator=generator)
    wide = flat.shape[0] < flat.shape[1]
    q, r = torch.linalg.qr(flat.t() if wide else flat)
    q = q * r.diagonal().sign()
    with torch.no_grad():
        return tensor.copy_((q.t() if wide else q).reshape(tensor.shape)).mul_(gain)


# cell hashes: 2bf9318a:af535e8f d6bbd694:9ab4dc7d 00d22f35:4e062c4d b5de8c89:bc5dc91e
#   154c8908:6540ba91 dd6abce8:c7680a48 40ce5963:671b6e7a 357ca634:a773fa01
