"""The website: its parts, as functions of notebooks. `make site CHECK=1` builds and looks at all."""
import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from coursekit import (browser, results, site, site_api, site_browser, site_colab, site_links, site_map,
                       site_notebooks, site_pages)
from coursekit.notebook import CourseError, course_notebooks, load, parse

ROOT = Path(__file__).parent.parent
PNG = ('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg'
       'gg==')
SOLUTION = {'nbgrader': {'grade': False, 'grade_id': '01-ex1', 'solution': True, 'locked': False}}
TEST = {'nbgrader': {'grade': True, 'grade_id': '01-ex1-test', 'points': 2, 'solution': False,
                     'locked': True}}


def md(text):
    return {'cell_type': 'markdown', 'metadata': {}, 'source': text}


def code(text, *outputs, **meta):
    return {'cell_type': 'code', 'metadata': meta, 'source': text, 'outputs': list(outputs),
            'execution_count': 1}


def figure(**data):
    return {'output_type': 'display_data', 'metadata': {}, 'data': data or {'image/png': PNG}}


def notebook(*cells, name='01_loops.ipynb'):
    cells = [{'id': f'c{i}', **c} for i, c in enumerate(cells, 1)]
    return parse({'nbformat': 4, 'nbformat_minor': 5, 'metadata': {'kernelspec': {'name': 'python3'}},
                  'cells': cells}, f'nbs/{name}')


# Words for figures

def test_a_figure_is_described_by_the_sentence_before_or_after_it():
    nb = notebook(md('# T\n\nIntro. The figure shows `x` in $\\sqrt{n}$ **steps**. More of it.'),
                  code('plot()', figure()), code('again()', figure()),
                  md('The figure shows the second.\n\nText.'), md('## Next'), code('x = 1'),
                  md('The figure shows the third one.'), code('x'), code('third()', figure()))
    assert site_notebooks.alt_texts(nb) == {
        2: 'The figure shows x in √(n) steps.', 3: 'The figure shows the second.',
        9: 'The figure shows the third one.'}


def test_what_stands_between_two_figures_belongs_to_the_next_unless_it_says_otherwise():
    first, second = code('a', figure()), code('b', figure())
    between = 'The figure shows B.', 'The figure above shows A.', 'Then the next figure shows B.'
    given = [site_notebooks.alt_texts(notebook(md('# T\n\nNo word.'), first, md(s), second))
             for s in between]
    assert given[0][4] == between[0] and given[1][2] == between[1] and given[2][4] == between[2]


def test_a_figure_without_a_sentence_is_described_by_its_axes_or_the_prose():
    axes = code("ax.set(xlabel='step', ylabel='loss')\nax.set_title('A run')", figure())
    nb = notebook(md('# T\n\n## A part\n\nWords. Here is a histogram of it. Enough.'), axes,
                  code('hist(x)', figure()))
    assert site_notebooks.alt_texts(nb) == {
        2: 'A run: loss against step',
        3: 'Figure under the heading “A part”. Here is a histogram of it.'}


def test_alt_text_is_plain_and_not_too_long():
    long = 'The figure shows ' + 'many ' * 200 + 'things.'
    text = site_notebooks.alt_texts(notebook(md(f'# T\n\n{long}'), code('a', figure())))[2]
    assert len(text) <= site_notebooks.LONGEST + 2 and text.endswith(' …')
    assert site_notebooks.plain('a [link](b.md) <b>bold</b>\nand `x_i`') == 'a link bold and x_i'


@pytest.mark.parametrize('path', course_notebooks(ROOT), ids=lambda p: p.stem)
def test_every_figure_of_the_course_gets_words(path):
    nb = load(path)
    alts = site_notebooks.alt_texts(nb)
    assert set(alts) == {c.number for c in nb.cells if c.kind == 'code' and site_notebooks.has_figure(c)}
    assert all(len(text) > 15 and not re.search(r'[`$<>]|\]\(', text) for text in alts.values()), alts


# A chapter's page

def page(nb, solutions=True, pages=None):
    return site_notebooks.chapter_page(nb, '<p>card</p>', pages or {}, solutions)['cells']


def test_a_page_has_the_number_in_its_title_and_the_card_below():
    first = page(notebook(md('# Loops\n\nText.')))[0]['source']
    assert first.startswith('# 01 · Loops\n\n```{raw} html\n<p>card</p>\n```\n') and first.endswith('\n\nText.')
    untitled = page(notebook(md('Text.'), name='02_lists.ipynb'))
    assert untitled[0]['source'].startswith('# 02 · lists') and untitled[1]['source'] == 'Text.'


def test_a_second_title_becomes_a_heading():
    cells = page(notebook(md('# Loops'), md('# Part two\n\nText.'), md('```\n# a comment\n```')))
    assert cells[1]['source'] == '## Part two\n\nText.' and '\n# a comment' in cells[2]['source']


def test_mentions_of_chapters_become_links_in_prose_alone():
    text = ('See chapter 02, Chapter 03a and chapter 01.\n\n# In chapter 02\n\n`chapter 02` '
            '[chapter 02](x.md) $chapter 02$\n\n```\nchapter 02\n```')
    given = site_notebooks.linked(text, {'02': '02_b.ipynb', '03a': '03a_c.ipynb'})
    assert given == text.replace('See chapter 02, Chapter 03a',
                                 'See [chapter 02](02_b.ipynb), [Chapter 03a](03a_c.ipynb)')


def test_figures_carry_their_words():
    svg = '<svg width="1"><rect/></svg>'
    nb = notebook(md('# T\n\nThe figure shows "a" & b.'), code('a', figure()),
                  md('The figure shows c.'), code('b', figure(**{'text/html': svg})))
    cells = page(nb)
    assert cells[1]['metadata']['mystnb'] == {'image': {'alt': 'The figure shows "a" & b.'}}
    assert cells[3]['outputs'][0]['data']['text/html'] == svg.replace(
        '<svg', '<svg role="img" aria-label="The figure shows c."')


SOLVED = 'def f():\n    ### BEGIN SOLUTION\n    return 42\n    ### END SOLUTION'
EXERCISE = md('# T'), code(SOLVED, **SOLUTION), code('assert f() == 42', **TEST)


def test_a_solution_is_folded_below_its_stub():
    _, task, solution, test = page(notebook(*EXERCISE))
    assert 'raise NotImplementedError()' in task['source'] and '42' not in task['source']
    assert 'return 42' in solution['source'] and 'hide-input' in solution['metadata']['tags']
    assert test['source'] == 'assert f() == 42'
    assert len({c['id'] for c in page(notebook(*EXERCISE))}) == 4


def test_without_solutions_there_is_none():
    cells = page(notebook(*EXERCISE), solutions=False)
    assert len(cells) == 3 and 'return 42' not in json.dumps(cells)


def test_the_chapter_itself_is_not_changed():
    nb = notebook(*EXERCISE, code('a', figure()))
    before = json.dumps(nb.raw)
    page(nb, pages={'02': '02_b.ipynb'})
    assert json.dumps(nb.raw) == before


def test_what_programs_read_and_the_installing_cell_stay_out_of_the_page():
    claim = {'output_type': 'display_data', 'metadata': {},
             'data': {'application/vnd.course.claim+json': {}, 'text/plain': 'a < b'}}
    cells = page(notebook(md('# T'), {**code('x'), 'id': site_colab.ID}, code('y', claim)))
    assert [c['source'] for c in cells[1:]] == ['y']
    assert cells[1]['outputs'][0]['data'] == {'text/html': '<p class="claim">a &lt; b</p>'}


# The map

def test_the_map_shows_what_is_needed_and_leaves_out_what_follows():
    chapters = [site_map.Chapter('00', 'A', '00_a.ipynb'),
                site_map.Chapter('01', 'B', '01_b.ipynb', ['00']),
                site_map.Chapter('03', 'C', '03_c.ipynb', ['00', '01']),
                site_map.Chapter('04', 'D & <E>', '04_d.ipynb', ['00', '01', '03'])]
    assert site_map.direct(chapters) == {'00': [], '01': ['00'], '03': ['01'], '04': ['03']}
    drawn = site_map.svg(chapters)
    assert drawn.count('class="edge"') == 3 and drawn.count('<a ') == 4
    assert 'href="nbs/03_c.html" id="03" data-needs="00 01"' in drawn
    assert 'D &amp; &lt;E&gt;' in drawn and 'part-1' in drawn


def test_arrows_over_several_rows_bend_around_the_boxes_between():
    edges = {'a': [], 'b': ['a'], 'c': ['b'], 'd': ['c', 'a']}
    at = site_map.rows(edges)
    layers, below = site_map.with_bends(edges, at)
    assert at == {'a': 0, 'b': 1, 'c': 2, 'd': 3} and [len(row) for row in layers] == [1, 2, 2, 1]
    x = site_map.placed(site_map.arranged(layers, below), below)
    for row in layers:
        places = sorted((x[n] - site_map.half(n), x[n] + site_map.half(n)) for n in row)
        assert all(right < left for (_, right), (left, _) in zip(places, places[1:]))


def test_the_course_map_has_every_chapter_no_box_on_another_and_names_that_fit():
    found = site_map.chapters(ROOT)
    assert [c.file for c in found] == [p.name for p in course_notebooks(ROOT)]
    assert {c.number: c.needs for c in found}['03'] == ['00', '00a', '02d']
    boxes = re.findall(r'<rect x="([\d.-]+)" y="(\d+)"', site_map.svg(found))
    rows = {}
    for x, y in boxes:
        rows.setdefault(y, []).append(float(x))
    assert all(b - a > site_map.WIDTH for xs in rows.values() for a, b in zip(sorted(xs), sorted(xs)[1:]))
    for lines in (textwrap.wrap(site_map.short(c.title), site_map.LINE) for c in found):
        assert len(lines) <= 2 and all(len(line) <= site_map.LINE for line in lines), lines


# Pages

README = ('# The course\n\nHello.\n\n## The map\n\n| chapter | builds |\n|--|--|\n'
          '| [01 Loops](nbs/01_loops.ipynb) | a loop |\n\n'
          '## Results\n\nlong table\n\n## Glossary\n\ngit clone <this repository>\n')


def test_home_is_the_readme_with_its_long_table_elsewhere():
    found = [site_map.Chapter('01', 'Loops', '01_loops.ipynb')]
    text = site_pages.home(README, found, 'https://host.example/o/n')
    assert text.startswith('# The course\n\n```{raw} html\n<p class="course-start">') and 'Hello.' in text
    assert 'long table' not in text and '(results.md)' in text and '| a loop |' in text
    assert 'git clone https://host.example/o/n' in text
    assert '<this repository>' in site_pages.home(README, found, None)
    with pytest.raises(CourseError, match='title'):
        site_pages.home('no title', found, None)


def test_navigation_lists_chapters_by_part_and_only_pages_that_exist():
    found = [site_map.Chapter('01', 'A', '01_a.ipynb'), site_map.Chapter('03', 'B', '03_b.ipynb')]
    text = site_pages.toctrees(found, {'docs/tools.md': ''})
    places = [text.index(w) for w in ('Foundations', 'nbs/01_a', 'Training', 'nbs/03_b')]
    assert places == sorted(places)
    assert 'docs/tools\n' in text and 'instructors' not in text and 'Vision' not in text


def test_pages_of_the_course_hold_map_costs_claims_and_glossary():
    pages = site.sources(ROOT)
    record = results.read(ROOT)
    assert len([p for p in pages if p.startswith('nbs/')]) == len(course_notebooks(ROOT))
    for c in record['chapters']:
        for page in ('results.md', 'map.md'):
            assert f'(nbs/{c["notebook"]})' in pages[page]
    assert all(results.line([c['name']])[2:-2] in pages['results.md'] for c in record['claims'])
    assert 'docs/glossary.md' in pages and pages['docs/ladder.png'][:4] == b'\x89PNG'


def terms(path, section):
    body = re.search(rf'^## {section}\n(.*?)(?=^## |\Z)', Path(ROOT, path).read_text(), re.S | re.M)[1]
    rows = re.findall(r'^\| (.*?) \|', body, re.M)[2:]
    return {t for row in rows for t in re.sub(r'`| in a claim', '', row).split(', ')}


def test_the_glossary_has_every_short_name():
    listed = set().union(*(terms('docs/glossary.md', part)
                           for part in ('Names in the code', 'Words of the course')))
    for path, section in (('CONTRIBUTING.md', 'Names'), ('README.md', 'Glossary')):
        missing = terms(path, section) - listed
        assert not missing, f'{missing} of {path} is not in docs/glossary.md'


# The reference

def test_the_reference_shows_signatures_and_docstrings():
    source = ('def f(a: int, b=1, *, act=lambda x: x):\n'
              '    "Adds `a` to *b*.\\n\\n    a: one\\n      two\\n    "\n'
              'class C:\n    "A class."\n    def __init__(self, n=2): pass\n'
              '    def go(self, x):\n        "Goes."\n    def _own(self):\n        "No."\nLIMIT = 3\n')
    entry = {'title': 'T', 'notebook': '01_t.ipynb', 'names': ['f', 'C', 'LIMIT']}
    text = site_api.page('nb_01', entry, source)
    for part in ('{py:function} f(a, b=1, *, act=...)', 'Adds `a` to \\*b\\*.',
                 '```text\na: one\n  two\n```', '{py:class} C(n=2)', '{py:method} go(x)',
                 '{py:data} LIMIT', '`3`', '(../nbs/01_t.ipynb)'):
        assert part in text, f'{part} is not in\n{text}'
    assert '_own' not in text


def test_the_reference_covers_all_that_the_course_exports():
    pages = site_api.pages(ROOT)
    for module, entry in site_api.modules(ROOT).items():
        for name in entry['names']:
            assert re.search(rf'{{py:\w+}} {name}\b', pages[f'api/{module}.md']), f'{module}.{name}'


# Links

def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'index.html').write_text(
        '<a id="here" href="sub/p.html#there">a</a><a href="#here">b</a><a href="https://x.example/">c</a>'
        '<a href="gone.html">d</a><a href="sub/p.html#lost">e</a><a href="../out.html">f</a>'
        '<img src="https://x.example/i.png" alt="g"><img src="i.png">'
        '<script src="https://x.example/s.js"></script>')
    (tmp_path / 'sub' / 'p.html').write_text('<h1 id="there">x</h1><a href="../">up</a>')
    (tmp_path / 'i.png').write_bytes(b'')
    wrong = '\n'.join(site_links.broken(tmp_path))
    assert len(wrong.splitlines()) == 6
    for part in ('gone.html', '#lost', '../out.html', 'loads https://x.example/i.png',
                 'loads https://x.example/s.js', 'i.png has no words'):
        assert part in wrong


# The repository's address

@pytest.mark.parametrize('given, wanted', [
    ('https://host.example/owner/name.git', 'https://host.example/owner/name'),
    ('git@host.example:owner/name.git', 'https://host.example/owner/name'),
    ('ssh://git@host.example:22/owner/name', 'https://host.example/owner/name'),
    ('https://user:secret@host.example/owner/name', 'https://host.example/owner/name'),
    ('/srv/git/name.git', None), ('../name', None), ('', None), ('https://localhost/name', None)])
def test_the_address_is_what_a_browser_opens(given, wanted):
    assert site.web_address(given) == wanted


def test_the_address_comes_from_pyproject_first(tmp_path):
    (tmp_path / 'pyproject.toml').write_text('[project]\nname = "x"\n')
    assert site.repository(tmp_path) is None
    (tmp_path / 'pyproject.toml').write_text('[project.urls]\nRepository = "https://host.example/o/n"\n')
    assert site.repository(tmp_path) == 'https://host.example/o/n'


# The installing cell

@pytest.fixture
def course(tmp_path):
    (tmp_path / 'nbs').mkdir()
    (tmp_path / 'pyproject.toml').write_text(
        '[project]\ndependencies = ["torch==2.15.*", "jupyterlab>=4", "fire"]\n'
        '[project.urls]\nRepository = "https://host.example/o/n"\n')
    raw = notebook(md('# T'), code('import torch')).raw
    (tmp_path / 'nbs' / '01_t.ipynb').write_text(json.dumps(raw))
    return tmp_path


def test_the_installing_cell_goes_before_the_first_code_once(course, monkeypatch):
    monkeypatch.chdir(course)
    monkeypatch.setattr('sys.argv', ['site_colab'])
    path = course / 'nbs' / '01_t.ipynb'
    assert site_colab.outdated(course) == [path]
    site_colab.main()
    cells = load(path).cells
    assert [c.id for c in cells] == ['c1', site_colab.ID, 'c2'] and not site_colab.outdated(course)
    assert 'https://host.example/o/n foundations' in cells[1].source
    assert 'install -q torch fire\n' in cells[1].source
    written = path.read_bytes()
    site_colab.main()
    assert path.read_bytes() == written
    raw = load(path).raw
    raw['cells'].reverse()
    assert not site_colab.as_wanted(raw, site_colab.text(course))
    (course / 'pyproject.toml').write_text('[project]\ndependencies = []\n')
    site_colab.main()
    assert [c.id for c in load(path).cells] == ['c1', 'c2']


def test_the_installing_cell_does_nothing_where_the_course_is(course):
    from IPython.core.interactiveshell import InteractiveShell
    shell, before = InteractiveShell.instance(), Path.cwd()
    result = shell.run_cell(site_colab.text(course))
    assert result.success and Path.cwd() == before and not (before / 'foundations').exists()


ELSEWHERE = """
import sys
sys.path[:] = [p for p in sys.path if p and not (Path(p) / 'exp').exists()]
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in (CELL, CELL, 'import exp.nb_01; print("here:", exp.nb_01.__file__, os.getcwd())'):
    if not shell.run_cell(cell).success:
        sys.exit(1)
"""


def test_the_installing_cell_fetches_the_course_where_it_is_not(course, tmp_path):
    "As on Colab: an empty folder, and no `exp` to be found. Git takes the address for a folder here."
    (course / 'exp').mkdir()
    (course / 'exp' / '__init__.py').touch()
    (course / 'exp' / 'nb_01.py').write_text('x = 1\n')
    (course / 'pyproject.toml').write_text(
        '[project]\ndependencies = ["fire"]\n[project.urls]\nRepository = "https://host.example/o/n"\n')
    settings = (f'[url "{course.as_uri()}"]\n  insteadOf = https://host.example/o/n\n'
                '[user]\n  name = a\n  email = a@b.example\n')
    (tmp_path / 'gitconfig').write_text(settings)
    env = {**os.environ, 'GIT_CONFIG_GLOBAL': str(tmp_path / 'gitconfig'), 'GIT_CONFIG_NOSYSTEM': '1',
           'IPYTHONDIR': str(tmp_path / 'ipython')}
    for command in (['init', '-q'], ['add', 'nbs', 'exp', 'pyproject.toml'], ['commit', '-qm', 'x']):
        subprocess.run(['git', '-C', str(course), *command], check=True, env=env)
    empty = tmp_path / 'content'
    empty.mkdir()
    code = f'import os\nfrom pathlib import Path\nCELL = {site_colab.text(course)!r}\n{ELSEWHERE}'
    done = subprocess.run([sys.executable, '-c', code], cwd=empty, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    there = empty.resolve() / 'foundations'
    assert f'here: {there / "exp" / "nb_01.py"} {there / "nbs"}' in done.stdout, done.stdout


def test_an_address_that_would_run_something_is_refused(course):
    (course / 'pyproject.toml').write_text('[project.urls]\nRepository = "https://h.example/o; rm -r x"\n')
    with pytest.raises(CourseError, match='Repository'):
        site_colab.text(course)


def test_every_chapter_installs_the_course_once_its_address_is_known():
    old = [p.name for p in site_colab.outdated(ROOT)]
    assert not old, f'{old}: run `python -m coursekit.site_colab`'


# All of it, small

SPHINX = all(importlib.util.find_spec(m) for m in site.NEEDED)


@pytest.fixture
def small(tmp_path):
    (tmp_path / 'nbs').mkdir()
    (tmp_path / 'docs').mkdir()
    for part in ('conf.py', '_static'):
        (tmp_path / 'docs' / part).symlink_to(ROOT / 'docs' / part)
    (tmp_path / 'README.md').write_text(README)
    cells = (*EXERCISE, md('## Maths\n\nBroadcasting: $a^2$. The figure shows a dot. See chapter 02.'),
             code('plot()', figure()))
    for name in ('01_loops.ipynb', '02_lists.ipynb'):
        (tmp_path / 'nbs' / name).write_text(json.dumps(notebook(*cells, name=name).raw))
    return tmp_path


def test_a_site_without_its_packages_says_what_to_do(small, monkeypatch):
    monkeypatch.setattr(site, 'NEEDED', {'no_such_module': 'no-such-package'})
    with pytest.raises(CourseError, match='the site needs no-such-package: run `make setup`'):
        site.build(small)


needs_sphinx = pytest.mark.skipif(not SPHINX, reason='Sphinx and its theme are not installed here')


@needs_sphinx
def test_a_small_course_becomes_a_site(small):
    out = site.build(small)
    text = (out / 'nbs' / '01_loops.html').read_text()
    assert '01 · T' in text and 'alt="The figure shows a dot."' in text and '02_lists.html' in text
    assert 'Show the solution' in text and 'mathjax/tex-chtml.js' in text and not site_links.broken(out)
    assert (out / '_sources/nbs/01_loops.ipynb').read_bytes() == (small / 'nbs/01_loops.ipynb').read_bytes()
    assert 'broadcast' in (out / 'searchindex.js').read_text()
    assert 'mybinder' not in text and 'colab' not in text.lower()


@needs_sphinx
def test_what_is_no_more_leaves_the_site(small):
    site.build(small)
    (small / 'nbs' / '02_lists.ipynb').unlink()
    first = json.loads((small / 'nbs' / '01_loops.ipynb').read_text())
    first['cells'] = first['cells'][:-1]
    (small / 'nbs' / '01_loops.ipynb').write_text(json.dumps(first))
    out = site.build(small)
    assert not (out / 'nbs' / '02_lists.html').exists() and not list((out / '_images').glob('*'))


@needs_sphinx
def test_with_an_address_there_are_buttons_for_colab_and_binder(small):
    (small / 'pyproject.toml').write_text(
        '[project.urls]\nRepository = "https://github.com/owner/name"\n')
    text = (site.build(small) / 'nbs' / '01_loops.html').read_text()
    at = f'owner/name/blob/{site.branch(small)}/nbs/01_loops.ipynb'
    assert f'https://colab.research.google.com/github/{at}' in text
    assert 'https://mybinder.org/v2/gh/owner/name/' in text


@needs_sphinx
def test_a_warning_fails_the_site_names_the_page_and_leaves_the_old_site(small):
    (small / 'site').mkdir()
    (small / 'site' / 'old.html').write_text('old')
    raw = notebook(md('# T\n\n[nowhere](gone.md)')).raw
    (small / 'nbs' / '02_lists.ipynb').write_text(json.dumps(raw))
    for _ in range(2):   # the second time too
        with pytest.raises(CourseError, match=r'nbs/02_lists.ipynb.*\n?.*gone.md'):
            site.build(small)
    assert (small / 'site' / 'old.html').read_text() == 'old'


def test_without_a_browser_or_a_site_the_check_says_so(tmp_path, monkeypatch, capsys):
    assert site_browser.check(tmp_path) == 1 and 'make site' in capsys.readouterr().out
    (tmp_path / 'index.html').write_text('<p>x</p>')
    monkeypatch.setattr(browser, 'NAMES', ())
    monkeypatch.delenv('CHROME', raising=False)
    assert site_browser.check(tmp_path) == 0 and 'there is none here' in capsys.readouterr().out
