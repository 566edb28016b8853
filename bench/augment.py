"""Augmentation: our steps beside torchvision's v2 and fastai's, on the same pictures, one core.

    python bench/augment.py [--rounds 7]                      images per second, item steps and batch steps
    python bench/augment.py --train [--seeds 5] [--fast]      accuracy with 1,000 labels over seeds

Before anything is timed, the results are asserted equal wherever all sides can be given the same parameters. The
contenders take turns; shown are medians over the rounds, and the ratio to ours. Where there is a GPU, batch steps
are timed there as well. `--data digits` trains on the digits (MNIST with COURSE_DATA) in place of the pictures.
"""
from __future__ import annotations

import os
import random
import sys
import warnings
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from statistics import mean, stdev

os.environ['OMP_NUM_THREADS'] = '1'
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from exp.nb_00 import set_seed, speed_table, table, test_eq, test_near
from exp.nb_00a import data_name, get_data
from exp.nb_02d import accuracy
from exp.nb_03 import DataLoader, Dataset, evaluate
from exp.nb_04 import DataLoaders
from exp.nb_06 import simple_cnn
from exp.nb_08 import ImageList, label_by_parent, open_image, pictures, split_by_grandparent
from exp.nb_08 import NormalizeChannels, Resize, ToTensor
from exp.nb_09 import FlatOptimizer, adamw_opt
from exp.nb_09b import FullLearner
from exp.nb_10 import (BatchAffine, BatchAugment, Flip, Perspective, RandomErasing, RandomResizedCrop, TrivialAugment,
                       homography, random_box, rotation, shear, translation, tta, warp, zoom)

BILINEAR = v2.InterpolationMode.BILINEAR


def pixels(img):
    return torch.from_numpy(np.array(img))


def photo_files():
    "A photo of 320 × 240, as a PIL image."
    from sklearn.datasets import load_sample_images
    return Image.fromarray(load_sample_images().images[0]).crop((100, 60, 420, 300))


def check_items(img):
    "Equal pixels for equal parameters."
    for seed in range(20):
        rng = random.Random(seed)
        top, left, h, w = box = random_box(img.height, img.width, (.08, 1), (3 / 4, 4 / 3), rng)
        ours = RandomResizedCrop(64).apply(img, box)
        test_eq(pixels(ours), pixels(v2.functional.resized_crop(img, top, left, h, w, [64, 64])))
        corners = Perspective(.5, p=1).draw(img, rng)
        start = [[0, 0], [img.width, 0], [img.width, img.height], [0, img.height]]
        theirs = v2.functional.perspective(img, start, corners.tolist(), BILINEAR)
        gap = pixels(Perspective(.5, p=1).apply(img, corners)).int() - pixels(theirs).int()
        assert gap.abs().max() <= 1
    test_eq(pixels(Flip(1)(img)), pixels(v2.functional.horizontal_flip(img)))


def item_steps(rounds):
    "One picture of 320 × 240 at a time."
    img = photo_files()
    check_items(img)
    crop = RandomResizedCrop(64), v2.RandomResizedCrop(64)
    both = (lambda x, a=Flip(): a(crop[0](x))), v2.Compose([crop[1], v2.RandomHorizontalFlip()])
    pairs = {'RandomResizedCrop and Flip': both,
             'Perspective': (Perspective(.5, p=1), v2.RandomPerspective(.5, p=1)),
             'TrivialAugment': (TrivialAugment(), v2.TrivialAugmentWide())}
    rows = []
    for name, (ours, theirs) in pairs.items():
        speed = speed_table({'ours': lambda: [ours(img) for _ in range(50)],
                             'torchvision': lambda: [theirs(img) for _ in range(50)]}, repeats=rounds)
        rows.append((name, *(f'{50 / speed.seconds(k):,.0f}' for k in speed.times), f'{speed.ratio("torchvision"):.2f}×'))
    print('PIL images of 320 × 240')
    print(table(['', 'ours, images/s', 'torchvision v2', 'ours is faster by'], rows), '\n', flush=True)


def check_batches(xb):
    "Equal values for equal maps, boxes and fillings."
    from fastai.vision.augment import TensorImage
    M = (translation(4, -3) @ rotation(21) @ zoom(1.15) @ shear(8)).to(torch.float64)
    theirs = v2.functional.affine(xb, 21., [4, -3], 1.15, [8., 0.], BILINEAR)
    test_near(warp(xb, M), theirs, rtol=0, atol=2e-4)
    affine = BatchAffine(flip=.5, zoom=1.1, rotate=10)
    drawn = affine.draw(xb)
    half = torch.diag(torch.tensor([2 / xb.shape[3], 2 / xb.shape[2], 1], dtype=torch.float64))
    theta = (half @ drawn.inverse() @ half.inverse())[:, :2].float().to(xb.device)
    theirs = TensorImage(xb).affine_coord(theta, pad_mode='reflection', align_corners=False)
    test_near(affine.apply(xb, drawn), theirs.as_subclass(torch.Tensor), rtol=0, atol=2e-4)
    erase = RandomErasing(p=1)
    holes = erase.draw(xb)
    for (i, top, left, patch), out in zip(holes, erase.apply(xb, holes)):
        test_eq(out, v2.functional.erase(xb[i], top, left, *patch.shape[1:], v=patch.to(xb)))


def fastai_pipe(**kwargs):
    "fastai's augmentations as a function of a batch."
    from fastai.vision.augment import TensorImage, aug_transforms, setup_aug_tfms
    pipe = setup_aug_tfms(aug_transforms(max_lighting=0, min_zoom=1 / 1.1, p_affine=1., align_corners=False, **kwargs))

    def run(x):
        x = TensorImage(x)
        for tfm in pipe:
            x = tfm(x, split_idx=0)
        return x
    return run


def each(tfm):
    "A torchvision step with a draw for each picture."
    return lambda x: torch.stack([tfm(one) for one in x])


def batch_steps(rounds, device, bs=64, side=64):
    "A batch of 64 × 3 × 64 × 64 at a time: flip, turn by up to 10°, zoom by up to 1.1."
    from fastai.vision.augment import RandomErasing as FastaiErasing, TensorImage
    xb = torch.rand(bs, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    check_batches(xb)
    flip, turn = v2.RandomHorizontalFlip(), v2.RandomAffine(10, scale=(1 / 1.1, 1.1), interpolation=BILINEAR)
    plain = v2.Compose([flip, turn])
    tilted = v2.Compose([flip, turn, v2.RandomPerspective(.2, p=1)])
    erasing = FastaiErasing(p=1., sh=.33, max_count=1)
    work = {
        'flip, turn, zoom': (BatchAffine(flip=.5, rotate=10, zoom=1.1), fastai_pipe(max_warp=0), each(plain), plain),
        'with perspective': (BatchAffine(flip=.5, rotate=10, zoom=1.1, perspective=.2), fastai_pipe(max_warp=.2),
                             each(tilted), tilted),
        'erasing by noise': (RandomErasing(p=1), lambda x: erasing(TensorImage(x.clone()), split_idx=0),
                             each(v2.RandomErasing(p=1, value='random')), v2.RandomErasing(p=1, value='random')),
    }
    rows = []
    for name, funcs in work.items():
        names = 'ours', 'fastai', 'v2, each picture', 'v2, one draw for all'
        speed = speed_table({k: (lambda f=f: f(xb)) for k, f in zip(names, funcs)}, repeats=rounds)
        rows += [(f'{name}: {k}', f'{bs / speed.seconds(k):,.0f}', f'{speed.ratio(k):.2f}×') for k in speed.times]
    print(f'batches of {bs} × 3 × {side} × {side} on {device}; the last row of each three does less: one draw for all')
    print(table(['', 'images/s', 'ours is faster by'], rows), '\n', flush=True)


def load(name):
    "Training and validation tensors. -> (x_train, y_train, x_valid, y_valid, how the data is called)"
    if name == 'digits':
        x_train, y_train, x_valid, y_valid = get_data()
        return (x_train.view(-1, 1, 28, 28), y_train, x_valid.view(-1, 1, 28, 28)[:5000], y_valid[:5000], data_name())
    data = (ImageList.from_folder(pictures()).split(split_by_grandparent).label(label_by_parent)
            .transform(Resize(32), ToTensor(), NormalizeChannels()))
    return *data.train.gather(range(4000)), *data.valid.gather(range(1000)), 'pictures'


def few_labels(tensors, seed, epochs, cbs, n=1000):
    "The training of chapter 10. -> (learner, validation loader)"
    x_train, y_train, x_valid, y_valid, _ = tensors
    set_seed(seed)
    chosen = torch.randperm(len(x_train))[:n]
    dls = DataLoaders(DataLoader(Dataset(x_train[chosen], y_train[chosen]), 64, shuffle=True), [])
    learn = FullLearner(simple_cnn(x_train.shape[1], 10, norm=nn.BatchNorm2d), dls, nn.functional.cross_entropy,
                        partial(adamw_opt, kind=FlatOptimizer), cbs=cbs)
    learn.fit_one_cycle(epochs, .02)
    return learn, DataLoader(Dataset(x_valid, y_valid), 500)


def train(name, seeds, all_epochs):
    "One change a row, with 1,000 labels; and four times the labels in about as many steps."
    tensors = load(name)
    outside = 'zeros' if name == 'digits' else 'reflection'
    bend = dict(zoom=1.1, rotate=8, translate=.06, padding=outside)
    changes = {'nothing': [], 'affine': [BatchAffine(**bend)], 'affine and mirror': [BatchAffine(flip=.5, **bend)],
               'mirror alone': [BatchAffine(flip=.5)], 'affine and erasing': [BatchAffine(**bend), RandomErasing()]}
    for epochs in all_epochs:
        rows = {k: [] for k in (*changes, 'affine, 8 views', '4,000 labels')}
        for seed in range(seeds):
            for change, tfms in changes.items():
                learn, dl = few_labels(tensors, seed, epochs, [BatchAugment(*tfms)] if tfms else [])
                rows[change].append(evaluate(learn.model, dl, accuracy)[0])
                if change == 'affine':
                    rows['affine, 8 views'].append(accuracy(*tta(learn, tfms, n=8, dl=dl)).item())
            learn, dl = few_labels(tensors, seed, -(-epochs // 4), [], n=4000)
            rows['4,000 labels'].append(evaluate(learn.model, dl, accuracy)[0])
        show(rows, f'{tensors[-1]}, 1,000 labels, {epochs} epochs, n={seeds}')


def show(rows, title):
    "Mean ± sd of each row, and of its gain over the first, seed by seed."
    def spread(xs):
        return f'{stdev(xs):.3f}' if len(xs) > 1 else '–'
    first = next(iter(rows.values()))
    gains = {k: [a - b for a, b in zip(xs, first)] for k, xs in rows.items()}
    print(title)
    print(table(['', 'accuracy', 'sd', 'gain', 'sd of gain'],
                [(k, f'{mean(xs):.3f}', spread(xs), f'{mean(gains[k]):+.3f}', spread(gains[k]))
                 for k, xs in rows.items()]), '\n', flush=True)


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--train', action='store_true')
    parser.add_argument('--data', choices=('pictures', 'digits'), default='pictures')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--fast', action='store_true', help='14 epochs only, in place of 4, 14 and 28')
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore', category=FutureWarning)  # of what fastai itself uses
    if args.train:
        train(args.data, args.seeds, [14] if args.fast else [4, 14, 28])
        return
    set_seed(0)
    item_steps(args.rounds)
    for device in ['cpu'] + ['cuda'] * torch.cuda.is_available():
        batch_steps(args.rounds, device)


if __name__ == '__main__':
    main()
