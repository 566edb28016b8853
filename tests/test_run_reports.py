"""What is told about a run: to a reader, to CI servers, to GitHub, and as JSON."""
import json
import re
from xml.etree import ElementTree

import pytest
from run_support import Course, claim_cell, code, markdown, notebook

from coursekit import report, report_files
from coursekit.frames import from_dump
from coursekit.notebook import load
from coursekit.records import Failure, Result

KEYS = ['notebook', 'outcome', 'cell', 'message', 'seconds', 'cpu_seconds', 'peak_mb', 'claims']
MODULE = '''"generated"
__all__ = ['check']

# %% 01_one.ipynb cell 4 #abc
def check(x):
    """Refuse odd numbers."""
    if x % 2:
        raise ValueError(f'{x} is odd\\nand that is' + ' so' * 400)
    return x
'''
CLAIM = claim_cell(unit='×')


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
    course = Course(tmp_path_factory.mktemp('reports'))
    course.write('exp/nb_01.py', MODULE)
    course.add('01_one', markdown('# One\nwords'), CLAIM)
    course.write('nbs/02_two.ipynb', json.dumps(notebook(
        markdown('# Two'), code(['from exp.nb_01 import check\n', 'print("ok so far")\n']),
        markdown('## Odd ones'), code(['x = 2\n', 'y = check(x) + check(x + 1)']))
        | {'nbformat': 4}, indent=1))
    course.add('03_three', 'from exp.nb_02 import y')
    course.write('exp/nb_02.py', 'y = 1\n')
    course.outcome = course.run(json=course.root / 'o/r.json', junit=course.root / 'o/r.xml',
                                html=course.root / 'o/html', annotations=True)
    return course


def test_story(ran):
    story = ran.outcome.stories['nbs/02_two.ipynb']
    assert story[0] == 'FAILED  nbs/02_two.ipynb cell 4 (#id4), under "Odd ones", line 2'
    assert story[1:4] == [
        '      1 | x = 2', '  >   2 | y = check(x) + check(x + 1)',
        ' ' * 8 + '|' + ' ' * 16 + '^' * 12
    ]
    assert story[4] == '  in check, exp/nb_01.py:8 (01_one.ipynb cell 4, line 5)'
    assert story[5].startswith("        | raise ValueError(f'{x} is odd")
    assert story[6] == '  ValueError: 3 is odd'
    assert story[-3:-1] == ['  last output (cell 2):', '        | ok so far']
    assert len(story) <= 25 and all(len(line) <= 120 for line in story)


def test_json(ran):
    record = json.loads((ran.root / 'o/r.json').read_text())
    assert list(record) == ['notebooks', 'exit_status'] and record['exit_status'] == 1
    one, two, three = record['notebooks']
    assert all(list(entry) == KEYS for entry in record['notebooks'])
    assert list(one.values())[:4] == ['nbs/01_one.ipynb', 'passed', None, '']
    assert [one['claims'][0][k] for k in ('name', 'cell', 'value')] == ['speed', 2, 2.5]
    assert (two['outcome'], two['cell']) == ('failed', 4)
    assert two['message'].startswith('ValueError: 3 is odd')
    assert (three['outcome'], three['cell'], three['seconds']) == ('blocked', None, 0.0)
    assert one['seconds'] > 0 and one['cpu_seconds'] > 0 and one['peak_mb'] > 10


def test_junit(ran):
    suite = ElementTree.parse(ran.root / 'o/r.xml').getroot().find('testsuite')
    assert {k: suite.get(k) for k in ('tests', 'failures', 'errors', 'skipped')} == {
        'tests': '3', 'failures': '1', 'errors': '0', 'skipped': '1'}
    case = suite.findall('testcase')[1]
    assert (case.get('name'), case.get('classname')) == ('02_two.ipynb', 'nbs')
    assert case.find('failure').get('type') == 'failed' and 'Odd ones' in case.find('failure').text


def test_annotation(ran):
    line = next(line for line in ran.outcome.shown.split('\n') if line.startswith('::error'))
    m = re.match(r'::error file=nbs/02_two\.ipynb,line=(\d+),title=02_two\.ipynb cell 4%3A failed'
                 r'::ValueError: 3 is odd%0A', line)
    text = (ran.root / 'nbs/02_two.ipynb').read_text().split('\n')
    assert m and 'check(x) + check(x + 1)' in text[int(m[1]) - 1]


def test_html(ran):
    assert [p.name for p in (ran.root / 'o/html').iterdir()] == ['nbs-02_two.html']
    page = (ran.root / 'o/html/nbs-02_two.html').read_text()
    assert 'ok so far' in page and 'ValueError' in page


def test_tables(ran):
    shown = ran.outcome.shown
    assert re.search(r'notebook +cells +tests +claims +seconds +peak MB +outcome', shown)
    assert re.search(r'nbs/01_one.ipynb +1 +0 +1 +[\d.]+ +\d+ +passed\n', shown)
    assert re.search(r'nbs/02_two.ipynb +2 +0 +0 +[\d.]+ +\d+ +failed at cell 4\n', shown)
    assert re.search(r'nbs/03_three.ipynb +1 +0 +0 +blocked by 02_two.ipynb \(failed\)\n', shown)
    assert re.search(r'01 +speed +2\.5× +≥ 2×\n', shown)
    assert re.search(r'\n1 passed, 1 failed, 1 blocked in [\d.]+ s \([\d.]+ CPU s\)', shown)


def test_no_annotations_unasked(ran, monkeypatch):
    monkeypatch.delenv('GITHUB_ACTIONS', raising=False)
    assert '::error' not in ran.run('nbs/03_three.ipynb', cell_timeout=1e-9).shown
    monkeypatch.setenv('GITHUB_ACTIONS', 'true')
    ran.write('nbs/09_bad.ipynb', '{')
    assert '::error file=nbs/09_bad.ipynb,line=1,title=09_bad.ipynb notebook%3A tool error::' in \
        ran.run('nbs/09_bad.ipynb').shown


@pytest.mark.parametrize('frames, message, last',
                         [([], 'short', ''), ([], '\n'.join(map(str, range(500))), 'x\n' * 500),
                          ([], 'word ' * 3000, 'y' * 5000)])
def test_a_story_is_never_long(tmp_path, frames, message, last):
    path = Course(tmp_path).add('01_x', '\n'.join(['pass'] * 50), '2')
    result = Result('nbs/01_x.ipynb', 'failed', 1, message,
                    failure=Failure(frames=frames, last_output=last, last_cell=1))
    lines = report.Story(result, load(path), tmp_path).lines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 120


def test_no_control_characters_reach_a_terminal():
    assert report.plain(
        '\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link \x00\x07tab\tend') == 'red link tab\tend'


def test_line_in_file(tmp_path):
    path = tmp_path / 'x.ipynb'
    nb = notebook(code(['a = 1\n', 'a']), code(['a = 1\n', 'a']), code('one string'))
    path.write_text(json.dumps(nb, indent=1))
    lines = path.read_text().split('\n')
    found = [report_files.line_in_file(path, cell, 2) for cell in (1, 2)]
    assert [lines[n - 1].strip() for n in found] == ['"a"', '"a"'] and found[0] < found[1]
    assert 'one string' in lines[report_files.line_in_file(path, 3, 1) - 1]
    assert report_files.line_in_file(path, None, None) == report_files.line_in_file(
        tmp_path / 'none', 1, 1) == 1


def test_xml_holds_any_text(tmp_path):
    bad = Result('a.ipynb', 'failed', 1, 'nul \x00 lone \ud800 <&> \x1b[31m')
    report_files.write_junit(tmp_path / 'r.xml', [bad], {})
    case = ElementTree.parse(tmp_path / 'r.xml').getroot().find('.//failure')
    assert case.get('message') == 'nul  lone  <&> '


DUMP = '''Fatal Python error: Aborted

Thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait

Current thread 0x00007e (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/x/ipykernel_12/34.py", line 3 in f
  File "/x/ipykernel_12/56.py", line 1 in <module>
  File "/x/IPython/core/interactiveshell.py", line 3577 in run_code

Extension modules: numpy
'''


def test_frames_of_a_crash():
    assert [(f['file'][-6:], f['line'], f['func']) for f in from_dump(DUMP)] == [
        ('/56.py', 1, '<module>'), ('/34.py', 3, 'f'), ('t__.py', 519, 'string_at')]
    assert from_dump('nothing of the kind') == []
