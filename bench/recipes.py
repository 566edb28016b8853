"""The training recipes of chapter 11 at full length: accuracy over several seeds, and its cost.

    python bench/recipes.py --set pictures|mnist|cifar10|imagenette [--seeds 3] [--epochs E]
                            [--fast] [--json FILE] [--threads 1] [--lr .01 …]

Each set has one recipe, in `RECIPES`: a residual network of chapter 11's parts, AdamW on a
one-cycle schedule, label smoothing, augmentation of whole batches. Printed are the settings, a line
for each epoch and seed, and at the end mean ± sd of the last epoch's accuracy (never the best
one's) with the seconds of a seed; --json writes the same as a record of results.json, after every
seed. --fast: a tenth of the training data and two epochs, only to see that it runs. Any number of
the recipe can be changed by its name, such as --lr or --wd.

mnist: 50,000 of the training pictures, validated on the other 10,000 (the built-in digits where
there is no MNIST) · cifar10: 20,000 and 1,000 · pictures: the built-in ones, 4,000 and 1,000 ·
imagenette: the folder imagenette2-160 in $COURSE_DATA or data/.
"""
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fire
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from exp.nb_00 import set_seed
from exp.nb_00a import data_name, fetch, get_data
from exp.nb_03 import Dataset
from exp.nb_04 import Callback, CancelBatch, Recorder
from exp.nb_06 import to_image
from exp.nb_08 import (ImageList, LabelledData, ToTensor, Transform, label_by_parent, pictures,
                       split_by_grandparent, to_dls)
from exp.nb_09 import FlatOptimizer, adamw_opt
from exp.nb_10 import BatchAffine, BatchAugment, RandomErasing, RandomResizedCrop
from exp.nb_10b import LabelSmoothing
from exp.nb_11 import XResNet, cnn_learner, imagenette_dls, imagenette_path, xresnet18

RELU = partial(nn.ReLU, inplace=True)


# ---- data: functions -> (training set, validation set, what it is called)

def normalised(x, y, xv, yv, name):
    "Channels to mean 0 and sd 1, by the training pictures."
    std, mu = torch.std_mean(x, (0, 2, 3), keepdim=True)
    return Dataset((x - mu) / std, y), Dataset((xv - mu) / std, yv), name


def mnist():
    "Without the outer 2 pixels, which are nearly always empty: 24×24."
    x, y, xv, yv = get_data()
    x, xv = (to_image(part)[..., 2:-2, 2:-2] for part in (x, xv))
    return normalised(x, y, xv, yv, data_name())


def cifar10():
    def load(file):
        with np.load(fetch('cifar10') / file, allow_pickle=False) as found:
            x, y = torch.from_numpy(found['x']), torch.from_numpy(found['y'])
        return x.permute(0, 3, 1, 2).contiguous() / 255, y
    return normalised(*load('cifar10_train20k.npz'), *load('cifar10_test1k.npz'), 'cifar10')


def all_pictures():
    data = (ImageList.from_folder(pictures()).split(split_by_grandparent).label(label_by_parent)
            .transform(ToTensor()))
    train, valid = (ds.gather(range(len(ds))) for ds in (data.train, data.valid))
    return normalised(*train, *valid, 'pictures')


def imagenette(size=128):
    path = imagenette_path()
    if path is None:
        sys.exit('error: there is no folder imagenette2-160 in $COURSE_DATA or data/; unpack '
                 'imagenette2-160.tgz there (github.com/fastai/imagenette)')
    dls = imagenette_dls(path, size, item_tfms=[RandomResizedCrop(size, scale=(.35, 1))])
    return dls.train.ds, dls.valid.ds, f'imagenette {size} px'


# ---- augmentation beyond chapter 10, of batches (bs, c, h, w)

def crop(x, pad):
    "A window of each picture after mirroring `pad` pixels outwards at its edges; no resampling."
    bs, c, h, w = x.shape
    wide = F.pad(x, [pad] * 4, 'reflect')
    top, left = torch.randint(2 * pad + 1, (2, bs, 1))
    rows, columns = top + torch.arange(h), left + torch.arange(w)  # (bs, h), (bs, w)
    places = torch.arange(bs)[:, None, None], slice(None), rows[:, :, None], columns[:, None]
    return wide[places].permute(0, 3, 1, 2)


def flip(x):
    "Half of the pictures, mirrored."
    return torch.where((torch.rand(len(x)) < .5)[:, None, None, None], x.flip(3), x)


def colours(x, most):
    "Each channel of each picture stronger or weaker, and brighter or darker, by up to `most`."
    gain, shift = (torch.rand(2, len(x), x.shape[1], 1, 1) * 2 - 1) * most
    return x * gain.exp() + shift


# ---- callbacks

class LastOnly(Callback):
    "Validates after the last epoch only, the one that counts."
    order = -95

    def before_batch(self, learn):
        if not learn.training and learn.epoch < learn.n_epochs - 1:
            raise CancelBatch


class ChannelsLast(Callback):
    "Lays batches out with the channels last, which is faster on most processors."
    order = -70

    def before_batch(self, learn):
        learn.xb = learn.xb.contiguous(memory_format=torch.channels_last)


# ---- recipes

@dataclass(frozen=True)
class Recipe:
    data: Callable
    model: Callable
    epochs: int
    bs: int
    lr: float
    tfms: tuple = ()
    wd: float = .05
    smoothing: float = .1
    pct_start: float = .25
    floor: float = None


SMALL = partial(XResNet, 1, (1, 1, 1), act=RELU)  # three stages of one block

RECIPES = {
    'mnist': Recipe(
        mnist, partial(SMALL, n_in=1, widths=(40, 80, 160), stem=(20, 40), down=2),
        epochs=5, bs=128, lr=.01, floor=.995,
        tfms=(BatchAffine(zoom=1.1, shear=8, rotate=8, translate=.05, padding='border'),)),
    'cifar10': Recipe(
        cifar10, partial(SMALL, widths=(64, 128, 256), stem=(32, 64), down=2),
        epochs=12, bs=128, lr=.01, floor=.80,
        tfms=(flip, partial(crop, pad=4))),
    'pictures': Recipe(
        all_pictures, partial(SMALL, widths=(32, 64, 128), stem=(16, 16, 32)),
        epochs=12, bs=64, lr=.01, floor=.88,
        tfms=(BatchAffine(zoom=1.15, shear=8, rotate=8, translate=.1), partial(colours, most=.3))),
    'imagenette': Recipe(
        imagenette, partial(xresnet18, act=RELU), epochs=5, bs=64, lr=4e-3, floor=.824,
        tfms=(flip, RandomErasing(.3))),
}


def learner(recipe, train, valid):
    "A learner for one run; seed first."
    model = recipe.model().to(memory_format=torch.channels_last)
    opt_func = partial(adamw_opt, sqr_mom=.99, eps=1e-5, wd=recipe.wd, kind=FlatOptimizer)
    cbs = LastOnly(), BatchAugment(*recipe.tfms), ChannelsLast(), Recorder()
    return cnn_learner(to_dls(LabelledData(train, valid), recipe.bs), model,
                       LabelSmoothing(recipe.smoothing), opt_func, cbs=cbs)


def run(recipe, train, valid, seed):
    "-> (accuracy after the last epoch, seconds, seconds of processor time)"
    set_seed(seed)
    learn = learner(recipe, train, valid)
    start = time.perf_counter(), time.process_time()
    learn.fit_one_cycle(recipe.epochs, recipe.lr, pct_start=recipe.pct_start)
    return learn.metrics['accuracy'], time.perf_counter() - start[0], time.process_time() - start[1]


# ---- words and records

def called(f):
    "A function, class, partial or step, in words that are the same in every run."
    if isinstance(f, partial):
        args = [*map(str, f.args), *(f'{k}={called(v)}' for k, v in f.keywords.items())]
        return f'{called(f.func)}({", ".join(args)})'
    if isinstance(f, (tuple, list)):
        return '[' + ', '.join(map(called, f)) + ']'
    if isinstance(f, Transform):
        kept = {k: v for k, v in vars(f).items() if v is not None}
        return f'{type(f).__name__}({", ".join(f"{k}={v}" for k, v in kept.items())})'
    return getattr(f, '__name__', str(f))


def settings(recipe):
    "The recipe in one line."
    values = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name != 'floor'}
    return ', '.join(f'{k}={called(v)}' for k, v in values.items())


def size(train):
    "How many pictures a set has, and how many pixels high they are."
    return f'{len(train):,} pictures of {train.gather([0])[0].shape[-2]} px'


def record(data, train, recipe, runs):
    "What results.json holds of a recipe: its accuracy, with the spread over the seeds."
    accs, seconds, cpu = zip(*runs)
    sd = float(f'{stdev(accs):.4g}') if len(accs) > 1 else None
    return dict(chapter='11', notebook='11_train_imagenette.ipynb', cell=None,
                name=f'accuracy of the full recipe: {size(train)}, {recipe.epochs} epochs '
                     '(bench/recipes.py)',
                data=data, value=float(f'{mean(accs):.4g}'), sd=sd, n=len(accs), unit=None,
                at_least=recipe.floor, at_most=None, seconds=round(mean(cpu), 1))


class Tenth:
    "Every tenth sample of a dataset that can gather."
    def __init__(self, ds):
        self.ds = ds

    def __len__(self):
        return len(self.ds) // 10

    def gather(self, idx):
        return self.ds.gather(torch.as_tensor(idx) * 10)


def main(set, seeds=3, epochs=None, fast=False, json=None, threads=1, first=0, **change):
    "Run a recipe over the seeds from `first`."
    if set not in RECIPES:
        sys.exit(f'error: --set {set}: must be one of {", ".join(RECIPES)}')
    torch.set_num_threads(threads)
    recipe = replace(RECIPES[set], **change)
    train, valid, data = recipe.data()
    if fast:
        train, data = Tenth(train), f'a tenth of {data}'
        recipe = replace(recipe, epochs=2, floor=None)
    recipe = replace(recipe, epochs=epochs) if epochs else recipe
    print(f'{data}: {len(train):,} + {len(valid):,} pictures\n{settings(recipe)}', flush=True)
    runs = []
    for seed in range(first, first + seeds):
        runs.append(run(recipe, train, valid, seed))
        print('seed {}: accuracy {:.4f}, {:.0f} s, {:.0f} s of processor time'
              .format(seed, *runs[-1]), flush=True)
        if json:
            write(json, [record(data, train, recipe, runs)])
    accs, seconds, cpu = zip(*runs)
    sd = f' ± {stdev(accs):.4f}' if len(accs) > 1 else ''
    print(f'accuracy {mean(accs):.4f}{sd}, n={len(accs)}, {mean(seconds):.0f} s for a seed '
          f'({mean(cpu):.0f} s of processor time)')
    if recipe.floor and mean(accs) < recipe.floor:
        sys.exit(f'below the floor of {recipe.floor}')


def write(path, found):
    "Save records, a line each."
    lines = ',\n'.join(' ' + json.dumps(r, ensure_ascii=False) for r in found)
    Path(path).write_text(f'[\n{lines}\n]\n')


if __name__ == '__main__':
    fire.Fire(main)
