"""What a run says, in plain text: each failure in at most 25 lines, and the tables at the end."""
from __future__ import annotations

import os
import re
import shlex
import textwrap
from pathlib import Path

from .frames import Locator, is_cell
from .notebook import Notebook
from .outputs import collapse
from .records import BLOCKED, OUTCOMES, SKIPPED, TIMEOUT, WORDS, Result
from .results import told

LINES = 25
WIDTH = 120
ANSI = re.compile(r'\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]')
GUTTER = ' ' * 8 + '| '


def plain(text: str) -> str:
    "Text without colour codes and other control characters."
    return ANSI.sub('', text)


def clip(line: str, width: int = WIDTH) -> str:
    return line if len(line) <= width else line[:width - 3] + '...'


def word(outcome: str) -> str:
    "An outcome as a reader says it: `timed out` for `timeout`."
    return WORDS.get(outcome, outcome)


class Story:
    "The report of one notebook that did not pass."

    def __init__(self, result: Result, notebook: Notebook | None, root):
        self.result, self.notebook, self.root = result, notebook, Path(root)
        self.failure = result.failure
        self.frames = list(self.failure.frames) if self.failure else []
        cells = notebook.cells if notebook else ()
        sources = {c.number: c.source for c in cells if c.kind == 'code'}
        self.locator = Locator(sources, root) if self.frames else None

    @property
    def line(self) -> int | None:
        "The line of the cell at which it failed."
        return self.here()[0]['line'] if self.here() else None

    def here(self) -> list[dict]:
        "The frame in the cell that failed, as a list of none or one."
        cell = self.result.cell
        return [f for f in self.frames if cell and self.locator.cell(f['file'], cell) == cell][:1]

    def where(self) -> str:
        if not (self.notebook and self.result.cell):
            return self.result.notebook
        place = self.notebook.cells[self.result.cell - 1].where(self.notebook, self.line)
        return str(Path(self.result.notebook).parent / place)

    def lines(self) -> list[str]:
        "The whole report."
        head = [f'{word(self.result.outcome).upper()}  {self.where()}']
        tail = [f'  run again: {self.command()}']
        body = self.source() + self.path() + self.message()
        last = self.last_output()
        room = LINES - len(head) - len(tail)
        if len(body) + len(last) > room:
            last = last[:1] + last[-max(2, room - len(body) - 1):] if last else last
        if len(body) + len(last) > room:
            body = body[:room - len(last) - 1] + ['  ...']
        return [clip(line.rstrip()) for line in head + body + last + tail]

    def source(self) -> list[str]:
        "The line that failed between its neighbours, a caret below what was being computed."
        if not self.here():
            return []
        frame, number = self.here()[0], self.line
        text = self.notebook.cells[self.result.cell - 1].source.split('\n')
        shown = []
        for n in range(max(1, number - 2), min(len(text), number) + 1):
            shown.append(f'  {">" if n == number else " "} {n:3} | {text[n - 1]}')
        known = frame['col'] is not None and number <= len(text)
        if known and frame['source'] == text[number - 1].rstrip():
            start = frame['col']
            end = min(frame['end_col'] or start + 1, len(text[number - 1]))
            shown.append(GUTTER + ' ' * start + '^' * max(1, end - start))
        return shown

    def path(self) -> list[str]:
        "The frames further in, those of the course's modules with the cell they come from."
        skip = self.frames.index(self.here()[0]) + 1 if self.here() else 0
        inner = self.frames[skip:]
        if len(inner) > 4:
            ours = [f for f in inner if self.is_ours(f)]
            keep = [*ours[:2], *ours[-1:], inner[-1]]
            inner = [f for f in inner if any(f is k for k in keep)]
        shown = []
        for f in inner:
            shown.append('  in ' + (f'{f["func"]}, ' if f['func'] else '') + self.named(f))
            if f['source'].strip() and self.is_ours(f):
                shown.append(GUTTER + f['source'].strip())
        return shown

    def is_ours(self, frame) -> bool:
        path = Path(frame['file'])
        inside = self.root in path.parents and 'site-packages' not in path.parts
        return inside or is_cell(frame['file'])

    def named(self, frame) -> str:
        "A frame's place: a cell, a module of the course with its cell, or a library's file."
        if cell := self.locator.cell(frame['file']):
            return f'cell {cell}, line {frame["line"]}'
        path = Path(frame['file'])
        ours = self.is_ours(frame)
        name = os.path.relpath(path, self.root) if ours else '/'.join(path.parts[-3:])
        origin = self.locator.origin(frame['file'], frame['line'])
        return f'{name}:{frame["line"]}' + (f' ({origin})' if origin else '')

    def message(self) -> list[str]:
        "What went wrong: the exception's own words, at most 7 lines of them."
        lines = plain(self.result.message).strip().split('\n')
        if self.result.outcome == TIMEOUT and self.line:
            lines[0] += f'; it was at line {self.line}'
        lines = [part for line in lines for part in (textwrap.wrap(line, WIDTH - 2) or [''])]
        lines = lines if len(lines) <= 7 else [*lines[:5], '...', lines[-1]]
        return ['  ' + line for line in lines]

    def last_output(self) -> list[str]:
        if not self.failure or not self.failure.last_output.strip():
            return []
        lines = plain(collapse(self.failure.last_output)).strip('\n').split('\n')
        cell = self.failure.last_cell
        whose = '' if cell == self.result.cell else f' (cell {cell})'
        return [f'  last output{whose}:'] + [GUTTER + line for line in lines[-4:]]

    def command(self) -> str:
        "The one command that runs this notebook again."
        path = os.path.relpath(self.root / self.result.notebook)
        return f'python run_notebook.py {shlex.quote(path)}'


def blocked_lines(results: list[Result]) -> list[str]:
    "One line for each notebook that failed and kept others from running."
    groups = {}
    for r in results:
        if r.outcome == BLOCKED:
            groups.setdefault(r.message, []).append(Path(r.notebook).stem)
    return [f'BLOCKED  {", ".join(names)}: {message.removeprefix("blocked ")}'
            for message, names in groups.items()]


def columns(rows: list[list[str]], right=()) -> list[str]:
    "Rows as aligned text; `right`: the columns set flush right."
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join(cell.rjust(w) if i in right else cell.ljust(w)
                      for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows]


def summary(results: list[Result], counts: dict[str, tuple[int, int]]) -> list[str]:
    """The table of notebooks. `counts`: notebook -> number of code cells, number of tests.

    Every notebook has a row; what was skipped or blocked says why in it.
    """
    rows = [['notebook', 'cells', 'tests', 'claims', 'seconds', 'peak MB', 'outcome']]
    for r in results:
        cells, tests = counts.get(r.notebook, (0, 0))
        ran = r.outcome not in (SKIPPED, BLOCKED)
        of = f'{cells - len(r.skipped_cells)}/' if r.skipped_cells else ''
        used = [f'{r.seconds:.1f}', f'{r.peak_mb:.0f}'] if ran else ['', '']
        rows.append([r.notebook, f'{of}{cells}', str(tests), str(len(r.claims)), *used, ending(r)])
    lines = columns(rows, right=(1, 2, 3, 4, 5))
    return [lines[0], '-' * min(WIDTH, max(map(len, lines))), *lines[1:]]


def ending(r: Result) -> str:
    "A notebook's outcome as a row of the table says it."
    if r.outcome == BLOCKED:
        return r.message
    if r.outcome == SKIPPED:
        return f'skipped: {r.message}'
    return word(r.outcome) + (f' at cell {r.cell}' if r.cell else '')


def exercise_table(results: list[Result]) -> list[str]:
    "A student's exercises, one a line, and the points; nothing if there are none."
    rows = [['notebook', 'exercise', 'points', 'result']]
    for r in results:
        for e in r.exercises:
            said = 'passed' if e['passed'] else 'failed: ' + plain(e['message']).split('\n')[0]
            rows.append([r.notebook, e['exercise'], f'{e["points"] * e["passed"]:g}/{e["points"]:g}',
                         clip(said, 90)])
    if len(rows) == 1:
        return []
    lines = columns(rows, right=(2,))
    theirs = [e for r in results for e in r.exercises]
    got, all_ = (sum(e['points'] for e in theirs if e['passed'] or whole) for whole in (False, True))
    return [lines[0], '-' * min(WIDTH, max(map(len, lines))), *lines[1:],
            f'{got:g} of {all_:g} points']


def totals(results: list[Result], seconds: float, cpu_seconds: float) -> str:
    "`12 passed, 1 failed in 73.1 s (110.2 CPU s)`"
    parts = [f'{n} {word(o)}' for o in OUTCOMES if (n := sum(r.outcome == o for r in results))]
    return f'{", ".join(parts) or "nothing"} in {seconds:.1f} s ({cpu_seconds:.1f} CPU s)'


def claims_table(claims: list[dict]) -> list[str]:
    "The claims of a run, one a line: chapter, name, data, value, bound."
    if not claims:
        return []
    rows = [['chapter', 'claim', 'data', 'measured', 'asserted']]
    for c in claims:
        value, bound = told(c)
        rows.append([c['chapter'], clip(c['name'], 60), c['data'] or '', value, bound])
    lines = columns(rows, right=(3, 4))
    return [lines[0], '-' * min(WIDTH, max(map(len, lines))), *lines[1:]]
