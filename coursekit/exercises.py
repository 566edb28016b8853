"""Exercises: finding them, cutting their solutions to a stub, and proving that the stub fails.

An exercise is two code cells, one after the other, marked as nbgrader marks them: a solution cell,
whose answer stands between `### BEGIN SOLUTION` and `### END SOLUTION`, and a test cell that is worth
points. `python -m coursekit.exercises [FOLDER] [--force]` writes the student edition: the same notebooks
with every solution cut out. A notebook that somebody has worked in is kept, unless --force is given.
"""
from __future__ import annotations

import ast
import json
import re
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from .cache import digest
from .judge import MAY_RAISE
from .notebook import Cell, CourseError, Notebook, course_notebooks, find_root, load, parse
from .outputs import text_of, write_atomic
from .records import PASSED, Result

BEGIN, END = '### BEGIN SOLUTION', '### END SOLUTION'
STAMP = 'edition'  # in metadata.course of a copy: what its cells said when it was written
STUB = '# YOUR CODE HERE', 'raise NotImplementedError()'  # nbgrader's own


@dataclass
class Exercise:
    "An exercise: its name (`03-ex2`), points, and the cells of its solution and of its test."
    name: str
    points: float
    solution: Cell
    test: Cell


def exercises(notebook: Notebook, solved=True) -> list[Exercise]:
    """The exercises of a notebook, in order. `solved`: must the solutions be marked, or is it a copy?

    Raises CourseError, naming the cell, for a solution without a test after it, a test without a
    solution, markers that do not match, no points, or a name used twice.
    """
    found, waiting = [], None
    for cell in (c for c in notebook.cells if c.kind == 'code'):
        marks = cell.metadata.get('nbgrader') or {}
        if (BEGIN in cell.source or END in cell.source) and not marks.get('solution'):
            refuse(notebook, cell, 'holds a solution, but its nbgrader metadata does not say so')
        if waiting and not marks.get('grade'):
            refuse(notebook, waiting, 'is a solution; the cell after it must be its test')
        if marks.get('solution'):
            if solved:
                stub(cell.source, lambda why, cell=cell: refuse(notebook, cell, why))
            waiting = cell
        elif marks.get('grade'):
            found.append(exercise(notebook, waiting, cell, marks))
            waiting = None
    if waiting:
        refuse(notebook, waiting, 'is a solution; the cell after it must be its test')
    names = [e.name for e in found]
    for e in found:
        if names.count(e.name) > 1:
            refuse(notebook, e.solution, f'is called {e.name}, as another exercise is')
    return found


def exercise(notebook, solution, test, marks) -> Exercise:
    if solution is None:
        refuse(notebook, test, 'is the test of an exercise, but no solution comes before it')
    points = marks.get('points')
    if isinstance(points, bool) or not isinstance(points, (int, float)) or points <= 0:
        refuse(notebook, test, f'is worth {points!r} points; a number above 0 is needed')
    name = solution.metadata['nbgrader'].get('grade_id') or solution.id
    return Exercise(name, points, solution, test)


def refuse(notebook, cell, why):
    raise CourseError(f'{cell.where(notebook)}: {why}')


def stub(source: str, refuse=None) -> str:
    "A solution cell's text with each solution cut out; `refuse(why)` is called if that cannot be done."
    lines, out, inside = source.split('\n'), [], False
    for line in lines:
        mark = line.strip()
        if mark == (END if inside else BEGIN):
            inside = not inside
            if inside:
                indent = line[:len(line) - len(line.lstrip())]
                out += [indent + s for s in STUB]
        elif mark in (BEGIN, END):
            refuse(f'its markers do not match: {mark!r} comes where it should not')
        elif not inside:
            out.append(line)
    if inside or len(out) == len(lines):
        refuse(f'a solution stands between {BEGIN!r} and {END!r}, each on a line of its own')
    return '\n'.join(out)


def is_copy(notebook: Notebook) -> bool:
    "Is it a student's copy: exercises, and no solution marked?"
    marked = any(c.metadata.get('nbgrader') for c in notebook.cells)
    return marked and not any(BEGIN in c.source for c in notebook.cells)


def prepared(notebook: Notebook) -> Notebook:
    "A notebook as `--exercises` runs it: the course's own with stubs, a student's marked by exercise."
    if not is_copy(notebook):
        return with_stubs(notebook)
    raw = deepcopy(notebook.raw)
    for e in exercises(notebook, solved=False):
        for cell in (e.solution, e.test):
            raw['cells'][cell.number - 1]['metadata'] = {**cell.metadata,
                                                         'tags': [*cell.tags, MAY_RAISE]}
    return parse(raw, notebook.path)


def graded(notebook: Notebook, result: Result) -> list[dict]:
    "The exercises of a student's copy after a run: name, points, passed, message."
    found = []
    for e in exercises(notebook, solved=False):
        raised = [result.raised.get(str(c.number)) for c in (e.solution, e.test)]
        reached = result.outcome == PASSED or e.test.number < (result.cell or 0)
        message = next(filter(None, raised), '' if reached else f'not reached: {result.message}')
        found.append({'exercise': e.name, 'points': e.points, 'passed': not message,
                      'message': message})
    return found


def with_stubs(notebook: Notebook) -> Notebook:
    """A notebook at whose end every exercise comes again: the stub, then its test, which must raise.

    So one run proves both: the solution passes, and the stub is caught. What the solution defined is
    forgotten first. A stub in the body of a class raises by itself, which is as good.
    """
    raw = deepcopy(notebook.raw)
    for e in exercises(notebook):
        forget = ''.join(f'globals().pop({name!r}, None)\n' for name in sorted(bound(e.solution.source)))
        notes = (f'# {e.name} again, its solution cut out\n{forget}',
                 f'# the test of {e.name}: must fail now\n')
        raw['cells'] += [again(e.solution, notes[0] + stub(e.solution.source), [MAY_RAISE]),
                         again(e.test, notes[1] + e.test.source, ['raises-exception'])]
    return parse(raw, notebook.path)


def again(cell: Cell, source: str, tags: list) -> dict:
    return {'cell_type': 'code', 'id': f'{cell.id[:58]}-stub', 'metadata': {'tags': tags},
            'source': source, 'outputs': [], 'execution_count': None}


def leaks(notebook: Notebook) -> list[str]:
    "Where a cell uses a name that only the solution of an exercise (not its own) defines."
    found, theirs = [], exercises(notebook)
    own = {n: e.name for e in theirs for n in (e.solution.number, e.test.number)}
    names = {e.name: bound(e.solution.source) for e in theirs}
    given = set().union(*(bound(c.source) for c in notebook.cells
                          if c.kind == 'code' and c.number not in own))
    for cell in (c for c in notebook.cells if c.kind == 'code'):
        for name, solved in names.items():
            if own.get(cell.number) != name and (used := used_names(cell.source) & solved - given):
                found.append(f'{cell.where(notebook)}: uses {", ".join(sorted(used))} of {name}')
    return found


def tree(source: str) -> ast.Module:
    "A cell's syntax; lines for IPython are left out."
    try:
        return ast.parse(re.sub(r'(?m)^\s*[%!].*$|\?+\s*$', '', source))
    except SyntaxError:  # a cell that shows a mistake
        return ast.Module([], [])


def bound(source: str) -> set[str]:
    "The names that a cell defines at its top level."
    found = set()
    for node in tree(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.With)):
            found |= {n.id for n in ast.walk(node)
                      if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found


def used_names(source: str) -> set[str]:
    return {n.id for n in ast.walk(tree(source))
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


# The student edition

def student_copy(notebook: Notebook) -> dict:
    """A notebook as students get it: solutions cut, their outputs and those of the tests cleared.

    The cells that export are for the course's own folder; the last one, which calls the exporter, is
    left out.
    """
    raw = deepcopy(notebook.raw)
    for e in exercises(notebook):
        for cell, source in ((e.solution, stub(e.solution.source)), (e.test, e.test.source)):
            raw['cells'][cell.number - 1] |= {'source': source.splitlines(keepends=True),
                                              'outputs': [], 'execution_count': None}
    raw['cells'] = [c for c in raw['cells']
                    if not (c['cell_type'] == 'code' and 'import notebook2script' in ''.join(c['source']))]
    raw['metadata'].setdefault('course', {})[STAMP] = contents(raw)
    return raw


def contents(raw: dict) -> str:
    "A hash of what the cells of a notebook say, their outputs apart."
    return digest(json.dumps([(c['cell_type'], text_of(c['source'])) for c in raw['cells']]))


def worked_in(path: Path) -> bool:
    "Is there a notebook that is not as we wrote it? What cannot be read counts as somebody's work."
    if not path.exists():
        return False
    try:
        raw = json.loads(path.read_text(encoding='utf-8'))
        return raw['metadata']['course'][STAMP] != contents(raw)
    except (ValueError, KeyError, TypeError):
        return True


def write_edition(root, out, force=False) -> tuple[list[Path], list[Path]]:
    """Write the student edition of a course's notebooks into a folder. -> files written, files kept

    All are made before the first is written, so that a faulty exercise leaves the folder as it was.
    A file that is not as it was written, as somebody worked in it, is kept unless `force`. Raises
    CourseError for a folder that is the course's own `nbs/`.
    """
    out = Path(out)
    if out.resolve() == (Path(root) / 'nbs').resolve():
        raise CourseError(f'{out}: holds the solutions; name another folder for the student edition')
    copies = {out / p.name: student_copy(load(p)) for p in course_notebooks(root)}
    out.mkdir(parents=True, exist_ok=True)
    kept = [] if force else [path for path in copies if worked_in(path)]
    written = [path for path in copies if path not in kept]
    for path in written:
        write_atomic(path, json.dumps(copies[path], indent=1, ensure_ascii=False) + '\n')
    return written, kept


def main():
    try:
        root = find_root()
        named = [arg for arg in sys.argv[1:] if arg != '--force']
        out = Path(named[0]) if named else root / 'student'
        written, kept = write_edition(root, out, force='--force' in sys.argv)
        n = sum(len(exercises(load(p))) for p in course_notebooks(root))
        print(f'{out}: {len(written) + len(kept)} notebooks with {n} exercises')
        for path in kept:
            print(f'kept: {path} (somebody has worked in it; --force replaces it)')
    except (CourseError, OSError) as e:
        sys.exit(f'error: {e}')


if __name__ == '__main__':
    main()
