"""How long an epoch takes: our Learner beside the loop by hand, fastai, Lightning and skorch, on one thread.

    python bench/train.py [--repeats 9]

All contenders of a table train the same model on the same samples in one process, in turn; medians of the
ratios of their processor times, all threads together, which do not see what else the machine does. Before
anything is timed, their losses on the same batches in the same order are asserted equal. Each library uses its
own way to load tensors from memory; the rows "our batches" give it our loader instead, so that only the
loops differ. Lightning and skorch are installed into .course/bench-train on the first call; without a network
their rows are left out, and it is said.
"""
from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fire
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import TensorDataset

from exp.nb_00 import SpeedTable, set_seed
from exp.nb_02d import accuracy
from exp.nb_03 import SGD, DataLoader, Dataset, get_dls
from exp.nb_04 import Callback, Learner, Metrics, Recorder, set_hyper
from exp.nb_09 import FlatOptimizer, adam_opt
from exp.nb_09b import FullLearner

PEERS = ROOT / '.course' / 'bench-train'
PACKAGES = ['lightning==2.6.*', 'lightning-utilities', 'torchmetrics', 'skorch', 'tabulate']


# ---- models and data

def mlp():
    return nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))


def cnn():
    def conv(c_in, c_out):
        return [nn.Conv2d(c_in, c_out, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *conv(1, 8), *conv(8, 16), *conv(16, 32), *conv(32, 32),
                         nn.Flatten(), nn.Linear(128, 10))


def tensors(n, n_valid):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(n + n_valid, 784, generator=g), torch.randint(0, 10, (n + n_valid,), generator=g)
    return (x[:n], y[:n]), (x[n:], y[n:])


# ---- contenders: each trains one epoch, validates once, and returns the training losses

def by_hand(model, train, valid, bs, opt, shuffle=True):
    "What people write: a permutation, indexing, torch's default optimiser, .item() for the record."
    (x, y), (xv, yv) = train, valid
    opt = {'sgd': torch.optim.SGD, 'adam': torch.optim.Adam}[opt](model.parameters(), lr=.01)
    losses = []
    model.train()
    order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
    for i in range(0, len(x), bs):
        idx = order[i:i + bs]
        loss = F.cross_entropy(model(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    model.eval()
    total = right = 0.
    with torch.no_grad():
        for i in range(0, len(xv), 2 * bs):
            preds, yb = model(xv[i:i + 2 * bs]), yv[i:i + 2 * bs]
            total += F.cross_entropy(preds, yb).item() * len(yb)
            right += (preds.argmax(1) == yb).sum().item()
    return losses


class Schedule(Callback):
    "Sets the rate before each batch, as a schedule does."
    def before_batch(self, learn):
        set_hyper(learn.opt, 'lr', .01)


class Nothing(Callback):
    "Listens to everything and does nothing."
    def before_batch(self, learn): pass
    def after_pred(self, learn): pass
    def after_loss(self, learn): pass
    def after_backward(self, learn): pass
    def after_step(self, learn): pass
    def after_batch(self, learn): pass


def ours(model, train, valid, bs, opt, shuffle=True, cbs=(), kind=Learner):
    "Our Learner with four callbacks: metrics, recorder, a schedule, and one that only looks on."
    opt_func = {'sgd': SGD, 'adam': partial(adam_opt, kind=FlatOptimizer)}[opt]
    recorder = Recorder(quiet=True)
    train_dl, valid_dl = get_dls(Dataset(*train), Dataset(*valid), bs)
    if not shuffle:
        train_dl = DataLoader(Dataset(*train), bs)
    four = [Metrics(accuracy), recorder, Schedule(), Nothing()]
    kind(model, (train_dl, valid_dl), F.cross_entropy, opt_func, lr=.01, cbs=[*four, *cbs]).fit(1)
    return recorder.losses.tolist()


def our_batches(train, valid, bs, shuffle=True):
    return DataLoader(Dataset(*train), bs, shuffle=shuffle), DataLoader(Dataset(*valid), 2 * bs)


def torch_batches(train, valid, bs, shuffle=True):
    return (TorchLoader(TensorDataset(*train), bs, shuffle=shuffle), TorchLoader(TensorDataset(*valid), 2 * bs))


def with_fastai(model, train, valid, bs, opt, shuffle=True, mine=False):
    from fastai.callback.core import Callback as FastCallback
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastLoader
    from fastai.learner import Learner as FastLearner
    from fastai.optimizer import SGD as FastSGD
    from fastai.optimizer import Adam as FastAdam

    class Keep(FastCallback):
        def before_fit(self): self.values = []
        def after_loss(self):
            if self.training:
                self.values.append(self.loss.detach())
    if mine:
        loaders = our_batches(train, valid, bs, shuffle)
    else:
        loaders = (FastLoader(TensorDataset(*train), bs=bs, shuffle=shuffle, num_workers=0),
                   FastLoader(TensorDataset(*valid), bs=2 * bs, num_workers=0))
    keep = Keep()
    func = {'sgd': FastSGD, 'adam': partial(FastAdam, mom=.9, sqr_mom=.999, eps=1e-8, wd=0.)}[opt]
    learn = FastLearner(DataLoaders(*loaders, device=torch.device('cpu')), model, F.cross_entropy, opt_func=func,
                        lr=.01, metrics=accuracy, cbs=[keep])
    with learn.no_logging():
        learn.fit(1)
    return [float(v) for v in keep.values]


def with_lightning(model, train, valid, bs, opt, shuffle=True, mine=False):
    import lightning
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.values = model, []
        def training_step(self, batch, i):
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            self.values.append(loss.detach())
            return loss
        def validation_step(self, batch, i):
            preds = self.model(batch[0])
            self.log('valid_loss', F.cross_entropy(preds, batch[1]))
            self.log('accuracy', accuracy(preds, batch[1]))
        def configure_optimizers(self):
            return {'sgd': torch.optim.SGD, 'adam': torch.optim.Adam}[opt](self.parameters(), lr=.01)
    module = Module()
    trainer = lightning.Trainer(max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    trainer.fit(module, *(our_batches if mine else torch_batches)(train, valid, bs, shuffle))
    return [float(v) for v in module.values]


def with_skorch(model, train, valid, bs, opt, shuffle=True, mine=False):
    import skorch
    from skorch.callbacks import EpochScoring
    from skorch.helper import predefined_split

    def score(net, ds, y=None):
        return accuracy(torch.as_tensor(net.predict_proba(ds)), valid[1]).item()
    net = skorch.NeuralNetClassifier(
        model, criterion=nn.CrossEntropyLoss, optimizer={'sgd': torch.optim.SGD, 'adam': torch.optim.Adam}[opt],
        lr=.01, max_epochs=1, batch_size=bs, iterator_train__shuffle=shuffle, iterator_valid__batch_size=2 * bs,
        train_split=predefined_split(skorch.dataset.Dataset(*valid)), verbose=0)
    net.fit(*train)
    return [b['train_loss'] for b in net.history[-1, 'batches'] if 'train_loss' in b]


def install_peers():
    "Lightning and skorch, without what the project has already. -> are they there?"
    ready = PEERS / '.ready'
    if not (ready.exists() and ready.read_text() == repr(PACKAGES)):
        print('installing Lightning and skorch into .course/bench-train', file=sys.stderr)
        uv = Path(sys.executable).with_name('uv')
        done = subprocess.run([str(uv), 'pip', 'install', '-q', '--python', sys.executable, '--no-deps',
                               '--target', str(PEERS), *PACKAGES], capture_output=True, text=True)
        if done.returncode:
            print('left out: Lightning and skorch could not be installed (no network?)\n'
                  + '\n'.join(done.stderr.strip().splitlines()[-2:]))
            return False
        ready.write_text(repr(PACKAGES))
    sys.path.append(str(PEERS))
    return True


# ---- the tables

def contenders(extra, full):
    "name -> function, the loop by hand first. full: the Learner of chapter 09b as well?"
    found = {'by hand': by_hand, 'ours, 4 callbacks': ours, 'fastai': with_fastai,
             'fastai, our batches': partial(with_fastai, mine=True)}
    if full:
        found['ours, FullLearner'] = partial(ours, kind=FullLearner)
    if extra:
        found |= {'Lightning': with_lightning, 'Lightning, our batches': partial(with_lightning, mine=True),
                  'skorch': with_skorch}
    return found


def race(racers, repeats):
    "Each once to warm up, then in turn. name -> function -> SpeedTable of seconds of processor time"
    times = {name: [] for name in racers}
    for turn in range(repeats + 1):
        for name, f in racers.items():
            start = time.process_time()
            f()
            if turn:
                times[name].append(time.process_time() - start)
    return SpeedTable(times)


def compare(make_model, bs, opt, n, repeats, extra=False, full=False):
    "Assert equal losses in fixed order, then time an epoch of each."
    train, valid = tensors(n, n // 5)
    racers = contenders(extra, full)
    reference = None
    for name, f in racers.items():
        set_seed(0)
        losses = torch.tensor(f(make_model(), train, valid, bs, opt, shuffle=False))
        reference = losses if reference is None else reference
        gap = (losses - reference).abs().max().item()
        assert len(losses) == len(reference) and gap < 1e-4, f'{name}: losses differ by {gap}'
    return race({name: partial(f, make_model(), train, valid, bs, opt) for name, f in racers.items()}, repeats)


def show(title, table, wanted):
    "A table, and each ratio that we want to hold, with what was measured."
    print(f'\n{title}\n{table!r}')
    mine = 'ours, 4 callbacks'
    for other, bound in wanted.items():
        if other not in table.times:
            continue
        pairs = zip(table.times[mine], table.times[other])
        ratio = sorted(a / b for a, b in pairs)[len(table.times[mine]) // 2]
        if other == 'by hand':
            print(f'  ours / by hand: {ratio:.2f} (wanted: at most {bound})')
        else:
            print(f'  ours is {1 / ratio:.1f}× as fast as {other} (wanted: at least {bound}×)')


def loaders(repeats):
    "Iterating a loader over tensors in memory."
    train, _ = tensors(6400, 64)
    for bs, bound in ((64, 12), (512, 5)):
        def epoch(dl):
            for _ in dl:
                pass
        table = race({'torch': partial(epoch, TorchLoader(TensorDataset(*train), bs, shuffle=True)),
                      'ours': partial(epoch, DataLoader(Dataset(*train), bs, shuffle=True))}, 2 * repeats)
        print(f'\nloader, bs {bs}\n{table!r}\n  {table.speedup("ours"):.1f}× cheaper (wanted: at least {bound}×)')


def idle_callbacks(repeats):
    "What ten more callbacks cost that listen to every batch event and do nothing."
    train, valid = tensors(12800, 2560)
    ten = [Nothing() for _ in range(10)]
    table = race({'4 callbacks': partial(ours, mlp(), train, valid, 64, 'sgd'),
                  '14 callbacks': partial(ours, mlp(), train, valid, 64, 'sgd', cbs=ten)}, 4 * repeats)
    print(f'\nten idle callbacks\n{table!r}\n  they add {100 * (table.ratio("14 callbacks") - 1):.1f} % (wanted: at most 5 %)')


def main(repeats=9, peers=True):
    "Print all tables."
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    extra = peers and install_peers()
    loaders(repeats)
    idle_callbacks(repeats)
    for opt in ('sgd', 'adam'):
        show(f'MLP, {opt}, bs 64', compare(mlp, 64, opt, 12800, repeats, extra),
             {'by hand': .8, 'fastai': 4.5, 'Lightning': 2.5, 'skorch': 2.5})
    show('MLP, sgd, bs 512', compare(mlp, 512, 'sgd', 25600, repeats), {'by hand': 1.})
    show('CNN, sgd, bs 64', compare(cnn, 64, 'sgd', 6400, repeats, full=True), {'by hand': 1., 'fastai': 1.5})


if __name__ == '__main__':
    fire.Fire(main)
