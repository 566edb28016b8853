"""How long grading a class takes: generated submissions of a light notebook, on two workers.

    python bench/grading.py [--sizes 10,50,200] [--only local,dask]

Of ten submissions five are right, two are stubs, one is half right, one tries to cheat and one
ends its own process. `local`: --jobs 2, forked from one process; `dask`: a scheduler and two
workers with one thread each, started here, where each submission gets a process that imports
everything anew. CPU seconds are those of everything, the workers' included.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import psutil
from corpus import ROOT

ENV = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
KINDS = ['good'] * 5 + ['stub'] * 2 + ['half', 'cheat', 'crash']
ANSWERS = {'good': ('return 2 * x', 'return sorted(xs)[len(xs) // 2]'),
           'stub': ('raise NotImplementedError()',) * 2,
           'half': ('return 2 * x', 'return xs[0]'),
           'cheat': ('return 7\nimport exp.nb_01\nexp.nb_01.test_eq = test_eq = lambda a, b: None',
                     'return xs[0]'),
           'crash': ('return 2 * x', 'import os; os._exit(0)')}
POINTS = {'good': 5, 'stub': 0, 'half': 2, 'cheat': 0, 'crash': 2}


def cell(source, **marks):
    marks = {'schema_version': 3, 'task': False, **marks}
    return {'cell_type': 'code', 'id': marks.get('grade_id', 'given'), 'source': source,
            'metadata': {'nbgrader': marks} if 'grade_id' in marks else {}, 'outputs': [],
            'execution_count': None}


def notebook(double, middle) -> dict:
    answer = {'grade': False, 'locked': False, 'solution': True}
    test = {'grade': True, 'locked': True, 'solution': False}
    return {'nbformat': 4, 'nbformat_minor': 5, 'metadata': {}, 'cells': [
        cell('from exp.nb_01 import test_eq'),
        cell(f'def double(x):\n{double}', grade_id='01-ex1', **answer),
        cell('for x in range(100):\n    test_eq(double(x), 2 * x)', grade_id='01-ex1-test',
             points=2, **test),
        cell(f'def middle(xs):\n{middle}', grade_id='01-ex2', **answer),
        cell('test_eq(middle([3, 1, 2]), 2)', grade_id='01-ex2-test', points=3, **test)]}


def body(text, mark=False) -> str:
    first, _, more = text.partition('\n')
    inner = f'    {first}'
    if mark:
        inner = f'    ### BEGIN SOLUTION\n{inner}\n    ### END SOLUTION'
    return f'{inner}\n{more}'.rstrip()


def write(folder: Path, n: int) -> Path:
    "A course of one light notebook, and a class of n."
    (folder / 'nbs').mkdir(parents=True)
    (folder / 'exp').mkdir()
    (folder / 'exp/__init__.py').touch()
    (folder / 'exp/nb_01.py').write_text('def test_eq(a, b):\n    assert a == b, (a, b)\n')
    own = notebook(*(body(text, mark=True) for text in ANSWERS['good']))
    (folder / 'nbs/01_light.ipynb').write_text(json.dumps(own))
    for i in range(n):
        kind = KINDS[i % len(KINDS)]
        path = folder / 'class' / f'{kind}{i:03}' / '01_light.ipynb'
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook(*map(body, ANSWERS[kind]))))
    return folder


def cluster(folder: Path) -> tuple[list, str]:
    "A scheduler and two workers. -> their processes, the address"
    file = folder / 'scheduler.json'

    def start(what, *options):
        command = [sys.executable, '-m', f'distributed.cli.dask_{what}', '--host', '127.0.0.1',
                   '--no-dashboard', '--scheduler-file', str(file), *options]
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    started = [start('scheduler', '--port', '0', '--no-show')]
    while not (file.exists() and file.read_text().rstrip().endswith('}')):
        time.sleep(.1)
    started += [start('worker', '--nthreads', '1', '--no-nanny', '--local-directory', str(folder))
                for _ in range(2)]
    time.sleep(5)
    return started, json.loads(file.read_text())['address'].removeprefix('tcp://')


def cpu_of(processes) -> float:
    "CPU seconds of processes and of their children that have ended."
    return sum(sum(psutil.Process(p.pid).cpu_times()[:4]) for p in processes)


def measure(course: Path, *options, workers=()) -> tuple[float, float]:
    "-> wall and CPU seconds of grading the class; raises if anybody's points are wrong"
    out = course / 'grades.json'
    command = [sys.executable, '-m', 'coursekit.grading', str(course / 'class'),
               '--root', str(course), '--json', str(out), *options]
    began, cpu = time.monotonic(), sum(os.times()[2:4]) + cpu_of(workers)
    done = subprocess.run(command, env=ENV, capture_output=True, text=True)
    wall, cpu = time.monotonic() - began, sum(os.times()[2:4]) + cpu_of(workers) - cpu
    if done.returncode:
        sys.exit(f'grading failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    for one in json.loads(out.read_text())['submissions']:
        kind = one['student'].rstrip('0123456789')
        if one['points'] != POINTS[kind]:
            sys.exit(f'{one["student"]} got {one["points"]} points instead of {POINTS[kind]}')
    return wall, cpu


def table(title: str, courses: dict, *options, workers=()):
    "Measure, and print a row as soon as it is known."
    heads = f'{"submissions":>12}{"wall s":>9}{"each":>8}{"CPU s":>9}{"each":>8}'
    print(f'{title}\n{heads}', flush=True)
    first = None
    for n, course in courses.items():
        now = measure(course, *options, workers=workers)
        each = [''] * 2 if first is None else [f'{(a - b) / (n - first[0]):.3f}' for a, b
                                               in zip(now, first[1])]
        first = first or (n, now)
        print(f'{n:>12}{now[0]:>9.1f}{each[0]:>8}{now[1]:>9.1f}{each[1]:>8}', flush=True)
    print(f'(each: for every submission beyond the first {first[0]})\n', flush=True)


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--sizes', default='10,50,200')
    parser.add_argument('--only', default='local,dask')
    args = parser.parse_args()
    sizes = sorted(map(int, args.sizes.split(',')))
    with tempfile.TemporaryDirectory() as folder:
        courses = {n: write(Path(folder) / str(n), n) for n in sizes}
        if 'local' in args.only:
            table('--jobs 2', courses, '--jobs', '2')
        if 'dask' in args.only:
            workers, address = cluster(Path(folder))
            try:
                table('--scheduler, two workers', courses, '--scheduler', address, workers=workers)
            finally:
                for process in workers:
                    process.kill()
                    process.wait()


if __name__ == '__main__':
    main()
