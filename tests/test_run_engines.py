"""Both engines store the same outputs, byte for byte, and give the same verdicts."""
import json
import re
import secrets

import pytest
from run_support import Course, code, outputs

FEATURES = {
    'text': [
        'print("one")\nprint("two", end="")',
        'import sys\nprint("out")\nprint("err", file=sys.stderr)\nprint("more")', 'x = 41\nx + 1',
        '_ + 1, Out[3], In[3]', 'None', 'x;', '"a"\n"b"',
        'import os\nos.system("echo from a shell") and None', '!printf "%s\\n" a b',
        'os.write(1, b"raw\\n");', 'import subprocess\nsubprocess.run(["echo", "sub"]).returncode',
        'for i in range(5):\n    print(f"\\r{i * 25} %", end="")\nprint()', 'print("naïve 漢字 🙂")',
        'sys.stdout.write("x\\n")'
    ], 'errors': [
        code('1 / 0', 'raises-exception'),
        code('x = = 1', 'raises-exception'),
        code('def f(x):\n    return g(x)\n\ndef g(x):\n    raise ValueError(f"bad {x}")', 'slow'),
        code('f(3)', 'raises-exception'),
        code('try:\n    f(3)\nexcept ValueError as e:\n    raise KeyError("k") from e',
             'raises-exception'),
        code('raise ExceptionGroup("g", [ValueError(1), TypeError(2)])', 'raises-exception'),
        code('raise KeyboardInterrupt', 'raises-exception'),
        code('input()', 'raises-exception'),
        code('import getpass\ngetpass.getpass()', 'raises-exception'),
        code('await f(3)', 'raises-exception'),
        code('%nomagic', 'raises-exception'),
        code('class Bad:\n    def __repr__(self):\n        raise ValueError("no repr")\nBad()',
             'raises-exception'),
        'import traceback\ntry:\n    f(4)\nexcept ValueError:\n    traceback.print_exc()',
        'import warnings\nwarnings.warn("careful")', 'import logging\nlogging.warning("logged")',
        'import inspect\nprint(inspect.getsource(f))'
    ], 'displays': [
        'from IPython.display import HTML, JSON, Image, Latex, Markdown, clear_output, display, update_display',
        'display(1, "two")\nprint("between")\ndisplay(HTML("<b>three</b>"))\n4', 'Markdown("*x*")',
        'Latex("$x$")', 'JSON({"a": [1]})',
        'h = display("first", display_id="here")\nh.update("second")',
        'update_display("third", display_id="here")',
        'print("gone")\nclear_output()\nprint("stays")',
        'print("gone")\nclear_output(wait=True)\nprint("kept")',
        'print("kept")\nclear_output(wait=True)',
        'class Rich:\n    def _repr_html_(self): return "<i>r</i>"\n    def __repr__(self): return "r"\nRich()',
        '%%capture captured\nprint("hidden")\ndisplay(5)', 'captured.stdout, len(captured.outputs)',
        'display({"text/plain": "p", "application/x-own+json": {"k": 1}}, raw=True)',
        'display(HTML("<p>meta</p>"), metadata={"m": 1})',
        'from pprint import pprint\npprint({"a": list(range(40))})'
    ], 'process': [
        'import sys, os, random\nget_ipython().__class__.__name__, "IPKernelApp" in get_ipython().config',
        '__name__, "__file__" in globals(), sys.modules["__main__"].__dict__ is globals()',
        'sys.path[-1].endswith("site-packages"), len(sys.path), sys.flags.safe_path, sys.argv[1], len(sys.argv)',
        'os.path.basename(os.getcwd()), os.environ["MPLBACKEND"], os.environ["TERM"], os.environ["OMP_NUM_THREADS"]',
        'sys.stdin.read(), sys.stdout.isatty(), sys.stdout.encoding, hasattr(sys.stdout, "buffer")',
        'import signal\nprint(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))',
        'import pickle\nclass C: pass\nisinstance(pickle.loads(pickle.dumps(C())), C)',
        'import multiprocessing as mp\ndef work(x):\n    return x * x\nmp.get_context("fork").Pool(2).map(work, [1, 2, 3])',
        'import asyncio\nasync def late():\n    await asyncio.sleep(.05)\n    print("late")\ntask = asyncio.ensure_future(late())',
        'await task',
        'import threading\nt = threading.Thread(target=print, args=("threaded",))\nt.start()\nt.join()',
        '%store -r\n%pwd\n_ = 3', '%who str',
        'get_ipython().run_line_magic("precision", "3")\n3.14159',
        'for i in range(3):\n    print(i, file=sys.stderr if i % 2 else sys.stdout)',
        'len(os.listdir("/proc/self/fd")) < 200, gc.isenabled() if "gc" in globals() else __import__("gc").isenabled()'
    ], 'science': [
        'import numpy as np, torch\ntorch.manual_seed(1)\ntorch.rand(3), np.float32(1) / 3',
        'torch.get_num_threads(), torch.get_num_interop_threads() > 0',
        'a = torch.randn(64, 64)\n(a @ a).shape, bool(torch.isfinite(a @ a).all())',
        'x = torch.ones(3, requires_grad=True)\n(x * x).sum().backward()\nx.grad',
        'np.arange(3) / 7'
    ], 'plots': [
        'import matplotlib.pyplot as plt', 'plt.plot([1, 3, 2])\nplt.title("no magic");',
        'plt.rcParams["backend"]',
        'fig, ax = plt.subplots(1, 2, figsize=(4, 2))\nprint("before")\nfig', 'plt.close("all")',
        'plt.plot([2, 1])\nplt.show()\nprint("after show")\nplt.plot([1, 2]);'
    ], 'inline': [
        '%matplotlib inline\n%config InlineBackend.figure_format = "svg"\nimport matplotlib.pyplot as plt\n'
        'plt.rcParams["svg.hashsalt"] = "x"', 'plt.figure(figsize=(2, 1))\nplt.plot([1, 2]);',
        'plt.isinteractive()'
    ], 'fails': ['print("so far")', 'def f():\n    return undefined_name', 'f()', '"never"'],
}

DRAWS = {
    f'draws_{x}': [
        'import random, numpy as np, torch\nrandom.random(), float(np.random.rand()), float(torch.rand(()))'
    ] for x in 'ab'
}
MIXED = {'mixed': ['import os\nprint("py"); os.write(1, b"C\\n"); print("py again")']}


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    "engine -> (outcome, name -> the notebook as far as it came)"
    found = {}
    for engine in ('fork', 'kernel'):
        course = Course(tmp_path_factory.mktemp(engine) / 'course')
        for name, cells in (FEATURES | (DRAWS | MIXED if engine == 'fork' else {})).items():
            course.add(name, *cells)
        outcome = course.run(engine=engine, inplace=True, timeout=200)
        found[engine] = outcome, {name: course.read(name) for name in FEATURES}, course
    return found


@pytest.mark.parametrize('name', FEATURES)
def test_same_outputs(both, name):
    fork, kernel = (both[e][1][name]['cells'] for e in ('fork', 'kernel'))
    for number, (a, b) in enumerate(zip(fork, kernel), 1):
        if 'svg' in json.dumps(a['outputs']):
            a, b = (re.sub(r'<dc:date>.*?</dc:date>', '', json.dumps(c)) for c in (a, b))
        assert a == b, f'cell {number}: {FEATURES[name][number - 1]}'


@pytest.mark.parametrize('name', FEATURES)
def test_same_results(both, name):
    fork, kernel = (both[e][0][f'{name}.ipynb'] for e in ('fork', 'kernel'))
    assert fork.outcome == ('failed' if name == 'fails' else 'passed'), fork.message
    assert (fork.outcome, fork.cell, fork.message, fork.claims) == \
           (kernel.outcome, kernel.cell, kernel.message, kernel.claims)
    assert fork.engine == 'fork' and kernel.engine == 'kernel' and fork.notes == kernel.notes == []


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
    assert text[0] == 'one\ntwo' and text[1] == 'out\nmore\n' and text[2] == 'err\n' and text[
        3] == '42'
    assert '100 %\n' in text
    shown = outputs(both['fork'][1]['displays'])
    assert 'stays\n' in shown and 'kept\n' in shown and 'gone\n' not in shown
    assert shown.count("'third'") == 1 and "'first'" not in shown
    assert len([
        o for c in both['fork'][1]['plots']['cells'] for o in c['outputs']
        if 'image/png' in o.get('data', {})
    ]) == 5


def test_failed_notebook_is_not_saved(both):
    assert all(c['outputs'] == [] for c in both['fork'][1]['fails']['cells'])


def test_forked_processes_are_fresh(both):
    "As in processes of their own, no two notebooks draw the same numbers."
    a, b = (eval(outputs(both['fork'][2].read(name))[0]) for name in DRAWS)
    assert all(x != y for x, y in zip(a, b))


def test_text_past_python_keeps_its_place(both):
    """In the fork engine; a real kernel reads what C writes in a thread of its own, so there the
    order is chance."""
    assert outputs(both['fork'][2].read('mixed')) == ['py\nC\npy again\n']


def test_parent_that_dies_costs_nothing(tmp_path):
    "A notebook that kills the warm parent gets its own kernel, and so do the others."
    word = f'{secrets.token_hex(4)}'
    course = Course(tmp_path)
    course.add(
        'killer',
        f'import os, signal  # {word}\nif "coursekit.warm" in open(f"/proc/{{os.getppid()}}/cmdline").read():\n'
        '    os.kill(os.getppid(), signal.SIGKILL)', '"done"')
    course.add('other', 'import time\ntime.sleep(1)')
    course.add('later', '1 + 1')
    outcome = course.run(engine='fork', jobs=2, timeout=60)
    assert [r.outcome for r in outcome.results] == ['passed'] * 3
    assert 'kernel engine' in outcome['killer.ipynb'].notes[0]


def test_import_that_starts_threads_is_left_to_the_notebooks(tmp_path, monkeypatch):
    """A library that computes when imported would make the parent unfit, so the parent does without
    it."""
    course = Course(tmp_path / 'course')
    course.add('a', 'import threads_at_import', 'threads_at_import.t.is_alive()')
    course.write(
        '../lib/threads_at_import.py',
        'import threading, time\nt = threading.Thread(target=time.sleep, args=(99,), daemon=True)\nt.start()\n'
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'lib'))
    from coursekit import runner
    monkeypatch.setattr(runner, 'preloads', lambda *a: ['threads_at_import'])
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
