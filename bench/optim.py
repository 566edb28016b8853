"""Our optimisers beside torch's: the time of a step on one thread, and the steps to a target.

    python bench/optim.py [--repeats 9] [--steps]

Adam in all its versions steps the same parameters with the same gradients, in one process, in turn;
a ratio is the median over the rounds. Before anything is timed, all are asserted to arrive at the
same weights. With --steps: steps until the 784-50-10 net has 98 % of the training digits right,
mean ± sd over 5 seeds.
"""
from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fire
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from exp.nb_00 import set_seed, speed_table, table
from exp.nb_00a import data_name, get_data
from exp.nb_03 import DataLoader, Dataset
from exp.nb_09 import (FlatOptimizer, ForeachOptimizer, adam_opt, adamw_opt, lamb_opt, lion_opt,
                       muon_opt, rmsprop_opt, sgd_opt)

FIRST = 'torch foreach'


# ---- shapes

def small(width):
    "Weights and biases of 30 linear layers: 60 tensors."
    return [(width, width), (width,)] * 30


def resnet18():
    "The 62 parameters of ResNet-18: 11.7 million numbers."
    shapes, n_in = [(64, 3, 7, 7), (64,), (64,)], 64
    for n_out in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(n_out, n_in, 3, 3), (n_out,), (n_out,)]
            shapes += [(n_out, n_out, 3, 3), (n_out,), (n_out,)]
            if block == 0 and n_in != n_out:
                shapes += [(n_out, n_in, 1, 1), (n_out,), (n_out,)]
            n_in = n_out
    return shapes + [(1000, 512), (1000,)]


# ---- contenders

MAKERS = {FIRST: partial(torch.optim.Adam, foreach=True),
          'torch loop': partial(torch.optim.Adam, foreach=False),
          'torch fused': partial(torch.optim.Adam, fused=True), 'ours': adam_opt,
          'ours foreach': partial(adam_opt, kind=ForeachOptimizer),
          'ours flat': partial(adam_opt, kind=FlatOptimizer)}


def racers(shapes):
    "name -> step, after it is asserted that five steps of each lead to the same weights."
    found, reference = {}, None
    for name, make in MAKERS.items():
        g = torch.Generator().manual_seed(0)
        params = [nn.Parameter(torch.randn(s, generator=g) * .1) for s in shapes]
        opt = make(params, lr=1e-3)
        for _ in range(5):
            for p in params:
                p.grad = torch.randn(p.shape, generator=g)
            opt.step()
        weights = torch.cat([p.detach().flatten() for p in params])
        reference = weights if reference is None else reference
        gap = (weights - reference).abs().max().item()
        assert gap <= 1e-6, f'{name}: weights differ from those of {FIRST} by {gap}'
        found[name] = opt.step
    return found


def compare(title, shapes, repeats, wanted=None):
    times = speed_table(racers(shapes), repeats=repeats)
    n = sum(torch.Size(s).numel() for s in shapes)
    print(f'\n{title}: {len(shapes)} tensors, {n:,} numbers\n{times!r}')
    text = '' if wanted is None else f' (wanted: at most {wanted})'
    print(f'  ours flat / {FIRST}: {times.ratio("ours flat"):.3f}{text}', flush=True)


# ---- a whole training step, gradients included

def whole_step(repeats):
    "Forward, backward, step, zero_grad of a small net: what the step's cost means for training."
    def trainer(make):
        set_seed(0)
        model = nn.Sequential(*[m for _ in range(30) for m in (nn.Linear(16, 16), nn.ReLU())])
        opt, x = make(model.parameters(), lr=1e-3), torch.randn(64, 16)

        def step():
            model(x).square().mean().backward()
            opt.step()
            opt.zero_grad()
        return step
    times = speed_table({name: trainer(make) for name, make in MAKERS.items()}, repeats=repeats)
    print(f'\na whole training step of 30 linear layers of 16 units, bs 64\n{times!r}', flush=True)


# ---- steps to a target

FAMILY = {'SGD': (sgd_opt, .1), 'momentum': (partial(sgd_opt, mom=.9), .02),
          'Nesterov': (partial(sgd_opt, mom=.9, use_nesterov=True), .02),
          'RMSProp': (rmsprop_opt, .001), 'Adam': (adam_opt, .002), 'AdamW': (adamw_opt, .002),
          'LAMB': (lamb_opt, .005), 'Lion': (lion_opt, .0005), 'Muon': (muon_opt, .005)}


def steps_to(make, lr, seed, train, sample, goal, most, every=25):
    "Steps until `goal` of `sample` is right, looked at every 25 steps; at most `most`."
    set_seed(seed)
    model = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    opt, n = make(model.parameters(), lr=lr, kind=FlatOptimizer), 0
    while True:
        for xb, yb in DataLoader(train, 64, shuffle=True):
            cross_entropy(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()
            n += 1
            if n % every == 0:
                with torch.no_grad():
                    right = (model(sample.x).argmax(1) == sample.y).float().mean().item()
                if right >= goal or n >= most:
                    return n


def target(seeds, goal=.98, most=3000):
    "The table: all training digits, batches of 64, a constant rate; 2,000 of them are looked at."
    x, y, _, _ = get_data()
    train = Dataset((x - x.mean()) / x.std(), y)
    sample, rows = Dataset(*train[:2000]), []
    for name, (make, lr) in FAMILY.items():
        counts = torch.tensor([float(steps_to(make, lr, seed, train, sample, goal, most))
                               for seed in range(seeds)])
        missed = int((counts >= most).sum())
        rows.append([name, lr, f'{counts.mean():.0f}', f'{counts.std():.0f}', missed])
        print(f'  {name}: {[int(c) for c in counts]}', flush=True)
    head = ['optimiser', 'lr', f'steps to {goal:.0%}', '± sd', f'never within {most}']
    print(f'\n784-50-10 net, bs 64, {data_name()}, n={seeds}\n{table(head, rows)!r}')


def main(repeats=9, steps=False, seeds=5):
    "Print the tables of times; with --steps that of the steps to the target instead."
    torch.set_num_threads(1)
    if steps:
        return target(seeds)
    compare('small', small(16), repeats, wanted=.10)
    compare('small, wider', small(32), repeats)
    compare('ResNet-18', resnet18(), max(5, repeats // 2), wanted=.95)
    whole_step(repeats)


if __name__ == '__main__':
    fire.Fire(main)
