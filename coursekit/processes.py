"""Cores and process trees: how much they use, and how to end every member of one.

Linux is read from /proc, which costs microseconds; psutil does the same elsewhere.
"""
from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = 'COURSEKIT_NOTEBOOK'  # an environment variable by which a notebook's strays are known
LINUX = sys.platform == 'linux'
PAGE = os.sysconf('SC_PAGE_SIZE') if LINUX else 4096
KILL = getattr(signal, 'SIGKILL', signal.SIGTERM)
CLOCK = os.sysconf('SC_CLK_TCK') if LINUX else 100


def cores() -> int:
    "The processor cores this process may use."
    affinity = getattr(os, 'sched_getaffinity', None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass
class Usage:
    """What a process tree used so far: MB (10**6 bytes) and CPU seconds.

    `seen`: for every process ever seen in it, (pid, start) -> CPU seconds, so that strays can be
    ended.
    """
    now_mb: float = 0.0
    peak_mb: float = 0.0
    cpu_seconds: float = 0.0
    seen: dict = field(default_factory=dict)

    def add_exit(self, end: dict):
        "What the operating system says when a child has ended is better than the last sample."
        self.cpu_seconds = max(self.cpu_seconds, end.get('cpu') or 0)
        self.peak_mb = max(self.peak_mb, end.get('peak_mb') or 0)


def sample(pid: int, usage: Usage) -> None:
    "Add what the tree under `pid` uses now. A tree that is gone changes nothing."
    members = linux_tree(pid) if LINUX else psutil_tree(pid)
    if not members:
        return
    for key, cpu, _ in members:
        usage.seen[key] = max(cpu, usage.seen.get(key, 0))
    usage.now_mb = sum(rss for _, _, rss in members)
    usage.peak_mb = max(usage.peak_mb, usage.now_mb)
    usage.cpu_seconds = max(usage.cpu_seconds, sum(usage.seen.values()))


def linux_tree(pid: int) -> list:
    "-> [((pid, start), CPU seconds, MB)] for a process and all below it"
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        try:
            stat = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
            found.append(((pid, stat[19]), (int(stat[11]) + int(stat[12])) / CLOCK,
                          int(stat[21]) * PAGE / 1e6))
            for thread in os.listdir(f'/proc/{pid}/task'):
                todo += map(int, Path(f'/proc/{pid}/task/{thread}/children').read_text().split())
        except (OSError, ValueError, IndexError):
            pass
    return found


def psutil_tree(pid: int) -> list:
    found = []
    try:
        root = psutil.Process(pid)
        for p in (root, *root.children(recursive=True)):
            with p.oneshot():
                t = p.cpu_times()
                key = p.pid, p.create_time()
                found.append((key, t.user + t.system, p.memory_info().rss / 1e6))
    except psutil.Error:
        pass
    return found


def own_mb(usage: Usage) -> float:
    """What the tree uses when a page shared by several counts once, as most of a DataLoader's do.

    Slower than the plain sum, so it is asked only before a notebook is ended for its memory.
    """
    total = 0.0
    for pid, _ in usage.seen:
        try:
            text = Path(f'/proc/{pid}/smaps_rollup').read_text()
            total += int(text.split('\nPss:')[1].split()[0]) * 1024 / 1e6
        except (OSError, IndexError, ValueError):
            pass
    return total or usage.now_mb


def alive(pid: int) -> bool:
    "Is there such a process, and is it more than a corpse?"
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(pid: int, signum: int) -> None:
    "Send a signal to one process, if it is still there. Windows knows only the last one."
    try:
        os.kill(pid, signum if os.name == 'posix' else signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        pass


def interrupt(pid: int) -> None:
    "What Ctrl-C does: SIGINT to the whole group, so that a subprocess being waited for ends too."
    if os.name != 'posix':
        return
    try:
        os.killpg(pid, signal.SIGINT)
    except (ProcessLookupError, PermissionError):
        pass


def kill_tree(pid: int, usage: Usage, mark: str = '', ancestor: int | None = None) -> None:
    """SIGKILL for all of a notebook's processes, wherever they hide.

    These are its session, every process once seen below it, and every process that carries its mark
    in the environment, whatever session it moved to. `ancestor`: a process that adopts all orphans
    below it, where there is one; then only what is below it need be looked at.
    """
    members = strays(pid, mark, ancestor)
    for child, start in usage.seen:
        if start_of(child) == start:
            members.add(child)
    for member in members - {os.getpid()}:
        send(member, KILL)


def start_of(pid: int):
    "When a process started, as `seen` holds it: tells it from a later one with its number."
    try:
        if LINUX:
            return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]
        return psutil.Process(pid).create_time()
    except (OSError, IndexError, psutil.Error):
        return None


def everybody() -> list[int]:
    "The numbers of all processes of this machine."
    return [int(n) for n in os.listdir('/proc') if n.isdigit()] if LINUX else psutil.pids()


def strays(session: int, mark: str = '', ancestor: int | None = None) -> set[int]:
    "The processes of a session, and those with a mark in their environment."
    found = set()
    wanted = f'{MARK}={mark}\0'.encode() if mark else None
    below = [pid for (pid, _), _, _ in linux_tree(ancestor)[1:]] if ancestor and LINUX else None
    for pid in everybody() if below is None or not alive(ancestor) else below:
        try:
            if os.name == 'posix' and os.getsid(pid) == session:
                found.add(pid)
            elif wanted and LINUX and wanted in Path(f'/proc/{pid}/environ').read_bytes():
                found.add(pid)
        except OSError:
            pass
    return found


def adopt_orphans() -> None:
    "From now on, what our descendants leave behind becomes our child (Linux), so we can end it."
    if LINUX:
        import ctypes
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def end_descendants(spare=()) -> None:
    "End everything below this process except `spare`: the last sweep of a run."
    for (pid, _), _, _ in (linux_tree if LINUX else psutil_tree)(os.getpid())[1:]:
        if pid not in spare:
            send(pid, KILL)
