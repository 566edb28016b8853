"""The `fork` engine: a warm parent that has imported the heavy modules forks a fresh child for each notebook."""
from __future__ import annotations

import asyncio
import codecs
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import partial

from . import channel
from .outputs import text_of
from .processes import MARK, Usage, kill_tree, sample
from .records import Job
from .session import Session, must_raise


def available() -> str:
    "Why this machine cannot fork notebooks; empty when it can."
    if sys.platform != 'linux':
        return f'the fork engine needs Linux, this is {sys.platform}'
    return ''


START_LIMIT = 180  # seconds for the imports; a library that waits for something must not stop a run


class CannotFork(Exception):
    "The notebook has to run on another engine; says why."


class ForkEngine:
    "Runs each notebook in a forked child. Raises CannotFork for one that has to run in some other way."
    name = 'fork'

    def __init__(self, modules=(), env=None):
        self.modules, self.env = list(modules), dict(env or {})
        self.ids, self.waiting, self.exits = itertools.count(1), {}, {}
        self.parent = None
        self.refused = ''

    async def __aenter__(self):
        self.folder = tempfile.mkdtemp(prefix='ck')
        while culprit := await self.start():
            self.stop()  # without what starts threads when imported, the parent can fork
            top = culprit.split('.')[0]
            self.modules = [m for m in self.modules if m.split('.')[0] != top]
        return self

    async def start(self) -> str:
        "Start the parent. -> the module that must not be imported in it, if there is one"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {**os.environ, **self.env}
        env.pop('PYTEST_CURRENT_TEST', None)
        env.setdefault('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
        with theirs:
            self.parent = subprocess.Popen(
                [sys.executable, '-Xfrozen_modules=off', '-m', 'coursekit.warm', str(theirs.fileno()), *self.modules],
                env=env, cwd=self.folder, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.control = ours
        ours.setblocking(False)
        self.ready = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(ours.fileno(), self.heard)
        try:
            state = await asyncio.wait_for(self.ready, START_LIMIT)
        except asyncio.TimeoutError:
            state = {'unfit': f'importing the libraries took longer than {START_LIMIT} s', 'culprit': ''}
        self.refused = state['unfit']
        return state['culprit'] if any(m == state['culprit'] for m in self.modules) else ''

    def stop(self):
        "End the parent and whatever notebooks left with it."
        asyncio.get_running_loop().remove_reader(self.control.fileno())
        self.control.close()
        left = Usage()
        sample(self.parent.pid, left)
        kill_tree(self.parent.pid, left)
        self.parent.wait()

    def heard(self):
        "A message from the parent, or its end."
        data = self.control.recv(1 << 16)
        if not data:
            asyncio.get_running_loop().remove_reader(self.control.fileno())
            why = 'the parent of the forked processes died'
            gone = {'refused': why, 'exit': None, 'unfit': why, 'culprit': ''}
            for future in [self.ready, *self.waiting.values(), *self.exits.values()]:
                if not future.done():
                    future.set_result(gone)
            self.refused = gone['refused']
            return
        message = channel.unpack(data[channel.HEAD.size:])
        if 'ready' in message:
            self.ready.set_result(message)
        elif 'exit' in message:
            self.exits[message['id']].set_result(message)
        else:
            self.waiting.pop(message['id']).set_result(message)

    async def __aexit__(self, *exc):
        if self.parent is not None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def run(self, job: Job, session: Session) -> None:
        if self.refused:
            raise CannotFork(self.refused)
        folder = tempfile.mkdtemp(dir=self.folder, prefix='k')
        number, token = next(self.ids), secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        self.waiting[number], self.exits[number] = loop.create_future(), loop.create_future()
        reader = Reader(session, token)
        ours, theirs = socket.socketpair()
        pipes = [os.pipe(), os.pipe()]
        request = {'id': number, 'cwd': job.cwd, 'token': token,
                   'env': {**job.env, 'IPYTHONDIR': folder, 'JPY_PARENT_PID': str(os.getpid()),
                           MARK: session.mark}}
        try:
            waiting = self.waiting[number]
            try:
                socket.send_fds(self.control, [channel.pack(request)], [theirs.fileno(), pipes[0][1], pipes[1][1]])
            except OSError:
                raise CannotFork('the parent of the forked processes died') from None
            theirs.close()
            for _, write_end in pipes:
                os.close(write_end)
            answer = await waiting
            if 'refused' in answer:
                raise CannotFork(answer['refused'])
            session.started(answer['pid'])
            reader.attach(loop, ours, [read_end for read_end, _ in pipes])
            await loop.sock_sendall(ours, channel.pack({'cells': code_cells(job)}))
            await self.life(session, reader, self.exits[number])
        finally:
            reader.detach()
            ours.close()
            for read_end, _ in pipes:
                os.close(read_end)
            self.exits.pop(number, None)
            loop.run_in_executor(None, partial(shutil.rmtree, folder, ignore_errors=True))

    async def life(self, session: Session, reader: 'Reader', exited: asyncio.Future):
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
        session.finished(end['exit'] if by_itself else None, reader.text_end('stderr'))


def code_cells(job: Job) -> list:
    "What the child has to execute: number, source, must it raise?"
    return [[n, text_of(c['source']), must_raise(c)]
            for n, c in enumerate(job.raw['cells'], 1)
            if c['cell_type'] == 'code' and n not in job.skip and text_of(c['source']).strip()]


class Reader:
    """Puts the child's two pipes and its messages back into one order, and tells the session.

    Before it sends message k the child writes mark k into both pipes; so message k comes after all text before
    these marks.
    """
    MARK = 27  # bytes of a mark: \x1e, 16 of the token, colon, 8 digits, newline

    def __init__(self, session: Session, token: str):
        self.session, self.start = session, b'\x1e' + token.encode() + b':'
        self.feed, self.messages, self.done = channel.Feed(), [], 0
        self.buffers = {'stdout': bytearray(), 'stderr': bytearray()}
        self.decoders = {name: codecs.getincrementaldecoder('utf-8')('replace') for name in self.buffers}
        self.passed = {'stdout': 0, 'stderr': 0}
        self.open, self.number, self.outputs, self.displays = {}, None, [], {}
        self.clear_next = False
        self.last = {'stdout': '', 'stderr': ''}

    def attach(self, loop, sock, fds):
        self.loop, self.ended = loop, loop.create_future()
        self.sock = sock
        sock.setblocking(False)
        self.open['channel'] = sock.fileno()
        for name, fd in zip(self.buffers, fds):
            os.set_blocking(fd, False)
            self.open[name] = fd
        for name, fd in self.open.items():
            loop.add_reader(fd, self.read, name)

    def detach(self):
        for name in list(self.open):
            self.close(name)

    def close(self, name):
        self.loop.remove_reader(self.open.pop(name))
        if not self.open and not self.ended.done():
            self.ended.set_result(None)

    def read(self, name) -> bool:
        "Take what is there. -> was there anything?"
        try:
            data = os.read(self.open[name], 1 << 18)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b''
        if not data:
            self.close(name)
        elif name == 'channel':
            self.messages += self.feed.messages(data)
        else:
            self.buffers[name] += data
        self.pump()
        return bool(data)

    def drain(self):
        "The child is gone: take what it left behind, whatever marks are missing."
        for name in list(self.open):
            while name in self.open and self.read(name):
                pass
        self.pump(last=True)

    def pump(self, last=False):
        while True:
            for name in self.buffers:
                if self.passed[name] == self.done:
                    self.take_text(name, last)
            if not self.messages or not (last or all(n > self.done for n in self.passed.values())):
                return
            self.done += 1
            for name in self.passed:
                self.passed[name] = max(self.passed[name], self.done)
            self.handle(self.messages.pop(0))

    def take_text(self, name, last):
        "Hand on the text up to the next mark, or as much of it as cannot be the beginning of one."
        buffer = self.buffers[name]
        at = buffer.find(self.start)
        if at >= 0 and len(buffer) >= at + self.MARK:
            text, self.passed[name] = buffer[:at], self.passed[name] + 1
            del buffer[:at + self.MARK]
        else:
            keep = buffer.rfind(b'\x1e', max(0, len(buffer) - self.MARK)) if not last else -1
            end = len(buffer) if keep < 0 else keep
            text = buffer[:end]
            del buffer[:end]
        if text:
            self.text(name, self.decoders[name].decode(bytes(text)))

    def text(self, name, text):
        self.last[name] = (self.last[name] + text)[-20000:]
        content = {'name': name, 'text': text}
        if self.number is not None and self.session.room_for(self.number, content):
            self.output({'output_type': 'stream', **content})

    def text_end(self, name) -> str:
        return self.last[name]

    def handle(self, message):
        if 'start' in message:
            self.number, self.outputs = message['start'], []
            self.clear_next = False
            self.session.cell_started(self.number)
            self.session.outputs[self.number] = self.outputs
        elif 'reply' in message:
            self.session.cell_done(message['number'], self.outputs, message['reply'], message['frames'])
            self.number = None
        elif 'broken' in message:
            self.session.broken = message['broken']
        elif 'end' in message:
            self.session.completed = self.session.failed is None
            if not self.ended.done():
                self.ended.set_result(None)
        elif self.number is not None and self.session.room_for_rich(self.number, message['content']):
            self.display(message['type'], message['content'])

    def display(self, kind, content):
        "What a front end does with a message of this kind."
        name = (content.get('transient') or {}).get('display_id')
        if name and kind in ('display_data', 'update_display_data', 'execute_result'):
            for out in self.displays.get(name, ()):
                out.update(data=content['data'], metadata=content['metadata'])
        if kind == 'clear_output':
            if content.get('wait'):
                self.clear_next = True
            else:
                self.clear()
        elif kind in ('display_data', 'execute_result'):
            out = {'output_type': kind, 'data': content['data'], 'metadata': content['metadata']}
            if kind == 'execute_result':
                out['execution_count'] = content['execution_count']
            if self.output(out) and name:
                self.displays.setdefault(name, []).append(out)
        elif kind == 'error':
            self.output({'output_type': 'error', **{k: content[k] for k in ('ename', 'evalue', 'traceback')}})

    def output(self, out) -> bool:
        if self.clear_next:
            self.clear_next = False
            self.clear()
        self.outputs.append(out)
        return True

    def clear(self):
        for outs in self.displays.values():
            outs[:] = [o for o in outs if not any(o is mine for mine in self.outputs)]
        self.outputs.clear()
