"""The site's pages around the chapters: made from the README, results.json and the notebooks."""
from __future__ import annotations

import html
import re
from pathlib import Path

from . import results, site_api, site_map
from .exercises import exercises
from .notebook import CourseError, Notebook

WIDE = '---\nhtml_theme.sidebar_secondary.remove: true\n---\n'
PAGES = ('docs/glossary.md', 'docs/tools.md', 'docs/instructors.md', 'docs/site.md', 'CONTRIBUTING.md',
         'data/README.md')
HTML = '```{raw} html\n%s\n```'


# Home

def home(readme: str, found: list[site_map.Chapter], repository: str | None) -> str:
    "The home page: the README, with its long tables on pages of their own."
    text = section(readme, 'Results', 'Measured by the chapters themselves, over several seeds, '
                   'and asserted each time they run: [all results](results.md).')
    pointer = 'Which chapter builds on which? [See the map](map.md).\n\n'
    text = section(text, 'The map', lambda body: pointer + body.strip())
    if repository:
        text = text.replace('<this repository>', repository)
    first = f'nbs/{Path(found[0].file).stem}.html' if found else 'map.html'
    buttons = (f'<a class="first" href="{first}">Start with the first chapter</a>'
               '<a href="map.html">The map</a><a href="results.html">The results</a>')
    title = re.search(r'^# .*$', text, re.M)
    if not title:
        raise CourseError('README.md: has no title, a line that begins with "# "')
    start = HTML % f'<p class="course-start">{buttons}</p>'
    text = f'{text[:title.end()]}\n\n{start}\n{text[title.end():]}'
    return text.rstrip() + '\n\n'


def section(text: str, title: str, new) -> str:
    "A Markdown text with what stands under a `##` heading replaced, if there is such a heading."
    change = new if callable(new) else lambda body: new
    return re.sub(rf'(^## {re.escape(title)}\n)(.*?)(?=^## |\Z)',
                  lambda m: f'{m[1]}\n{change(m[2])}\n\n', text, flags=re.S | re.M)


def toctrees(found: list[site_map.Chapter], there) -> str:
    "The navigation: the chapters by part, then the pages that there are."
    parts = [('Overview', ['map', 'results'])]
    for i, (_, name) in enumerate(site_map.PARTS):
        parts.append((name, [f'nbs/{Path(c.file).stem}' for c in found if c.part == i]))
    names = [p.removesuffix('.md') for p in (*PAGES[:3], 'api/index.md', *PAGES[3:]) if p in there]
    parts.append(('Reference', names))
    return '\n'.join(f'```{{toctree}}\n:hidden:\n:caption: {name}\n\n' + '\n'.join(docs) + '\n```\n'
                     for name, docs in parts if docs)


# The map

def described(readme: str) -> dict[str, str]:
    "Notebook -> what one builds there, from the README's map."
    rows = re.findall(r'^\| \[[^\]]*\]\(nbs/([^)]+)\) \| (.*?) \|$', readme, re.M)
    return {file: text for file, text in rows if ' | ' not in text}


def map_page(found: list[site_map.Chapter], facts: dict[str, dict], readme: str) -> str:
    "The drawn map, and the same as a table for each part."
    built, needed = described(readme), site_map.direct(found)
    titles = {c.number: c for c in found}
    drawn = (f'<div class="map-frame">\n{site_map.svg(found)}\n</div>\n'
             '<p class="map-note" aria-live="polite"></p>')
    lines = [WIDE + '# The map', '', 'What do I need before a chapter? Point at it, or tap it: all '
             'that it builds on lights up. A click opens it. An arrow means that the lower chapter '
             'imports what the upper one made.', '', HTML % drawn, '']
    for i, (_, name) in enumerate(site_map.PARTS):
        rows = [c for c in found if c.part == i]
        if rows:
            lines += [f'## {name}', '',
                      '| chapter | what you build there | builds on | runs in | exercises |',
                      '|:--|:--|:--|--:|--:|']
        for c in rows:
            on = ', '.join(f'[{n}](nbs/{titles[n].file})' for n in needed[c.number])
            lines.append(f'| [{c.number} {c.title}](nbs/{c.file}) | {built.get(c.file, "")} | {on} '
                         f'| {facts[c.number]["time"]} | {facts[c.number]["exercises"]} |')
        lines.append('')
    return '\n'.join(lines)


# A chapter's card

def facts(found: list[site_map.Chapter], notebooks: dict[str, Notebook], record: dict) -> dict:
    "number -> time, memory, exercises and points, as a few words; empty where nothing is on record"
    costs = {c['notebook']: c for c in record['chapters']}
    told = {}
    for c in found:
        cost, theirs = costs.get(c.file), exercises(notebooks[c.file])
        points = sum(e.points for e in theirs)
        told[c.number] = {'time': f'{cost["seconds"]:.0f} s' if cost else '',
                          'memory': f'{cost["peak_mb"] / 1000:.1f} GB' if cost else '',
                          'exercises': str(len(theirs)) if theirs else '',
                          'points': f'{points:g}' if theirs else ''}
    return told


def card(c: site_map.Chapter, needed: list[str], files: dict[str, str], about: dict) -> str:
    "The line below a chapter's title, in HTML: what it builds on, what it costs, its exercises."
    on = ', '.join(f'<a href="{html.escape(Path(files[n]).stem)}.html">{n}</a>' for n in needed)
    parts = [f'Builds on {on}' if on else 'Needs no other chapter',
             f'<a href="../map.html#{c.number}">see the map</a>']
    if about['time']:
        parts.append(f'runs in {about["time"]} and {about["memory"]} of memory')
    if about['exercises']:
        n = int(about['exercises'])
        parts.append(f'{results.plural(n, "exercise")}, {about["points"]} points')
    copy = f'../_sources/nbs/{html.escape(c.file)}'
    parts.append(f'<a href="{copy}" download>download the notebook</a>')
    return f'<p class="chapter-card">{" ".join(f"<span>{p}</span>" for p in parts)}</p>'


# Results

def results_page(record: dict, titles: dict[str, str]) -> str:
    "All that is on record: accuracies, what each chapter costs, and every claim."
    claims = {}
    for c in record['claims']:
        claims.setdefault(c['notebook'], []).append(c)
    parts = [WIDE + '# Results', 'Measured by the chapters themselves. "Asserted" is the bound that '
             'a chapter enforces each time it runs. The standard deviation follows the ±; n is the '
             'number of runs with different seeds.']
    if accuracies := results.side_by_side(record['claims']):
        parts += ['## Accuracies', accuracies]
    if record['chapters']:
        parts += ['## What each chapter costs', 'Seconds by the clock and of the processor, and '
                  'peak memory, for a run of the whole chapter in a process of its own.',
                  costs(record['chapters'], titles)]
    cost = {c['notebook']: c for c in record['chapters']}
    folds = (results.fold(cs, titles.get(f, ''), cost[f]) for f, cs in claims.items() if f in cost)
    told = ' '.join(map(results.measured_with, record['environments']))
    parts += ['## Every claim', *folds, told]
    return '\n\n'.join(parts) + '\n'


def costs(chapters: list[dict], titles: dict[str, str]) -> str:
    columns = {'seconds': 'seconds', 'cpu_seconds': 'processor seconds',
               'peak_mb': 'peak memory (MB)', 'parameters': 'parameters of its model',
               'claims': 'claims'}
    columns = {k: name for k, name in columns.items() if any(c.get(k) for c in chapters)}
    rows = [results.line(['chapter', *columns.values()]),
            results.line([':--', *['--:'] * len(columns)])]
    rows += [results.line([f'[{c["chapter"]} {titles.get(c["notebook"], "")}](nbs/{c["notebook"]})',
                           *(results.number(c.get(k)) for k in columns)]) for c in chapters]
    return '\n'.join(rows)
