"""The course as a website: `python -m coursekit.site [build|check] [--no-solutions]`.

`build` lays out the sources in `.course/site/`, lets Sphinx make pages of them, and puts those into
`site/`, if there was no warning and every link leads somewhere. No notebook is run and nothing is
fetched. `check` looks at the finished site in a browser.

An exercise shows its stub, with the solution in a fold: whoever learns alone can compare. With
`--no-solutions` it shows the stub alone.
"""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from . import results, site_api, site_links, site_map, site_notebooks, site_pages
from .exercises import student_copy
from .notebook import CourseError, course_notebooks, find_root, load
from .outputs import dumps, write_atomic

NEEDED = {'sphinx': 'sphinx', 'myst_nb': 'myst-nb', 'sphinx_book_theme': 'sphinx-book-theme',
          'sphinx-mathjax-offline': 'sphinx-mathjax-offline'}
MATHJAX = 'tex-chtml.js', 'input/tex/extensions', 'output/chtml/fonts/woff-v2'


# What the settings ask for

def repository(root) -> str | None:
    """The address of the course's repository, as a browser opens it, or None if it is not known.

    pyproject.toml's `[project.urls] Repository` says it, or git's remote `origin`.
    """
    path = Path(root, 'pyproject.toml')
    text = path.read_text(encoding='utf-8') if path.is_file() else ''
    named = tomllib.loads(text).get('project', {}).get('urls', {}).get('Repository')
    return web_address(named or git(root, 'remote', 'get-url', 'origin'))


def web_address(address: str) -> str | None:
    "`git@host:owner/name.git` and the like -> `https://host/owner/name`, no password; else None"
    if m := re.fullmatch(r'[\w.-]+@([\w.-]+):([^/].*)', address.strip()):
        address = f'https://{m[1]}/{m[2]}'
    parts = urlsplit(address.strip())
    host = parts.hostname or ''
    if parts.scheme not in ('https', 'http', 'ssh', 'git') or '.' not in host:
        return None
    return f'https://{host}/{parts.path.strip("/").removesuffix(".git")}'


def branch(root) -> str:
    "The branch that links into the repository name."
    name = git(root, 'symbolic-ref', '--short', 'refs/remotes/origin/HEAD').removeprefix('origin/')
    return name or git(root, 'symbolic-ref', '--short', 'HEAD') or 'main'


def git(root, *args) -> str:
    try:
        done = subprocess.run(['git', '-C', str(root), *args], capture_output=True, text=True)
    except OSError:  # no git here
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''


def site_title(root) -> str:
    return re.search(r'^# (.*)$', Path(root, 'README.md').read_text(encoding='utf-8'), re.M)[1]


def mathjax() -> tuple[Path, str]:
    "-> the folder of MathJax's files, as a package brings them, and the one that a page loads"
    spec = importlib.util.find_spec('sphinx-mathjax-offline')
    folder = Path(spec.submodule_search_locations[0], 'static', 'mathjax') if spec else None
    if not folder or not (folder / MATHJAX[0]).is_file():
        raise CourseError('MathJax is not there: install the package sphinx-mathjax-offline, '
                          'or all that the site needs with `make setup`')
    return folder, MATHJAX[0]


# The sources

def sources(root, solutions=True) -> dict[str, str | bytes]:
    "All that Sphinx is given: file -> contents. A notebook keeps its place, so that links hold."
    root = Path(root).absolute()
    record, found = results.read(root), site_map.chapters(root)
    notebooks = {p.name: load(p) for p in course_notebooks(root)}
    readme = (root / 'README.md').read_text(encoding='utf-8')
    files = {c.number: c.file for c in found}
    about, needed = site_pages.facts(found, notebooks, record), site_map.direct(found)
    pages: dict[str, str | bytes] = {}
    for c in found:
        card = site_pages.card(c, needed[c.number], files, about[c.number])
        page = site_notebooks.chapter_page(notebooks[c.file], card, files, solutions)
        pages[f'nbs/{c.file}'] = dumps(page)
    for name in site_pages.PAGES:
        if (root / name).is_file():
            pages[name] = (root / name).read_text(encoding='utf-8')
    for path in (root / 'docs').glob('*.png'):
        pages[f'docs/{path.name}'] = path.read_bytes()
    pages |= site_api.pages(root)
    pages['map.md'] = site_pages.map_page(found, about, readme)
    titles = {name: nb.title for name, nb in notebooks.items()}
    pages['results.md'] = site_pages.results_page(record, titles)
    home = site_pages.home(readme, found, repository(root))
    pages['index.md'] = home + site_pages.toctrees(found, pages)
    return pages


def lay_out(pages: dict[str, str | bytes], folder: Path) -> bool:
    """Write the sources that changed, so that Sphinx reads only those again, and remove those that
    are gone. -> was any removed?"""
    files = [p for p in folder.rglob('*') if p.is_file()]
    gone = [p for p in files if p.relative_to(folder).as_posix() not in pages]
    for path in gone:
        path.unlink()
    for name, contents in pages.items():
        path = folder / name
        if isinstance(contents, str):
            write_atomic(path, contents)
        elif not path.is_file() or path.read_bytes() != contents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
    return bool(gone)


# Building

def build(root, solutions=True, out=None) -> Path:
    """Make the site -> its folder. What was there stays as it was if anything is wrong.

    Raises CourseError if a package is missing, Sphinx warns, or a link leads nowhere.
    """
    root = Path(root).absolute()
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise CourseError(f'the site needs {", ".join(missing)}: run `make setup`, '
                          "or `pip install -e '.[site]'`")
    work, out = root / '.course' / 'site', Path(out or root / 'site')
    pages, html = sources(root, solutions), work / 'html'
    if lay_out(pages, work / 'source'):
        forget(work)
    run_sphinx(root, work)
    prune(html, pages)
    add_files(root, html, solutions)
    if wrong := site_links.broken(html):
        shown = '\n  '.join(wrong[:20])
        raise CourseError(f'{site_links.count(wrong)} in the site\'s pages:\n  {shown}')
    fresh = out.with_name(out.name + '.new')
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(html, fresh, ignore=shutil.ignore_patterns('.buildinfo*', '*-macros.html'))
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    return out


def forget(work: Path) -> None:
    "Begin anew: Sphinx repeats no warning about a page that it does not read again."
    for folder in ('doctrees', 'html', 'jupyter_execute'):
        shutil.rmtree(work / folder, ignore_errors=True)


def run_sphinx(root: Path, work: Path) -> None:
    "Sphinx over the sources, with every warning an error. Its own words are shown if it fails."
    command = [sys.executable, '-m', 'sphinx', '-b', 'html', '-W', '--keep-going', '-q',
               '-j', 'auto', '-c', root / 'docs', '-d', work / 'doctrees',
               work / 'source', work / 'html']
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          env={**os.environ, 'PYTHONPATH': str(Path(__file__).parent.parent)})
    if done.returncode:
        forget(work)
        told = done.stderr.replace(str(work / 'source') + '/', '').strip().splitlines()
        told = '\n'.join(dict.fromkeys(told))
        raise CourseError('Sphinx is not content; the pages it speaks of are in '
                          f'{work / "source"}\n{told}')


def prune(html: Path, pages) -> None:
    "Remove what earlier builds left: pages that are no more, figures that no page shows."
    kept = {'search.html', *(str(Path(p).with_suffix('.html')) for p in pages)}
    text = []
    for path in html.rglob('*.html'):
        name = path.relative_to(html)
        if name.parts[0] == '_static':
            continue
        if name.as_posix() in kept:
            text.append(path.read_text(encoding='utf-8'))
        else:
            path.unlink()
    text = '\n'.join(text)
    for path in (html / '_images').glob('*'):
        if path.name not in text:
            path.unlink()


def add_files(root: Path, html: Path, solutions: bool) -> None:
    "MathJax, and for downloads each notebook as it is in the course."
    folder, _ = mathjax()
    for name in MATHJAX:
        to = html / '_static' / 'mathjax' / name
        if (folder / name).is_dir():
            shutil.copytree(folder / name, to, dirs_exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, to)
    for path in course_notebooks(root):
        copy = html / '_sources' / 'nbs' / path.name
        if not copy.is_file():  # not numbered, so not a page
            continue
        if solutions:
            shutil.copyfile(path, copy)
        else:
            text = json.dumps(student_copy(load(path)), indent=1, ensure_ascii=False)
            copy.write_text(text + '\n', encoding='utf-8')


def main(args=None):
    args = sys.argv[1:] if args is None else list(args)
    known = {'build', 'check', '--no-solutions'}
    shots = [a.removeprefix('--shots=') for a in args if a.startswith('--shots=')]
    if unknown := [a for a in args if a not in known and not a.startswith('--shots=')]:
        sys.exit(f'error: {unknown[0]}: not known; {__doc__.splitlines()[0]}')
    try:
        root = find_root()
        if 'check' in args:
            from .site_browser import check
            sys.exit(check(root / 'site', *shots[:1]))
        start = time.perf_counter()
        out = build(root, solutions='--no-solutions' not in args)
        size = sum(p.stat().st_size for p in out.rglob('*') if p.is_file()) / 1e6
        print(f'{out}: {len(list(out.rglob("*.html")))} pages, {size:.0f} MB, '
              f'made in {time.perf_counter() - start:.0f} s')
        if not repository(root):
            print('no buttons for Colab and Binder: the address of the repository is not known '
                  '(pyproject.toml, [project.urls] Repository)')
        print(f'look at it: python -m http.server -d {out.relative_to(root)}, '
              'then open http://localhost:8000')
    except (CourseError, OSError) as e:
        sys.exit(f'error: {e}')


if __name__ == '__main__':
    main()
