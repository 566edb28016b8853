"""Mini-batch training

Exported from nbs/03_minibatch_training.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:c9d1b0a7c10e8f8c head:97d40b30
__all__ = ['SGD', 'Dataset', 'Sampler', 'BatchSampler', 'collate', 'DataLoader', 'get_dls',
           'evaluate', 'fit']


# %% 03_minibatch_training.ipynb cell 24 #fcb0cf94
import torch

from exp.nb_02d import accuracy


# %% 03_minibatch_training.ipynb cell 25 #4771febc
class SGD:
    """Stochastic gradient descent: `step` does p ← p − lr·p.grad for every parameter.

    params: tensors that require a gradient (any iterable) · lr: learning rate, may be changed between
    steps. Equal to `torch.optim.SGD` without momentum. Raises ValueError for no parameters or a
    negative rate.
    """
    def __init__(self, params, lr):
        self.params, self.lr = list(params), lr
        if not self.params:
            raise ValueError('SGD: no parameters; are the layers in a plain list? use nn.ModuleList')
        if lr < 0:
            raise ValueError(f'SGD: the learning rate must not be negative, but is {lr}')

    @torch.no_grad()
    def step(self):
        "Move every parameter that has a gradient."
        for p in self.params:
            if p.grad is not None:
                p.add_(p.grad, alpha=-self.lr)

    def zero_grad(self):
        "Forget the gradients, so that the next backward starts from none."
        for p in self.params:
            p.grad = None

    def state_dict(self):
        "What a resumed run needs: the rate."
        return {'lr': self.lr}

    def load_state_dict(self, state):
        "Take up the rate of a `state_dict`."
        self.lr = state['lr']


# %% 03_minibatch_training.ipynb cell 31 #e3a3e718
class Dataset:
    """Inputs and targets kept together: `ds[i]` is the pair `(x[i], y[i])`.

    x, y: tensors (or what `torch.as_tensor` takes) with the same first axis. `i` may be an int, a
    slice or a tensor of indices. Raises ValueError when the lengths differ.
    """
    def __init__(self, x, y):
        self.x, self.y = torch.as_tensor(x), torch.as_tensor(y)
        if len(self.x) != len(self.y):
            raise ValueError(f'Dataset: {len(self.x)} inputs, but {len(self.y)} targets')

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def gather(self, idx):
        "The samples at the indices `idx`, a LongTensor of shape (bs,), as one batch: (xb, yb)."
        idx = idx.to(self.x.device)
        return self.x.index_select(0, idx), self.y.index_select(0, idx)


# %% 03_minibatch_training.ipynb cell 40 #0545ccf8
class Sampler:
    """An order in which to visit `n` samples: 0 … n−1, or with `shuffle` a new permutation each time.

    source: the number of samples, or anything with a length · generator: a CPU `torch.Generator` to draw
    from instead of torch's global one. Iterating gives ints; `indices()` gives one pass as a tensor.
    """
    def __init__(self, source, shuffle=False, generator=None):
        self.n = source if isinstance(source, int) else len(source)
        self.shuffle, self.generator = shuffle, generator

    def __len__(self):
        return self.n

    def indices(self):
        "One pass: a LongTensor of shape (n,)."
        return torch.randperm(self.n, generator=self.generator) if self.shuffle else torch.arange(self.n)

    def __iter__(self):
        return iter(self.indices().tolist())

    def state_dict(self):
        "The state of its own generator, None if it draws from the global one."
        return {'generator': None if self.generator is None else self.generator.get_state()}

    def load_state_dict(self, state):
        "Go on from a `state_dict`."
        if self.generator is not None and state['generator'] is not None:
            self.generator.set_state(state['generator'])


# %% 03_minibatch_training.ipynb cell 44 #0bec2deb
class BatchSampler:
    """The order of a sampler, cut into batches of `bs` indices: LongTensors of shape (bs,).

    sampler: a `Sampler`, or any iterable of ints with a length · drop_last: leave out a last batch of
    fewer than `bs`. Raises ValueError when bs is not a whole number of 1 or more.
    """
    def __init__(self, sampler, bs, drop_last=False):
        if not isinstance(bs, int) or bs < 1:
            raise ValueError(f'BatchSampler: the batch size must be a whole number ≥ 1, not {bs!r}')
        self.sampler, self.bs, self.drop_last = sampler, bs, drop_last

    def __len__(self):
        n = len(self.sampler)
        return n // self.bs if self.drop_last else -(-n // self.bs)  # −(−n // bs) rounds up

    def __iter__(self):
        indices = getattr(self.sampler, 'indices', None)
        idx = indices() if indices else torch.tensor(list(self.sampler), dtype=torch.long)
        return iter(idx.split(self.bs)[:len(self)])


# %% 03_minibatch_training.ipynb cell 47 #47cba997
def collate(samples):
    """A list of samples -> one batch of the same structure, tensors stacked along a new first axis.

    samples: tensors, arrays or numbers of one shape, or tuples, lists or dicts of them. Raises ValueError
    for an empty list or unequal shapes (naming the first sample that differs), TypeError for anything
    that cannot become a tensor.
    """
    if not samples:
        raise ValueError('collate: there are no samples to make a batch of')
    first = samples[0]
    if isinstance(first, dict):
        return {k: collate([s[k] for s in samples]) for k in first}
    if isinstance(first, (tuple, list)):
        return type(first)([collate(list(column)) for column in zip(*samples, strict=True)])
    try:
        tensors = [torch.as_tensor(s) for s in samples]
    except (TypeError, RuntimeError) as e:
        raise TypeError(f'collate: {type(first).__name__} cannot become a tensor ({e})') from None
    for i, t in enumerate(tensors):
        if t.shape != tensors[0].shape:
            raise ValueError(f'collate: sample {i} has shape {tuple(t.shape)}, '
                             f'sample 0 has {tuple(tensors[0].shape)}')
    return torch.stack(tensors)


# %% 03_minibatch_training.ipynb cell 51 #a76facec
class DataLoader:
    """Batches of a dataset: iterate over it for one epoch of `(xb, yb)`.

    ds: has `len(ds)` and `ds[i]`; with a method `gather(idx)` a batch is fetched in one call · bs: batch
    size · shuffle, generator: see `Sampler` · drop_last: see `BatchSampler` · sampler: your own order
    instead of `shuffle` · collate_fn: makes a batch of a list of samples (given, it is used even if
    the dataset can gather). Raises ValueError for a bs below 1, or both a sampler and shuffle.
    """
    def __init__(self, ds, bs=64, shuffle=False, drop_last=False, sampler=None, generator=None,
                 collate_fn=None):
        if sampler is not None and shuffle:
            raise ValueError('DataLoader: a sampler already says the order; leave shuffle out')
        self.ds, self.bs, self.collate_fn = ds, bs, collate_fn
        self.sampler = Sampler(ds, shuffle, generator) if sampler is None else sampler
        self.batch_sampler = BatchSampler(self.sampler, bs, drop_last)

    def __len__(self):
        return len(self.batch_sampler)

    def __iter__(self):
        gathers = self.collate_fn is None and hasattr(self.ds, 'gather')
        return map(self.ds.gather if gathers else self._stack, self.batch_sampler)

    def _stack(self, idx):
        return (self.collate_fn or collate)([self.ds[i] for i in idx.tolist()])


# %% 03_minibatch_training.ipynb cell 61 #1986a312
def get_dls(train_ds, valid_ds, bs, generator=None):
    """The usual two loaders -> (train_dl, valid_dl): training shuffled, validation in order with 2·bs.

    generator: a `torch.Generator` for the shuffling.
    """
    return (DataLoader(train_ds, bs, shuffle=True, generator=generator),
            DataLoader(valid_ds, 2 * bs))


# %% 03_minibatch_training.ipynb cell 69 #ec061167
@torch.no_grad()
def evaluate(model, dl, *funcs):
    """Means of `func(preds, yb)` over all samples of `dl`, batches weighted by size. -> list of floats

    model: is put into eval mode, and back into the mode it had · dl: yields (xb, yb) · funcs: losses or
    metrics that average over their batch. Raises ValueError if there are no samples.
    """
    was_training = model.training
    model.eval()
    totals, n = [0.] * len(funcs), 0
    for xb, yb in dl:
        preds = model(xb)
        totals = [t + f(preds, yb) * len(yb) for t, f in zip(totals, funcs)]
        n += len(yb)
    model.train(was_training)
    if n == 0:
        raise ValueError('evaluate: the data loader has no batches; '
                         'is drop_last on, with fewer samples than bs?')
    return [float(t) / n for t in totals]


# %% 03_minibatch_training.ipynb cell 73 #d274babb
def fit(epochs, model, loss_func, opt, train_dl, valid_dl, metric=accuracy, quiet=False):
    """Train `model` for `epochs` passes over `train_dl`. -> list of dicts, one for each epoch

    loss_func: `loss_func(preds, yb)` -> a scalar tensor · opt: has `step()` and `zero_grad()` · metric: a
    second function of (preds, yb) · quiet: print nothing. Each dict holds `train_loss` (mean
    over the epoch while it trained), `valid_loss` and `metric`. Raises ValueError if the loader is empty
    or epochs is negative.
    """
    if epochs < 0 or len(train_dl) == 0:
        raise ValueError(f'fit: {epochs} epochs of {len(train_dl)} batches cannot be trained')
    history = []
    for epoch in range(epochs):
        model.train()
        total, n = 0., 0
        for xb, yb in train_dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
            total, n = total + loss.detach() * len(yb), n + len(yb)
        valid_loss, value = evaluate(model, valid_dl, loss_func, metric)
        history.append(dict(train_loss=float(total) / n, valid_loss=valid_loss, metric=value))
        if not quiet:
            text = '  '.join(f'{k} {v:.4f}' for k, v in history[-1].items())
            print(f'epoch {epoch + 1}/{epochs}  {text}', flush=True)
    return history


# cell hashes: fcb0cf94:81b276db 4771febc:c42196ec e3a3e718:b2e5070a 0545ccf8:dd42d710
#   0bec2deb:4c2d335a 47cba997:5b805b40 a76facec:dd6be3a8 1986a312:2f48f9fe ec061167:eb9f676f
#   d274babb:71ab23fe
