"""results.json and the README's table: what goes on record, what is compared, what is shown."""
import json

import pytest
from run_support import Course, claim_cell

from coursekit import results
from coursekit.notebook import CourseError
from coursekit.records import Result


def claim(name='acc', value=.9, **more):
    return {
        'cell': 3, 'name': name, 'data': 'digits', 'value': value, 'sd': None, 'n': None,
        'unit': None, 'at_least': .8, 'at_most': None, 'ok': True, 'seconds': 1.5, **more
    }


def result(*claims, notebook='nbs/03_train.ipynb', outcome='passed'):
    return Result(notebook, outcome, seconds=12.34, cpu_seconds=20., peak_mb=512.3,
                  claims=list(claims))


def names(record):
    return [(c['chapter'], c['name'], c['data']) for c in record['claims']]


def test_merge_replaces_a_chapters_claims_and_keeps_the_rest():
    old = results.merge(results.read('/nowhere'), [
        result(claim(), claim('gone'), claim(data='mnist')),
        result(claim('other'), notebook='nbs/10_x.ipynb')
    ])
    new = results.merge(old, [result(claim(value=.95), claim('fresh'))])
    assert names(new) == [('03', 'acc', 'digits'), ('03', 'acc', 'mnist'),
                          ('03', 'fresh', 'digits'), ('10', 'other', 'digits')]
    assert new['claims'][0]['value'] == .95 and 'ok' not in new['claims'][0]
    assert new['chapters'][0] == {
        'chapter': '03', 'notebook': '03_train.ipynb', 'seconds': 12.3, 'cpu_seconds': 20.0,
        'peak_mb': 512, 'claims': 2
    }


def test_only_what_passed_is_recorded():
    assert results.entries([result(claim(), outcome='failed')]) == ([], [])


def test_order_is_reading_order():
    record = results.merge(results.read('/nowhere'), [result(claim(), notebook=f'nbs/{n}_x.ipynb')
                                                      for n in ('10', '02a', '02', '00a', '00')])
    assert [c['chapter'] for c in record['claims']] == ['00', '00a', '02', '02a', '10']


def test_file_is_one_claim_a_line_and_stable(tmp_path):
    record = results.merge(results.read(tmp_path), [result(claim(), claim('b'))])
    assert results.write(record, tmp_path) is True and results.write(results.read(tmp_path),
                                                                     tmp_path) is False
    lines = (tmp_path / 'results.json').read_text().split('\n')
    assert sum('"name"' in line for line in lines) == 2 and results.read(tmp_path) == record


def test_damaged_file(tmp_path):
    (tmp_path / 'results.json').write_text('{"claims": 3}')
    with pytest.raises(CourseError, match='damaged'):
        results.read(tmp_path)


@pytest.mark.parametrize('old, new, moved', [({}, {}, 0), ({}, {'value': .91}, 0),
                                             ({}, {'value': .99}, 1),
                                             ({'sd': .05, 'n': 5}, {'value': .99}, 0),
                                             ({'sd': .01, 'n': 5}, {'value': .94}, 1),
                                             ({'unit': '×'}, {'unit': '×', 'value': 99.}, 0),
                                             ({}, {'at_least': .7}, 1)])
def test_compare(old, new, moved):
    record = results.merge(results.read('/nowhere'), [result(claim(**old))])
    assert [len(x) for x in results.compare(record, [result(claim(**new))])] == [0, moved]
    assert len(results.compare(record, [result(claim('other'))])[0]) == 1


@pytest.mark.parametrize('c, told', [(claim(), ('0.9', '≥ 0.8')),
                                     (claim(value=95.25, sd=.123, n=5, unit='%', at_most=99.),
                                      ('95.25 ± 0.12% (n = 5)', '≥ 0.8% and ≤ 99%')),
                                     (claim(value=123456., unit='×', at_least=1e5),
                                      ('123,456×', '≥ 100,000×')),
                                     (claim(value=2e-7, unit='s'), ('2e-07 s', '≥ 0.8 s'))])
def test_told(c, told):
    assert results.told(c) == told


def test_run_keeps_the_record(tmp_path):
    "Written when there is none; then only with --record or --inplace; otherwise compared."
    course = Course(tmp_path)
    course.add('01_x', claim_cell('a', 1.0))
    assert 'results.json: updated' in course.run().shown
    course.add('01_x', claim_cell('a', 2.0))
    shown = course.run().shown
    assert "0 of this run's claims are new, 1 have moved" in shown and 'moved: 01 a: 2' in shown
    assert results.read(tmp_path)['claims'][0]['value'] == 1.0
    course.run(record=True)
    assert results.read(tmp_path)['claims'][0]['value'] == 2.0
    (tmp_path / 'nbs' / '01_x.ipynb').rename(tmp_path / 'nbs' / '02_y.ipynb')
    course.run(inplace=True)
    assert names(results.read(tmp_path)) == [('02', 'a', None)]


def test_readme(tmp_path):
    course = Course(tmp_path)
    course.write('nbs/03_train.ipynb',
                 json.dumps({'cells': [], 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}))
    results.write(results.merge(results.read(tmp_path), [
        result(claim('a|b', sd=.01, n=5), claim('accuracy', sd=.01, n=5),
               {**claim('accuracy', .8, sd=.02, n=5), 'data': 'mnist'})]), tmp_path)
    readme = course.write('README.md', f'before\n{results.BEGIN}\nold\n{results.END}\nafter\n')
    assert not results.readme_is_current(tmp_path)
    assert results.update_readme(tmp_path) and results.readme_is_current(tmp_path)
    text = readme.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n') and 'old' not in text
    assert '<b>03 train</b> · 3 claims' in text
    assert '| a\\|b | digits | 0.900 ± 0.010 (n = 5) | ≥ 0.8 | 1.5 |' in text
    assert '| chapter | accuracy, several seeds | digits | mnist |' in text
    assert ('| [03](nbs/03_train.ipynb) | accuracy | 0.900 ± 0.010 (n = 5) '
            '| 0.800 ± 0.020 (n = 5) |') in text
    assert '3 claims from 1 chapter,' in text
    assert results.update_readme(tmp_path) is False


@pytest.mark.parametrize(
    'text',
    ['', results.BEGIN, f'{results.END} {results.BEGIN}', f'{results.BEGIN * 2}{results.END}'])
def test_readme_without_its_place(tmp_path, text):
    Course(tmp_path).write('README.md', text)
    with pytest.raises(CourseError, match='needs the two lines'):
        results.readme_is_current(tmp_path)
