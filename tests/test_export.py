"""The exporter's contract, as its users meet it: the command line, and a notebook's last cell."""
import ast
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from coursekit import export_index, export_module
from coursekit.export import export
from coursekit.notebook import CourseError
from export_helpers import TOOL, Course, cell
from notebook2script import notebook2script

MATMUL = [
    'md:# Matrix multiplication', '#export\nimport math', 'print("not exported")', 'md:## Loops',
    '#export\ndef matmul(a, b):\n    "The product of `a` and `b`."\n    return math.prod([a, b])',
    'matmul(2, 3)']


@pytest.fixture
def course(tmp_path):
    c = Course(tmp_path / 'course')
    c.write('01_matmul', *MATMUL)
    c.write('02_net', 'md:# Networks', '#| export\nfrom exp.nb_01 import matmul\n\nclass Net: pass')
    c.write('03_prose', 'md:# Nothing but words', 'x = 1')
    return c


# ---- what a module holds

def test_a_module_has_header_names_and_marked_blocks(course):
    done = course.run_real()
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines() == [
        'nbs/01_matmul.ipynb → exp/nb_01.py · 1 name',
        'nbs/02_net.ipynb → exp/nb_02.py · 1 name', 'nbs/03_prose.ipynb: nothing to export',
        '2 modules: 2 written, 0 unchanged']
    text = course.text('01')
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring.startswith('Matrix multiplication\n\nExported from nbs/01_matmul.ipynb')
    assert ("\n__all__ = ['matmul']\n\n\n# %% 01_matmul.ipynb cell 2 #c2\nimport math\n\n\n"
            '# %% 01_matmul.ipynb cell 5 #c5\n') in text
    assert 'not exported' not in text and '#export' not in text
    assert max(map(len, text.splitlines())) <= 100
    assert not course.module('03').exists()


def test_the_modules_can_be_imported(course):
    course.run()
    code = ('from exp.nb_02 import *; import exp, exp.nb_01; print(sorted(n for n in dir() if '
            'n[0] != "_"), exp.nb_01.matmul(3, 4), list(exp.CHAPTERS))')
    out = subprocess.run([sys.executable, '-c', code], cwd=course.root,
                         env={**os.environ, 'PYTHONPATH': str(course.root)},
                         capture_output=True, text=True)
    assert out.stdout == "['Net', 'exp'] 12 ['nb_01', 'nb_02']\n", out.stderr


def test_the_index_lists_module_title_and_names(course):
    course.run()
    tree = ast.parse((course.exp / '__init__.py').read_text(encoding='utf-8'))
    assert 'nb_01   Matrix multiplication\n        matmul\n' in ast.get_docstring(tree)
    assert ast.literal_eval(tree.body[-1].value) == {
        'nb_01': {'title': 'Matrix multiplication', 'notebook': '01_matmul.ipynb',
                  'names': ['matmul']},
        'nb_02': {'title': 'Networks', 'notebook': '02_net.ipynb', 'names': ['Net']}}


def test_a_title_in_the_metadata_goes_before_the_heading(course):
    course.write('01_matmul', *MATMUL, metadata={'course': {'title': 'How to multiply'}})
    course.run()
    assert course.text('01').startswith('"""How to multiply\n')


@pytest.mark.parametrize('title', [
    'Say """hello"""', 'A \\alpha and \\', '"quoted"', 'é ü 漢 \u2028 x',
    "it's `code` *and* $x_1$", 'a' * 200])
def test_any_title_makes_a_docstring(course, title):
    course.write('04_title', f'md:# {title}', '#export\nx = 1')
    assert course.run().returncode == 0
    for file in (course.text('04'), (course.exp / '__init__.py').read_text(encoding='utf-8')):
        compile(file, 'x', 'exec')
    assert course.run('--check').returncode == 0


TEXTS = [
    'x = 1\n\n\n', 'x = 1   \n\ty = 2'.replace('\ty', 'y'), 's = """\r\n"""\r\nt = 1',
    'if 1:\n\tx = 1\nelse:\n\tx = 2', 'x = "é漢😀"', 'x = 1\n\x0c\ny = 2',
    's = "\u2028"\nt = "\x85"', 'x = 1\rz = 2', '\n\nx = 1', '', '    \n', '# only words',
    's = """\n# %% 01_a.ipynb cell 1 #c1\n"""', 's = """\n# %% 01_a.ipynb cell 2 #c2\n"""',
    's = """\n# cell hashes: c1:01234567\n"""', 's = """\n__all__ = [1]\n"""',
    's = """\n# notebook2script 1 sha256:0123456789abcdef head:01234567\n"""', 'x = 1;',
    'x = 1  # end \\']


def test_text_is_kept_byte_for_byte(course):
    cells = [re.sub(r'\b([xyzst]) =', rf'\g<1>{i} =', t) for i, t in enumerate(TEXTS)]
    course.write('04_texts', *(f'#export\n{t}' for t in cells))
    assert course.run(course.nb('04_texts')).returncode == 0
    raw = course.module('04').read_bytes()
    at = 0
    for i, text in enumerate(cells, 1):
        at = raw.index(f'# %% 04_texts.ipynb cell {i} #c{i}\n{text}\n'.encode(), at)
    assert course.run('--check', course.nb('04_texts')).returncode == 0


@pytest.mark.parametrize('source', [
    ['#export\n', 'x = 1\n', 'y = 2'], '#export\nx = 1\ny = 2', ['#export\nx = 1\ny', ' = 2']])
def test_source_may_be_a_string_or_a_list(course, source):
    course.write('04_a', 'z = 1')
    raw = json.loads(course.nb('04_a').read_text())
    raw['cells'][0]['source'] = source
    course.nb('04_a').write_text(json.dumps(raw))
    assert course.run(course.nb('04_a')).returncode == 0
    assert '#c1\nx = 1\ny = 2\n' in course.text('04')


def test_notebooks_without_cell_ids(course):
    course.write('04_old', 'md:# Old', '#export\nx = 1', ids=False)
    assert course.run().returncode == 0
    assert '# %% 04_old.ipynb cell 2 #cell-2\nx = 1' in course.text('04')


@given(st.lists(st.tuples(st.integers(1, 999), st.text(st.characters(codec='utf-8'))), min_size=1,
                max_size=6),
       st.booleans(), st.booleans())
@settings(max_examples=100)
def test_blocks_can_be_told_apart_again(cells, crlf, future):
    texts = [t for _, t in cells]
    if future:
        texts[0] = 'from __future__ import annotations\n' + texts[0]
    parts = [(n, f'id{i}', t) for i, ((n, _), t) in enumerate(zip(cells, texts))]
    text = export_module.render('01_a.ipynb', 'A title', ['a', 'b'] * 20, parts)
    module = export_module.read(text)
    assert module.intact and module.names == ['a', 'b'] * 20
    assert module.title == 'A title' and module.notebook == '01_a.ipynb'
    assert module.cells == export_module.entries(parts)
    assert export_module.split(module, 'x') == {id: t.rstrip('\r\n') for _, id, t in parts}
    if '\r' not in ''.join(texts):
        assert export_module.read(text.replace('\n', '\r\n')) == module


HARD = [
    '# %% 01_a.ipynb cell 1 #id0', '# %% 01_a.ipynb cell 2 #id1', '# cell hashes: id0:01234567',
    "__all__ = ['x']", '__all__ = [', ']', '\n\n\n', '\r\n', 'x', '"""', '', '\f', '   ', '# %%',
    '# notebook2script 1 sha256:0123456789abcdef head:01234567']


@given(st.lists(st.lists(st.sampled_from(HARD), max_size=6).map('\n'.join), min_size=1, max_size=4),
       st.booleans())
@settings(max_examples=150)
def test_blocks_that_look_like_the_frame_around_them(texts, future):
    if future:
        texts = ['from __future__ import annotations\n' + texts[0], *texts[1:]]
    parts = [(i + 1, f'id{i}', t) for i, t in enumerate(texts)]
    module = export_module.read(export_module.render('01_a.ipynb', 'T', ['y'], parts))
    assert module.intact and module.names == ['y'] and module.cells == export_module.entries(parts)
    assert export_module.split(module, 'x') == {id: t.rstrip('\r\n') for _, id, t in parts}


def test_lines_of_a_module_lead_back_to_the_cell(course):
    course.write('04_a', 'md:# Here', '\n\n#export\n\ndef f():\n    return 1 / 0', '#export\nx = 2')
    course.run()
    lines = course.text('04').split('\n')
    found = {text: export_module.locate(course.text('04'), i) for i, text in enumerate(lines, 1)}
    assert found['    return 1 / 0'] == ('04_a.ipynb', 2, 'c2', 6)
    assert found['x = 2'] == ('04_a.ipynb', 3, 'c3', 2)
    assert found[lines[0]] is None and export_module.locate('x = 1\n', 1) is None


# ---- unchanged modules are left alone

def test_what_does_not_change_is_not_touched(course):
    course.run_real()
    before = course.tree()
    again = course.run_real()
    assert course.tree() == before
    assert again.stdout.splitlines()[-1] == '2 modules: 0 written, 2 unchanged'
    course.write('02_net', 'md:# Networks', '#export\nclass Net: y = 1')
    assert course.run_real().stdout.splitlines()[-1] == '2 modules: 1 written, 1 unchanged'
    after = course.tree()
    assert {n for n in after if after[n] != before[n]} == {'nbs/02_net.ipynb', 'exp/nb_02.py'}


def test_outputs_and_prose_do_not_touch_a_module(course):
    course.run()
    before = course.tree()
    course.write('01_matmul', *MATMUL[:5], 'md:More words',
                 cell('matmul(2, 3)',
                      outputs=[{'output_type': 'stream', 'name': 'stdout', 'text': 'x'}]))
    course.run()
    assert {n for n, v in course.tree().items() if v != before[n]} == {'nbs/01_matmul.ipynb'}


def test_a_checkout_that_translates_line_ends_is_no_edit(course):
    course.run()
    for path in course.exp.glob('*.py'):
        path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n'))
    before = course.tree()
    assert course.run('--check').returncode == 0
    assert course.run().stdout.splitlines()[-1] == '2 modules: 0 written, 2 unchanged'
    assert course.tree() == before


def test_a_module_written_twice_in_a_second_has_a_later_time(course):
    "Python takes a compiled module for current when size and whole seconds of its source agree."
    path = course.write('04_a', '#export\nx = 1')
    export([path])
    first = course.module('04').stat()
    course.write('04_a', '#export\nx = 2')
    export([path])
    second = course.module('04').stat()
    assert first.st_size == second.st_size and int(second.st_mtime) > int(first.st_mtime)


def test_the_files_mode_is_kept(course):
    course.run()
    course.module('01').chmod(0o600)
    course.write('01_matmul', *MATMUL[:4], '#export\nmatmul = 1')
    course.run()
    assert course.module('01').stat().st_mode & 0o777 == 0o600
    assert course.module('02').stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


# ---- the call in a notebook

def test_the_call_in_a_notebook_prints_one_line_that_never_changes(course, monkeypatch, capsys):
    monkeypatch.chdir(course.root / 'nbs')
    for _ in range(2):
        assert notebook2script('01_matmul.ipynb') is None
        assert capsys.readouterr() == ('nbs/01_matmul.ipynb → exp/nb_01.py · 1 name\n', '')
    notebook2script('03_prose.ipynb')
    assert capsys.readouterr().out == 'nbs/03_prose.ipynb: nothing to export\n'
    assert not course.module('02').exists()
    assert "'nb_02'" not in (course.exp / '__init__.py').read_text()
    notebook2script('02_net.ipynb')
    index = (course.exp / '__init__.py').read_text()
    assert "'nb_01'" in index and "'nb_02'" in index


def test_a_bare_name_is_found_from_elsewhere_in_the_course(course, monkeypatch, capsys):
    monkeypatch.chdir(course.root)
    notebook2script('01_matmul.ipynb')
    assert capsys.readouterr().out == 'nbs/01_matmul.ipynb → exp/nb_01.py · 1 name\n'


def test_in_a_notebook_errors_are_exceptions_without_frames(course, monkeypatch):
    monkeypatch.chdir(course.root / 'nbs')
    course.write('01_matmul', '#export\nx = y')
    with pytest.raises(CourseError) as e:
        notebook2script('01_matmul.ipynb')
    assert str(e.value).startswith('01_matmul.ipynb cell 1 (#c1), line 2: `y` is used')
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell()
    shown = []
    shell._showtraceback = lambda etype, evalue, stb: shown.extend(stb)
    shell.run_cell('from notebook2script import '
                   'notebook2script\nnotebook2script("01_matmul.ipynb")')
    assert shown == [f'ExportError: {e.value}']


def test_the_root_is_the_nearest_folder_with_nbs(course, tmp_path):
    deep = course.root / 'a' / 'b'
    deep.mkdir(parents=True)
    assert course.run(cwd=deep).returncode == 0 and course.module('01').exists()
    other = Course(tmp_path / 'other')
    other.write('07_x', '#export\nx = 1')
    assert course.run(other.nb('07_x')).returncode == 0 and other.module('07').exists()
    assert course.run('--root', other.root, '--check').returncode == 0
    assert course.run(f'--root={other.root}', 'nbs/07_x.ipynb').returncode == 1
    assert course.run('--root', other.root, other.nb('07_x')).returncode == 0
    done = course.run(cwd=tmp_path)
    assert done.returncode == 1 and 'no course found' in done.stderr


def test_a_module_may_be_named_for_its_notebook(course):
    course.run()
    assert course.run('exp/nb_01.py').stdout == 'nbs/01_matmul.ipynb → exp/nb_01.py · 1 name\n'


@pytest.mark.parametrize('args, status, out', [
    (['--check', 'nbs/01_matmul.ipynb'], 1, ''), (['-check'], 1, ''),
    (['--force', 'nbs/01_matmul.ipynb'], 0, 'nb_01'),
    (['nbs/01_matmul.ipynb', '--force'], 0, 'nb_01'), (['--nocheck'], 0, 'nb_02'),
    (['--check=False'], 0, 'nb_02'), (['--check=True'], 1, '')])
def test_options_may_be_spelled_in_several_ways(course, args, status, out):
    done = course.run(*args)
    assert done.returncode == status and out in done.stdout and 'Traceback' not in done.stderr
    assert course.module('01').exists() == (status == 0)


@pytest.mark.parametrize('args', [
    ['--chekc'], ['--check=perhaps'], ['--root'], ['-x'], ['--force-all', 'nbs/01_matmul.ipynb']])
def test_an_option_that_makes_no_sense_has_status_2_and_does_nothing(course, args):
    before = course.tree()
    done = course.run_real(*args)
    assert done.returncode == 2 and '--help' in done.stderr and 'Traceback' not in done.stderr
    assert course.tree() == before


@pytest.mark.parametrize('args', [
    ['--check', '--force'], ['--check', '--update'], ['--check', '--prune'],
    ['--prune', 'nbs/01_matmul.ipynb'], ['--watch', '--check'], ['--watch', '--update']])
def test_options_that_contradict_each_other(course, args):
    before = course.tree()
    done = course.run(*args)
    assert done.returncode == 1 and args[0] in done.stderr and course.tree() == before


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_tells_a_stranger(course, flag):
    before = course.tree()
    done = course.run_real(flag)
    assert done.returncode == 0 and done.stderr == '' and course.tree() == before
    for word in ('--root', '--check', '--update', '--watch', '--prune', '--force', '#export',
                 'Exit status', 'nbs/', '__all__'):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_terminal_without_arrows(course):
    done = subprocess.run([sys.executable, str(TOOL)], cwd=course.root, capture_output=True,
                          env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
    assert done.returncode == 0 and b'nbs/01_matmul.ipynb ? exp/nb_01.py' in done.stdout


# ---- bad input: told, and nothing written

def bad(course):
    "Each kind of bad input: what makes it, and what the message must say."
    nbs = course.root / 'nbs'
    def write(*sources, name='05_bad'):
        return lambda: course.write(name, *sources)

    def text(text):
        return lambda: (nbs / '05_bad.ipynb').write_bytes(text)

    def lone_surrogate():
        path = course.write('05_bad', '#export\nx = 1')
        path.write_text(path.read_text().replace('x = 1', 'x = \\"\\ud800\\"'))
    return {
        'syntax': (write('md:# Title', 'x', '#export\nx = 1\ndef f(:\n    pass'),
                   ['05_bad.ipynb cell 3 (#c3), under "Title", line 3: syntax error', 'def f(:']),
        'magic': (write('#export\nimport os\n%time os.getcwd()'),
                  ['05_bad.ipynb cell 1 (#c1), line 3: `%time os.getcwd()` is IPython']),
        'shell': (write('#export\nfiles = !ls'),
                  ['cell 1 (#c1), line 2: `files = !ls` is IPython']),
        'misspelt': (write('x', '#exprot\ny = 1'),
                     ['05_bad.ipynb cell 2 (#c2), line 1: `#exprot`', 'did you mean `#export`']),
        'same number': (write('x = 1', name='02_other'),
                        ['02_net.ipynb and 02_other.ipynb have one number']),
        'same number, other spelling': (write('x = 1', name='2_other'), ['have one number']),
        'same name': (write('#export\ndef matmul(): pass'),
                      ['05_bad.ipynb cell 1 (#c1), line 2: exports `matmul`',
                       '01_matmul.ipynb cell 5 (#c5), under "Loops"']),
        'corrupt': (text(b'{"cells": ['), ['05_bad.ipynb: is not valid JSON', 'line 1, column']),
        'empty file': (text(b''), ['05_bad.ipynb: is not valid JSON']),
        'not a notebook': (text(b'[]'), ['05_bad.ipynb', 'no notebook']),
        'an old notebook': (text(b'{"nbformat": 3, "worksheets": []}'), ['version 3']),
        'latin-1': (text(b'{"cells": ["\xe9"]}'), ['05_bad.ipynb: is not UTF-8']),
        'undefined': (write('import os', '#export\ndef f(): return os.getcwd()'),
                      ['05_bad.ipynb cell 2 (#c2), line 2: `os` is used',
                       'cell 1 (#c1) does, but has no `#export`']),
        'no number': (write('#export\nx = 1', name='intro'),
                      ['intro.ipynb: has export cells but no number']),
        'one id twice': (write(cell('#export\nx = 1', id='a'), cell('#export\ny = 1', id='a')),
                         ['cell 2 (#a)', 'same id as cell 1']),
        'an odd id': (write(cell('#export\nx = 1', id='a b')), ['its id']),
        'a folder': ((nbs / '05_bad.ipynb').mkdir, ['05_bad.ipynb', 'is a folder']),
        'half a character': (lone_surrogate, ['05_bad.ipynb cell 1 (#c1)', 'surrogate']),
    }


KINDS = [
    'syntax', 'magic', 'shell', 'misspelt', 'same number', 'same number, other spelling',
    'same name', 'corrupt', 'empty file', 'not a notebook', 'an old notebook', 'latin-1',
    'undefined', 'no number', 'one id twice', 'an odd id', 'a folder', 'half a character']


@pytest.mark.parametrize('kind', KINDS)
def test_bad_input_is_told_and_nothing_is_written(course, kind):
    export(root=course.root)
    course.write('01_matmul', *MATMUL[:4], '#export\ndef matmul(): "must not be written"')
    make, messages = bad(course)[kind]
    make()
    before = course.tree()
    done = (course.run_real if kind in ('syntax', 'corrupt', 'same name') else course.run)()
    assert done.returncode == 1 and done.stdout == '' and 'Traceback' not in done.stderr
    for message in messages:
        assert message in done.stderr
    assert course.tree() == before


KEYS = ['cells', 'metadata', 'source', 'cell_type', 'id', 'tags', 'course', 'title', 'outputs',
        'nbformat']
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(['', 'x', '#export\nx = 1']),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(KEYS), inner, max_size=3), max_leaves=6)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_notebook_that_is_odd_in_any_place_is_exported_or_told(tmp_path_factory, data):
    course = Course(tmp_path_factory.mktemp('c'))
    path = course.write('01_a', 'md:# Title', '#export\nx = 1', 'y = 2',
                        metadata={'course': {'title': 'T'}})
    raw = json.loads(path.read_text())
    at = raw
    for _ in range(data.draw(st.integers(0, 3))):
        inner = list(at.values()) if isinstance(at, dict) else at
        inner = [v for v in inner if isinstance(v, (dict, list)) and v]
        at = data.draw(st.sampled_from(inner)) if inner else at
    at[data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))] = \
        data.draw(junk)
    path.write_text(json.dumps(raw))
    for options in ({}, {'check': True}, {'update': True}):
        try:
            export(root=course.root, **options)
        except CourseError as e:
            assert '01_a.ipynb' in str(e)
            break


def test_a_notebook_nested_without_end(course):
    (course.root / 'nbs' / '05_deep.ipynb').write_text('[' * 100_000)
    done = course.run()
    assert done.returncode == 1 and '05_deep.ipynb: is JSON nested too deeply' in done.stderr


def test_a_name_that_no_docstring_can_hold(course):
    course.write('05_a"""b', '#export\nx = 1')
    assert 'quotes, backslashes' in course.run().stderr


def test_a_folder_where_the_module_should_be(course):
    course.module('01').mkdir(parents=True)
    done = course.run()
    assert done.returncode == 1 and 'nb_01.py' in done.stderr and 'Traceback' not in done.stderr


def test_every_kind_of_bad_input_is_tried(course):
    assert list(bad(course)) == KINDS


def test_all_problems_are_told_at_once(course):
    course.write('01_matmul', '#export\ndef f(:', '#exprot', '#export\n!ls')
    course.write('02_net', '#export\nx = y', '#export\nz = w')
    (course.root / 'nbs' / '04_broken.ipynb').write_text('{')
    lines = [line for line in course.run_real().stderr.splitlines() if not line.startswith('    ')]
    assert [line.partition(':')[0].split(',')[0] for line in lines] == [
        'nbs/04_broken.ipynb', '01_matmul.ipynb cell 1 (#c1)', '01_matmul.ipynb cell 2 (#c2)',
        '01_matmul.ipynb cell 3 (#c3)', '02_net.ipynb cell 1 (#c1)', '02_net.ipynb cell 2 (#c2)']


def test_a_missing_notebook(course):
    done = course.run_real('nbs/09_gone.ipynb')
    assert done.returncode == 1 and done.stderr == 'nbs/09_gone.ipynb: there is no such notebook\n'
    assert not course.exp.exists()


def test_one_bad_notebook_keeps_the_good_ones_named_with_it_from_being_written(course):
    course.write('05_bad', '#export\nx = y')
    assert course.run('nbs/01_matmul.ipynb', 'nbs/05_bad.ipynb').returncode == 1
    assert not course.exp.exists()


def test_no_notebooks_is_an_error(tmp_path):
    empty = Course(tmp_path)
    done = empty.run()
    assert done.returncode == 1 and 'holds no notebooks' in done.stderr


def test_checkpoints_are_no_notebooks(course):
    (course.root / 'nbs' / '.ipynb_checkpoints').mkdir()
    (course.root / 'nbs' / '.ipynb_checkpoints' / '01_matmul-checkpoint.ipynb').write_text('{')
    (course.root / 'nbs' / '._01_matmul.ipynb').write_text('{')
    assert course.run().returncode == 0


def test_a_notebook_outside_nbs_is_refused(course):
    course.nb('01_matmul').rename(course.root / '01_matmul.ipynb')
    done = course.run('01_matmul.ipynb')
    assert done.returncode == 1 and 'is not in nbs' in done.stderr


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, 'geteuid') else True,
                    reason='root may write everywhere')
def test_a_folder_that_cannot_be_written(course):
    export(root=course.root)
    course.write('01_matmul', '#export\nmatmul = 1')
    course.exp.chmod(0o500)
    done = course.run()
    course.exp.chmod(0o700)
    assert done.returncode == 1 and 'could not be written' in done.stderr


def test_a_write_that_fails_halfway_is_taken_back(course, monkeypatch):
    export(root=course.root)
    course.write('01_matmul', '#export\nmatmul = 1')
    course.write('02_net', '#export\nNet = 1')
    before = course.tree()
    real, calls = os.replace, []

    def failing(src, dst):
        calls.append(dst)
        if len(calls) == 2:
            raise OSError(28, 'No space left on device', str(src), None, str(dst))
        real(src, dst)
    monkeypatch.setattr(os, 'replace', failing)
    with pytest.raises(CourseError, match='No space left on device'):
        export(root=course.root)
    assert {n: v[0] for n, v in course.tree().items()} == {n: v[0] for n, v in before.items()}


# ---- modules edited by hand, written by hand, stale

def test_a_module_edited_by_hand_is_not_overwritten(course):
    course.run()
    course.edit('01', 'math.prod', 'math.fsum')
    course.write('01_matmul', *MATMUL[:4], '#export\ndef matmul(): pass')
    before = course.tree()
    for args in ([], ['nbs/01_matmul.ipynb'], ['--prune']):
        done = course.run(*args)
        assert done.returncode == 1 and 'exp/nb_01.py was edited by hand' in done.stderr
        assert '--update' in done.stderr and '--force' in done.stderr
        assert course.tree() == before
    assert course.run('--force').returncode == 0
    assert 'fsum' not in course.text('01') and course.run('--check').returncode == 0


@pytest.mark.parametrize('change', [
    lambda t: t.replace('Matrix', 'Matrices', 1),
    lambda t: t.replace("['matmul']", "['matmul', 'x']"), lambda t: t + '\ny = 1\n',
    lambda t: t.replace('cell 5', 'cell 6'), lambda t: t.replace('# cell hashes', '# hashes')])
def test_any_edit_by_hand_is_noticed(course, change):
    course.run()
    course.module('01').write_text(change(course.text('01')))
    assert 'edited by hand' in course.run().stderr
    assert 'edited by hand' in course.run('--check').stderr


def test_a_module_that_was_not_made_by_the_tool_is_not_overwritten(course):
    course.exp.mkdir()
    course.module('01').write_text('precious = 1\n')
    done = course.run()
    assert done.returncode == 1 and 'exp/nb_01.py was not made by notebook2script' in done.stderr
    assert course.text('01') == 'precious = 1\n' and not course.module('02').exists()
    assert course.run('--force').returncode == 0 and 'matmul' in course.text('01')


def test_an_index_written_by_hand_is_left_alone(course):
    course.exp.mkdir()
    (course.exp / '__init__.py').write_text('__version__ = "1"\n')
    assert course.run().returncode == 0 and course.run('--check').returncode == 0
    assert course.run('--force').returncode == 0
    assert (course.exp / '__init__.py').read_text() == '__version__ = "1"\n'


def test_code_added_to_the_index_is_not_overwritten(course):
    course.run()
    with open(course.exp / '__init__.py', 'a') as f:
        f.write('x = 1\n')
    done = course.run()
    assert done.returncode == 1 and 'exp/__init__.py holds code written by hand' in done.stderr
    assert course.run('--force').returncode == 0 and course.run('--check').returncode == 0


def test_an_index_out_of_a_merge_is_made_anew(course):
    course.run()
    index = course.exp / '__init__.py'
    right = index.read_text()
    ours, theirs = '<<<<<<< a\nnb_02   N\n=======\n', 'nb_02   M\n>>>>>>> b'
    for wrong in (right.replace("'Net'", "'Net', 'Other'"),
                  right.replace('nb_02   Networks', ours + theirs),
                  right.replace("    'nb_02'", "<<<<<<< a\n=======\n>>>>>>> b\n    'nb_02'")):
        assert wrong != right
        index.write_text(wrong)
        assert course.run('--check').returncode == 1
        assert course.run().returncode == 0 and index.read_text() == right


def test_stale_modules_are_told_and_pruned(course):
    course.run()
    course.nb('02_net').unlink()
    (course.exp / 'nb_77.py').write_text('# by hand\n')
    (course.exp / 'tools.py').write_text('# by hand\n')
    done = course.run()
    assert done.returncode == 0 and 'exp/nb_02.py: stale' in done.stdout
    assert course.module('02').exists()
    done = course.run('--check')
    assert done.returncode == 1 and 'exp/nb_02.py is stale' in done.stderr
    assert 'nb_77' not in done.stderr
    done = course.run('--prune')
    assert done.returncode == 0 and 'exp/nb_02.py: removed' in done.stdout
    assert sorted(p.name for p in course.exp.iterdir()) == [
        '__init__.py', 'nb_01.py', 'nb_77.py', 'tools.py']
    assert 'nb_02' not in (course.exp / '__init__.py').read_text()
    assert course.run('--check').returncode == 0


def test_when_the_last_chapter_exports_no_more_the_index_lists_nothing(course):
    course.run()
    for name in ('01_matmul', '02_net'):
        course.nb(name).unlink()
    assert course.run('--prune').returncode == 0 and course.run('--check').returncode == 0
    assert [p.name for p in course.exp.iterdir()] == ['__init__.py']
    assert 'CHAPTERS = {\n}' in (course.exp / '__init__.py').read_text()


def test_a_stale_module_that_was_edited_is_not_pruned(course):
    course.run()
    course.write('02_net', 'md:# Nothing exported any more')
    course.edit('02', 'class Net', 'class Network')
    before = course.tree()
    done = course.run('--prune')
    assert done.returncode == 1 and 'exp/nb_02.py is stale, but was edited' in done.stderr
    assert course.tree() == before
    assert course.run('--prune', '--force').returncode == 0 and not course.module('02').exists()


def test_a_chapter_that_imports_from_a_stale_module_is_told(course):
    course.write('04_c', '#export\nfrom exp.nb_02 import Net')
    course.run()
    course.nb('02_net').unlink()
    done = course.run()
    assert done.returncode == 1
    assert 'imports exp.nb_02, but there is no exp/nb_02.py and no notebook' in done.stderr


# ---- --check

def test_check_writes_nothing_at_all(course):
    before = course.tree()
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}
    done = subprocess.run([sys.executable, str(TOOL), '--check'], cwd=course.root,
                          capture_output=True, text=True, env=env)
    assert done.returncode == 1 and 'exp/nb_01.py is missing' in done.stderr
    assert course.tree() == before and not course.exp.exists()


def test_check_leaves_no_compiled_files(course, tmp_path):
    tool = tmp_path / 'tool'
    (tool / 'coursekit').mkdir(parents=True)
    for path in [TOOL, *(TOOL.parent / 'coursekit').glob('*.py')]:
        (tool / path.relative_to(TOOL.parent)).write_bytes(path.read_bytes())
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}
    subprocess.run([sys.executable, str(tool / TOOL.name), '--check'], cwd=course.root, env=env,
                   capture_output=True)
    assert not list(tool.rglob('__pycache__'))


def test_check_shows_a_short_diff(course):
    export(root=course.root)
    assert course.run('--check').returncode == 0
    course.write('01_matmul', *MATMUL[:4], '#export\ndef matmul(a, b):\n    "Shorter."\n    '
                                           'return math.prod([a, b])')
    before = course.tree()
    done = course.run_real('--check')
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.startswith('exp/nb_01.py is not what nbs/01_matmul.ipynb gives\n--- '
                                  'exp/nb_01.py\n')
    assert '\n-    "The product of `a` and `b`."\n+    "Shorter."\n' in done.stderr
    course.write('01_matmul', '#export\n' + '\n'.join(f'matmul_{i} = {i}' for i in range(200)),
                 '#export\nmatmul = 1')
    done = course.run('--check')
    assert len(done.stderr.splitlines()) <= 40 and 'lines more' in done.stderr
    assert {k: v for k, v in course.tree().items()
            if 'exp' in k} == {k: v for k, v in before.items() if 'exp' in k}


def test_check_sees_an_index_that_is_wrong(course):
    export(root=course.root)
    kept = (course.exp / '__init__.py').read_text()
    (course.exp / '__init__.py').unlink()
    assert 'exp/__init__.py is missing' in course.run('--check').stderr
    course.write('02_net', 'md:# Networks', '#export\nclass Net2: pass')
    export(root=course.root)
    (course.exp / '__init__.py').write_text(kept)
    assert 'exp/__init__.py does not list' in course.run('--check').stderr


def test_check_of_named_notebooks_looks_at_those_only(course):
    export(root=course.root)
    course.write('02_net', '#export\nclass Net3: pass')
    assert course.run('--check', 'nbs/01_matmul.ipynb').returncode == 0
    assert course.run('--check', 'nbs/02_net.ipynb').returncode == 1


SOME = st.sampled_from(['a = 1', 'def f(): return a', 'import os', '# words', 'b: int = 2',
                        'class C: pass', '_x = 3', ''])


@given(st.lists(st.lists(SOME, unique=True, max_size=4), min_size=1, max_size=3, unique_by=tuple))
@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_export_is_clean_and_a_second_one_changes_nothing(tmp_path_factory, cells):
    course = Course(tmp_path_factory.mktemp('c'))
    lines = list(dict.fromkeys(line for c in cells for line in c))
    if 'def f(): return a' in lines and 'a = 1' not in lines:
        cells = [*cells, ['a = 1']]
    seen = set()
    sources = ['#export\n'
               + '\n'.join(line for line in c if line not in seen and not seen.add(line))
               for c in cells]
    course.write('01_a', *sources)
    export(root=course.root)
    before = course.tree()
    export(root=course.root, check=True)
    export(root=course.root)
    export([course.nb('01_a')])
    assert course.tree() == before


# ---- several at once, and killed in the middle

AT_ONCE = '''
import os, sys
from pathlib import Path
from coursekit.export import export
path, name = Path(sys.argv[1]), sys.argv[2]
for k in range(12):
    text = path.read_text().replace(name + 'x', name)
    new = path.with_suffix('.tmp')
    new.write_text(text.replace(name, name + 'x') if k % 2 else text)
    os.replace(new, path)
    export([path])
'''
HERE = {**os.environ, 'PYTHONPATH': str(TOOL.parent)}


def test_notebooks_that_export_at_once_lose_nothing(tmp_path):
    course, n = Course(tmp_path), 6
    for i in range(n):
        course.write(f'{i:02d}_x', f'md:# Chapter {i}', f'#export\nname_{i} = {i}')
    running = [subprocess.Popen([sys.executable, '-c', AT_ONCE, str(course.nb(f'{i:02d}_x')),
                                 f'name_{i}'], stderr=subprocess.PIPE, text=True, env=HERE)
               for i in range(n)]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    export(root=course.root, check=True)
    assert 'name_0x = 0' in course.text('00')
    assert {p.name for p in course.exp.iterdir()} - {'__pycache__'} == {
        '__init__.py', *(f'nb_{i:02d}.py' for i in range(n))}


def test_a_module_that_appears_while_the_index_is_written_is_listed(course, monkeypatch):
    "Whoever writes the index looks again, so the last writer has seen every module."
    export(root=course.root)
    late = course.text('02')
    for path in course.exp.glob('*.py'):
        path.unlink()
    real = export_index.write_all

    def write_all(texts):
        real(texts)
        course.module('02').write_bytes(late.encode())  # another process, just then
    monkeypatch.setattr(export_index, 'write_all', write_all)
    export([course.nb('01_matmul')])
    assert "'nb_02'" in (course.exp / '__init__.py').read_text()


KILLED = '''
import os, signal, sys
from pathlib import Path
from coursekit import export_files
step, real_replace, real_write = int(sys.argv[2]), os.replace, Path.write_bytes
calls = iter(range(100))
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def replace(src, dst):
    die() if next(calls) == step else real_replace(src, dst)
def write_bytes(self, data):
    if next(calls) == step:
        real_write(self, data[:len(data) // 2]); die()
    return real_write(self, data)
os.replace, Path.write_bytes = replace, write_bytes
from coursekit.export import export
export(root=sys.argv[1])
'''


@pytest.mark.skipif(os.name == 'nt', reason='SIGKILL')
@pytest.mark.parametrize('step', range(6))
def test_killed_in_the_middle_of_a_write_every_file_is_old_or_new(course, step):
    export(root=course.root)
    old = {n: v[0] for n, v in course.tree().items()}
    course.write('01_matmul', *MATMUL[:4], '#export\ndef matmul(): "new"')
    course.write('02_net', '#export\nclass Net4: "new"')
    killed = subprocess.run([sys.executable, '-c', KILLED, str(course.root), str(step)],
                            env=HERE)
    assert killed.returncode == -signal.SIGKILL
    left = {n: v[0] for n, v in course.tree().items() if not n.endswith('.tmp')}
    for path in course.exp.glob('.*.tmp'):
        os.utime(path, (time.time() - 3600,) * 2)
    export(root=course.root)
    new = {n: v[0] for n, v in course.tree().items()}
    assert set(new) == set(left), 'what the killed process left lying about is cleared away'
    assert all(left[n] in (old[n], new[n]) for n in left if n.startswith('exp/'))
    export(root=course.root, check=True)
