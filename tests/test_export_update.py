"""The way back: edits made in a module go into the cells they came from, and nowhere else."""
import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from coursekit.export import export
from coursekit.export_plan import ExportError
from coursekit.export_update import ESCAPE, source_spans, with_sources
from export_helpers import TOOL, Course, cell

CELLS = [
    'md:# Networks', '#export\nimport math', 'x = 1',
    '\n#| export\ndef f(n):\n    return math.sqrt(n)', 'f(4)',
    '#export\ndef g(n):\n    return f(n) + 1\n']


@pytest.fixture
def course(tmp_path):
    c = Course(tmp_path / 'course')
    c.write('02_net', *CELLS)
    c.write('01_other', '#export\nother = 1')
    export(root=c.root)
    return c


def fails(course, *messages, **options):
    "An update that must be refused: nothing is written, and the messages say why."
    before = course.tree()
    with pytest.raises(ExportError) as e:
        export(root=course.root, update=True, **options)
    for message in messages:
        assert message in str(e.value)
    assert course.tree() == before
    return str(e.value)


def test_an_edit_goes_back_into_its_cell(course):
    before = course.tree()
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(abs(n))')
    done = course.run_real('--update')
    assert done.returncode == 0, done.stderr
    assert 'nbs/02_net.ipynb: updated from exp/' in done.stdout
    assert course.sources('02_net') == [
        CELLS[0][3:], *CELLS[1:3],
        CELLS[3].replace('(n)\n', '(n)\n').replace('sqrt(n)', 'sqrt(abs(n))'), *CELLS[4:]]
    after = course.tree()
    assert {n for n in after if after[n] != before[n]} == {'nbs/02_net.ipynb', 'exp/nb_02.py'}
    expected = before['nbs/02_net.ipynb'][0].replace(b'math.sqrt(n)', b'math.sqrt(abs(n))')
    assert after['nbs/02_net.ipynb'][0] == expected
    export(root=course.root, check=True)


def test_a_renaming_in_the_whole_module(course):
    course.edit('02', "['f', 'g']", "['root', 'g']")
    course.edit('02', 'def f(', 'def root(')
    course.edit('02', 'return f(n)', 'return root(n)')
    assert course.run('--update').returncode == 0
    assert 'def root(n)' in course.sources('02_net')[3]
    assert 'root(n) + 1' in course.sources('02_net')[5]
    assert course.sources('02_net')[4] == 'f(4)'
    export(root=course.root, check=True)


def test_the_module_may_be_named(course):
    course.edit('02', 'sqrt', 'cbrt')
    assert course.run('--update', 'exp/nb_02.py').returncode == 0
    assert 'cbrt' in course.sources('02_net')[3]


def test_without_edits_an_update_is_an_export(course):
    before = course.tree()
    assert course.run('--update').returncode == 0
    assert course.tree() == before
    course.write('01_other', '#export\nother = 2')
    assert course.run('--update').returncode == 0
    assert 'other = 2' in course.text('01')


def test_cells_may_have_moved_and_others_been_added(course):
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(n * n)')
    cells = [dict(cell(s.removeprefix('md:').strip() if s.startswith('md:') else s, 'markdown'
                       if s.startswith('md:') else 'code'), id=f'c{i}')
             for i, s in enumerate(CELLS, 1)]
    new = [cells[0], cell('#export\nnew = 1', id='new'), cells[1], cells[3], cells[2], cells[5]]
    course.write('02_net', *new)
    export(root=course.root, update=True)
    assert course.sources('02_net') == [
        '# Networks', '#export\nnew = 1', CELLS[1], CELLS[3].replace('sqrt(n)', 'sqrt(n * n)'),
        CELLS[2], CELLS[5]]
    assert 'new = 1' in course.text('02')
    export(root=course.root, check=True)


def test_an_edit_in_the_notebook_and_one_in_the_module_of_different_cells(course):
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(2 * n)')
    course.write('02_net', *CELLS[:5], '#export\ndef g(n):\n    return f(n) + 2\n')
    export(root=course.root, update=True)
    assert 'sqrt(2 * n)' in course.sources('02_net')[3] and '+ 2' in course.sources('02_net')[5]
    export(root=course.root, check=True)


def test_a_cell_changed_on_both_sides_is_shown(course):
    course.edit('02', 'f(n) + 1', 'f(n) + 3')
    course.write('02_net', *CELLS[:5], '#export\ndef g(n):\n    return f(n) + 2\n')
    told = fails(course, '02_net.ipynb cell 6 (#c6), under "Networks"', '-    return f(n) + 2',
                 '+    return f(n) + 3', '--update --force')
    assert len(told.splitlines()) < 20
    export(root=course.root, update=True, force=True)
    assert '+ 3' in course.sources('02_net')[5]
    export(root=course.root, check=True)


def test_the_same_change_on_both_sides_is_no_conflict(course):
    course.edit('02', 'f(n) + 1', 'f(n) + 2')
    path = course.write('02_net', *CELLS[:5], '#export\ndef g(n):\n    return f(n) + 2\n')
    before = path.stat().st_mtime_ns
    export(root=course.root, update=True)
    assert path.stat().st_mtime_ns == before
    export(root=course.root, check=True)


def test_text_written_below_the_last_block_belongs_to_it(course):
    course.module('02').write_text(course.text('02') + '\n\ndef h(): return g(1)\n')
    export(root=course.root, update=True)
    assert course.sources('02_net')[5] == ('#export\ndef g(n):\n    return f(n) + 1\n\n\ndef h(): '
                                           'return g(1)\n')
    assert "'h'" in course.text('02')
    export(root=course.root, check=True)


def test_text_written_between_blocks_belongs_to_the_one_above(course):
    below = '\n\n\n# %% 02_net.ipynb cell 6'
    course.edit('02', below, '\n\n\ndef h(): return f(1)' + below)
    export(root=course.root, update=True)
    assert course.sources('02_net')[3].endswith('return math.sqrt(n)\n\n\ndef h(): return f(1)')


def test_a_block_that_was_emptied(course):
    course.edit('02', 'def g(n):\n    return f(n) + 1', '')
    export(root=course.root, update=True)
    assert course.sources('02_net')[5] == '#export\n'
    export(root=course.root, check=True)


def test_a_first_block_with_future_imports(course):
    course.write('03_f', '#export\nfrom __future__ import annotations\n\nx = 1', '#export\ny = 2')
    export(root=course.root)
    course.edit('03', 'x = 1', 'x = 3')
    course.edit('03', 'y = 2', 'y = 4')
    export(root=course.root, update=True)
    assert course.sources('03_f') == [
        '#export\nfrom __future__ import annotations\n\nx = 3', '#export\ny = 4']
    course.edit('03', '\n\n\n# %% 03_f.ipynb cell 2', '\nz = 1\n\n\n# %% 03_f.ipynb cell 2')
    fails(course, '`z = 1` stands between `__all__` and the next marker')


def without_block_4(text):
    return (text[:text.index('# %% 02_net.ipynb cell 4')]
            + text[text.index('# %% 02_net.ipynb cell 6'):])


def with_block(text, marker):
    return text.replace('# cell hashes', f'{marker}\nnew = 1\n\n# cell hashes')


def in_another_order(text):
    head, *blocks = text.partition('# cell hashes')[0].split('# %% 02_net')
    blocks = ['# %% 02_net' + b for b in (blocks[1], blocks[0], blocks[2])]
    return head + ''.join(blocks) + ''.join(text.partition('# cell hashes')[1:])


@pytest.mark.parametrize('edit, messages', [
    (lambda t: t.replace('# %% 02_net.ipynb cell 4 #c4\n', ''),
     ['exp/nb_02.py: the block of cell #c4 or the marker above it', 'put the marker back']),
    (without_block_4, ['the block of cell #c4', 'delete it in the notebook']),
    (lambda t: t.replace('#c4', '#c9'), ['the block of cell #c4']),
    (lambda t: with_block(t, '# %% 02_net.ipynb cell 9 #new'),
     ['there was no cell #new', 'made in the notebook']),
    (lambda t: with_block(t, '# %% 02_net.ipynb cell 4 #c4'), ['#c4 stands there twice']),
    (in_another_order, ['its blocks are in another order']),
    (lambda t: t[:t.index('# cell hashes')], ['its last line', 'missing or damaged']),
    (lambda t: t.replace('Networks', 'My networks'),
     ['its docstring was edited', 'title of the notebook']),
    (lambda t: t.replace('__all__', 'import os\n__all__'),
     ['`import os` stands above the first marker', 'move it below']),
    (lambda t: t.replace("'g']\n", "'g']\nimport os\n"),
     ['`import os` stands above the first marker']),
    (lambda t: t.replace('return math', 'return (math'),
     ['02_net.ipynb cell 4 (#c4), under "Networks", line 4: syntax error']),
    (lambda t: t.replace('math.sqrt', 'np.sqrt'), ['02_net.ipynb cell 4 (#c4)', '`np` is used']),
    (lambda t: t.replace('def f', 'def other'),
     ['exports `other`, and so does 01_other.ipynb']),
])
def test_edits_that_cannot_go_back(course, edit, messages):
    course.module('02').write_text(edit(course.text('02')))
    fails(course, *messages)
    fails(course, *messages[:1], paths=[course.nb('02_net')])


def test_all_that_is_in_the_way_is_told(course):
    course.edit('02', '# %% 02_net.ipynb cell 4 #c4\n', '')
    course.edit('01', '"""other', '"""another')
    told = fails(course, 'exp/nb_02.py: the block of cell #c4',
                 'exp/nb_01.py: its docstring was edited')
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize('cells, message', [
    ([*CELLS[:3], *CELLS[4:]], 'is gone'),
    ([*CELLS[:3], CELLS[3].replace('#| export', '# no more'), *CELLS[4:]],
     'is no longer an export cell')])
def test_the_cell_is_gone_from_the_notebook(course, cells, message):
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(2 * n)')
    course.write('02_net',
                 *(dict(cell(s.removeprefix('md:')), id=f'c{CELLS.index(s) + 1}' if s in CELLS
                        else 'c4') for s in cells))
    fails(course, 'the block of cell #c4 was edited, but in 02_net.ipynb that cell ' + message)


def test_the_notebook_is_gone(course):
    course.edit('02', 'sqrt', 'cbrt')
    course.nb('02_net').unlink()
    fails(course, 'exp/nb_02.py was edited by hand, but the notebook it came from '
                  '(nbs/02_net.ipynb) is gone')


def test_a_module_that_was_not_exported_cannot_be_brought_back(course):
    course.module('02').write_text('x = 1\n')
    fails(course, 'exp/nb_02.py was not made by notebook2script')


def test_notebooks_without_ids(course):
    course.write('03_old', '#export\nx = 1', '#export\ny = 2', ids=False)
    export(root=course.root)
    course.edit('03', 'y = 2', 'y = 3')
    course.write('03_old', 'md:New words above', '#export\nx = 1', '#export\ny = 2', ids=False)
    export(root=course.root, update=True)
    assert course.sources('03_old') == ['New words above', '#export\nx = 1', '#export\ny = 3']
    course.edit('03', 'y = 3', 'y = 4')
    course.write('03_old', 'md:New words above', '#export\nx = 1', '#export\ny = 5', ids=False)
    fails(course, '03_old.ipynb has no cell ids')


def test_git_conflict_markers_are_refused(course):
    line = '    return f(n) + 1'
    course.edit('02', line, f'<<<<<<< ours\n{line}\n=======\n{line}2\n>>>>>>> theirs')
    fails(course, '02_net.ipynb cell 6 (#c6)', 'syntax error')


def test_an_editor_that_translates_all_line_ends(course):
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(3 * n)')
    course.module('02').write_bytes(b'\xef\xbb\xbf'
                                    + course.module('02').read_bytes().replace(b'\n', b'\r\n'))
    export(root=course.root, update=True)
    assert course.sources('02_net')[3] == CELLS[3].replace('sqrt(n)', 'sqrt(3 * n)')
    assert course.sources('02_net')[5] == CELLS[5]


def test_a_cell_with_windows_line_ends_keeps_them(course):
    course.write('03_w', '#export\r\nx = 1\r\ny = 2', '#export\nz = 1')
    export(root=course.root)
    raw = course.module('03').read_bytes().replace(b'\r\n', b'\n')
    course.module('03').write_bytes(raw.replace(b'y = 2', b'y = 2\nw = 3'))
    export(root=course.root, update=True)
    assert course.sources('03_w')[0] == '#export\r\nx = 1\r\ny = 2\r\nw = 3'
    export(root=course.root, check=True)


def test_blank_lines_at_the_end_of_a_block_are_nobodys_edit(course):
    course.edit('02', 'import math\n\n\n', 'import math\n\n\n\n\n')
    before = course.nb('02_net').read_bytes()
    export(root=course.root, update=True)
    assert course.nb('02_net').read_bytes() == before
    export(root=course.root, check=True)


# ---- the notebook's file: everything else stays byte for byte

FORMATS = {
    'as Jupyter writes it': dict(indent=1, ensure_ascii=False),
    'escaped': dict(indent=1, ensure_ascii=True),
    'four spaces': dict(indent=4, ensure_ascii=False, sort_keys=True),
    'tabs': dict(indent='\t', ensure_ascii=False),
    'one line': dict(ensure_ascii=False),
    'compact': dict(ensure_ascii=False, separators=(',', ':')),
}


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('as_list', [True, False])
@pytest.mark.parametrize('end', ['\n', ''])
def test_the_notebooks_formatting_is_kept(course, form, as_list, end):
    "Writing the new cell with the same settings gives the same file, so nothing else moved."
    raw = json.loads(course.nb('02_net').read_text())
    raw['metadata'] = {'Ünïcode': 'é 😀', 'float': 1e-7, 'z': None, 'a': [1, {}, []]}
    raw['cells'][3]['outputs'] = [{'output_type': 'stream', 'name': 'stdout',
                                   'text': ['"source": ["no"]\n']}]
    raw['cells'][3]['execution_count'] = 7
    for c in raw['cells'] if not as_list else ():
        c['source'] = ''.join(c['source'])
    course.nb('02_net').write_text(json.dumps(raw, **FORMATS[form]) + end, encoding='utf-8')
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(n)  # é 😀')
    export(root=course.root, update=True)
    new = '\n#| export\ndef f(n):\n    return math.sqrt(n)  # é 😀'
    raw['cells'][3]['source'] = new.splitlines(True) if as_list else new
    assert course.nb('02_net').read_text(encoding='utf-8') == json.dumps(raw, **FORMATS[form]) + end


def test_odd_but_valid_json_is_kept(course):
    text = ('{ "nbformat":4,"nbformat_minor" : 5, '
            '"metadata":{"n":1.0e-05,"path":"a\\/b","u":"\\u00e9"},\n\n"cells" : [ '
            '{"source":"x","id":"a","cell_type":"code","metadata":{"source":["not '
            'me"]},"outputs":[]},{"id":"b","metadata":{},"cell_type":"code","outputs":[ '
            '],"source":[ "#export\\n" ,"x = 1\\n", "y = 2" ] }\t] }')
    course.nb('03_odd').write_text(text, encoding='utf-8')
    export(root=course.root)
    course.edit('03', 'y = 2', 'y = 3')
    export(root=course.root, update=True)
    expected = text.replace('[ "#export\\n" ,"x = 1\\n", "y = 2" ]',
                            '[ "#export\\n", "x = 1\\n", "y = 3" ]')
    assert course.nb('03_odd').read_text() == expected


jsons = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
                     | st.text(),
                     lambda inner: st.lists(inner, max_size=3)
                     | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8)


@given(st.lists(st.tuples(st.text(), st.booleans(), jsons), min_size=1, max_size=4),
       st.sampled_from(sorted(FORMATS)), st.data())
@settings(max_examples=150)
def test_any_source_in_any_notebook_can_be_replaced(cells, form, data):
    raw = {'metadata': {}, 'nbformat': 4,
           'cells': [{'metadata': more, 'source': s.splitlines(True) if as_list else s,
                      'outputs': [more]} for s, as_list, more in cells]}
    text = json.dumps(raw, **FORMATS[form])
    sources = [json.loads(text[start:end]) for start, end in source_spans(text)]
    assert sources == [c['source'] for c in raw['cells']]
    at, new = data.draw(st.integers(0, len(cells) - 1)), data.draw(st.text())
    raw['cells'][at]['source'] = new.splitlines(True) if cells[at][1] else new
    changed = with_sources(text, {at: new})
    assert json.loads(changed) == raw
    if form != 'escaped' or ESCAPE.search(text):
        assert changed == json.dumps(raw, **FORMATS[form])


lines = st.lists(st.text(st.characters(codec='utf-8', exclude_characters='\r\n\x00')), max_size=4)
texts = lines.map(lambda ls: '\n'.join(f'# {line}' for line in ls)) | lines.map(
    lambda ls: 's = """' + '\n'.join(ls).replace('\\', '').replace('"', '')
    + '"""').map(lambda t: t.replace('s =', '_s ='))


directives = st.sampled_from(['#export\n', '\n# export\n', '#|export\r\n'])
MARKER = '# %% 01_a.ipynb cell 1 #c1'


@given(st.lists(st.tuples(texts, texts, directives), min_size=1, max_size=4), st.data())
@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([(MARKER, 'x = 1', '#export\n'), (f'_s = """\n{MARKER}\n"""', '', '#export\n')], None)
def test_round_trip_from_notebook_to_module_and_back(tmp_path_factory, cells, data):
    "Whatever a cell is edited to in the module is what the notebook holds afterwards."
    course = Course(tmp_path_factory.mktemp('c'))
    course.write('01_a', 'md:# Title', *(directive + old for old, _, directive in cells))
    export(root=course.root)
    text = course.text('01')
    which = [True] * len(cells) if data is None else [data.draw(st.booleans()) for _ in cells]
    at = 0
    for i, ((old, new, directive), edit) in enumerate(zip(cells, which), 2):
        marker = f'# %% 01_a.ipynb cell {i} #c{i}\n'
        at = text.index(marker, at) + len(marker)
        at += directive.startswith('\n')
        assert text.startswith(old, at)
        if edit:
            text = text[:at] + new + text[at + len(old):]
    course.module('01').write_bytes(text.encode())
    export(root=course.root, update=True)
    for (old, new, directive), edit, source in zip(cells, which, course.sources('01_a')[1:]):
        expected = directive + (new if edit else old)
        assert source.rstrip('\r\n') == expected.rstrip('\r\n')
    export(root=course.root, check=True)


def test_killed_between_notebook_and_module_an_update_can_be_repeated(course):
    course.edit('02', 'math.sqrt(n)', 'math.sqrt(4 * n)')
    code = ('import os, signal, sys\nfrom coursekit import export_files\nreal, calls = '
            'os.replace, []\ndef replace(a, b):\n    calls.append(b)\n    os.kill(os.getpid(), '
            'signal.SIGKILL) if len(calls) == 2 else real(a, b)\nos.replace = replace\nfrom '
            'coursekit.export import export\nexport(root=sys.argv[1], update=True)')
    killed = subprocess.run([sys.executable, '-c', code, str(course.root)], cwd=TOOL.parent)
    assert killed.returncode < 0
    assert 'sqrt(4 * n)' in course.sources('02_net')[3]
    export(root=course.root, update=True)
    export(root=course.root, check=True)
