"""How this course is built

Exported from nbs/00_exports.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:b231d6f5d0a320db head:920b8f0b
__all__ = ['same', 'test', 'test_eq', 'test_ne', 'near', 'test_near', 'test_near_zero',
           'test_raises', 'CLAIM', 'claim', 'Table', 'table', 'duration', 'synchronise',
           'SpeedTable', 'speed_table', 'set_seed']


# %% 00_exports.ipynb cell 21 #c701684b
import math
import random
import re
import time
from collections.abc import Mapping
from statistics import median, quantiles

import numpy as np
import torch


# %% 00_exports.ipynb cell 25 #69b14906
def same(a, b):
    """Are `a` and `b` equal, with nothing broadcast? -> bool

    Tensors and arrays: same shape and every element equal. Lists and tuples: same length, element by
    element. Dicts: same keys, value by value. Everything else: `==`.
    """
    if any(isinstance(o, (torch.Tensor, np.ndarray)) for o in (a, b)):
        if np.shape(a) != np.shape(b):
            return False
        return bool((torch.as_tensor(a) == torch.as_tensor(b)).all())
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# %% 00_exports.ipynb cell 28 #bdb6b967
def test(a, b, cmp, cname=None):
    """Assert that `cmp(a, b)` is true; the error shows both sides under the name `cname`.

    a, b: any two values · cmp: a function of two arguments · cname: what to call it in the message
    (default: the function's own name). Raises AssertionError.
    """
    if not cmp(a, b):
        raise AssertionError(f'{cname or cmp.__name__}:\n{_describe(a)}\n{_describe(b)}')


def _describe(x, limit=200):
    "One value for an error message: its shape first if it has one, its text cut at `limit` characters."
    text = repr(x)
    if len(text) > limit:
        text = text[:limit] + ' …'
    shape = getattr(x, 'shape', None)
    return text if shape is None else f'shape {tuple(shape)}: {text}'


# %% 00_exports.ipynb cell 30 #05c2afba
def test_eq(a, b):
    "Assert that `a` equals `b` in the sense of `same`: shapes must agree, nothing is broadcast."
    test(a, b, same, '==')


def test_ne(a, b):
    "Assert that `a` differs from `b` in the sense of `same`."
    test(a, b, lambda a, b: not same(a, b), '!=')


# %% 00_exports.ipynb cell 35 #658d1b1b
def near(a, b, rtol=1e-3, atol=1e-5):
    """Is |a − b| ≤ atol + rtol·|b| everywhere, for numbers, arrays, tensors or lists of numbers? -> bool

    The shapes must agree, so that a `(n, 1)` against a `(n,)` is never broadcast into a pass; NaN is near
    nothing. Compared in double precision.
    """
    a, b = _as_double(a), _as_double(b)
    return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol)


def _as_double(x):
    "Numbers, arrays, tensors or (nested) lists of them as one float64 (or complex128) tensor on the CPU."
    if isinstance(x, (list, tuple)):
        return torch.stack([_as_double(o) for o in x]) if x else torch.zeros(0, dtype=torch.float64)
    x = torch.as_tensor(x).detach().cpu()
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


# %% 00_exports.ipynb cell 38 #c925e4a2
def test_near(a, b, rtol=1e-3, atol=1e-5):
    "Assert `near(a, b, rtol, atol)`; the error says how far apart the two are, and where."
    if not near(a, b, rtol, atol):
        raise AssertionError(f'near (rtol={rtol}, atol={atol}): {_gap(a, b)}\n{_describe(a)}\n{_describe(b)}')


def test_near_zero(a, tol=1e-3):
    "Assert that every element of `a` is within `tol` of zero."
    a = _as_double(a)
    if not bool((a.abs() <= tol).all()):
        raise AssertionError(f'near zero (tol={tol}): {_gap(a, torch.zeros_like(a))}\n{_describe(a)}')


def _gap(a, b):
    "How two values differ, in words: by shape, or by the largest difference and its place."
    a, b = _as_double(a), _as_double(b)
    if a.shape != b.shape:
        return f'shapes {tuple(a.shape)} and {tuple(b.shape)} differ'
    diff = (a - b).abs().nan_to_num(nan=math.inf)
    place = tuple(int(i) for i in np.unravel_index(int(diff.argmax()), diff.shape)) if diff.dim() else ''
    return f'largest difference {diff.max():.3g}' + (f' at {place}' if place else '')


# %% 00_exports.ipynb cell 43 #a6842f11
def test_raises(f, exc, match=None):
    """Assert that calling `f()` raises `exc` (a class or a tuple of classes). -> the exception

    match: a regular expression that must be found in the message. An exception of another class passes
    through, so that the test of one mistake never hides a second.
    """
    try:
        f()
    except exc as e:
        if match is not None and not re.search(match, str(e)):
            raise AssertionError(f'the message does not match {match!r}: {e}') from e
        return e
    names = ' or '.join(c.__name__ for c in (exc if isinstance(exc, tuple) else (exc,)))
    raise AssertionError(f'{names} was not raised')


# %% 00_exports.ipynb cell 48 #7ca0b2ef
def _holds(record):
    "Is a claim's value a finite number within its bounds? -> bool"
    v, low, high = record['value'], record['at_least'], record['at_most']
    return math.isfinite(v) and (low is None or v >= low) and (high is None or v <= high)


# %% 00_exports.ipynb cell 50 #41d5c3ba
def _short(x):
    "A number in about four significant digits: 0.9642, 12.35, 105,000, 3.2e-07."
    if x and abs(x) < 1e-3:
        return f'{x:.2g}'
    return f'{x:,.0f}' if abs(x) >= 1000 else f'{x:.4g}'


def _claim_line(record):
    "A claim as a reader sees it: `accuracy on digits: 96.4 % ± 0.2 (n=5), at least 94.5 %`."
    unit = f' {record["unit"]}' if record['unit'] else ''
    text = record['name'] + (f' on {record["data"]}' if record['data'] else '')
    text += f': {_short(record["value"])}{unit}'
    if record['sd'] is not None:
        text += f' ± {_short(record["sd"])}'
    if record['n'] is not None:
        text += f' (n={record["n"]})'
    bounds = (('at_least', 'at least'), ('at_most', 'at most'))
    return text + ''.join(f', {words} {_short(record[k])}{unit}' for k, words in bounds
                          if record[k] is not None)


# %% 00_exports.ipynb cell 53 #84162bc4
CLAIM = 'application/vnd.course.claim+json'  # the output type by which the runner knows a claim


def _show_line(text, extra):
    "Show one line: in a notebook as an output that carries `extra` (type -> data), elsewhere by printing."
    try:
        shell = get_ipython()  # IPython defines it, and plain Python does not
    except NameError:
        print(text)
    else:
        shell.display_pub.publish({'text/plain': text, **extra})


# %% 00_exports.ipynb cell 54 #9b31971e
def claim(name, value, at_least=None, at_most=None, sd=None, n=None, unit=None, data=None):
    """Assert that a measured number lies within its bounds, show it in one line, and put it on record.

    name: what was measured, unique in its chapter · value: the number (the mean, if there are several
    runs) · at_least, at_most: bounds, one or both · sd, n: standard deviation over n runs, for anything
    that depends on a seed · unit: `'%'`, `'×'`, `'s'`, … · data: the dataset it was measured on.
    Raises AssertionError when the value is out of bounds or not finite; ValueError for a claim without
    a bound, or with an sd and no n.
    """
    if at_least is None and at_most is None:
        raise ValueError(f'claim {name!r} has no bound: give at_least, at_most or both')
    if sd is not None and (n is None or n < 2):
        raise ValueError(f'claim {name!r} gives sd={sd}, but not over how many runs: say n (2 or more)')
    numbers = dict(value=value, at_least=at_least, at_most=at_most, sd=sd)
    numbers = {k: None if v is None else float(v) for k, v in numbers.items()}
    record = dict(name=name, **numbers, n=n, unit=unit, data=data)
    record['ok'] = _holds(record)
    if not record['ok']:
        raise AssertionError(f'claim does not hold: {_claim_line(record)}')
    _show_line('✓ ' + _claim_line(record), {CLAIM: record})


# %% 00_exports.ipynb cell 62 #6cb2074d
class Table:
    """Rows of cells under headings, shown as a table: `Table(['model', 'accuracy'], [['linear', .92]])`.

    head: the headings · rows: lists of cells, as long as `head`; cells are shown by `str`. Raises
    ValueError for a row of another length.
    """
    def __init__(self, head, rows):
        self.head, self.rows = [str(h) for h in head], [[str(x) for x in row] for row in rows]
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.head):
                raise ValueError(f'row {number} has {len(row)} cells under {len(self.head)} headings: {row}')

    def __repr__(self):
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows)]
        return '\n'.join('  '.join(x.rjust(w) if i else x.ljust(w) for i, (x, w) in enumerate(zip(line, widths)))
                         .rstrip() for line in [self.head, *self.rows])

    def _repr_markdown_(self):
        lines = [self.head, [':--'] + ['--:'] * (len(self.head) - 1), *self.rows]
        return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def table(head, rows):
    "A table to look at; see `Table`."
    return Table(head, rows)


# %% 00_exports.ipynb cell 65 #3e436814
def duration(seconds):
    "Seconds in the unit that suits them: `12.2 µs`, `890 ms`, `3.4 s`. -> str"
    for unit, size in (('s', 1), ('ms', 1e-3), ('µs', 1e-6)):
        if seconds >= size:
            return f'{seconds / size:.3g} {unit}'
    return f'{seconds / 1e-9:.3g} ns'


# %% 00_exports.ipynb cell 68 #b6b74a05
def synchronise():
    "Wait until the GPU has done what it was given; nothing to do where there is none."
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _time_calls(f, number):
    "Mean seconds per call over `number` calls, the GPU's queue emptied before and after."
    synchronise()
    start = time.perf_counter()
    for _ in range(number):
        f()
    synchronise()
    return (time.perf_counter() - start) / number


def _calls_to_fill(f, min_time):
    "How many calls of `f` fill `min_time` seconds, found after a warm-up call."
    _time_calls(f, 1)
    number = 1
    while (once := _time_calls(f, number)) * number < min_time / 10:
        number *= 10
    return max(1, math.ceil(min_time / once))


# %% 00_exports.ipynb cell 70 #7ddb2643
class SpeedTable:
    """What `speed_table` measured; shown as a table, asked with `.seconds(name)` and `.ratio(name)`.

    times: `{name: [seconds per call in round 1, round 2, …]}`, in the order given.
    """
    def __init__(self, times):
        self.times = times
        self.first = next(iter(times))

    def seconds(self, name):
        "Median seconds per call."
        return median(self.times[name])

    def ratio(self, name):
        "Time of `name` as a multiple of the first one's: median of the ratios round by round."
        return median(t / t0 for t, t0 in zip(self.times[name], self.times[self.first]))

    def speedup(self, name):
        "How many times faster than the first: 1 / ratio."
        return 1 / self.ratio(name)

    def __repr__(self):
        return repr(self.table())

    def _repr_markdown_(self):
        return self.table()._repr_markdown_()

    def table(self):
        "Name, median, spread and times faster than the first, for each callable. -> Table"
        rows = [(name, duration(self.seconds(name)), '± ' + duration(_half_iqr(ts)),
                 _short(self.speedup(name)) + '×') for name, ts in self.times.items()]
        return table(['', 'median', 'spread', f'times faster than {self.first}'], rows)


# %% 00_exports.ipynb cell 71 #dfca88de
def _half_iqr(xs):
    "Half the distance between the quartiles: a spread that one disturbed run cannot move."
    if len(xs) < 2:
        return 0.
    low, _, high = quantiles(xs, n=4, method='inclusive')
    return (high - low) / 2


# %% 00_exports.ipynb cell 74 #02f3faab
def speed_table(*funcs, repeats=7, min_time=.01, **named):
    """Time several callables side by side in one run. -> SpeedTable

    funcs: functions without arguments (or one dict or list of them) · named: the same under a name of your
    choice, `speed_table(loops=f, einsum=g)`. After a warm-up each of `repeats` rounds times every one
    of them, in turn; a function quicker than `min_time` seconds is called as often as fills that
    time. Waits for the GPU where there is one. Raises TypeError for what cannot be called, ValueError
    when there is nothing to time.
    """
    callables = _by_name(funcs) | named
    for name, f in callables.items():
        if not callable(f):
            raise TypeError(f'speed_table: {name}={f!r} cannot be called; pass a function, such as a lambda')
    if not callables or repeats < 1:
        raise ValueError('speed_table needs at least one callable and repeats of 1 or more')
    counts = {name: _calls_to_fill(f, min_time) for name, f in callables.items()}
    times = {name: [] for name in callables}
    for _ in range(repeats):
        for name, f in callables.items():
            times[name].append(_time_calls(f, counts[name]))
    return SpeedTable(times)


# %% 00_exports.ipynb cell 75 #e81e3e71
def _by_name(funcs):
    "Positional arguments of `speed_table` -> {name: callable}; two of one name would be one lost."
    if len(funcs) == 1 and isinstance(funcs[0], Mapping):
        return dict(funcs[0])
    if len(funcs) == 1 and isinstance(funcs[0], (list, tuple)):
        funcs = funcs[0]
    found = {getattr(f, '__name__', repr(f)): f for f in funcs}
    if len(found) < len(funcs):
        raise ValueError('speed_table: two callables share a name; give names: speed_table(a=f, b=g)')
    return found


# %% 00_exports.ipynb cell 82 #21c78e45
def set_seed(seed):
    "Seed Python's, NumPy's and torch's random generators (all devices) with a whole number, 0 ≤ seed < 2³²."
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f'set_seed: seed must be a whole number from 0 to 2**32 - 1, not {seed!r}')
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


# cell hashes: c701684b:3a6e84a5 69b14906:832982dc bdb6b967:8e941eec 05c2afba:73eea400
#   658d1b1b:6997a7ad c925e4a2:24983740 a6842f11:4bda6f3e 7ca0b2ef:0346ac97 41d5c3ba:13a92693
#   84162bc4:16482ee9 9b31971e:1762d5dd 6cb2074d:ac469e98 3e436814:15873ffa b6b74a05:06fa90d2
#   7ddb2643:0314a9e3 dfca88de:4953cf0e 02f3faab:5a57e561 e81e3e71:52d48b8f 21c78e45:b5cc3c88
