"""A complete Learner

Exported from nbs/09b_learner.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:0fb4e4b40697db5b head:e64aa017
__all__ = ['split_at', 'check_groups', 'spread', 'activation_for', 'FullLearner']


# %% 09b_learner.ipynb cell 8 #1ba826d2
import torch

from exp.nb_04 import Callback, CancelBatch, CancelEpoch, CancelFit, Learner, Metrics


def split_at(*names):
    """A splitter that begins a new group at each layer named, in the model's order. -> function

    names: as in `model.named_modules()`, such as '2' or 'body.layer4'. What comes before the first
    is a group of its own. The splitter raises ValueError for a name without parameters, or names
    out of order.
    """
    def split(model):
        groups, left = [[]], list(names)
        for name, p in model.named_parameters():
            if left and name.startswith(left[0] + '.'):
                left.pop(0)
                groups.append([])
            groups[-1].append(p)
        if left or not groups[0]:
            raise ValueError(f'split_at: no group begins at {(left or names)[0]!r}; that must be a '
                             'layer with parameters, after those named before, and not the first')
        return groups
    return split


# %% 09b_learner.ipynb cell 12 #de57e39b
def check_groups(model, groups):
    "The groups as lists, if each parameter of the model is in exactly one; else ValueError."
    groups = [list(group) for group in groups]
    names = {p: name for name, p in model.named_parameters()}
    given = [p for group in groups for p in group]
    present = set(given)
    missing = [name for p, name in names.items() if p not in present]
    if missing:
        raise ValueError(f'the splitter leaves out {", ".join(missing[:3])}'
                         + (f' and {len(missing) - 3} more' if len(missing) > 3 else ''))
    if len(given) > len(names) or not all(groups):
        raise ValueError('the splitter gives a parameter twice, one of another model, or an empty '
                         'group')
    return groups


# %% 09b_learner.ipynb cell 16 #fb79d6c7
def spread(lr, n):
    """A learning rate for each of `n` groups, from a number, a list, or a slice. -> list of floats

    slice(a, b): geometric from a to b · slice(b): b for the last group, b/10 for all before. Raises
    ValueError for a list of another length and for negative rates, TypeError for a step.
    """
    if isinstance(lr, slice):
        if lr.step is not None or lr.stop is None:
            raise TypeError(f'rates: slice(first, last) or slice(last), not {lr}')
        if lr.start is None:
            rates = [lr.stop / 10] * (n - 1) + [lr.stop]
        elif min(lr.start, lr.stop) <= 0:
            raise ValueError(f'rates: both ends of {lr} must be positive')
        else:
            ratio = lr.stop / lr.start
            rates = [lr.start * ratio**(i / (n - 1)) for i in range(n - 1)] + [lr.stop]
    else:
        rates = list(lr) if isinstance(lr, (list, tuple)) else [lr] * n
    if len(rates) != n:
        raise ValueError(f'{len(rates)} learning rates for {n} parameter groups')
    if min(rates) < 0:
        raise ValueError(f'a learning rate must not be negative: {rates}')
    return [float(rate) for rate in rates]


# %% 09b_learner.ipynb cell 20 #75ee7373
class _Grouped(Learner):
    def groups(self):
        "The parameters in the splitter's groups -> list of lists of tensors"
        if self.splitter is None:
            return [list(self.model.parameters())]
        return check_groups(self.model, self.splitter(self.model))

    def make_opt(self):
        "A fresh optimiser over the groups, at the learner's own rates. -> the optimiser"
        groups = self.groups()
        rates = spread(self.lr, len(groups))
        if len(groups) == 1:
            self.opt = self.opt_func(groups[0], lr=rates[0])
        else:
            dicts = [{'params': g, 'lr': rate} for g, rate in zip(groups, rates)]
            self.opt = self.opt_func(dicts, lr=rates[-1])
        return self.opt

    def fit(self, n_epochs, lr=None, cbs=()):
        "As `Learner.fit`; `lr` may be a number, a list, or a slice, see `spread`."
        opt = self.opt or self.make_opt()
        n_groups = len(getattr(opt, 'param_groups', [0]))
        rates = spread(self.lr if lr is None else lr, n_groups)
        super().fit(n_epochs, rates if n_groups > 1 else rates[0], cbs)


# %% 09b_learner.ipynb cell 22 #257a8869
class _Freezes(_Grouped):
    def freeze_to(self, n):
        "Freeze all groups before the nth (negative: from the end), unfreeze the others. -> self"
        groups = self.groups()
        n = n + len(groups) if n < 0 else n
        if not 0 <= n < len(groups):
            raise ValueError(f'freeze_to: there are {len(groups)} groups, 0 to {len(groups) - 1}; '
                             'at least the last must be free to learn')
        for i, group in enumerate(groups):
            for p in group:
                p.requires_grad_(i >= n)
        return self

    def freeze(self):
        "Freeze all groups but the last. -> self"
        return self.freeze_to(-1)

    def unfreeze(self):
        "Let all groups learn. -> self"
        return self.freeze_to(0)


# %% 09b_learner.ipynb cell 24 #9ac556e9
from exp.nb_05 import ParamScheduler, combine_scheds, one_cycle, sched_cos


def _together(scheds):
    "Schedules, one for each group -> a schedule that gives the list of their values."
    return lambda pos: [sched(pos) for sched in scheds]


class _Cycles(_Freezes):
    def fit_one_cycle(self, n_epochs, lr=None, pct_start=.25, div=25., div_final=1e5,
                      moms=(.95, .85, .95), cbs=()):
        """Fit with the one-cycle schedule of the rate, and the opposite one of the momentum.

        lr: the highest rates, see `spread` · pct_start, div, div_final: see `one_cycle` · moms:
        momentum at the start, the top and the end; None leaves it. Optimisers without a `mom`
        are left alone.
        Source: Smith 2018, arXiv 1803.09820; the defaults are fastai's.
        """
        opt = self.opt or self.make_opt()
        groups = getattr(opt, 'param_groups', [{}])
        rates = spread(self.lr if lr is None else lr, len(groups))
        scheds = [one_cycle(r, pct_start, div, div_final) for r in rates]
        found = {'lr': _together(scheds) if len(scheds) > 1 else scheds[0]}
        if moms is not None and 'mom' in groups[0]:
            down, up = sched_cos(moms[0], moms[1]), sched_cos(moms[1], moms[2])
            found['mom'] = combine_scheds([pct_start, 1 - pct_start], [down, up])
        self.fit(n_epochs, rates, [*cbs, ParamScheduler(**found)])


# %% 09b_learner.ipynb cell 28 #e6acbf91
from torch.nn import functional as F

from exp.nb_02d import cross_entropy as _our_cross_entropy

_SOFTMAX = (F.cross_entropy, _our_cross_entropy, torch.nn.CrossEntropyLoss)
_SIGMOID = (F.binary_cross_entropy_with_logits, torch.nn.BCEWithLogitsLoss)


def activation_for(loss_func):
    """The function that makes probabilities of scores, given a loss; the identity if unknown.

    A loss of your own says it by a method or attribute `activation`.
    """
    if hasattr(loss_func, 'activation'):
        return loss_func.activation
    if loss_func in _SOFTMAX or type(loss_func) in _SOFTMAX:
        return lambda scores: scores.softmax(1)
    if loss_func in _SIGMOID or type(loss_func) in _SIGMOID:
        return torch.sigmoid
    return lambda scores: scores


# %% 09b_learner.ipynb cell 30 #1feee11a
class _Gather(Callback):
    order = 1000  # after all who change the predictions

    def before_fit(self, learn):
        "Start from nothing."
        self.preds, self.targs = [], []

    def after_pred(self, learn):
        "Keep scores and targets; no loss is needed."
        self.preds.append(learn.preds.detach().cpu())
        self.targs.append(learn.yb if learn.yb is None else learn.yb.cpu())
        raise CancelBatch


# %% 09b_learner.ipynb cell 34 #190aa3e6
class _Passes(_Cycles):
    def _pass(self, dl, cbs):
        "A pass over `dl` without training, with `cbs` and the callbacks that do part of the work."
        was_training = self.model.training
        self.opt = self.opt or self.make_opt()
        self._listen([cb for cb in self.cbs if cb.in_search] + cbs)
        self.n_epochs, self.epoch, self.batch, self.n_batches, self.metrics = 1, 0, 0, len(dl), {}
        try:
            self._announce('before_fit')
            self._stage('before_epoch', lambda: self._do_loader(dl, training=False), 'after_epoch',
                        CancelEpoch)
        except CancelFit:
            pass
        finally:
            self._announce('after_fit')
            self.model.train(was_training)

    def validate(self, *funcs, dl=None):
        "Loss and metrics over a loader (default: validation). -> dict: valid_loss and the others"
        self._pass(self.dls.valid if dl is None else dl, [Metrics(*funcs)])
        return dict(self.metrics)


# %% 09b_learner.ipynb cell 36 #78272fb3
class _Predicts(_Passes):
    def get_preds(self, dl=None, act=None):
        """Predictions for every sample of a loader, in its order. -> (preds, targs), on the CPU

        dl: batches (xb, yb), by default the validation loader · act: function of the scores; by
        default what belongs to the loss, see `activation_for`. Raises ValueError for a loader that
        shuffles or is empty.
        """
        dl = self.dls.valid if dl is None else dl
        if getattr(getattr(dl, 'sampler', None), 'shuffle', False):
            raise ValueError('get_preds: this loader shuffles, and no one could tell which '
                             'prediction is whose; make one with shuffle=False')
        gather = _Gather()
        self._pass(dl, [gather])
        if not gather.preds:
            raise ValueError('get_preds: the loader has no batches')
        targs = None if gather.targs[0] is None else torch.cat(gather.targs)
        return (act or activation_for(self.loss_func))(torch.cat(gather.preds)), targs

    def predict(self, x):
        "One sample, without the batch axis -> (class or its name from `vocab`, probabilities (c,))"
        probs = self.get_preds([(x[None], None)])[0][0]
        best = int(probs.argmax())
        return (best if self.vocab is None else self.vocab[best]), probs


# %% 09b_learner.ipynb cell 38 #32ecd222
from exp.nb_05b import save_atomically


# %% 09b_learner.ipynb cell 40 #5fc8f189
class _Keeps(_Predicts):
    def state_dict(self, with_opt=True):
        "All that the next fit or prediction depends on, as tensors, numbers and lists. -> dict"
        frozen = [name for name, p in self.model.named_parameters() if not p.requires_grad]
        opt = (self.opt or self.make_opt()).state_dict() if with_opt else None
        return dict(model=self.model.state_dict(), opt=opt, n_steps=self.n_steps, frozen=frozen,
                    vocab=self.vocab)

    def load_state_dict(self, state):
        "Go on from a `state_dict`; if it has no optimiser, the next fit makes a fresh one."
        self.model.load_state_dict(state['model'])
        for name, p in self.model.named_parameters():
            p.requires_grad_(name not in state['frozen'])
        self.opt, self.n_steps, self.vocab = None, state['n_steps'], state['vocab']
        if state['opt'] is not None:
            self.make_opt().load_state_dict(state['opt'])

    def save(self, path):
        "Write the whole state, atomically. -> the path"
        return save_atomically(self.state_dict(), path)

    def export(self, path):
        "Write what predictions need: weights and names, no optimiser. -> the path"
        return save_atomically(self.state_dict(with_opt=False), path)

    def load(self, path):
        "Take up a file of `save` or `export`, on whatever device the model is. -> self"
        self.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
        return self


# %% 09b_learner.ipynb cell 42 #f904b680
from exp.nb_00a import show_images
from exp.nb_09 import adamw_opt


# %% 09b_learner.ipynb cell 43 #f0feaeed
class FullLearner(_Keeps):
    """A `Learner` with groups, freezing, one-cycle fits, predictions, saving, pictures of results.

    model, dls, loss_func, opt_func, lr, cbs: see `Learner`; `lr` may be a list or slice, see
    `spread` · splitter: function model -> groups of parameters, such as `split_at('2', '6')`
    (default: one group) · vocab: names of the classes, a list.

        loss_func = torch.nn.functional.cross_entropy
        learn = FullLearner(model, dls, loss_func, splitter=split_at('2', '6'))
        learn.freeze().fit_one_cycle(1, 3e-3)
        learn.unfreeze().fit_one_cycle(3, slice(1e-4, 3e-3))
        preds, targs = learn.get_preds()
    """
    def __init__(self, model, dls, loss_func, opt_func=adamw_opt, lr=1e-3, splitter=None,
                 vocab=None, cbs=()):
        super().__init__(model, dls, loss_func, opt_func, lr, cbs)
        self.splitter, self.vocab = splitter, None if vocab is None else list(vocab)

    def show_results(self, dl=None, n=20, worst=False):
        "The first n pictures, or the n worst, with truth → prediction, wrong in orange. -> figure"
        dl = self.dls.valid if dl is None else dl
        probs, targs = self.get_preds(dl)
        right = probs.gather(1, targs[:, None])[:, 0]
        chosen = (right if worst else torch.arange(len(targs))).argsort()[:n]
        name = str if self.vocab is None else lambda i: self.vocab[i]
        titles = [f'{name(int(targs[i]))} → {name(int(probs[i].argmax()))}' for i in chosen]
        return _draw(_samples(dl, chosen), titles, probs[chosen].argmax(1) == targs[chosen])


# %% 09b_learner.ipynb cell 45 #06ebdf95
def _samples(dl, chosen):
    "Inputs number `chosen` (a LongTensor) of a loader, as its batches hold them."
    return torch.cat([xb.cpu() for xb, _ in dl])[chosen]


def _draw(xs, titles, right):
    "The figure of `show_results`."
    fig = show_images(xs, n_cols=10, titles=titles)
    for ax, ok in zip(fig.axes, right):
        ax.title.set_color('black' if ok else '#D55E00')
    return fig


# cell hashes: 1ba826d2:3a003c86 de57e39b:f7cc7cae fb79d6c7:b416b0c3 75ee7373:1b68f17e
#   257a8869:4bf9bccc 9ac556e9:876a179c e6acbf91:f98b8978 1feee11a:9d342ceb 190aa3e6:0f6ed507
#   78272fb3:e11a0b76 32ecd222:96cf8ccb 5fc8f189:99e5a113 f904b680:d129b55c f0feaeed:20a56fa9
#   06ebdf95:cbbbd2ad
