"""The `fork` engine: a parent that has imported the heavy modules forks a child per notebook."""
from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from functools import partial

from . import channel
from .launch import take
from .outputs import text_of
from .processes import MARK, Usage, kill_tree, sample
from .reader import Reader
from .records import Job
from .session import Session, last_words, must_raise

START_LIMIT = 180  # seconds for the imports; a library that waits for something must not stop us
PARENT_DIED = 'the parent of the forked processes died'


def available() -> str:
    "Why this machine cannot fork notebooks; empty when it can."
    if sys.platform != 'linux':
        return f'the fork engine needs Linux, this is {sys.platform}'
    return ''


class CannotFork(Exception):
    "The notebook has to run on another engine; says why."


class ForkEngine:
    "Runs each notebook in a forked child. Raises CannotFork for one that has to run otherwise."
    name = 'fork'

    def __init__(self, modules=(), env=None):
        self.modules, self.env = list(modules), dict(env or {})
        self.ids, self.waiting, self.exits = itertools.count(1), {}, {}
        self.parent = None
        self.refused = ''

    async def __aenter__(self):
        try:
            while culprit := await self.start():
                self.stop()  # without what starts threads when imported, the parent can fork
                top = culprit.split('.')[0]
                self.modules = [m for m in self.modules if m.split('.')[0] != top]
        except BaseException:  # interrupted while it waits
            self.stop()
            raise
        return self

    async def start(self) -> str:
        "Get a parent ready. -> the module that must not be imported in it, if there is one"
        parent = take()
        self.parent, self.folder = parent.process, parent.folder
        self.control = ours = parent.control
        env = {'PYTHONPATH': os.environ.get('PYTHONPATH', ''), **self.env}
        self.ready = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(ours.fileno(), self.heard)
        with suppress(OSError):  # a parent that died is heard of
            ours.sendall(channel.pack({'env': env, 'modules': self.modules}))
        ours.setblocking(False)
        try:
            state = await asyncio.wait_for(self.ready, START_LIMIT)
        except TimeoutError:
            state = {'unfit': f'the imports took longer than {START_LIMIT} s', 'culprit': ''}
        self.refused = state['unfit']
        return state['culprit'] if state['culprit'] in self.modules else ''

    def stop(self):
        "End the parent and whatever notebooks left with it."
        asyncio.get_running_loop().remove_reader(self.control.fileno())
        self.control.close()
        left = Usage()
        sample(self.parent.pid, left)
        kill_tree(self.parent.pid, left)
        self.parent.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def heard(self):
        "A message from the parent, or its end."
        data = self.control.recv(1 << 16)
        if not data:
            asyncio.get_running_loop().remove_reader(self.control.fileno())
            gone = dict.fromkeys(('refused', 'unfit'), PARENT_DIED) | {'exit': None, 'culprit': ''}
            for future in [self.ready, *self.waiting.values(), *self.exits.values()]:
                if not future.done():
                    future.set_result(gone)
            self.refused = PARENT_DIED
            return
        message = channel.unpack(data[channel.HEAD.size:])
        known = self.exits if 'exit' in message else self.waiting
        future = self.ready if 'ready' in message else known.get(message['id'])
        if future is not None and not future.done():  # else nobody waits for it any more
            future.set_result(message)

    async def __aexit__(self, *exc):
        if self.parent is not None:
            self.stop()

    async def run(self, job: Job, session: Session) -> None:
        "Run a notebook; what happens is told to `session`."
        if self.refused:
            raise CannotFork(self.refused)
        folder = tempfile.mkdtemp(dir=self.folder, prefix='k')
        loop, token = asyncio.get_running_loop(), secrets.token_hex(8)
        number, reader = next(self.ids), Reader(session, token)
        self.waiting[number], self.exits[number] = loop.create_future(), loop.create_future()
        env = {'IPYTHONDIR': folder, 'JPY_PARENT_PID': str(os.getpid()), MARK: session.mark}
        request = {'id': number, 'cwd': job.cwd, 'token': token, 'env': {**job.env, **env}}
        mine = []
        try:
            mine = self.send(request)
            answer = await self.waiting[number]
            if 'refused' in answer:
                raise CannotFork(answer['refused'])
            session.ancestor = self.parent.pid
            session.started(answer['pid'])
            reader.attach(loop, mine)
            await loop.sock_sendall(mine[0], channel.pack({'cells': code_cells(job)}))
            await self.life(session, reader, self.exits[number])
            session.stack = last_words(folder)
        finally:
            reader.detach()
            for end in mine:
                end.close()
            del self.waiting[number], self.exits[number]
            loop.run_in_executor(None, partial(shutil.rmtree, folder, ignore_errors=True))

    def send(self, request: dict) -> list:
        "Ask for a child. -> our ends of its channel, stdout and stderr"
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        pipes = [os.pipe(), os.pipe()]
        mine = [ours, *(open(read, 'rb', buffering=0) for read, _ in pipes)]
        try:
            socket.send_fds(self.control, [channel.pack(request)],
                            [theirs.fileno(), *(write for _, write in pipes)])
            return mine
        except OSError:
            for end in mine:
                end.close()
            raise CannotFork(PARENT_DIED) from None
        finally:
            theirs.close()
            for _, write in pipes:
                os.close(write)

    async def life(self, session: Session, reader: Reader, exited: asyncio.Future):
        "Until the child is gone; one that has told its end gets a moment for its exit handlers."
        await asyncio.wait({exited, reader.ended}, return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            await asyncio.wait({exited}, timeout=1)
        by_itself = exited.done() and not session.killed
        session.kill()
        end = await exited
        reader.drain()
        if end['exit'] is None and not session.breach:
            session.finished(None)
            raise CannotFork(end['refused'])
        session.usage.add_exit(end)
        session.finished(end['exit'] if by_itself else None)


def code_cells(job: Job) -> list:
    "What the child has to execute: number, source, must it raise?"
    return [[n, text_of(c['source']), must_raise(c)]
            for n, c in enumerate(job.raw['cells'], 1)
            if c['cell_type'] == 'code' and n not in job.skip and text_of(c['source']).strip()]
