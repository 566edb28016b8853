"""The files that describe the project agree with each other."""
import itertools
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())
LOCK = [Requirement(line) for line in (ROOT / 'requirements.txt').read_text().splitlines()
        if line and not line.startswith('#')]


def wanted():
    "Every requirement that pyproject.toml names, extras included."
    project = PYPROJECT['project']
    extras = [r for rs in project['optional-dependencies'].values() for r in rs]
    return [Requirement(r) for r in project['dependencies'] + extras]


@pytest.mark.parametrize('requirement', wanted(), ids=lambda r: r.name)
def test_lock_holds_what_pyproject_asks_for(requirement):
    pinned = [r for r in LOCK if canonicalize_name(r.name) == canonicalize_name(requirement.name)]
    assert pinned, f'{requirement.name} is not in requirements.txt: run make lock'
    for r in pinned:
        (spec,) = r.specifier
        assert spec.version in requirement.specifier, f'{r} does not satisfy {requirement}: run make lock'


def test_lock_pins_every_package_for_every_platform():
    for r in LOCK:
        assert [s.operator for s in r.specifier] == ['=='], f'{r} is not pinned to one version'
    for platform in ('linux', 'darwin', 'win32'):
        for python in ('3.11', '3.12', '3.13'):
            env = default_environment() | {
                'sys_platform': platform, 'python_version': python, 'python_full_version': python + '.0',
                'platform_system': {'linux': 'Linux', 'darwin': 'Darwin', 'win32': 'Windows'}[platform]}
            names = [canonicalize_name(r.name) for r in LOCK if not r.marker or r.marker.evaluate(env)]
            twice = {n for n in names if names.count(n) > 1}
            assert not twice, f'{platform}, Python {python}: two versions of {twice}'
            assert {'torch', 'torchvision', 'numpy', 'fastai'} <= set(names)


def test_lock_holds_no_addresses():
    text = (ROOT / 'requirements.txt').read_text()
    assert not re.search(r'://|--|@', text)


def test_conda_environment_installs_the_same():
    import yaml
    env = yaml.safe_load((ROOT / 'environment.yml').read_text())
    (pip,) = [d['pip'] for d in env['dependencies'] if isinstance(d, dict)]
    assert pip == ['-r requirements.txt', '-e .']
    (python,) = [d for d in env['dependencies'] if isinstance(d, str) and d.startswith('python')]
    assert python == 'python' + PYPROJECT['project']['requires-python']
    assert 'pip' in env['dependencies']
    assert env['name'] == PYPROJECT['project']['name']


def test_makefile_installs_the_uv_it_names_and_the_lock():
    text = (ROOT / 'Makefile').read_text()
    assert re.search(r'^UV +:= uv==\d+\.\d+\.\d+$', text, re.M)
    assert 'sync -q --python $(BIN)/python --compile-bytecode requirements.txt' in text


def test_ci_runs_the_readmes_test_command():
    assert 'make test' in (ROOT / 'README.md').read_text()
    assert (ROOT / '.ci' / 'run').read_text().rstrip().endswith('\nmake test')


def test_entry_points_exist():
    import importlib
    for target in PYPROJECT['project']['scripts'].values():
        module, function = target.split(':')
        assert callable(getattr(importlib.import_module(module), function))


def test_readme_is_up_to_date():
    from coursekit.pictures import pictures
    from coursekit.results import readme_is_current
    for name, data in pictures(ROOT).items():
        assert (ROOT / 'docs' / f'{name}.png').read_bytes() == data, f'docs/{name}.png is old: run make readme'
    assert readme_is_current(ROOT), 'the results table in README.md is old: run make readme'


def test_readme_links_every_chapter_and_every_link_leads_somewhere():
    text = (ROOT / 'README.md').read_text()
    for notebook in (ROOT / 'nbs').glob('*.ipynb'):
        assert f'(nbs/{notebook.name})' in text, f'{notebook.name} is not in the map'
    for name in ('README.md', 'CONTRIBUTING.md', 'docs/tools.md'):
        page = ROOT / name
        for target in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', page.read_text()):
            assert (page.parent / target).exists(), f'{name} links to {target}, which is not there'


def test_the_code_in_the_readme_runs(monkeypatch):
    "As it stands there, with less training: two batches of each loader."
    import matplotlib.pyplot as plt
    from exp.nb_04 import DataLoaders, Learner
    fit = Learner.fit

    def short(learn, n_epochs, *args, **kwargs):
        learn.dls = DataLoaders(*[list(itertools.islice(dl, 2)) for dl in (learn.dls.train, learn.dls.valid)])
        fit(learn, 1, *args, **kwargs)
    monkeypatch.setattr(Learner, 'fit', short)
    blocks = re.findall(r'^```python\n(.*?)^```', (ROOT / 'README.md').read_text(), re.M | re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    plt.close('all')


def test_results_json_agrees_with_the_stored_outputs():
    "Each claim in a notebook's outputs is on record with the same value."
    import json
    record = json.loads((ROOT / 'results.json').read_text())['claims']
    known = {(c['notebook'].split('/')[-1], c['name'], c['data']): c['value'] for c in record}
    for path in sorted((ROOT / 'nbs').glob('*.ipynb')):
        for cell in json.loads(path.read_text())['cells']:
            for output in cell.get('outputs', []):
                claim = output.get('data', {}).get('application/vnd.course.claim+json')
                if claim:
                    key = (path.name, claim['name'], claim['data'])
                    assert key in known, f'{key} is not in results.json: run with --inplace'
                    assert known[key] == pytest.approx(claim['value'], rel=1e-3), key


PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'), *ROOT.glob('data/*.md'),
                *ROOT.glob('bench/*.md'), *ROOT.glob('nbs/*.ipynb')])


def prose(path):
    "The Markdown of a page or of a notebook, without code."
    text = path.read_text()
    if path.suffix == '.ipynb':
        import json
        text = '\n\n'.join(''.join(cell['source']) for cell in json.loads(text)['cells']
                           if cell['cell_type'] == 'markdown')
    text = re.sub(r'^(```|~~~).*?^\1', '', text, flags=re.M | re.S)
    return re.sub(r'`[^`\n]*`', lambda m: m.group().replace('](', '] ('), text)


def anchors(path):
    "What `#…` may follow the name of a page: its headings as GitHub writes them, and explicit ones."
    text = prose(path)
    titles = re.findall(r'^#+ +(.+?) *#*$', text, re.M)
    slugs = [re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles]
    return set(slugs) | set(re.findall(r'(?:id|name)="([^"]+)"', text)) | set(
        re.findall(r'^\(([\w-]+)\)=$', text, re.M))


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    text = prose(page)
    links = re.findall(r'\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)', text)
    links += re.findall(r'(?:href|src)="([^"]+)"', text)
    for link in links:
        if re.match(r'[a-z][a-z+.-]*:', link):  # an address of the web, mailto: or attachment:
            continue
        target, _, anchor = link.partition('#')
        there = (page.parent / target) if target else page
        assert there.exists(), f'{page.name} links to {link}, and there is no {target}'
        if anchor:
            assert anchor in anchors(there), f'{page.name} links to {link}, which is no heading of it'


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_chapters_that_are_named_exist_or_are_on_the_road_map(page):
    numbers = {n.name.split('_')[0] for n in (ROOT / 'nbs').glob('*.ipynb')}
    for number in re.findall(r'\b[Cc]hapters? (\d\d[a-z]?)\b', prose(page)):
        assert number in numbers or number[:2] in map(str, range(10, 22)), f'chapter {number} in {page.name}'
