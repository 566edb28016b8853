"""The first cell of a notebook that is opened where the course is not: it fetches and installs it.

    python -m coursekit.site_colab [--check]

writes that cell into every notebook, or says whether it is there. The address comes from
`[project.urls] Repository` in pyproject.toml; without one, no notebook has such a cell. A notebook
that changes keeps its outputs: run it with `run_notebook.py --inplace` afterwards.
"""
from __future__ import annotations

import re
import sys
import tomllib
from copy import deepcopy
from pathlib import Path

from .notebook import CourseError, course_notebooks, find_root, load
from .outputs import save

ID = 'install-the-course'
TEXT = '''\
# Where the course is not installed, as on Colab, this fetches it; elsewhere it does nothing
import importlib.util, os, sys
if importlib.util.find_spec('exp') is None:
    !test -d foundations || git clone -q --depth 1 {address} foundations
    %pip install -q {packages}
    sys.path.insert(0, os.path.abspath('foundations'))
    %cd -q foundations/nbs'''
# What the server of a notebook brings along.
NOT_NEEDED = ('jupyter', 'ipy', 'nb')


def project(root) -> dict:
    path = Path(root, 'pyproject.toml')
    return tomllib.loads(path.read_text(encoding='utf-8'))['project'] if path.is_file() else {}


def declared(root) -> str | None:
    "The repository's address as pyproject.toml has it, or None."
    return project(root).get('urls', {}).get('Repository')


def packages(root) -> list[str]:
    """The packages that chapters import, without versions, as pip leaves alone what is there.

    A machine with GPUs has a torch that fits them; another version might not.
    """
    named = project(root)
    tests = named.get('optional-dependencies', {}).get('test', ())  # exercises use hypothesis
    wanted = [*named.get('dependencies', ()), *tests]
    names = [re.match(r'[\w.-]+', w)[0] for w in wanted]
    return [n for n in names if not n.startswith((*NOT_NEEDED, 'pytest'))]


def text(root) -> str | None:
    "The cell's code, or None if the address is not known."
    address = declared(root)
    if address and not re.fullmatch(r'https://[\w.-]+/[\w./~-]+', address):
        raise CourseError(f'pyproject.toml: [project.urls] Repository = {address!r}: '
                          'needed is an address such as https://host/owner/name')
    return TEXT.format(address=address, packages=' '.join(packages(root))) if address else None


def with_cell(raw: dict, code: str | None) -> dict:
    """A notebook with the cell before its first code cell, once; or, for None, without it.

    Prose stays in front: the title is what one sees first.
    """
    raw = deepcopy(raw)
    cells = [c for c in raw['cells'] if c.get('id') != ID]
    if code:
        place = next((i for i, c in enumerate(cells) if c['cell_type'] == 'code'), len(cells))
        cells.insert(place, {'cell_type': 'code', 'id': ID, 'metadata': {}, 'execution_count': None,
                             'outputs': [], 'source': code.splitlines(keepends=True)})
    raw['cells'] = cells
    return raw


def outdated(root) -> list[Path]:
    "The notebooks of a course whose first cell is not what it should be."
    code = text(root)
    return [p for p in course_notebooks(root) if not as_wanted(load(p).raw, code)]


def as_wanted(raw: dict, code: str | None) -> bool:
    "Is the cell there, once, as the first code cell, with this text; or, for None, absent?"
    ours = [c for c in raw['cells'] if c.get('id') == ID]
    if code is None:
        return not ours
    first = next((c for c in raw['cells'] if c['cell_type'] == 'code'), None)
    return len(ours) == 1 and ours[0] is first and ''.join(first['source']) == code


def main():
    try:
        root = find_root()
        code, old = text(root), outdated(root)
        if '--check' in sys.argv[1:]:
            if old:
                names = ', '.join(p.name for p in old)
                sys.exit(f'the installing cell of {names} is missing or out of date; '
                         'run `python -m coursekit.site_colab`')
            return
        for path in old:
            save(with_cell(load(path).raw, code), path)
            print(path.relative_to(root))
        if code is None:
            print('no notebook installs the course: pyproject.toml names no [project.urls] '
                  'Repository')
    except (CourseError, OSError) as e:
        sys.exit(f'error: {e}')


if __name__ == '__main__':
    main()
