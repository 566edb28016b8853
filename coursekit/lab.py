"""JupyterLab as a student meets it, tried in a real browser: `python -m coursekit.lab [SHOTS]`.

On a copy of the course: a chapter is opened and run to its end; an exported cell is changed, exported
again, and seen in another chapter that is open (`%autoreload 3`); an exercise of the student edition
fails, is solved, and passes; a fit shows its progress while it runs. SHOTS: a folder for pictures.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from . import browser
from .exercises import BEGIN, END, write_edition
from .notebook import find_root, load
from .outputs import text_of

WANTED = 'nbs', 'exp', 'coursekit', 'notebook2script.py', 'run_notebook.py', 'pyproject.toml'
PANEL = '[...jupyterapp.shell.widgets("main")].find(w => w.context && w.context.path == %s)'
STATE = ('JSON.stringify([...%s.content.model.cells].filter(c => c.type == "code")'
         '.map(c => [c.id, c.executionCount, c.outputs.toJSON(), c.getMetadata("tags")]))')


def copy(root: Path, folder: Path):
    "A copy of the course to play with, the student edition beside it; its data stays where it is."
    for name in WANTED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(source, folder / name)
    (folder / 'data').symlink_to(root / 'data')
    write_edition(folder, folder / 'student')


@contextlib.contextmanager
def laboratory(folder: Path):
    "JupyterLab on a folder, as `make lab` starts it -> its address, the page, its token"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    token, env = secrets.token_hex(8), dict(os.environ, COURSE_OFFLINE='1', PYTHONPATH=str(folder),
                                            JUPYTER_PREFER_ENV_PATH='1')
    with tempfile.TemporaryDirectory(prefix='lab-check-', ignore_cleanup_errors=True) as home:
        env |= {f'JUPYTER_{kind}_DIR': f'{home}/{kind}' for kind in ('CONFIG', 'RUNTIME', 'DATA')}
        lab = subprocess.Popen(
            [sys.executable, '-m', 'jupyter', 'lab', '--no-browser', '--allow-root', f'--port={port}',
             f'--IdentityProvider.token={token}', '--ServerApp.port_retries=0',
             '--LabApp.expose_app_in_browser=True', f'--LabApp.workspaces_dir={home}/workspaces',
             '--LabApp.news_url=None'],
            cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f'http://127.0.0.1:{port}'
            answers(f'{address}/api', lab)
            yield address, token
        finally:
            lab.terminate()
            lab.wait()


def answers(url, process, patience=60):
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(.2)
    raise OSError(f'JupyterLab did not answer within {patience} s')


class Lab:
    "JupyterLab in a tab: opens notebooks, edits and runs cells."

    def __init__(self, tab, shots):
        self.tab, self.shots, self.wrong = tab, shots, []

    async def seen(self, what, good):
        print(f'{what}: {"yes" if good else "NO"}', flush=True)
        if not good:
            self.wrong.append(what)

    async def shoot(self, name):
        if self.shots:
            await asyncio.sleep(1)
            await self.tab.shoot(Path(self.shots, f'{name}.png'))

    async def command(self, name, **args):
        await self.tab.ask(f'jupyterapp.commands.execute("{name}", {json.dumps(args)}).then(() => 1)')

    async def start(self, token):
        await self.tab.go(f'lab?token={token}&reset')
        if not await self.tab.until('!!window.jupyterapp && !!document.querySelector("#jp-main-dock-panel")', 60):
            raise OSError('JupyterLab did not come up')

    def panel(self, path) -> str:
        return '(' + PANEL % json.dumps(path) + ')'

    async def open(self, path):
        "Open a notebook and wait for its kernel."
        await self.command('docmanager:open', path=path)
        ready = f'{self.panel(path)}?.context.sessionContext.session?.kernel?.status == "idle"'
        if not await self.tab.until(ready, 90):
            raise OSError(f'{path}: no kernel')
        await self.show(path)

    async def show(self, path):
        await self.tab.ask(f'jupyterapp.shell.activateById({self.panel(path)}.id)')

    async def cells(self, path) -> list:
        "[[id, execution count, outputs, tags]] of the code cells"
        return json.loads(await self.tab.ask(STATE % self.panel(path)))

    async def errors(self, path) -> list:
        "What cells raised that should not."
        return [o['evalue'] for _, _, outs, tags in await self.cells(path) for o in outs
                if o['output_type'] == 'error' and 'raises-exception' not in (tags or ())]

    async def run_all(self, path, seconds=240) -> bool:
        "-> did it come to its end?"
        await self.show(path)
        await self.tab.ask('void jupyterapp.commands.execute("notebook:run-all-cells")')
        return await self.idle(path, seconds)

    async def idle(self, path, seconds=240):
        await asyncio.sleep(1)
        busy = f'{self.panel(path)}.context.sessionContext.session.kernel.status'
        waiting = f'{self.panel(path)}.node.querySelectorAll(".jp-InputPrompt").length'
        stars = (f'[...{self.panel(path)}.content.widgets].filter(w => w.promptNode?.textContent?.includes("*"))'
                 '.length')
        return await self.tab.until(f'{waiting} > 0 && {busy} == "idle" && {stars} == 0', seconds)

    async def edit(self, path, cell, source):
        "Put new text into a cell."
        await self.tab.ask(f'[...{self.panel(path)}.content.model.cells].find(c => c.id == {json.dumps(cell)})'
                           f'.sharedModel.setSource({json.dumps(source)})')

    async def run(self, path, cell):
        "Run one cell and everything that waits before it. -> its outputs"
        await self.show(path)
        await self.tab.ask(f'(c => c.activeCellIndex = c.widgets.findIndex(w => w.model.id == {json.dumps(cell)}))'
                           f'({self.panel(path)}.content)')
        await self.command('notebook:run-cell')
        await self.idle(path, 60)
        return next(outs for name, _, outs, _ in await self.cells(path) if name == cell)

    async def add(self, path, source) -> str:
        "A new code cell at the end -> its id"
        model = f'{self.panel(path)}.content.model.sharedModel'
        cell = json.dumps({'cell_type': 'code', 'source': source, 'metadata': {}})
        return await self.tab.ask(f'{model}.insertCell({model}.cells.length, {cell}).getId()')


def text(outputs) -> str:
    return ''.join(text_of(o.get('text') or o.get('data', {}).get('text/plain', '')) for o in outputs)


async def whole_chapter(lab: Lab, folder):
    path = 'nbs/01b_linear_algebra.ipynb'
    await lab.open(path)
    done = await lab.run_all(path)
    cells = await lab.cells(path)
    await lab.seen('01b runs to its end', done and all(n for _, n, *_ in cells))
    await lab.seen('01b shows plots and no error', not await lab.errors(path)
                   and any('image/png' in o.get('data', {}) for _, _, outs, _ in cells for o in outs))
    await lab.shoot('chapter')


async def change_and_export(lab: Lab, folder):
    source, user = 'nbs/00_exports.ipynb', 'nbs/01b_linear_algebra.ipynb'
    cell = next(c for c in load(folder / source).cells if 'def test_near_zero(' in c.source
                and c.source.startswith('#export'))
    last = [c for c in load(folder / source).cells if c.kind == 'code'][-1]
    await lab.open(source)
    await lab.seen('00 runs to its end', await lab.run_all(source) and not await lab.errors(source))
    ask = await lab.add(user, "import contextlib\nwith contextlib.suppress(Exception):\n"
                        "    print(test_near_zero('in Lab'))")
    before = text(await lab.run(user, ask))
    head, body = cell.source.split('    a = ', 1)
    await lab.edit(source, cell.id, f"{head}    if a == 'in Lab':\n        return 'changed in Lab'\n    a = {body}")
    await lab.show(source)
    await lab.command('docmanager:save')
    exported = text(await lab.run(source, last.id))
    await asyncio.sleep(1.2)
    after = text(await lab.run(user, ask))
    await lab.seen(f'a changed cell of 00, exported again ({exported.strip()}), is seen in 01b at once',
                   after == 'changed in Lab\n' and not before)
    await lab.shoot('reloaded')


async def exercise(lab: Lab, folder):
    path = 'student/01b_linear_algebra.ipynb'
    await lab.open(path)
    await lab.run_all(path)
    failed = await lab.errors(path)
    await lab.seen('an exercise of the student edition fails until it is solved', bool(failed))
    await lab.shoot('exercise-failed')
    solved = {c.id: c.source for c in load(folder / 'nbs/01b_linear_algebra.ipynb').cells}
    for cell in [c for c in load(folder / path).cells if (c.metadata.get('nbgrader') or {}).get('solution')]:
        lines = [line for line in solved[cell.id].split('\n') if line.strip() not in (BEGIN, END)]
        await lab.edit(path, cell.id, '\n'.join(lines))
    done = await lab.run_all(path)
    await lab.seen('with the solutions typed in, it runs to its end', done and not await lab.errors(path)
                   and all(n for _, n, *_ in await lab.cells(path)))
    await lab.shoot('exercise-solved')


FIT = '''from exp.nb_00a import get_data
from exp.nb_02d import accuracy
from exp.nb_03 import Dataset, get_dls
from exp.nb_04 import Learner, Metrics
from exp.nb_09c import ProgressCallback
import torch
x, y, xv, yv = get_data()
net = torch.nn.Sequential(torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
learn = Learner(net, get_dls(Dataset(x, y), Dataset(xv, yv), 16), torch.nn.functional.cross_entropy,
                lr=.1, cbs=[Metrics(accuracy), ProgressCallback()])
learn.fit(4)'''


async def progress(lab: Lab, folder):
    "The table and the plot grow while a fit runs."
    path = 'nbs/progress.ipynb'
    raw = {'cells': [{'cell_type': 'code', 'id': 'fit', 'metadata': {}, 'source': FIT, 'outputs': [],
                      'execution_count': None}], 'nbformat': 4, 'nbformat_minor': 5,
           'metadata': {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}}}
    (folder / path).write_text(json.dumps(raw))
    await lab.open(path)
    await lab.tab.ask('void jupyterapp.commands.execute("notebook:run-all-cells")')
    looks = []
    for _ in range(400):
        await asyncio.sleep(.15)
        outs = (await lab.cells(path))[0][2]
        look = json.dumps(outs)
        if look != '[]' and look not in looks:
            looks.append(look)
            if len(looks) == 12:
                await lab.shoot('progress-midway')
        if (await lab.cells(path))[0][1]:
            break
    rows = [look.count('<tr') for look in looks]
    await lab.seen(f'a fit shows its progress: {len(looks)} pictures of it, rows from {min(rows)} to {max(rows)}',
                   len(looks) >= 5 and max(rows) > min(rows) and not await lab.errors(path))
    await lab.shoot('progress-end')


PARTS = whole_chapter, change_and_export, exercise, progress


async def look(address, token, program, folder, shots) -> list[str]:
    from tornado.websocket import websocket_connect
    with browser.started(program) as protocol:
        tab = browser.Tab(await websocket_connect(protocol, max_message_size=1 << 28), address)
        await tab.open()
        await tab.size(1300, 1400)
        lab = Lab(tab, shots)
        await lab.start(token)
        for part in PARTS:
            await part(lab, folder)
        return lab.wrong


def main(argv=None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    shots = argv[0] if argv else None
    if (program := browser.find()) is None:
        print('browser: there is none here (Chromium or Chrome; CHROME=PATH names one), so nothing was seen')
        return 1
    if shots:
        Path(shots).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='lab-course-', ignore_cleanup_errors=True) as folder:
        copy(find_root(), Path(folder))
        with laboratory(Path(folder)) as (address, token):
            wrong = asyncio.run(look(address, token, program, Path(folder), shots))
    print('all well' if not wrong else f'{len(wrong)} wrong')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
