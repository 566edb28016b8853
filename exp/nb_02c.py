"""Autograd: a tape that runs backwards

Exported from nbs/02c_autograd.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:068764ca5f0e062b head:923be1a6
__all__ = ['Picture', 'unbroadcast', 'no_grad', 'Rule', 'SMALL', 'Edge', 'Node', 'OPS', 'Op',
           'Tensor', 'op', 'tape_of', 'draw_graph', 'gradcheck', 'check_op']


# %% 02c_autograd.ipynb cell 18 #4252dd4b
import html
from typing import NamedTuple


class _Box(NamedTuple):
    "A box of a picture: title, lines of text, arriving arrows [(index of a box, label)], colour."
    title: str
    lines: list
    inputs: list
    colour: str


def _columns(boxes):
    "Which column each box stands in; `boxes` come in an order in which inputs precede their use."
    column = []
    for box in boxes:
        column.append(1 + max((column[j] for j, _ in box.inputs), default=-1))
    uses = [[column[k] for k, box in enumerate(boxes) if any(j == i for j, _ in box.inputs)]
            for i in range(len(boxes))]
    return [c if box.inputs else min(u, default=1) - 1 for c, box, u in zip(column, boxes, uses)]


# %% 02c_autograd.ipynb cell 20 #103a1fa4
def _routes(boxes, column):
    "For each arrow: (source, stop, …, target); a stop is a pair (number of the arrow, column)."
    arrows = [(j, i) for i, box in enumerate(boxes) for j, _ in box.inputs]
    return [(j, *((k, c) for c in range(column[j] + 1, column[i])), i)
            for k, (j, i) in enumerate(arrows)]


def _arrange(column, routes):
    "The boxes and stops of each column from top to bottom, with few crossings. -> list of lists"
    where = dict(enumerate(column)) | {s: s[1] for route in routes for s in route[1:-1]}
    columns = [[s for s in where if where[s] == c] for c in range(max(column) + 1)]
    steps = [(a, b) for route in routes for a, b in zip(route, route[1:])]
    to_left = {s: [a for a, b in steps if b == s] for s in where}
    to_right = {s: [b for a, b in steps if a == s] for s in where}
    for beside in (to_left, to_right) * 6:
        for line in columns:
            place = {s: k / len(other) for other in columns for k, s in enumerate(other)}
            mean = {s: sum(map(place.get, o)) / len(o) for s in line if (o := beside[s])}
            line.sort(key=lambda s: mean.get(s, place[s]))
    return columns


# %% 02c_autograd.ipynb cell 22 #ed50ad56
def _place(boxes, columns, gap=(40, 14), stop=10):
    "Where all boxes and stops go. -> {key: (x, y, width, height)}, (width, height of the picture)"
    def size(s):
        if isinstance(s, tuple):
            return 0, stop
        texts = [boxes[s].title, *boxes[s].lines]
        return 14 + 6.7 * max(map(len, texts)), 10 + 15 * len(texts)

    tall = max(sum(size(s)[1] + gap[1] for s in line) for line in columns)
    places, x = {}, 10.
    for line in columns:
        wide = max(size(s)[0] for s in line)
        y = 10 + (tall - sum(size(s)[1] + gap[1] for s in line)) / 2
        for s in line:
            w, h = size(s)
            places[s] = x + wide / 2, y + (gap[1] + h) / 2, w, h
            y += h + gap[1]
        x += wide + gap[0]
    return places, (x - gap[0] + 10, tall + 20)


# %% 02c_autograd.ipynb cell 24 #d7b666ea
def _curve(points, label):
    "An arrow through the given points, its label near the end."
    path = f'M{points[0][0]:.1f},{points[0][1]:.1f}'
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        m = (x0 + x1) / 2
        path += f' C{m:.1f},{y0:.1f} {m:.1f},{y1:.1f} {x1:.1f},{y1:.1f}'
    x, y = points[-1]
    return (f'<path d="{path}" fill="none" stroke="#555"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/><text x="{x - 5:.1f}" y="{y - 4:.1f}" '
            f'text-anchor="end" fill="#9A3412">{html.escape(label)}</text>')


def _rectangle(box, x, y, w, h):
    "A box with its title and lines of text."
    left, top = x - w / 2, y - h / 2
    rows = [f'<rect x="{left:.1f}" y="{top:.1f}" width="{w:.1f}" height="{h:.1f}" rx="4" '
            f'fill="{box.colour}" stroke="#333"/>']
    for k, line in enumerate([box.title, *box.lines]):
        weight = ' font-weight="bold"' if k == 0 else ''
        rows.append(f'<text x="{x:.1f}" y="{top + 16 + 15 * k:.1f}" text-anchor="middle"'
                    f'{weight} xml:space="preserve">{html.escape(line)}</text>')
    return ''.join(rows)


# %% 02c_autograd.ipynb cell 26 #013221be
class Picture:
    "A drawing that Jupyter shows by itself; `.svg` is its text, `.save(path)` writes it to a file."
    def __init__(self, svg):
        self.svg = svg

    def __repr__(self):
        return f'<Picture: {len(self.svg):,} characters of SVG>'

    def _repr_svg_(self):
        return self.svg

    def save(self, path):
        "Write the picture to `path`, as SVG."
        with open(path, 'w', encoding='utf-8') as f:
            f.write(self.svg)


# %% 02c_autograd.ipynb cell 27 #ef02a3e6
def _arrows(boxes, routes, places):
    "The text of all arrows; the arrows into one box arrive at doors of their own."
    labels = [label for box in boxes for _, label in box.inputs]
    doors = [(k + 1) / (len(box.inputs) + 1) - .5 for box in boxes for k in range(len(box.inputs))]
    for (first, *stops, last), label, door in zip(routes, labels, doors):
        x0, y0, w0, _ = places[first]
        x1, y1, w1, h1 = places[last]
        stops = [places[s][:2] for s in stops]
        yield _curve([(x0 + w0 / 2, y0), *stops, (x1 - w1 / 2, y1 + door * h1)], label)


def _draw(boxes, gap=40):
    "Boxes, in an order in which inputs precede their use, as a Picture."
    column = _columns(boxes)
    routes = _routes(boxes, column)
    places, (wide, tall) = _place(boxes, _arrange(column, routes), (gap, 14))
    shapes = [*_arrows(boxes, routes, places)]
    shapes += [_rectangle(box, *places[i]) for i, box in enumerate(boxes)]
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {tall:.0f}" role="img" '
        f'style="max-width:100%;width:{wide:.0f}px" fill="#111" font-family="monospace" '
        f'font-size="11"><title>Graph of {len(boxes)} values; arrows lead from inputs to results'
        f'</title><rect width="{wide:.0f}" height="{tall:.0f}" fill="white"/>\n'
        + '\n'.join(shapes) + '</svg>')


# %% 02c_autograd.ipynb cell 61 #a46aeaa3
def unbroadcast(g, shape):
    """Sum the gradient `g` down to the shape that its input had before broadcasting. -> array

    The mirror image of `expand`: sums over axes added in front, and those stretched from length 1.
    Raises RuntimeError when `shape` does not broadcast to `g`'s shape.
    """
    for _ in range(g.ndim - len(shape)):
        g = g.sum(0)
    if g.shape == shape:
        return g
    stretched = [i for i, (n, m) in enumerate(zip(shape, g.shape)) if n == 1 != m]
    if stretched:
        g = g.sum(stretched, keepdim=True)
    if g.shape != shape:
        raise RuntimeError('unbroadcast: no broadcasting leads from '
                           f'{tuple(shape)} to {tuple(g.shape)}')
    return g


# %% 02c_autograd.ipynb cell 66 #87457b7c
import inspect
import itertools
import operator
import threading
import weakref
from contextlib import contextmanager
from heapq import heappop, heappush

import torch
import torch.nn.functional as F


# %% 02c_autograd.ipynb cell 68 #0a41d9e2
class _Mode(threading.local):
    "Is this thread recording?"
    recording = True


_mode = _Mode()


@contextmanager
def no_grad():
    """Within `with no_grad():`, or in a function decorated with `@no_grad()`, nothing is recorded.

    Results need no gradient there, and Tensors may be changed in place. Holds for this thread.
    """
    before, _mode.recording = _mode.recording, False
    try:
        yield
    finally:
        _mode.recording = before


# %% 02c_autograd.ipynb cell 70 #9e8911bb
class Rule(NamedTuple):
    "How the gradient reaches one argument of an operation."
    op: str           # the operation's name
    place: int        # which of its arguments
    pullback: object  # (g, …) -> gradient with respect to that argument
    names: tuple      # what the pullback asks for besides g
    picks: list       # the same, as positions in (*arguments, y, aux, shape, index)
    own: bool         # are shape or index, which differ from edge to edge, among them?


# %% 02c_autograd.ipynb cell 72 #25555dc1
def _version(v):
    "How often an array was changed in place; for a list or tuple, the sum over its arrays."
    if isinstance(v, torch.Tensor):
        return v._version
    return sum(map(_version, v)) if isinstance(v, (list, tuple)) else 0


# %% 02c_autograd.ipynb cell 75 #232b244b
SMALL = 16  # arrays of up to this many elements are remembered by the graph, to be drawn


class Edge:
    "From a result to one of its inputs: where the gradient goes, and what it takes to compute it."
    __slots__ = ('source', 'rule', 'saved', 'versions')

    def __init__(self, tensor, rule, known, index):
        if not tensor._tracked:
            self.source = tensor if tensor.data.numel() <= SMALL else tensor.data.shape
            self.rule = None
            return
        self.source = tensor if tensor.node is None else tensor.node
        self.rule = rule
        if rule.own:
            known[-2:] = tensor.data.shape, index
        self.saved = saved = [known[k] for k in rule.picks]
        self.versions = [v._version if isinstance(v, torch.Tensor) else _version(v) for v in saved]


# %% 02c_autograd.ipynb cell 77 #865c84f8
def _pull(edge, g):
    "The gradient with respect to the edge's input, in the input's own shape and dtype."
    saved, source = edge.saved, edge.source
    if saved is None:
        raise RuntimeError(_FREED.format(edge.rule.op))
    for v, version in zip(saved, edge.versions):
        if (v._version if isinstance(v, torch.Tensor) else _version(v)) != version:
            raise RuntimeError(_what_changed(edge))
    g = edge.rule.pullback(g, *saved)
    if g.shape != source.shape:
        g = unbroadcast(g, source.shape)
    return g if g.dtype is source.dtype else g.to(source.dtype)


Edge.pull = _pull


# %% 02c_autograd.ipynb cell 79 #a0837336
_FREED = ('backward: the graph behind {!r} has been freed by an earlier backward(). To go through '
          'it twice, call backward(retain_graph=True) the first time; else compute it again')


def _what_changed(edge):
    "The message for an array that was changed in place between the forward pass and backward."
    for name, v, before in zip(edge.rule.names, edge.saved, edge.versions):
        if (n := _version(v) - before):
            what = 'its result' if name == 'y' else f'its argument {name!r}'
            return (f'backward: {edge.rule.op!r} needs {what} as it was in the forward pass, but '
                    f'that array has been changed in place since then ({n} time{"s" * (n > 1)}). '
                    'Change it after backward(), or change a copy')


# %% 02c_autograd.ipynb cell 81 #06ae61dd
_numbers = itertools.count()


class Node:
    "A record on the tape: the operation that made a result, and an Edge to each of its inputs."
    __slots__ = ('op', 'edges', 'number', 'shape', 'dtype', 'value', 'grad', 'name', 'keeper',
                 '__weakref__')

    def __init__(self, op, edges, y):
        self.op = op
        self.edges = edges
        self.number = next(_numbers)
        self.shape = y.shape
        self.dtype = y.dtype
        self.value = y if y.numel() <= SMALL else None
        self.grad = self.name = self.keeper = None                # keeper: see retain_grad


# %% 02c_autograd.ipynb cell 83 #fe31ae46
OPS = {}  # name -> Op, every operation of the engine


class Op:
    "A differentiable operation: `forward` on arrays, and a pullback for each input that has one."
    def __init__(self, name, doc, forward, samples, like, pullbacks):
        self.name = name
        self.doc = doc
        self.forward = forward
        self.samples = samples
        self.like = like
        self.signature = inspect.signature(forward)
        self.n_args = len(self.signature.parameters)
        self.rules = [_rule(self, arg, pullback) for arg, pullback in pullbacks.items()]

    def __call__(self, *args, **kw):
        if kw or len(args) != self.n_args:
            args = _complete(self, args, kw)
        values = [a.data if isinstance(a, Tensor) else _array(a) for a in args]
        y = self.forward(*values)
        y, aux = y if type(y) is tuple else (y, None)
        return _wrap(y, _record(self, args, values, y, aux) if _mode.recording else None)


# %% 02c_autograd.ipynb cell 85 #5a7a46de
def _record(op, args, values, y, aux):
    "The Node for a call of `op`; None when no argument needs a gradient."
    known = [*values, y, aux, None, None]                         # the last two are each edge's own
    edges = []
    for rule in op.rules:
        arg = args[rule.place]
        if isinstance(arg, Tensor):
            edges.append(Edge(arg, rule, known, 0))
        elif isinstance(arg, (list, tuple)):
            edges += [Edge(t, rule, known, i) for i, t in enumerate(arg) if isinstance(t, Tensor)]
    return Node(op, edges, y) if any([e.rule for e in edges]) else None


# %% 02c_autograd.ipynb cell 87 #f677e948
def _array(v):
    "What an operation computes with: arrays taken out of Tensors, also inside lists and tuples."
    if isinstance(v, Tensor):
        return v.data
    if isinstance(v, torch.Tensor) and v.requires_grad:
        raise TypeError('this array is being recorded by torch (requires_grad=True), and its '
                        'gradient would be lost here; pass array.detach()')
    if type(v) in (list, tuple):
        return type(v)(map(_array, v))
    return v


def _wrap(data, node):
    "A Tensor around `data`, made by `node` (None: not recorded), without the checks of __init__."
    t = Tensor.__new__(Tensor)
    t.data = data
    t.node = node
    t.grad = t._name = None
    t._tracked = node is not None
    return t


# %% 02c_autograd.ipynb cell 89 #4352292c
def _rule(op, arg, pullback):
    "The Rule for argument `arg`: what its pullback asks for, looked up once."
    known = [*op.signature.parameters, 'y', 'aux', 'shape', 'index']
    names = tuple(inspect.signature(pullback).parameters)[1:]
    for name in (arg, *names):
        if name not in known:
            raise ValueError(f'op {op.name!r}: the pullback for {arg!r} names {name!r}, which is '
                             'none of ' + ', '.join(known))
    return Rule(op.name, known.index(arg), pullback, names, [known.index(n) for n in names],
                'shape' in names or 'index' in names)


def _complete(op, args, kw):
    "Arguments in order, with defaults and keywords filled in."
    try:
        bound = op.signature.bind(*args, **kw)
    except TypeError as e:
        raise TypeError(f'{op.name}: {e}; its arguments are {op.signature}') from None
    bound.apply_defaults()
    return bound.args


# %% 02c_autograd.ipynb cell 91 #dec12f34
def _sweep(root, g, retain_graph):
    "Carry `g`, the gradient at Node `root`, to the leaves. -> {leaf: gradient}, which are ours"
    grads, ours, waiting = {root: g}, set(), [(-root.number, root)]
    while waiting:
        node = heappop(waiting)[1]
        g = grads.pop(node)
        if node.value is not None or node.keeper is not None:
            _arrived(node, g)
        for edge in node.edges:
            if edge.rule is None:
                continue
            source, part = edge.source, edge.pull(g)
            if source in ours:
                grads[source].add_(part)
            elif source in grads:
                grads[source] = grads[source] + part
                ours.add(source)
            else:
                grads[source] = part
                if isinstance(source, Node):
                    heappush(waiting, (-source.number, source))
                elif _is_new(part, g, edge.saved):
                    ours.add(source)
            if not retain_graph:
                edge.saved = None
    return grads, ours


# %% 02c_autograd.ipynb cell 93 #cc6dc683
def _is_new(a, g, saved):
    "Is array `a` new: not `g` or a saved one, nor a view (reshaped, expanded, cut out) of another?"
    for b in saved:
        if b is a:
            return False
    return a is not g and not a._is_view()


def _deposit(t, g, ours):
    "Add gradient `g` to `t.grad`, which is never anyone else's array."
    if t.grad is not None:
        t.grad.add_(g)
    else:
        t.grad = g if ours else g.clone(memory_format=torch.contiguous_format)


def _arrived(node, g):
    "The gradient of this result is complete: remember it where somebody wants to see it."
    if node.value is not None:
        node.grad = g
    if node.keeper is not None and (t := node.keeper()) is not None:
        _deposit(t, g, ours=False)


# %% 02c_autograd.ipynb cell 95 #0613824b
class _Looks:
    "What a Tensor tells about itself."
    __slots__ = ()
    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)
    device = property(lambda self: self.data.device)
    is_leaf = property(lambda self: self.node is None, doc='Made by you, not by an operation?')

    def item(self):
        "The one number of a Tensor with one element."
        return self.data.item()

    def __len__(self):
        return len(self.data)

    def __bool__(self):
        return bool(self.data)

    def __repr__(self):
        more = ', requires_grad=True' * self.requires_grad
        if self.node is not None:
            more = f', op={self.node.op.name}'
        return f'Tensor({str(self.data)[len("tensor("):-1]}{more})'


# %% 02c_autograd.ipynb cell 97 #bb1ac8c0
def _comparison(how):
    return lambda self, other: how(self.data, _array(other))


class _Compares:
    "Comparisons, element by element. -> array of bool"
    __slots__ = ()
    __hash__ = object.__hash__
    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)


# %% 02c_autograd.ipynb cell 99 #6d15f72b
def _in_place(how):
    "A method that changes a Tensor in place, as torch's method `how` changes its array."
    def change(self, *args):
        args_tracked = [isinstance(a, Tensor) and a.requires_grad for a in args]
        if _mode.recording and (self.requires_grad or any(args_tracked)):
            raise RuntimeError(f'{how}: a change in place is not recorded, and a gradient would be '
                               'lost; write x = x + … instead of x += …, or, in an optimiser, '
                               'wrap it in no_grad()')
        getattr(self.data, how)(*map(_array, args))
        return self
    return change


class _Changes:
    "Changes in place: for Tensors that no graph depends on, and under no_grad()."
    __slots__ = ()
    add_ = __iadd__ = _in_place('add_')
    sub_ = __isub__ = _in_place('sub_')
    mul_ = __imul__ = _in_place('mul_')
    div_ = __itruediv__ = _in_place('div_')
    copy_, zero_ = _in_place('copy_'), _in_place('zero_')
    __setitem__ = _in_place('__setitem__')


# %% 02c_autograd.ipynb cell 101 #b8fb3620
class _Labels:
    "A Tensor's wish for a gradient, and its name."
    __slots__ = ()

    @property
    def requires_grad(self):
        return self._tracked

    @requires_grad.setter
    def requires_grad(self, flag):
        if not self.is_leaf:
            raise RuntimeError('requires_grad: only a leaf can change it; to cut a result off, '
                               'use detach()')
        if flag and not self.data.is_floating_point():
            raise ValueError(f'requires_grad: a Tensor of {self.dtype} has no gradient; pass '
                             'dtype=torch.float32')
        self._tracked = bool(flag)

    @property
    def name(self):
        return self._name if self.node is None else self.node.name

    @name.setter
    def name(self, name):
        if self.node is None:
            self._name = name
        else:
            self.node.name = name


# %% 02c_autograd.ipynb cell 103 #56ab508d
class Tensor(_Looks, _Compares, _Changes, _Labels):
    """An array that remembers how it was made, so that `backward` can differentiate through it.

    data: a number, list, array or Tensor (an array is shared, not copied) · requires_grad: is its
    gradient wanted? · dtype: a torch dtype · name: shown by `draw_graph`. Attributes: `data`, an
    array, and `grad`, an array or None. Methods bear torch's names. Raises TypeError for an array
    that torch records, ValueError for integers with requires_grad.
    """
    __slots__ = ('data', 'grad', 'node', '_tracked', '_name', '__weakref__')

    def __init__(self, data, requires_grad=False, dtype=None, name=None):
        self.data = torch.as_tensor(_array(data), dtype=dtype)
        self.node = self.grad = None
        self._name = name
        self.requires_grad = requires_grad


# %% 02c_autograd.ipynb cell 105 #e9f5ea9d
def _backward(t, gradient=None, retain_graph=False):
    """Add the gradient of this Tensor to the `.grad` of every leaf that it was made from.

    gradient: array of the Tensor's shape to start from (default 1; needed unless there is one
    element) · retain_graph: keep the graph for another backward(). Raises RuntimeError when nothing
    was recorded, the graph was freed, or an array it needs was changed in place; then no leaf's
    `.grad` is touched.
    """
    g = _first(t, gradient)
    grads, ours = ({t: g}, ()) if t.is_leaf else _sweep(t.node, g, retain_graph)
    for leaf, g in grads.items():
        _deposit(leaf, g, leaf in ours)


Tensor.backward = _backward


# %% 02c_autograd.ipynb cell 107 #16ece402
def _first(t, gradient):
    "The array that backward() starts from."
    if not t.requires_grad:
        raise RuntimeError('backward: nothing was recorded on the way to this Tensor: no input has '
                           'requires_grad=True, or it was made under no_grad() or by detach()')
    if gradient is None:
        if t.data.numel() != 1:
            raise RuntimeError(f'backward: this Tensor has shape {tuple(t.shape)}, not one '
                               'element; reduce it first, by .sum() or .mean(), or pass gradient=')
        return torch.full_like(t.data, 1.)
    g = torch.as_tensor(_array(gradient), dtype=t.dtype, device=t.device)
    if g.shape != t.shape:
        raise RuntimeError(f'backward: gradient has shape {tuple(g.shape)}, '
                           f'the Tensor {tuple(t.shape)}')
    return g


# %% 02c_autograd.ipynb cell 109 #f4b4b429
def _detach(t):
    "The same array outside the graph: no gradient flows back through it."
    return Tensor(t.data)


def _zero_grad(t):
    "Forget the gradient, so that the next backward() starts afresh."
    t.grad = None


def _retain_grad(t):
    "Keep the gradient of a result, which is otherwise dropped on the way. -> the Tensor"
    if t.node is None:
        raise RuntimeError('retain_grad: a leaf keeps its gradient anyway, if it requires one')
    t.node.keeper = weakref.ref(t)
    return t


Tensor.detach, Tensor.zero_grad, Tensor.retain_grad = _detach, _zero_grad, _retain_grad


# %% 02c_autograd.ipynb cell 111 #bd4659b5
def op(name, doc, forward, samples, like=None, **pullbacks):
    """Register an operation. -> a function on Tensors, to be used as a method

    name: torch's name for it, if it has one · forward: (arrays and options) -> array, or
    (array, aux) · samples: (rand) -> list of argument tuples to test it on; rand(*shape) makes an
    array · like: the reference, a function of the same arguments on torch tensors (default: torch's
    function of that name) · pullbacks: for each differentiable argument, a function of the gradient
    `g` and of what it asks for by name: arguments, `y` (the result), `aux`, `shape` (of the input),
    `index` (of the input in a list). Raises ValueError without pullbacks or reference, and for an
    unknown name.
    """
    like = like or getattr(torch, name, None)
    if like is None or not pullbacks:
        raise ValueError(f'op {name!r} needs a pullback, and like=, unless torch has that name')
    new = OPS[name] = Op(name, doc, forward, samples, like, pullbacks)

    def method(*args, **kw):
        return new(*args, **kw)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f'{doc} Arguments: {new.signature}.'
    return method


# %% 02c_autograd.ipynb cell 113 #65a4ddc8
def _pairs(r):
    return [(r(3, 4), r(3, 4)), (r(3, 4), r(4)), (r(2, 1, 4), r(3, 1)), (r(), r(3)), (r(3), 2.5),
            (-1.5, r(2, 3))]


def _ratios(r):
    return [(a, b + .5 * b.sign() if isinstance(b, torch.Tensor) else b) for a, b in _pairs(r)]


# %% 02c_autograd.ipynb cell 115 #47b5c364
Tensor.__add__ = op('add', 'a + b.', lambda a, b: a + b, _pairs,
                    a=lambda g: g,
                    b=lambda g: g)
Tensor.__sub__ = op('sub', 'a − b.', lambda a, b: a - b, _pairs,
                    a=lambda g: g,
                    b=lambda g: -g)
Tensor.__mul__ = op('mul', 'a · b.', lambda a, b: a * b, _pairs,
                    a=lambda g, b: g * b,
                    b=lambda g, a: g * a)
Tensor.__truediv__ = op('div', 'a / b.', lambda a, b: a / b, _ratios,
                        a=lambda g, b: g / b,
                        b=lambda g, b, y: -g * y / b)
Tensor.__neg__ = op('neg', '−a.', lambda a: -a, lambda r: [(r(),), (r(3, 4),)],
                    a=lambda g: -g)
Tensor.__radd__ = Tensor.__add__
Tensor.__rmul__ = Tensor.__mul__
Tensor.__rsub__ = lambda b, a: OPS['sub'](a, b)
Tensor.__rtruediv__ = lambda b, a: OPS['div'](a, b)


# %% 02c_autograd.ipynb cell 117 #5037fbc6
def _reals(r):
    return [(r(),), (r(5),), (r(3, 4),)]


Tensor.tanh = op('tanh', 'Hyperbolic tangent.', lambda a: a.tanh(), _reals,
                 a=lambda g, y: g * (1 - y * y))


# %% 02c_autograd.ipynb cell 120 #26803fae
def tape_of(t):
    "The records behind Tensor `t`, oldest first. -> list of Node"
    todo = [] if t.node is None else [t.node]
    found = set(todo)
    while todo:
        node = todo.pop()
        new = {e.source for e in node.edges if isinstance(e.source, Node)} - found
        found |= new
        todo += new
    return sorted(found, key=lambda node: node.number)


# %% 02c_autograd.ipynb cell 129 #81c244a8
def _lines(label, array, shape):
    "Lines of text for an array: its numbers if there are few, else its shape."
    if array is None or array.ndim > 2 or not 0 < array.numel() <= SMALL:
        return [f'{label} {" × ".join(map(str, shape))}']
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
    texts = [' '.join(f'{v:.4g}' for v in row) for row in rows]
    return [f'{label} {texts[0]}', *(' ' * len(label) + ' ' + text for text in texts[1:])]


def _key(edge):
    "What an edge leads to: a Node, a Tensor; for a large constant, the edge itself."
    return edge if isinstance(edge.source, torch.Size) else edge.source


# %% 02c_autograd.ipynb cell 131 #6c2cf001
def _box_of(item, index):
    "The _Box of a Node, of a Tensor, or of a large constant, of which an Edge knows the shape."
    if isinstance(item, Edge):
        return _Box('constant', _lines('data', None, item.source), [], '#EEEEEE')
    if isinstance(item, Node):
        inputs, value, colour = [(index[_key(e)], '') for e in item.edges], item.value, '#FDE8D0'
        title = f'{item.name or ""} {item.op.name}'.strip()
    else:
        inputs, value = [], item.data
        title, colour = ('leaf', '#DCEBF7') if item.requires_grad else ('constant', '#EEEEEE')
        title = item.name or title
    lines = _lines('data', value, item.shape)
    if item.grad is not None:
        lines += _lines('grad', item.grad, item.shape)
    return _Box(title, lines, inputs, colour)


# %% 02c_autograd.ipynb cell 133 #520eee16
def draw_graph(t, limit=100):
    """Draw the graph behind Tensor `t`, with data and gradient in each box. -> Picture

    Blue: leaves whose gradient is wanted; grey: constants; orange: results. Arrays of more than 16
    elements are shown by their shape. Gradients appear after backward(). Raises ValueError when
    nothing was recorded, or more than `limit` operations.
    """
    tape = tape_of(t)
    if not tape:
        raise ValueError('draw_graph: nothing was recorded behind this Tensor; give an input '
                         'requires_grad=True')
    if len(tape) > limit:
        raise ValueError(f'draw_graph: {len(tape)} operations would make an unreadable picture; '
                         f'draw a part of it, or raise limit={limit}')
    items = {}
    for node in tape:                                             # inputs before results
        items |= dict.fromkeys([*map(_key, node.edges), node])
    index = {item: i for i, item in enumerate(items)}
    return _draw([_box_of(item, index) for item in items])


# %% 02c_autograd.ipynb cell 139 #eb06d9c0
def _measured(value, x, h):
    "Central differences of the number `value()` in each element of array `x`, which is restored."
    slopes = torch.empty_like(x)
    flat, out = x.view(-1), slopes.view(-1)
    for i, centre in enumerate(flat.tolist()):
        ends = centre + h * max(1, abs(centre)), centre - h * max(1, abs(centre))
        values = []
        for end in ends:
            flat[i] = end
            values.append(value())
        flat[i] = centre
        out[i] = (values[0] - values[1]) / (ends[0] - ends[1])
    return slopes


# %% 02c_autograd.ipynb cell 141 #4e6699a7
def _is_floating(x):
    "Is `x` something with slopes: a float, or an array or Tensor of floating type?"
    if isinstance(x, (torch.Tensor, Tensor)):
        return x.dtype.is_floating_point
    return isinstance(x, float)


def _leaf64(x):
    "A fresh float64 leaf with the numbers of `x`."
    return Tensor(torch.as_tensor(_array(x)).to(torch.float64, copy=True).contiguous(), True)


def _both_slopes(f, inputs, h):
    "For each floating input: (gradient by the pullbacks, by central differences), in float64."
    args = [_leaf64(x) if _is_floating(x) else x for x in inputs]
    leaves = [a for a, x in zip(args, inputs) if _is_floating(x)]
    if not leaves:
        raise ValueError('gradcheck: none of the inputs is floating, so there is nothing to check')
    y = f(*args)
    if not isinstance(y, Tensor) or not y.requires_grad:
        raise TypeError(f'gradcheck: f must return a Tensor that depends on its inputs, not {y!r}')
    mix = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y.backward(mix)
    with no_grad():
        return [(torch.zeros_like(t.data) if t.grad is None else t.grad,
                 _measured(lambda: float((f(*args).data * mix).sum()), t.data, h)) for t in leaves]


# %% 02c_autograd.ipynb cell 143 #919f6434
def gradcheck(f, *inputs, h=6e-6, rtol=1e-6, atol=1e-8):
    """Do the pullbacks of `f` agree with central differences, in float64? -> True

    f: a function of Tensors that returns a Tensor of any shape · inputs: Tensors, arrays or floats;
    those of floating type are checked in every element, others are passed on as they are · h: step,
    relative to elements above 1. Raises AssertionError with the place of the worst disagreement.
    `f` must be smooth near the inputs (not at the kink of a relu), and always give the same result.
    """
    for i, (ours, measured) in enumerate(_both_slopes(f, inputs, h)):
        excess = (ours - measured).abs() - atol - rtol * measured.abs()
        bad = ~(excess <= 0)                                      # so that a NaN counts as bad
        if bad.any():
            k = int(excess.nan_to_num(nan=float('inf')).argmax())
            place = tuple(int(n) for n in torch.unravel_index(torch.tensor(k), excess.shape))
            raise AssertionError(f'gradcheck: input {i}, element {place}: the pullbacks give '
                                 f'{ours.flatten()[k]:.8g}, central differences '
                                 f'{measured.flatten()[k]:.8g} ({int(bad.sum())} of {bad.numel()} '
                                 'elements disagree)')
    return True


# %% 02c_autograd.ipynb cell 148 #f6bb3f2d
def _floats(v):
    "The floating arrays in an argument, in order."
    if isinstance(v, (list, tuple)):
        return [a for o in v for a in _floats(o)]
    return [v] if isinstance(v, torch.Tensor) and v.is_floating_point() else []


def _replaced(v, new):
    "The same argument with its floating arrays replaced, in order, by what iterator `new` gives."
    if isinstance(v, (list, tuple)) and not isinstance(v, torch.Size):
        return type(v)(_replaced(o, new) for o in v)
    return next(new) if _floats(v) else v


# %% 02c_autograd.ipynb cell 151 #b20a03da
def _gap(a, b):
    "Largest difference of two arrays, relative above 1; infinite if shapes or dtypes differ."
    if a.shape != b.shape or a.dtype != b.dtype:
        return float('inf')
    gaps = (a - b).abs() / (1 + b.abs())
    return float(gaps.nan_to_num(nan=float('inf')).max()) if a.numel() else 0.


def _parity(op, args, rand):
    "Worst gap of result and gradients between `op` and its reference, in float32."
    singles = [a.float() for a in _floats(args)]
    ours = [Tensor(a.clone(), requires_grad=True) for a in singles]
    theirs = [a.clone().requires_grad_() for a in singles]
    y = op(*_replaced(args, iter(ours)))
    z = op.like(*_replaced(args, iter(theirs)))
    g = rand(*z.shape).to(z.dtype)
    y.backward(g)
    grads = torch.autograd.grad(z, theirs, g)
    return max([_gap(y.data, z.detach()), *(_gap(t.grad, d) for t, d in zip(ours, grads))])


# %% 02c_autograd.ipynb cell 152 #bb82c1ba
def check_op(name):
    """Try operation `name` on its samples. -> (samples, gap to central differences, gap to torch)

    The pullbacks must agree with central differences to 1e-6 in float64, result and gradients with
    the reference to 1e-5 in float32, relative for numbers above 1; else AssertionError. Raises
    KeyError for an unknown name.
    """
    op, generator = OPS[name], torch.Generator().manual_seed(1)
    def rand(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    samples = list(op.samples(rand))
    assert samples, f'check_op: {name!r} has no samples'
    slopes = parity = 0.
    for args in samples:
        def f(*ts):
            return op(*_replaced(args, iter(ts)))
        slopes = max(slopes, *(_gap(*both) for both in _both_slopes(f, _floats(args), 6e-6)))
        parity = max(parity, _parity(op, args, rand))
    assert slopes <= 1e-6, f'check_op: {name!r} misses central differences by {slopes:.2g}'
    assert parity <= 1e-5, f'check_op: {name!r} misses its reference by {parity:.2g}'
    return len(samples), slopes, parity


# %% 02c_autograd.ipynb cell 155 #f8f192be
def _positives(r):
    return [(r().abs() + .5,), (r(3, 4).abs() + .5,)]


Tensor.exp = op('exp', 'e to the power of a.', lambda a: a.exp(), _reals,
                a=lambda g, y: g * y)
Tensor.log = op('log', 'Natural logarithm.', lambda a: a.log(), _positives,
                a=lambda g, a: g / a)
Tensor.sqrt = op('sqrt', 'Square root.', lambda a: a.sqrt(), _positives,
                 a=lambda g, y: g / (2 * y))
Tensor.sin = op('sin', 'Sine.', lambda a: a.sin(), _reals,
                a=lambda g, a: g * a.cos())
Tensor.cos = op('cos', 'Cosine.', lambda a: a.cos(), _reals,
                a=lambda g, a: -g * a.sin())
Tensor.sigmoid = op('sigmoid', '1 / (1 + exp(−a)).', lambda a: a.sigmoid(), _reals,
                    a=lambda g, y: g * y * (1 - y))
Tensor.relu = op('relu', 'a where positive, else 0.', lambda a: a.relu(), _reals,
                 a=lambda g, y: y.sign().mul_(g))
Tensor.abs = op('abs', 'Absolute value.', lambda a: a.abs(), _reals,
                a=lambda g, a: g * a.sign())
Tensor.__abs__ = Tensor.abs


# %% 02c_autograd.ipynb cell 157 #cc0fd322
def _power_base(g, a, b):
    "g · b · a**(b − 1), and 0 where b is 0."
    b = torch.as_tensor(b, dtype=g.dtype, device=g.device)
    return torch.where(b == 0, 0., g * b * a ** (b - 1))


def _power_exponent(g, a, y):
    "g · a**b · ln a, and 0 where a is 0."
    a = torch.as_tensor(a, dtype=g.dtype, device=g.device)
    return torch.where(a == 0, 0., g * y * a.log())


def _powers(r):
    return [(r(3, 4).abs() + .5, r(4)), (r(3), 2), (r(3), 3.), (2., r(2, 3)), (r(3), 0),
            (r(3).abs() + .5, -1.5)]


Tensor.__pow__ = op('pow', 'a to the power of b.', lambda a, b: a ** b, _powers,
                    a=_power_base,
                    b=_power_exponent)
Tensor.__rpow__ = lambda b, a: OPS['pow'](a, b)


# %% 02c_autograd.ipynb cell 165 #a1735356
def _share(a, b, y):
    "How much of y = max(a, b) or min(a, b) is `a`'s doing: 1, 0, or ½ on a tie."
    return (a == y) * (1 - .5 * (a == b))


def _inside(a, min, max):
    "Is `a` strictly between the bounds? A bound of None does not count."
    return (True if min is None else a > min) & (True if max is None else a < max)


def _four_pairs(r):
    return _pairs(r)[:4]


# %% 02c_autograd.ipynb cell 166 #cea11dd3
Tensor.maximum = op('maximum', 'The larger of a and b.', lambda a, b: torch.maximum(a, b),
                    _four_pairs,
                    a=lambda g, a, b, y: g * _share(a, b, y),
                    b=lambda g, a, b, y: g * _share(b, a, y))
Tensor.minimum = op('minimum', 'The smaller of a and b.', lambda a, b: torch.minimum(a, b),
                    _four_pairs,
                    a=lambda g, a, b, y: g * _share(a, b, y),
                    b=lambda g, a, b, y: g * _share(b, a, y))
Tensor.clamp = op('clamp', 'a, but no smaller than min and no larger than max.',
                  lambda a, min=None, max=None: a.clamp(min, max),
                  lambda r: [(r(3, 4), -.5, .5), (r(3, 4), 0., None), (r(3), None, .2)],
                  a=lambda g, a, min, max: g * _inside(a, min, max))
_where = op('where', 'a where cond is true, else b.', lambda cond, a, b: torch.where(cond, a, b),
            lambda r: [(r(3, 4) > 0, r(3, 4), r(4)), (r(4) > 0, r(3, 1), 2.),
                       (r(3, 1) > 0, 0., r(4))],
            a=lambda g, cond: torch.where(cond, g, 0.),
            b=lambda g, cond: torch.where(cond, 0., g))
Tensor.where = lambda a, cond, b: _where(cond, a, b)
Tensor.where.__doc__ = 'self where cond is true, b elsewhere.'


# %% 02c_autograd.ipynb cell 169 #6aad5c2b
def _spread(g, shape, dim, keepdim):
    "The gradient (or result) of a reduction, spread over its input's shape. -> array of `shape`"
    if not keepdim:
        dims = [dim] if isinstance(dim, int) else dim or range(len(shape))
        dims = {d % len(shape) for d in dims} if shape else ()
        g = g.reshape([1 if i in dims else n for i, n in enumerate(shape)])
    return g.expand(shape)


def _reductions(r):
    return [(r(3, 4), None, False), (r(3, 4), 0, False), (r(2, 3, 4), (0, 2), True),
            (r(2, 3, 4), -1, True), (r(2, 3, 4), (1, -1), False), (r(2, 3), None, True),
            (r(), None, False)]


# %% 02c_autograd.ipynb cell 171 #248f519a
def _mean_slope(g, shape, dim, keepdim):
    return _spread(g * (max(1, g.numel()) / max(1, shape.numel())), shape, dim, keepdim)


def _variance_slope(g, a, dim, correction, keepdim, shape):
    count = shape.numel() / max(1, g.numel())
    mean = a.mean(dim, True)                                      # with axes kept, it broadcasts
    return _spread(g, shape, dim, keepdim) * (a - mean) * (2 / (count - correction))


def _variances(r):
    return [(a, dim, c, keep) for c, (a, dim, keep) in zip((1, 0, 1, 0, 2, 1), _reductions(r))]


# %% 02c_autograd.ipynb cell 172 #acd9baa6
Tensor.sum = op('sum', 'Sum over axes.', lambda a, dim=None, keepdim=False: a.sum(dim, keepdim),
                _reductions,
                a=lambda g, shape, dim, keepdim: _spread(g, shape, dim, keepdim))
Tensor.mean = op('mean', 'Mean over axes.', lambda a, dim=None, keepdim=False: a.mean(dim, keepdim),
                 _reductions,
                 a=_mean_slope)
Tensor.var = op('var', 'Variance over axes.',
                lambda a, dim=None, correction=1, keepdim=False:
                    a.var(dim, correction=correction, keepdim=keepdim),
                _variances,
                like=lambda a, dim, c, keep: torch.var(a, dim, correction=c, keepdim=keep),
                a=_variance_slope)


# %% 02c_autograd.ipynb cell 174 #56a1cde5
def _extreme_slope(g, a, y, shape, dim, keepdim):
    "Equal shares to all elements that equal the extreme."
    hits = (a == _spread(y, shape, dim, keepdim)).to(g.dtype)
    shares = hits / hits.sum(() if dim is None else dim, keepdim=True)
    return _spread(g, shape, dim, keepdim) * shares


def _extreme(which):
    return lambda a, dim=None, keepdim=False: which(a, () if dim is None else dim, keepdim)


Tensor.amax = op('amax', 'Largest element over axes.', _extreme(torch.amax), _reductions,
                 like=_extreme(torch.amax),
                 a=_extreme_slope)
Tensor.amin = op('amin', 'Smallest element over axes.', _extreme(torch.amin), _reductions,
                 like=_extreme(torch.amin),
                 a=_extreme_slope)


# %% 02c_autograd.ipynb cell 177 #32c34c43
def _spelled(f):
    "Let f(a, (2, 3)) be written a.f(2, 3) as well."
    def method(a, *size):
        return f(a, size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
    method.__name__, method.__doc__ = f.__name__, f.__doc__
    return method


def _inverse(dims):
    "The permutation that undoes `dims`."
    return [i for _, i in sorted((d % len(dims), i) for i, d in enumerate(dims))]


# %% 02c_autograd.ipynb cell 178 #43af1a07
Tensor.reshape = _spelled(op(
    'reshape', 'The same elements in another shape.', lambda a, size: a.reshape(size),
    lambda r: [(r(3, 4), (2, 6)), (r(2, 3, 4), (-1,)), (r(6), (1, 2, 3)), (r(), (1, 1))],
    a=lambda g, shape: g.reshape(shape)))
Tensor.permute = _spelled(op(
    'permute', 'Axes in another order.', lambda a, dims: a.permute(dims),
    lambda r: [(r(3, 4), (1, 0)), (r(2, 3, 4), (2, 0, 1)), (r(2, 3, 4), (-1, 1, 0))],
    a=lambda g, dims: g.permute(_inverse(dims))))
Tensor.expand = Tensor.broadcast_to = _spelled(op(
    'broadcast_to', 'Repeated along axes of length 1, and along new axes in front.',
    lambda a, size: a.expand(size),
    lambda r: [(r(4), (3, 4)), (r(2, 1, 4), (5, 2, 3, 4)), (r(), (2, 2)), (r(3), (3,))],
    a=lambda g: g))


# %% 02c_autograd.ipynb cell 180 #d360a645
def _transpose(a, dim0, dim1):
    "Two axes swapped."
    dims = list(range(a.ndim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return a.permute(dims)


def _unsqueeze(a, dim):
    "A new axis of length 1, before position `dim`."
    size = list(a.shape)
    size.insert(dim if dim >= 0 else dim + a.ndim + 1, 1)
    return a.reshape(size)


def _squeeze(a, dim=None):
    "Without the axes of length 1, or without axis `dim` if that has length 1."
    drop = range(a.ndim) if dim is None else [dim % a.ndim]
    return a.reshape([n for i, n in enumerate(a.shape) if n != 1 or i not in drop])


def _flatten(a, start_dim=0, end_dim=-1):
    "Axes `start_dim` to `end_dim` as one."
    last = end_dim % max(1, a.ndim)
    return a.reshape((*a.shape[:start_dim], -1, *a.shape[last + 1:]))


# %% 02c_autograd.ipynb cell 181 #d0351416
Tensor.transpose, Tensor.unsqueeze = _transpose, _unsqueeze
Tensor.squeeze, Tensor.flatten = _squeeze, _flatten
Tensor.mT = property(lambda a: a.transpose(-2, -1), doc='Matrices transposed.')
Tensor.T = property(lambda a: a.permute(tuple(reversed(range(a.ndim)))), doc='All axes reversed.')


# %% 02c_autograd.ipynb cell 186 #b0d8e216
def _index_slope(g, shape, index):
    "Zeros of `shape`, with `g` added wherever `index` points; a place picked twice gets both."
    places = torch.arange(shape.numel(), device=g.device).reshape(shape)[index]
    flat = torch.zeros(shape.numel(), dtype=g.dtype, device=g.device)
    return flat.index_add_(0, places.flatten(), g.flatten()).reshape(shape)


def _indices(r):
    pick = torch.tensor([2, 0, 2])
    mask = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])
    kinds = [1, -1, slice(1, None), (slice(None), 2), (..., slice(None, None, 2)), [0, 0],
             (None, slice(0, 2), 1), pick, (pick, slice(None)), (slice(1, 3), pick),
             (pick, torch.tensor([0, 3, 0])), (pick[:, None], pick), mask, (mask[:, 0], 1)]
    return [(r(3, 4), where) for where in kinds]


Tensor.__getitem__ = op('getitem', 'Elements by index, as torch does it.',
                        lambda a, where: a[where], _indices,
                        like=lambda a, where: a[where],
                        a=lambda g, shape, where: _index_slope(g, shape, where))
Tensor.gather = op('gather', 'Along axis dim, the elements at the positions `at`.',
                   lambda a, dim, at: a.gather(dim, at),
                   lambda r: [(r(3, 4), 1, torch.tensor([[0, 0], [3, 1], [2, 2]])),
                              (r(3, 4), 0, torch.tensor([[2, 2, 0, 1]]))],
                   a=lambda g, shape, dim, at: g.new_zeros(shape).scatter_add_(dim, at, g))


# %% 02c_autograd.ipynb cell 189 #e7bf27a9
def _joined(tensors, dim=0):
    "The joined array, and where each piece begins."
    lengths = [t.shape[dim] for t in tensors]
    return torch.cat(tensors, dim), [0, *itertools.accumulate(lengths)]


_cat = op('cat', 'Arrays joined along an axis.', _joined,
          lambda r: [([r(2, 3), r(2, 2)], 1), ([r(3), r(2), r(4)], 0),
                     ([r(2, 1, 3), r(2, 2, 3)], -2)],
          tensors=lambda g, dim, index, aux, shape: g.narrow(dim, aux[index], shape[dim]))
_stack = op('stack', 'Arrays of one shape, stacked along a new axis.',
            lambda tensors, dim=0: torch.stack(tensors, dim),
            lambda r: [([r(3), r(3)], 0), ([r(2, 3), r(2, 3), r(2, 3)], -1), ([r(), r()], 0)],
            tensors=lambda g, dim, index: g.select(dim, index))
Tensor.cat = staticmethod(_cat)
Tensor.stack = staticmethod(_stack)


# %% 02c_autograd.ipynb cell 192 #a07a607e
def _with_axes(g, a_ndim, b_ndim):
    "g with the axes that `@` drops for a vector on the left or on the right."
    if b_ndim == 1:
        g = g.unsqueeze(-1)
    return g.unsqueeze(-2) if a_ndim == 1 else g


def _left_slope(g, b, shape):
    "g @ Bᵀ"
    g = _with_axes(g, len(shape), b.ndim)
    return g @ (b.mT if b.ndim > 1 else b[None])                  # (…, n, k)


def _right_slope(g, a, shape):
    "Aᵀ @ g; all rows below each other when there is only one B."
    g = _with_axes(g, a.ndim, len(shape))
    a = a if a.ndim > 1 else a[None]
    if len(shape) < 3 and a.ndim > 2:
        a, g = a.flatten(0, -2), g.flatten(0, -2)
    g = a.mT @ g                                                  # (…, k, m)
    return g.squeeze(-1) if len(shape) == 1 else g


# %% 02c_autograd.ipynb cell 194 #e4f4d59c
def _products(r):
    pairs = ['23 34', '3 3', '23 3', '3 34', '523 534', '523 34', '23 534', '3 534', '523 3',
             '2123 432', '43 2531']                               # '523': shape (5, 2, 3)
    return [tuple(r(*map(int, shape)) for shape in pair.split()) for pair in pairs]


Tensor.__matmul__ = op('matmul', 'Matrix product; axes before the last two are batches.',
                       lambda a, b: a @ b, _products,
                       a=_left_slope,
                       b=_right_slope)
Tensor.__rmatmul__ = lambda b, a: OPS['matmul'](a, b)


# %% 02c_autograd.ipynb cell 197 #6679eee5
def _rows(a):
    "(…, n) -> (rows, n)"
    return a if a.ndim == 2 else a.reshape(-1, a.shape[-1])


Tensor.linear = op('linear', 'a @ w.T + b, for a (…, n_in), w (n_out, n_in), b (n_out) or None.',
                   lambda a, w, b=None: F.linear(a, w, b),
                   lambda r: [(r(5, 3), r(4, 3), r(4)), (r(2, 5, 3), r(4, 3), r(4)),
                              (r(3), r(4, 3), r(4)), (r(5, 3), r(4, 3), None)],
                   like=F.linear,
                   a=lambda g, w: g @ w,
                   w=lambda g, a: _rows(g).t() @ _rows(a),
                   b=lambda g: g)


# %% 02c_autograd.ipynb cell 202 #fd43dcfa
Tensor.log_softmax = op('log_softmax', 'Logarithms of the softmax along dim.',
                        lambda a, dim: a.log_softmax(dim),
                        lambda r: [(r(3, 4), 1), (r(2, 3, 4), 0), (r(5), -1)],
                        a=lambda g, y, dim: g - y.exp() * g.sum(dim, keepdim=True))
Tensor.softmax = lambda a, dim: a.log_softmax(dim).exp()
Tensor.softmax.__doc__ = 'Softmax along dim: positive, and summing to 1.'


# %% 02c_autograd.ipynb cell 205 #48c19f9d
def _cross_entropy(a, target):
    "The mean of −ln p for the true classes, and ln p for the pullback."
    if a.ndim != 2 or target.shape != a.shape[:1] or target.dtype != torch.int64:
        raise ValueError('cross_entropy: scores of shape (n, classes) and n class numbers of dtype '
                         f'int64 are needed, not {tuple(a.shape)} and {tuple(target.shape)} of '
                         f'{target.dtype}')
    logp = a.log_softmax(1)
    return F.nll_loss(logp, target), logp


def _cross_entropy_slope(g, target, aux):
    "(p − 1 at the true class) · g / n"
    p, n = aux.exp(), len(target)
    p.scatter_(1, target[:, None], -1., reduce='add')
    return p.mul_(float(g) / n)


def _scores(r):
    return [(3 * r(5, 3), torch.tensor([2, 0, 1, 1, 0])), (r(1, 2), torch.tensor([1]))]


# %% 02c_autograd.ipynb cell 206 #391e4cbf
Tensor.cross_entropy = op('cross_entropy', 'Mean cross-entropy: scores (n, classes), classes (n).',
                          _cross_entropy, _scores, like=F.cross_entropy,
                          a=_cross_entropy_slope)
Tensor.to = op('to', 'The same numbers in another dtype.', lambda a, dtype: a.to(dtype),
               lambda r: [(r(3), torch.float64)], like=lambda a, dtype: a.to(dtype),
               a=lambda g: g)


# cell hashes: 4252dd4b:a5f5e06b 103a1fa4:5f02a689 ed50ad56:d843d74d d7b666ea:04390edf
#   013221be:8f48c012 ef02a3e6:449bd52e a46aeaa3:6070bdb0 87457b7c:ac27bcb2 0a41d9e2:f0c7bd4d
#   9e8911bb:c078990f 25555dc1:ad56e2f1 232b244b:7349e3f7 865c84f8:3bd7aa1e a0837336:6243dc92
#   06ae61dd:4af88c16 fe31ae46:b3504441 5a7a46de:efea32fa f677e948:30e8d7b6 4352292c:ed2681ee
#   dec12f34:b4e8d53b cc6dc683:2c71ae0b 0613824b:1f93fb97 bb1ac8c0:4786c3c8 6d15f72b:1d4b8333
#   b8fb3620:4f379e22 56ab508d:e9d85b8e e9f5ea9d:24522d35 16ece402:eeebb072 f4b4b429:6465dcd6
#   bd4659b5:76b601e7 65a4ddc8:78b92e39 47b5c364:2cde2f66 5037fbc6:c2a11eb5 26803fae:c3d42986
#   81c244a8:f6e89c5e 6c2cf001:e5a66198 520eee16:9f2e35c6 eb06d9c0:5f895e3e 4e6699a7:920a2552
#   919f6434:b690ec48 f6bb3f2d:f2d49785 b20a03da:2b2b6a0b bb82c1ba:837348e4 f8f192be:f20bebe7
#   cc0fd322:27a73647 a1735356:8d7999a8 cea11dd3:0a8926db 6aad5c2b:8f0aa27c 248f519a:01bcb602
#   acd9baa6:25d66ba8 56a1cde5:b66805e1 32c34c43:766d2a29 43af1a07:1d71fca4 d360a645:ae7f149e
#   d0351416:ffb72033 b0d8e216:a1aa16c2 e7bf27a9:33b18582 a07a607e:ab2c0262 e4f4d59c:6383868e
#   6679eee5:3b2d8379 fd43dcfa:7ce31548 48c19f9d:c3cf5f2f 391e4cbf:ffd7d6e0
