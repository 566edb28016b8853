"""Notebooks that misbehave: each gets the outcome it deserves, and no other notebook suffers."""
import hashlib
import json
import os
import re
import secrets

import psutil
import pytest
from run_support import Course, code, left_behind, markdown

WORD = f'stray{secrets.token_hex(4)}'
SLEEPER = f"['python3', '-c', 'import time; time.sleep(600)  # {WORD}']"

# name -> cells, outcome, number of the cell, what the message says
HANGING = {
    'loop': (['print("before")',
              'x = 1\nwhile True:\n    x += 1'], 'timeout', 2, 'took longer than 2 s'),
    'sleep': (['import time\ntime.sleep(1e6)'], 'timeout', 1, 'took longer than 2 s'), 'asleep':
        (['import asyncio', 'await asyncio.sleep(1e6)'], 'timeout', 2, 'took longer than 2 s'),
    'deaf': ([
        'import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)',
        'import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass'
    ], 'timeout', 2, 'took longer than 2 s'), 'stubborn': ([
        'import time\nwhile True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n'
        '        pass'
    ], 'timeout', 1, 'took longer than 2 s'), 'waiting':
        ([f'import subprocess\nsubprocess.run({SLEEPER})'], 'timeout', 1, 'took longer than 2 s'),
}
OTHERS = {
    'exit0': (['1', 'import os\nos._exit(0)',
               '3'], 'crashed', 2, 'exit status 0 before the notebook was through'),
    'exit3': (['import os\nos._exit(3)'], 'crashed', 1, 'exit status 3'), 'segfault':
        (['import ctypes\n\nctypes.string_at(0)'], 'crashed', 1, 'SIGSEGV'), 'abort':
            (['import os\nos.abort()'], 'crashed', 1, 'SIGABRT'), 'killed':
                (['import os, signal\nos.kill(os.getpid(), signal.SIGKILL)'], 'oom', 1, 'SIGKILL'),
    'sysexit': (['import sys\nsys.exit(0)',
                 '2'], 'failed', 1, 'SystemExit: 0 .*before the notebook is through'),
    'exit': (['exit()', '2'], 'failed', 1, r'exit\(\)'), 'asks':
        (['name = input("your name? ")'], 'failed', 1, 'StdinNotImplementedError'), 'talkative':
            (['for i in range(300_000): print("line", i)', '"still here"'], 'passed', None, ''),
    'greedy': ([
        'pieces = []\nfor i in range(40):\n    pieces.append(bytearray(b"x") * 50_000_000)\nlen(pieces)'
    ], 'oom', 1, 'the limit is 0.8 GB'), 'thread': ([
        'import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()', '"done"'
    ], 'passed', None, ''), 'orphan':
        ([f'import subprocess\nsubprocess.Popen({SLEEPER}, start_new_session=True).pid > 0'],
         'passed', None, ''), 'daemon': ([
             'import os, sys\n'
             'if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n'
             f'        os.execvp("python3", {SLEEPER})\n    os._exit(0)\nos.wait()[1]'
         ], 'passed', None, ''),
    'vandal': ([
        'import builtins, os, sys\nos.chdir("/")\nos.environ["HOSTILE"] = "1"\nbuiltins.hostile = 1\n'
        'sys.path.insert(0, "/hostile")\nimport json\njson.hostile = 1\n'
        'import numpy as np\nnp.pi = 3\nnp.random.seed(0)'
    ], 'passed', None, ''), 'victim': ([
        'import builtins, os, sys, json, numpy as np\n'
        'assert os.path.basename(os.getcwd()) == "nbs"\nassert "HOSTILE" not in os.environ\n'
        'assert not hasattr(builtins, "hostile")\nassert "/hostile" not in sys.path\n'
        'assert not hasattr(json, "hostile") and np.pi > 3.1\n'
        'assert not any(m.split(".")[0] in ("coursekit", "exp", "run_notebook") for m in sys.modules)\n'
        'import ipykernel_launcher\nassert sys.argv[:2] == [ipykernel_launcher.__file__, "-f"]\n'
        'folders = [p for p in sys.path if "python3" not in p]\n'
        'assert len(folders) == 3 and folders[2] == "", folders'
    ], 'passed', None, ''), 'closes': (['import os\nos.close(1)\nos.close(2)',
                                        'print(1 + 1)'], 'passed', None, ''),
    'unicode':
        (['größe = "naïve 漢字 🙂"\nprint(größe)\ngröße',
          'assert größe.endswith("🙃"), "drollig: 🙃"'], 'failed', 2, 'drollig: 🙃'), 'magics': ([
              '%%time\nx = 1', '!echo from the shell', '%%bash\necho from bash',
              'files = !echo a b\nfiles[0]', '%timeit -n1 -r1 pass', '%env COURSE_TEST=1'
          ], 'passed', None, ''), 'awaits': ([
              'import asyncio\nasync def f():\n    await asyncio.sleep(.01)\n    return 42',
              'await f()', 'async with asyncio.timeout(5):\n    x = await f()\nx'
          ], 'passed', None, ''), 'syntax':
              (['1', 'x = 1\ny = = 2'], 'failed', 2, 'SyntaxError: invalid syntax'), 'magicless':
                  (['%nomagic'], 'failed', 1, 'UsageError'),
    'recursion':
        (['import sys\nsys.setrecursionlimit(200)\ndef f(n):\n    return f(n + 1)',
          'f(0)'], 'failed', 2, 'RecursionError'), 'tame':
              ([code('1 / 0', 'raises-exception'), '"after"'], 'passed', None, ''), 'too_tame':
                  ([code('1 / 1', 'raises-exception'),
                    '"after"'], 'failed', 1, 'raised nothing'), 'empty':
                        ([], 'passed', None, ''), 'wordy': ([markdown('only words'),
                                                             code('   \n')], 'passed', None, ''),
}


def build(root, corpus):
    course = Course(root)
    for name, (cells, *_) in corpus.items():
        course.add(name, *cells)
    return course


def digests(course):
    return {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
            for p in course.root.glob('nbs/*')}


@pytest.fixture(scope='module', params=['fork', 'kernel'])
def engine(request):
    return request.param


@pytest.fixture(scope='module')
def hanging(engine, tmp_path_factory):
    course = build(tmp_path_factory.mktemp('hanging'), HANGING)
    before = digests(course)
    outcome = course.run(engine=engine, cell_timeout=2, jobs=6)
    return outcome, before == digests(course)


@pytest.fixture(scope='module')
def others(engine, tmp_path_factory):
    course = build(tmp_path_factory.mktemp('others'), OTHERS)
    course.write('nbs/corrupt.ipynb', '{"cells": [')
    course.write(
        'nbs/older.ipynb',
        json.dumps({
            'nbformat': 4, 'nbformat_minor': 4, 'metadata': {}, 'cells': [{
                'cell_type': 'code', 'source': 'x = 2\nx * 21', 'metadata': {}, 'outputs': [],
                'execution_count': None
            }]
        }))
    before = digests(course)
    outcome = course.run(engine=engine, mem_limit=.8, timeout=120)
    return outcome, before == digests(course)


def check(outcome, name, expected):
    _, wanted, cell, message = expected
    result = outcome[f'{name}.ipynb']
    assert (result.outcome, result.cell) == (wanted, cell), result.message
    assert re.search(message, result.message), result.message
    if not result.ok:
        story = outcome.stories[result.notebook]
        assert len(story) <= 25 and name in story[0] and not any('\x1b' in line for line in story)
        assert story[-1].strip().startswith('run again: python run_notebook.py ')


@pytest.mark.parametrize('name', HANGING)
def test_hanging(hanging, name):
    check(hanging[0], name, HANGING[name])


def test_hanging_tells_the_line(hanging):
    lines = {
        'loop': r'line [23]', 'sleep': 'line 2', 'deaf': r'line [34]', 'stubborn': 'line 4',
        'waiting': 'line 2'
    }
    for name, line in lines.items():
        story = hanging[0].stories[f'nbs/{name}.ipynb']
        assert re.search(f'it was at {line}', '\n'.join(story)), story


@pytest.mark.parametrize('name', OTHERS)
def test_others(others, name):
    check(others[0], name, OTHERS[name])


def test_corrupt_and_older(others):
    assert others[0]['corrupt.ipynb'].outcome == 'error'
    assert 'not valid JSON' in others[0]['corrupt.ipynb'].message
    assert others[0]['older.ipynb'].outcome == 'passed'


def test_output_is_capped_and_says_so(others):
    result = others[0]['talkative.ipynb']
    assert 'were not kept' in result.notes[0]
    assert 'were not kept' in others[0].shown


def test_segfault_tells_the_line(others):
    story = '\n'.join(others[0].stories['nbs/segfault.ipynb'])
    assert 'line 3' in story and 'ctypes.string_at(0)' in story


def test_sources_untouched(hanging, others):
    assert hanging[1] and others[1]


def test_exit_status(hanging, others):
    assert hanging[0].exit_status == 1 and others[0].exit_status == 1


def test_nothing_left(hanging, others):
    assert left_behind(WORD) == []
    mine = [
        p for p in psutil.Process(os.getpid()).children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE
    ]
    assert mine == []
