"""Do both engines store the same outputs? Checked cell by cell, on the course itself.

    python bench/parity.py [PATH…]

Each notebook runs twice forked and once in a real kernel. A cell whose outputs differ between the
two forked runs holds something that changes from run to run, such as a time; all others must be
the same in the kernel, byte for byte. Exit status 1 if they are not.
"""
from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coursekit.plan import Options, Plan  # noqa: E402
from coursekit.runner import pool_for  # noqa: E402


async def run(paths, engine: str) -> dict:
    "Notebook -> result, in reading order, one at a time."
    plan = Plan(paths, Options(engine=engine, jobs=2, timeout=0))
    results = {}
    async with pool_for(plan) as pool:
        for key in plan.order:
            results[key] = await pool.run(plan.job(key))
            print(f'{engine:7} {key}: {results[key].outcome} in {results[key].seconds:.1f} s',
                  file=sys.stderr, flush=True)
    return results


def outputs(result) -> list[str]:
    return [json.dumps(c.get('outputs'), sort_keys=True) for c in result.raw['cells']]


def compare(first, second, kernel) -> tuple[int, list[int], list[int]]:
    "-> cells that were compared, numbers of those that vary by themselves, of those that differ"
    varying, differing = [], []
    rows = list(zip(outputs(first), outputs(second), outputs(kernel)))
    for number, (a, b, k) in enumerate(rows, 1):
        if a != b:
            varying.append(number)
        elif a != k:
            differing.append(number)
    return len(rows) - len(varying), varying, differing


def main():
    paths = sys.argv[1:]
    first, second, kernel = (asyncio.run(run(paths, e)) for e in ('fork', 'fork', 'kernel'))
    wrong = False
    for key in first:
        same = [r[key].outcome for r in (first, second, kernel)]
        n, varying, differing = compare(first[key], second[key], kernel[key])
        wrong |= bool(differing) or len(set(same)) > 1
        print(f'{key}: {"/".join(dict.fromkeys(same))}, {n} cells compared, '
              f'{len(varying)} vary by themselves, {len(differing)} differ: {differing or "none"}')
    sys.exit(wrong)


if __name__ == '__main__':
    main()
