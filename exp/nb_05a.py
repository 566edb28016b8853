"""Foundations: Python and statistics

Exported from nbs/05a_foundations.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:b5d572baba8778b9 head:5b880799
__all__ = ['RunningStats']


# %% 05a_foundations.ipynb cell 46 #44a30d96
import torch


# %% 05a_foundations.ipynb cell 48 #6c14f6d3
class _Summary:
    def __init__(self):
        self.n, self.mean, self._m2 = 0, None, None

    def _merge(self, n, mean, m2):
        if self.n == 0:
            self.n, self.mean, self._m2 = n, mean, m2
            return
        if mean.shape != self.mean.shape:
            raise ValueError(f'RunningStats: samples of shape {tuple(mean.shape)} '
                             f'after {tuple(self.mean.shape)}')
        total, delta = self.n + n, mean - self.mean
        self._m2 = self._m2 + m2 + delta**2 * (self.n * n / total)
        self.mean = self.mean + delta * (n / total)
        self.n = total


# %% 05a_foundations.ipynb cell 49 #baaf4e4c
class RunningStats(_Summary):
    """Mean and variance of a stream, batch by batch, in one pass and without cancellation.

    `update(xs)` takes a tensor of samples, shape (n, …) or a single number; statistics are kept for each
    place of the trailing shape, in float64. `merge(other)` joins two streams. Sources: Welford 1962; Chan,
    Golub & LeVeque 1983. Raises ValueError for a shape unlike the first, for values that are not
    finite, and for a variance of too few samples.
    """
    def update(self, xs):
        "Take in samples, shape (n, …), or one number. -> self"
        xs = torch.atleast_1d(torch.as_tensor(xs)).detach().double()
        if not bool(xs.isfinite().all()):
            raise ValueError('RunningStats: NaN or infinity among the samples')
        if len(xs):
            mean = xs.mean(0)
            self._merge(len(xs), mean, (xs - mean).pow(2).sum(0))
        return self

    def merge(self, other):
        "Take in all that another RunningStats has seen. -> self"
        if other.n:
            self._merge(other.n, other.mean, other._m2)
        return self

    def var(self, ddof=1):
        "Variance with the divisor n − ddof."
        if self.n <= ddof:
            raise ValueError(f'RunningStats: {self.n} samples are too few for a variance with ddof={ddof}')
        return self._m2 / (self.n - ddof)

    def std(self, ddof=1):
        "Standard deviation with the divisor n − ddof."
        return self.var(ddof).sqrt()


# cell hashes: 44a30d96:cf1070d3 6c14f6d3:0ac0eaaa baaf4e4c:f9681819
