"""Cell outputs: brought into one canonical form, searched for claims, written back into notebooks.

Streams arrive in pieces whose cut depends on timing. Stored outputs must not: the same run gives
the same bytes.
"""
from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
import tempfile
from copy import deepcopy
from pathlib import Path

CLAIM = 'application/vnd.course.claim+json'
WIDGET = 'application/vnd.jupyter.widget-view+json'
VOLATILE_CELL = ('execution', 'ExecuteTime', 'collapsed', 'scrolled', 'trusted')
VOLATILE_NOTEBOOK = ('widgets', 'signature', 'papermill', 'execution')
CELL_FILE = re.compile(
    r'(?:/[^\s:"\'()<>]*/|[A-Za-z]:\\[^\s"\'()<>]*\\)ipykernel_\d+[/\\](\d+\.py)')


def text_of(value) -> str:
    "A multi-line string of a notebook, which may be stored as a list of lines."
    return value if isinstance(value, str) else ''.join(value)


def lines_of(value):
    "The list of lines that a notebook file holds for a multi-line string."
    return value.splitlines(keepends=True) if isinstance(value, str) else value


def collapse(text: str) -> str:
    "What a terminal would show in the end: carriage returns and backspaces applied, line by line."
    if '\b' in text:
        before = None
        while before != text:
            before, text = text, re.sub(r'[^\n\r\b]\x08', '', text)
        text = text.replace('\b', '')
    if '\r' in text:
        text = text.replace('\r\n', '\n')
        text = '\n'.join(_last_state(line) for line in text.split('\n'))
    return text


def _last_state(line: str) -> str:
    "`10%\\r20%` -> `20%`; of a longer text the tail stays, as on a terminal."
    shown = ''
    for part in line.split('\r'):
        shown = part + shown[len(part):]
    return shown.rstrip(' ') if '\r' in line else shown


def merge_streams(outputs: list) -> list:
    "Join stream pieces: between two displays, all of stdout is one output, then all of stderr."
    merged, pending = [], {}

    def flush():
        for name in ('stdout', 'stderr'):
            if text := collapse(''.join(pending.pop(name, ()))):
                merged.append({'name': name, 'output_type': 'stream', 'text': text})

    for out in outputs:
        if out['output_type'] == 'stream':
            pending.setdefault(out['name'], []).append(text_of(out['text']))
        else:
            flush()
            merged.append(out)
    flush()
    return merged


class Scrubber:
    "Replaces this machine's folders by names that hold everywhere, in tracebacks and warnings."

    def __init__(self, root):
        lib, python = sysconfig.get_paths(), 'python{}.{}'.format(*sys.version_info)
        pairs = {lib['purelib']: 'site-packages', lib['platlib']: 'site-packages',
                 lib['stdlib']: python, os.path.realpath(lib['stdlib']): python, str(root): ''}
        home = os.path.expanduser('~')
        for folder in list(pairs):
            if home not in ('/', '~') and folder.startswith(home + os.sep):
                pairs['~' + folder[len(home):]] = pairs[folder]
        self.pairs = sorted(pairs.items(), key=lambda p: -len(p[0]))

    def __call__(self, text: str) -> str:
        text = CELL_FILE.sub(r'ipykernel/\1', text)
        for folder, name in self.pairs:
            text = text.replace(folder + os.sep, name + '/' if name else '')
        return text


def tidy(outputs: list, scrub=lambda text: text) -> list:
    "The canonical form of one cell's outputs, in which both engines agree and which is stored."
    tidied = []
    for out in merge_streams(outputs):
        out = deepcopy(dict(out))
        out.pop('transient', None)
        if out['output_type'] == 'stream' and out['name'] == 'stderr':
            out['text'] = scrub(out['text'])
        elif out['output_type'] == 'error':
            out['traceback'] = [scrub(line) for line in out['traceback']]
        elif 'data' in out and len(out['data']) > 1:
            out['data'].pop(WIDGET, None)
        tidied.append(out)
    return tidied


def claims_in(outputs: list) -> list[dict]:
    "The claims among a cell's outputs, in order."
    return [out['data'][CLAIM] for out in outputs if CLAIM in out.get('data', ())]


def on_disk(out: dict) -> dict:
    "One output as a notebook file holds it: text as lists of lines."
    out = dict(out)
    if out['output_type'] == 'stream':
        out['text'] = lines_of(out['text'])
    elif 'data' in out:
        out['data'] = {mime: lines_of(value) if is_text(mime) else value
                       for mime, value in out['data'].items()}
        out.setdefault('metadata', {})
    return out


def is_text(mime: str) -> bool:
    return mime.startswith('text/') or mime in ('image/svg+xml', 'application/javascript')


def stored(raw: dict, outputs: dict[int, list], counts: dict[int, int], keep=()) -> dict:
    """The notebook to save: `raw` with new outputs and execution counts, by cell number.

    A code cell that was not run loses what it held, except the skipped ones, whose numbers are in
    `keep`.
    """
    nb = deepcopy(raw)
    meta = nb.setdefault('metadata', {})
    for key in VOLATILE_NOTEBOOK:
        meta.pop(key, None)
    meta.get('language_info', {}).pop('version', None)
    for number, cell in enumerate(nb['cells'], 1):
        cell['source'] = lines_of(text_of(cell['source']))
        for key in VOLATILE_CELL:
            cell.setdefault('metadata', {}).pop(key, None)
        if cell['cell_type'] == 'code' and number not in keep:
            count = counts.get(number)
            cell['execution_count'] = count
            cell['outputs'] = [on_disk(numbered(out, count)) for out in outputs.get(number, [])]
    return nb


def numbered(out: dict, count: int) -> dict:
    return {**out, 'execution_count': count} if out['output_type'] == 'execute_result' else out


def dumps(nb: dict) -> str:
    "A notebook's text in Jupyter's layout, keys sorted, so that equal notebooks are equal bytes."
    return json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n'


def save(nb: dict, path) -> bool:
    "Write a notebook atomically; an unchanged file is left alone. -> was it written?"
    return write_atomic(path, dumps(nb))


def write_atomic(path, text: str) -> bool:
    "Replace a file in one step, unless it already holds `text`. -> was it written?"
    path = Path(path)
    data = text.encode('utf-8', 'surrogatepass')
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as f:
            f.write(data)
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True
