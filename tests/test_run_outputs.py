"""Stored outputs: one form, nothing volatile, and files that change only when outputs do."""
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_support import Course, code, markdown

from coursekit import outputs as o


def stream(name, text):
    return {'output_type': 'stream', 'name': name, 'text': text}


@pytest.mark.parametrize('text, shown', [('a\rb\n', 'b\n'), ('10%\r20%\r30%\n', '30%\n'),
                                         ('long\rx\n', 'xong\n'), ('a\r\nb\r\n', 'a\nb\n'),
                                         ('working\r       \rdone\n', 'done\n'), ('ab\bc', 'ac'),
                                         ('a\rb', 'b'), ('plain\n', 'plain\n'), ('abc\r', 'abc'),
                                         ('trailing  \n', 'trailing  \n')])
def test_collapse(text, shown):
    assert o.collapse(text) == shown


@given(st.text(alphabet='ab\r\b\n '))
def test_collapse_is_stable(text):
    assert o.collapse(o.collapse(text)) == o.collapse(text)


@given(st.text('ab\n', max_size=30), st.lists(st.integers(0, 30)))
def test_merging_does_not_depend_on_the_cut(text, cuts):
    cuts = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    pieces = [stream('stdout', text[a:b]) for a, b in zip(cuts, cuts[1:])]
    assert o.merge_streams(pieces) == o.merge_streams([stream('stdout', text)])


def test_streams_are_merged_between_displays():
    shown = {'output_type': 'display_data', 'data': {'text/plain': 'd'}, 'metadata': {}}
    pieces = [
        stream('stderr', 'e1'),
        stream('stdout', 'a'),
        stream('stderr', 'e2'),
        stream('stdout', 'b'), shown,
        stream('stdout', 'c')
    ]
    assert o.merge_streams(pieces) == [
        stream('stdout', 'ab'),
        stream('stderr', 'e1e2'), shown,
        stream('stdout', 'c')
    ]


def test_scrubbing(monkeypatch, tmp_path):
    import sysconfig
    scrub = o.Scrubber(tmp_path / 'course')
    lib = sysconfig.get_paths()['purelib']
    assert scrub(f'File {tmp_path}/course/exp/nb_01.py:3, in f') == 'File exp/nb_01.py:3, in f'
    assert scrub(f'{lib}/torch/x.py:1') == 'site-packages/torch/x.py:1'
    assert scrub(
        '/x/y/ipykernel_4711/123.py:2: UserWarning') == 'ipykernel/123.py:2: UserWarning'
    assert scrub(f'{tmp_path}/course2/x') == f'{tmp_path}/course2/x'


def test_tidy_leaves_results_alone_but_cleans_errors(tmp_path):
    scrub = o.Scrubber(tmp_path)
    result = {'output_type': 'execute_result', 'execution_count': 1, 'metadata': {},
              'data': {'text/plain': f'{tmp_path}/x', o.WIDGET: {'model_id': 'a1'}}}
    error = {'output_type': 'error', 'ename': 'E', 'evalue': '',
             'traceback': [f'File {tmp_path}/x.py']}
    tidied = o.tidy([result, error, stream('stderr', f'{tmp_path}/y.py:1: Warning\n')], scrub)
    assert tidied[0]['data'] == {'text/plain': f'{tmp_path}/x'}
    assert tidied[1]['traceback'] == ['File x.py']
    assert tidied[2]['text'] == 'y.py:1: Warning\n' and o.WIDGET in result['data']


def test_stored():
    meta = {'widgets': {}, 'kernelspec': {'name': 'mine'}, 'course': {'budget': 5},
            'language_info': {'name': 'python', 'version': '3.9'}}
    cells = [markdown('# a\nb'),
             code('1', execution_count=7, outputs=[stream('stdout', 'old')]),
             code('2', 'slow', outputs=[stream('stdout', 'kept')], execution_count=9),
             code('', outputs=[stream('stdout', 'stale')])]
    cells[1]['metadata'] = {'execution': {'x': 1}, 'collapsed': True, 'scrolled': False, 'mine': 1}
    raw = {'nbformat': 4, 'nbformat_minor': 4, 'metadata': meta, 'cells': cells}
    nb = o.stored(raw, {2: [stream('stdout', 'a\nb')]}, {2: 1}, keep=[3])
    assert nb['metadata'] == {'kernelspec': {'name': 'mine'}, 'language_info': {'name': 'python'},
                              'course': {'budget': 5}}
    first, kept, empty = nb['cells'][1:]
    assert first['outputs'] == [{'output_type': 'stream', 'name': 'stdout', 'text': ['a\n', 'b']}]
    assert first['execution_count'] == 1 and first['metadata'] == {'mine': 1}
    assert first['source'] == ['1']
    assert kept['outputs'][0]['text'] == 'kept' and kept['execution_count'] == 9
    assert empty['outputs'] == [] and empty['execution_count'] is None
    assert all('id' not in c for c in nb['cells']) and raw['cells'][1]['execution_count'] == 7


def test_saving_an_unchanged_file_leaves_it_alone(tmp_path):
    path = tmp_path / 'x.ipynb'
    assert o.save({'a': 'ü'}, path) is True
    stamp = path.stat().st_mtime_ns
    assert o.save({'a': 'ü'}, path) is False and path.stat().st_mtime_ns == stamp
    assert path.read_text(encoding='utf-8') == '{\n "a": "ü"\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ['x.ipynb']


def test_atomic_write_leaves_nothing_half_done(tmp_path, monkeypatch):
    path = tmp_path / 'x'
    path.write_text('old')
    monkeypatch.setattr('os.replace', lambda *a: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError):
        o.write_atomic(path, 'new')
    assert path.read_text() == 'old' and [p.name for p in tmp_path.iterdir()] == ['x']


def test_inplace(tmp_path):
    "The second run changes no byte, not even the file's time; a failed notebook is not touched."
    course = Course(tmp_path)
    good = course.add('01_good', markdown('# Title'),
                      'print("a\\rb")\nimport sys\nprint("w", file=sys.stderr)', 'x = 1\nx',
                      code('never()', 'raises-exception'), code('"skipped"', 'slow'),
                      course={'budget': 9})
    bad = course.add('02_bad', 'print("new output")', '1 / 0')
    untouched = bad.read_bytes()
    course.run(inplace=True, skip='slow')
    first, stamp = good.read_bytes(), good.stat().st_mtime_ns
    cells = json.loads(first)['cells']
    assert cells[1]['outputs'][0]['text'] == ['b\n']
    assert cells[2]['outputs'][0]['data'] == {'text/plain': ['1']}
    assert [c.get('execution_count') for c in cells] == [None, 1, 2, 3, None]
    course.run(inplace=True, skip='slow', engine='kernel', only='01*')
    assert good.read_bytes() == first and good.stat().st_mtime_ns == stamp
    assert bad.read_bytes() == untouched


def test_inplace_refuses_when_the_file_changed_meanwhile(tmp_path):
    course = Course(tmp_path)
    path = course.add('01_x', 'from pathlib import Path\np = Path("01_x.ipynb")',
                      'p.write_text(p.read_text().replace("Python 3", "edited")) and None')
    result = course.run(inplace=True).results[0]
    assert result.outcome == 'error' and 'changed meanwhile' in result.message
    assert 'edited' in path.read_text() and '"execution_count": null' in path.read_text()
