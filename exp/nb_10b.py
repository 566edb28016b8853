"""Mixup, CutMix and label smoothing

Exported from nbs/10b_mixup_label_smoothing.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:9e2dfcfd4d96930c head:0093196e
__all__ = ['mix_images', 'unreduced', 'mixed_loss', 'MixUp', 'cut_box', 'paste_box', 'CutMix',
           'LabelSmoothing', 'calibration_bins', 'ece', 'reliability_diagram']


# %% 10b_mixup_label_smoothing.ipynb cell 8 #606ba475
import inspect
import math
from contextlib import contextmanager
from functools import partial

import torch


def _as_column(lam, like):
    "Shares (bs,) -> (bs, 1, …), with as many axes as `like`, its dtype and its device"
    return lam.to(like).view(-1, *[1] * (like.dim() - 1))


def mix_images(x, perm, lam):
    """Each sample with its partner: λ_i·x_i + (1 − λ_i)·x_perm(i), (bs, …) -> (bs, …)

    perm: index of each one's partner (bs,) · lam: the share that each one keeps (bs,). Raises
    TypeError unless x is floating point. Source: Zhang et al. 2017, arXiv 1710.09412.
    """
    if not x.is_floating_point():
        raise TypeError(f'mixing needs floating-point inputs, not {x.dtype}; normalise them first')
    return torch.lerp(x[perm], x, _as_column(lam, x))


# %% 10b_mixup_label_smoothing.ipynb cell 24 #609486b0
def _reduction(loss_func):
    "How a loss sums up its batch, 'mean' or 'sum'; TypeError for one that does not say."
    found = getattr(loss_func, 'reduction', None)
    if found is None and not isinstance(loss_func, torch.nn.Module):
        known = inspect.signature(loss_func).parameters.get('reduction')
        found = None if known is None else known.default
    if found not in ('mean', 'sum'):
        name = getattr(loss_func, '__name__', type(loss_func).__name__)
        raise TypeError(f"the loss of each sample is needed, but {name} has no reduction 'mean' or "
                        f"'sum' to switch off (found: {found!r}); use one with a keyword or an "
                        'attribute `reduction`, as F.cross_entropy and nn.CrossEntropyLoss have')
    return found


# %% 10b_mixup_label_smoothing.ipynb cell 26 #a601f15f
@contextmanager
def unreduced(loss_func):
    """The loss without its reduction, within a `with`: `losses(preds, yb)` -> (bs,) or (bs, …)

    loss_func: a function with a keyword `reduction`, or a module with that attribute, which is put
    back at the end, also after an error. Raises TypeError for a loss that has neither.
    """
    how = _reduction(loss_func)
    if not hasattr(loss_func, 'reduction'):
        yield partial(loss_func, reduction='none')
        return
    loss_func.reduction = 'none'
    try:
        yield loss_func
    finally:
        loss_func.reduction = how


# %% 10b_mixup_label_smoothing.ipynb cell 31 #6197c857
def mixed_loss(loss_func, preds, yb, other, lam):
    """The loss of mixed samples: of λ_i·loss(preds_i, yb_i) + (1 − λ_i)·loss(preds_i, other_i)

    loss_func: see `unreduced`; the mean or the sum over the batch, as it has it (a mean weighted by
    class becomes a plain one, as torch has it for soft targets) · yb, other: targets (bs, …) of each
    sample and its partner · lam: shares (bs,). Raises ValueError if there is not a loss for each.
    """
    with unreduced(loss_func) as losses:
        first, second = losses(preds, yb), losses(preds, other)
    if first.dim() == 0 or len(first) != len(lam):
        raise ValueError(f'{len(lam)} samples were mixed, but the unreduced losses are of shape '
                         f'{tuple(first.shape)}; the batch must be their first axis')
    mixed = torch.lerp(second, first, _as_column(lam, first))
    return mixed.mean() if _reduction(loss_func) == 'mean' else mixed.sum()


# %% 10b_mixup_label_smoothing.ipynb cell 37 #00013f56
from exp.nb_04 import Callback


def _check_mixable(name, x, y):
    "Refuse a batch that is not a tensor of inputs with a tensor of as many targets."
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
        raise TypeError(f'{name} mixes a tensor xb with a tensor yb, not {type(x).__name__} and '
                        f'{type(y).__name__}')
    if y.dim() == 0 or len(x) != len(y):
        raise ValueError(f'{name}: {len(x)} inputs, but targets of shape {tuple(y.shape)}; there '
                         'must be one for each')


class _Mixing(Callback):
    order = 10  # after all who prepare the batch

    def __init__(self, alpha):
        if not 0 < alpha < math.inf:
            raise ValueError(f'{type(self).__name__}: alpha must be a number above 0, not {alpha!r}')
        self.alpha, self._held = alpha, None

    def before_fit(self, learn):
        "Refuse a second one: mixtures of mixtures have no loss here."
        if sum(isinstance(cb, _Mixing) for cb in learn.active_cbs) > 1:
            raise ValueError('only one of MixUp and CutMix can mix a batch; pass one of them')


# %% 10b_mixup_label_smoothing.ipynb cell 39 #36615471
class _Exchanges(_Mixing):
    def _shares(self, n):
        "n draws from Beta(α, α) -> (n,)"
        alpha = torch.tensor(float(self.alpha))
        return torch.distributions.Beta(alpha, alpha).sample((n,))

    def before_batch(self, learn):
        "Mix a training batch."
        if learn.training:
            _reduction(learn.loss_func)
            _check_mixable(type(self).__name__, learn.xb, learn.yb)
            learn.xb = self.mix(learn.xb)

    def after_pred(self, learn):
        "Exchange the loss for the mixed one."
        if learn.training:
            self._held = loss_func = learn.loss_func
            other = learn.yb[self.perm.to(learn.yb.device)]
            learn.loss_func = lambda preds, yb: mixed_loss(loss_func, preds, yb, other, self.lam)

    def after_loss(self, learn):
        "Put the loss back."
        if self._held is not None:
            learn.loss_func, self._held = self._held, None

    after_batch = after_fit = after_loss  # if the batch was cancelled, or failed


# %% 10b_mixup_label_smoothing.ipynb cell 41 #19f39c25
class MixUp(_Exchanges):
    """Trains on pairs of samples, mixed: λ·x_i + (1 − λ)·x_j, with λ·loss to y_i and 1 − λ to y_j.

    alpha: shares are max(λ, 1 − λ), λ from Beta(α, α), one for each sample; larger mixes more ·
    Targets may be class numbers or anything else that the loss takes; the loss must have a
    `reduction`, see `unreduced`. Validation is left alone. In training `learn.yb` stays the target
    of the larger part. After a batch: `perm` (partners) and `lam` (shares), both (bs,). Raises
    TypeError for a loss or a batch that cannot be mixed, ValueError for a bad alpha or two such
    callbacks. Source: Zhang et al. 2017, arXiv 1710.09412; max as in fastai.
    """
    def __init__(self, alpha=.4):
        super().__init__(alpha)

    def mix(self, x):
        "Draw shares and partners, mix the batch. (bs, …) -> (bs, …)"
        lam = self._shares(len(x))
        self.lam, self.perm = torch.maximum(lam, 1 - lam), torch.randperm(len(x))
        return mix_images(x, self.perm.to(x.device), self.lam)


# %% 10b_mixup_label_smoothing.ipynb cell 52 #89fc5668
def cut_box(h, w, lam, row, col):
    """A rectangle of about 1 − lam of an h×w picture around a centre, clipped. -> y1, y2, x1, x2

    Source: Yun et al. 2019, arXiv 1905.04899, eq. 2; rounding as in fastai.
    """
    side = math.sqrt(1 - lam)
    half_h, half_w = round(h * side) // 2, round(w * side) // 2
    return max(row - half_h, 0), min(row + half_h, h), max(col - half_w, 0), min(col + half_w, w)


def paste_box(x, perm, box):
    """Pictures with a rectangle of their partners'. -> (a new (bs, …, h, w), share kept as a float)

    box: y1, y2, x1, x2. The pictures given are left as they are.
    """
    y1, y2, x1, x2 = box
    out = x.clone()
    out[..., y1:y2, x1:x2] = x[perm][..., y1:y2, x1:x2]
    return out, 1 - (y2 - y1) * (x2 - x1) / (x.shape[-2] * x.shape[-1])


# %% 10b_mixup_label_smoothing.ipynb cell 59 #23e86c9b
class CutMix(_Exchanges):
    """Trains on pictures with a rectangle of another pasted in; losses are mixed by the areas.

    alpha: the area kept is about λ from Beta(α, α), one λ and one box for the batch; `lam` holds
    the share of pixels really kept. Batches are (bs, …, h, w); all else as in `MixUp`, but that
    `learn.yb` may be the smaller part. Raises ValueError too for batches that are no pictures.
    Source: Yun et al. 2019, arXiv 1905.04899.
    """
    def __init__(self, alpha=1.):
        super().__init__(alpha)

    def mix(self, x):
        "Draw share, partners and box, paste. (bs, …, h, w) -> the same shape"
        if x.dim() < 3:
            raise ValueError(f'CutMix needs pictures (bs, …, h, w), not a batch of shape '
                             f'{tuple(x.shape)}; BatchTransform(to_image) makes them of rows')
        h, w = x.shape[-2:]
        lam, self.perm = float(self._shares(1)), torch.randperm(len(x))
        col, row = int(torch.randint(0, w, (1,))), int(torch.randint(0, h, (1,)))
        out, kept = paste_box(x, self.perm.to(x.device), cut_box(h, w, lam, row, col))
        self.lam = torch.full((len(x),), kept)
        return out


# %% 10b_mixup_label_smoothing.ipynb cell 78 #998c9aa6
class LabelSmoothing(torch.nn.Module):
    """Cross-entropy that asks for 1 − ε + ε/K for the right class and ε/K for each of the others.

    Called with scores (bs, K, …) and class numbers (bs, …), or probabilities of the scores' shape ·
    eps: from 0, plain cross-entropy, to 1 · reduction: 'mean', 'sum' or 'none'. Equal to torch's
    `cross_entropy(…, label_smoothing=eps)`. Raises ValueError for another eps or reduction. Source:
    Szegedy et al. 2015, arXiv 1512.00567, section 7.
    """
    def __init__(self, eps=.1, reduction='mean'):
        super().__init__()
        if not 0 <= eps <= 1:
            raise ValueError(f'LabelSmoothing: eps must be from 0 to 1, not {eps!r}')
        if reduction not in ('mean', 'sum', 'none'):
            raise ValueError(f"LabelSmoothing: reduction 'mean', 'sum' or 'none', not {reduction!r}")
        self.eps, self.reduction = eps, reduction

    def forward(self, preds, yb):
        log_p = torch.log_softmax(preds, 1)
        if yb.is_floating_point():
            nll = -(yb * log_p).sum(1)
        else:
            nll = -log_p.gather(1, yb[:, None])[:, 0]
        losses = torch.lerp(nll, -log_p.mean(1), self.eps)
        return losses if self.reduction == 'none' else getattr(losses, self.reduction)()

    def activation(self, preds):
        "Probabilities of scores: (bs, K, …) -> (bs, K, …)"
        return preds.softmax(1)

    def extra_repr(self):
        return f'eps={self.eps}, reduction={self.reduction!r}'


# %% 10b_mixup_label_smoothing.ipynb cell 83 #0cb36bdf
def calibration_bins(probs, targs, n_bins=15):
    """Predictions collected by confidence. -> counts, mean confidences, accuracies, each (n_bins,)

    probs: probabilities (n, K) · targs: class numbers (n,). Bin b holds confidences in (b/n_bins,
    (b+1)/n_bins]; means of empty bins are 0. Raises ValueError for scores that are no probabilities.
    """
    if probs.dim() != 2 or targs.shape != probs.shape[:1] or len(probs) == 0:
        raise ValueError(f'calibration: probabilities (n, K) and targets (n,) are needed, not '
                         f'{tuple(probs.shape)} and {tuple(targs.shape)}')
    if probs.min() < 0 or not torch.allclose(probs.sum(1), probs.new_ones(()), atol=1e-3):
        raise ValueError('calibration: rows must be probabilities that sum to 1; use .softmax(1)')
    conf, preds = probs.double().max(1)
    place = (conf * n_bins).ceil().long().clamp(1, n_bins) - 1
    counts = torch.bincount(place, minlength=n_bins)
    sums = [torch.bincount(place, v.double(), n_bins) for v in (conf, preds == targs)]
    return counts, *[s / counts.clamp(min=1) for s in sums]


def ece(probs, targs, n_bins=15):
    "Expected calibration error of probabilities (n, K), from 0 to 1, see `calibration_bins`. -> float"
    counts, confs, accs = calibration_bins(probs, targs, n_bins)
    return float((counts * (accs - confs).abs()).sum() / counts.sum())


# %% 10b_mixup_label_smoothing.ipynb cell 89 #46350a13
def reliability_diagram(probs, targs, n_bins=15, ax=None, title=None):
    """Draws accuracy over confidence, with the gap to the diagonal. -> the axes

    probs, targs, n_bins: see `calibration_bins` · ax: matplotlib axes (default: new ones).
    """
    import matplotlib.pyplot as plt
    if ax is None:
        ax = plt.subplots(figsize=(3.4, 3.2), layout='constrained', facecolor='white')[1]
    counts, confs, accs = calibration_bins(probs, targs, n_bins)
    for b in counts.nonzero()[:, 0].tolist():
        left, alpha = b / n_bins, float(.25 + .75 * (counts[b] / counts.max()) ** .5)
        ax.bar(left, accs[b], 1 / n_bins, align='edge', color='#56B4E9', alpha=alpha)
        ax.plot([confs[b]] * 2, [accs[b], confs[b]], color='#D55E00', lw=2)
    ax.plot([0, 1], [0, 1], '--', color='#666666', lw=1)
    ax.set(xlabel='confidence', ylabel='accuracy', xlim=(0, 1), ylim=(0, 1),
           title=f'{title or "reliability"}: ECE {100 * ece(probs, targs, n_bins):.1f} %')
    return ax


# cell hashes: 606ba475:7e152703 609486b0:855139b7 a601f15f:13856d1a 6197c857:cc749cec
#   00013f56:f0274daf 36615471:cfadfd60 19f39c25:93210aa0 89fc5668:898bf7d8 23e86c9b:192faa42
#   998c9aa6:730bdaa0 0cb36bdf:ed612f96 46350a13:f46f8512
