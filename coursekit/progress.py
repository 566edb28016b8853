"""What a run shows while it is going on: a live table on a terminal, plain lines elsewhere."""
from __future__ import annotations

import sys
import time

from .plan import Plan
from .records import SKIPPED, Result
from .report import word

COLOURS = {'passed': 'green', 'skipped': 'dim', 'blocked': 'yellow'}
LIFE_SIGN = 30  # seconds between two signs of life off a terminal


def mmss(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02}'


class Progress:
    "Follows a run's events; `expected` seconds come from earlier runs."

    def __init__(self, plan: Plan):
        self.plan = plan
        self.began = time.monotonic()
        self.running: dict[str, tuple[float, int]] = {}
        self.left = set(plan.todo)
        self.done = 0
        self.said = self.began

    def event(self, kind: str, key: str, what=None):
        "`start`, `cell` (with its number) or `end` (with the result) of a notebook."
        if kind == 'start':
            self.running[key] = (time.monotonic(), 0)
        elif kind == 'cell':
            self.running[key] = (self.running[key][0], what)
        elif kind == 'end':
            self.running.pop(key, None)
            self.left.discard(key)
            self.done += what.outcome != SKIPPED
            self.ended(what)

    def expected(self) -> float | None:
        "Seconds the rest will take, if every notebook left has run before."
        rest = 0.0
        for key in self.left:
            if (seconds := self.plan.history.seconds(key)) is None:
                return None
            begun = self.running.get(key)
            rest += max(0.0, seconds - (time.monotonic() - begun[0] if begun else 0.0))
        return rest / self.plan.jobs

    def headline(self) -> str:
        text = f'{self.done}/{len(self.plan.todo)} notebooks, {mmss(time.monotonic() - self.began)}'
        rest = self.expected()
        return text + (f', about {mmss(rest)} to go' if rest is not None and self.left else '')

    def line(self, key: str) -> str:
        "`nbs/03_x.ipynb  cell 12/40  0:07 of 0:20`"
        begun, cell = self.running[key]
        nb = self.plan.items[key].notebook
        usual = self.plan.history.seconds(key)
        text = f'{key}  cell {cell}/{len(nb.cells)}  {mmss(time.monotonic() - begun)}'
        return text + (f' of {mmss(usual)}' if usual else '')

    def result_line(self, r: Result) -> str:
        if r.seconds:
            return f'{word(r.outcome):13} {r.notebook}  {r.seconds:.1f} s'
        return f'{word(r.outcome):13} {r.notebook}' + (f'  ({r.message.removeprefix("blocked ")})'
                                                       if r.message else '')

    def ended(self, result: Result):
        raise NotImplementedError

    def tick(self):
        "Called several times a second."


class Lines(Progress):
    "For logs: a line for each notebook that ends, and a sign of life now and then."

    def ended(self, result: Result):
        if result.outcome != SKIPPED or not self.plan.items[result.notebook].current:
            self.say(self.result_line(result))

    def tick(self):
        if time.monotonic() - self.said > LIFE_SIGN and self.running:
            self.say(f'... {self.headline()}; ' + '; '.join(self.line(k) for k in self.running))

    def say(self, text: str):
        "Show a text of whoever follows the run."
        self.said = time.monotonic()
        print(text, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class Live(Progress):
    "For terminals: what is running, with its cell and time, below the notebooks that have ended."

    def __enter__(self):
        from rich.live import Live as RichLive
        self.shown = ''
        self.live = RichLive(self.view(), auto_refresh=False, transient=True)
        self.live.__enter__()
        return self

    def __exit__(self, *exc):
        self.live.__exit__(*exc)

    def view(self):
        from rich.text import Text
        starting = [] if self.running or self.done else ['starting: importing the libraries']
        lines = [self.headline(), *starting, *map(self.line, self.running)]
        return Text('\n  '.join(lines), no_wrap=True, overflow='ellipsis')

    def ended(self, result: Result):
        from rich.text import Text
        if result.outcome != SKIPPED or not self.plan.items[result.notebook].current:
            text = self.result_line(result)
            mark = len(word(result.outcome))
            line = Text(text)
            line.stylize(COLOURS.get(result.outcome, 'bold red'), 0, mark)
            self.live.console.print(line, soft_wrap=True)

    def say(self, text: str):
        "Show a text of whoever follows the run, above the table."
        from rich.text import Text
        self.live.console.print(Text(text), soft_wrap=True)

    def tick(self):
        if (view := self.view()).plain != self.shown:
            self.shown = view.plain
            self.live.update(view, refresh=True)


def progress_for(plan: Plan) -> Progress:
    return (Live if sys.stdout.isatty() else Lines)(plan)
