"""The `fork` engine's child: ipykernel's own kernel and shell, with pipes in the place of sockets.

The parent builds both once (`furnish`); a child finds them ready and makes them its own (`move_in`).

Outputs, tracebacks and display machinery are ipykernel's, so what is stored equals what a real
kernel gives. Text goes straight into the pipes behind file descriptors 1 and 2, in the order in
which Python, C code and subprocesses write it, and outlives a crash; everything else goes through
the channel. A mark in both pipes tells the reader where between the text a message belongs.
"""
from __future__ import annotations

import asyncio
import atexit
import contextvars
import faulthandler
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import ipykernel.kernelapp
from IPython.core.profiledir import ProfileDir
from ipykernel.ipkernel import IPythonKernel
from ipykernel.iostream import OutStream
from jupyter_client.session import Session
from traitlets.config import Config

from . import channel
from .frames import last
from .judge import complaint
from .measure import model_size


class Link:
    "The child's side: messages through the channel, marks through the pipes."

    def __init__(self, fd: int, token: str, pipes):
        self.sock = socket.socket(fileno=fd)
        self.token, self.pipes, self.mark = token.encode(), pipes, 0
        self.lock, self.pid = threading.RLock(), os.getpid()

    def send(self, **message):
        "Send a message that comes after all text written so far."
        if os.getpid() != self.pid:
            return  # a forked worker of the notebook has no part in this
        with self.lock:
            self.mark += 1
            for pipe in self.pipes:
                write_all(pipe, b'\x1e%s:%08d\n' % (self.token, self.mark))
            self.sock.sendall(channel.pack(message))


def write_all(fd: int, data: bytes):
    while data:
        data = data[os.write(fd, data):]


class PipeStream(OutStream):
    "sys.stdout and sys.stderr: ipykernel's stream, which writes whole lines into a pipe at once."

    def __init__(self, session, name: str, nowhere: int):
        self.session, self.name, self.fd = session, name, nowhere
        self._original_stdstream_copy = nowhere
        self._parent_header = contextvars.ContextVar('parent_header')
        self._parent_header.set({})
        self._parent_header_global = {}
        self._isatty = self._should_watch = False
        self._exc = self.echo = None
        self.pub_thread = True  # what `closed` looks at
        self._pending, self._lock = [], threading.RLock()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self):
        self._pending, self._lock = [], threading.RLock()

    def write(self, string):
        if not isinstance(string, str):
            raise TypeError(f'write() argument must be str, not {type(string)}')
        if self.pub_thread is None:
            raise ValueError('I/O operation on closed file')
        current = self._parent_header_global
        if self._parent_header.get(current) is current:  # else a task of an earlier cell writes
            with self._lock:
                self._pending.append(string)
                if '\n' in string or len(self._pending) > 1000:
                    self._write_pending()
        return len(string)

    def flush(self):
        with self._lock:
            self._write_pending()

    def _write_pending(self):
        text, self._pending = ''.join(self._pending), []
        if text:
            write_all(self.fd, text.encode('utf-8', 'surrogatepass'))

    def close(self):
        self.flush()
        self.pub_thread = None


class LinkSession(Session):
    "A Jupyter session that sends the outputs of the current cell through the link, once it has one."
    link = current = None

    def __init__(self, **kwargs):
        super().__init__(key=b'', **kwargs)

    def send(self, stream, msg_or_type, content=None, parent=None, ident=None, buffers=None,
             track=False, header=None, metadata=None):
        msg = msg_or_type
        if not isinstance(msg, dict):
            msg = self.msg(msg_or_type, content=content, parent=parent, header=header,
                           metadata=metadata)
        kind, parent = msg['msg_type'], msg.get('parent_header') or {}
        if self.link and not kind.startswith('comm') and parent.get('msg_id') == self.current:
            self.link.send(type=kind, content=msg['content'])
        return msg


class Kernel(IPythonKernel):
    "ipykernel's kernel without sockets: it is handed one cell after another."

    def _input_request(self, prompt, ident, parent, password=False):
        raise NotImplementedError('input() is refused before it comes here')

    async def cell(self, number: int, source: str) -> dict:
        "Execute one cell as an execute_request would. -> the reply's content"
        msg = self.session.msg('execute_request', {'code': source})
        self.session.current = msg['header']['msg_id']
        self.set_parent([], msg)
        self.pre_handler_hook()
        try:
            reply = await self.do_execute(source, False, store_history=True, allow_stdin=False)
        finally:
            self.post_handler_hook()
            for stream in App.streams:  # not sys.stdout: the notebook may have put another there
                stream.flush()
        return reply


class App(ipykernel.kernelapp.IPKernelApp):
    "ipykernel's application, its sockets, threads and capture of descriptors left out."
    streams = ()

    def init_sockets(self):
        self.session = LinkSession(parent=self)

    def init_io(self):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        sys.stdout, sys.stderr = App.streams = [
            PipeStream(self.session, name, nowhere) for name in ('stdout', 'stderr')]
        self.displayhook = ipykernel.displayhook.ZMQDisplayHook(self.session, None)
        sys.displayhook = self.displayhook
        self.patch_io()

    def init_kernel(self):
        here = SimpleNamespace(parent_thread=threading.main_thread())
        self.kernel = Kernel.instance(parent=self, session=self.session, log=self.log,
                                      user_ns=self.user_ns, profile_dir=self.profile_dir,
                                      shell_channel_thread=here)
        self.displayhook.get_execution_count = lambda: self.kernel.execution_count

    def nothing(self, *args, **kwargs):
        "A step that only sockets or a command line need."

    parse_command_line = init_poller = init_heartbeat = init_connection_file = nothing
    write_connection_file = log_connection_info = nothing
    init_crash_handler = configure_tornado_logger = nothing

    def move_in(self, link: Link):
        "Make this copy the notebook's own: its streams, its folders, where it starts."
        self.session.link = link
        for stream, fd in zip(App.streams, link.pipes):
            stream.fd = fd
        home = os.environ['IPYTHONDIR']
        self.connection_file = os.path.join(home, 'c.json')
        self.ipython_dir = self.shell.ipython_dir = home
        profile = ProfileDir(parent=self, location=os.path.join(home, 'profile_default'))
        self.profile_dir = self.kernel.profile_dir = self.shell.profile_dir = profile
        self.shell.starting_dir = os.getcwd()
        self.shell.history_manager.dir_hist[:] = [Path.cwd()]


def furnish():
    "In the parent, once: build what every notebook's process starts with. It starts no thread."
    app = App.instance(config=Config({'HistoryManager': {'hist_file': ':memory:'}}))
    app.initialize([])
    app.shell.transform_cell('1\n')  # compiles its patterns
    app.shell.display_formatter.format(None)  # so that the formatters are there


def live(message: dict, link_fd: int, out: int, err: int) -> int:
    "A notebook's whole life, in a fresh session of its own. -> the exit status"
    os.setsid()
    die_with_parent()
    link = Link(os.dup(link_fd), message['token'], [os.dup(out), os.dup(err)])
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (out, 1), (err, 2)):
        os.dup2(source, target, inheritable=True)
    for fd in (null, link_fd, out, err):
        os.close(fd)
    os.chdir(message['cwd'])
    os.environ.update(message['env'])
    faulthandler.enable(open(os.path.join(os.environ['IPYTHONDIR'], 'stack'), 'w'))
    job = channel.receive(link.sock)
    fresh_state()
    app = App.instance()
    app.move_in(link)
    try:
        asyncio.run(cells(app.kernel, link, job))
    except BaseException as e:  # the notebook broke what runs it; say so while the link stands
        link.send(broken=f'{type(e).__name__}: {e}')
        return 70
    atexit._run_exitfuncs()
    return 0


def die_with_parent():
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def fresh_state():
    "What a new process has and a forked one has not: arguments, modules, random states."
    import ipykernel_launcher

    from .warm import OURS
    sys.argv = [ipykernel_launcher.__file__, '-f', os.path.join(os.environ['IPYTHONDIR'], 'c.json'),
                '--HistoryManager.hist_file=:memory:']
    for name in list(sys.modules):
        if name.split('.')[0] in OURS:
            del sys.modules[name]
    if 'numpy.random' in sys.modules:
        sys.modules['numpy.random'].seed()
    if 'torch' in sys.modules:
        sys.modules['torch'].default_generator.seed()


async def cells(kernel, link: Link, job: dict):
    from tornado.ioloop import IOLoop
    kernel.io_loop = IOLoop.current()
    kernel.shell.exit_now = False
    for number, source, must_raise in job['cells']:
        link.send(start=number)
        reply = await kernel.cell(number, source)
        reply.pop('user_expressions', None)
        frames = last(reply['ename']) if reply['status'] == 'error' else []
        link.send(reply=reply, number=number, frames=frames)
        if complaint(reply, must_raise):
            break
        await asyncio.sleep(0)
    link.send(end=True, parameters=model_size(kernel.shell.user_ns))
