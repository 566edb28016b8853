"""What the benchmarks share: a generated corpus of notebooks, the tools to compare with, and the
measuring.

The tools compared with live in an environment of the benchmark's own, `.course/bench-env`, made
on the first run; torch and what else a notebook imports it borrows from the project's
environment.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / '.course' / 'bench-env'
PEERS = ['nbdev==3.3.26', 'nbmake==1.5.5', 'papermill==2.7.0', 'nbclient==0.11.0',
         'ipykernel==7.4.0', 'pytest==9.2.0', 'pytest-xdist==3.8.0']
NBDEV = '''[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "corpus"
version = "0.0.1"
[tool.nbdev]
nbs_path = "nbs"
lib_path = "nbdev_out"
'''


# ---- the corpus

def write_corpus(folder, n: int = 40, first: str = '') -> Path:
    """Write `folder/nbs/00_light.ipynb` … and what nbdev wants to be told; returns `folder`.

    `first` is a first code cell for each notebook, such as `import torch`. Both exporters read the
    directives, and both make a module per notebook.
    """
    folder = Path(folder)
    (folder / 'nbs').mkdir(parents=True, exist_ok=True)
    (folder / 'pyproject.toml').write_text(NBDEV)
    (folder / 'nbdev_out').mkdir(exist_ok=True)
    (folder / 'nbdev_out' / '__init__.py').write_text('__version__ = "0.0.1"\n')
    for i in range(n):
        write_notebook(folder / 'nbs' / f'{i:02d}_light.ipynb', cells(i, first))
    return folder


def cells(i: int, first: str = '') -> list[tuple[str, str]]:
    "A light notebook: prose, three export cells, and cells that try out what they define."
    return [
        ('markdown', f'# Chapter {i}\n\nA small chapter with a few functions and their tests.'),
        ('code', f'#| default_exp nb_{i:02d}'),
        *([('code', first)] if first else []),
        ('code', f'#| export\nimport math\nfrom collections import Counter\n\nscale_{i} = {i + 1}'),
        ('markdown', '## Shapes'),
        ('code', f'#| export\ndef area_{i}(r):\n    "The area of a circle of radius `r`."\n    '
                 f'return scale_{i} * math.pi * r ** 2'),
        ('code', f'area_{i}(1)'),
        ('code', f'#| export\nclass Bag_{i}:\n    "Counts what it is given."\n    def '
                 '__init__(self, items):\n        self.counts = Counter(items)\n\n    def '
                 'most(self, n=1):\n        "The `n` items seen most often."\n        return [k '
                 'for k, _ in self.counts.most_common(n)]'),
        ('code', f"bag = Bag_{i}('abracadabra')\nprint(bag.most(2))"),
        ('code', f"assert bag.most() == ['a']\nassert math.isclose(area_{i}(2), {i + 1} * 4 * "
                 "math.pi)"),
    ]


def write_notebook(path: Path, cells: list[tuple[str, str]]) -> None:
    def cell(k, kind, source):
        more = {'execution_count': None, 'outputs': []} if kind == 'code' else {}
        return {'cell_type': kind, 'id': f'cell{k:04d}', 'metadata': {},
                'source': source.splitlines(True), **more}
    raw = {'cells': [cell(k, *c) for k, c in enumerate(cells)],
           'metadata': {'kernelspec': {'display_name': 'Python 3', 'language': 'python',
                                       'name': 'python3'}},
           'nbformat': 4, 'nbformat_minor': 5}
    path.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + '\n')


# ---- the tools to compare with

def peers() -> Path | None:
    """The folder of the other tools' commands, set up on the first call.

    None, with a message, where they cannot be installed (no network); the benchmark then shows
    ours alone.
    """
    ready = ENV / '.ready'
    wanted = '\n'.join(PEERS)
    bin = ENV / ('Scripts' if os.name == 'nt' else 'bin')
    if ready.exists() and ready.read_text() == wanted:
        return bin
    print('setting up the tools to compare with in .course/bench-env', file=sys.stderr)
    venv.create(ENV, with_pip=True, clear=True)
    uv = Path(sys.executable).with_name('uv')
    install = [str(uv), 'pip', 'install', '--python', str(bin / 'python')] if uv.exists() else [
        str(bin / 'python'), '-m', 'pip', 'install']
    done = subprocess.run([*install, '-q', *PEERS], capture_output=True, text=True)
    if done.returncode:
        print('skipped: the tools to compare with could not be installed (no network?):\n'
              + '\n'.join(done.stderr.strip().splitlines()[-3:]), file=sys.stderr)
        return None
    borrow()
    ready.write_text(wanted)
    return bin


def borrow() -> None:
    "Let the environment see the project's packages, behind its own."
    mine = next(Path(p) for p in sys.path if p.endswith('site-packages'))
    theirs = next(ENV.glob('lib/python*/site-packages'), None) or ENV / 'Lib' / 'site-packages'
    (theirs / 'borrowed.pth').write_text(f'{mine}\n')


# ---- measuring

def measure(command: list[str], cwd, env: dict | None = None) -> dict:
    "Run a command: its wall seconds, its and its children's CPU seconds, exit status and output."
    with tempfile.TemporaryFile('w+') as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL,
                                   env={**os.environ, **(env or {})})
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return {'wall': wall, 'cpu': used.ru_utime + used.ru_stime, 'status': process.returncode,
                'output': out.read()}


def interleaved(contestants: dict, runs: int = 5, progress=True) -> dict[str, dict]:
    """Measure each contestant `runs` times, taking turns, so that a slow moment of the machine
    hits all.

    `contestants` maps a name to a function of no arguments that gets things ready and returns
    `(command, folder)` or `(command, folder, environment)`. Returns the medians; a run that fails
    stops the benchmark.
    """
    seen = {name: [] for name in contestants}
    for run in range(runs):
        for name, ready in contestants.items():
            result = measure(*ready())
            if result['status']:
                sys.exit(f'{name}: exit status {result["status"]}\n{result["output"][-2000:]}')
            seen[name].append(result)
        if progress:
            print(f'\rrun {run + 1} of {runs}', end='\n' if run + 1 == runs else '',
                  file=sys.stderr, flush=True)
    return {name: {k: median(r[k] for r in results) for k in ('wall', 'cpu')} | {
        'spread': max(r['cpu'] for r in results) - min(r['cpu'] for r in results)} for name,
        results in seen.items()}


def table(results: dict[str, dict], ours: str) -> str:
    "The medians as a table, each with its ratio to ours."
    width = max(map(len, results)) + 2
    lines = [f'{"":{width}}{"CPU s":>9}{"ratio":>8}{"wall s":>10}{"ratio":>8}']
    for name, r in results.items():
        cells = (f'{r[k]:>{w}.3f}{r[k] / results[ours][k]:>7.1f}×'
                 for k, w in (('cpu', 9), ('wall', 10)))
        lines.append(f'{name:{width}}' + ''.join(cells))
    return '\n'.join(lines)
