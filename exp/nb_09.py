"""Optimisers from small rules

Exported from nbs/09_optimizers.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:4961d91f9a2e08d9 head:b13b5310
__all__ = ['hypers_of', 'sgd_step', 'weight_decay', 'l2_reg', 'stat', 'momentum', 'nesterov',
           'average_sqr_grad', 'rms_direction', 'average_grad', 'count_steps', 'adam_direction',
           'adam_step', 'RulesBy', 'Optimizer', 'sgd_opt', 'rmsprop_opt', 'adam_opt', 'adamw_opt',
           'whole_tensor', 'trust_ratio', 'lamb_opt', 'lion_direction', 'lion_opt', 'newton_schulz',
           'nesterov_average', 'orthogonal_direction', 'muon_opt', 'TensorList', 'ForeachOptimizer',
           'FlatOptimizer']


# %% 09_optimizers.ipynb cell 8 #c854badb
import inspect

import torch


def hypers_of(rule):
    """The hyper-parameters of a rule, its keyword-only arguments. -> dict name: default

    The default is `inspect.Parameter.empty` where there is none. Raises TypeError for a rule that
    takes `**kwargs`, as it would swallow a misspelt name.
    """
    params = inspect.signature(rule).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in params):
        raise TypeError(f'{rule.__name__} takes **kwargs, which would swallow a misspelt name; '
                        'name its hyper-parameters after a *')
    return {p.name: p.default for p in params if p.kind is p.KEYWORD_ONLY}


# %% 09_optimizers.ipynb cell 12 #1ff83fdd
def sgd_step(p, grad, state, *, lr):
    "Take the step: p ← p − lr·g. Ends most chains."
    p.add_(grad, alpha=-lr)


def weight_decay(p, grad, state, *, lr, wd=0.):
    "Decoupled decay: p ← p − lr·wd·p, whatever g. Loshchilov & Hutter 2017, arXiv 1711.05101."
    if wd:
        p.mul_(1 - lr * wd)


def l2_reg(p, grad, state, *, wd=0.):
    "L2 penalty: g ← g + wd·p, the gradient of ½·wd·‖p‖². A decay that all later rules work on."
    return grad.add(p, alpha=wd) if wd else None


# %% 09_optimizers.ipynb cell 20 #8d43c929
def stat(**init):
    """Decorator that gives a rule a memory: what it keeps for each parameter, and how that starts.

    init: name = function of the parameter, such as `grad_avg=torch.zeros_like`; the rule finds the
    current value in its `state` under that name. A memory is a number, or a tensor of the
    parameter's shape.
    """
    def remember(rule):
        rule.init = init
        return rule
    return remember


# %% 09_optimizers.ipynb cell 22 #efc2ec6a
@stat(grad_avg=torch.zeros_like)
def momentum(p, grad, state, *, mom):
    "Roll like a ball: m ← mom·m + g; the direction is m. Polyak 1964."
    return state['grad_avg'].mul_(mom).add_(grad)


@stat(grad_avg=torch.zeros_like)
def nesterov(p, grad, state, *, mom):
    "Momentum that looks ahead: m ← mom·m + g; the direction is g + mom·m. Sutskever et al. 2013."
    return grad.add(state['grad_avg'].mul_(mom).add_(grad), alpha=mom)


# %% 09_optimizers.ipynb cell 28 #fd643e6e
@stat(sqr_avg=torch.zeros_like)
def average_sqr_grad(p, grad, state, *, sqr_mom):
    "Average of squared gradients: v ← sqr_mom·v + (1 − sqr_mom)·g²."
    state['sqr_avg'].mul_(sqr_mom).addcmul_(grad, grad, value=1 - sqr_mom)


def rms_direction(p, grad, state, *, eps):
    "RMSProp: g ← g / (√v + eps). Needs `average_sqr_grad`. Hinton 2012, lecture 6e."
    return grad.div(state['sqr_avg'].sqrt().add_(eps))


# %% 09_optimizers.ipynb cell 32 #69e04891
@stat(grad_avg=torch.zeros_like)
def average_grad(p, grad, state, *, mom):
    "Average of gradients: m ← mom·m + (1 − mom)·g."
    state['grad_avg'].lerp_(grad, 1 - mom)


@stat(step=lambda p: 0)
def count_steps(p, grad, state):
    "t ← t + 1, each parameter for itself: one that joined later is younger."
    state['step'] += 1


def adam_direction(p, grad, state, *, mom, sqr_mom, eps):
    "Adam: g ← m̂ / (√v̂ + eps), debiased, from three stats. Kingma & Ba 2014, arXiv 1412.6980."
    t = state['step']
    rms = state['sqr_avg'].sqrt().div_((1 - sqr_mom**t)**.5).add_(eps)
    return state['grad_avg'].div(1 - mom**t).div_(rms)


# %% 09_optimizers.ipynb cell 40 #c579666f
def adam_step(p, grad, state, *, lr, mom, sqr_mom, eps):
    "`adam_direction` and `sgd_step` in one, with three passes over the tensors less."
    c = (1 - sqr_mom**state['step'])**.5
    rms = state['sqr_avg'].sqrt().add_(c * eps)
    p.addcdiv_(state['grad_avg'], rms, value=-lr * c / (1 - mom**state['step']))


# %% 09_optimizers.ipynb cell 48 #5b845c0b
def _known_hypers(rules):
    "All hyper-parameters of some rules -> dict name: default; refuses two stats with one memory."
    found, memory = {}, [k for rule in rules for k in getattr(rule, 'init', {})]
    if twice := {k for k in memory if memory.count(k) > 1}:
        raise ValueError(f'two of the rules keep {", ".join(twice)} and would disturb each other')
    for rule in rules:
        for k, default in hypers_of(rule).items():
            if found.get(k, inspect.Parameter.empty) is inspect.Parameter.empty:
                found[k] = default
    return found


# %% 09_optimizers.ipynb cell 52 #5f827c27
import difflib
import math

_ELSEWHERE = {'weight_decay': 'wd', 'momentum': 'mom', 'alpha': 'sqr_mom', 'learning_rate': 'lr',
              'betas': 'mom and sqr_mom'}  # what torch and others call it


def _unknown(k, known):
    "What to say about a name that no rule takes."
    close = [_ELSEWHERE[k]] if k in _ELSEWHERE else difflib.get_close_matches(k, known, 1)
    hint = f'did you mean {close[0]!r}? ' if close else ''
    return f'unknown hyper-parameter {k!r}; {hint}this optimiser has {", ".join(known)}'


def _complete(known, hypers):
    "A group's hyper-parameters, defaults included; refuses unknown, missing and senseless ones."
    for k in hypers:
        if k not in known:
            raise TypeError(_unknown(k, known))
    values = {**known, **hypers}
    for k, v in values.items():
        if v is inspect.Parameter.empty:
            raise TypeError(f'the hyper-parameter {k!r} is missing')
        if not 0 <= v < (1 if k in ('mom', 'sqr_mom') else math.inf):
            raise ValueError(f'{k}={v}: must not be negative'
                             + (', and must be below 1' if 'mom' in k else ''))
    return values


# %% 09_optimizers.ipynb cell 56 #a9fadc01
def _check_params(params, present):
    "Refuse what is no leaf tensor of floating point, and what is there already."
    if not params:
        raise ValueError('no parameters; are the layers in a plain list? use nn.ModuleList')
    for i, p in enumerate(params):
        if not isinstance(p, torch.Tensor):
            hint = '; pass parameters(), not named_parameters()' if isinstance(p, tuple) else ''
            raise TypeError(f'parameter {i} is a {type(p).__name__}, not a tensor{hint}')
        if not p.is_leaf or not p.is_floating_point():
            raise ValueError(f'parameter {i} cannot be trained: it is '
                             + ('the result of an operation' if not p.is_leaf else f'{p.dtype}'))
    if len(set(params)) < len(params) or present & set(params):
        raise ValueError('a parameter was given twice, in one group or in two')


# %% 09_optimizers.ipynb cell 58 #e9e06046
class RulesBy:
    """Two chains in one optimiser: parameters with `where(p)` follow `rules`, all others `others`.

    where: function of a parameter -> bool · rules, others: lists of rules.
    """
    def __init__(self, where, rules, others):
        self.where, self.rules, self.others = where, list(rules), list(others)

    def __call__(self, p):
        "The rules for the parameter `p`."
        return self.rules if self.where(p) else self.others


def _always(p):
    return True


# %% 09_optimizers.ipynb cell 60 #7640d58c
class _Chains:
    "Which rules a parameter follows, and which hyper-parameters they take."
    def __init__(self, steppers, stats):
        by = steppers
        if not isinstance(by, RulesBy):
            by = RulesBy(_always, [*stats, *steppers], [])
        self._rules_by, self._known = by, _known_hypers(by.rules) | _known_hypers(by.others)
        self._names = {rule: tuple(hypers_of(rule)) for rule in [*by.rules, *by.others]}


# %% 09_optimizers.ipynb cell 62 #70f10157
def _own_hypers(group):
    return {k: v for k, v in group.items() if k != 'params'}


class _Groups(_Chains):
    def __init__(self, params, steppers, stats=(), **hypers):
        super().__init__(steppers, stats)
        self._given, self.state, self.param_groups, self._bunches = hypers, {}, [], []
        params = [params] if isinstance(params, torch.Tensor) else list(params)
        in_groups = params and isinstance(params[0], dict)
        for group in params if in_groups else [{'params': params}]:
            self.add_param_group(group)

    def add_param_group(self, group):
        "Add a dict with `'params'` and hyper-parameters of its own; others are the optimiser's."
        params = group['params']
        params = [params] if isinstance(params, torch.Tensor) else list(params)
        _check_params(params, set(self._params()))
        hypers = {**self._given, **_own_hypers(group)}
        self.param_groups.append({'params': params, **_complete(self._known, hypers)})
        bunches = {}
        for p in params:
            rules = self._rules_by(p)
            bunches.setdefault(id(rules), (rules, []))[1].append(p)
        self._bunches.append(list(bunches.values()))

    def _params(self):
        return [p for group in self.param_groups for p in group['params']]


# %% 09_optimizers.ipynb cell 64 #cf4a081b
class _States(_Groups):
    def _new_state(self, p):
        return {k: start(p.detach()) for rule in self._rules_by(p)
                for k, start in getattr(rule, 'init', {}).items()}

    def _state_of(self, p):
        if p not in self.state:
            self.state[p] = self._new_state(p)
        return self.state[p]

    def _fitting(self, p, saved):
        state = self._new_state(p)
        shapes = [{k: getattr(v, 'shape', None) for k, v in s.items()} for s in (state, saved)]
        if shapes[0] != shapes[1]:
            raise ValueError(f'the saved state {shapes[1]} does not fit a parameter of shape '
                             f'{tuple(p.shape)}, which has {shapes[0]}')
        return {k: v.detach().clone().to(state[k]) if isinstance(v, torch.Tensor) else v
                for k, v in saved.items()}


# %% 09_optimizers.ipynb cell 66 #cd250ed8
class _Saves(_States):
    def state_dict(self):
        "Groups and states, with parameters as numbers, for `load_state_dict` and `torch.save`."
        params = self._params()
        number = {p: i for i, p in enumerate(params)}
        groups = [{**g, 'params': [number[p] for p in g['params']]} for g in self.param_groups]
        state = {number[p]: dict(self.state[p]) for p in params if p in self.state}
        return {'state': state, 'param_groups': groups}

    def load_state_dict(self, state_dict):
        "Go on from a copy of a `state_dict`. Raises ValueError for other groups, shapes, memories."
        groups, params = state_dict['param_groups'], self._params()
        if [len(g['params']) for g in groups] != [len(g['params']) for g in self.param_groups]:
            raise ValueError('the saved optimiser has other parameter groups than this one')
        hypers = [_complete(self._known, _own_hypers(g)) for g in groups]
        self.state = {params[int(i)]: self._fitting(params[int(i)], saved)
                      for i, saved in state_dict['state'].items()}
        for group, values in zip(self.param_groups, hypers):
            group.update(values)


# %% 09_optimizers.ipynb cell 68 #fd227bac
def _apply(calls, p, grad, state):
    "Call the rules in order, each with the direction that the one before handed on."
    for rule, hypers in calls:
        direction = rule(p, grad, state, **hypers)
        grad = grad if direction is None else direction


# %% 09_optimizers.ipynb cell 70 #f49ffff5
class Optimizer(_Saves):
    """Runs a chain of rules: `Optimizer(params, [momentum, sgd_step], lr=.1, mom=.9)`.

    params: tensors, or dicts with 'params' and hyper-parameters of their own (as in torch.optim) ·
    steppers: the rules in order, each `rule(p, grad, state, *, …)`; or a `RulesBy` · stats: rules
    that come before them · hypers: a value for every hyper-parameter that the rules name and have
    no default for. `param_groups` is a list of dicts, `state` maps a parameter to what is kept for
    it. Raises TypeError for unknown or missing hyper-parameters, ValueError for senseless values
    and parameters.
    """
    @torch.no_grad()
    def step(self):
        "Move every parameter that has a gradient."
        for group, bunches in zip(self.param_groups, self._bunches):
            if len(group) != len(self._known) + 1:
                _complete(self._known, _own_hypers(group))
            for rules, params in bunches:
                self._advance(params, [(r, {k: group[k] for k in self._names[r]}) for r in rules])

    def zero_grad(self):
        "Forget the gradients."
        for p in self._params():
            p.grad = None

    def _advance(self, params, calls):
        for p in params:
            if p.grad is not None:
                _apply(calls, p, p.grad, self._state_of(p))


# %% 09_optimizers.ipynb cell 78 #31e56ef2
def sgd_opt(params, lr=.1, mom=0., wd=0., use_nesterov=False, kind=Optimizer):
    """SGD, with momentum `mom` (or Nesterov's) and L2 penalty `wd`; as torch.optim.SGD.

    params, errors: see `Optimizer` · kind: `Optimizer`, `ForeachOptimizer` or `FlatOptimizer`.
    """
    if use_nesterov and not mom:
        raise ValueError('sgd_opt: Nesterov momentum needs a momentum, mom=.9 for example')
    if not mom:
        return kind(params, [l2_reg, sgd_step], lr=lr, wd=wd)
    ball = nesterov if use_nesterov else momentum
    return kind(params, [l2_reg, ball, sgd_step], lr=lr, mom=mom, wd=wd)


def rmsprop_opt(params, lr=.01, sqr_mom=.99, eps=1e-8, mom=0., wd=0., kind=Optimizer):
    "RMSProp with L2 penalty; momentum, if any, on the divided gradient; as torch.optim.RMSprop."
    rules = [l2_reg, average_sqr_grad, rms_direction]
    hypers = dict(lr=lr, sqr_mom=sqr_mom, eps=eps, wd=wd)
    if mom:
        rules, hypers = [*rules, momentum], {**hypers, 'mom': mom}
    return kind(params, [*rules, sgd_step], **hypers)


# %% 09_optimizers.ipynb cell 80 #22664b50
_ADAM = [count_steps, average_grad, average_sqr_grad, adam_step]


def adam_opt(params, lr=1e-3, mom=.9, sqr_mom=.999, eps=1e-8, wd=0., kind=Optimizer):
    "Adam with L2 penalty `wd`; as torch.optim.Adam with betas=(mom, sqr_mom)."
    return kind(params, [l2_reg, *_ADAM], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)


def adamw_opt(params, lr=1e-3, mom=.9, sqr_mom=.999, eps=1e-8, wd=.01, kind=Optimizer):
    "Adam with decoupled weight decay `wd`; as torch.optim.AdamW with betas=(mom, sqr_mom)."
    return kind(params, [weight_decay, *_ADAM], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)


# %% 09_optimizers.ipynb cell 88 #31b7c926
def whole_tensor(rule):
    "Decorator for a rule that must see each tensor whole and in shape (a norm, a matrix)."
    rule.elementwise = False
    return rule


@whole_tensor
def trust_ratio(p, grad, state):
    "g ← g·min(‖p‖/‖g‖, 10); as it is where either is 0. You et al. 2019, arXiv 1904.00962."
    p_norm, norm = p.norm(), grad.norm()
    known = (p_norm > 0) & (norm > 0)
    return grad * torch.where(known, (p_norm / norm).clamp(max=10), 1.)


def lamb_opt(params, lr=.002, mom=.9, sqr_mom=.99, eps=1e-5, wd=0., kind=Optimizer):
    "LAMB: Adam's direction plus wd·p, scaled to the length of each tensor. See `trust_ratio`."
    rules = [*_ADAM[:3], adam_direction, l2_reg, trust_ratio, sgd_step]
    return kind(params, rules, lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)


# %% 09_optimizers.ipynb cell 92 #64268c49
@stat(grad_avg=torch.zeros_like)
def lion_direction(p, grad, state, *, mom, sqr_mom):
    """g ← sign(mom·m + (1 − mom)·g), then m ← sqr_mom·m + (1 − sqr_mom)·g.

    Source: Chen et al. 2023, arXiv 2302.06675, algorithm 2.
    """
    direction = state['grad_avg'].lerp(grad, 1 - mom).sign_()
    state['grad_avg'].lerp_(grad, 1 - sqr_mom)
    return direction


def lion_opt(params, lr=1e-4, mom=.9, sqr_mom=.99, wd=0., kind=Optimizer):
    "Lion with decoupled decay; mom and sqr_mom are its β₁ and β₂. It wants a smaller lr than Adam."
    rules = [weight_decay, lion_direction, sgd_step]
    return kind(params, rules, lr=lr, mom=mom, sqr_mom=sqr_mom, wd=wd)


# %% 09_optimizers.ipynb cell 100 #e0737335
def newton_schulz(x, n_steps=5, dtype=torch.bfloat16):
    """Make the singular values of a matrix about 1 (.7 to 1.2): U S Vᵀ -> about U Vᵀ, same shape.

    n_steps: rounds of the polynomial · dtype: that of the computation and of the result. Source:
    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
    """
    a, b, c = 3.4445, -4.7750, 2.0315  # chosen there: steepest at 0 while staying in bounds
    tall = x.shape[0] > x.shape[1]
    y = (x.T if tall else x).to(dtype)
    y = y / y.norm().clamp(min=1e-7)
    for _ in range(n_steps):
        gram = y @ y.T
        y = torch.addmm(y, torch.addmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.T if tall else y


# %% 09_optimizers.ipynb cell 106 #2e253fc4
@stat(grad_avg=torch.zeros_like)
def nesterov_average(p, grad, state, *, mom):
    "Nesterov as an average: m ← mom·m + (1 − mom)·g; the direction is (1 − mom)·g + mom·m."
    return grad.lerp(state['grad_avg'].lerp_(grad, 1 - mom), mom)


@whole_tensor
def orthogonal_direction(p, grad, state, *, rms=.2):
    "g ← U Vᵀ of g as a matrix, scaled to an RMS of `rms`. Liu et al. 2025, arXiv 2502.16982."
    matrix = grad.flatten(1)
    scale = rms * max(matrix.shape)**.5
    return newton_schulz(matrix).to(p.dtype).mul(scale).view_as(p)


def _is_matrix(p):
    return p.dim() >= 2


def muon_opt(params, lr=1e-3, mom=.95, wd=.1, rms=.2, sqr_mom=.999, eps=1e-8, where=_is_matrix,
             kind=Optimizer):
    """Muon for matrices, as torch's with 'match_rms_adamw'; AdamW for the rest; one lr for both.

    where: function of a parameter: is it for Muon? By default all of two or more axes; many leave
    embeddings and the last layer to AdamW. mom and wd serve both chains, sqr_mom and eps AdamW's.
    """
    muon = [weight_decay, nesterov_average, orthogonal_direction, sgd_step]
    rules = RulesBy(where, muon, [weight_decay, *_ADAM])
    return kind(params, rules, lr=lr, mom=mom, wd=wd, rms=rms, sqr_mom=sqr_mom, eps=eps)


# %% 09_optimizers.ipynb cell 127 #6bbb6b5a
class TensorList(list):
    """Tensors with a tensor's methods: `ts.mul_(2)` is one `torch._foreach_mul_` over all of them.

    Other tensors among the arguments are TensorLists of the same length; results are TensorLists.
    Raises AttributeError for a method of which torch has no `_foreach_` version.
    """
    def __getattr__(self, name):
        op = getattr(torch, f'_foreach_{name}', None)
        if op is None:
            raise AttributeError(f'TensorList has no method {name!r}: torch has no _foreach_{name}')

        def method(*args, **kwargs):
            out = op(self, *args, **kwargs)
            return self if out is None else TensorList(out)
        return method


# %% 09_optimizers.ipynb cell 131 #8e4b2338
def _numbers(state):
    "What a state holds that is no tensor: its step count."
    return {k: v for k, v in state.items() if isinstance(v, (int, float))}


def _elementwise(calls):
    return all(getattr(rule, 'elementwise', True) for rule, _ in calls)


def _alike(params, states):
    "Sort by device, dtype and numbers -> list of (params, states), each of one kind."
    found = {}
    for p, state in zip(params, states):
        kind = found.setdefault((p.device, p.dtype, *_numbers(state).items()), ([], []))
        kind[0].append(p)
        kind[1].append(state)
    return list(found.values())


# %% 09_optimizers.ipynb cell 135 #2f666f28
class ForeachOptimizer(Optimizer):
    "An `Optimizer` that hands all parameters to a rule at once, as a `TensorList`; same results."
    def _advance(self, params, calls):
        if not _elementwise(calls):
            return super()._advance(params, calls)
        active = [p for p in params if p.grad is not None]
        for ps, states in _alike(active, [self._state_of(p) for p in active]):
            numbers = _numbers(states[0])
            lists = {k: TensorList([s[k] for s in states]) for k in states[0] if k not in numbers}
            merged = lists | numbers
            _apply(calls, TensorList(ps), TensorList([p.grad for p in ps]), merged)
            for state in states:
                state.update({k: merged[k] for k in numbers})


# %% 09_optimizers.ipynb cell 139 #538abae2
def _views(flat, tensors):
    "Windows on a flat buffer, of the shapes of `tensors`."
    return [v.view(t.shape) for v, t in zip(flat.split([t.numel() for t in tensors]), tensors)]


def _join(tensors):
    "Copy tensors into one flat buffer and make them windows on it. -> the buffer"
    if len(tensors) == 1 and tensors[0].is_contiguous():
        return tensors[0].detach().view(-1)
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    for t, view in zip(tensors, _views(flat, tensors)):
        t.set_(view)
    return flat


# %% 09_optimizers.ipynb cell 143 #567a235b
import itertools


def _kind(p):
    "Tensors of one kind can be concatenated as they are."
    return p.ndim, tuple(p.shape[1:])


def _runs(flat, params):
    "Neighbours of one kind. -> (first, last + 1, where their gradients go: a window on `flat`)"
    start = place = 0
    for (_, shape), run in itertools.groupby(params, _kind):
        run = list(run)
        size = sum(p.numel() for p in run)
        yield start, start + len(run), flat[place:place + size].view(-1, *shape)
        start, place = start + len(run), place + size


# %% 09_optimizers.ipynb cell 147 #c1026c30
class _Joined:
    "Parameters of one sort in one buffer; their memories, and a place for their gradients."
    def __init__(self, params, states):
        self.params, self.numbers = params, _numbers(states[0])
        self.flat = _join(params)
        names = [k for k in states[0] if k not in self.numbers]
        self.joined = {k: _join([s[k] for s in states]) for k in names}
        self.grad = torch.empty_like(self.flat) if len(params) > 1 else None
        self.runs = [*_runs(self.grad, params)] if len(params) > 1 else []

    def gather(self, grads):
        "The gradients in one long tensor: joined, or the only one as it is."
        if self.grad is None:
            return grads[0].reshape(-1)
        for start, end, window in self.runs:
            (torch.cat if grads[start].ndim else torch.stack)(grads[start:end], out=window)
        return self.grad


# %% 09_optimizers.ipynb cell 149 #fe2908ce
from collections import ChainMap


class _Buffer(_Joined):
    "A joined buffer that goes through a chain of rules block by block."
    def __init__(self, params, states, size):
        super().__init__(params, states)
        self.size = min(size, len(self.flat)) or 1
        self.grad_blocks = None if self.grad is None else self.grad.split(self.size)
        self.blocks = [(p, dict(self.numbers)) for p in self.flat.split(self.size)]
        for k, memory in self.joined.items():
            for (_, state), piece in zip(self.blocks, memory.split(self.size)):
                state[k] = piece
        self.states = [ChainMap({k: s[k] for k in self.joined}, self.blocks[0][1]) for s in states]

    def advance(self, calls, grads):
        "One step: each block through the whole chain."
        grad = self.gather(grads)
        for (p, state), g in zip(self.blocks, self.grad_blocks or grad.split(self.size)):
            _apply(calls, p, g, state)
        torch.autograd.graph.increment_version(self.params)  # so autograd knows that they changed


# %% 09_optimizers.ipynb cell 151 #4d9e9fb2
def _places(params, grads):
    "Where each parameter lives, and which of them have no gradient."
    return list(map(torch.Tensor.data_ptr, params)), [g is None for g in grads]


# %% 09_optimizers.ipynb cell 155 #170fd521
def _make_buffers(params, states, block):
    "Buffers for parameters that step together: the small ones joined, each large one alone."
    made = []
    for ps, kept in _alike(params, states):
        size = block * torch.get_num_threads() if ps[0].device.type == 'cpu' else math.inf
        size = min(size, sum(p.numel() for p in ps))
        large = [([p], [s]) for p, s in zip(ps, kept) if p.numel() >= size]
        small = [(p, s) for p, s in zip(ps, kept) if p.numel() < size]
        small.sort(key=lambda pair: _kind(pair[0]))
        joined = [tuple(map(list, zip(*small)))] if small else []
        made += [_Buffer(*pair, size) for pair in large + joined]
    return made


# %% 09_optimizers.ipynb cell 157 #80ecd994
class FlatOptimizer(Optimizer):
    """An `Optimizer` that runs over few long tensors in place of many; same results, faster.

    Small parameters are joined in one buffer, of which they become windows; large ones are cut into
    blocks that fit the cache. The model is used as ever: moved, frozen, loaded, copied. Parameters
    that get a gradient only now and then cost time, as the buffers are made anew. Chains with a
    `whole_tensor` rule run as in `Optimizer`.
    """
    block = 2**17  # numbers in a block, for each CPU thread: with Adam's four tensors 2 MB of cache

    def __init__(self, params, steppers, stats=(), **hypers):
        self._buffers = {}
        super().__init__(params, steppers, stats, **hypers)

    def _advance(self, params, calls):
        if not _elementwise(calls):
            return super()._advance(params, calls)
        grads = [p.grad for p in params]
        before, buffers = self._buffers.get(params[0], (None, []))
        if before != _places(params, grads):
            buffers = self._renew(params, grads)
        for buffer in buffers:
            buffer.advance(calls, [grads[i] for i in buffer.members])

    def _renew(self, params, grads):
        active = [p for p in params if p.grad is not None]
        buffers = _make_buffers(active, [dict(self._state_of(p)) for p in active], self.block)
        self._buffers[params[0]] = _places(params, grads), buffers
        rank = {p: i for i, p in enumerate(params)}
        for buffer in buffers:
            buffer.members = [rank[p] for p in buffer.params]
            self.state.update(zip(buffer.params, buffer.states))
        return buffers

    def load_state_dict(self, state_dict):
        "Go on from a `state_dict` of any kind of Optimizer."
        super().load_state_dict(state_dict)
        self._buffers = {}


# cell hashes: c854badb:e2cafdca 1ff83fdd:9319e29a 8d43c929:824cfc8e efc2ec6a:8182b453
#   fd643e6e:0fe4bbaf 69e04891:8609a575 c579666f:8db60887 5b845c0b:0498a7c4 5f827c27:d8cd7104
#   a9fadc01:ca03614f e9e06046:ab4115d9 7640d58c:fad9d62f 70f10157:74e86445 cf4a081b:c11acae7
#   cd250ed8:ef3db8e2 fd227bac:53a17545 f49ffff5:8037ecd4 31e56ef2:59e062e1 22664b50:582124bf
#   31b7c926:0f5c4e1f 64268c49:15d04e38 e0737335:bfecea1a 2e253fc4:3d678d6a 6bbb6b5a:e3cae64b
#   8e4b2338:6a777aa4 2f666f28:1a3bf00e 538abae2:12baf303 567a235b:897cfdfb c1026c30:2af83838
#   fe2908ce:56ad5d8f 4d9e9fb2:84569006 170fd521:62dd315d 80ecd994:15bb91a5
