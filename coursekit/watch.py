"""`--watch`: whenever something is saved, run what that reaches, and tell of a failure at once.

A saved notebook is exported first, so that those which import its module see the change. A save
during a run ends that run and begins the next: what had passed by then is on record and stays so.
"""
from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from copy import copy
from dataclasses import replace
from pathlib import Path

from . import runner
from .cache import versions
from .command import (Change, Outcome, cpu_seconds, exit_status, grade, in_fresh_loop, story, tick,
                      went_wrong, write_files)
from .discovery import root_of
from .engine_fork import PARENT_DIED
from .export import export
from .notebook import CourseError
from .plan import Options, Plan
from .progress import progress_for
from .records import BLOCKED, SKIPPED, Result
from .report import exercise_table, totals, word
from .runner import Run
from .saves import PAUSE, Saves

STOPS = 'SIGINT', 'SIGTERM', 'SIGHUP'


def watch(paths, options: Options, root=None, show=print) -> Outcome:
    "Run, wait for saves, run again, until Ctrl-C. -> what the last run came to; its status is 0"
    watcher = Watcher(paths, options, root, show)

    async def main():
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        if threading.current_thread() is threading.main_thread() and os.name == 'posix':
            for name in STOPS:
                loop.add_signal_handler(getattr(signal, name), stop.set)
        await watcher.go(stop)

    in_fresh_loop(main)
    watcher.say('stopped watching')
    return Outcome(watcher.results, 0)


class WatchPlan(Plan):
    """A plan in which what was just saved comes first.

    It does not wait for notebooks that are merely yet to be run, on the first day nearly all of
    them; only for those that were saved too, and for those that failed.
    """
    saved = frozenset()

    def prefer(self, paths):
        "The notebooks saved, and what they wait for, come before all others."
        self.saved = {k for k, item in self.items.items() if item.path in paths}
        first = self.saved.union(*map(self.needs, self.saved))
        self.order.sort(key=lambda key: key not in first)  # within each half the order stays

    def needs(self, key: str) -> list[str]:
        needed = super().needs(key)
        if key not in self.saved:
            return needed
        return [k for k in needed if k in self.saved or self.history.failed(k)]

    def builds_on(self, key: str) -> list[str]:
        "The notebooks that have to wait until this one passes, in reading order."
        users = (k for k, needed in self.graph.needs.items() if key in needed)
        return sorted((k for k in users if k not in self.saved), key=self.place)


class Watcher:
    "Looks for saves, and runs what they reach."

    def __init__(self, paths, options: Options, root=None, show=print):
        self.paths, self.show, self.results = list(paths), show, []
        self.options = replace(options, changed=True)
        self.root = root_of(paths, root)
        self.is_course = (self.root / 'nbs').is_dir()
        self.saves = Saves(self.root, paths)
        self.progress = self.when = None
        self.kept = Kept()

    def say(self, text: str):
        "Show a text, above the table of what is running if there is one."
        (self.progress.say if self.progress else self.show)(text)
        if sys.stdout:
            sys.stdout.flush()

    async def go(self, stop: asyncio.Event, pause: float = PAUSE):
        "Until `stop` is set."
        stopped, run, saved = asyncio.ensure_future(stop.wait()), None, []
        if self.is_course:
            self.export([])
        due = True
        try:
            while not stop.is_set():
                if due:
                    run, due = asyncio.ensure_future(self.round(saved)), False
                await asyncio.wait({stopped, run} if run else {stopped}, timeout=pause,
                                   return_when=asyncio.FIRST_COMPLETED)
                if run and run.done():
                    run = run.result()
                if changed := self.look():
                    await ended(run)
                    saved, due = changed, True
        finally:
            stopped.cancel()
            await ended(run)
            await self.kept.close()

    def look(self) -> list[Path]:
        "Export what was saved. -> the files in which something changed that counts for a run"
        saved, changed = self.saves.look()
        for path in sorted({*saved, *changed}):
            if path in changed:
                self.say(f'\n{clock()} {path.name} {"was saved" if path.exists() else "is gone"}')
            elif not self.options.inplace:  # which saves them itself
                self.say(f'{clock()} {path.name} was saved; nothing that runs has changed')
        if mine := [p for p in saved if p.parent == self.root / 'nbs' and p.exists()]:
            self.export(mine)
        return changed

    def export(self, paths):
        "What a notebook's last cell does: bring the modules up to date, or say why that cannot be."
        try:
            report = export(paths, self.root)
            for line in report.lines if paths else report.news:
                if not line.endswith('nothing to export'):
                    self.say(line)
        except CourseError as e:
            self.say(f'not exported:\n{e}')
        except OSError as e:
            self.say(f'not exported: {e}')
        self.saves.made()

    async def round(self, saved: list[Path]):
        "Run what changed. It may be cancelled at any time."
        try:
            if await self.attempt(saved):
                self.say(f'{clock()} watching; Ctrl-C stops')
        except (CourseError, OSError) as e:  # the next save may mend it
            self.say(f'error: {e}\n{clock()} watching; Ctrl-C stops')

    async def attempt(self, saved: list[Path]) -> bool:
        "Plan and run. -> False if it was cancelled"
        self.when = max((p.stat().st_mtime for p in saved if p.exists()), default=None)
        began, cpu = time.monotonic(), cpu_seconds()
        plan = WatchPlan(self.paths, self.options, self.root)
        plan.prefer(saved)
        kept = None if self.options.scheduler else self.kept
        if kept:
            await kept.prepare(plan)
        for key in plan.todo:
            self.say(f'  run   {key}: {plan.items[key].why or plan.items[key].error}')
        outcome = await self.carry_out(plan, kept)
        if plan.is_course:
            plan.history.save()
        if outcome is None:
            return False
        self.results = outcome.results
        self.conclude(plan, outcome, time.monotonic() - began, cpu_seconds() - cpu)
        return True

    async def carry_out(self, plan: WatchPlan, kept: Kept | None) -> Outcome | None:
        "Run it, telling of each failure as it happens. -> None if it was cancelled"
        outcome = Outcome([], 1)
        with progress_for(plan) as self.progress:
            run = Run(plan, lambda *event: self.event(plan, run, outcome, *event), kept)
            ticker = asyncio.ensure_future(tick(self.progress))
            try:
                outcome.results = await run.go()
            finally:
                ticker.cancel()
                self.progress, progress = None, self.progress
        return None if run.interrupted else outcome

    def event(self, plan, run, outcome, kind, key, what=None):
        "What the run tells, on its way to the progress display."
        if run.interrupted:
            return
        told = kind == 'end' and what.outcome == BLOCKED  # with what blocks it
        if not told:
            self.progress.event(kind, key, what)
        if kind == 'end' and went_wrong(what):
            if self.options.exercises:
                grade(plan, [what])
            outcome.stories[key] = story(plan, what).lines()
            self.say('\n'.join(['', *outcome.stories[key], *self.blocked(plan, what), '']))

    def blocked(self, plan: WatchPlan, result: Result) -> list[str]:
        "Which notebooks a failure keeps from running, and how soon it was known."
        names = [Path(k).stem for k in plan.builds_on(result.notebook)]
        by = f'{Path(result.notebook).name} ({word(result.outcome)})'
        lines = [f'BLOCKED  {", ".join(names)}: by {by}'] if names else []
        if self.when:
            lines.append(f'{clock()} told {time.time() - self.when:.1f} s after the save')
        return lines

    def conclude(self, plan: Plan, outcome: Outcome, seconds: float, cpu: float):
        "The end of a run: notes, exercises, reports, and what it came to."
        if self.options.exercises:
            grade(plan, outcome.results)
        change = Change(plan, outcome.results) if plan.is_course else None
        outcome.exit_status = 1 if change and change.drifted else exit_status(plan, outcome.results)
        for r in outcome.results:
            for note in r.notes:
                self.say(f'note: {r.notebook}: {note}')
        for line in exercise_table([r for r in outcome.results if r.outcome != SKIPPED]):
            self.say(line)
        if change:
            change.tell(self.say)
        write_files(plan, outcome, change, self.say)
        if all(r.outcome == SKIPPED for r in outcome.results):
            self.say('everything is up to date')
        else:
            self.say(totals(outcome.results, seconds, cpu))


class Kept:
    """A pool kept from run to run, so that the libraries are imported once, before anybody saves.
    To a `Run` it is a pool that is opened and closed."""

    def __init__(self):
        self.opening = self.pool = self.made_of = None

    async def prepare(self, plan: Plan):
        "Begin to open a pool for all notebooks of this plan, unless the one there will do."
        made_of = plan.graph.libraries(), plan.engine(), versions()
        if self.opening and not self.dead() and made_of == self.made_of:
            return
        await self.close()
        self.made_of, everything = made_of, copy(plan)
        everything.todo = [k for k in plan.order if not plan.items[k].error]
        self.pool = runner.pool_for(everything)
        self.opening = asyncio.ensure_future(self.pool.__aenter__())

    def dead(self) -> bool:
        "Did the process end that forks the notebooks?"
        return getattr(getattr(self.pool, 'first', None), 'refused', '') == PARENT_DIED

    async def close(self):
        if self.opening:
            opening, self.opening = self.opening, None
            opening.cancel()
            await asyncio.wait({opening})
            if not opening.cancelled() and not opening.exception():
                await self.pool.__aexit__(None, None, None)

    async def __aenter__(self):
        return await asyncio.shield(self.opening)  # who does not wait for it any more leaves it be

    async def __aexit__(self, *exc):
        pass


async def ended(run: asyncio.Future | None):
    "Cancel a run, and wait until its processes are gone."
    if run is not None and not run.done():
        run.cancel()
        await asyncio.wait({run})
    if run is not None and not run.cancelled():
        run.result()


def clock() -> str:
    return time.strftime('%H:%M:%S')
