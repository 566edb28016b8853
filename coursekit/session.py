"""One notebook being run: where it is, what it has put out, what it may use, and how it ended.

Both engines tell the same story to a `Session`; it enforces time and memory and turns the story
into a `Result`, so that an outcome does not depend on the engine.
"""
from __future__ import annotations

import asyncio
import secrets
import signal
import time
from pathlib import Path

from . import processes
from .frames import from_dump
from .judge import MAY_RAISE, complaint
from .outputs import claims_in, text_of
from .records import CRASHED, ERROR, FAILED, OOM, PASSED, TIMEOUT, Failure, Job, Result

GRACE = 5.0  # seconds between SIGINT and SIGABRT
TICK = 0.1  # seconds between two looks at a notebook's processes
MAX_TEXT = 1_000_000  # characters of stream output kept for one cell
MAX_RICH = 50_000_000  # characters of all other outputs kept for one cell


class Session:
    "The life of one notebook's processes."

    def __init__(self, job: Job, report=lambda *event: None, deadline: float | None = None):
        self.job, self.report, self.deadline = job, report, deadline
        self.mark = secrets.token_hex(8)
        self.outputs, self.counts, self.seconds_of = {}, {}, {}
        self.text_size, self.rich_size, self.lost = {}, {}, {}
        self.ancestor = None  # a process that adopts all orphans of the notebook
        self.pid = self.code = self.cell = self.breach = self.failed = self.guard = None
        self.stack = self.stderr = self.broken = ''
        self.frames, self.notes, self.raised = [], [], {}
        self.completed = self.killed = False
        self.parameters = None
        self.stopped = asyncio.Event()
        self.began = self.cell_began = time.monotonic()
        self.seconds = 0.0
        self.usage = processes.Usage()

    # What the engines tell

    def started(self, pid: int):
        "The notebook's process is there; from now on it is watched."
        self.pid = pid
        self.guard = asyncio.ensure_future(self.watch())

    def cell_started(self, number: int):
        self.cell, self.cell_began = number, time.monotonic()
        self.outputs[number] = []
        self.report('cell', self.job.key, number)

    def room_for(self, number: int, content: dict) -> bool:
        "May this piece of stream output be kept? The piece that crosses the limit is cut."
        size, used = len(content['text']), self.text_size.get(number, 0)
        room = max(0, MAX_TEXT - used)
        self.text_size[number] = used + size
        if size > room:
            self.lost[number] = self.lost.get(number, 0) + size - room
            content['text'] = content['text'][:room]
        return room > 0

    def room_for_rich(self, number: int, content: dict) -> bool:
        "May this display be kept?"
        size = sum(len(v) if isinstance(v, str) else 1000 for v in content.get('data', {}).values())
        self.rich_size[number] = self.rich_size.get(number, 0) + size + 100
        fits = self.rich_size[number] <= MAX_RICH
        if not fits:
            self.lost[number] = self.lost.get(number, 0) + size
        return fits

    def cell_done(self, number: int, outputs: list, reply: dict, frames=()) -> bool:
        "A cell has ended, well or badly. -> is the next one to be run?"
        self.outputs[number] = outputs = list(outputs)
        self.seconds_of[number] = time.monotonic() - self.cell_began
        self.counts[number] = len(self.counts) + 1
        if lost := self.lost.get(number):
            text = f'[{lost:,} more characters of output were not kept]\n'
            outputs.append({'output_type': 'stream', 'name': 'stderr', 'text': text})
            self.notes.append(f'cell {number}: {lost:,} characters of output were not kept')
        wrong = complaint(reply, must_raise(self.job.raw['cells'][number - 1]))
        if MAY_RAISE in tags(self.job.raw['cells'][number - 1]) and reply.get('status') == 'error':
            self.raised[str(number)] = complaint(reply, False)
        if wrong or self.breach:
            self.frames = list(frames)
        if wrong and not self.breach:
            self.failed = (number, wrong, reply)
        return not wrong and not self.breach

    def finished(self, code: int | None):
        "The process is gone; `code`: its exit code, negative for a signal, None if we ended it."
        self.code = code
        if self.guard is not None:
            self.guard.cancel()
        self.seconds = time.monotonic() - self.began

    # Limits

    async def watch(self):
        "Sample the process tree, and stop it when a limit is passed."
        while True:
            processes.sample(self.pid, self.usage)
            if breach := self.check():
                self.breach = breach
                await self.stop(gently=breach[0] == TIMEOUT)
                return
            await asyncio.sleep(TICK)

    def check(self) -> tuple[str, str] | None:
        "The limit that is passed now, if any: outcome and message."
        job, now = self.job, time.monotonic()
        limit = job.mem_limit * 1000 if job.mem_limit else float('inf')
        if self.usage.now_mb > limit and (used := processes.own_mb(self.usage)) > limit:
            return OOM, f'used {used:,.0f} MB; the limit is {job.mem_limit:g} GB (--mem-limit)'
        if job.cell_timeout and self.cell and now - self.cell_began > job.cell_timeout:
            return TIMEOUT, f'the cell took longer than {job.cell_timeout:g} s (--cell-timeout)'
        if job.timeout and now - self.began > job.timeout:
            return TIMEOUT, f'the notebook took longer than {job.timeout:g} s ({job.timeout_from})'
        if self.deadline and now > self.deadline:
            return TIMEOUT, 'the time for the whole run was up (--run-timeout)'
        return None

    async def stop(self, gently: bool):
        "SIGINT, whose traceback shows where it was; SIGABRT, whose stack does; SIGKILL."
        cell = self.cell
        if gently and self.pid is not None:
            processes.interrupt(self.pid)
            if not await self.settled(cell, GRACE):
                processes.send(self.pid, signal.SIGABRT)
                await self.settled(cell, 0.5)
        self.kill()
        self.stopped.set()

    async def settled(self, cell, seconds: float) -> bool:
        "Has the cell ended, or the process, within some seconds?"
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if cell in self.counts or not processes.alive(self.pid):
                return True
            await asyncio.sleep(0.02)
        return False

    def kill(self):
        "End the process and all that it started."
        if self.pid is not None and not self.killed:
            processes.sample(self.pid, self.usage)
            self.killed = True
            processes.kill_tree(self.pid, self.usage, self.mark, self.ancestor)

    # The outcome

    def result(self, engine: str = '') -> Result:
        outcome, cell, message = self.verdict()
        result = Result(self.job.key, outcome, cell, message[:2000], self.seconds,
                        self.usage.cpu_seconds, self.usage.peak_mb, self.parameters,
                        engine=engine, notes=self.notes,
                        skipped_cells={str(k): v for k, v in self.job.skip.items()},
                        raised=self.raised)
        for number, outs in sorted(self.outputs.items()):
            seconds = round(self.seconds_of.get(number, 0), 3)
            result.claims += [{'cell': number, **claim, 'seconds': seconds}
                              for claim in claims_in(outs)]
        if outcome != PASSED:
            result.failure = self.told(cell)
        return result

    def verdict(self) -> tuple[str, int | None, str]:
        "-> outcome, cell, message"
        if self.breach:
            return self.breach[0], self.cell, self.breach[1]
        if self.failed:
            return FAILED, self.failed[0], self.failed[1]
        if self.completed:
            return PASSED, None, ''
        if self.broken:
            return CRASHED, self.cell, f'the notebook broke the process that runs it: {self.broken}'
        if self.code is not None:
            outcome, message = exit_meaning(self.code)
            if self.cell is None and self.stderr.strip():
                message = f'the process died before the first cell: {self.stderr.strip()[-500:]}'
            return outcome, self.cell, message
        return ERROR, self.cell, 'the notebook did not run to its end'

    def told(self, cell) -> Failure:
        reply = self.failed[2] if self.failed else self.last_error()
        return Failure(reply.get('ename', ''), reply.get('evalue', ''),
                       list(reply.get('traceback', ())), self.frames or from_dump(self.stack),
                       *self.last_output(cell))

    def last_error(self) -> dict:
        "The error among the current cell's outputs (an interrupted cell has one)."
        errors = (o for o in self.outputs.get(self.cell, ()) if o['output_type'] == 'error')
        return next(errors, {})

    def last_output(self, cell) -> tuple[str, int | None]:
        "-> the end of what was printed last, up to the cell that failed, and which cell did so"
        for number in sorted((n for n in self.outputs if n <= (cell or 0)), reverse=True):
            streams = (o for o in self.outputs[number] if o['output_type'] == 'stream')
            if (text := ''.join(text_of(o['text']) for o in streams)).strip():
                return text[-2000:], number
        return '', None


def tags(cell: dict) -> list:
    return (cell.get('metadata') or {}).get('tags') or []


def must_raise(cell: dict) -> bool | None:
    "None: it may raise or not, and what it raised is kept."
    return None if MAY_RAISE in tags(cell) else 'raises-exception' in tags(cell)


def last_words(folder) -> str:
    "The stack that a dying process left in its folder, if any."
    try:
        return (Path(folder) / 'stack').read_text(errors='replace')[-20000:]
    except OSError:
        return ''


def exit_meaning(code: int) -> tuple[str, str]:
    "What an exit that nobody asked for tells. -> (outcome, message)"
    if code == -processes.KILL:
        return OOM, ('the process was killed from outside (SIGKILL): '
                     'most likely the machine ran out of memory')
    if code < 0:
        return CRASHED, f'the process died of {signal.Signals(-code).name}'
    return CRASHED, (
        f'the process ended itself with exit status {code} before the notebook was through '
        '(os._exit?); the cells after this one did not run')
