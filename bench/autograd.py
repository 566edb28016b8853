"""Forward and backward of the 784-50-10 network: our autograd (chapter 02c) beside torch's.

    python bench/autograd.py [--bs 64 512] [--rounds 400] [--calls 1 5] [--threads 1]

Both engines compute linear-relu-linear-cross-entropy and all four gradients from the same weights,
which are asserted equal first. Then they take turns, in random order within each round. A turn is
`calls` steps in a row: 1 means that each finds the caches as its rival left them, 5 that the first
step warms them up (as in training, where one engine follows itself) and the other four are timed.
Printed are medians over the rounds, and the median ratio of ours to torch's, round by round.
"""
from __future__ import annotations

import math
import random
import time
from argparse import ArgumentParser
from statistics import median, quantiles

import torch
import torch.nn.functional as F

from exp.nb_02c import Tensor


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--bs', type=int, nargs='+', default=[64, 512])
    parser.add_argument('--rounds', type=int, default=400)
    parser.add_argument('--calls', type=int, nargs='+', default=[1, 5])
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    if min(*args.bs, args.rounds, *args.calls, args.threads) < 1:
        parser.error('--bs, --rounds, --calls and --threads take numbers of 1 or more')
    torch.set_num_threads(args.threads)
    print(f'784-50-10, forward + backward, threads {args.threads}, medians of {args.rounds} rounds')
    print(f'{"bs":>4}  {"calls":>5}  {"torch":>9}  {"ours":>9}  {"ours/torch":>10}  quartiles')
    for bs in args.bs:
        steps = contestants(bs)
        for calls in args.calls:
            report(bs, calls, race(steps, args.rounds, calls))


def contestants(bs):
    "{name: a function that does one forward and backward pass}, after asserting equal gradients."
    g = torch.Generator().manual_seed(0)
    xb, yb = torch.rand(bs, 784, generator=g), torch.randint(0, 10, (bs,), generator=g)
    start = [torch.randn(50, 784, generator=g) * math.sqrt(2 / 784), torch.zeros(50),
             torch.randn(10, 50, generator=g) * math.sqrt(2 / 50), torch.zeros(10)]
    theirs = [a.clone().requires_grad_() for a in start]
    ours = [Tensor(a.clone(), requires_grad=True) for a in start]
    steps = {'torch': lambda: step(torch_loss, xb, yb, theirs),
             'ours': lambda: step(our_loss, xb, yb, ours)}
    losses = {name: f().item() for name, f in steps.items()}
    torch.testing.assert_close(losses['ours'], losses['torch'], rtol=1e-5, atol=1e-6)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)
    return steps


def step(loss_func, xb, yb, params):
    for p in params:
        p.grad = None
    loss = loss_func(xb, yb, *params)
    loss.backward()
    return loss


def torch_loss(xb, yb, w1, b1, w2, b2):
    return F.cross_entropy(F.linear(F.linear(xb, w1, b1).relu(), w2, b2), yb)


def our_loss(xb, yb, w1, b1, w2, b2):
    return Tensor(xb).linear(w1, b1).relu().linear(w2, b2).cross_entropy(yb)


def race(steps, rounds, calls, warm_up=20):
    "Seconds per step of each contestant, one number a round. -> {name: [seconds]}"
    times, order = {name: [] for name in steps}, random.Random(0)
    for _ in range(rounds + warm_up):
        for name in order.sample(list(steps), len(steps)):
            times[name].append(turn(steps[name], calls))
    return {name: ts[warm_up:] for name, ts in times.items()}


def turn(f, calls):
    "Seconds per call of `calls` calls in a row; of several, the first is not timed."
    if calls > 1:
        f()
    timed = max(1, calls - 1)
    start = time.perf_counter()
    for _ in range(timed):
        f()
    return (time.perf_counter() - start) / timed


def report(bs, calls, times):
    ratios = [a / b for a, b in zip(times['ours'], times['torch'])]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    a, b = (median(times[name]) * 1e6 for name in ('torch', 'ours'))
    print(f'{bs:>4}  {calls:>5}  {a:>6,.0f} µs  {b:>6,.0f} µs  {median(ratios):>10.3f}  '
          f'{low:.3f} … {high:.3f}')


if __name__ == '__main__':
    main()
