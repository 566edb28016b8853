import math
import random
import re
import time
from collections.abc import Mapping
from statistics import median, quantiles

import numpy as np
import torch

def same(a, b):
    """Are `a` and `b` equal, with nothing broadcast? -> bool

    Tensors and arrays: same shape and every element equal. Lists and tuples: same length, element by
    element. Dicts: same keys, value by value. Everything else: `==`.
    """
    if any(isinstance(o, (torch.Tensor, np.ndarray)) for o in (a, b)):
        a, b = torch.as_tensor(a), torch.as_tensor(b)
        return a.shape == b.shape and bool((a == b).all())
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)

def test(a, b, cmp, cname=None):
    """Assert that `cmp(a, b)` is true; the error shows both sides under the name `cname`.

    a, b: any two values · cmp: a function of two arguments · cname: what to call it in the message
    (default: the function's own name). Raises AssertionError.
    """
    if not cmp(a, b):
        raise AssertionError(f'{cname or cmp.__name__}:\n{describe(a)}\n{describe(b)}')

def describe(x, limit=200):
    "One value for an error message: its shape first if it has one, its text cut at `limit` characters."
    text = repr(x)
    if len(text) > limit:
        text = text[:limit] + ' …'
    shape = getattr(x, 'shape', None)
    return text if shape is None else f'shape {tuple(shape)}: {text}'

def test_eq(a, b):
    "Assert that `a` equals `b` in the sense of `same`: shapes must agree, nothing is broadcast."
    test(a, b, same, '==')


def test_ne(a, b):
    "Assert that `a` differs from `b` in the sense of `same`."
    test(a, b, lambda a, b: not same(a, b), '!=')

def near(a, b, rtol=1e-3, atol=1e-5):
    """Is |a − b| ≤ atol + rtol·|b| everywhere, for numbers, arrays, tensors or lists of numbers? -> bool

    The shapes must agree, so that a `(n, 1)` against a `(n,)` is never averaged into a pass; NaN is near
    nothing. Compared in double precision.
    """
    a, b = as_double(a), as_double(b)
    return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol)


def as_double(x):
    "Numbers, arrays, tensors or (nested) lists of them as one float64 (or complex128) tensor on the CPU."
    if isinstance(x, (list, tuple)) and any(isinstance(o, (torch.Tensor, np.ndarray)) for o in x):
        x = torch.stack([torch.as_tensor(o) for o in x])
    x = torch.as_tensor(x).detach().cpu()
    return x.to(torch.complex128 if x.is_complex() else torch.float64)

def test_near(a, b, rtol=1e-3, atol=1e-5):
    "Assert `near(a, b, rtol, atol)`; the error says how far apart the two are, and where."
    if not near(a, b, rtol, atol):
        raise AssertionError(f'near (rtol={rtol}, atol={atol}): {gap(a, b)}\n{describe(a)}\n{describe(b)}')


def gap(a, b):
    "How two values differ, in words: by shape, or by the largest difference and its place."
    a, b = as_double(a), as_double(b)
    if a.shape != b.shape:
        return f'shapes {tuple(a.shape)} and {tuple(b.shape)} differ'
    diff = (a - b).abs().nan_to_num(nan=math.inf)
    place = np.unravel_index(int(diff.argmax()), diff.shape) if diff.dim() else ()
    at = f' at {tuple(map(int, place))}' if place else ''
    return f'largest difference {diff.max():.3g}{at}'


def test_near_zero(a, tol=1e-3):
    "Assert that every element of `a` is within `tol` of zero."
    a = as_double(a)
    if not bool((a.abs() <= tol).all()):
        raise AssertionError(f'near zero (tol={tol}): {gap(a, torch.zeros_like(a))}\n{describe(a)}')

def test_raises(f, exc, match=None):
    """Assert that calling `f()` raises `exc` (a class or a tuple of classes). -> the exception

    match: a regular expression that must be found in the message. Another exception passes through, so
    that a test of one mistake never hides a second.
    """
    try:
        f()
    except exc as e:
        if match is not None and not re.search(match, str(e)):
            raise AssertionError(f'the message does not match {match!r}: {e}') from e
        return e
    names = ' or '.join(c.__name__ for c in (exc if isinstance(exc, tuple) else (exc,)))
    raise AssertionError(f'{names} was not raised')

CLAIM = 'application/vnd.course.claim+json'  # the output type by which the runner knows a claim


def claim(name, value, at_least=None, at_most=None, sd=None, n=None, unit=None, data=None):
    """Assert that a measured number lies within its bounds, show it in one line, and put it on record.

    name: what was measured, unique in its chapter · value: the number (a mean, if there are several
    runs) · at_least, at_most: bounds, one or both · sd, n: standard deviation over n runs, for anything
    that depends on a seed · unit: `'%'`, `'×'`, `'s'`, … · data: the dataset it was measured on.
    Raises AssertionError when the value is out of bounds or not a number; ValueError for a claim
    without bounds, or an sd without n.
    """
    if at_least is None and at_most is None:
        raise ValueError(f'claim {name!r} has no bound: give at_least, at_most or both')
    if sd is not None and (n is None or n < 2):
        raise ValueError(f'claim {name!r} gives sd={sd}, but not over how many runs: say n (2 or more)')
    record = dict(name=name, value=float(value), at_least=at_least, at_most=at_most, sd=sd, n=n,
                  unit=unit, data=data)
    numbers = ('at_least', 'at_most', 'sd')
    record |= {k: None if record[k] is None else float(record[k]) for k in numbers}
    record['ok'] = ok = holds(record)
    line = ('✓ ' if ok else '✗ ') + claim_line(record)
    show_line(line, {CLAIM: record})
    if not ok:
        raise AssertionError(f'claim does not hold: {claim_line(record)}')

def holds(record):
    "Is a claim's value a finite number within its bounds? -> bool"
    v, low, high = record['value'], record['at_least'], record['at_most']
    return math.isfinite(v) and (low is None or v >= low) and (high is None or v <= high)


def claim_line(record):
    "A claim as a reader sees it: `accuracy on digits: 96.4 % ± 0.2 (n=5), at least 94.5 %`."
    unit = f' {record["unit"]}' if record['unit'] else ''
    text = record['name'] + (f' on {record["data"]}' if record['data'] else '')
    text += f': {short(record["value"])}{unit}'
    if record['sd'] is not None:
        text += f' ± {short(record["sd"])}'
    if record['n'] is not None:
        text += f' (n={record["n"]})'
    for bound, words in (('at_least', 'at least'), ('at_most', 'at most')):
        if record[bound] is not None:
            text += f', {words} {short(record[bound])}{unit}'
    return text


def short(x):
    "A number in about four significant digits: 0.9642, 12.35, 105,000, 3.2e-07."
    if x and abs(x) < 1e-3:
        return f'{x:.2g}'
    return f'{x:,.0f}' if abs(x) >= 1000 else f'{x:.4g}'

def show_line(text, extra):
    "Show one line: in a notebook as an output that carries `extra` (type -> data), elsewhere by printing."
    try:
        shell = get_ipython()  # defined by IPython, and only there
    except NameError:
        return print(text)
    shell.display_pub.publish({'text/plain': text, **extra})

class SpeedTable:
    """What `speed_table` measured: shown as a table, asked with `.seconds(name)` and `.ratio(name)`.

    times: `{name: [seconds per call in round 1, round 2, …]}`, in the order given.
    """
    def __init__(self, times):
        self.times = times
        self.first = next(iter(times))

    def seconds(self, name):
        "Median seconds per call."
        return median(self.times[name])

    def ratio(self, name):
        "Time of `name` as a multiple of the first's: the median of the ratios round by round."
        return median(t / t0 for t, t0 in zip(self.times[name], self.times[self.first]))

    def speedup(self, name):
        "How many times faster than the first: 1 / ratio."
        return 1 / self.ratio(name)

    def rows(self):
        "(name, median, half the interquartile range, times faster than the first), as text."
        return [(name, duration(self.seconds(name)), duration(half_iqr(ts)), f'{short(self.speedup(name))}×')
                for name, ts in self.times.items()]

    def __repr__(self):
        return '\n'.join(f'{a:<24}{b:>12} ± {c:<10}{d:>14}' for a, b, c, d in self.rows())

    def _repr_markdown_(self):
        head = f'| | time | ± | times faster than {self.first} |\n|:--|--:|--:|--:|\n'
        return head + '\n'.join('| ' + ' | '.join(r) + ' |' for r in self.rows())

def duration(seconds):
    "Seconds in the unit that suits them: `12.2 µs`, `890 ms`, `3.40 s`."
    for unit, size in (('s', 1), ('ms', 1e-3), ('µs', 1e-6)):
        if seconds >= size:
            return f'{seconds / size:.3g} {unit}'
    return f'{seconds / 1e-9:.3g} ns'


def half_iqr(xs):
    "Half the distance between the quartiles: a spread that one disturbed run cannot move."
    if len(xs) < 2:
        return 0.
    low, _, high = quantiles(xs, n=4, method='inclusive')
    return (high - low) / 2

def speed_table(*funcs, repeats=7, min_time=.01, **named):
    """Time several callables side by side in one run. -> SpeedTable

    funcs: functions without arguments (or one dict or list of them); named: the same with a name of your
    choice, `speed_table(loops=f, einsum=g)`. After a warm-up call each, every round times each of them once, in
    turn, so that a machine that slows down slows all alike; a function quicker than `min_time` seconds
    is called as often as fills that time. Waits for the GPU where one is used. Raises TypeError for
    anything that cannot be called, ValueError when there is nothing to time.
    """
    callables = collect(funcs) | named
    for name, f in callables.items():
        if not callable(f):
            raise TypeError(f'speed_table: {name}={f!r} cannot be called; pass a function, such as a lambda')
    if not callables or repeats < 1:
        raise ValueError('speed_table needs at least one callable and repeats of 1 or more')
    counts = {name: calls_to_fill(f, min_time) for name, f in callables.items()}
    times = {name: [] for name in callables}
    for _ in range(repeats):
        for name, f in callables.items():
            times[name].append(time_calls(f, counts[name]))
    return SpeedTable(times)

def collect(funcs):
    "Positional arguments of `speed_table` -> {name: callable}"
    if len(funcs) == 1 and isinstance(funcs[0], Mapping):
        return dict(funcs[0])
    if len(funcs) == 1 and isinstance(funcs[0], (list, tuple)):
        funcs = funcs[0]
    return {getattr(f, '__name__', f'{i}'): f for i, f in enumerate(funcs)}


def time_calls(f, number):
    "Mean seconds per call over `number` calls, the GPU's queue emptied before and after."
    synchronise()
    start = time.perf_counter()
    for _ in range(number):
        f()
    synchronise()
    return (time.perf_counter() - start) / number


def calls_to_fill(f, min_time):
    "How many calls of `f` fill `min_time` seconds, found after a warm-up call."
    time_calls(f, 1)
    number = 1
    while (once := time_calls(f, number)) * number < min_time / 10:
        number *= 10
    return max(1, math.ceil(min_time / once))


def synchronise():
    "Wait until the GPU has done what it was given; nothing to do on a CPU."
    if torch.cuda.is_available():
        torch.cuda.synchronize()

def set_seed(seed):
    "Seed Python's, NumPy's and torch's random generators (all devices) with one whole number ≥ 0."
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f'set_seed: seed must be a whole number from 0 to 2**32 - 1, not {seed!r}')
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
