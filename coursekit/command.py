"""The course's command from plan to exit status: run, show, write the reports, keep the record."""
from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import results as record
from .exercises import graded, is_copy
from .plan import Options, Plan
from .progress import progress_for
from .records import BLOCKED, PASSED, SKIPPED, Result
from .report import Story, blocked_lines, claims_table, exercise_table, summary, totals
from .report_files import (annotation, line_in_file, mark, write_html, write_json,
                           write_junit)
from .runner import Run


@dataclass
class Outcome:
    "What `run_notebook` returns: results, the exit status, and what was told of each failure."
    results: list[Result]
    exit_status: int
    stories: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Result:
        "The result of a notebook, by its path or by its file name."
        return next(r for r in self.results if name in (r.notebook, Path(r.notebook).name))


def run(paths, options: Options, root=None, show=print) -> Outcome:
    "Carry out what the options ask for. Raises CourseError for a request that makes no sense."
    began, cpu = time.monotonic(), cpu_seconds()
    plan = Plan(paths, options, root)
    announce(plan, show)
    results, interrupted = carry_out(plan)
    if options.exercises:
        grade(plan, results)
    status = 130 if interrupted else exit_status(plan, results)
    change = Change(plan, results) if plan.is_course and not interrupted else None
    outcome = Outcome(results, 1 if change and change.drifted else status)
    for r in results:
        if went_wrong(r):
            outcome.stories[r.notebook] = story(plan, r).lines()
    tell(plan, outcome, time.monotonic() - began, cpu_seconds() - cpu, show)
    if plan.is_course:
        plan.history.save()
    if change:
        change.tell(show)
    write_files(plan, outcome, change, show)
    return outcome


def grade(plan: Plan, results: list[Result]):
    "Put the exercises of students' copies into the results."
    for r in results:
        notebook = plan.items[r.notebook].notebook
        if notebook is not None and is_copy(notebook):
            r.exercises = graded(notebook, r)


def went_wrong(result: Result) -> bool:
    "Is there a failure to tell of? That of a blocked notebook is another's."
    return not result.ok and result.outcome != BLOCKED


def story(plan: Plan, result: Result) -> Story:
    return Story(result, plan.items[result.notebook].notebook, plan.root)


def cpu_seconds() -> float:
    "CPU seconds of this process and all its children that have ended."
    return sum(os.times()[:4])


def announce(plan: Plan, show):
    "What is about to happen, where that is not plain."
    if plan.note:
        show(plan.note)
    if (reason := plan.engine()[1]) and plan.todo and not plan.options.scheduler:
        show(f'kernel engine: {reason}')
    if plan.options.changed:
        for key in plan.order:
            item = plan.items[key]
            what, why = ('skip', item.skip) if item.skip else ('run ', item.why or item.error)
            later = ', unless what it imports changes now' if plan.undecided(key) else ''
            show(f'  {what}  {key}: {why}{later}')


def carry_out(plan: Plan) -> tuple[list[Result], bool]:
    "-> the results, and whether the run was interrupted"
    with progress_for(plan) as progress:
        run = Run(plan, progress.event)

        async def main():
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            if threading.current_thread() is threading.main_thread() and os.name == 'posix':
                for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    loop.add_signal_handler(signum, task.cancel)
            ticker = asyncio.ensure_future(tick(progress))
            try:
                return await run.go()
            finally:
                ticker.cancel()

        results = in_fresh_loop(main)
    return results, run.interrupted


async def tick(progress):
    while True:
        await asyncio.sleep(0.125)
        progress.tick()


def in_fresh_loop(main):
    "asyncio.run, also from inside a notebook, where a loop is running already."
    if os.name == 'nt':  # zmq needs the kind of loop that can watch sockets
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(main())).result()


def exit_status(plan: Plan, results: list[Result]) -> int:
    "0 if nothing went wrong and something ran, or if all that could have run is up to date."
    if not all(r.ok and all(e['passed'] for e in r.exercises) for r in results):
        return 1
    if any(r.outcome == PASSED for r in results):
        return 0
    return 0 if results and any(plan.items[r.notebook].current for r in results) else 1


def tell(plan: Plan, outcome: Outcome, seconds: float, cpu: float, show):
    "Failures, then the tables."
    results = sorted(outcome.results, key=lambda r: plan.place(r.notebook))
    for lines in outcome.stories.values():
        show('')
        show('\n'.join(lines))
    if blocked := blocked_lines(results):
        show('\n' + '\n'.join(blocked))
    show('')
    for line in summary(results, plan.counts):
        show(line)
    for r in results:
        for note in r.notes:
            show(f'note: {r.notebook}: {note}')
    show('')
    if exercises := exercise_table(results):
        show('\n'.join([*exercises, '']))
    if claims := claims_table(record.entries(results)[0]):
        show('\n'.join([*claims, '']))
    if all(r.outcome == SKIPPED for r in results):
        show('nothing was run, which counts as a failure' if outcome.exit_status else
             'nothing to do: everything is up to date')
    show(totals(results, seconds, cpu))


class Change:
    "What a run means for results.json: it is written, or held against the run."

    def __init__(self, plan: Plan, results: list[Result]):
        self.new, self.moved, self.drifted, self.updated = [], [], [], False
        course = [r for r in results if plan.items[r.notebook].path.parent == plan.root / 'nbs']
        if not any(r.claims and r.outcome == PASSED for r in course):
            return
        old = record.read(plan.root)
        if (plan.options.inplace or plan.options.record
                or not (plan.root / 'results.json').exists()):
            new = record.merge(old, course, record.environment(plan.threads),
                               record.real_data(plan.root))
            self.updated = record.write(record.prune(new, plan.root), plan.root)
        else:
            self.new, self.moved, self.drifted = record.compare(old, course)

    def tell(self, show):
        if self.updated:
            show('results.json: updated')
        if self.new or self.moved:
            show(f"results.json: {len(self.new)} of this run's claims are new, {len(self.moved)} "
                 'have moved; --record puts them there')
        for pair in self.moved[:5]:
            show(f'  moved: {record.drift_text(*pair)}')
        for pair in self.drifted:
            show(f'DRIFTED  {record.drift_text(*pair)}')
        if self.drifted:
            show('a drift of more than 3 standard deviations fails the run; if it is meant, put it '
                 'on record with --record')


def write_files(plan: Plan, outcome: Outcome, change: Change | None, show):
    "The reports for machines that were asked for."
    options = plan.options
    if options.json:
        write_json(options.json, outcome.results, outcome.exit_status)
    if options.junit:
        write_junit(options.junit, outcome.results, outcome.stories)
    wanted = options.annotations
    if wanted if wanted is not None else os.environ.get('GITHUB_ACTIONS') == 'true':
        repository = os.environ.get('GITHUB_WORKSPACE', plan.root)
        for r in filter(went_wrong, outcome.results):
            path = plan.items[r.notebook].path
            show(annotation(r, path, repository, story(plan, r).line))
        for claim, old in change.drifted if change else ():
            path = plan.root / 'nbs' / claim['notebook']
            line = line_in_file(path, claim['cell'], None)
            show(mark(path, repository, line, 'a claim drifted', record.drift_text(claim, old)))
    if options.html:
        for r in outcome.results:
            if not r.ok and r.raw is not None:
                show(f'as far as it came: {write_html(options.html, r)}')
