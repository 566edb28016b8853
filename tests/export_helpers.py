"""A small course in a temporary folder, and the exporter run on it as its users do."""
from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import notebook2script

TOOL = Path(__file__).resolve().parent.parent / 'notebook2script.py'


def cell(source, kind='code', id=None, **more):
    return {'cell_type': kind, 'id': id, 'metadata': {}, 'source': source,
            **({'execution_count': None, 'outputs': []} if kind == 'code' else {}), **more}


class Course:
    "A course's folder."

    def __init__(self, root):
        self.root = Path(root)
        (self.root / 'nbs').mkdir(parents=True, exist_ok=True)
        self.exp = self.root / 'exp'

    def write(self, name, *sources, ids=True, **top):
        """Write nbs/`name`.ipynb. A source is a code cell, one that begins with `md:` a markdown
        cell, and a dict is a cell as it is. Ids are c1, c2, …"""
        cells = [s if isinstance(s, dict) else cell(s[3:].strip(), 'markdown')
                 if s.startswith('md:') else cell(s)
                 for s in sources]
        for i, c in enumerate(cells, 1):
            c = {**c, 'source': c['source'].splitlines(True) if isinstance(c['source'], str)
                 else c['source']}
            if ids:
                c['id'] = c.get('id') or f'c{i}'
            else:
                c.pop('id', None)
            cells[i - 1] = c
        raw = {'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5 if ids else 4,
               **top}
        self.nb(name).write_text(json.dumps(raw, indent=1, ensure_ascii=False) + '\n',
                                 encoding='utf-8')
        return self.nb(name)

    def nb(self, name):
        return self.root / 'nbs' / f'{name}.ipynb'

    def sources(self, name):
        return [''.join(c['source'])
                for c in json.loads(self.nb(name).read_text(encoding='utf-8'))['cells']]

    def module(self, number):
        return self.exp / f'nb_{number}.py'

    def text(self, number):
        return self.module(number).read_bytes().decode()

    def edit(self, number, old, new):
        text = self.text(number)
        assert old in text
        self.module(number).write_bytes(text.replace(old, new).encode())

    def run_real(self, *args, cwd=None, **more):
        "Run the command line as a process of its own."
        return subprocess.run([sys.executable, str(TOOL), *map(str, args)], cwd=cwd or self.root,
                              capture_output=True,
                              text=True, encoding='utf-8', timeout=60, **more)

    def run(self, *args, cwd=None):
        "Run the command line's `main` in this process, which is much faster and looks the same."
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding='utf-8') for _ in range(2))
        kept = sys.argv, sys.dont_write_bytecode, os.getcwd()
        sys.argv = [str(TOOL), *map(str, args)]
        os.chdir(cwd or self.root)
        status = 0
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    notebook2script.main()
                except SystemExit as e:  # Python prints a text to stderr, with status 1
                    status = e.code if isinstance(e.code, int) else 1
                    print(e.code if isinstance(e.code, str) else '', end='\n'
                          if isinstance(e.code, str) else '', file=err)
        finally:
            sys.argv, sys.dont_write_bytecode = kept[:2]
            os.chdir(kept[2])
        told = []
        for stream in (out, err):
            stream.flush()
            told.append(stream.buffer.getvalue().decode())
        return subprocess.CompletedProcess(args, status, *told)

    def tree(self):
        "Every file of the course with its bytes and its time."
        return {p.relative_to(self.root).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
                for p in sorted(self.root.rglob('*')) if p.is_file()}
