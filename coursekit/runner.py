"""Runs a list of notebooks: in order, several at a time, each in an engine; what one does never costs another."""
from __future__ import annotations

import asyncio
import os
from pathlib import Path

from .engine_kernel import KernelEngine
from .notebook import load
from .outputs import Scrubber, save, stored, tidy
from .records import ERROR, PASSED, Job, Result
from .session import Session

TOOLS = Path(__file__).resolve().parent.parent


def make_job(path, root, timeout=None, cell_timeout=None, mem_limit=None, threads=1) -> Job:
    path = Path(path).absolute()
    nb = load(path)
    key = os.path.relpath(path, root)
    paths = [str(root), str(TOOLS)] + [p for p in os.environ.get('PYTHONPATH', '').split(os.pathsep) if p]
    env = {'PYTHONPATH': os.pathsep.join(dict.fromkeys(paths))}
    for name in ('OMP', 'MKL', 'OPENBLAS', 'NUMEXPR', 'NUMBA'):
        env[f'{name}_NUM_THREADS'] = str(threads)
    return Job(key, str(path), nb.raw, str(path.parent), env, {}, timeout, cell_timeout, mem_limit)


async def run_one(engine, job: Job, report) -> tuple[Result, Session]:
    session = Session(job, report)
    try:
        await engine.run(job, session)
    except Exception as e:
        if session.verdict()[0] == ERROR:
            session.breach = (ERROR, f'{type(e).__name__}: {e}')
    return session.result(engine.name), session


async def run_all(jobs, n_jobs, report, inplace=False, root='.'):
    scrub = Scrubber(root)
    gate = asyncio.Semaphore(n_jobs)
    results = {}
    async with KernelEngine(None) as engine:
        async def one(job):
            async with gate:
                report('start', job.key, None)
                res, session = await run_one(engine, job, report)
                outputs = {n: tidy(o, scrub) for n, o in session.outputs.items()}
                res.raw = stored(job.raw, outputs, session.counts)
                if inplace and res.outcome == PASSED:
                    save(res.raw, job.path)
                results[job.key] = res
                report('end', job.key, res)
        await asyncio.gather(*(one(j) for j in jobs))
    return [results[j.key] for j in jobs]
