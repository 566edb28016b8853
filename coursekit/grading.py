"""Grading a class: every submission in a process and a folder of its own, on the course's tests.

usage: python -m coursekit.grading SUBMISSIONS [options]

SUBMISSIONS holds a folder for each student, and in it notebooks, directly or in a folder for each
assignment (as in nbgrader's `submitted/`). Tests and given cells are always the course's own; of a
submission only its answers are run.

  --jobs N                so many at a time on this machine (default: one for each core)
  --scheduler HOST:PORT   on the workers of a dask.distributed cluster
  --csv F                 the gradebook: a row for each student, a column for each exercise
  --json F                everything: points, messages, notes, seconds
  --timeout S             seconds for a notebook (default: 5 times its budget, or 600)
  --cell-timeout S        seconds for a cell (default: 60; 0: no limit)
  --mem-limit GB          memory for a notebook and its subprocesses (default: 4; 0: no limit)
  --root DIR              the course's folder (default: the nearest above the current one)

exit status   0: every submission was graded, whatever it earned; 1: some were not, or the
              course's own answers do not pass here; 130: interrupted
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from . import processes
from .cluster import ClusterPool, Files
from .command import in_fresh_loop
from .discovery import skipped_cells
from .engine_fork import PARENT_DIED, available
from .exercises import exercises
from .grading_report import tell, write_csv, write_json
from .graph import Graph
from .notebook import CourseError, Notebook, course_notebooks, find_root, load, parse
from .plan import TOOLS, Item, Options, Plan, preloads
from .records import CRASHED, ERROR, PASSED, Job, Result
from .report import word
from .restore import Restored, restored
from .runner import Pool, Run

REFERENCE = '(the course)'  # whose answers are graded first, to see that the tests pass here at all
CELL_TIMEOUT, MEM_LIMIT = 60, 4
PATIENCE = 60  # seconds beyond its own limit after which a submission's parent must be frozen
KILLED_PARENT = 'it killed the process that runs it'


@dataclass
class Submission:
    """One student's notebook. `content`: its bytes, read before anything runs; `problem`: why it
    cannot be graded."""
    student: str
    path: Path
    content: bytes = b''
    course: Notebook | None = None
    graded: Restored | None = None
    problem: str = ''
    known: dict = field(default_factory=dict)
    marks: list = field(default_factory=list)
    result: Result | None = None

    @property
    def notebook(self) -> str:
        "The course's notebook that it answers."
        return self.course.path.stem if self.course else self.path.stem

    @property
    def key(self) -> str:
        return f'{self.student}/{self.notebook}'

    @property
    def notes(self) -> list[str]:
        return self.graded.notes if self.graded else []

    @property
    def faults(self) -> dict[int, str]:
        "What given cells raised that should not, by their number in the course's notebook."
        raised = self.result.raised if self.result else {}
        return {there: raised[str(here)] for here, there in self.graded.given.items()
                if str(here) in raised}

    @property
    def points(self) -> float:
        return sum(m['points'] for m in self.marks)


# Collecting

def collect(folder, root) -> list[Submission]:
    """The submissions in a folder, matched to the course's notebooks.

    Raises CourseError if the folder holds none. A submission that cannot be graded says why.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f'{folder}: there is no such folder of submissions')
    found = [submission(path, folder) for path in notebooks_in(folder)]
    if not found:
        raise CourseError(f'{folder}: holds no submission; STUDENT/NOTEBOOK.ipynb or '
                          'STUDENT/ASSIGNMENT/NOTEBOOK.ipynb is looked for')
    chapters = {p.stem: load(p) for p in course_notebooks(root)}
    chapters = {stem: nb for stem, nb in chapters.items() if exercises(nb)}
    for one in found:
        match(one, chapters)
    refuse_twins(found)
    return found


def notebooks_in(folder: Path) -> list[Path]:
    paths = (p for p in folder.rglob('*.ipynb') if len(p.relative_to(folder).parts) in (2, 3))
    return sorted(p for p in paths
                  if not any(part.startswith('.') for part in p.relative_to(folder).parts))


def submission(path: Path, folder: Path) -> Submission:
    one = Submission(path.relative_to(folder).parts[0], path)
    if path.resolve() != folder.resolve() / path.relative_to(folder):
        one.problem = 'is a link, and those are not followed'
    else:
        try:
            one.content = path.read_bytes()
        except OSError as e:
            one.problem = f'cannot be read ({e.strerror})'
    return one


def match(one: Submission, chapters: dict[str, Notebook]):
    "Find the chapter that a submission answers: by the names of its exercises, else by its own."
    one.course = chapters.get(one.path.stem)
    if one.problem:
        return
    try:
        given = loaded(one)
        names = {(c.metadata.get('nbgrader') or {}).get('grade_id') for c in given.cells}
        counts = {stem: len(names & {e.name for e in exercises(nb)})
                  for stem, nb in chapters.items()}
        best = max(counts, key=counts.get, default=None)
        if best and counts[best]:
            one.course = chapters[best]
        if one.course is None:
            one.problem = 'answers no exercise of the course, and no notebook of it has this name'
            return
        one.graded = restored(one.course, given)
    except (CourseError, AttributeError, TypeError, ValueError) as e:
        one.problem = str(e).removeprefix(f'{one.path}: ')


def loaded(one: Submission) -> Notebook:
    "A submission as a notebook, from the bytes that were read at the beginning."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / one.path.name
        copy.write_bytes(one.content)
        try:
            return parse(load(copy).raw, one.path)
        except CourseError as e:
            raise CourseError(str(e).replace(str(copy), str(one.path))) from None


def refuse_twins(found: list[Submission]):
    "Two notebooks of one student for one chapter: which is meant?"
    groups = {}
    for one in found:
        groups.setdefault((one.student, one.notebook), []).append(one)
    for group in groups.values():
        for one in group if len(group) > 1 else ():
            others = ', '.join(f'{o.path.parent.name}/{o.path.name}' for o in group if o is not one)
            one.problem = f'not graded: the same student also handed in {others}; remove one'


# Running

class NoHistory:
    "Grading leaves no record with the course, and needs none."

    def add(self, result, parts):
        pass

    def seconds(self, key):
        return None

    def failed(self, key):
        return False


class ClassPlan(Plan):
    "The submissions as a runner's plan: they need nothing of each other."

    def __init__(self, submissions: list[Submission], options: Options, root):
        self.options, self.root, self.is_course = options, Path(root), True
        self.history, self.by_key = NoHistory(), {s.key: s for s in submissions}
        self.items = {key: self.item_of(one) for key, one in self.by_key.items()}
        self.graph = Graph({k: i.notebook for k, i in self.items.items()}, self.root)
        self.order = self.todo = list(self.items)
        self.jobs = max(1, min(options.jobs or processes.cores(), len(self.todo)))
        self.threads = max(1, processes.cores() // self.jobs)

    def item_of(self, one: Submission) -> Item:
        notebook = one.graded.notebook
        return Item(one.key, one.course.path, notebook, notebook,
                    skip_cells=skipped_cells(notebook, self.options.skip))

    def needs(self, key):
        return []

    def fingerprint(self, key):
        return {}

    def without(self, key, place) -> Job:
        "The job again, one answer taken out."
        item = self.items[key]
        item.notebook = item.saved = self.by_key[key].graded.without(place)
        return self.job(key)


class ClassFiles(Files):
    """What a submission may see of the course: modules and small data, and no other notebook, as
    these hold the answers. All is read once, before the first submission runs."""
    notebooks = {}

    def __init__(self, plan: Plan):
        super().__init__(plan)
        self.common = None

    def contents(self, job: Job) -> dict[str, bytes]:
        path = Path(job.path)
        if self.common is None:
            self.common = super().contents(job)
            self.common.pop(self.name(path))
        raw = self.plan.items[job.key].notebook.raw
        return {**self.common, self.name(path): json.dumps(raw).encode()}


class ParentGone(Exception):
    "A submission killed the process from which all are forked, or froze it."


class ForkedPool(Pool):
    """A pool that says so when its parent is gone. Its kernel engine would run submissions as
    children of this very process, which the next one would kill."""

    async def kernels(self):
        if self.engine == 'fork' and self.first.refused == PARENT_DIED:
            raise ParentGone
        return await super().kernels()


class Retrying:
    "When an answer ends the whole notebook, the others are judged in another run without it."

    async def run(self, job: Job, report=lambda *event: None, deadline=None) -> Result:
        one, spent = self.plan.by_key[job.key], [0.0, 0.0]
        while True:
            result = await super().run(job, report, deadline)
            spent = [spent[0] + result.seconds, spent[1] + result.cpu_seconds]
            place = one.graded.culprit(result)
            if result.outcome in (PASSED, ERROR) or not place or place.exercise.name in one.known:
                break
            one.known[place.exercise.name] = f'{word(result.outcome)}: {result.message}'
            job = self.plan.without(job.key, place)
        result.seconds, result.cpu_seconds = spent
        return result


class LocalPool:
    "Each submission in a private folder; a parent that one of them kills is replaced."

    def __init__(self, plan: ClassPlan):
        self.plan, self.files = plan, ClassFiles(plan)
        self.pools, self.pool, self.lock = [], None, asyncio.Lock()

    async def __aenter__(self):
        self.pool = await self.open()
        return self

    async def __aexit__(self, *exc):
        for pool in self.pools:
            await pool.__aexit__(None, None, None)

    async def open(self) -> ForkedPool:
        libraries = self.plan.graph.libraries()
        pool = ForkedPool('fork', preloads(libraries), self.plan.env(), self.plan.root)
        self.pools.append(await pool.__aenter__())
        return pool

    async def run(self, job: Job, report, deadline) -> Result:
        pool = self.pool
        try:
            return await self.attempt(pool, job, report)
        except ParentGone:
            async with self.lock:  # alone, so that whoever does it again is known
                if self.pool is pool:
                    self.pool = await self.open()
                try:
                    return await self.attempt(await self.open(), job, report)
                except ParentGone:
                    return Result(job.key, CRASHED, message=KILLED_PARENT)

    async def attempt(self, pool: ForkedPool, job: Job, report) -> Result:
        "Run it in a folder that holds what it needs, and is removed."
        folder = Path(tempfile.mkdtemp(prefix='ck')).resolve()
        try:
            for name, content in self.files.contents(job).items():
                if name in self.files.runner:  # it is here already
                    continue
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            path = folder / self.files.name(Path(job.path))
            paths = os.pathsep.join([str(folder / 'course'), str(TOOLS)])
            here = replace(job, path=str(path), cwd=str(path.parent),
                           env={**job.env, 'PYTHONPATH': paths})
            limit = job.timeout + PATIENCE if job.timeout else None
            return await asyncio.wait_for(pool.run(here, report), limit)
        except TimeoutError:
            raise ParentGone from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Here(Retrying, LocalPool):
    pass


class OnCluster(Retrying, ClusterPool):
    def __init__(self, plan: ClassPlan):
        super().__init__(plan)
        self.files = ClassFiles(plan)


# The whole

@dataclass
class Grades:
    "What came of it. `reference`: the course's own answers, graded in the same way."
    submissions: list[Submission]
    reference: list[Submission]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    interrupted: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        if self.interrupted:
            return 130
        fine = all(s.result for s in self.submissions) and not self.warnings
        return 0 if fine and all(m['passed'] for s in self.reference for m in s.marks) else 1


def grade(folder, options: Options | None = None, root=None, show=print) -> Grades:
    """Grade every submission in a folder. Raises CourseError for a request that makes no sense.

    A test that the course's own answer does not pass here is told of; points for it mean nothing.
    """
    options = options or Options(cell_timeout=CELL_TIMEOUT, mem_limit=MEM_LIMIT)
    if not options.scheduler and (reason := available()):
        raise CourseError(f'{reason}: grade in a container, or on a cluster with --scheduler')
    began, cpu = time.monotonic(), sum(os.times()[:4])
    root = find_root(root=root)
    found = collect(folder, root)
    grades = Grades(found, references(found))
    ready = [s for s in (*grades.reference, *found) if not s.problem]
    show(f'{len(found)} submissions, {len(found) - len(ready) + len(grades.reference)} of them not '
         'to be graded' if len(ready) < len(found) + len(grades.reference) else
         f'{len(found)} submissions')
    if ready:
        carry_out(ClassPlan(ready, options, root), grades, show)
    for one in found:
        if one.course and not one.marks:
            one.marks = [{'exercise': e.name, 'points': 0, 'max': e.points, 'passed': False,
                          'message': one.problem} for e in exercises(one.course)]
    check_files(grades)
    grades.seconds, grades.cpu_seconds = time.monotonic() - began, sum(os.times()[:4]) - cpu
    return grades


def references(found: list[Submission]) -> list[Submission]:
    "The course's own answers to each notebook that is graded, as one more submission."
    chapters = {s.course.path: s.course for s in found if s.graded}
    return [Submission(REFERENCE, path, course=nb, graded=restored(nb, nb))
            for path, nb in chapters.items()]


def carry_out(plan: ClassPlan, grades: Grades, show):
    "Run the submissions, and give each its marks as soon as it is through."
    pool = OnCluster(plan) if plan.options.scheduler else None

    def event(kind, key, what=None):
        if kind == 'end':
            one = plan.by_key[key]
            one.marks = one.graded.marks(what, one.known)
            if what.outcome == ERROR:
                one.problem = what.message
            else:
                one.result = what
            show(f'{key}: {one.points:g} of {sum(m["max"] for m in one.marks):g} points')

    async def main():
        run = Run(plan, event, pool or Here(plan))
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(signum, task.cancel)
        await run.go()
        grades.interrupted = run.interrupted

    in_fresh_loop(main)


def check_files(grades: Grades):
    "Did a submission touch another one's file? What was deleted is put back."
    for one in grades.submissions:
        if one.content and not one.path.exists():
            one.path.parent.mkdir(parents=True, exist_ok=True)
            one.path.write_bytes(one.content)
            grades.warnings.append(f'{one.path} was deleted while grading ran; it was put back')
        elif one.content and one.path.read_bytes() != one.content:
            grades.warnings.append(f'{one.path} was changed while grading ran; what had been '
                                   'handed in before was graded')


def options_of(args) -> Options:
    "Raises CourseError for a limit that is none."
    for name in ('timeout', 'cell_timeout', 'mem_limit'):
        if (value := getattr(args, name)) is not None and not value >= 0:
            raise CourseError(f'--{name.replace("_", "-")} {value}: must not be negative')
    if args.jobs is not None and args.jobs < 1:
        raise CourseError(f'--jobs {args.jobs}: a whole number above 0 is needed')
    return Options(jobs=args.jobs, timeout=args.timeout, cell_timeout=args.cell_timeout,
                   mem_limit=args.mem_limit, scheduler=args.scheduler)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog='python -m coursekit.grading', usage=argparse.SUPPRESS,
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                description=__doc__, add_help=True, allow_abbrev=False)
    p.add_argument('submissions', help=argparse.SUPPRESS)
    for flag, kind, default in (
            ('jobs', int, None), ('scheduler', str, None), ('csv', Path, None),
            ('json', Path, None), ('timeout', float, None),
            ('cell-timeout', float, CELL_TIMEOUT),
            ('mem-limit', float, MEM_LIMIT), ('root', Path, None)):
        p.add_argument(f'--{flag}', f'--{flag.replace("-", "_")}', type=kind, default=default,
                       help=argparse.SUPPRESS)
    return p


def main(argv=None) -> int:
    args = parser().parse_args(argv)
    processes.adopt_orphans()
    try:
        grades = grade(args.submissions, options_of(args), args.root, partial(print, flush=True))
        tell(grades, partial(print, flush=True))
        if args.csv:
            write_csv(args.csv, grades)
        if args.json:
            write_json(args.json, grades)
        return grades.exit_status
    except (CourseError, OSError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 1
    finally:
        processes.end_descendants()


if __name__ == '__main__':
    sys.exit(main())
