"""Claims on record: `results.json`, and the table in README.md that comes from it.

`python -m coursekit.results` brings the table up to date; `python -m coursekit.results --check`
only says whether it is; `--adopt FILE` puts claims on record that a benchmark measured.
"""
from __future__ import annotations

import json
import math
import os
import platform
import sys
import tomllib
from pathlib import Path

from .cache import SETTINGS, digest, versions
from .notebook import CourseError, course_notebooks, find_root, load
from .outputs import write_atomic
from .processes import cores

BEGIN, END = '<!-- results:begin -->', '<!-- results:end -->'
FIELDS = ('chapter', 'notebook', 'cell', 'name', 'data', 'value', 'sd', 'n', 'unit', 'at_least',
          'at_most', 'seconds')
PARTS = 'claims', 'chapters', 'environments'
TIMES = 's', 'ms', 'µs', '×', 'x'  # units of what differs from machine to machine
MEASURED = ('value', 'sd', 'seconds')


def read(root) -> dict:
    "results.json, or an empty record if there is none."
    path = Path(root) / 'results.json'
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        return {'claims': list(record['claims']), 'chapters': list(record['chapters']),
                'environments': list(record.get('environments', []))}
    except FileNotFoundError:
        return {part: [] for part in PARTS}
    except (ValueError, KeyError, TypeError) as e:
        raise CourseError(f'{path}: is damaged ({e}); restore it from git, or delete it and run '
                          'with --record') from None


def rounded(x, digits=4):
    "A measured number with the digits that mean something."
    return float(f'{x:.{digits}g}') if isinstance(x, float) else x


def environment(threads: int) -> dict:
    "Where a run's numbers come from: `id`, and what it stands for."
    found = {k: v for k, v in versions().items() if k not in SETTINGS}
    found |= {'system': f'{platform.system()} {platform.machine()}', 'cores': cores(),
              'threads': threads}
    return {'id': digest(json.dumps(found, sort_keys=True))[:6], **found}


def entries(results, where: str | None = None) -> tuple[list[dict], list[dict]]:
    """-> the claims and the chapters of a run's results, as they go on record.

    where: id of the environment they were measured in
    """
    claims, chapters = [], []
    for r in results:
        if r.outcome != 'passed':
            continue
        name = Path(r.notebook).name
        chapter = name.split('_')[0]
        for c in r.claims:
            entry = {'chapter': chapter, 'notebook': name, **c}
            claims.append({k: rounded(entry.get(k)) if k in MEASURED else entry.get(k)
                           for k in FIELDS} | {'environment': where})
        chapters.append({'chapter': chapter, 'notebook': name, 'seconds': round(r.seconds, 1),
                         'cpu_seconds': round(r.cpu_seconds, 1), 'peak_mb': round(r.peak_mb),
                         'parameters': r.parameters, 'claims': len(r.claims),
                         'environment': where})
    return claims, chapters


def identity(claim: dict) -> tuple:
    return claim['chapter'], claim['name'], claim['data'] or ''


def merge(old: dict, results, around: dict, only=None) -> dict:
    """The record with a run's passed chapters put in the place of what it held about them.

    around: the run's `environment` · only: names of datasets. Without them, claims on other data of
    the same chapter stay, as a run sees one dataset at a time. With them, only claims on these data
    are taken from the run, and those on other data, or on none, stay: so a run on real data adds to
    the record, which otherwise holds what the built-in data gives. Adopted claims, which belong to no cell, stay
    until others are adopted; so do those of cells that the run left out. A chapter with no notebook any more is the caller's to drop
    (`prune`).
    """
    claims, chapters = entries(results, around['id'])
    if only is not None:
        claims, chapters = [c for c in claims if c['data'] in only], []
    ran, measured = {c['chapter'] for c in chapters}, {(c['chapter'], c['data']) for c in claims}
    left_out = {(Path(r.notebook).name, int(n)) for r in results for n in r.skipped_cells}

    def stays(c):
        if c['cell'] is None or (c['notebook'], c['cell']) in left_out:
            return True
        other = (c['chapter'], c['data']) not in measured
        return other and (c['data'] or c['chapter'] not in ran)

    kept = list(filter(stays, old['claims']))
    others = [c for c in old['chapters'] if c['chapter'] not in ran]
    known = {e['id']: e for e in [*old['environments'], around]}
    record = {'claims': sorted(kept + claims, key=order),
              'chapters': sorted(others + chapters, key=chapter_key)}
    used = {e.get('environment') for part in record.values() for e in part}
    return record | {'environments': [known[k] for k in sorted(used & known.keys())]}


def adopt(old: dict, claims: list[dict], around: dict) -> dict:
    """The record with claims that come from no run of a chapter, such as those of
    bench/recipes.json, in the place of those adopted before in the same chapters.
    """
    fresh = [{**{k: c.get(k) for k in FIELDS}, 'environment': around['id']} for c in claims]
    chapters = {c['chapter'] for c in fresh}
    kept = [c for c in old['claims'] if c['cell'] is not None or c['chapter'] not in chapters]
    around = [e for e in old['environments'] if e['id'] != around['id']] + [around]
    return old | {'claims': sorted(kept + fresh, key=order),
                  'environments': sorted(around, key=lambda e: e['id'])}


def real_data(root) -> set[str] | None:
    "The names of datasets that are not built in, when a run may have read them; else None."
    path = Path(root) / 'data' / 'datasets.toml'
    if not (os.environ.get('COURSE_DATA') and path.is_file()):
        return None
    known = tomllib.loads(path.read_text(encoding='utf-8'))
    return {name for name, entry in known.items() if not entry.get('built_in')}


def prune(record: dict, root) -> dict:
    "The record without chapters whose notebook is gone."
    names = {p.name for p in course_notebooks(root)}
    return record | {k: [e for e in record[k] if e['notebook'] in names]
                     for k in ('claims', 'chapters')}


def chapter_key(entry: dict) -> tuple:
    digits = ''.join(ch for ch in entry['chapter'] if ch.isdigit())
    return int(digits or 10**6), entry['chapter'], entry['notebook']


def order(claim: dict) -> tuple:
    return *chapter_key(claim), claim['cell'] or 0, claim['name'], claim['data'] or ''


def write(record: dict, root) -> bool:
    "Save results.json, a claim a line, so that a diff is short. -> was it written?"
    parts = []
    for part in PARTS:
        lines = ',\n'.join('  ' + json.dumps(e, ensure_ascii=False) for e in record[part])
        parts.append(f' "{part}": [\n{lines}\n ]')
    return write_atomic(Path(root) / 'results.json', '{\n' + ',\n'.join(parts) + '\n}\n')


def compare(record: dict, results) -> tuple[list[dict], list[tuple], list[tuple]]:
    """-> a run's claims that are not on record; (claim, on record) that moved; those that drifted.

    A claim over several seeds has drifted when it is off by more than 3 of its standard deviations:
    that turns a run red. One without has moved when it is off by more than 5 % or has other bounds;
    its own bounds say whether that matters. Times and ratios of times are left out.
    """
    known = {identity(c): c for c in record['claims']}
    new, moved, drifted = [], [], []
    for claim in entries(results)[0]:
        old = known.get(identity(claim))
        if old is None:
            new.append(claim)
        elif claim['unit'] not in TIMES:
            off, sd = abs(claim['value'] - old['value']), max(claim['sd'] or 0, old['sd'] or 0)
            if off > (3 * sd if sd else max(abs(old['value']) * .05, 1e-12)):
                (drifted if sd else moved).append((claim, old))
            elif bounds(claim) != bounds(old):
                moved.append((claim, old))
    return new, moved, drifted


def drift_text(claim: dict, old: dict) -> str:
    "One claim that drifted, in a line."
    data = f' on {claim["data"]}' if claim['data'] else ''
    return (f'{claim["notebook"]} cell {claim["cell"]}: {claim["name"]}{data}: {told(claim)[0]}, '
            f'but {told(old)[0]} on record')


def bounds(claim):
    return claim['at_least'], claim['at_most']


def number(x, unit=None) -> str:
    "A number for people: four digits, thousands separated, with its unit."
    if x is None:
        return ''
    x = float(x)
    text = f'{x:,.0f}' if abs(x) >= 1000 else f'{x:.4g}'
    return text + suffix(unit)


def suffix(unit) -> str:
    "A unit as it follows its number: `%` and `×` closely, `s` after a space."
    return '' if not unit else unit if unit in ('%', '×') else f' {unit}'


def told(claim: dict) -> tuple[str, str]:
    "-> a claim's value with sd and n, and its bound"
    value = number(claim['value'])
    if claim['sd']:  # two digits of the spread, and as many places of the mean
        places = max(0, 1 - math.floor(math.log10(claim['sd'])))
        value = f'{claim["value"]:,.{places}f} ± {claim["sd"]:.{places}f}'
    value += suffix(claim['unit'])
    if claim['n']:
        value += f' (n = {claim["n"]})'
    low, high = (number(claim[k], claim['unit']) for k in ('at_least', 'at_most'))
    return value, ' and '.join(filter(None, (low and f'≥ {low}', high and f'≤ {high}')))


def plural(n: int, word: str) -> str:
    return f'{n} {word}{"s" * (n != 1)}'


def line(cells) -> str:
    "A row of a table in Markdown."
    return '| ' + ' | '.join(str(x).replace('|', '\\|') for x in cells) + ' |'


def side_by_side(claims: list[dict]) -> str:
    "The accuracies over several seeds, a column for each dataset; nothing if there are none."
    shown = [c for c in claims if c['data'] and c['n']
             and c['unit'] in (None, '%') and 'accuracy' in c['name']]
    columns = sorted({c['data'] for c in shown}, key=lambda d: (d != 'digits', d))
    rows = {}
    for c in shown:
        rows.setdefault((c['chapter'], c['notebook'], c['name']), {})[c['data']] = told(c)[0]
    lines = [line(['chapter', 'accuracy, several seeds', *columns]),
             line([':--', ':--', *['--:'] * len(columns)])]
    lines += [line([f'[{chapter}](nbs/{file})', name, *(values.get(d, '') for d in columns)])
              for (chapter, file, name), values in rows.items()]
    return '\n'.join(lines) if shown else ''


def cost(chapter: dict) -> str:
    "What a chapter took: `41 s, 612 MB, a model of 25,160 parameters`."
    model = f', a model of {chapter["parameters"]:,} parameters' if chapter.get('parameters') else ''
    return f'{number(chapter["seconds"], "s")}, {number(chapter["peak_mb"], "MB")}{model}'


def fold(claims: list[dict], title: str, chapter: dict) -> str:
    "A chapter's claims, folded under its title and its cost."
    file = claims[0]['notebook']
    head = (f'<b>{claims[0]["chapter"]} {title}</b> · {plural(len(claims), "claim")} · '
            f'{cost(chapter)}')
    rows = [line([c['name'], c['data'] or '', *told(c), number(c['seconds'])]) for c in claims]
    return '\n'.join([f'<details><summary>{head}</summary>', '', f'[Open the chapter](nbs/{file})', '',
                      line(['Claim', 'Data', 'Measured', 'Asserted', 'Seconds']),
                      line([':--', ':--', '--:', '--:', '--:']), *rows, '', '</details>'])


def table(record: dict, titles: dict[str, str]) -> str:
    "The README's tables, in Markdown. `titles`: notebook name -> title"
    chapters = {}
    for c in record['claims']:
        chapters.setdefault(c['notebook'], []).append(c)
    costs = {c['notebook']: c for c in record['chapters']}
    folds = [fold(claims, titles.get(file, ''), costs[file]) for file, claims in chapters.items()]
    total = sum(c['seconds'] for c in record['chapters'])
    counts = [plural(len(record[f'{w}s']), w) for w in ('claim', 'chapter')]
    last = f'{counts[0]} from {counts[1]}, which took {number(total)} s one after the other.'
    last = ' '.join([last, *map(measured_with, record['environments'])])
    return '\n\n'.join(filter(None, [side_by_side(record['claims']), *folds, last]))


def measured_with(around: dict) -> str:
    "An environment, in a sentence."
    rest = [f'{k} {v}' for k, v in around.items() if k not in ('id', 'system', 'cores', 'threads')]
    return (f'Measured with {", ".join(rest)} on {around["system"]}, {plural(around["cores"], "core")}, '
            f'{plural(around["threads"], "thread")} a notebook (`{around["id"]}`).')


def readme(root) -> tuple[str, str]:
    "-> README.md as it is, and as it should be"
    path = Path(root) / 'README.md'
    text = path.read_text(encoding='utf-8')
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise CourseError(f'{path}: needs the two lines {BEGIN} and {END}, in this order, '
                          'where the table goes')
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    titles = {p.name: load(p).title for p in course_notebooks(root)}
    return text, f'{head}{BEGIN}\n{table(read(root), titles)}\n{END}{tail}'


def readme_is_current(root) -> bool:
    "Is the README's table what results.json gives?"
    return len(set(readme(root))) == 1


def update_readme(root) -> bool:
    "Write the table into README.md. -> was anything changed?"
    return write_atomic(Path(root) / 'README.md', readme(root)[1])


def main():
    try:
        root = find_root()
        if '--check' in sys.argv[1:]:
            if not readme_is_current(root):
                sys.exit('README.md: the results table is out of date; '
                         'run `python -m coursekit.results`')
        elif '--adopt' in sys.argv[1:]:
            claims = json.loads(Path(sys.argv[sys.argv.index('--adopt') + 1]).read_text(encoding='utf-8'))
            write(adopt(read(root), claims, environment(threads=1)), root)
            print(f'results.json: {plural(len(claims), "claim")} adopted')
        else:
            done = 'updated' if update_readme(root) else 'was up to date'
            print(f'README.md: results table {done}')
    except (CourseError, OSError) as e:
        sys.exit(f'error: {e}')


if __name__ == '__main__':
    main()
