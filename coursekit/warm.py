"""The warm parent of the `fork` engine: imports heavy modules once, forks a child per notebook.

It only imports. A parent that computed anything with threads would hand its children locks that
nobody opens, so before each fork it counts its threads and refuses when there is more than one.
"""
from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import tokenize

from . import channel

OURS = ('coursekit', 'exp', 'notebook2script', 'run_notebook')
MACHINERY = ('ipykernel.kernelapp', 'ipykernel.ipkernel', 'ipykernel.zmqshell',
             'ipykernel.debugger', 'ipykernel_launcher', 'IPython.core.magics',
             'IPython.core.completerlib', 'IPython.core.debugger', 'IPython.core.logger',
             'IPython.core.oinspect', 'IPython.extensions.storemagic', 'IPython.utils.wildcard',
             'sqlite3', 'tornado.ioloop', 'tornado.platform.asyncio')


def preload(names) -> str:
    "Import what can be imported. -> the first module whose import rules out forking, if any"
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:  # even sys.exit; the notebook will meet the error by itself
            pass
        if native_threads() > 1:
            settle()
            if native_threads() > 1:
                return name
    return ''


def native_threads() -> int:
    "How many threads this process has, those of C libraries included."
    return len(os.listdir('/proc/self/task'))


def settle():
    "One empty fork: OpenBLAS ends its idle threads before a fork, and starts them when needed."
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def unfit() -> str:
    "Why this process must not fork a notebook now; empty when it may."
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_initialized():
        return 'an import started CUDA'
    if (n := native_threads()) > 1:
        return f'an import started {n - 1} thread{"s" * (n > 2)}'
    return ''


class Warm:
    "The parent's loop: forks on request, reports each child's end."

    def __init__(self, control: socket.socket):
        self.control, self.children = control, {}
        self.wake, wake_in = os.pipe()
        os.set_blocking(wake_in, False)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def tell(self, **message):
        self.control.sendall(channel.pack(message))

    def serve(self):
        while True:
            ready, _, _ = select.select([self.control, self.wake], [], [])
            if self.wake in ready:
                os.read(self.wake, 4096)
                self.reap()
            if self.control in ready and not self.request():
                self.end_all()
                return

    def end_all(self):
        "The runner is gone: end the notebooks and whatever they started."
        from .processes import end_descendants
        end_descendants()

    def request(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, 1 << 16, 3)
        if not data:
            return False
        message = channel.unpack(data[channel.HEAD.size:])
        if reason := unfit():
            self.tell(id=message['id'], refused=reason)
        else:
            self.fork(message, fds)
        for fd in fds:
            os.close(fd)
        return True

    def fork(self, message, fds):
        pid = os.fork()
        if pid:
            self.children[pid] = message['id']
            self.tell(id=message['id'], pid=pid)
            return
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.control.close()
            os.close(self.wake)
            from .child import live
            status = live(message, *fds)
        finally:
            os._exit(status)

    def reap(self):
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.children:
                self.tell(id=self.children.pop(pid), exit=os.waitstatus_to_exitcode(status),
                          cpu=used.ru_utime + used.ru_stime, peak_mb=used.ru_maxrss * 1024 / 1e6)


def settle_paths(env: dict):
    "Take over the environment of the run; its PYTHONPATH comes first, as at a start with it."
    os.environ.update(env)
    ours = [os.path.abspath(p) for p in env.get('PYTHONPATH', '').split(os.pathsep) if p]
    started_with = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    rest = [p for p in sys.path if p != started_with]
    sys.path[:] = dict.fromkeys([*ours, *rest])


def keep_freed_memory(libc):
    """Let glibc keep what is freed for what is allocated next, in this process and its children.

    It would give a large block back and ask for it anew at the next training step, which costs a
    page fault for every 4 KB: up to a quarter of a small network's time.
    """
    if hasattr(libc, 'mallopt'):
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD, at its highest


def main():
    import ctypes

    from . import child
    del sys.path[0]  # our own working folder, put there by python -m
    control = socket.socket(fileno=int(sys.argv[1]))
    libc = ctypes.CDLL(None)
    libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what notebooks leave comes to us
    keep_freed_memory(libc)
    preload(MACHINERY)
    child.furnish()
    list(tokenize.generate_tokens(iter(['x\n']).__next__))  # compiles its patterns for all children
    order = control.recv(1 << 20)
    if not order:  # nobody needs us
        os._exit(0)
    order = channel.unpack(order[channel.HEAD.size:])
    settle_paths(order['env'])
    culprit = preload(order['modules'])
    gc.collect()
    gc.freeze()
    warm = Warm(control)
    warm.tell(ready=True, unfit=unfit(), culprit=culprit)
    warm.serve()
    os._exit(0)  # the exit handlers that the shell has registered are for notebooks


if __name__ == '__main__':
    main()
