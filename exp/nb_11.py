"""Train Imagenette: residual networks and a recipe

Exported from nbs/11_train_imagenette.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:a63f9629e5c2f2a0 head:d3419212
__all__ = ['ResBlock', 'XResNet', 'xresnet18', 'xresnet34', 'xresnet50', 'xresnet101', 'xresnet152',
           'cnn_learner']


# %% 11_train_imagenette.ipynb cell 1 #11imports
from collections import OrderedDict
from functools import partial
from itertools import pairwise

from torch import nn
from torch.nn import functional as F

from exp.nb_02d import accuracy
from exp.nb_04 import DataLoaders, Metrics
from exp.nb_06 import DeviceCallback, conv_block, init_cnn
from exp.nb_09 import FlatOptimizer, adamw_opt
from exp.nb_09b import FullLearner


# %% 11_train_imagenette.ipynb cell 2 #11paths
def _residual(expansion, ni, nh, stride, act, norm):
    "The convolutions of a block: 3×3, 3×3; or, if it expands, 1×1, 3×3, 1×1. No activation at the end."
    if expansion == 1:
        return nn.Sequential(conv_block(ni, nh, 3, stride, norm, act),
                             conv_block(nh, nh, 3, 1, norm, None))
    return nn.Sequential(conv_block(ni, nh, 1, 1, norm, act),
                         conv_block(nh, nh, 3, stride, norm, act),
                         conv_block(nh, nh * expansion, 1, 1, norm, None))


def _shortcut(ni, nf, stride, norm):
    "What brings x to the shape of the sum: nothing, an average over windows, a 1×1 convolution, or both."
    layers = []
    if stride > 1:
        layers.append(nn.AvgPool2d(stride, ceil_mode=True))
    if ni != nf:
        layers.append(conv_block(ni, nf, 1, 1, norm, None))
    return nn.Sequential(*layers)


# %% 11_train_imagenette.ipynb cell 3 #11block
def _check_numbers(who, **numbers):
    "Refuse what is no whole number ≥ 1."
    for name, n in numbers.items():
        if not isinstance(n, int) or n < 1:
            raise ValueError(f'{who}: {name} must be a whole number ≥ 1, not {n!r}')


class ResBlock(nn.Module):
    """act(convs(x) + shortcut(x)): (bs, ni, h, w) -> (bs, nh·expansion, ⌈h/stride⌉, ⌈w/stride⌉)

    expansion: 1 for two convolutions of 3×3 with nh channels; more for a bottleneck, 1×1 to nh, 3×3, 1×1 to
    nh·expansion · act, norm: see `conv_block` · zero: the last norm (without norms: convolution)
    of `convs` starts at weight 0, so that the block starts as act(shortcut(x)). Raises ValueError.
    Source: He et al. 2015, arXiv 1512.03385; the shortcut is ResNet-D of He et al. 2018, arXiv 1812.01187.
    """
    def __init__(self, expansion, ni, nh, stride=1, act=nn.ReLU, norm=nn.BatchNorm2d, zero=True):
        _check_numbers('ResBlock', expansion=expansion, ni=ni, nh=nh, stride=stride)
        super().__init__()
        self.convs = _residual(expansion, ni, nh, stride, act, norm)
        self.shortcut = _shortcut(ni, nh * expansion, stride, norm)
        self.act = act()
        init_cnn(self)
        if zero:
            nn.init.zeros_(self.convs[-1][-1].weight)

    def forward(self, x):
        return self.act(self.convs(x) + self.shortcut(x))


# %% 11_train_imagenette.ipynb cell 4 #11stem
def _stem(n_in, widths, down, act, norm):
    "Convolutions of 3×3 with these widths; down=4: the first has stride 2, and a max-pool follows."
    convs = [conv_block(ni, nf, 3, 2 if down > 1 and i == 0 else 1, norm, act)
             for i, (ni, nf) in enumerate(pairwise([n_in, *widths]))]
    return nn.Sequential(*convs, *([nn.MaxPool2d(3, 2, 1)] if down == 4 else []))


def _stages(block, expansion, layers, ni, widths):
    "Stages of blocks, all but the first stage halving the picture. -> (dict of stages, channels)"
    stages = OrderedDict()
    for i, (n, nh) in enumerate(zip(layers, widths)):
        first = block(expansion, ni, nh, 2 if i else 1)
        ni = nh * expansion
        stages[f'stage{i + 1}'] = nn.Sequential(first, *(block(expansion, ni, nh) for _ in range(n - 1)))
    return stages, ni


# %% 11_train_imagenette.ipynb cell 5 #11checks
class _Checked(nn.Sequential):
    def _check(self, expansion, layers, n_in, n_out, widths, stem, down):
        numbers = {f'{name}[{i}]': n for name, ns in dict(layers=layers, widths=widths, stem=stem).items()
                   for i, n in enumerate(ns)}
        _check_numbers('XResNet', expansion=expansion, n_in=n_in, n_out=n_out, **numbers)
        if not stem or not layers or len(layers) != len(widths):
            raise ValueError(f'XResNet: one width for each stage is needed, and a stem, not layers={layers}, '
                             f'widths={widths} and stem={stem}')
        if down not in (1, 2, 4):
            raise ValueError(f'XResNet: down must be 1, 2 or 4, not {down!r}')

    def __getitem__(self, i):
        "A part, or for a slice a plain `nn.Sequential` of parts with the same names."
        if isinstance(i, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[i]))
        return super().__getitem__(i)


# %% 11_train_imagenette.ipynb cell 6 #11xresnet
class XResNet(_Checked):
    """A residual network: pictures (bs, n_in, h, w) -> scores (bs, n_out)

    Its parts are `stem`, `stage1`, `stage2`, …, `pool`, `flatten`, `head`; `model[:-3]` is the body.
    expansion: see `ResBlock` · layers: blocks in each stage · widths: `nh` of each stage's blocks; a stage
    halves the picture, but for the first · stem: channels of its convolutions · down: how far the stem
    scales down: 4 (stride 2, max-pool), 2 (stride 2), or 1 for small pictures · act, norm: see
    `conv_block` · block: called as `block(expansion, ni, nh, stride, act=act, norm=norm)`.
    Raises ValueError. Source: ResNet-D of He et al. 2018, arXiv 1812.01187; as fastai's of the same name.
    """
    def __init__(self, expansion, layers, n_in=3, n_out=10, widths=(64, 128, 256, 512),
                 stem=(32, 32, 64), down=4, act=nn.ReLU, norm=nn.BatchNorm2d, block=ResBlock):
        self._check(expansion, layers, n_in, n_out, widths, stem, down)
        block = partial(block, act=act, norm=norm)
        stages, ni = _stages(block, expansion, layers, stem[-1], widths)
        super().__init__(OrderedDict(
            stem=init_cnn(_stem(n_in, stem, down, act, norm)), **stages,
            pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), head=init_cnn(nn.Linear(ni, n_out))))


# %% 11_train_imagenette.ipynb cell 7 #11archs
def xresnet18(n_in=3, n_out=10, **kwargs):
    "XResNet of 18 layers: 2, 2, 2, 2 blocks. kwargs: see `XResNet`."
    return XResNet(1, (2, 2, 2, 2), n_in, n_out, **kwargs)


def xresnet34(n_in=3, n_out=10, **kwargs):
    "XResNet of 34 layers: 3, 4, 6, 3 blocks. kwargs: see `XResNet`."
    return XResNet(1, (3, 4, 6, 3), n_in, n_out, **kwargs)


def xresnet50(n_in=3, n_out=10, **kwargs):
    "XResNet of 50 layers: 3, 4, 6, 3 bottlenecks. kwargs: see `XResNet`."
    return XResNet(4, (3, 4, 6, 3), n_in, n_out, **kwargs)


def xresnet101(n_in=3, n_out=10, **kwargs):
    "XResNet of 101 layers: 3, 4, 23, 3 bottlenecks. kwargs: see `XResNet`."
    return XResNet(4, (3, 4, 23, 3), n_in, n_out, **kwargs)


def xresnet152(n_in=3, n_out=10, **kwargs):
    "XResNet of 152 layers: 3, 8, 36, 3 bottlenecks. kwargs: see `XResNet`."
    return XResNet(4, (3, 8, 36, 3), n_in, n_out, **kwargs)


# %% 11_train_imagenette.ipynb cell 8 #11vocab
def _vocab_of(dls):
    "The names of the classes, if the training data has them (see `LabelledData`), or None."
    ds = getattr(dls.train, 'ds', getattr(dls.train, 'dataset', None))
    while hasattr(ds, 'ds'):
        ds = ds.ds
    return getattr(getattr(ds, 'y_tfm', None), 'vocab', None)


def _channels_of(dls):
    "Channels of the pictures in a batch (bs, c, h, w)."
    xb = next(iter(dls.valid))[0]  # in order: no random number is drawn
    if xb.dim() != 4:
        raise ValueError(f'cnn_learner: batches are {tuple(xb.shape)}, not (bs, c, h, w); say n_in')
    return xb.shape[1]


# %% 11_train_imagenette.ipynb cell 9 #11made
def _made(dls, arch, n_in, n_out, vocab):
    "The model: `arch` itself, or what it makes for these data."
    if isinstance(arch, nn.Module):
        if n_in is not None or n_out is not None:
            raise ValueError('cnn_learner: n_in and n_out are for an arch; this model is made already')
        return arch
    if not callable(arch):
        raise TypeError(f'cnn_learner: a model, or a function such as xresnet18, not {arch!r}')
    if n_out is None and vocab is None:
        raise ValueError('cnn_learner: how many classes? The data do not say; give vocab or n_out')
    return arch(n_in=_channels_of(dls) if n_in is None else n_in,
                n_out=len(vocab) if n_out is None else n_out)


# %% 11_train_imagenette.ipynb cell 10 #11learner
_adamw = partial(adamw_opt, sqr_mom=.99, eps=1e-5, kind=FlatOptimizer)


def cnn_learner(dls, arch, loss_func=F.cross_entropy, opt_func=_adamw, lr=3e-3, cbs=(), splitter=None,
                vocab=None, n_in=None, n_out=None, metrics=(accuracy,)):
    """A `FullLearner` for pictures, on the best device, with metrics. -> FullLearner

    dls: loaders, `DataLoaders` or a pair · arch: a model, or a function that makes one, called with n_in and
    n_out, such as `xresnet18` or `partial(xresnet18, down=2)` · opt_func: default AdamW with fastai's numbers
    · vocab: names of the classes (default: those of the data) · n_in, n_out: channels and classes
    (default: those of the data) · metrics: see `Metrics` · loss_func, lr, splitter, cbs: see `FullLearner`.
    Raises ValueError if the data do not say what is needed, TypeError if arch is neither.
    """
    dls = dls if isinstance(dls, DataLoaders) else DataLoaders(*dls)
    vocab = _vocab_of(dls) if vocab is None else list(vocab)
    model = _made(dls, arch, n_in, n_out, vocab)
    return FullLearner(model, dls, loss_func, opt_func, lr, splitter, vocab,
                       [DeviceCallback(), Metrics(*metrics), *cbs])


# cell hashes: 11imports:553dbee1 11paths:ad40733b 11block:1f023ecd 11stem:0312785c
#   11checks:38e681d1 11xresnet:4579a3dc 11archs:09bedccb 11vocab:e359141b 11made:cb70306b
#   11learner:94c7c6b3
