"""Pictures from disk into normalised batches: our data block beside torch + torchvision and fastai, one core.

    python bench/images.py [--n 1000] [--rounds 5]      pictures per second of processor time
    python bench/images.py --train [--seeds 5]          accuracy of the plain CNN of chapter 08 over seeds

Two sets of files: the built-in 64×64 PNG files, and 320×240 JPEG files cut from scikit-learn's sample photos,
squashed to 64×64. Before anything is timed, the batches are asserted equal. The contenders take turns;
shown are medians over the rounds, and the median of the ratios to ours.
"""
from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import mean, median, stdev

os.environ['OMP_NUM_THREADS'] = '1'
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from PIL import Image
from torch import nn

from exp.nb_00 import set_seed, table, test_eq, test_near
from exp.nb_02d import accuracy
from exp.nb_04 import Learner, Metrics
from exp.nb_05 import ParamScheduler, one_cycle
from exp.nb_06 import simple_cnn
from exp.nb_08 import (ImageList, NormalizeChannels, Resize, ToTensor, label_by_parent, pictures,
                       split_by_grandparent, to_dls)

BS = 64


def write_jpegs(folder, n):
    "n JPEG files of 320×240 in the layout of the pictures, cut from the sample photos."
    from sklearn.datasets import load_sample_images
    photos = [Image.fromarray(x) for x in load_sample_images().images]
    for part in ('train', 'valid'):
        for i in range(n):
            target = folder / part / f'photo{i % 2}'
            target.mkdir(parents=True, exist_ok=True)
            x, y = (i * 37 + (part == 'valid') * 7) % 320, (i * 53) % 187
            photos[i % 2].crop((x, y, x + 320, y + 240)).save(target / f'{i:05}.jpg', quality=90)


def ours(path):
    "Our loaders. -> (validation loader, files, vocabulary, the normalisation)"
    norm = NormalizeChannels()
    data = (ImageList.from_folder(path).split(split_by_grandparent, allow_repeats=True)
            .label(label_by_parent).transform(Resize(64, 'squash'), ToTensor(), norm))
    return to_dls(data, valid_bs=BS).valid, data.valid.items.items, data.vocab, norm


class TorchDataset(torch.utils.data.Dataset):
    "A dataset as torch's tutorials write it."
    def __init__(self, files, vocab, tfm):
        self.files, self.vocab, self.tfm = files, vocab, tfm

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.tfm(Image.open(self.files[i]).convert('RGB')), self.vocab.index(self.files[i].parent.name)


def torchs(files, vocab, norm):
    "torch's loader with torchvision's transforms."
    from torchvision import transforms as T
    tfm = T.Compose([T.Resize((64, 64)), T.ToTensor(),
                     T.Normalize(norm.mean.flatten().tolist(), norm.std.flatten().tolist())])
    return torch.utils.data.DataLoader(TorchDataset(files, vocab, tfm), batch_size=BS)


def fastais(path, norm):
    "fastai's data block, no workers; its validation loader."
    import fastai.vision.all as fv
    stats = fv.Normalize.from_stats(norm.mean.flatten().tolist(), norm.std.flatten().tolist(), cuda=False)
    block = fv.DataBlock(blocks=(fv.ImageBlock, fv.CategoryBlock), get_items=fv.get_image_files,
                         splitter=fv.GrandparentSplitter(), get_y=fv.parent_label,
                         item_tfms=fv.Resize(64, method='squash'), batch_tfms=stats)
    return block.dataloaders(path, bs=BS, num_workers=0, device='cpu').valid.new(bs=BS)


def check_equal(path, with_fastai):
    """The loaders of one folder, after their batches were found equal. -> {name: loader}

    fastai takes part where nothing is resized: it resizes large photos in a way of its own, so that its
    batches are not the same, and a time for them would not say the same either.
    """
    our_dl, files, vocab, norm = ours(path)
    torch_dl = torchs(files, vocab, norm)
    for (x, y), (x2, y2) in zip(our_dl, torch_dl, strict=True):
        test_near(x, x2, atol=1e-5)
        test_eq(y, y2)
    if not with_fastai:
        return {'ours': our_dl, 'torch + torchvision': torch_dl}
    fastai_dl = fastais(path, norm)
    place = {file: i for i, file in enumerate(files)}
    start = 0
    for xb, yb in fastai_dl:
        items = [Path(f) for f in fastai_dl.items[start:start + len(yb)]]
        x, y = our_dl.ds.gather([place[f] for f in items])
        test_near(x, xb.as_subclass(torch.Tensor), atol=1e-5)
        test_eq([vocab[i] for i in y.tolist()], [fastai_dl.vocab[i] for i in yb.tolist()])
        start += len(yb)
    return {'ours': our_dl, 'torch + torchvision': torch_dl, 'fastai': fastai_dl}


def rate(dl, n):
    "Pictures per second of processor time, in one pass over n pictures."
    start = time.process_time()
    for _ in dl:
        pass
    return n / (time.process_time() - start)


def compare(title, path, rounds, with_fastai):
    "Time the loaders in turn on one folder, and show the table."
    dls = check_equal(path, with_fastai)
    n = len(dls['ours'].ds)
    rates = {name: [] for name in dls}
    for _ in range(rounds):
        for name, dl in dls.items():
            rates[name].append(rate(dl, n))
    rows = [(name, f'{median(r):,.0f}', f'{median(o / x for o, x in zip(rates["ours"], r)):.2f}×')
            for name, r in rates.items()]
    print(f'{title}: {n} files, equal batches')
    print(table(['', 'images/s per core', 'ours is faster by'], rows), '\n', flush=True)


def train(seeds):
    "Accuracy of the plain CNN of chapter 08, over seeds."
    data = (ImageList.from_folder(pictures()).split(split_by_grandparent).label(label_by_parent)
            .transform(Resize(64), ToTensor(), NormalizeChannels()))
    reached = []
    for seed in range(seeds):
        set_seed(seed)
        learn = Learner(simple_cnn(3, 10, norm=nn.BatchNorm2d), to_dls(data, bs=32), nn.functional.cross_entropy,
                        torch.optim.Adam, cbs=[Metrics(accuracy), ParamScheduler(lr=one_cycle(.02))])
        learn.fit(6)
        reached.append(learn.metrics['accuracy'])
        print(f'seed {seed}: {reached[-1]:.3f}', flush=True)
    if seeds > 1:
        m, sd = mean(reached), stdev(reached)
        print(f'accuracy {m:.3f} ± {sd:.3f} (n={seeds}); mean − 3 sd: {m - 3 * sd:.3f}')


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--n', type=int, default=1000, help='JPEG files in each part')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--train', action='store_true')
    parser.add_argument('--seeds', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.train:
        train(args.seeds)
        return
    compare('64×64 PNG', pictures(), args.rounds, with_fastai=True)
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), args.n)
        compare('320×240 JPEG, squashed to 64×64', Path(folder), args.rounds, with_fastai=False)


if __name__ == '__main__':
    main()
