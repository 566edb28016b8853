"""Letters to digits by every strategy of chapter 11a, from 10 to 1,000 labels: accuracy, mean ± sd over seeds.

    python bench/transfer.py [--seeds 5] [--labels 10,50,200,1000] [--only head,LoRA] [--fast]

The letters network is trained once. A seed chooses the labelled digits (MNIST where COURSE_DATA has it,
else the built-in ones) and all initial weights; accuracy is on 2,000 validation digits. --fast: 2 seeds,
10 and 50 labels, 500 validation digits. One thread.
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

from exp.nb_00 import set_seed, table
from exp.nb_00a import data_name, get_data
from exp.nb_02d import accuracy
from exp.nb_03 import DataLoader, Dataset
from exp.nb_06 import init_cnn, simple_cnn, to_image
from exp.nb_09 import FlatOptimizer, adamw_opt
from exp.nb_09b import FullLearner, split_at
from exp.nb_11a import FreezeNorms, adapt_model, add_lora, letters

OPT = partial(adamw_opt, kind=FlatOptimizer)
SLICE = slice(.001, .01)
EPOCHS = {10: 30, 50: 15, 200: 10, 1000: 4}


def fresh(n_out=10):
    return init_cnn(simple_cnn(n_out=n_out, norm=nn.BatchNorm2d))


class Task:
    "The letters network, and digits with few labels."
    def __init__(self, n_valid):
        x, y, x_valid, y_valid = letters()
        self.mean, self.std = x.mean(), x.std()
        set_seed(0)
        self.base = fresh(26)
        learn = FullLearner(self.base, (DataLoader(Dataset(self.prepare(x), y), 128, shuffle=True), []),
                            F.cross_entropy, OPT)
        learn.fit_one_cycle(3, .01)
        valid = DataLoader(Dataset(self.prepare(x_valid), y_valid), 500)
        print(f'letters: {learn.validate(accuracy, dl=valid)["accuracy"]:.2%}', flush=True)
        self.x, self.y, x_valid, y_valid = get_data()
        self.rows_of = [(self.y == c).nonzero()[:, 0] for c in range(10)]
        self.valid = DataLoader(Dataset(self.prepare(x_valid[:n_valid]), y_valid[:n_valid]), 500)

    def prepare(self, x):
        return to_image((x - self.mean) / self.std)

    def few(self, seed, n):
        "n digits, as many of each class"
        g = torch.Generator().manual_seed(seed)
        rows = torch.cat([r[torch.randperm(len(r), generator=g)[:n // 10]] for r in self.rows_of])
        return Dataset(self.prepare(self.x[rows]), self.y[rows])

    def learner(self, model, seed, n, norms=True, splitter=None):
        dl = DataLoader(self.few(seed, n), 10 if n <= 50 else 32, shuffle=True)
        return FullLearner(model, (dl, []), F.cross_entropy, OPT, splitter=splitter,
                           cbs=[FreezeNorms()] if norms else [])

    def adapted(self):
        return adapt_model(self.base, 10)


# ---- the strategies: (task, seed, labels, epochs) -> learner

def head(task, seed, n, epochs, norms=True):
    learn = task.learner(task.adapted(), seed, n, norms, split_at('head'))
    learn.freeze().fit_one_cycle(epochs, .01)
    return learn


def head_and_norms(task, seed, n, epochs):
    learn = task.learner(task.adapted(), seed, n, splitter=split_at('head')).freeze()
    for block in learn.model.body:
        block.norm.requires_grad_(True)
    learn.fit_one_cycle(epochs, .01)
    return learn


def gradual(task, seed, n, epochs):
    learn = task.learner(task.adapted(), seed, n, splitter=split_at('body.2', 'head'))
    for step in range(3):
        rate = .01 / 2**step
        learn.freeze_to(2 - step).fit_one_cycle(max(1, epochs // 3), slice(rate / 10, rate))
    return learn


def tuned(task, seed, n, epochs, lr=.01):
    learn = task.learner(task.adapted(), seed, n, splitter=split_at('body.2', 'head'))
    learn.fit_one_cycle(epochs, lr)
    return learn


def lora(task, seed, n, epochs, rank=2):
    learn = task.learner(add_lora(task.adapted(), rank), seed, n)
    learn.fit_one_cycle(epochs, .01)
    return learn


def scratch(task, seed, n, epochs):
    learn = task.learner(adapt_model(fresh(), 10), seed, n)
    learn.fit_one_cycle(epochs, .01)
    return learn


STRATEGIES = {'head only': head, 'head only, statistics not frozen': partial(head, norms=False),
              'head and norms': head_and_norms, 'gradual unfreezing': gradual, 'all at once': tuned,
              'discriminative rates': partial(tuned, lr=SLICE), 'LoRA of rank 2': lora,
              'LoRA of rank 8': partial(lora, rank=8), 'from scratch': scratch}


def measure(task, run, n, seeds):
    "-> (mean ± sd as text, CPU seconds of one fit)"
    values, seconds = [], 0.
    for seed in range(seeds):
        set_seed(seed)
        start = time.process_time()
        learn = run(task, seed, n, EPOCHS.get(n, max(3, 1500 // n)))
        seconds += time.process_time() - start
        values.append(100 * learn.validate(accuracy, dl=task.valid)['accuracy'])
    values = torch.tensor(values)
    return f'{values.mean():.1f} ± {values.std():.1f}', seconds / seeds


def main(seeds=5, labels=(10, 50, 200, 1000), only=(), fast=False):
    "Print a table of accuracies: a row for each strategy, a column for each number of labels."
    torch.set_num_threads(1)
    labels = (labels,) if isinstance(labels, int) else labels
    only = (only,) if isinstance(only, str) else only
    if fast:
        seeds, labels = 2, (10, 50)
    if seeds < 2 or min(labels) < 10 or any(n % 10 for n in labels):
        raise SystemExit('transfer.py: 2 seeds or more, and tens of labels, as many of each class')
    task, rows = Task(500 if fast else 2000), []
    chosen = {k: v for k, v in STRATEGIES.items() if not only or any(o in k for o in only)}
    if not chosen:
        raise SystemExit(f'transfer.py: --only {only} is in none of {", ".join(STRATEGIES)}')
    for name, run in chosen.items():
        found = [measure(task, run, n, seeds) for n in labels]
        rows.append([name, *[text for text, _ in found], f'{found[-1][1]:.2f}'])
        print(f'  {rows[-1]}', flush=True)
    head_row = ['accuracy, %', *[f'{n} labels' for n in labels], f'seconds at {labels[-1]}']
    print(f'\nletters to {data_name()}, n={seeds} seeds\n{table(head_row, rows)!r}')


if __name__ == '__main__':
    fire.Fire(main)
