"""Notebooks and little courses for the tests of the runner."""
import asyncio
import json
import re
from pathlib import Path

import psutil

from coursekit.records import Result
from run_notebook import run_notebook


def code(source, *tags, **more):
    "A code cell."
    meta = {'tags': list(tags)} if tags else {}
    return {
        'cell_type': 'code', 'metadata': meta, 'source': source, 'outputs': [],
        'execution_count': None, **more
    }


def markdown(source):
    return {'cell_type': 'markdown', 'metadata': {}, 'source': source}


def claim_cell(name='speed', value=2.5, **more):
    "A cell that puts a claim out, as `exp.nb_00.claim` does."
    claim = {'name': name, 'value': value, 'at_least': 2.0, 'at_most': None, 'sd': None, 'n': None,
             'unit': None, 'data': None, 'ok': True, **more}
    return code('from IPython.display import display\n'
                f"display({{'application/vnd.course.claim+json': {claim}}}, raw=True)")


def notebook(*cells, course=None, minor=5):
    "A notebook from cells; a string is a code cell. Ids are given from nbformat 4.5 on."
    cells = [code(c) if isinstance(c, str) else dict(c) for c in cells]
    for i, cell in enumerate(cells):
        if minor >= 5:
            cell.setdefault('id', f'id{i + 1}')
    metadata = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}}
    if course is not None:
        metadata['course'] = course
    return {'cells': cells, 'metadata': metadata, 'nbformat': 4, 'nbformat_minor': minor}


def read_corpus(name, **words):
    """Notebooks written in a text file beside this one: {name: (cells, rest of the === line)}.

    `words` are put in for their names. The cell that begins a notebook may have a --- line as well.
    """
    text = (Path(__file__).parent / f'{name}.txt').read_text(encoding='utf-8')
    for word, value in words.items():
        text = text.replace(word, value)
    found = {}
    for block in re.split(r'^=== ', text, flags=re.M)[1:]:
        head, _, body = block.partition('\n')
        parts = [part.strip() for part in head.split('|')]
        found[parts[0]] = corpus_cells(body.rstrip('\n')), parts[1:]
    return found


def corpus_cells(text):
    "Cells parted by lines such as `---`, `--- raises-exception` or `--- [markdown]`."
    pieces = re.split(r'^---(.*)$', f'---\n{text}' if not text.startswith('---') else text,
                      flags=re.M)[1:]
    found = []
    for tags, source in zip(pieces[::2], pieces[1::2]):
        source = source.removeprefix('\n').removesuffix('\n')
        if '[markdown]' in tags:
            found.append(markdown(source))
        elif source or len(pieces) > 2:
            found.append(code(source, *tags.split()))
    return found


class Course:
    "A course in a folder of its own."

    def __init__(self, root):
        self.root = Path(root)
        (self.root / 'nbs').mkdir(parents=True, exist_ok=True)
        (self.root / 'exp').mkdir(exist_ok=True)
        (self.root / 'exp' / '__init__.py').touch()

    def add(self, name, *cells, **kwargs):
        "Write nbs/NAME.ipynb."
        return self.write(f'nbs/{name}.ipynb', json.dumps(notebook(*cells, **kwargs)))

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        return path

    def read(self, name):
        return json.loads((self.root / 'nbs' / f'{name}.ipynb').read_text(encoding='utf-8'))

    def run(self, *paths, **options):
        "Run it; what was shown is in `.shown`."
        lines = []
        paths = [self.root / p for p in paths] or [self.root / 'nbs']
        outcome = run_notebook(*paths, root=self.root, show=lines.append, **options)
        outcome.shown = '\n'.join(lines)
        return outcome


def outputs(nb):
    """What a notebook's cells put out, as text: stream texts, plain text of results and displays,
    names of errors."""
    found = []
    for cell in nb['cells']:
        for out in cell.get('outputs', ()):
            text = out.get('text') or out.get('data', {}).get('text/plain') or out.get('ename')
            found.append(''.join(text))
    return found


def left_behind(word):
    "Processes whose command line holds a word."
    found = []
    for p in psutil.process_iter():
        try:
            if word in ' '.join(p.cmdline()) and p.status() != psutil.STATUS_ZOMBIE:
                found.append(p)
        except psutil.Error:
            pass
    return found


class FakePool:
    """In the place of the engines: every notebook passes, but for those named in `bad` (name ->
    outcome)."""

    def __init__(self, bad=(), seconds=0.0):
        self.bad, self.seconds, self.ran, self.most = dict(bad), seconds, [], 0
        self.now = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def run(self, job, report=lambda *event: None, deadline=None):
        self.ran.append(Path(job.key).stem)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        outcome = self.bad.get(Path(job.key).stem, 'passed')
        return Result(job.key, outcome, 1 if outcome != 'passed' else None, seconds=.5, raw=job.raw)
