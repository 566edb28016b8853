"""Execute notebooks as a test suite: `python run_notebook.py [PATH…]`."""
from __future__ import annotations

import asyncio
import os
import sys

from coursekit.notebook import CourseError, course_notebooks, find_root
from coursekit.runner import make_job, run_all


def report(kind, key, what):
    if kind == 'end':
        print(f'{what.outcome:8} {key} {what.seconds:.1f} s, {what.cpu_seconds:.1f} CPU s, {what.peak_mb:.0f} MB'
              + (f', cell {what.cell}: {what.message}' if what.message else ''), flush=True)
        if what.failure:
            print('\n'.join(what.failure.traceback))


def run_notebook(*paths, jobs=None, timeout=600, cell_timeout=None, inplace=False, mem_limit=None, root=None):
    root = find_root(paths[0] if paths else '.', root)
    paths = list(paths) or course_notebooks(root)
    n = int(jobs or min(os.cpu_count(), max(1, len(paths))))
    threads = max(1, os.cpu_count() // n)
    work = [make_job(p, root, timeout, cell_timeout, mem_limit, threads) for p in paths]
    results = asyncio.run(run_all(work, n, report, inplace, root))
    return 0 if results and all(r.ok for r in results) else 1


def main():
    import fire
    try:
        sys.exit(fire.Fire(run_notebook, serialize=lambda code: None) or 0)
    except CourseError as e:
        sys.exit(f'error: {e}')


if __name__ == '__main__':
    import fire
    code = []
    fire.Fire(lambda *a, **k: code.append(run_notebook(*a, **k)))
    sys.exit(code[0] if code else 0)
