"""What an instructor plans with: which chapters need which, how long each takes, what it asks.

`python -m coursekit.chapters` brings the table in docs/instructors.md up to date, from the
notebooks' imports and from results.json; `--check` only says whether it is; `--without 05a,05b`
says whether these chapters can be left out.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from .exercises import exercises
from .graph import Graph
from .notebook import CourseError, Notebook, course_notebooks, find_root, load
from .outputs import write_atomic
from .results import read

BEGIN, END = '<!-- chapters:begin -->', '<!-- chapters:end -->'
PAGE = Path('docs') / 'instructors.md'


@dataclass
class Chapter:
    """A chapter as the table shows it. `direct`: numbers of those whose modules it imports itself;
    `users`: of those that cannot do without it, directly or not; seconds and MB of the last
    recorded run."""
    number: str
    title: str
    notebook: Notebook = field(repr=False)
    direct: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    seconds: float | None = None
    peak_mb: float | None = None

    @property
    def points(self) -> list[float]:
        return [e.points for e in exercises(self.notebook)]


def chapters(root) -> list[Chapter]:
    "The numbered chapters of a course, in reading order."
    root = Path(root).absolute()
    graph = Graph({p.name: load(p) for p in course_notebooks(root)}, root)
    costs = {c['notebook']: c for c in read(root)['chapters']}
    found = {}
    for key, notebook in graph.notebooks.items():
        if notebook.number:
            meta = notebook.raw.get('metadata', {}).get('course') or {}
            cost = costs.get(key, {})
            found[key] = Chapter(notebook.number, meta.get('title') or notebook.title, notebook,
                                 seconds=cost.get('seconds'), peak_mb=cost.get('peak_mb'))
    for key, chapter in found.items():
        for other, via in graph.needs[key].items():
            if other in found:
                found[other].users.append(chapter.number)
                if not via:
                    chapter.direct.append(found[other].number)
    places = {c.number: i for i, c in enumerate(found.values())}
    for chapter in found.values():
        chapter.direct.sort(key=places.get)
        chapter.users.sort(key=places.get)
    return list(found.values())


def table(found: list[Chapter]) -> str:
    "The table in Markdown, and what everything takes together."
    rows = ['| chapter | seconds | peak MB | exercises | imports '
            '| cannot be left out while you keep |',
            '|---|---:|---:|---:|---|---|']
    for c in found:
        n = len(c.points)
        rows.append(f'| {c.number} · {c.title} | {shown(c.seconds)} | {shown(c.peak_mb)} | '
                    f'{n} ({sum(c.points):g} points) | {", ".join(c.direct) or "–"} | '
                    f'{", ".join(c.users) or "–"} |')
    known = [c.seconds for c in found if c.seconds is not None]
    total = sum(sum(c.points) for c in found)
    rows += ['', f'Together: {len(found)} chapters, {sum(known) / 60:.0f} minutes'
             + (f' for the {len(known)} that were timed' if len(known) < len(found) else '')
             + f', {sum(len(c.points) for c in found)} exercises worth {total:g} points.']
    return '\n'.join(rows)


def shown(value: float | None) -> str:
    return '–' if value is None else format(value, '.0f')


def page_with(text: str, root) -> str:
    "The page with the table of today. Raises CourseError when it has no place for it."
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise CourseError(f'{PAGE}: the table stands between {BEGIN} and {END}, each once')
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f'{before}{BEGIN}\n{table(chapters(root))}\n{END}{after}'


def missing(numbers: list[str], found: list[Chapter]) -> dict[str, list[str]]:
    "For chapters to be left out: which of those kept need each. CourseError for one unknown."
    known = {c.number: c for c in found}
    for number in numbers:
        if number not in known:
            raise CourseError(f'--without {number}: there is no such chapter')
    kept = {n: [u for u in known[n].users if u not in numbers] for n in numbers}
    return {n: users for n, users in kept.items() if users}


def main():
    try:
        root, argument = find_root(), sys.argv[1:]
        if argument and argument[0].startswith('--without'):
            wanted = ','.join(argument).partition('--without')[2].lstrip('=,')
            sys.exit(tell_missing(wanted, chapters(root)))
        if argument not in ([], ['--check']):
            raise CourseError('nothing, --check or --without NUMBERS is expected')
        path = root / PAGE
        text = path.read_text(encoding='utf-8')
        new = page_with(text, root)
        if argument and new != text:
            raise CourseError(f'{PAGE}: its table is not what the notebooks and results.json give; '
                              'python -m coursekit.chapters brings it up to date')
        done = 'updated' if write_atomic(path, new) else 'was up to date'
        print(f'{PAGE}: {done}')
    except (CourseError, OSError) as e:
        sys.exit(f'error: {e}')


def tell_missing(wanted: str, found: list[Chapter]) -> int:
    numbers = [n.strip() for n in wanted.split(',') if n.strip()]
    if not numbers:
        raise CourseError('--without: name chapters, as in --without 05a,05b')
    for number, users in (gone := missing(numbers, found)).items():
        print(f'{number} is needed by {", ".join(users)}')
    if not gone:
        print(f'{", ".join(numbers)}: nothing that is kept needs what is left out')
    return 1 if gone else 0


if __name__ == '__main__':
    main()
