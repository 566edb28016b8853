"""What the norms of chapter 07 are worth: a CNN in three epochs over five seeds, and training in small batches.

    python bench/norm.py [--only cnn,small] [--seeds 0,1,2,3,4] [--epochs 3] [--n 1000]

cnn: accuracy of the CNN with BatchNorm and a one-cycle schedule on all training pictures (MNIST where
COURSE_DATA has it, else the digits). small: a network with two hidden layers, and the CNN, one epoch over
`n` pictures in batches as small as 1; for each norm and size the better of two learning rates, mean ± sd
over three seeds. One thread.
"""
from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fire
import torch
import torch.nn.functional as F
from torch import nn

from exp.nb_00 import set_seed
from exp.nb_00a import data_name, get_data
from exp.nb_02d import accuracy
from exp.nb_03 import Dataset, get_dls
from exp.nb_04 import Callback, Learner, Metrics
from exp.nb_05 import ParamScheduler, one_cycle
from exp.nb_06 import init_cnn, simple_cnn, to_image
from exp.nb_07 import BatchNorm, GroupNorm, RunningBatchNorm

NORMS = {'no norm': None, 'BatchNorm': BatchNorm, 'GroupNorm, 4 groups': partial(GroupNorm, 4),
         'RunningBatchNorm': RunningBatchNorm}


def pictures():
    x_train, y_train, x_valid, y_valid = get_data()
    mean, std = x_train.mean(), x_train.std()
    return [to_image((x_train - mean) / std), y_train, to_image((x_valid - mean) / std), y_valid]


def train_cnn(data, seed, epochs=3, bs=64, lr=.01):
    "-> accuracy of the CNN after `epochs` epochs of one cycle"
    x, y, xv, yv = data
    set_seed(seed)
    model = init_cnn(simple_cnn(widths=(16, 32, 64, 128), norm=BatchNorm))
    learn = Learner(model, get_dls(Dataset(x, y), Dataset(xv, yv), bs), F.cross_entropy,
                    partial(torch.optim.AdamW, fused=True), lr,
                    cbs=[Metrics(accuracy), ParamScheduler(lr=one_cycle(lr))])
    learn.fit(epochs)
    return learn.metrics['accuracy']


def mlp(norm, n_hidden=64):
    sizes = [784, n_hidden, n_hidden]
    blocks = [m for ni, nf in zip(sizes, sizes[1:])
              for m in (nn.Linear(ni, nf, norm is None), *([norm(nf)] if norm else []), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(n_hidden, 10))


def cnn(norm):
    return init_cnn(simple_cnn(norm=norm))


class CheckSizes(Callback):
    "Every training batch has the size that the table will state; a smaller last one is left out."
    def __init__(self, bs):
        self.bs = bs

    def before_batch(self, learn):
        if learn.training and len(learn.xb) != self.bs:
            raise AssertionError(f'a batch of {len(learn.xb)} in a run that states {self.bs}')


def train_small(data, make, norm, bs, lr, seed, n):
    "-> accuracy after one epoch over n pictures (those of full batches) in batches of bs"
    x, y, xv, yv = data
    set_seed(seed)
    idx = torch.randperm(len(x))[:n // bs * bs]
    dls = get_dls(Dataset(x[idx], y[idx]), Dataset(xv[:2000], yv[:2000]), bs)
    dls[1].batch_sampler.bs = 500    # the size of a validation batch changes nothing
    learn = Learner(make(norm), dls, F.cross_entropy, lr=lr,
                    cbs=[CheckSizes(bs), Metrics(accuracy), ParamScheduler(lr=one_cycle(lr))])
    try:
        learn.fit(1)
    except ValueError:    # BatchNorm refuses a single row
        return None
    return learn.metrics['accuracy']


def best_rate(data, make, norm, bs, rates, n, seeds=3):
    "The result at the better of the rates: `87.4 ± 0.6 (0.1)`, the rate in brackets."
    found = []
    for lr in rates:
        accs = [train_small(data, make, norm, bs, lr, seed, n) for seed in range(seeds)]
        if None in accs:
            return 'refused'
        accs = 100 * torch.tensor(accs)
        found.append((accs.mean().item(), accs.std().item(), lr))
    mean, sd, lr = max(found)
    return f'{mean:.1f} ± {sd:.1f} ({lr:g})'


def small_table(data, name, make, sizes, n):
    print(f'\n{name}, {n} pictures of {data_name()}, one epoch: accuracy in % (learning rate)')
    print(f'{"batches of":22}' + ''.join(f'{bs:>22}' for bs in sizes))
    for title, norm in NORMS.items():
        cells = [best_rate(data, make, norm, bs, (.03, .1) if bs < 8 else (.1, .3), n) for bs in sizes]
        print(f'{title:22}' + ''.join(f'{c:>22}' for c in cells), flush=True)


def main(only='cnn,small', seeds=(0, 1, 2, 3, 4), epochs=3, n=1000):
    only = only.split(',') if isinstance(only, str) else only
    seeds = [seeds] if isinstance(seeds, int) else seeds
    torch.set_num_threads(1)
    data = pictures()
    if 'cnn' in only:
        accs = []
        for seed in seeds:
            start = time.perf_counter()
            accs.append(train_cnn(data, seed, epochs))
            print(f'seed {seed}: {accs[-1]:.4f}, {time.perf_counter() - start:.0f} s', flush=True)
        accs = torch.tensor(accs)
        spread = f' ± {accs.std():.4f}' if len(accs) > 1 else ''
        print(f'CNN with BatchNorm, {epochs} epochs of one cycle on {data_name()}: '
              f'{accs.mean():.4f}{spread} (n={len(accs)}, lowest {accs.min():.4f})')
    if 'small' in only:
        small_table(data, 'two hidden layers', mlp, (1, 2, 4, 8, 32), n)
        small_table(data, 'CNN', cnn, (2, 8, 32), n)


if __name__ == '__main__':
    fire.Fire(main)
