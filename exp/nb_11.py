"""Train Imagenette: residual networks and a recipe

Exported from nbs/11_train_imagenette.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:a62ebff7cadf0f29 head:d3419212
__all__ = ['ResBlock', 'XResNet', 'xresnet18', 'xresnet34', 'xresnet50', 'xresnet101', 'xresnet152',
           'cnn_learner', 'IMAGENETTE', 'imagenette_path', 'imagenette_dls']


# %% 11_train_imagenette.ipynb cell 22 #11imports
from collections import OrderedDict
from functools import partial
from itertools import pairwise
from pathlib import Path

from torch import nn
from torch.nn import functional as F

from exp.nb_00a import _data_dirs
from exp.nb_02d import accuracy
from exp.nb_04 import DataLoaders, Metrics
from exp.nb_06 import DeviceCallback, conv_block, init_cnn
from exp.nb_08 import (ImageList, NormalizeChannels, Resize, ToTensor, split_by_grandparent,
                       to_dls)
from exp.nb_09 import FlatOptimizer, adamw_opt
from exp.nb_09b import FullLearner


# %% 11_train_imagenette.ipynb cell 24 #11residual
def _residual(expansion, ni, nh, stride, act, norm):
    "The convolutions of a block, two or, if it expands, three; no activation at the end."
    if expansion == 1:
        return nn.Sequential(conv_block(ni, nh, 3, stride, norm, act),
                             conv_block(nh, nh, 3, 1, norm, None))
    return nn.Sequential(conv_block(ni, nh, 1, 1, norm, act),
                         conv_block(nh, nh, 3, stride, norm, act),
                         conv_block(nh, nh * expansion, 1, 1, norm, None))


# %% 11_train_imagenette.ipynb cell 31 #11shortcut
def _shortcut(ni, nf, stride, norm):
    "What brings x to the shape of the sum: nothing, an average, a 1×1 convolution, or both."
    layers = []
    if stride > 1:
        layers.append(nn.AvgPool2d(stride, ceil_mode=True))
    if ni != nf:
        layers.append(conv_block(ni, nf, 1, 1, norm, None))
    return nn.Sequential(*layers)


# %% 11_train_imagenette.ipynb cell 35 #11numbers
def _check_numbers(who, **numbers):
    "Refuse what is no whole number ≥ 1."
    for name, n in numbers.items():
        if not isinstance(n, int) or n < 1:
            raise ValueError(f'{who}: {name} must be a whole number ≥ 1, not {n!r}')


# %% 11_train_imagenette.ipynb cell 38 #11block
class ResBlock(nn.Module):
    """act(convs(x) + shortcut(x)): (bs, ni, h, w) -> (bs, nh·expansion, ⌈h/stride⌉, ⌈w/stride⌉)

    expansion: 1 for two convolutions of 3×3 with nh channels; more for a bottleneck, 1×1 to nh,
    3×3, 1×1 to nh·expansion · act, norm: see `conv_block` · zero: the last norm of `convs`
    (without norms: convolution) starts at weight 0, the block as act(shortcut(x)). Raises
    ValueError for sizes that are no whole numbers ≥ 1. Source: He et al. 2015, arXiv 1512.03385;
    the shortcut: ResNet-D of He et al. 2018, arXiv 1812.01187.
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


# %% 11_train_imagenette.ipynb cell 46 #11stem
def _stem(n_in, widths, down, act, norm):
    "Convolutions of 3×3 with these widths; down=4: the first has stride 2, and a max-pool follows."
    convs = [conv_block(ni, nf, 3, 2 if down > 1 and i == 0 else 1, norm, act)
             for i, (ni, nf) in enumerate(pairwise([n_in, *widths]))]
    return nn.Sequential(*convs, *([nn.MaxPool2d(3, 2, 1)] if down == 4 else []))


# %% 11_train_imagenette.ipynb cell 51 #11stages
def _stages(block, expansion, layers, ni, widths):
    "Stages of blocks, all but the first stage halving the picture. -> (dict of stages, channels)"
    stages = OrderedDict()
    for i, (n, nh) in enumerate(zip(layers, widths)):
        first = block(expansion, ni, nh, 2 if i else 1)
        ni = nh * expansion
        others = [block(expansion, ni, nh) for _ in range(n - 1)]
        stages[f'stage{i + 1}'] = nn.Sequential(first, *others)
    return stages, ni


# %% 11_train_imagenette.ipynb cell 57 #11checks
class _Checked(nn.Sequential):
    def _check(self, expansion, layers, n_in, n_out, widths, stem, down):
        lists = dict(layers=layers, widths=widths, stem=stem)
        numbers = {f'{name}[{i}]': n for name, ns in lists.items() for i, n in enumerate(ns)}
        _check_numbers('XResNet', expansion=expansion, n_in=n_in, n_out=n_out, **numbers)
        if not stem or not layers or len(layers) != len(widths):
            raise ValueError('XResNet: one width for each stage is needed, and a stem, not '
                             f'layers={layers}, widths={widths} and stem={stem}')
        if down not in (1, 2, 4):
            raise ValueError(f'XResNet: down must be 1, 2 or 4, not {down!r}')

    def __getitem__(self, i):
        "A part, or for a slice a plain `nn.Sequential` of parts with the same names."
        if isinstance(i, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[i]))
        return super().__getitem__(i)


# %% 11_train_imagenette.ipynb cell 59 #11xresnet
class XResNet(_Checked):
    """A residual network: pictures (bs, n_in, h, w) -> scores (bs, n_out)

    Its parts are `stem`, `stage1`, `stage2`, …, `pool`, `flatten`, `head`; `model[:-3]` is the
    body. expansion: see `ResBlock` · layers: blocks in each stage · widths: `nh` of each stage's
    blocks; a stage halves the picture, but for the first · stem: channels of its convolutions ·
    down: how far the stem scales down: 4 (stride 2, max-pool), 2 (stride 2), or 1, for small
    pictures · act, norm: see `conv_block` · block: called as `block(expansion, ni, nh, stride,
    act=act, norm=norm)`. Raises ValueError for numbers that do not fit. Source: ResNet-D of He et
    al. 2018, arXiv 1812.01187; equal to fastai's of the same name.
    """
    def __init__(self, expansion, layers, n_in=3, n_out=10, widths=(64, 128, 256, 512),
                 stem=(32, 32, 64), down=4, act=nn.ReLU, norm=nn.BatchNorm2d, block=ResBlock):
        self._check(expansion, layers, n_in, n_out, widths, stem, down)
        block = partial(block, act=act, norm=norm)
        stages, ni = _stages(block, expansion, layers, stem[-1], widths)
        super().__init__(OrderedDict(
            stem=init_cnn(_stem(n_in, stem, down, act, norm)), **stages,
            pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
            head=init_cnn(nn.Linear(ni, n_out))))


# %% 11_train_imagenette.ipynb cell 65 #11archs
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


# %% 11_train_imagenette.ipynb cell 79 #11vocab
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


# %% 11_train_imagenette.ipynb cell 81 #11made
def _made(dls, arch, n_in, n_out, vocab):
    "The model: `arch` itself, or what it makes for these data."
    if isinstance(arch, nn.Module):
        if n_in is not None or n_out is not None:
            raise ValueError('cnn_learner: n_in and n_out are for an arch; this model is made')
        return arch
    if not callable(arch):
        raise TypeError(f'cnn_learner: a model, or a function such as xresnet18, not {arch!r}')
    if n_out is None and vocab is None:
        raise ValueError('cnn_learner: how many classes? The data do not say; give vocab or n_out')
    return arch(n_in=_channels_of(dls) if n_in is None else n_in,
                n_out=len(vocab) if n_out is None else n_out)


# %% 11_train_imagenette.ipynb cell 83 #11learner
_adamw = partial(adamw_opt, sqr_mom=.99, eps=1e-5, kind=FlatOptimizer)


def cnn_learner(dls, arch, loss_func=F.cross_entropy, opt_func=_adamw, lr=3e-3, cbs=(),
                splitter=None, vocab=None, n_in=None, n_out=None, metrics=(accuracy,)):
    """A `FullLearner` for pictures, on the best device, with metrics. -> FullLearner

    dls: loaders, `DataLoaders` or a pair · arch: a model, or a function that makes one, called with
    n_in and n_out, such as `xresnet18` or `partial(xresnet18, down=2)` · opt_func: default AdamW
    with fastai's numbers · vocab: names of the classes · n_in, n_out: channels and classes (all
    three by default: those of the data) · metrics: see `Metrics` · loss_func, lr, splitter, cbs:
    see `FullLearner`. Raises ValueError if the data do not say what is needed, TypeError if arch is
    neither.
    """
    dls = dls if isinstance(dls, DataLoaders) else DataLoaders(*dls)
    vocab = _vocab_of(dls) if vocab is None else list(vocab)
    model = _made(dls, arch, n_in, n_out, vocab)
    return FullLearner(model, dls, loss_func, opt_func, lr, splitter, vocab,
                       [DeviceCallback(), Metrics(*metrics), *cbs])


# %% 11_train_imagenette.ipynb cell 101 #11names
IMAGENETTE = {
    'n01440764': 'tench', 'n02102040': 'English springer', 'n02979186': 'cassette player',
    'n03000684': 'chain saw', 'n03028079': 'church', 'n03394916': 'French horn',
    'n03417042': 'garbage truck', 'n03425413': 'gas pump', 'n03445777': 'golf ball',
    'n03888257': 'parachute'}


def imagenette_path(name='imagenette2-160'):
    """The folder of Imagenette on this machine -> Path, or None if there is none

    Looked for in `$COURSE_DATA`, then in the course's `data/`; never downloaded. name:
    `imagenette2-160`, `imagenette2-320` (the shorter side of its pictures) or `imagenette2`.
    """
    found = [folder / name for folder in _data_dirs() if (folder / name).is_dir()]
    return found[0] if found else None


def _class_name(item):
    "The class of a picture by its folder: the name of a WordNet number, or the folder's own."
    folder = Path(item).parent.name
    return IMAGENETTE.get(folder, folder)


# %% 11_train_imagenette.ipynb cell 104 #11folder
def imagenette_dls(path, size=128, bs=64, item_tfms=(), batch_tfms=(), valid='val', **kwargs):
    """Loaders of Imagenette's layout, `train/<class>/*.JPEG`, `val/<class>/*.JPEG`. -> DataLoaders

    size: pixels of a side · item_tfms: steps for single PIL images, before `Resize(size)` ·
    batch_tfms: steps for batches, after these are normalised · valid: what the folder of the
    validation part is called · kwargs: see `to_dls`. Classes get their English names. Raises
    FileNotFoundError for a folder without pictures, ValueError for one without the two parts.
    """
    data = (ImageList.from_folder(path)
            .split(split_by_grandparent, valid=valid)
            .label(_class_name)
            .transform(*item_tfms, Resize(size), ToTensor(), NormalizeChannels(), *batch_tfms))
    return to_dls(data, bs, **kwargs)


# cell hashes: 11imports:f380cfa7 11residual:9ce16ffb 11shortcut:5bf8f4d2 11numbers:0cf85a5b
#   11block:486dd835 11stem:e4f27383 11stages:540d724b 11checks:a2f27e65 11xresnet:60695cff
#   11archs:09bedccb 11vocab:e359141b 11made:52a4b026 11learner:b202d540 11names:812d6ac4
#   11folder:fcb53798
