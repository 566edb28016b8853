"""Schedules and the learning rate

Exported from nbs/05_anneal.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:1a3e047e62238f94 head:73a0b303
__all__ = ['sched_lin', 'sched_no', 'sched_cos', 'sched_exp', 'combine_scheds', 'one_cycle',
           'ParamScheduler', 'rng_states', 'set_rng_states', 'suggest_lr', 'LRFinder']


# %% 05_anneal.ipynb cell 6 #fd39141a
import copy
import math
import random
from bisect import bisect_right
from itertools import accumulate

import numpy as np
import torch

from exp.nb_04 import Callback, CancelEpoch, CancelFit, get_hyper, set_hyper


def _check_pos(pos):
    "A position as a float; refuses what lies outside of [0, 1] by more than rounding."
    pos = float(pos)
    if not -1e-9 <= pos <= 1 + 1e-9:
        raise ValueError(f'a schedule is defined from 0 (the beginning) to 1 (the end), not at {pos}')
    return min(max(pos, 0.), 1.)


# %% 05_anneal.ipynb cell 8 #cae758cb
def sched_lin(start, end):
    "A straight line from `start` to `end`: p ↦ start + p·(end − start). -> function of the position in [0, 1]"
    return lambda pos: start + _check_pos(pos) * (end - start)


def sched_no(start, end):
    "No change: `start` everywhere (`end` is there so that all schedules are called alike)."
    return lambda pos: start + 0 * _check_pos(pos)


# %% 05_anneal.ipynb cell 10 #49e26147
def sched_cos(start, end):
    "Half a cosine, flat at both ends. Source: Loshchilov & Hutter 2016, arXiv 1608.03983, eq. 5."
    return lambda pos: start + (1 - math.cos(math.pi * _check_pos(pos))) * (end - start) / 2


def sched_exp(start, end):
    "Geometric, start·(end/start)^p. Raises ValueError unless both are of one sign and not zero."
    if start * end <= 0:
        raise ValueError(f'sched_exp: start and end must be of one sign and not zero, not {start} and {end}')
    return lambda pos: start * (end / start) ** _check_pos(pos)


# %% 05_anneal.ipynb cell 24 #c947e8d4
def combine_scheds(pcts, scheds):
    """Schedules one after another. -> function of the position in [0, 1]

    pcts: the share of each phase, none negative, summing to 1 (within 1e-6) · scheds: as many schedules, each
    a function on [0, 1]. Where two phases meet, the later one counts. Raises ValueError for shares
    that do not fit.
    """
    pcts, scheds = [float(p) for p in pcts], list(scheds)
    if len(pcts) != len(scheds) or not pcts:
        raise ValueError(f'combine_scheds: {len(pcts)} shares for {len(scheds)} schedules')
    if min(pcts) < 0 or abs(sum(pcts) - 1) > 1e-6:
        raise ValueError(f'combine_scheds: the shares must be ≥ 0 and sum to 1; {pcts} sum to {sum(pcts)}')
    begins = [round(b, 12) for b in accumulate(pcts[:-1], initial=0.)]
    last = max(i for i, p in enumerate(pcts) if p > 0)

    def schedule(pos):
        pos = _check_pos(pos)
        i = min(bisect_right(begins, pos) - 1, last)
        return scheds[i](min((pos - begins[i]) / pcts[i], 1.))
    return schedule


# %% 05_anneal.ipynb cell 34 #c6780c0c
def one_cycle(lr_max, pct_start=.25, div=25., div_final=1e5):
    """The one-cycle schedule of the learning rate. -> function of the position in [0, 1]

    lr_max: the highest rate, reached at `pct_start` · it starts at lr_max/div and ends at lr_max/div_final,
    by half cosines. Defaults are fastai's. Source: Smith & Topin 2017, arXiv 1708.07120. Raises ValueError
    unless lr_max, div and div_final are positive and 0 ≤ pct_start ≤ 1.
    """
    if min(lr_max, div, div_final) <= 0 or not 0 <= pct_start <= 1:
        raise ValueError(f'one_cycle: lr_max={lr_max}, div={div} and div_final={div_final} must be positive '
                         f'and pct_start={pct_start} between 0 and 1')
    return combine_scheds([pct_start, 1 - pct_start],
                          [sched_cos(lr_max / div, lr_max), sched_cos(lr_max, lr_max / div_final)])


# %% 05_anneal.ipynb cell 38 #c36b5ecf
class ParamScheduler(Callback):
    """Sets hyper-parameters of the optimiser before every training batch, by schedules of the position.

    scheds: one schedule for each name, `ParamScheduler(lr=one_cycle(.4))`, or name and schedule,
    `ParamScheduler('lr', one_cycle(.4))`. At batch b of epoch e the position is (e + b/batches)/epochs, as in
    fastai. For several parameter groups a schedule may return a list. Raises TypeError if there is
    nothing to schedule, AttributeError (as the fit begins) for a hyper-parameter the optimiser lacks.
    """
    in_search = False

    def __init__(self, name=None, sched=None, **scheds):
        self.scheds = scheds if name is None else {name: sched, **scheds}
        for key, f in self.scheds.items():
            if not callable(f):
                raise TypeError(f'ParamScheduler: {key}={f!r} is no schedule (a function of the position)')
        if not self.scheds:
            raise TypeError('ParamScheduler: nothing to schedule; write ParamScheduler(lr=one_cycle(.4))')

    def before_fit(self, learn):
        "Refuse a name that the optimiser does not know."
        for name in self.scheds:
            get_hyper(learn.opt, name)

    def before_batch(self, learn):
        "Set what is scheduled."
        if learn.training:
            pos = (learn.epoch + learn.batch / learn.n_batches) / learn.n_epochs
            for name, sched in self.scheds.items():
                set_hyper(learn.opt, name, sched(pos))


# %% 05_anneal.ipynb cell 49 #9b74aa1a
def rng_states():
    """The states of Python's, NumPy's and torch's random generators (CUDA's too, where in use). -> dict

    It holds tensors, numbers and lists only, so that `torch.load` takes it back without unpickling code.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    name, key, *rest = np.random.get_state()
    return dict(python=random.getstate(), numpy=(name, key.tolist(), *rest),
                torch=torch.get_rng_state(), cuda=cuda)


def set_rng_states(states):
    "Put all random generators back into the states that `rng_states` returned."
    version, numbers, gauss = states['python']
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states['numpy']))
    torch.set_rng_state(states['torch'])
    if states['cuda']:
        torch.cuda.set_rng_state_all(states['cuda'])


# %% 05_anneal.ipynb cell 53 #18b2c56b
def _snapshot(learn):
    "All that training changes in a learner, copied."
    sampler = getattr(learn.dls.train, 'sampler', None)
    return dict(model=copy.deepcopy(learn.model.state_dict()), opt=copy.deepcopy(learn.opt.state_dict()),
                n_steps=learn.n_steps, rng=rng_states(),
                sampler=sampler.state_dict() if hasattr(sampler, 'state_dict') else None)


def _restore(learn, state):
    "Put a learner back to its snapshot."
    learn.model.load_state_dict(state['model'])
    learn.opt.load_state_dict(state['opt'])
    learn.opt.zero_grad()
    learn.n_steps = state['n_steps']
    set_rng_states(state['rng'])
    if state['sampler'] is not None:
        learn.dls.train.sampler.load_state_dict(state['sampler'])


# %% 05_anneal.ipynb cell 55 #7dcbe0b8
def _smoothed(losses, beta=.8):
    "Exponential average of the losses, corrected for its start at zero. -> list of the same length"
    average, out = 0., []
    for t, loss in enumerate(losses, 1):
        average = beta * average + (1 - beta) * loss
        out.append(average / (1 - beta**t))
    return out


# %% 05_anneal.ipynb cell 58 #e6415bdd
def suggest_lr(lrs, losses):
    """Half the learning rate at which the smoothed loss is lowest. -> float

    lrs, losses: what a range test saw. Raises ValueError when the loss never fell.
    """
    smooth = _smoothed(losses)
    if len(losses) < 10 or min(smooth) > .99 * smooth[0]:
        raise ValueError('LRFinder: the loss never fell; is the model connected to the loss, '
                         'and min_lr small enough?')
    return lrs[smooth.index(min(smooth))] / 2


# %% 05_anneal.ipynb cell 60 #6c4e8dd6
def _plot_search(lrs, losses):
    "The figure of `LRFinder.plot`."
    import matplotlib.pyplot as plt
    suggested = suggest_lr(lrs, losses)
    fig, ax = plt.subplots(figsize=(7, 3.2), facecolor='white')
    ax.semilogx(lrs, losses, color='#56B4E9', lw=.8, label='each batch')
    ax.semilogx(lrs, _smoothed(losses), color='#0072B2', lw=2, label='smoothed')
    ax.axvline(suggested, color='#D55E00', ls='--', label=f'suggested: {suggested:.2g}')
    ax.set(xlabel='learning rate', ylabel='training loss', title='Range test',
           ylim=(0, 1.6 * max(losses[:10])))
    ax.legend()
    return fig


# %% 05_anneal.ipynb cell 62 #bd41e5f5
class _Search(Callback):
    order = -50

    def before_fit(self, learn):
        "Remember how everything was."
        self.lrs, self.losses, self._before = [], [], _snapshot(learn)

    def before_batch(self, learn):
        "Set the next rate; skip validation; stop after the last step."
        if not learn.training:
            raise CancelEpoch
        if len(self.losses) == self.n_steps:
            raise CancelFit
        self.lrs.append(self.sched(len(self.losses) / (self.n_steps - 1)))
        set_hyper(learn.opt, 'lr', self.lrs[-1])

    def after_loss(self, learn):
        "Record; stop when the loss has exploded."
        self.losses.append(float(learn.loss.detach()))
        if not self.losses[-1] <= self.stop_factor * min(self.losses):  # true for NaN, too
            raise CancelFit

    def after_fit(self, learn):
        "Put everything back."
        _restore(learn, self._before)


# %% 05_anneal.ipynb cell 64 #c271c50b
class LRFinder(_Search):
    """Tries learning rates from min_lr to max_lr, a little larger at each batch, and suggests one.

    `LRFinder().run(learn)` trains for at most `n_steps` batches and returns the suggestion; the learner is
    as before. It stops early when the loss exceeds `stop_factor` times its lowest value. `lrs` and `losses`
    hold what was seen. Source: Smith 2015, arXiv 1506.01186. Raises ValueError for a bad range.
    """
    def __init__(self, min_lr=1e-5, max_lr=10., n_steps=100, stop_factor=4.):
        if not 0 < min_lr < max_lr or n_steps < 10:
            raise ValueError('LRFinder: 0 < min_lr < max_lr and n_steps ≥ 10 are needed, '
                             f'not {min_lr}, {max_lr}, {n_steps}')
        self.sched, self.n_steps = sched_exp(min_lr, max_lr), n_steps
        self.stop_factor, self.lrs, self.losses = stop_factor, [], []

    def run(self, learn):
        "Search with this learner, its recorders and schedulers left out. -> the suggested rate"
        kept, learn.cbs = learn.cbs, [cb for cb in learn.cbs if cb.in_search]
        try:
            learn.fit(math.ceil(self.n_steps / len(learn.dls.train)), cbs=[self])
        finally:
            learn.cbs = kept
        return self.suggest()

    def suggest(self):
        "The suggested rate, from what was seen."
        return suggest_lr(self.lrs, self.losses)

    def plot(self):
        "Draw the losses against the rates, with the suggestion. -> the figure"
        return _plot_search(self.lrs, self.losses)


# cell hashes: fd39141a:d0cbe64d cae758cb:ca2a31b1 49e26147:be78ae37 c947e8d4:cd1bb397
#   c6780c0c:906d2a9e c36b5ecf:2847c386 9b74aa1a:cf8910b2 18b2c56b:4846e23a 7dcbe0b8:14a4dd6d
#   e6415bdd:1e28c36b 6c4e8dd6:d88d4805 bd41e5f5:ab3690e4 c271c50b:19020057
