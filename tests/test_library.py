"""`exp` as an importer meets it: quiet, documented, and with names of its own only."""
import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parent.parent
MODULES = sorted(p.stem for p in (ROOT / 'exp').glob('nb_*.py'))
NOTEBOOKS = sorted((ROOT / 'nbs').glob('*.ipynb'))


def module(name):
    return importlib.import_module(f'exp.{name}')


def public(name):
    m = module(name)
    return {n: getattr(m, n) for n in m.__all__}


def test_there_is_a_module_for_every_chapter():
    numbers = {p.name.split('_')[0] for p in NOTEBOOKS}
    assert {m.removeprefix('nb_') for m in MODULES} <= numbers
    assert len(numbers) == len(NOTEBOOKS)


QUIET = """
import json, os, random, socket, sys, threading
import numpy, torch
def state():
    return [random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            torch.get_num_threads(), torch.is_grad_enabled(), str(torch.get_default_dtype()),
            os.getcwd(), dict(os.environ), threading.active_count(), sys.path[:], os.listdir()]
class Refuse(socket.socket):
    def connect(self, *args):
        raise AssertionError('importing a chapter reached for the network')
socket.socket = Refuse
before, modules = state(), set(sys.modules)
for name in sys.argv[1:]:
    __import__('exp.' + name)
heavy = {'matplotlib', 'sklearn', 'fastai', 'numba', 'pandas', 'torchvision'} & (set(sys.modules) - modules)
print(json.dumps({'same': state() == before, 'heavy': sorted(heavy), 'cuda': torch.cuda.is_initialized()}))
"""


def test_importing_all_chapters_does_nothing_else(tmp_path):
    run = subprocess.run([sys.executable, '-W', 'error::DeprecationWarning:exp', '-c', QUIET, *MODULES],
                         capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {'same': True, 'heavy': [], 'cuda': False}
    assert run.stderr == ''


@pytest.mark.parametrize('name', MODULES)
def test_all_lists_own_public_names(name):
    for n, value in public(name).items():
        assert not n.startswith('_')
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__module__ == f'exp.{name}', f'{n} comes from {value.__module__}'
        assert not inspect.ismodule(value)


@pytest.mark.parametrize('name', MODULES)
def test_public_names_are_documented(name):
    for n, value in public(name).items():
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, f'exp.{name}.{n} has no docstring'
            if inspect.isclass(value):
                for key, method in vars(value).items():
                    if inspect.isfunction(method) and not key.startswith('_'):
                        assert inspect.getdoc(getattr(value, key)), f'exp.{name}.{n}.{key} has no docstring'


def test_one_home_for_each_name():
    homes = {}
    for name in MODULES:
        for n in module(name).__all__:
            assert homes.setdefault(n, name) == name, f'{n} is exported by {homes[n]} and by {name}'


def docstring_lines(source):
    "How many lines of a cell are docstrings."
    nodes = [n for n in ast.walk(ast.parse(source))
             if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(n, clean=False)]
    return sum(len([t for t in ast.get_docstring(n, clean=False).splitlines() if t.strip()]) for n in nodes)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def cells(self, path):
        return json.loads(path.read_text(encoding='utf-8'))['cells']

    def test_says_its_title_and_budget(self, path):
        course = json.loads(path.read_text(encoding='utf-8'))['metadata']['course']
        assert course['title'] and 0 < course['budget'] <= 60

    def test_has_the_sections_a_reader_expects(self, path):
        text = '\n'.join(''.join(c['source']) for c in self.cells(path) if c['cell_type'] == 'markdown')
        for heading in ('Summary', 'What you exported', 'Exercises', 'Further reading'):
            assert re.search(rf'^#+ {heading}', text, re.M | re.I), f'no section "{heading}"'

    def test_was_run_from_top_to_bottom(self, path):
        code = [c for c in self.cells(path) if c['cell_type'] == 'code']
        assert [c['execution_count'] for c in code] == list(range(1, len(code) + 1))
        for c in code:
            errors = [o for o in c['outputs'] if o['output_type'] == 'error']
            assert not errors or 'raises-exception' in c['metadata'].get('tags', [])
            assert not [o for o in c['outputs'] if o.get('name') == 'stderr'], 'a warning was stored'

    def test_outputs_name_no_path_or_address_of_a_machine(self, path):
        for c in self.cells(path):
            text = json.dumps([{**o, 'data': {k: v for k, v in o.get('data', {}).items()
                                              if k not in ('image/png', 'image/jpeg')}}  # base64 may spell anything
                               for o in c.get('outputs', [])])
            found = re.search(r'/(home|root|Users|tmp|work|usr|var)/\w+| at 0x[0-9a-f]{6,}', text)
            assert not found, f'{found[0]} in the outputs of cell #{c["id"]}'

    def test_exercises_have_solution_points_and_test(self, path):
        marked = [c for c in self.cells(path) if c['metadata'].get('nbgrader')]
        solutions = [c for c in marked if c['metadata']['nbgrader']['solution']]
        tests = [c for c in marked if c['metadata']['nbgrader']['grade']]
        assert 1 <= len(tests) <= 8 and solutions
        for c in solutions:
            source = ''.join(c['source'])
            assert source.count('### BEGIN SOLUTION') == source.count('### END SOLUTION') >= 1
        for c in tests:
            assert c['metadata']['nbgrader']['points'] > 0 and c['metadata']['nbgrader']['locked']
        ids = [c['metadata']['nbgrader']['grade_id'] for c in marked]
        assert len(set(ids)) == len(ids)

    def test_cells_fit_on_a_screen(self, path):
        "At most 30 lines of code, 45 where it is exported; docstrings are for the importer, and left out."
        for c in self.cells(path):
            if c['cell_type'] == 'code':
                source = TransformerManager().transform_cell(''.join(c['source']))
                lines = sum(1 for line in source.splitlines() if line.strip()) - docstring_lines(source)
                limit = 45 if source.startswith('#export') else 30
                assert lines <= limit, f'cell #{c["id"]} has {lines} lines'
                assert max(map(len, source.splitlines()), default=0) <= 120

    def test_imports_come_from_the_home_of_each_name(self, path):
        for c in self.cells(path):
            if c['cell_type'] != 'code':
                continue
            source = TransformerManager().transform_cell(''.join(c['source']))
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('exp.nb_'):
                    home = module(node.module.removeprefix('exp.'))
                    for alias in node.names:
                        assert alias.name == '*' or alias.name in home.__all__ or \
                            alias.name.startswith('_'), f'{alias.name} is not exported by {node.module}'
