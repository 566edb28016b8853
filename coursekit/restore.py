"""Making of a submission the notebook that is graded: the course's own, with the student's answers.

Given cells and tests are always the course's, so whoever edits or deletes one gains nothing. Of the
submission come the solution cells, found by `grade_id`, and cells of the student's own that these
need. Around each answer stands a guard which puts back what the answer changed in the course's
names, modules and test functions before it is tested.
"""
from __future__ import annotations

import ast
import secrets
from copy import deepcopy
from dataclasses import dataclass, field

from .exercises import Exercise, bound, exercises, tree, used_names
from .judge import MAY_RAISE
from .notebook import Cell, Notebook, parse
from .records import PASSED, Result

LARGEST_FILE = 1_000_000_000  # bytes that a submission may write into one file

LIMITS = '''def _limits():
    import resource, signal
    resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    _limits()
except ImportError:
    pass
del _limits
get_ipython().InteractiveTB.set_mode('Minimal')  # nobody reads the tracebacks, which cost time'''

# Runs before an answer: keeps what the answer must not change. What it returns puts that back.
BEFORE = '''def _before(space):
    import builtins, sys, types
    shell = get_ipython()
    names = {k: v for k, v in space.items() if not k.startswith('_')}
    modules = {v for v in names.values() if isinstance(v, types.ModuleType)} | {builtins}
    modules |= {m for n, m in list(sys.modules.items()) if m and n.split('.')[0] in ('exp', 'math')}
    kept = [(vars(m), dict(vars(m))) for m in modules]
    functions = {id(f): f for v in [names, *(d for _, d in kept)] for f in v.values()
                 if isinstance(f, types.FunctionType)}
    codes = [(f, f.__code__, f.__defaults__, f.__kwdefaults__) for f in functions.values()]
    lists = [shell.ast_transformers, shell.input_transformers_post,
             shell.input_transformers_cleanup, *shell.events.callbacks.values()]
    contents = [list(some) for some in lists]

    def put_back(own):
        for some, content in zip(lists, contents):
            some[:] = content
        for now, then in kept:
            for name, value in then.items():
                if now.get(name) is not value:
                    now[name] = value
        for f, code, defaults, kwdefaults in codes:
            f.__code__, f.__defaults__, f.__kwdefaults__ = code, defaults, kwdefaults
        for k in [k for k in space if hasattr(builtins, k) and k not in {*names, *own}]:
            del space[k]
        space.update({k: v for k, v in names.items() if k not in own})
    return put_back
__import__('sys').__dict__[TOKEN] = _before(globals())
del _before'''
AFTER = "__import__('sys').__dict__.pop({token!r})({own!r})"
END = "raise RuntimeError({token!r})"  # a test tells by this that it came to its end
GONE = 'raise NotImplementedError()'
TAMPERED = 'the answer undid what protects the tests'


@dataclass
class Place:
    "Where an exercise stands in the notebook that is run; numbers of cells, and why it is not run."
    exercise: Exercise
    before: int = 0
    answer: int = 0
    after: int = 0
    test: int = 0
    token: str = field(default_factory=lambda: f'_{secrets.token_hex(8)}')
    refused: str = ''

    def __contains__(self, number) -> bool:
        return self.before <= (number or 0) <= self.test


@dataclass
class Restored:
    "A submission as it is graded. `given`: numbers of the course's cells, here and in the course."
    notebook: Notebook
    places: list[Place]
    notes: list[str] = field(default_factory=list)
    given: dict[int, int] = field(default_factory=dict)

    def without(self, place: Place) -> Notebook:
        "The notebook with one answer taken out, so that the others can be judged."
        self.notebook.raw['cells'][place.answer - 1]['source'] = [GONE]
        self.notebook = parse(self.notebook.raw, self.notebook.path)
        return self.notebook

    def culprit(self, result: Result) -> Place | None:
        "The exercise that ended a run: the one that was interrupted, else where the run stood."
        stopped = (p for p in self.places for n in (p.answer, p.test)
                   if result.raised.get(str(n), '').startswith('KeyboardInterrupt'))
        return next(stopped, None) or next((p for p in self.places if result.cell in p), None)

    def marks(self, result: Result, known: dict[str, str]) -> list[dict]:
        "For each exercise name, points, passed, message; `known`: what is to be said of some."
        found = []
        for p in self.places:
            message = p.refused or known.get(p.exercise.name) or self.message(p, result)
            points = p.exercise.points
            found.append({'exercise': p.exercise.name, 'points': 0 if message else points,
                          'max': points, 'passed': not message, 'message': message})
        return found

    def message(self, p: Place, result: Result) -> str:
        "Why an answer earns nothing; empty if it passed its test."
        before, answer, after, test = (result.raised.get(str(n), '')
                                       for n in (p.before, p.answer, p.after, p.test))
        reached = result.outcome == PASSED or p.test < (result.cell or 0)
        if not reached:
            return answer or f'not reached: {result.message or result.outcome}'
        if before or after:
            return TAMPERED
        if test == f'RuntimeError: {p.token}':
            return answer
        return answer or test or TAMPERED


def restored(course: Notebook, submission: Notebook) -> Restored:
    "The course's notebook with the answers of a submission."
    theirs = answers(submission)
    own_ids = {c.id for c in course.cells} | {name(c) for c in course.cells if name(c)}
    texts = {c.source.strip() for c in course.cells}
    extra = [c for c in submission.cells if c.kind == 'code' and c.source.strip()
             and c.id not in own_ids and name(c) not in own_ids and c.source.strip() not in texts]
    raw = deepcopy(course.raw)
    raw['cells'] = [cell_of(LIMITS.replace('{bytes}', str(LARGEST_FILE)))]
    places, waiting = [], {e.solution.number: Place(e) for e in exercises(course)}
    tests, given = {p.exercise.test.number: p for p in waiting.values()}, {}
    for cell in course.cells:
        if place := waiting.get(cell.number):
            add_answer(raw['cells'], place, theirs, extra)
            places.append(place)
        elif place := tests.get(cell.number):
            raw['cells'].append(cell_of(f'{cell.source}\n{END.format(token=place.token)}'))
            place.test = len(raw['cells'])
        elif 'import notebook2script' not in cell.source:
            raw['cells'].append(course.raw['cells'][cell.number - 1] if cell.kind != 'code' else
                                cell_of(cell.source, cell.tags))
            if cell.kind == 'code' and 'raises-exception' not in cell.tags:
                given[len(raw['cells'])] = cell.number
    return Restored(parse(raw, course.path), places, edited(course, submission), given)


def add_answer(cells: list, place: Place, theirs: dict, extra: list[Cell]):
    "Put the guard, the student's own cells that are needed, the answer, and the guard's end."
    given = theirs.get(place.exercise.name) or []
    token = f'_{secrets.token_hex(8)}'  # not the test's, which the answer must not meet
    own = sorted(bound(place.exercise.solution.source))
    cells.append(cell_of(BEFORE.replace('TOKEN', repr(token))))
    place.before = len(cells)
    if len(given) != 1:
        numbers = ', '.join(str(c.number) for c in given)
        place.refused = (f'not graded: {len(given)} cells are called {place.exercise.name} (cells '
                         f'{numbers}); only one may be' if given else 'its cell was deleted')
        source = GONE
    else:
        source = given[0].source
        cells += [cell_of(c.source) for c in needed_by(source, extra)]
    cells.append(cell_of(source))
    place.answer = len(cells)
    cells.append(cell_of(AFTER.format(token=token, own=own)))
    place.after = len(cells)


def cell_of(source: str, tags=()) -> dict:
    tags = [*(t for t in tags if t != 'raises-exception'), MAY_RAISE]
    return {'cell_type': 'code', 'id': secrets.token_hex(4), 'metadata': {'tags': tags},
            'source': source.splitlines(keepends=True), 'outputs': [], 'execution_count': None}


def name(cell: Cell) -> str:
    marks = cell.metadata.get('nbgrader')
    return str(marks.get('grade_id') or '') if isinstance(marks, dict) else ''


def answers(submission: Notebook) -> dict[str, list[Cell]]:
    "grade_id -> the solution cells that carry it"
    found = {}
    for cell in submission.cells:
        if cell.kind == 'code' and name(cell) and cell.metadata['nbgrader'].get('solution'):
            found.setdefault(name(cell), []).append(cell)
    return found


def needed_by(source: str, extra: list[Cell]) -> list[Cell]:
    "The cells that define what an answer uses, directly or through others, in their order."
    wanted, found = used_names(source), []
    for cell in reversed(extra):
        if wanted & (bound(cell.source) | imported(cell.source)):
            wanted |= used_names(cell.source)
            found.insert(0, cell)
    return found


def imported(source: str) -> set[str]:
    "The names that a cell's imports bind."
    return {(a.asname or a.name).split('.')[0] for node in ast.walk(tree(source))
            if isinstance(node, (ast.Import, ast.ImportFrom)) for a in node.names}


def edited(course: Notebook, submission: Notebook) -> list[str]:
    "What the student changed in cells that are not theirs to change. It is put back."
    mine = {name(c) or c.id: c for c in submission.cells}
    notes = []
    for e in exercises(course):
        cell = mine.get(name(e.test))
        if cell is None:
            notes.append(f'the test of {e.name} was deleted')
        elif cell.source.strip() != e.test.source.strip():
            notes.append(f'the test of {e.name} was edited')
    return notes
