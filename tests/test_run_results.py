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
                  parameters=210, claims=list(claims))


HERE = {'id': 'e1', 'python': '3.12.0', 'torch': '2.15.0', 'system': 'Linux x86_64', 'cores': 2,
        'threads': 1}


def merge(old, new, **more):
    return results.merge(old, new, HERE, **more)


def names(record):
    return [(c['chapter'], c['name'], c['data']) for c in record['claims']]


def test_merge_replaces_a_chapters_claims_and_keeps_the_rest():
    old = merge(results.read('/nowhere'), [
        result(claim(), claim('gone'), claim(data='mnist')),
        result(claim('other'), notebook='nbs/10_x.ipynb')
    ])
    new = merge(old, [result(claim(value=.95), claim('fresh'))])
    assert names(new) == [('03', 'acc', 'digits'), ('03', 'acc', 'mnist'),
                          ('03', 'fresh', 'digits'), ('10', 'other', 'digits')]
    assert new['claims'][0]['value'] == .95 and 'ok' not in new['claims'][0]
    assert new['chapters'][0] == {
        'chapter': '03', 'notebook': '03_train.ipynb', 'seconds': 12.3, 'cpu_seconds': 20.0,
        'peak_mb': 512, 'parameters': 210, 'claims': 2, 'environment': 'e1'
    }
    assert new['claims'][0]['environment'] == 'e1' and new['environments'] == [HERE]


def test_claims_of_cells_that_were_left_out_stay():
    old = merge(results.read('/nowhere'), [result(claim(), claim('classic', cell=9))])
    quick = result(claim(value=.91))
    assert names(merge(old, [quick])) == [('03', 'acc', 'digits')]
    quick.skipped_cells = {9: 'slow'}
    assert names(merge(old, [quick])) == names(old)


def test_a_run_on_real_data_adds_to_the_record():
    "Claims without data, and on built-in data, stay as they are; so do the chapter's costs."
    old = merge(results.read('/nowhere'), [result(claim(), claim('speed', data=None))])
    new = merge(old, [result(claim(value=.1), claim('speed', 7., data=None), claim(data='mnist'))],
                only={'mnist'})
    assert names(new) == [('03', 'acc', 'digits'), ('03', 'acc', 'mnist'), ('03', 'speed', None)]
    assert [c['value'] for c in new['claims']] == [.9, .9, .9] and new['chapters'] == old['chapters']
    renamed = merge(new, [result(claim('fresh', data='mnist'))], only={'mnist'})
    assert names(renamed) == [('03', 'acc', 'digits'), ('03', 'fresh', 'mnist'), ('03', 'speed', None)]


def test_what_is_real_data(tmp_path, monkeypatch):
    (tmp_path / 'data').mkdir()
    text = '[mnist]\ntitle = "x"\n[digits]\nbuilt_in = true\n'
    (tmp_path / 'data' / 'datasets.toml').write_text(text)
    monkeypatch.delenv('COURSE_DATA', raising=False)
    assert results.real_data(tmp_path) is None
    monkeypatch.setenv('COURSE_DATA', '/somewhere')
    assert results.real_data(tmp_path) == {'mnist'} and results.real_data(tmp_path / 'data') is None


def test_claims_of_a_benchmark_are_adopted_and_stay():
    old = merge(results.read('/nowhere'), [result(claim())])
    bench = {**claim('full recipe', .99, data='cifar10'), 'chapter': '03', 'notebook': '03_train.ipynb',
             'cell': None}
    new = results.adopt(old, [bench], {**HERE, 'id': 'e9'})
    assert names(new) == [('03', 'full recipe', 'cifar10'), ('03', 'acc', 'digits')]
    assert [e['id'] for e in new['environments']] == ['e1', 'e9']
    assert results.adopt(new, [bench], {**HERE, 'id': 'e9'}) == new
    renamed = results.adopt(new, [{**bench, 'name': 'longer recipe'}], HERE)
    assert names(renamed) == [('03', 'longer recipe', 'cifar10'), ('03', 'acc', 'digits')]
    assert names(merge(new, [result(claim(value=.91))])) == names(new)
    assert names(merge(new, [result(claim('quick', data='cifar10'))])) == [
        ('03', 'full recipe', 'cifar10'), ('03', 'acc', 'digits'), ('03', 'quick', 'cifar10')]


def test_environments_that_nothing_refers_to_are_dropped():
    old = merge(results.read('/nowhere'), [result(claim())])
    new = results.merge(old, [result(claim())], {**HERE, 'id': 'e2'})
    assert [e['id'] for e in new['environments']] == ['e2']
    around = results.environment(2)
    assert around['threads'] == 2 and around['torch'].startswith('2.') and len(around['id']) == 6
    assert 'COURSE_OFFLINE' not in around


def test_only_what_passed_is_recorded():
    assert results.entries([result(claim(), outcome='failed')]) == ([], [])


def test_order_is_reading_order():
    record = merge(results.read('/nowhere'), [result(claim(), notebook=f'nbs/{n}_x.ipynb')
                                                      for n in ('10', '02a', '02', '00a', '00')])
    assert [c['chapter'] for c in record['claims']] == ['00', '00a', '02', '02a', '10']


def test_file_is_one_claim_a_line_and_stable(tmp_path):
    record = merge(results.read(tmp_path), [result(claim(), claim('b'))])
    assert results.write(record, tmp_path) is True and results.write(results.read(tmp_path),
                                                                     tmp_path) is False
    lines = (tmp_path / 'results.json').read_text().split('\n')
    assert sum('"name"' in line for line in lines) == 2 and results.read(tmp_path) == record


def test_damaged_file(tmp_path):
    (tmp_path / 'results.json').write_text('{"claims": 3}')
    with pytest.raises(CourseError, match='damaged'):
        results.read(tmp_path)


@pytest.mark.parametrize('old, new, moved, drifted', [
    ({}, {}, 0, 0), ({}, {'value': .91}, 0, 0), ({}, {'value': .99}, 1, 0),
    ({'sd': .05, 'n': 5}, {'sd': .04, 'n': 5, 'value': .99}, 0, 0),
    ({'sd': .01, 'n': 5}, {'sd': .01, 'n': 5, 'value': .94}, 0, 1),
    ({'sd': .01, 'n': 5}, {'sd': .02, 'n': 5, 'value': .94}, 0, 0),
    ({'unit': '×', 'sd': .1}, {'unit': '×', 'value': 99.}, 0, 0), ({}, {'at_least': .7}, 1, 0)])
def test_compare(old, new, moved, drifted):
    record = merge(results.read('/nowhere'), [result(claim(**old))])
    found = results.compare(record, [result(claim(**new))])
    assert [len(x) for x in found] == [0, moved, drifted]
    assert len(results.compare(record, [result(claim('other'))])[0]) == 1


def test_a_drift_fails_the_run_and_names_chapter_and_claim(tmp_path):
    course = Course(tmp_path)
    course.add('01_x', claim_cell('accuracy', .9, sd=.01, n=5))
    assert course.run().exit_status == 0
    course.add('01_x', claim_cell('accuracy', .92, sd=.01, n=5))
    assert course.run().exit_status == 0
    course.add('01_x', claim_cell('accuracy', .8, sd=.01, n=5))
    outcome = course.run(annotations=True)
    assert outcome.exit_status == 1 and outcome.results[0].outcome == 'passed'
    assert 'DRIFTED  01_x.ipynb cell 1: accuracy: 0.800 ± 0.010 (n = 5), but 0.900' in outcome.shown
    assert '::error file=nbs/01_x.ipynb' in outcome.shown
    assert course.run(record=True).exit_status == 0 == course.run().exit_status


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
    assert "0 of this run's claims are new, 1 have moved" in shown and 'moved: 01_x.ipynb cell 1: a: 2, but 1 on record' in shown
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
    results.write(merge(results.read(tmp_path), [
        result(claim('a|b', sd=.01, n=5), claim('accuracy', sd=.01, n=5),
               {**claim('accuracy', .8, sd=.02, n=5), 'data': 'mnist'})]), tmp_path)
    readme = course.write('README.md', f'before\n{results.BEGIN}\nold\n{results.END}\nafter\n')
    assert not results.readme_is_current(tmp_path)
    assert results.update_readme(tmp_path) and results.readme_is_current(tmp_path)
    text = readme.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n') and 'old' not in text
    assert '<b>03 train</b> · 3 claims · 12.3 s, 512 MB, a model of 210 parameters' in text
    assert 'Measured with python 3.12.0, torch 2.15.0 on Linux x86_64, 2 cores, 1 thread' in text
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
