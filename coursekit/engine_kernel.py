"""The `kernel` engine: nbclient over a real kernel, the same one a student's Jupyter starts.

The kernel always is this interpreter's own, whatever kernelspec a notebook names. POSIX: sockets
are files in a private folder with a short absolute path (TCP ports can be taken by somebody else
between choice and use).
"""
from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path

from .judge import complaint
from .outputs import text_of
from .processes import MARK
from .records import Job
from .session import Session, last_words, must_raise

RICH = ('display_data', 'execute_result', 'update_display_data')
PAST_PYTHON = re.compile(r'\b(system|subprocess|Popen|write|ctypes|cdll|printf|compile_c)\b')
POSIX = os.name == 'posix'
LAUNCHER = str(Path(__file__).with_name('kernel_main.py'))


class KernelEngine:
    "Runs each notebook in a kernel of its own."
    name = 'kernel'
    folder = None

    async def __aenter__(self):
        self.folder = tempfile.mkdtemp(prefix='ck')
        return self

    async def __aexit__(self, *exc):
        shutil.rmtree(self.folder, ignore_errors=True)

    def manager(self, folder: str):
        "A kernel manager for our own interpreter, which looks no kernelspec up."
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager
        where = {'transport': 'ipc', 'ip': f'{folder}/s'} if POSIX else {}
        manager = AsyncKernelManager(connection_file=f'{folder}/c.json', **where)
        command = [sys.executable, '-Xfrozen_modules=off', LAUNCHER, '-f', '{connection_file}',
                   '--HistoryManager.hist_file=:memory:']
        manager._kernel_spec = KernelSpec(argv=command, display_name='Python 3', language='python')
        return manager

    async def run(self, job: Job, session: Session) -> None:
        "Run a notebook; what happens is told to `session`."
        folder = tempfile.mkdtemp(dir=self.folder, prefix='k')
        errors = open(f'{folder}/stderr', 'w+b')
        manager = self.manager(folder)
        client = None
        try:
            env = {**os.environ, **job.env, 'IPYTHONDIR': folder, MARK: session.mark}
            env.pop('PYTEST_CURRENT_TEST', None)  # ipykernel captures no descriptors with it
            await manager.start_kernel(cwd=job.cwd, env=env, stdin=asyncio.subprocess.DEVNULL,
                                       stdout=asyncio.subprocess.DEVNULL, stderr=errors)
            process = manager.provisioner.process
            session.started(process.pid)
            kernel = manager.client()
            kernel.start_channels()
            client = make_client(job, manager, kernel, session)
            await until(self.cells(job, client, kernel, session), session, process)
        finally:
            if session.completed and client is not None:
                client.kc.shutdown()  # so that exit handlers run
            code = await end(manager, session)
            session.stderr, session.stack = tail(errors), last_words(folder)
            session.finished(code)
            errors.close()
            if client is not None:
                client.kc.stop_channels()
            await manager.cleanup_resources()
            shutil.rmtree(folder, ignore_errors=True)

    async def cells(self, job: Job, client, kernel, session: Session):
        await kernel.wait_for_ready(timeout=120)
        for index, cell in enumerate(client.nb.cells):
            number = index + 1
            if cell.cell_type != 'code' or number in job.skip or not cell.source.strip():
                continue
            session.cell_started(number)
            await client.async_execute_cell(cell, index)
            if PAST_PYTHON.search(cell.source):
                await late_text(client, kernel, cell, index)
            wrong = complaint(client.reply, must_raise(cell)) or session.breach
            failed = client.reply['status'] == 'error'
            frames = wrong and failed and await asked(kernel, 'frames', 'last',
                                                      repr(client.reply['ename'])) or []
            if not session.cell_done(number, cell.outputs, client.reply, frames):
                return
        session.parameters = await asked(kernel, 'measure', 'model_size', 'get_ipython().user_ns')
        session.completed = True


def make_client(job: Job, manager, kernel, session: Session):
    "An nbclient that reports its outputs to `session` and judges nothing by itself."
    import nbformat
    from nbclient import NotebookClient

    class Client(NotebookClient):
        reply = msg_id = None

        def process_message(self, msg, cell, cell_index):
            self.msg_id, number = msg['parent_header'].get('msg_id'), cell_index + 1
            if msg['msg_type'] == 'stream' and not session.room_for(number, msg['content']):
                return None
            if msg['msg_type'] in RICH and not session.room_for_rich(number, msg['content']):
                return None
            out = super().process_message(msg, cell, cell_index)
            session.outputs[number] = cell.outputs
            return out

    nb = deepcopy(job.raw)
    for cell in nb['cells']:
        cell['source'] = text_of(cell['source'])
        cell.setdefault('metadata', {})
        if cell['cell_type'] == 'code':
            cell['outputs'] = []
    client = Client(nbformat.from_dict(nb), km=manager, timeout=None, allow_errors=True,
                    store_widget_state=False, coalesce_streams=False, record_timing=False)

    def keep_reply(cell, cell_index, execute_reply):
        client.reply = execute_reply['content']

    client.on_cell_executed = keep_reply
    client.kc = kernel
    kernel.allow_stdin = False
    return client


async def late_text(client, kernel, cell, index: int, wait=0.3):
    """Take what a cell wrote past Python, to a file descriptor: it may come after the cell's end.

    It goes before the cell's result, where it would be had it come in time.
    """
    import queue
    msg_id, result = client.msg_id, None
    if cell.outputs and cell.outputs[-1].output_type == 'execute_result':
        result = cell.outputs.pop()
    try:
        while True:
            msg = await kernel.get_iopub_msg(timeout=wait)
            if msg['parent_header'].get('msg_id') == msg_id and msg['msg_type'] == 'stream':
                client.process_message(msg, cell, index)
    except queue.Empty:
        pass
    if result is not None:
        cell.outputs.append(result)


async def asked(kernel, module: str, function: str, argument: str):
    """What one of our functions says inside the kernel, as data; None if it cannot say.

    A kernel that does not answer is not waited for: the notebook may have broken anything.
    """
    import ast
    ask = {'answer': '__import__("json").dumps('
                     f'__import__("coursekit.{module}", fromlist=["{function}"])'
                     f'.{function}({argument}))'}
    try:
        msg_id = kernel.execute('', silent=True, store_history=False, user_expressions=ask)
        while True:
            reply = await kernel.get_shell_msg(timeout=2)
            if reply['parent_header'].get('msg_id') == msg_id:
                answer = reply['content']['user_expressions']['answer']
                return json.loads(ast.literal_eval(answer['data']['text/plain']))
    except Exception:
        return None


async def until(work, session: Session, process):
    "Do the work, unless the process ends first or the session is stopped."
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(session.stopped.wait())
    try:
        while not task.done() and not stopped.done() and process.poll() is None:
            await asyncio.wait({task, stopped}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for t in (task, stopped):
            t.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def end(manager, session: Session) -> int | None:
    "End the kernel and everything it started. -> its exit code if it ended by itself, else None"
    process = manager.provisioner.process if manager.has_kernel else None
    if process is None:
        return None
    until = time.monotonic() + (1.0 if session.completed else 0.1)
    while process.poll() is None and time.monotonic() < until and not session.killed:
        await asyncio.sleep(0.01)
    code = process.poll()
    session.kill()
    while process.poll() is None:
        await asyncio.sleep(0.01)
    return code


def tail(file, size=2000) -> str:
    "The end of what the kernel's process wrote to its real stderr."
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - size))
    return file.read().decode('utf-8', 'replace')
