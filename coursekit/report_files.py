"""Reports for machines (JSON, JUnit, GitHub annotations), and a notebook as far as it came."""
from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from .outputs import write_atomic
from .records import BLOCKED, CRASHED, ERROR, FAILED, OOM, PASSED, SKIPPED, TIMEOUT, Result
from .report import plain, word


def write_json(path, results: list[Result], exit_status: int):
    "The run as JSON: a list of notebooks, and the exit status."
    record = {'notebooks': [r.public() for r in results], 'exit_status': exit_status}
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False) + '\n')


def xml_text(text: str) -> str:
    "Text that XML may hold: no control characters, no lone surrogates."
    return re.sub(r'[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]', '', plain(text))


def add(parent, tag: str, **attributes):
    "A new element below `parent`, whatever text its attributes are."
    return ElementTree.SubElement(parent, tag, {k: xml_text(str(v)) for k, v in attributes.items()})


def write_junit(path, results: list[Result], stories: dict[str, list[str]]):
    "The run as JUnit XML, a test case for each notebook; `stories`: the lines told of each."
    root = ElementTree.Element('testsuites')
    suite = add(root, 'testsuite', name='notebooks', tests=len(results),
                failures=sum(r.outcome in (FAILED, TIMEOUT, OOM, CRASHED) for r in results),
                errors=sum(r.outcome == ERROR for r in results),
                skipped=sum(r.outcome in (SKIPPED, BLOCKED) for r in results),
                time=f'{sum(r.seconds for r in results):.3f}')
    for r in results:
        where = Path(r.notebook)
        case = add(suite, 'testcase', name=where.name, classname=where.parent, file=r.notebook,
                   time=f'{r.seconds:.3f}')
        if r.outcome in (SKIPPED, BLOCKED):
            add(case, 'skipped', message=f'{word(r.outcome)}: {r.message}')
        elif r.outcome != PASSED:
            kind = 'error' if r.outcome == ERROR else 'failure'
            what = add(case, kind, type=r.outcome, message=r.message)
            what.text = xml_text('\n'.join(stories.get(r.notebook, [])))
    ElementTree.indent(root)
    write_atomic(path, ElementTree.tostring(root, encoding='unicode', xml_declaration=True) + '\n')


def line_in_file(path, cell: int | None, line: int | None) -> int:
    """The line of an .ipynb file where a line of a cell's source stands; 1 if it cannot be told.

    In the usual layout each line of source is a line of the file.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
        cells = json.loads(text)['cells']
    except (OSError, ValueError, KeyError):
        return 1
    if not cell or cell > len(cells):
        return 1
    at = 0
    for c in cells[:cell]:
        if not (m := re.compile(r'"source":\s*' + as_written(c['source'])).search(text, at)):
            return 1
        at = m.end()
    lines_apart = isinstance(c['source'], list) and '\n' in m[0]
    return text.count('\n', 0, m.start()) + 1 + ((line or 1) if lines_apart else 0)


def as_written(source) -> str:
    "A pattern for a cell's source, a string or a list, as any writer of JSON may have put it."
    if isinstance(source, str):
        ways = (json.dumps(source, ensure_ascii=ascii) for ascii in (True, False))
        return f'(?:{"|".join(map(re.escape, ways))})'
    return r'\[\s*' + r',\s*'.join(map(as_written, source)) + r'\s*\]'


def annotation(result: Result, path, repository, line: int | None) -> str:
    "A GitHub workflow command that marks the failing line."
    place = f'cell {result.cell}' if result.cell else 'notebook'
    title = f'{Path(path).name} {place}: {word(result.outcome)}'
    return mark(path, repository, line_in_file(path, result.cell, line), title, result.message)


def mark(path, repository, line: int, title: str, message: str) -> str:
    "A GitHub workflow command that marks a line of a file as wrong."
    try:
        file = Path(path).absolute().relative_to(Path(repository).absolute())
    except ValueError:
        file = Path(path)
    data = {'file': file.as_posix(), 'line': line, 'title': title}
    fields = ','.join(f'{k}={escape(str(v), also=":,")}' for k, v in data.items())
    return f'::error {fields}::{escape(plain(message))}'


def escape(text: str, also: str = '') -> str:
    for char in '%\r\n' + also:
        text = text.replace(char, f'%{ord(char):02X}')
    return text


def write_html(folder, result: Result) -> Path:
    "An executed notebook, as far as it came, as a page to look at. -> its file"
    import nbformat
    from nbconvert import HTMLExporter
    nb = nbformat.from_dict(result.raw)
    for cell in nb.cells:
        cell.source = ''.join(cell.source)
        if cell.cell_type == 'code':
            cell.setdefault('outputs', [])
    body, _ = HTMLExporter().from_notebook_node(nbformat.reads(nbformat.writes(nb), as_version=4))
    name = re.sub(r'[/\\]+', '-', str(Path(result.notebook).with_suffix(''))).strip('-.')
    path = Path(folder) / f'{name}.html'
    write_atomic(path, body)
    return path
