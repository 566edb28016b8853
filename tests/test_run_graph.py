"""The import graph: what is read from cells and modules, and the order that follows."""
import ast

import pytest
from run_fixtures import course, pool  # noqa: F401
from run_support import Course, markdown

from coursekit.graph import Graph, count_tests, imports, python_of, tree_of
from coursekit.notebook import load
from coursekit.plan import Options, Plan, preloads


def test_imports():
    tree = ast.parse(
        'import a.b, c\nfrom d import e\nfrom .f import g\nfrom .. import h\nfrom i import *')
    assert imports(tree, 'p.q') == {'a.b', 'c', 'd', 'd.e', 'p.q.f', 'p.q.f.g', 'p', 'p.h', 'i'}


@pytest.mark.parametrize('source, python',
                         [('%matplotlib inline\nimport a', 'pass\nimport a'),
                          ('if x:\n    !ls\nimport a', 'if x:\n    pass\nimport a'),
                          ('a?\nimport a', 'pass\nimport a'), ('a??', 'pass'),
                          ('files = !ls\nimport a', 'files = None\nimport a'),
                          ('t = %time f()\nimport a', 't = None\nimport a'),
                          ('%%time\nimport a', '\nimport a'), ('%%bash\nimport a', ''),
                          ('# is it so?\nimport a', '# is it so?\nimport a')])
def test_python_of(source, python):
    assert python_of(source) == python


def test_tree_of_odd_cells():
    assert imports(tree_of('x = (5\n     % 3)\nimport a')) == {'a'}
    assert imports(tree_of('def f(:\nimport a')) == set()


def test_count_tests(tmp_path):
    course = Course(tmp_path)
    path = course.add('01_x', 'assert 1\nassert 2',
                      'test_eq(1, 1)\nnb.test_ne(1, 2)\nclaim("a", 1)', '%magic\nassert 3',
                      markdown('assert 4'), 'contest(1)')
    assert count_tests(load(path)) == 6


def test_graph(course):
    graph = Plan([], Options(), course.root).graph
    needs = {k[4:6]: {n[4:6] for n in v} for k, v in graph.needs.items()}
    assert needs == {'01': set(), '02': {'01'}, '03': {'01', '02'}, '04': set()}


def test_order_puts_the_longest_chain_first(course):
    course.add('00_zero', '1')
    plan = Plan([], Options(), course.root)
    assert [k[4:6] for k in plan.order] == ['01', '02', '00', '03', '04']
    times = {'nbs/04_four.ipynb': 100.0}
    assert plan.graph.order(lambda k: times.get(k, 1.0))[0] == 'nbs/04_four.ipynb'


def test_cycle_still_runs(course, pool):
    course.write('exp/nb_01.py', 'import exp.nb_03\n')
    course.write('exp/nb_03.py', 'import exp.nb_01\n')
    fake = pool()
    assert course.run().exit_status == 0
    assert sorted(fake.ran) == ['01_one', '02_two', '03_three', '04_four']


def test_libraries_and_preloads(course):
    course.add(
        '05_five',
        'import torch.nn as nn, matplotlib.pyplot as plt\nfrom sklearn.linear_model import Ridge',
        'from fastai.vision.all import *\nfrom tqdm.auto import tqdm')
    plan = Plan([], Options(), course.root)
    found = preloads(plan.graph.libraries())
    assert {'torch', 'torch.nn', 'sklearn.linear_model', 'numpy', 'matplotlib.figure'} <= set(found)
    assert not any(
        m.split('.')[0] in ('fastai', 'tqdm', 'exp') or m == 'matplotlib.pyplot' for m in found)
    assert 'torch._dynamo' not in found
    course.add('06_six', 'import torch', 'opt = torch.optim.SGD(params, lr=.1)')
    assert 'torch._dynamo' in preloads(Plan([], Options(), course.root).graph.libraries())
    course.write('nbs/matplotlibrc', '')
    assert 'matplotlib' not in preloads(plan.graph.libraries(), [course.root / 'nbs'])


def test_graph_needs_no_course_modules(tmp_path):
    course = Course(tmp_path)
    nb = load(course.add('01_x', 'import helper, missing.thing'))
    course.write('nbs/helper.py', 'import torch')
    files, libraries = Graph({'k': nb}, tmp_path).reached['k']
    assert [f.name for f in files] == ['helper.py'] and libraries == {'torch', 'missing.thing'}
