"""How long exporting takes: ours beside nbdev-export, on the same generated notebooks.

    python bench/export.py [--runs 5] [--n 40]

CPU and wall seconds are those of the whole process, interpreter and imports included; medians of
runs taken in turns.
"""
from __future__ import annotations

import shutil
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from corpus import ROOT, interleaved, peers, table, write_corpus

EXPORT = [sys.executable, str(ROOT / 'notebook2script.py')]


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--n', type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        compare(Path(scratch), args.n, args.runs)
        growth(Path(scratch), args.runs)


def compare(scratch: Path, n: int, runs: int) -> None:
    "Ours and nbdev's on the same notebooks: from nothing, and when nothing has changed."
    root = write_corpus(scratch / 'compare', n)
    contestants = {
        'python -c "import fire"': lambda: ([sys.executable, '-c', 'import fire'], root),
        'ours, from nothing': lambda: fresh(root, 'exp', EXPORT),
        'ours, nothing changed': lambda: (EXPORT, root),
        'ours, --check': lambda: ([*EXPORT, '--check'], root)}
    if bin := peers():
        nbdev = [str(bin / 'nbdev-export')]
        contestants['nbdev-export, from nothing'] = lambda: fresh(root, 'nbdev_out', nbdev)
        contestants['nbdev-export, nothing changed'] = lambda: (nbdev, root)
    interleaved(contestants, 1, progress=False)  # compiled modules, warm file caches
    results = interleaved(contestants, runs)
    print(f'Exporting {n} light notebooks, the whole process, medians of {runs} runs')
    print(table(results, 'ours, from nothing'), end='\n\n')


def fresh(root: Path, folder: str, command: list[str]):
    "Take away what an earlier run exported."
    for module in (root / folder).glob('*.py'):
        if module.stem != '__init__' or folder == 'exp':
            module.unlink()
    shutil.rmtree(root / folder / '__pycache__', ignore_errors=True)
    return command, root


def growth(scratch: Path, runs: int) -> None:
    sizes = 10, 40, 160
    roots = {n: write_corpus(scratch / f'grow{n}', n) for n in sizes}
    contestants = {f'{n} {what}': (lambda n=n, what=what: fresh(roots[n], 'exp', EXPORT)
                                   if what == 'new'
                                   else (EXPORT, roots[n])) for n in sizes
                                   for what in ('new', 'unchanged')}
    results = interleaved(contestants, runs)
    print(f'{"notebooks":>9}{"new, CPU s":>14}{"ms each":>10}{"unchanged":>12}{"ms each":>10}')
    least = {what: results[f'10 {what}']['cpu'] for what in ('new', 'unchanged')}
    for n in sizes:
        new, same = (results[f'{n} {what}']['cpu'] for what in ('new', 'unchanged'))
        each = [f'{(s - least[w]) / (n - 10) * 1000:10.2f}' if n > 10 else ' ' * 10
                for s, w in ((new, 'new'), (same, 'unchanged'))]
        print(f'{n:>9}{new:>14.3f}{each[0]}{same:>12.3f}{each[1]}')
    print('(ms each: for every notebook beyond the first ten)')


if __name__ == '__main__':
    main()
