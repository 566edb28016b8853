"""Matrix multiplication

Exported from nbs/01_matmul.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:3224f60647ec4e6c head:86a224f0
__all__ = ['matmul']


# %% 01_matmul.ipynb cell 146 #44a30d96
import torch


# %% 01_matmul.ipynb cell 147 #95336319
def matmul(a, b):
    """Matrix product of two matrices, c[i, j] = Σₖ a[i, k] · b[k, j]; equals `a @ b`.

    a: (n, k) · b: (k, m), of one dtype and on one device -> (n, m). Any size may be 0, any strides
    will do, and gradients flow to both. Raises TypeError for anything but two tensors of one dtype;
    ValueError unless both have two axes and one device, and a as many columns as b has rows.
    For batches: `torch.einsum('bik,bkj->bij', a, b)`.
    """
    _check_matrices(a, b)
    return torch.einsum('ik,kj->ij', a, b)


# %% 01_matmul.ipynb cell 149 #3f69681f
def _check_matrices(a, b):
    "Refuse what is not a pair of matrices that can be multiplied, and say why."
    for name, x in (('a', a), ('b', b)):
        if not isinstance(x, torch.Tensor):
            raise TypeError(f'matmul: {name} must be a tensor, not {type(x).__name__}; '
                            f'try torch.tensor({name})')
        if x.dim() != 2:
            raise ValueError(f'matmul: {name} must have two axes (rows, columns), '
                             f'but its shape is {tuple(x.shape)}')
    if a.dtype != b.dtype:
        raise TypeError(f'matmul: a is {a.dtype}, b is {b.dtype}; convert one, as in b.to(a.dtype)')
    if a.device != b.device:
        raise ValueError(f'matmul: a is on {a.device}, b is on {b.device}; '
                         f'move one, as in b.to(a.device)')
    if a.shape[1] != b.shape[0]:
        hint = '; did you mean b.t()?' if a.shape[1] == b.shape[1] else ''
        raise ValueError(f'matmul: a is {tuple(a.shape)} and b is {tuple(b.shape)}: b should have '
                         f'as many rows as a has columns, {a.shape[1]}, not {b.shape[0]}{hint}')


# cell hashes: 44a30d96:cf1070d3 95336319:87d2122b 3f69681f:fb8f92a1
