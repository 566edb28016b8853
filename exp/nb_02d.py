"""Logistic regression, five ways

Exported from nbs/02d_logistic_regression.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:1897ebd3bf01570f head:0766d5d6
__all__ = ['log_softmax', 'nll_loss', 'cross_entropy', 'accuracy']


# %% 02d_logistic_regression.ipynb cell 32 #bf29ddca
import torch


def log_softmax(x, dim=-1):
    """Logarithm of the softmax along `dim`, safe for scores of any size: any shape -> the same

    x − m − log Σ exp(x − m) with m the largest of x: no exponent is above 0, the sum at least 1.
    Raises TypeError for anything but floating-point numbers.
    """
    if not x.is_floating_point():
        raise TypeError(f'log_softmax: x must be floating point, not {x.dtype}; call x.float()')
    x = x - x.detach().amax(dim, keepdim=True)
    return x - x.exp().sum(dim, keepdim=True).log()


# %% 02d_logistic_regression.ipynb cell 42 #d0245580
def _check_classes(name, preds, targ):
    "Raise unless `targ` holds whole numbers, one for each row of scores in `preds` (bs, c, …)."
    wanted = tuple(preds.shape[:1] + preds.shape[2:])
    if preds.dim() < 2:
        raise ValueError(f'{name}: scores must be (bs, c) or (bs, c, …), not {tuple(preds.shape)}')
    if tuple(targ.shape) != wanted:
        raise ValueError(f'{name}: with scores of {tuple(preds.shape)} targ must be {wanted}, '
                         f'not {tuple(targ.shape)}; classes are axis 1 of the scores')
    if targ.is_floating_point() or targ.is_complex() or targ.dtype == torch.bool:
        raise TypeError(f'{name}: targ must be whole numbers (the classes), not {targ.dtype}')


# %% 02d_logistic_regression.ipynb cell 43 #ba9a6147
def nll_loss(log_probs, targ, reduction='mean'):
    """Negative log likelihood: minus the log probability of the right class, over the batch.

    log_probs: (bs, c) or (bs, c, d1, …), as `log_softmax(x, 1)` gives them · targ: whole numbers
    from 0 to c − 1, (bs,) or (bs, d1, …) · reduction: 'mean', 'sum' (-> a scalar) or 'none'
    (-> as targ).
    Raises ValueError for shapes that do not fit and for an unknown reduction, TypeError for targets
    that are no whole numbers, IndexError for a class out of range (negative ones too).
    """
    _check_classes('nll_loss', log_probs, targ)
    c = log_probs.shape[1]
    if targ.numel() and not 0 <= targ.min() <= targ.max() < c:
        raise IndexError(f'nll_loss: targ has classes from {int(targ.min())} to {int(targ.max())}, '
                         f'but the scores are for classes 0 to {c - 1}')
    if reduction not in ('mean', 'sum', 'none'):
        raise ValueError(f"nll_loss: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    losses = -log_probs.gather(1, targ.long().unsqueeze(1)).squeeze(1)    # (bs, d1, …)
    return losses if reduction == 'none' else getattr(losses, reduction)()


# %% 02d_logistic_regression.ipynb cell 46 #dec37246
def cross_entropy(preds, targ, reduction='mean'):
    """Cross-entropy of raw scores: `nll_loss(log_softmax(preds, 1), targ)`.

    preds: scores (bs, c) or (bs, c, d1, …), before any softmax · targ: classes, (bs,) or
    (bs, d1, …) · reduction, result and errors: as for `nll_loss`.
    """
    _check_classes('cross_entropy', preds, targ)
    return nll_loss(log_softmax(preds, 1), targ, reduction)


# %% 02d_logistic_regression.ipynb cell 56 #cecc669c
def accuracy(preds, targ):
    """Share of places where the largest score is that of the right class. -> a scalar, 0 to 1

    preds: scores or probabilities, (bs, c) or (bs, c, d1, …) · targ: classes, (bs,) or (bs, d1, …).
    Raises ValueError for shapes that do not fit, TypeError for targets that are no whole numbers.
    """
    _check_classes('accuracy', preds, targ)
    return (preds.argmax(1) == targ).float().mean()


# cell hashes: bf29ddca:f9958f9c d0245580:b083e63e ba9a6147:64b115e1 dec37246:315d1a9b
#   cecc669c:468121ca
