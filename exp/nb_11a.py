"""Transfer learning

Exported from nbs/11a_transfer_learning.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:5dc776aec288d5c4 head:88e3844f
__all__ = ['LETTERS', 'letters', 'AdaptiveConcatPool2d', 'n_features', 'make_head', 'cut_body',
           'adapt_model', 'load_body', 'frozen_norms', 'FreezeNorms', 'LoRALinear', 'LoRAConv2d',
           'add_lora', 'merge_lora', 'adapter_state', 'load_adapter']


# %% 11a_transfer_learning.ipynb cell 4 #23d5a1c4
import copy
import hashlib
import math
import re
import string
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from exp.nb_00a import (FONTS, RECIPE, VALID_FONTS, _draw_glyph, _made_once, make_digits, read_idx,
                        write_idx)
from exp.nb_04 import Callback
from exp.nb_06 import init_cnn

LETTERS = string.ascii_uppercase


# %% 11a_transfer_learning.ipynb cell 6 #7ed86635
def _letter_glyphs(letters=LETTERS):
    "Letters in all FONTS -> uint8 (22, 26, 40, 40) for A to Z, ink is 255"
    import matplotlib
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    rows = [[_draw_glyph(c, folder / f'{font}.ttf') for c in letters] for font in FONTS]
    return torch.from_numpy(np.array(rows))


# %% 11a_transfer_learning.ipynb cell 10 #22a5791c
def _write_letters(folder):
    "The built-in letters: 20,000 in the training fonts, 4,000 in VALID_FONTS."
    bank = _letter_glyphs()
    train_fonts = [f for f in FONTS if f not in VALID_FONTS]
    parts = {'train': (20_000, train_fonts, 3), 'valid': (4_000, VALID_FONTS, 4)}
    for name, (n, fonts, seed) in parts.items():
        images, labels, _ = make_digits(n, fonts, seed, glyphs=bank)
        write_idx(folder / f'{name}-images-idx3-ubyte', images)
        write_idx(folder / f'{name}-labels-idx1-ubyte', labels.byte())


def letters():
    """The built-in letters A to Z: 20,000 in 17 fonts to train on, 4,000 in 5 other fonts.

    -> (x_train, y_train, x_valid, y_valid): float32 (n, 784) from 0 (paper) to 1 (ink), and int64
    (n,), places in LETTERS. The fonts are split as those of the digits are. Made on the first call,
    in a few seconds, and kept in `data/`.
    """
    recipe = hashlib.sha256(repr((RECIPE, FONTS, VALID_FONTS, LETTERS)).encode()).hexdigest()
    folder = _made_once(f'letters-1-{recipe[:8]}', _write_letters)
    images = [read_idx(folder / f'{part}-images-idx3-ubyte') for part in ('train', 'valid')]
    labels = [read_idx(folder / f'{part}-labels-idx1-ubyte') for part in ('train', 'valid')]
    x_train, x_valid = [x.flatten(1).float().div_(255) for x in images]
    return x_train, labels[0].long(), x_valid, labels[1].long()


# %% 11a_transfer_learning.ipynb cell 39 #9ea79a5c
class AdaptiveConcatPool2d(nn.Module):
    """Maxima and means over a grid of cells: (bs, c, h, w) -> (bs, 2·c, size, size), any h and w

    size: cells along each side, a number or (rows, columns); 1 pools over the whole picture. The
    first c channels are the maxima. Equal to fastai's layer of this name.
    """
    def __init__(self, size=1):
        super().__init__()
        self.size = size
        self.mp, self.ap = nn.AdaptiveMaxPool2d(size), nn.AdaptiveAvgPool2d(size)

    def forward(self, x):
        return torch.cat([self.mp(x), self.ap(x)], 1)


# %% 11a_transfer_learning.ipynb cell 45 #526cc328
@torch.no_grad()
def n_features(body, like=None):
    """How many channels a body puts out, found by asking it. -> int

    like: a batch (bs, c, h, w) of the kind it takes (default: a blank picture of 64×64, with the
    channels of its first convolution). Weights, running statistics, modes and random state stay as
    they are. Raises ValueError if there is no convolution to go by, or no grid comes out.
    """
    if like is None:
        convs = [m for m in body.modules() if isinstance(m, nn.Conv2d)]
        if not convs:
            raise ValueError('n_features: no Conv2d tells how many channels go in; give `like`')
        like = convs[0].weight.new_zeros(1, convs[0].in_channels, 64, 64)
    modes = {m: m.training for m in body.modules()}
    try:
        out = body.eval()(like[:1])
    finally:
        for m, mode in modes.items():
            m.training = mode
    if out.dim() != 4:
        raise ValueError(f'n_features: a body puts out (bs, c, h, w), but here came '
                         f'{tuple(out.shape)}; cut it before its pooling')
    return out.shape[1]


# %% 11a_transfer_learning.ipynb cell 49 #d73b528e
def make_head(n_features, n_out, hidden=(), drop=0.):
    """A head for the grid that a body puts out: (bs, n_features, h, w) -> scores (bs, n_out)

    AdaptiveConcatPool2d, Flatten; for each width in `hidden` Linear, BatchNorm1d, ReLU; dropout if
    drop > 0; Linear, at zero. Raises ValueError for sizes below 1.
    """
    sizes = [2 * n_features, *hidden, n_out]
    if min(sizes) < 1:
        raise ValueError(f'make_head: n_features, hidden and n_out must be 1 or more, not '
                         f'{n_features}, {tuple(hidden)} and {n_out}')
    layers = [AdaptiveConcatPool2d(), nn.Flatten()]
    for ni, nf in pairwise(sizes[:-1]):
        layers += [nn.Linear(ni, nf, bias=False), nn.BatchNorm1d(nf), nn.ReLU()]
    layers += [nn.Dropout(drop)] if drop else []
    head = init_cnn(nn.Sequential(*layers, nn.Linear(*sizes[-2:])))
    nn.init.zeros_(head[-1].weight)
    return head


# %% 11a_transfer_learning.ipynb cell 53 #9777df29
def _is_pool(part):
    "Is this, or does it hold, a pooling that makes grids of any size into one size?"
    return any(re.match('Adaptive.*Pool2d$', type(m).__name__) for m in part.modules())


# %% 11a_transfer_learning.ipynb cell 55 #0a22be22
def cut_body(model, cut=None):
    """A copy of what comes before a model's global pooling. -> nn.Sequential, parts named as before

    cut: how many parts belong to the body (default: those before the last that is or holds an
    adaptive pooling), or a function model -> body. Raises TypeError for a model that is no
    nn.Sequential, unless cut is a function; ValueError if there is no pooling, or no body is left.
    """
    if callable(cut):
        return copy.deepcopy(cut(model))
    if not isinstance(model, nn.Sequential):
        raise TypeError(f'cut_body: {type(model).__name__} is no nn.Sequential, its parts may not '
                        'be all it does; give a function, cut=lambda model: body')
    parts = list(model.named_children())
    pools = [i for i, (_, part) in enumerate(parts) if _is_pool(part)]
    if cut is None and not pools:
        raise ValueError(f'cut_body: no adaptive pooling among the parts {[*dict(parts)]}; '
                         'say how many are body: cut=…')
    cut = pools[-1] if cut is None else cut
    if not 0 < cut <= len(parts):
        raise ValueError(f'cut_body: a body has 1 to {len(parts)} parts, not {cut}')
    if cut == 1 and isinstance(parts[0][1], nn.Sequential):  # an adapted model: its body itself
        return copy.deepcopy(parts[0][1])
    return copy.deepcopy(nn.Sequential(OrderedDict(parts[:cut])))


# %% 11a_transfer_learning.ipynb cell 57 #54f7a897
def adapt_model(model, n_out, cut=None, head=None, like=None):
    """A model for another task: the body of this one, copied, with a fresh head. -> nn.Sequential

    The parts are `body` and `head`. n_out: number of classes · cut: see `cut_body` · head: function
    (n_features, n_out) -> module (default: `make_head`) · like: see `n_features`. All parameters of
    the result are free to learn; the model given stays as it is. Raises as those two do.
    """
    body = cut_body(model, cut)
    head = (head or make_head)(n_features(body, like), n_out)
    first = next(body.parameters())
    model = nn.Sequential(OrderedDict(body=body, head=head.to(first.device, first.dtype)))
    return model.requires_grad_(True)


# %% 11a_transfer_learning.ipynb cell 65 #3aa01f1a
def load_body(model, state, head='head'):
    """Load all of a state dict into a model except its head; strict in all else. -> names left out

    head: name of the part that may differ or lack, in both, such as 'head' or '6'. Raises
    ValueError, before anything is changed, if the model has no such part, if any other tensor is
    missing or too many, or has another shape.
    """
    def rest(tensors):
        return {k: v for k, v in tensors.items() if not k.startswith(head + '.')}
    own = model.state_dict()
    ours, given = rest(own), rest(state)
    problems = [f'{k} is missing in the file' for k in ours if k not in given]
    problems += [f'{k} is not in the model' for k in given if k not in ours]
    problems += [f'{k} is {tuple(given[k].shape)} in the file, {tuple(ours[k].shape)} in the model'
                 for k in ours if k in given and given[k].shape != ours[k].shape]
    if len(ours) == len(own):
        problems = [f'the model has no part {head!r} to leave out']
    if problems:
        more = f'; and {len(problems) - 3} more' if len(problems) > 3 else ''
        raise ValueError(f'load_body: {"; ".join(problems[:3])}{more}')
    model.load_state_dict(given, strict=False)
    return [k for k in own if k not in ours]


# %% 11a_transfer_learning.ipynb cell 83 #8637928e
def frozen_norms(model):
    """The norms of a model that keep running statistics and are frozen. -> list of modules

    Frozen: no parameter of the norm may learn; for a norm without parameters, none of the nearest
    part of the model around it that has some.
    """
    modules = dict(model.named_modules())

    def is_frozen(name):
        params = list(modules[name].parameters())
        while not params and name:
            name = name.rpartition('.')[0]
            params = list(modules[name].parameters())
        return bool(params) and not any(p.requires_grad for p in params)
    return [m for name, m in modules.items()
            if getattr(m, 'running_mean', None) is not None and is_frozen(name)]


# %% 11a_transfer_learning.ipynb cell 85 #24bf2401
class FreezeNorms(Callback):
    """Keeps the running statistics of frozen norms as they are, and normalises by them in training.

    Works with `freeze`, `freeze_to` and `unfreeze` in any order: what is frozen is looked up as
    each fit begins. Norms that may learn are left alone.
    """
    order = -50

    def before_fit(self, learn):
        "Which norms are frozen now?"
        self._norms = frozen_norms(learn.model)

    def before_batch(self, learn):
        "At the first batch of a training pass, which has just put all parts into training mode."
        if learn.training and learn.batch == 0:
            for norm in self._norms:
                norm.eval()


# %% 11a_transfer_learning.ipynb cell 105 #6afa9856
class _LoRA(nn.Module):
    "Base: a frozen layer and, beside it, scale · B A for its weight seen as a matrix."
    def __init__(self, base, rank, alpha):
        super().__init__()
        n_out, n_in = base.weight.flatten(1).shape
        if not isinstance(rank, int) or not 1 <= rank <= min(n_out, n_in):
            raise ValueError(f'{type(self).__name__}: the weight is {n_out} × {n_in}, the rank '
                             f'must be a whole number from 1 to {min(n_out, n_in)}, not {rank!r}')
        self.base = base.requires_grad_(False)
        self.rank, self.alpha, self.merged = rank, rank if alpha is None else alpha, False
        self.A = nn.Parameter(base.weight.new_empty(rank, n_in))
        self.B = nn.Parameter(base.weight.new_zeros(n_out, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def delta(self):
        "The correction, in the shape of the weight."
        return (self.alpha / self.rank * self.B @ self.A).view_as(self.base.weight)

    def extra_repr(self):
        return f'rank={self.rank}, alpha={self.alpha}, merged={self.merged}'


# %% 11a_transfer_learning.ipynb cell 107 #6e2b3c08
class _Merges(_LoRA):
    def forward(self, x):
        if not self.merged:
            return self.base(x) + self.alpha / self.rank * self._low(x)
        if self.training and torch.is_grad_enabled():
            raise RuntimeError(f'{type(self).__name__} is merged, its A and B would not learn: '
                               'unmerge() before training')
        return self.base(x)

    def get_extra_state(self):
        "Whether it is merged, for the state dict."
        return torch.tensor(self.merged)

    def set_extra_state(self, state):
        "Take that up from a state dict."
        self.merged = bool(state)


# %% 11a_transfer_learning.ipynb cell 109 #b699ce2c
class _MergesInPlace(_Merges):
    @torch.no_grad()
    def _add(self, sign, merged):
        if self.merged != merged:
            self.base.weight.add_(self.delta(), alpha=sign)
            self.merged = merged
        return self

    def merge(self):
        "Add the correction to the weights, for use without extra cost. Twice is once. -> self"
        return self._add(1, True)

    def unmerge(self):
        "Take it off them again, to train on. -> self"
        return self._add(-1, False)


# %% 11a_transfer_learning.ipynb cell 111 #53e6b850
class LoRALinear(_MergesInPlace):
    """A linear layer, frozen, with a trainable correction of low rank: (…, n_in) -> (…, n_out)

    linear: the nn.Linear (its weight gets frozen) · rank: r of A (r, n_in) and B (n_out, r) ·
    alpha: the correction is alpha / rank · B A (default: alpha = rank). B starts at zero, so that
    at first the layer equals `linear`. `merge()` and `unmerge()` move the correction into the
    weight and out. Raises TypeError for another layer, ValueError for a rank that the weight cannot have.
    Source: Hu et al. 2021, arXiv 2106.09685, equation 3.
    """
    def __init__(self, linear, rank, alpha=None):
        if not isinstance(linear, nn.Linear):
            raise TypeError(f'LoRALinear: a nn.Linear is needed, not {type(linear).__name__}')
        super().__init__(linear, rank, alpha)

    def _low(self, x):
        return F.linear(F.linear(x, self.A), self.B)


# %% 11a_transfer_learning.ipynb cell 113 #53f359f3
class LoRAConv2d(_MergesInPlace):
    """A convolution, frozen, with a trainable correction of low rank: as `LoRALinear`, for pictures

    conv: the nn.Conv2d, without groups and with zeros as padding; its weight counts as a matrix
    (nf, ni·kh·kw). Raises TypeError for another layer, ValueError for groups or other padding.
    """
    def __init__(self, conv, rank, alpha=None):
        if not isinstance(conv, nn.Conv2d):
            raise TypeError(f'LoRAConv2d: a nn.Conv2d is needed, not {type(conv).__name__}')
        if conv.groups > 1 or conv.padding_mode != 'zeros':
            raise ValueError(f'LoRAConv2d: neither groups nor padding other than zeros: {conv}')
        super().__init__(conv, rank, alpha)

    def _low(self, x):
        a = self.A.view(self.rank, *self.base.weight.shape[1:])
        x = F.conv2d(x, a, None, self.base.stride, self.base.padding, self.base.dilation)
        return F.conv2d(x, self.B[:, :, None, None])


# %% 11a_transfer_learning.ipynb cell 123 #a3a06074
_KINDS = {nn.Linear: LoRALinear, nn.Conv2d: LoRAConv2d}


def add_lora(model, rank, alpha=None, keep=('head',)):
    """A copy of a model with LoRA on all its linear and convolution layers. -> model

    Only A and B learn, and the parts named in `keep`, as a whole; all else is frozen. rank, alpha:
    see `LoRALinear`. Raises ValueError for a part that is not there, or when nothing is wrapped.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    parts = dict(model.named_modules())
    if unknown := [name for name in keep if name not in parts]:
        raise ValueError(f'add_lora: the model has no part {", ".join(unknown)} to keep')
    chosen = [name for name, part in parts.items() if name and type(part) in _KINDS
              and not any(f'{name}.'.startswith(f'{k}.') for k in keep)]
    if not chosen:
        raise ValueError('add_lora: no nn.Linear or nn.Conv2d inside of the model to wrap')
    for name in chosen:
        above, _, last = name.rpartition('.')
        setattr(parts[above], last, _KINDS[type(parts[name])](parts[name], rank, alpha))
    for name in keep:
        parts[name].requires_grad_(True)
    return model


# %% 11a_transfer_learning.ipynb cell 125 #62e00636
def merge_lora(model):
    """A copy of a model of `add_lora` as a plain one, every correction merged. -> model

    Its layers and names are those of the model before `add_lora`; all parameters may learn.
    """
    model = copy.deepcopy(model)
    parts = dict(model.named_modules())
    for name, part in parts.items():
        if isinstance(part, _LoRA):
            above, _, last = name.rpartition('.')
            setattr(parts[above], last, part.merge().base)
    return model.requires_grad_(True)


# %% 11a_transfer_learning.ipynb cell 127 #155e914a
def adapter_state(model):
    "The parameters that may learn: A, B and the parts kept. -> dict of name: tensor, copied"
    return {k: p.detach().clone() for k, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def load_adapter(model, state):
    """Put an adapter of `adapter_state` into a model of the same make, unmerged. -> the model

    Raises ValueError, before anything is changed, if names or shapes differ from those that may
    learn here, or if a layer is merged.
    """
    own = {k: p for k, p in model.named_parameters() if p.requires_grad}
    wrong = sorted(own.keys() ^ state.keys())
    wrong += [k for k in own if k in state and own[k].shape != state[k].shape]
    if wrong:
        raise ValueError(f'load_adapter: {len(wrong)} tensors are not in both, or have other '
                         f'shapes: {", ".join(wrong[:3])}; are rank and keep the same?')
    if any(isinstance(m, _LoRA) and m.merged for m in model.modules()):
        raise ValueError('load_adapter: the model has another adapter merged; unmerge it first')
    for name, p in own.items():
        p.copy_(state[name])
    return model


# cell hashes: 23d5a1c4:4d281019 7ed86635:f5e07718 22a5791c:33e795f2 9ea79a5c:badd649d
#   526cc328:ad95e4ab d73b528e:21f50529 9777df29:2f8a8ae3 0a22be22:2156d264 54f7a897:50bf68b6
#   3aa01f1a:2265d529 8637928e:e07a8212 24bf2401:9b4c2f82 6afa9856:00fee279 6e2b3c08:cedbdceb
#   b699ce2c:8b81eeea 53e6b850:4a539247 53f359f3:60433890 a3a06074:7137fcdb 62e00636:deeb6370
#   155e914a:03279e93
