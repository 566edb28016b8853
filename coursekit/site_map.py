"""The map of the chapters: which builds on which, drawn as an SVG whose boxes are links.

Rows are the longest ways from the start; an arrow that skips rows bends around the boxes between.
"""
from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from .graph import Graph
from .notebook import course_notebooks, load

WIDTH, HEIGHT, GAP, ROW, BEND, MARGIN = 124, 50, 12, 88, 6, 8
LINE = 19
PARTS = [(0, 'Foundations'), (3, 'Training'), (6, 'Convolutions to a complete Learner'),
         (10, 'Vision training')]


@dataclass
class Chapter:
    "A chapter on the map. `needs`: numbers of all that it builds on, directly or not, in order."
    number: str
    title: str
    file: str
    needs: list[str] = field(default_factory=list)

    @property
    def part(self) -> int:
        "The number of its part: the last that begins at or before it."
        at = int(''.join(ch for ch in self.number if ch.isdigit()))
        return max(i for i, (first, _) in enumerate(PARTS) if first <= at)


def chapters(root) -> list[Chapter]:
    "The numbered chapters of a course in reading order, with what their imports say they need."
    root = Path(root).absolute()
    graph = Graph({p.name: load(p) for p in course_notebooks(root)}, root)
    number = {key: nb.number for key, nb in graph.notebooks.items() if nb.number}
    return [Chapter(number[key], nb.title, key,
                    sorted((number[o] for o in graph.needs[key] if o in number), key=order))
            for key, nb in graph.notebooks.items() if key in number]


def order(number: str) -> tuple:
    digits = ''.join(ch for ch in number if ch.isdigit())
    return int(digits), number[len(digits):]


def direct(found: list[Chapter]) -> dict[str, list[str]]:
    "number -> what it builds on that nothing else it builds on already brings along"
    needs = {c.number: set(c.needs) for c in found}
    return {c.number: [n for n in c.needs if not any(n in needs.get(o, ()) for o in c.needs)]
            for c in found}


# Where the boxes go

def rows(edges: dict[str, list[str]]) -> dict[str, int]:
    "number -> its row: one below the lowest of those it builds on"
    found = {}

    def row(n):
        if n not in found:
            found[n] = 1 + max((row(m) for m in edges[n]), default=-1)
        return found[n]

    for n in edges:
        row(n)
    return found


def with_bends(edges, at) -> tuple[list[list], dict]:
    """-> the boxes of each row, bends of long arrows among them, and who is joined to whom below.

    A bend is `(from, to, row)`.
    """
    layers, below = [[] for _ in range(max(at.values()) + 1)], {}
    for n, row in at.items():
        layers[row].append(n)
    for n, needed in edges.items():
        for m in needed:
            path = [m, *((m, n, r) for r in range(at[m] + 1, at[n])), n]
            for bend in path[1:-1]:
                layers[bend[2]].append(bend)
            for upper, lower in zip(path, path[1:]):
                below.setdefault(upper, []).append(lower)
    return layers, below


def neighbours(below: dict) -> tuple[dict, dict]:
    above = {}
    for upper, lowers in below.items():
        for lower in lowers:
            above.setdefault(lower, []).append(upper)
    return above, below


def crossings(layers, above) -> int:
    "How many pairs of arrows between neighbouring rows cross."
    total = 0
    for upper, lower in zip(layers, layers[1:]):
        place = {n: i for i, n in enumerate(upper)}
        ends = [(place[m], i) for i, n in enumerate(lower) for m in above.get(n, ())]
        total += sum((a < c) != (b < d) for k, (a, b) in enumerate(ends)
                     for c, d in ends[:k] if a != c and b != d)
    return total


def arranged(layers, below, rounds=24) -> list[list]:
    "Each row in the order that crosses least: boxes go to their neighbours' mean place, in turns."
    above, below = neighbours(below)
    best = layers
    for turn in range(rounds):
        down = turn % 2 == 0
        layers = [list(row) for row in layers]
        near = above if down else below
        for i in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            place = {n: k for k, n in enumerate(layers[i - 1 if down else i + 1])}
            mean = {n: sum(places) / len(places) if (places := [place[m] for m in near.get(n, ())])
                    else k for k, n in enumerate(layers[i])}
            layers[i].sort(key=mean.get)
        if crossings(layers, above) < crossings(best, above):
            best = layers
    return best


def half(n) -> float:
    "Half the width that a box, or a bend, takes in its row."
    return (WIDTH if isinstance(n, str) else BEND) / 2


def placed(layers, below, rounds=400) -> dict:
    "box or bend -> x of its middle: near its neighbours' mean, and clear of the next in its row"
    above, below = neighbours(below)
    x = {}
    for row in layers:
        left = 0
        for n in row:
            x[n] = left + half(n)
            left += 2 * half(n) + GAP
    for turn in range(rounds):
        middle = (max(x.values()) + min(x.values())) / 2
        for row in layers if turn % 2 else reversed(layers):
            near = {n: [x[m] for m in (*above.get(n, ()), *below.get(n, ()))] for n in row}
            spread(row, x, near, middle)
    left = min(x[n] - half(n) for n in x)
    return {n: x[n] - left + MARGIN for n in x}


def spread(row, x, near, middle, pull=.35) -> None:
    """Move a row's boxes towards their neighbours' mean, and a little towards the drawing's middle.

    Those that would touch form a block, which stands where its members on average want to be.
    """
    blocks, offset = [], {}   # a block: [where its first member wants to be, members]
    for n in row:
        want = (sum(near[n]) + pull * middle) / (len(near[n]) + pull)
        offset[n] = 0
        blocks.append([want, [n]])
        while len(blocks) > 1:
            (a, first), (b, second) = blocks[-2:]
            step = offset[first[-1]] + half(first[-1]) + GAP + half(second[0])
            if a + step <= b:
                break
            for m in second:
                offset[m] += step
            both = len(first) + len(second)
            blocks[-2:] = [[(a * len(first) + (b - step) * len(second)) / both, first + second]]
    for start, members in blocks:
        for n in members:
            x[n] = start + offset[n]


# The drawing

def svg(found: list[Chapter], folder='nbs/') -> str:
    "The map as inline SVG; each box is a link into `folder`, and names in its data what it needs."
    edges = direct(found)
    at = rows(edges)
    layers, below = with_bends(edges, at)
    x = placed(arranged(layers, below), below)
    width = max(x[n] + half(n) for n in x) + MARGIN
    height = len(layers) * ROW - (ROW - HEIGHT) + 2 * MARGIN
    top = {n: at[n] * ROW + MARGIN for n in at}
    arrows = [arrow(m, n, x, top) for n, needed in edges.items() for m in needed]
    boxes = [box(c, x[c.number], top[c.number], folder) for c in found]
    return '\n'.join([
        f'<svg class="course-map" viewBox="0 0 {width:.0f} {height}" role="group" '
        'aria-label="Map of the chapters: each box is a chapter, arrows lead to those that build on '
        'it">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        *arrows, *boxes, '</svg>'])


def arrow(m, n, x, top) -> str:
    "A smooth line from below box `m` to above box `n`, through its bends."
    rows_between = round((top[n] - top[m]) / ROW)
    stops = [(x[m], top[m] + HEIGHT)]
    for k in range(1, rows_between):
        row = round(top[m] - MARGIN) // ROW + k
        bend, y = x[m, n, row], row * ROW + MARGIN
        stops += [(bend, y), (bend, y + HEIGHT)]
    stops.append((x[n], top[n] - 1))
    path = f'M{stops[0][0]:.1f} {stops[0][1]}'
    for k, ((a, b), (c, d)) in enumerate(zip(stops, stops[1:])):
        y = (b + d) / 2
        curve = f'C{a:.1f} {y:.0f} {c:.1f} {y:.0f} {c:.1f} {d}'
        path += f'L{c:.1f} {d}' if k % 2 else curve   # straight beside a row, bent between two
    return f'<path class="edge" data-from="{m}" data-to="{n}" d="{path}" marker-end="url(#tip)"/>'


def box(c: Chapter, x: float, y: float, folder: str) -> str:
    left, page = x - WIDTH / 2, folder + c.file.removesuffix('.ipynb') + '.html'
    lines = textwrap.wrap(short(c.title), LINE)[:2]
    titles = ''.join(f'<tspan x="{x:.1f}" dy="12">{html.escape(t)}</tspan>' for t in lines)
    name = html.escape(f'{c.number} {c.title}')
    return (f'<a class="chapter part-{c.part}" href="{page}" id="{c.number}" '
            f'data-needs="{" ".join(c.needs)}" data-title="{name}" aria-label="{name}">'
            f'<title>{name}</title>'
            f'<rect x="{left:.1f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7"/>'
            f'<text class="number" x="{x:.1f}" y="{y + 16}">{c.number}</text>'
            f'<text class="name" x="{x:.1f}" y="{y + 18}">{titles}</text></a>')


def short(title: str) -> str:
    "A title that fits two short lines: what follows a colon goes, and a comma if it must."
    head = title.split(':')[0]
    if len(textwrap.wrap(head, LINE)) > 2:
        head = head.split(', ')[0]
    lines = textwrap.wrap(head, LINE)
    return head if len(lines) <= 2 else ' '.join([lines[0], lines[1][:LINE - 3] + '…'])
