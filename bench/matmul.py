"""How fast the matrix products of chapter 01c are, beside torch.mm in the same run.

    python bench/matmul.py [--rounds 25] [--threads 2]

Every product is first checked against float64. All are then timed in turn, on one thread and, where
the system allows that, bound to one core. A ratio is that of the speeds, so more than 1 is faster
than torch: the median over the rounds of torch's time divided by ours.
"""
from __future__ import annotations

import math
import os
from argparse import ArgumentParser

import torch

from exp.nb_00 import speed_table
from exp.nb_01c import _kernel, c_matmul, has_compiler, numba_matmul

SIZES = [(1024, 1024, 1024), (1024, 784, 50), (5, 784, 10), (1023, 1021, 1025), (64, 784, 50),
         (256, 256, 256), (32, 32, 32), (16, 144, 196), (2048, 2048, 2048)]


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=25)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cores = bind(one=True)
    print(f'vectors: {torch.backends.cpu.get_cpu_capability()}, C compiler: {has_compiler()}')
    print(f'{"m × k × n":<22}{"torch.mm":>12}{"GFLOP/s":>9}{"c_matmul":>10}{"numba":>8}{"kernel":>8}')
    for size in SIZES:
        one_size(size, args.rounds)
    bind(cores=cores)
    if has_compiler():
        several_threads((1024, 1024, 1024), args.rounds, args.threads)


def bind(one=False, cores=None):
    "Bind this process to one of its cores, or to `cores`. -> the cores it had; None if unknown"
    if not hasattr(os, 'sched_setaffinity'):
        return None
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)} if one else cores)
    return before


def check(c, a, b):
    "Stop unless c is a @ b up to the rounding of float32."
    a, b = a.double(), b.double()
    bound = a.shape[1] ** .5 * torch.finfo(torch.float32).eps * (a.abs() @ b.abs())
    assert ((c.double() - a @ b).abs() <= bound).all(), 'wrong product'


def matrices(m, k, n):
    return torch.randn(m, k), torch.randn(k, n), torch.full((m, n), math.nan)


def one_size(size, rounds):
    "A line of the table: torch's time and rate, and the speed of ours as a multiple of torch's."
    m, k, n = size
    a, b, out = matrices(m, k, n)
    calls = {'torch': lambda: torch.mm(a, b, out=out)}
    if has_compiler():
        kernel = _kernel()
        calls['c_matmul'] = lambda: c_matmul(a, b, out)
        calls['kernel'] = lambda: kernel(a.data_ptr(), b.data_ptr(), out.data_ptr(), m, k, n)
    calls['numba'] = lambda: numba_matmul(a, b, out)
    for call in calls.values():
        out.fill_(math.nan)
        call()
        check(out, a, b)
    flops = 2 * m * k * n
    quick = flops < 1e7  # short bursts side by side, so that little can come between them
    table = speed_table(calls, repeats=rounds * 8 if quick else max(3, min(rounds, int(5e10 / flops))),
                        min_time=.001 if quick else .01)
    seconds = table.seconds('torch')
    ratios = [f'{table.speedup(name):.2f}' if name in calls else '-'
              for name in ('c_matmul', 'numba', 'kernel')]
    print(f'{m:>5} × {k} × {n}'.ljust(22) + f'{seconds * 1e6:>9,.1f} µs{flops / seconds / 1e9:>9.1f}'
          + f'{ratios[0]:>10}{ratios[1]:>8}{ratios[2]:>8}')


def several_threads(size, rounds, threads):
    "How much faster several threads are than one, ours and torch's, and ours beside torch's."
    a, b, out = matrices(*size)
    check(c_matmul(a, b, out, threads), a, b)

    def torch_on(n_threads):
        torch.set_num_threads(n_threads)
        torch.mm(a, b, out=out)
    table = speed_table({'torch, 1': lambda: torch_on(1), 'torch': lambda: torch_on(threads),
                         'c_matmul, 1': lambda: c_matmul(a, b, out),
                         'c_matmul': lambda: c_matmul(a, b, out, threads)}, repeats=rounds)
    ours = table.seconds('c_matmul, 1') / table.seconds('c_matmul')
    print(f'{" × ".join(map(str, size))} on {threads} threads beside one: torch '
          f'{table.speedup("torch"):.2f}, c_matmul {ours:.2f}; c_matmul beside torch, both on '
          f'{threads}: {table.seconds("torch") / table.seconds("c_matmul"):.2f}')


if __name__ == '__main__':
    main()
