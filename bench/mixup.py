"""What mixup, CutMix and label smoothing do for a CNN with few labels: accuracy and calibration over five seeds.

    python bench/mixup.py [--seeds 5] [--n 300] [--epochs 20] [--fast]

The CNN of chapter 06 with batch norm, trained on `n` pictures (MNIST where COURSE_DATA has it, else the
digits) with one cycle and AdamW, is measured on 2,000 validation pictures: accuracy, expected calibration error,
confidence minus accuracy, each as mean ± sd over the seeds, and the accuracy beside the plain way, seed by
seed. fast: one seed and two epochs, only to see that it runs. One thread.
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
from exp.nb_03 import DataLoader, Dataset
from exp.nb_06 import simple_cnn, to_image
from exp.nb_09 import FlatOptimizer, adamw_opt
from exp.nb_09b import FullLearner
from exp.nb_10b import CutMix, LabelSmoothing, MixUp, ece

WAYS = {'plain': {}, 'mixup, α = .4': dict(mixer=MixUp()), 'CutMix, α = 1': dict(mixer=CutMix()),
        'label smoothing, ε = .1': dict(loss_func=LabelSmoothing(.1)),
        'label smoothing, ε = .02': dict(loss_func=LabelSmoothing(.02)),
        'mixup and smoothing .1': dict(mixer=MixUp(), loss_func=LabelSmoothing(.1))}


def pictures():
    "Normalised training and validation sets; of the latter 2,000 chosen once."
    x_train, y_train, x_valid, y_valid = get_data()
    mean, std = x_train.mean(), x_train.std()
    pick = torch.randperm(len(x_valid), generator=torch.Generator().manual_seed(0))[:2000]
    return (Dataset(to_image((x_train - mean) / std), y_train),
            Dataset(to_image((x_valid[pick] - mean) / std), y_valid[pick]))


def measured(train_ds, valid_ds, seed, n, epochs, loss_func=F.cross_entropy, mixer=None):
    "One run. -> accuracy, ECE and confidence minus accuracy in per cent"
    set_seed(seed)
    few = Dataset(*train_ds[torch.randperm(len(train_ds))[:n]])
    dls = DataLoader(few, 50, shuffle=True), [valid_ds[:10]]
    learn = FullLearner(simple_cnn(norm=nn.BatchNorm2d), dls, loss_func,
                        partial(adamw_opt, kind=FlatOptimizer), cbs=[mixer] if mixer else [])
    learn.fit_one_cycle(epochs, .01)
    probs, targs = learn.get_preds(DataLoader(valid_ds, 500), act=lambda scores: scores.softmax(1))
    acc = accuracy(probs, targs)
    return [100 * float(v) for v in (acc, ece(probs, targs), probs.max(1)[0].mean() - acc)]


def main(seeds=5, n=300, epochs=20, fast=False):
    "Run all ways, print the table."
    torch.set_num_threads(1)
    seeds, epochs = (1, 2) if fast else (seeds, epochs)
    data = pictures()
    print(f'{data_name()}, {n} labels, {epochs} epochs, {seeds} seeds')
    print(f'{"":26}{"accuracy %":>14}{"ECE %":>14}{"conf − acc":>14}{"vs plain":>14}{"s a run":>9}')
    plain = None
    for name, way in WAYS.items():
        start = time.perf_counter()
        runs = torch.tensor([measured(*data, seed, n, epochs, **way) for seed in range(seeds)])
        plain = runs[:, 0] if plain is None else plain
        columns = [*runs.unbind(1), runs[:, 0] - plain]
        texts = [f'{c.mean():.1f} ± {c.std(correction=min(1, seeds - 1)):.1f}' for c in columns]
        print(f'{name:26}' + ''.join(f'{t:>14}' for t in texts)
              + f'{(time.perf_counter() - start) / seeds:9.1f}', flush=True)


if __name__ == '__main__':
    fire.Fire(main)
