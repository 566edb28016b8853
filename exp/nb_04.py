"""Callbacks and the Learner

Exported from nbs/04_callbacks.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:c3d36db9b78ea536 head:0b6dbf0b
__all__ = ['CancelFit', 'CancelEpoch', 'CancelBatch', 'EVENTS', 'CLOSING', 'Callback',
           'DataLoaders', 'get_hyper', 'set_hyper', 'Learner', 'Metrics', 'Recorder']


# %% 04_callbacks.ipynb cell 15 #25c237e7
class CancelFit(Exception):
    "Raised by a callback to end the whole fit; `after_fit` still runs."


class CancelEpoch(Exception):
    "Raised by a callback to skip what is left of the epoch; `after_epoch` still runs."


class CancelBatch(Exception):
    "Raised by a callback to skip what is left of the batch, its step included; `after_batch` still runs."


# %% 04_callbacks.ipynb cell 20 #11125849
import difflib
import time
from contextlib import suppress

import torch

from exp.nb_03 import SGD

EVENTS = ('before_fit', 'before_epoch', 'before_batch', 'after_pred', 'after_loss', 'after_backward',
          'after_step', 'after_batch', 'after_epoch', 'after_fit')
CLOSING = ('after_batch', 'after_epoch', 'after_fit')  # these reach every callback, even if one cancels


# %% 04_callbacks.ipynb cell 21 #b55808e5
class Callback:
    """Base of everything that listens to a `Learner`: override the events you need, each gets the learner.

    Events, in order: before_fit · before_epoch · before_batch · after_pred · after_loss · after_backward ·
    after_step · after_batch · after_epoch · after_fit. Batch events happen in training and in validation
    (`learn.training` tells which); after_backward and after_step only in training. `order` says who is
    called first: lower before higher, equal ones as given. `in_search = False` marks callbacks that only
    record, save or schedule: a short trial run, such as the search for a learning rate, leaves them out.
    Raise `CancelBatch`, `CancelEpoch` or `CancelFit` to skip. Raises TypeError when a subclass defines a
    method that looks like an event and is none.
    """
    order = 0
    in_search = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            close = difflib.get_close_matches(name, EVENTS, 1, cutoff=.8)
            looks_like_one = close or name.startswith(('before_', 'after_'))
            if callable(value) and looks_like_one and name not in EVENTS:
                hint = f'did you mean {close[0]}?' if close else f'the events are {", ".join(EVENTS)}'
                raise TypeError(f'{cls.__name__}.{name} is not an event; {hint}')


# %% 04_callbacks.ipynb cell 26 #244f096c
class DataLoaders:
    """The training and the validation loader, `dls.train` and `dls.valid`.

    Each is iterated once an epoch and gives batches `(xb, yb)`; our `DataLoader`, torch's, or a list of
    batches. Raises TypeError for anything that cannot be iterated.
    """
    def __init__(self, train, valid):
        for name, dl in (('train', train), ('valid', valid)):
            if not hasattr(dl, '__iter__') or not hasattr(dl, '__len__'):
                raise TypeError(f'DataLoaders: {name} is a {type(dl).__name__}; a loader or a list of '
                                'batches is needed (something with a length that can be iterated)')
        self.train, self.valid = train, valid


# %% 04_callbacks.ipynb cell 30 #77c847d2
def get_hyper(opt, name):
    """An optimiser's hyper-parameter, say `'lr'`: a number, or a list of them for several param_groups.

    Raises AttributeError when the optimiser has no such hyper-parameter.
    """
    groups = getattr(opt, 'param_groups', None)
    if groups is None:
        if not hasattr(opt, name):
            raise AttributeError(_no_hyper(opt, name, vars(opt)))
        return getattr(opt, name)
    if name not in groups[0]:
        raise AttributeError(_no_hyper(opt, name, groups[0]))
    return groups[0][name] if len(groups) == 1 else [g[name] for g in groups]


def _no_hyper(opt, name, known):
    names = ', '.join(sorted(k for k in known if k != 'params'))
    return f'{type(opt).__name__} has no hyper-parameter {name!r}; it has: {names}'


# %% 04_callbacks.ipynb cell 32 #63eb6a59
def set_hyper(opt, name, value):
    """Set an optimiser's hyper-parameter to a number, or to one number for each of its param_groups.

    Raises AttributeError when there is no such hyper-parameter, ValueError when the number of values and
    of groups differ.
    """
    get_hyper(opt, name)  # refuses an unknown name
    groups = getattr(opt, 'param_groups', None)
    if groups is None:
        setattr(opt, name, value)
        return
    values = list(value) if isinstance(value, (list, tuple)) else [value] * len(groups)
    if len(values) != len(groups):
        raise ValueError(f'{len(values)} values of {name!r} for {len(groups)} parameter groups')
    for group, v in zip(groups, values):
        group[name] = v


# %% 04_callbacks.ipynb cell 36 #c6dd4a20
class _Announcer:
    def _listen(self, cbs):
        "Sort the callbacks and list, for each event, the methods that override it."
        for cb in cbs:
            if not isinstance(cb, Callback):
                made = isinstance(cb, type) and issubclass(cb, Callback)
                hint = f'write {cb.__name__}(…)' if made else 'derive it from Callback'
                raise TypeError(f'{cb!r} is not a callback; {hint}')
        self.active_cbs = sorted(cbs, key=lambda cb: cb.order)
        self._listeners = {event: [] for event in EVENTS}
        for cb in self.active_cbs:
            for event in EVENTS:
                if hasattr(cb, event):
                    self._listeners[event].append(getattr(cb, event))

    def _announce(self, event):
        cancelled = None
        for method in self._listeners[event]:
            try:
                method(self)
            except (CancelBatch, CancelEpoch, CancelFit) as e:
                if event not in CLOSING:
                    raise
                cancelled = cancelled or e
            except Exception as e:
                e.add_note(f'in the callback {type(method.__self__).__name__}.{event}')
                raise
        if cancelled:
            raise cancelled


# %% 04_callbacks.ipynb cell 38 #312f83e6
class _Stages(_Announcer):
    def _stage(self, before, work, after, cancel):
        "Announce `before`, do the work, announce `after`; `cancel`, raised on the way, skips to `after`."
        try:
            self._announce(before)
            work()
        except cancel:
            pass
        try:
            self._announce(after)
        except cancel:
            pass


# %% 04_callbacks.ipynb cell 40 #76a5cf7a
class _Batches(_Stages):
    def _do_batch(self):
        self.preds = self.model(self.xb)
        self._announce('after_pred')
        self.loss = self.loss_func(self.preds, self.yb)
        self._announce('after_loss')
        if self.training:
            self._do_step()

    def _do_step(self):
        self.loss.backward()
        self._announce('after_backward')
        self.opt.step()
        self.n_steps += 1
        try:
            self._announce('after_step')
        finally:
            self.opt.zero_grad()

    def _do_loader(self, dl, training):
        self.training = training
        self.model.train(training)
        self.n_batches = len(dl)
        with torch.set_grad_enabled(training):
            for self.batch, (self.xb, self.yb) in enumerate(dl):
                self.preds = self.loss = None
                self._stage('before_batch', self._do_batch, 'after_batch', CancelBatch)

    def _do_epoch(self):
        self._do_loader(self.dls.train, training=True)
        self._do_loader(self.dls.valid, training=False)


# %% 04_callbacks.ipynb cell 42 #ff460e46
def _place(learn):
    "Where a learner is, in words: `epoch 2 of 5, training batch 17 of 782`."
    part = 'training' if learn.training else 'validation'
    return (f'epoch {learn.epoch + 1} of {learn.n_epochs}, '
            f'{part} batch {learn.batch + 1} of {learn.n_batches}')


class _Fits(_Batches):
    def _do_fit(self):
        try:
            self._announce('before_fit')
            while self.epoch < self.n_epochs:
                self.metrics = {}
                self._stage('before_epoch', self._do_epoch, 'after_epoch', CancelEpoch)
                self.epoch += 1
        except CancelFit:
            pass
        except KeyboardInterrupt:
            self.interrupted = True
            print(f'interrupted at {_place(self)}')
        except Exception as e:
            e.add_note(f'at {_place(self)}')
            raise


# %% 04_callbacks.ipynb cell 44 #1d521ec4
class _Trains(_Fits):
    def fit(self, n_epochs, lr=None, cbs=()):
        """Train for `n_epochs` epochs, each a pass over the training and one over the validation loader.

        lr: learning rate for this fit (default: the learner's own) · cbs: callbacks for this fit only.
        Ctrl-C ends the fit early and sets `learn.interrupted`. Raises ValueError for a bad number of
        epochs or an empty training loader; any error on the way carries a note that says where it was.
        """
        if not isinstance(n_epochs, int) or n_epochs < 0:
            raise ValueError(f'fit: the number of epochs must be a whole number ≥ 0, not {n_epochs!r}')
        if len(self.dls.train) == 0:
            raise ValueError('fit: the training loader is empty; '
                             'is drop_last on, with fewer samples than bs?')
        self._listen(self.cbs + list(cbs))
        if self.opt is None:
            self.opt = self.opt_func(self.model.parameters(), lr=self.lr)
        set_hyper(self.opt, 'lr', self.lr if lr is None else lr)
        self.n_epochs, self.epoch, self.batch, self.n_batches = n_epochs, 0, 0, 0
        self.training, self.interrupted, self.metrics = True, False, {}
        try:
            self._do_fit()
        finally:
            with suppress(CancelFit):
                self._announce('after_fit')


# %% 04_callbacks.ipynb cell 46 #5fa44830
class Learner(_Trains):
    """Trains a model; what else should happen is said by callbacks.

    model: a `torch.nn.Module`, called as `model(xb)` · dls: `DataLoaders` or a pair (train, valid) ·
    loss_func: `loss_func(preds, yb)` -> a scalar · opt_func: called as `opt_func(params, lr=lr)`, ours or
    torch's · lr: learning rate · cbs: callbacks for every fit. Your own model on your own tensors:

        from exp.nb_03 import Dataset, get_dls
        from exp.nb_04 import Learner, Metrics, Recorder
        recorder = Recorder()
        learn = Learner(model, get_dls(Dataset(x_train, y_train), Dataset(x_valid, y_valid), bs=64),
                        torch.nn.functional.cross_entropy, lr=.1, cbs=[Metrics(), recorder])
        learn.fit(5)
        recorder.plot()

    While it trains, callbacks find: epoch and batch (from 0), n_epochs, n_batches, n_steps, training, xb,
    yb, preds and loss (None until computed), opt, active_cbs (in order), and the epoch's dict `metrics`.
    """
    def __init__(self, model, dls, loss_func, opt_func=SGD, lr=.1, cbs=()):
        self.model, self.loss_func = model, loss_func
        self.dls = dls if isinstance(dls, DataLoaders) else DataLoaders(*dls)
        self.opt_func, self.lr = opt_func, lr
        self.cbs = list(cbs)
        self.opt, self.n_steps, self.interrupted = None, 0, False


# %% 04_callbacks.ipynb cell 68 #4376d77f
def _weighted(pairs):
    "Pairs of a batch's mean and its size -> the mean over all samples, a float."
    values, sizes = zip(*pairs)
    values = torch.stack([torch.as_tensor(v) for v in values]).cpu().double()
    return float(values @ torch.tensor(sizes, dtype=torch.float64)) / sum(sizes)


def _check_callable(funcs):
    for name, f in funcs.items():
        if not callable(f):
            raise TypeError(f'Metrics: {name}={f!r} cannot be called; a function of (preds, yb) is needed')


# %% 04_callbacks.ipynb cell 69 #3082be5f
class Metrics(Callback):
    """Writes the epoch's means into `learn.metrics`: `train_loss`, `valid_loss`, and metrics of your own.

    funcs, named: functions of (preds, yb) that average over a batch, `Metrics(accuracy)` or
    `Metrics(acc=accuracy)` · train: compute them in training too, as `train_…`. Means are weighted by
    batch size; batches cancelled before their loss do not count. Raises TypeError for anything else.
    """
    order = -10  # before those who read learn.metrics
    in_search = False

    def __init__(self, *funcs, train=False, **named):
        self.funcs = {getattr(f, '__name__', type(f).__name__): f for f in funcs} | named
        self.train = train
        _check_callable(self.funcs)

    def before_epoch(self, learn):
        "Start from nothing."
        self._values = {}

    def after_loss(self, learn):
        "Keep this batch's loss and metrics, with its size."
        part = 'train' if learn.training else 'valid'
        self._keep(part + '_loss', learn.loss.detach(), len(learn.yb))
        if self.train or not learn.training:
            with torch.no_grad():
                for name, f in self.funcs.items():
                    name = 'train_' + name if learn.training else name
                    self._keep(name, f(learn.preds, learn.yb), len(learn.yb))

    def _keep(self, name, value, n):
        self._values.setdefault(name, []).append((value, n))

    def after_epoch(self, learn):
        "Weighted means into `learn.metrics`."
        learn.metrics |= {name: _weighted(pairs) for name, pairs in self._values.items()}


# %% 04_callbacks.ipynb cell 75 #5a22c4c1
class _Record(Callback):
    @property
    def losses(self):
        "Loss of each training batch, a tensor of shape (steps,)."
        return torch.stack(self._losses).float().cpu() if self._losses else torch.zeros(0)

    def state_dict(self):
        "What was recorded, as tensors and lists that `torch.load` takes without unpickling code."
        return {'rows': [dict(row) for row in self.rows], 'lrs': list(self.lrs), 'losses': self.losses}

    def load_state_dict(self, state):
        "Go on from a `state_dict`."
        self.rows, self.lrs = [dict(row) for row in state['rows']], list(state['lrs'])
        self._losses = list(state['losses'])


# %% 04_callbacks.ipynb cell 76 #b333dde8
class Recorder(_Record):
    """Remembers a run: `losses` and `lrs` of each training batch, `rows` with each epoch's results.

    quiet: do not print a line as each epoch ends. It goes on from one fit to the next; make a new one to
    start afresh. `plot()` draws what was recorded; `state_dict` and `load_state_dict` let it be saved.
    """
    order = 50
    in_search = False

    def __init__(self, quiet=False):
        self.quiet = quiet
        self.rows, self.lrs, self._losses = [], [], []

    def before_epoch(self, learn):
        "Start the clock."
        self._start = time.perf_counter()

    def after_batch(self, learn):
        "Keep a training batch's loss and rate, if it got as far as a loss."
        if learn.training and learn.loss is not None:
            self._losses.append(learn.loss.detach())
            self.lrs.append(get_hyper(learn.opt, 'lr'))

    def after_epoch(self, learn):
        "Add a row, and say it."
        seconds = time.perf_counter() - self._start
        self.rows.append({'epoch': learn.epoch + 1, **learn.metrics, 'seconds': seconds})
        if not self.quiet:
            print(_row_text(self.rows[-1], learn.n_epochs), flush=True)

    def plot(self):
        "Draw losses, learning rate and the epochs' results side by side. -> the figure"
        return _plot_run(self.losses, self.lrs, self.rows)


# %% 04_callbacks.ipynb cell 78 #ba0d87b3
def _row_text(row, n_epochs):
    "One epoch as a line: `epoch 2/5  train_loss 0.2310  valid_loss 0.2501  accuracy 0.9312  1.2 s`."
    values = {k: v for k, v in row.items() if k not in ('epoch', 'seconds')}
    text = '  '.join(f'{k} {v:.4f}' for k, v in values.items())
    return f'epoch {row["epoch"]}/{n_epochs}  {text}  {row["seconds"]:.1f} s'


def _running_mean(xs, width):
    "Mean of the last `width` values at each place, fewer at the beginning; shape (n,) -> (n,)."
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), xs.double().cumsum(0)])
    ends = torch.arange(1, len(xs) + 1)
    starts = (ends - width).clamp(min=0)
    return (sums[ends] - sums[starts]) / (ends - starts)


# %% 04_callbacks.ipynb cell 82 #122eb416
def _plot_run(losses, lrs, rows):
    "The figure of `Recorder.plot`: loss by step, learning rate by step, results by epoch."
    import matplotlib.pyplot as plt
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3), layout='constrained', facecolor='white')
    left.plot(losses, color='#56B4E9', lw=.6, label='each batch')
    left.plot(_running_mean(losses, 50), color='#0072B2', label='mean of 50')
    left.set(xlabel='step', ylabel='training loss', ylim=0)
    left.legend()
    middle.plot(lrs, color='#009E73')
    middle.set(xlabel='step', ylabel='learning rate')
    names = [k for k in rows[0] if k not in ('epoch', 'seconds')] if rows else []
    for name, color in zip(names, _COLORS):
        points = [(row['epoch'], row[name]) for row in rows if name in row]
        right.plot(*zip(*points), 'o-', color=color, label=name)
    right.set(xlabel='epoch', ylabel='value')
    if rows:
        right.legend()
    return fig


# safe for the colour-blind
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#666666')


# cell hashes: 25c237e7:8fe77283 11125849:82bc805c b55808e5:8e7171c3 244f096c:e9f3c610
#   77c847d2:8fce40fb 63eb6a59:49541145 c6dd4a20:5da2fa2e 312f83e6:d54089e3 76a5cf7a:ddee30a0
#   ff460e46:36702bc7 1d521ec4:51135bb7 5fa44830:37db2b7b 4376d77f:b1c1b8f8 3082be5f:c28f7371
#   5a22c4c1:5a06f0df b333dde8:fada5e71 ba0d87b3:553c53ba 122eb416:fe721440
