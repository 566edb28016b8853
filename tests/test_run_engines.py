"""Both engines store the same outputs, byte for byte, and give the same verdicts."""
import json
import re

import pytest
from run_support import Course, code, outputs, read_corpus

FEATURES = {name: cells for name, (cells, _) in read_corpus('run_features').items()}
DRAW = 'import random, numpy as np, torch\nrandom.random(), np.random.rand(), torch.rand(()).item()'
ONLY_FORK = {'draws_a': [DRAW], 'draws_b': [DRAW],
             'mixed': ['import os\nprint("py"); os.write(1, b"C\\n"); print("py again")']}


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    "engine -> (outcome, name -> the notebook as far as it came)"
    found = {}
    for engine in ('fork', 'kernel'):
        course = Course(tmp_path_factory.mktemp(engine) / 'course')
        for name, cells in (FEATURES | (ONLY_FORK if engine == 'fork' else {})).items():
            course.add(name, *cells)
        outcome = course.run(engine=engine, inplace=True, timeout=200, jobs=4)
        found[engine] = outcome, {name: course.read(name) for name in FEATURES}, course
    return found


@pytest.mark.parametrize('name', FEATURES)
def test_same_outputs(both, name):
    fork, kernel = (both[e][1][name]['cells'] for e in ('fork', 'kernel'))
    for number, (a, b) in enumerate(zip(fork, kernel), 1):
        if 'svg' in json.dumps(a['outputs']):
            a, b = (re.sub(r'<dc:date>.*?</dc:date>', '', json.dumps(c)) for c in (a, b))
        assert a == b, f'cell {number}: {a}'


@pytest.mark.parametrize('name', FEATURES)
def test_same_results(both, name):
    fork, kernel = (both[e][0][f'{name}.ipynb'] for e in ('fork', 'kernel'))
    assert fork.outcome == ('failed' if name == 'fails' else 'passed'), fork.message
    assert (fork.outcome, fork.cell, fork.message, fork.claims) == \
           (kernel.outcome, kernel.cell, kernel.message, kernel.claims)
    assert fork.engine == 'fork' and kernel.engine == 'kernel' and fork.notes == kernel.notes == []


def test_the_largest_model_is_measured(tmp_path):
    course = Course(tmp_path)
    course.add('01_none', 'x = 1')
    course.add('02_model', 'from torch import nn\nsmall = nn.Linear(2, 3)\n'
               'class Learner:\n    def __getattr__(self, name): raise ValueError(name)\n'
               'learn = Learner()\nlearn.model = nn.Linear(10, 4)')
    for engine in ('fork', 'kernel'):
        outcome = course.run(engine=engine)
        assert outcome['01_none.ipynb'].parameters is None, engine
        assert outcome['02_model.ipynb'].parameters == 44, engine


def test_same_report(both):
    def story(engine):
        outcome, _, course = both[engine]
        return [
            line.replace(str(course.root), '') for line in outcome.stories['nbs/fails.ipynb'][:-1]
        ]
    assert story('fork') == story('kernel')
    assert story('fork')[0] == 'FAILED  nbs/fails.ipynb cell 3 (#id3), line 1'
    assert story('fork')[-5:] == ['  in f, cell 2, line 2', '        | return undefined_name',
                                  "  NameError: name 'undefined_name' is not defined",
                                  '  last output (cell 1):', '        | so far']


def test_outputs_are_what_they_should_be(both):
    text = outputs(both['fork'][1]['text'])
    assert text[:4] == ['one\ntwo', 'out\nmore\n', 'err\n', '42'] and '100 %\n' in text
    shown = outputs(both['fork'][1]['displays'])
    assert 'stays\n' in shown and 'kept\n' in shown and 'gone\n' not in shown
    assert shown.count("'third'") == 1 and "'first'" not in shown
    plots = [o for c in both['fork'][1]['plots']['cells'] for o in c['outputs']]
    assert sum('image/png' in o.get('data', {}) for o in plots) == 5


def test_failed_notebook_is_not_saved(both):
    assert all(c['outputs'] == [] for c in both['fork'][1]['fails']['cells'])


def test_forked_processes_are_fresh(both):
    "As in processes of their own, no two notebooks draw the same numbers."
    a, b = (eval(outputs(both['fork'][2].read(f'draws_{x}'))[0]) for x in 'ab')
    assert all(x != y for x, y in zip(a, b))


def test_text_past_python_keeps_its_place(both):
    "Forked, that is; a real kernel reads what C writes in a thread, so there it is chance."
    assert outputs(both['fork'][2].read('mixed')) == ['py\nC\npy again\n']


KILLER = """import os, signal
if "coursekit.warm" in open(f"/proc/{os.getppid()}/cmdline").read():
    os.kill(os.getppid(), signal.SIGKILL)"""
THREADED = """import threading, time
t = threading.Thread(target=time.sleep, args=(99,), daemon=True)
t.start()
"""


def test_parent_that_dies_costs_nothing(tmp_path):
    "A notebook that kills the warm parent gets its own kernel, and so do the others."
    course = Course(tmp_path)
    course.add('killer', KILLER, '"done"')
    course.add('other', 'import time\ntime.sleep(1)')
    course.add('later', '1 + 1')
    outcome = course.run(engine='fork', jobs=2, timeout=60)
    assert [r.outcome for r in outcome.results] == ['passed'] * 3
    assert 'kernel engine' in outcome['killer.ipynb'].notes[0]


def test_import_that_starts_threads_is_left_to_the_notebooks(tmp_path, monkeypatch):
    "A library that computes when imported would make the parent unfit, so it does without."
    course = Course(tmp_path / 'course')
    course.add('a', 'import threads_at_import', 'threads_at_import.t.is_alive()')
    course.write('../lib/threads_at_import.py', THREADED)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'lib'))
    monkeypatch.setattr('coursekit.runner.preloads', lambda *a: ['threads_at_import'])
    outcome = course.run(engine='fork', timeout=60)
    assert outcome.results[0].outcome == 'passed'
    assert outcome.results[0].engine == 'fork' and outcome.results[0].notes == []


def test_jobs_and_results_travel_as_data(tmp_path):
    from coursekit.plan import Options, Plan
    from coursekit.records import Result
    from coursekit.runner import run_contents
    course = Course(tmp_path)
    course.add('a', 'print("hello")', code('1 / 0', 'slow'))
    course.add('b', '1 / 0')
    plan = Plan([], Options(skip=('slow',)), course.root)
    jobs = json.loads(json.dumps([plan.job(k).as_dict() for k in sorted(plan.order)]))
    results = json.loads(
        json.dumps(run_contents(jobs, 2, engine='fork', env=plan.env(), root=tmp_path)))
    a, b = map(Result.from_dict, results)
    assert (a.outcome, b.outcome, b.cell, b.failure.ename) == ('passed', 'failed', 1,
                                                               'ZeroDivisionError')
    assert outputs(a.raw) == ['hello\n'] and b.failure.frames[0]['line'] == 1


@pytest.mark.parametrize('platform', ['darwin', 'win32'])
def test_other_systems_use_the_kernel(platform, tmp_path, monkeypatch):
    from coursekit.plan import Options, Plan
    course = Course(tmp_path)
    course.add('a', '1')
    monkeypatch.setattr('sys.platform', platform)
    assert Plan([], Options(), course.root).engine() == ('kernel', '')
    asked = Plan([], Options(engine='fork'), course.root).engine()
    assert asked[0] == 'kernel' and platform in asked[1]
