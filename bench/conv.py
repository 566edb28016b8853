"""How fast the convolutions of chapter 06 are, beside torch's own in the same run.

    python bench/conv.py [--rounds 15]
    python bench/conv.py --accuracy [--seeds 5] [--epochs 3]

Every convolution is first checked against torch, forward and backward. All are then timed in
turn, on one thread. A ratio is a time divided by torch's, median over the rounds.
With --accuracy the CNN of the chapter is trained with two activations and several seeds, on all of
the digits (MNIST where it is to be had) and on 6,400 of them.
"""
from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import nn

from exp.nb_00 import duration, set_seed, speed_table
from exp.nb_00a import data_name, get_data
from exp.nb_01c import has_compiler
from exp.nb_02 import peak_memory
from exp.nb_02d import accuracy
from exp.nb_03 import Dataset, get_dls
from exp.nb_04 import Learner, Metrics
from exp.nb_05 import ParamScheduler, one_cycle
from exp.nb_06 import BatchTransform, GeneralReLU, c_conv2d, conv2d, init_cnn, simple_cnn, to_image

# bs, ni, size, nf, ks, stride, padding, groups: the layers of the chapter's CNN, then larger ones
LAYERS = [(128, 1, 28, 8, 5, 2, 2, 1), (128, 8, 14, 16, 3, 2, 1, 1), (128, 16, 7, 32, 3, 2, 1, 1),
          (128, 32, 4, 64, 3, 2, 1, 1), (64, 8, 28, 16, 3, 1, 1, 1), (64, 32, 14, 32, 3, 1, 1, 1),
          (64, 32, 14, 64, 1, 1, 0, 1), (64, 32, 14, 32, 3, 1, 1, 32)]


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--accuracy', action='store_true')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--epochs', type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.accuracy:
        accuracies(args.seeds, args.epochs)
        return
    convs = {'im2col': conv2d, **({'C': c_conv2d} if has_compiler() else {}), 'torch': F.conv2d}
    print(f'vectors: {torch.backends.cpu.get_cpu_capability()}, C compiler: {has_compiler()}')
    print('forward (f), forward + backward (fb): time, divided by torch\'s; memory of the forward')
    for layer in LAYERS:
        one_layer(layer, convs, args.rounds)


def one_layer(layer, convs, rounds):
    "Check, time and weigh all convolutions of one layer; print a line for each."
    bs, ni, size, nf, ks, stride, padding, groups = layer
    torch.manual_seed(0)
    x = torch.randn(bs, ni, size, size, requires_grad=True)
    w = torch.randn(nf, ni // groups, ks, ks, requires_grad=True)
    calls = {name: partial(f, x, w, stride=stride, padding=padding, groups=groups)
             for name, f in convs.items()}
    grad = torch.randn_like(calls['torch']())
    check(calls, x, w, grad)
    forward = {name: partial(without_grad, f) for name, f in calls.items()}
    times = speed_table(forward, repeats=rounds)
    both = speed_table({name: partial(gradients, f, x, w, grad) for name, f in calls.items()},
                       repeats=rounds)
    print(f'({bs}, {ni}, {size}, {size}) -> {nf} filters of {ks}×{ks}, stride {stride}, '
          f'groups {groups}')
    for name in calls:
        f, fb = (t.ratio(name) / t.ratio('torch') for t in (times, both))
        memory = peak_memory(forward[name]) / 1e6
        print(f'    {name:<8} f {duration(times.seconds(name)):>8} {f:6.2f}×   '
              f'fb {duration(both.seconds(name)):>8} {fb:6.2f}×   {memory:7.1f} MB', flush=True)


def without_grad(f):
    with torch.no_grad():
        return f()


def gradients(f, x, w, grad):
    return torch.autograd.grad(f(), (x, w), grad)


def check(calls, x, w, grad):
    "Stop unless all give torch's output and gradients, up to the rounding of float32."
    wanted = [calls['torch'](), *gradients(calls['torch'], x, w, grad)]
    for name, f in calls.items():
        for a, b in zip([f(), *gradients(f, x, w, grad)], wanted):
            assert (a - b).abs().max() <= 1e-4 * b.abs().max(), f'{name} is wrong'


def accuracies(seeds, epochs):
    "Print mean ± sd of the CNN's accuracy over seeds, on the whole set and on a part of it."
    x_train, y_train, x_valid, y_valid = get_data()
    m, s = x_train.mean(), x_train.std()
    train_ds, valid_ds = Dataset((x_train - m) / s, y_train), Dataset((x_valid - m) / s, y_valid)
    dls = get_dls(train_ds, valid_ds, 128)
    part = get_dls(Dataset(*train_ds[:6400]), Dataset(*valid_ds[:2000]), 128)
    acts = {'GeneralReLU': (partial(GeneralReLU, leak=.1, sub=.4), .1), 'ReLU': (nn.ReLU, 0.)}
    for name, (act, leak) in acts.items():
        report(f'{data_name()}, 6,400 pictures, 2 epochs, {name}', seeds, part, act, leak, .01, 2)
    for name, (act, leak) in acts.items():
        report(f'{data_name()}, all pictures, {epochs} epochs, {name}', seeds, dls, act, leak, .02,
               epochs)


def report(name, seeds, dls, act, leak, lr, epochs):
    values = [one_run(seed, dls, act, leak, lr, epochs) for seed in range(1, seeds + 1)]
    spread = f' ± {stdev(values):.4f}' if seeds > 1 else ''
    each = ', '.join(f'{v:.4f}' for v in values)
    print(f'{name}: {mean(values):.4f}{spread} (n={seeds}; {each})', flush=True)


def one_run(seed, dls, act, leak, lr, epochs):
    "Accuracy of the chapter's CNN after one training."
    set_seed(seed)
    learn = Learner(init_cnn(simple_cnn(act=act), leak), dls, F.cross_entropy,
                    partial(torch.optim.Adam, fused=True), lr,
                    [BatchTransform(to_image), Metrics(accuracy), ParamScheduler(lr=one_cycle(lr))])
    learn.fit(epochs)
    return learn.metrics['accuracy']


if __name__ == '__main__':
    main()
