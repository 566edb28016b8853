"""How long running notebooks as tests takes: ours beside the tools people use, on the same
generated notebooks.

    python bench/run.py [--n 40] [--runs 5] [--jobs 2] [--only light,torch,growth,again] [--fast]

CPU and wall seconds are those of the whole command with everything it started, medians of runs
taken in turns. The whole benchmark takes about half an hour, nearly all of it spent in the other
tools; `--fast` leaves out those that take more than a second a notebook.
"""
from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser
from itertools import count
from pathlib import Path

from corpus import ROOT, interleaved, peers, table, write_corpus

RUN = [sys.executable, str(ROOT / 'run_notebook.py')]
OURS = 'ours, fork'
BARE = '''import sys, nbformat
from nbclient import NotebookClient
for path in sys.argv[1:]:
    NotebookClient(nbformat.read(path, 4)).execute()
'''
LOOP = '''import subprocess, sys
papermill, out, *paths = sys.argv[1:]
for path in paths:
    subprocess.run([papermill, '-p', 'x', '1', '--log-level', 'ERROR', '--no-progress-bar',
                    path, out], check=True)
'''
# One thread for each process: all tools get the two cores by way of processes alone.
THREADS = {f'{name}_NUM_THREADS': '1' for name in ('OMP', 'MKL', 'OPENBLAS')}


def contestants(root: Path, jobs: int, fast: bool) -> dict:
    "Name -> a function that gives the command, its folder and its environment."
    paths = [str(p) for p in sorted((root / 'nbs').glob('*.ipynb'))]
    ours = [*RUN, '--jobs', str(jobs)]
    found = {OURS: [*ours, '--engine', 'fork'], 'ours, kernel': [*ours, '--engine', 'kernel']}
    if bin := peers():
        python = str(bin / 'python')
        pytest = [python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--nbmake', 'nbs']
        found['nbdev-test'] = [str(bin / 'nbdev-test'), '--n-workers', str(jobs), 'nbs']
        found[f'nbmake -n {jobs}'] = [*pytest, '-n', str(jobs)]
        found['bare nbclient'] = [python, '-c', BARE, *paths]
        found['nbmake'] = pytest
        found['jupyter execute'] = [str(bin / 'jupyter'), 'execute', *paths]
        found['papermill'] = [python, '-c', LOOP, str(bin / 'papermill'),
                              str(root / 'out.ipynb'), *paths]
    slow = ('bare nbclient', 'nbmake', 'jupyter execute', 'papermill', 'ours, kernel')
    env = {**THREADS, 'PYTHONPATH': str(root), 'NO_COLOR': '1'}
    if bin:
        env['PATH'] = f'{bin}{os.pathsep}{os.environ["PATH"]}'
    return {name: (lambda command=command: (command, root, env)) for name, command in found.items()
            if not (fast and name in slow)}


def compare(scratch: Path, args, what: str, first: str = '') -> None:
    root = write_corpus(scratch / what.replace(' ', '-'), args.n, first)
    against = contestants(root, args.jobs, args.fast)
    interleaved({OURS: against[OURS]}, 1, progress=False)  # warms the file cache for all
    print(f'{args.n} {what} notebooks, {args.jobs} at a time where the tool can\n'
          f'{table(interleaved(against, args.runs), OURS)}\n', flush=True)


def growth(scratch: Path, args) -> None:
    sizes = 10, 40, 160
    roots = {n: write_corpus(scratch / f'grow{n}', n) for n in sizes}
    command = [*RUN, '--jobs', str(args.jobs), '--engine', 'fork']
    results = interleaved({n: lambda n=n: (command, roots[n], THREADS) for n in sizes}, args.runs)
    print(f'{"notebooks":>9}{"CPU s":>10}{"ms each":>10}{"wall s":>10}{"ms each":>10}')
    for n in sizes:
        line = f'{n:>9}'
        for k in ('cpu', 'wall'):
            each = (results[n][k] - results[10][k]) / (n - 10) * 1000 if n > 10 else None
            line += f'{results[n][k]:>10.2f}' + (f'{each:>10.1f}' if each else ' ' * 10)
        print(line)
    print('(ms each: for every notebook beyond the first ten)\n', flush=True)


def again(scratch: Path, args) -> None:
    "A second run with --changed: nothing changed, and one notebook edited."
    root = write_corpus(scratch / 'again', args.n)
    edited, numbers = root / 'nbs' / '03_light.ipynb', count()
    original = edited.read_text()
    changed = [*RUN, '--jobs', str(args.jobs), '--changed']

    def edit():
        edited.write_text(original.replace("'abracadabra'", f"'abracada{'bra' * next(numbers)}'"))
        return changed, root, THREADS

    results = interleaved({'all': lambda: ([*RUN, '--jobs', str(args.jobs)], root, THREADS),
                           'nothing changed': lambda: (changed, root, THREADS),
                           'one notebook edited': edit}, args.runs)
    print(f'{args.n} light notebooks again, with --changed\n{table(results, "all")}\n', flush=True)


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--n', type=int, default=40)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--only', default='light,torch,growth,again')
    parser.add_argument('--fast', action='store_true', help='leave out the slow tools')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        parts = {'light': lambda: compare(scratch, args, 'light'),
                 'torch': lambda: compare(scratch, args, 'torch', 'import torch'),
                 'growth': lambda: growth(scratch, args), 'again': lambda: again(scratch, args)}
        for name in args.only.split(','):
            parts[name]()


if __name__ == '__main__':
    main()
