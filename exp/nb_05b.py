"""Stopping, saving, resuming

Exported from nbs/05b_early_stopping.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:39b4d38cbd4f957a head:a11d3f59
__all__ = ['Best', 'EarlyStopping', 'save_atomically', 'SaveBest', 'NanGuard', 'Checkpoint']


# %% 05b_early_stopping.ipynb cell 6 #6e6fcbe1
import math
import os
import random
from pathlib import Path

import torch

from exp.nb_04 import Callback, CancelFit
from exp.nb_05 import rng_states, set_rng_states


# %% 05b_early_stopping.ipynb cell 8 #73f0d1df
class Best:
    """The best value of one of `learn.metrics` so far.

    monitor: its name · mode: `'min'` or `'max'`, by default `'min'` for names that end in `loss` · min_delta:
    by how much it must be better to count. Raises ValueError for another mode or a negative min_delta.
    """
    def __init__(self, monitor, mode=None, min_delta=0.):
        self.monitor, self.min_delta = monitor, min_delta
        self.mode = mode or ('min' if monitor.endswith('loss') else 'max')
        if self.mode not in ('min', 'max') or min_delta < 0:
            raise ValueError(f"mode must be 'min' or 'max', not {mode!r}, and min_delta ≥ 0, not {min_delta}")
        self.reset()

    def reset(self):
        "Forget the best value."
        self.value = math.inf if self.mode == 'min' else -math.inf

    def improved(self, learn):
        "Is the metric of this epoch better than the best so far? If so it is the new best. -> bool"
        if self.monitor not in learn.metrics:
            known = ', '.join(learn.metrics) or 'nothing; add Metrics(…) to the callbacks'
            raise KeyError(f'{self.monitor!r} is not among the metrics of this run, which are: {known}')
        new = learn.metrics[self.monitor]
        if self.mode == 'min':
            better = new < self.value - self.min_delta
        else:
            better = new > self.value + self.min_delta
        if better:
            self.value = new
        return better


# %% 05b_early_stopping.ipynb cell 12 #2e32b979
class EarlyStopping(Callback):
    """Ends the fit when a metric has not improved for `patience` epochs in a row.

    monitor, mode, min_delta: see `Best` · `stopped_epoch` says after how many epochs it did, else None.
    """
    order, in_search = 60, False  # after the metrics are known and recorded

    def __init__(self, monitor='valid_loss', patience=3, min_delta=0., mode=None):
        if not isinstance(patience, int) or patience < 1:
            raise ValueError(f'EarlyStopping: patience must be a whole number ≥ 1, not {patience!r}')
        self.best, self.patience = Best(monitor, mode, min_delta), patience
        self.bad_epochs, self.stopped_epoch = 0, None

    def before_epoch(self, learn):
        "Begin anew with a new fit; go on with one that was resumed."
        if learn.epoch == 0:
            self.best.reset()
            self.bad_epochs, self.stopped_epoch = 0, None
        elif self.bad_epochs >= self.patience:
            raise CancelFit

    def after_epoch(self, learn):
        "Count; stop when patience is at its end."
        self.bad_epochs = 0 if self.best.improved(learn) else self.bad_epochs + 1
        if self.bad_epochs >= self.patience:
            self.stopped_epoch = learn.epoch + 1
            raise CancelFit

    def state_dict(self):
        "The count and the best value."
        return {'bad_epochs': self.bad_epochs, 'best': self.best.value}

    def load_state_dict(self, state):
        "Go on from a `state_dict`."
        self.bad_epochs, self.best.value = state['bad_epochs'], state['best']


# %% 05b_early_stopping.ipynb cell 23 #73f60079
def save_atomically(obj, path):
    """`torch.save` that leaves the old file or the new one under `path`, never a torn one. -> the path

    The folder is made if need be. Whatever goes wrong, the file that was there stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
    try:
        with open(partial, 'wb') as f:
            torch.save(obj, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


# %% 05b_early_stopping.ipynb cell 27 #fd4b38a6
class SaveBest(Callback):
    """Saves the model's weights at `path` whenever a metric improves.

    monitor, mode: see `Best` · `load_into(model)` puts the best weights into a model; FileNotFoundError if
    there are none yet.
    """
    order = 60
    in_search = False

    def __init__(self, path, monitor='valid_loss', mode=None):
        self.path, self.best = Path(path), Best(monitor, mode)

    def before_epoch(self, learn):
        "Begin anew with a new fit."
        if learn.epoch == 0:
            self.best.reset()

    def after_epoch(self, learn):
        "Save, if this is the best so far."
        if self.best.improved(learn):
            save_atomically(learn.model.state_dict(), self.path)

    def load_into(self, model):
        "Put the best weights into `model`. -> the model"
        model.load_state_dict(torch.load(self.path, weights_only=True))
        return model

    def state_dict(self):
        "The best value."
        return {'best': self.best.value}

    def load_state_dict(self, state):
        "Go on from a `state_dict`."
        self.best.value = state['best']


# %% 05b_early_stopping.ipynb cell 33 #4585ba45
class NanGuard(Callback):
    """Ends the fit when a training loss is NaN or infinite, with the weights that the epoch began with.

    every: look at each such batch only. `stopped` says where it happened, None if it never did.
    """
    order = -20  # before anyone records the loss
    in_search = False

    def __init__(self, every=1):
        if not isinstance(every, int) or every < 1:
            raise ValueError(f'NanGuard: every must be a whole number ≥ 1, not {every!r}')
        self.every, self.stopped = every, None

    def before_epoch(self, learn):
        "Keep a copy of the weights."
        self.stopped = None
        self._good = {k: v.clone() for k, v in learn.model.state_dict().items()}

    def after_loss(self, learn):
        "Look at the loss."
        if learn.training and learn.batch % self.every == 0 and not math.isfinite(learn.loss.detach()):
            self.stopped = f'epoch {learn.epoch + 1}, batch {learn.batch + 1}'
            print(f'NanGuard: the loss is {float(learn.loss.detach())} at {self.stopped}; '
                  'back to the weights the epoch began with')
            learn.model.load_state_dict(self._good)
            raise CancelFit


# %% 05b_early_stopping.ipynb cell 37 #91383d54
class Checkpoint(Callback):
    """Saves the whole state of a run at `path` after every `every` epochs, and can go on from there.

    resume: at the start of a fit, go on from `path` if that file exists: `learn.fit(n)` then trains the
    epochs that are missing to n in all, and ends with the weights of an unbroken run, bit for bit. Saved are
    model, optimiser, epoch and step, all random generators, the training sampler, and every callback with
    a `state_dict`. Raises ValueError for a file of more than n epochs or of other callbacks, and what
    `load_state_dict` raises for another model.
    """
    order = 95  # after all whose state it saves
    in_search = False

    def __init__(self, path, every=1, resume=False):
        if not isinstance(every, int) or every < 1:
            raise ValueError(f'Checkpoint: every must be a whole number ≥ 1, not {every!r}')
        self.path, self.every, self.resume = Path(path), every, resume
        self._cbs = []

    def before_fit(self, learn):
        "Go on from the file, if asked to and it is there."
        self._cbs = [cb for cb in learn.active_cbs if hasattr(cb, 'state_dict')]
        if self.resume and self.path.exists():
            state = torch.load(self.path, weights_only=True)
            _check_fits(self.path.name, state, learn.n_epochs, self._cbs)
            _load_run(learn, self._cbs, state)

    def after_epoch(self, learn):
        "Save, if it is time or the last epoch."
        done = learn.epoch + 1
        if done % self.every == 0 or done == learn.n_epochs:
            save_atomically(_run_state(learn, self._cbs, done), self.path)


# %% 05b_early_stopping.ipynb cell 39 #41c64309
def _run_state(learn, cbs, done):
    "All that the next epoch depends on."
    sampler = getattr(learn.dls.train, 'sampler', None)
    return dict(model=learn.model.state_dict(), opt=learn.opt.state_dict(), epoch=done,
                n_steps=learn.n_steps, rng=rng_states(),
                names=[type(cb).__name__ for cb in cbs], cbs=[cb.state_dict() for cb in cbs],
                sampler=sampler.state_dict() if hasattr(sampler, 'state_dict') else None)


# %% 05b_early_stopping.ipynb cell 41 #36058b2a
def _check_fits(name, state, n_epochs, cbs):
    "Refuse a checkpoint of a longer run, or of other callbacks."
    if state['epoch'] > n_epochs:
        raise ValueError(f'{name} is of a run with {state["epoch"]} epochs done; fit({n_epochs}) is less')
    names = [type(cb).__name__ for cb in cbs]
    if state['names'] != names:
        raise ValueError(f'{name} holds the callbacks {state["names"]}, this run has {names}')


def _load_run(learn, cbs, state):
    "Put a run back to what `_run_state` collected."
    learn.model.load_state_dict(state['model'])
    learn.opt.load_state_dict(state['opt'])
    learn.epoch, learn.n_steps = state['epoch'], state['n_steps']
    for cb, cb_state in zip(cbs, state['cbs']):
        cb.load_state_dict(cb_state)
    if state['sampler'] is not None:
        learn.dls.train.sampler.load_state_dict(state['sampler'])
    set_rng_states(state['rng'])


# cell hashes: 6e6fcbe1:2f34dec1 73f0d1df:af2b2e58 2e32b979:5f05c95f 73f60079:f2c15cbb
#   fd4b38a6:f82839b0 4585ba45:5f119fa9 91383d54:641530f4 41c64309:9a6f6c5d 36058b2a:f3315dd8
