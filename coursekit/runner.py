"""Runs a plan: several notebooks at a time, each after those it builds on.

What one notebook does never costs another its result.
"""
from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from .engine_fork import CannotFork, ForkEngine
from .engine_kernel import KernelEngine
from .notebook import CourseError, load
from .outputs import Scrubber, save, stored, tidy
from .plan import Plan, preloads
from .records import BLOCKED, ERROR, PASSED, SKIPPED, TIMEOUT, WORDS, Job, Result
from .session import Session


class Pool:
    """Runs jobs and returns results: `async with Pool(...) as pool: await pool.run(job)`.

    Both are data. It knows nothing of plans and files, so it can as well stand on another machine.
    A job that the fork engine cannot take runs on the kernel engine, started when first needed.
    """

    def __init__(self, engine: str, modules=(), env=None, root='.'):
        self.engine, self.modules, self.env = engine, modules, env or {}
        self.scrub = Scrubber(root)
        self.stack, self.sessions = AsyncExitStack(), set()
        self.kernel = None

    async def __aenter__(self):
        await self.stack.__aenter__()
        if self.engine == 'fork':
            self.first = await self.stack.enter_async_context(ForkEngine(self.modules, self.env))
        else:
            self.first = await self.kernels()
        return self

    async def __aexit__(self, *exc):
        for session in self.sessions:
            session.kill()
        return await self.stack.__aexit__(*exc)

    async def kernels(self) -> KernelEngine:
        if self.kernel is None:
            self.kernel = await self.stack.enter_async_context(KernelEngine())
        return self.kernel

    async def run(self, job: Job, report=lambda *event: None,
                  deadline: float | None = None) -> Result:
        "Run one notebook. An error of the tool itself is a result like any other."
        engine, notes = self.first, []
        try:
            session = await self.live(engine, Session(job, report, deadline))
        except CannotFork as e:
            notes.append(f'ran on the kernel engine: {e}')
            engine = await self.kernels()
            session = await self.live(engine, Session(job, report, deadline))
        result = session.result(engine.name)
        result.notes += notes
        outputs = {n: tidy(outs, self.scrub) for n, outs in session.outputs.items()}
        result.raw = stored(job.raw, outputs, session.counts, job.skip)
        return result

    async def live(self, engine, session: Session) -> Session:
        self.sessions.add(session)
        try:
            await engine.run(session.job, session)
        except CannotFork:
            raise
        except Exception as e:
            session.kill()
            session.finished(None)
            if session.verdict()[0] == ERROR:
                session.breach = (ERROR, f'the runner failed: {type(e).__name__}: {e}')
        except asyncio.CancelledError:
            session.kill()
            raise
        finally:
            self.sessions.discard(session)
        return session


def run_contents(jobs: list[dict], n_jobs: int = 1, **pool) -> list[dict]:
    """Run notebooks given as data (`Job.as_dict`); return their results as data, in their order.

    `pool`: the arguments of `Pool`. It knows nothing of the course beyond what the jobs name.
    """
    async def main():
        gate = asyncio.Semaphore(n_jobs)

        async def one(job):
            async with gate:
                return (await workers.run(Job.from_dict(job))).as_dict()

        async with Pool(**pool) as workers:
            return await asyncio.gather(*map(one, jobs))

    return asyncio.run(main())


def pool_for(plan: Plan) -> Pool:
    "The pool a plan asks for, its warm parent loaded with what the notebooks to be run import."
    if plan.options.scheduler:
        from .cluster import ClusterPool
        return ClusterPool(plan)
    engine, _ = plan.engine()
    libraries = set().union(*(plan.graph.reached[k][1] for k in plan.todo))
    folders = {plan.items[k].path.parent for k in plan.todo}
    return Pool(engine, preloads(libraries, folders), plan.env(), plan.root)


class Run:
    "A plan being carried out."

    def __init__(self, plan: Plan, report=lambda *event: None, pool=None):
        "`pool`: to be used in the place of a new one."
        self.plan, self.options, self.report, self.pool = plan, plan.options, report, pool
        self.results: dict[str, Result] = {}
        self.parts: dict[str, dict] = {}
        self.interrupted = False

    async def go(self) -> list[Result]:
        "Run everything that can be run. -> a result for every notebook of the plan, in its order"
        began = time.monotonic()
        self.deadline = began + self.options.run_timeout if self.options.run_timeout else None
        for key in self.plan.order:
            self.decide_early(key)
        try:
            if any(k not in self.results for k in self.plan.order):
                async with self.pool or pool_for(self.plan) as pool:
                    await self.all(pool)
        except asyncio.CancelledError:
            self.interrupted = True
            for key in self.plan.order:
                if key not in self.results:
                    self.end(Result(key, ERROR, message='interrupted before it was through'))
        return [self.results[key] for key in self.plan.order]

    def decide_early(self, key: str):
        "Results that need no running: what cannot be read, and what is to be skipped."
        item = self.plan.items[key]
        if item.error:
            self.end(Result(key, ERROR, message=item.error))
        elif item.skip and not self.plan.undecided(key):
            self.end(Result(key, SKIPPED, message=item.skip))

    async def all(self, pool: Pool):
        waiting, running = [k for k in self.plan.order if k not in self.results], {}
        try:
            while waiting or running:
                for key in list(waiting):
                    ready = all(k in self.results for k in self.plan.needs(key))
                    if ready and len(running) < self.plan.jobs:
                        waiting.remove(key)
                        if not (self.blocked(key) or self.still_unchanged(key)):
                            running[asyncio.ensure_future(self.one(pool, key))] = key
                if running:
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        del running[task]
                        task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def blocked(self, key: str) -> bool:
        "Has something this notebook builds on gone wrong? Then that is its result."
        bad = [k for k in self.plan.needs(key) if not self.results[k].ok]
        if not bad:
            return False
        roots = [k for k in bad if self.results[k].outcome != BLOCKED] or bad
        outcomes = {Path(k).name: self.results[k].outcome for k in roots}
        what = ', '.join(f'{name} ({WORDS.get(o, o)})' for name, o in outcomes.items())
        self.end(Result(key, BLOCKED, message=f'blocked by {what}'))
        return True

    def still_unchanged(self, key: str) -> bool:
        "For --changed: have the notebooks run so far left the modules it imports as they were?"
        item = self.plan.items[key]
        if item.current:
            self.plan.leave_out_if_unchanged(key)
            if item.current:
                self.end(Result(key, SKIPPED, message=item.skip))
        return item.current

    async def one(self, pool: Pool, key: str):
        if self.deadline and time.monotonic() > self.deadline:
            why = 'not started: the time for the whole run was up (--run-timeout)'
            self.end(Result(key, TIMEOUT, message=why))
            return
        self.report('start', key)
        self.parts[key] = self.plan.fingerprint(key)
        result = await pool.run(self.plan.job(key), self.report, self.deadline)
        item = self.plan.items[key]
        if item.budget and result.outcome == PASSED and result.seconds > item.budget:
            result.notes.append(f'took {result.seconds:.0f} s; its budget is {item.budget:g} s')
        if self.options.inplace and result.outcome == PASSED:
            self.save(item, result)
        if not (self.options.html and not result.ok):
            result.raw = None
        self.end(result)

    def save(self, item, result):
        "Put the outputs into the notebook, unless somebody changed it meanwhile."
        try:
            if load(item.path).raw == item.saved.raw:
                save(result.raw, item.path)
                return
            why = 'the file was changed meanwhile and is left alone'
        except (OSError, CourseError, ValueError) as e:
            why = f'its outputs could not be saved: {e}'
        result.outcome, result.message = ERROR, f'it passed, but {why}'

    def end(self, result: Result):
        self.results[result.notebook] = result
        if result.notebook in self.parts:
            self.plan.history.add(result, self.parts[result.notebook])
        elif result.outcome == BLOCKED:
            self.plan.history.add(result, {})
        self.report('end', result.notebook, result)
