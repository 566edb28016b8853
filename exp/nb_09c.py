"""A progress bar, and a log that survives

Exported from nbs/09c_add_progress_bar.ipynb: change the notebook and export it again, or change this
file and bring the change back with `python notebook2script.py --update`.
"""
# notebook2script 1 sha256:46153e9bc2aab9d1 head:622a3669
__all__ = ['ProgressCallback', 'read_jsonl', 'JsonlLogger']


# %% 09c_add_progress_bar.ipynb cell 3 #92e3b1a0
import base64
import html
import json
import math
import os
import sys
import time
from pathlib import Path
from shutil import get_terminal_size

import torch

from exp.nb_00 import Table
from exp.nb_04 import Callback, _row_text, get_hyper


# %% 09c_add_progress_bar.ipynb cell 9 #8a78db4f
def _shell():
    "The shell of a notebook, or None in plain Python and in IPython on a terminal."
    module = sys.modules.get('IPython')  # whoever runs in a notebook has it already
    shell = module.get_ipython() if module else None
    return shell if hasattr(shell, 'kernel') else None


def _clock(seconds):
    "Seconds as `0:07`, `12:30` or `1:02:05`."
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


# %% 09c_add_progress_bar.ipynb cell 13 #e4d531c3
class _Progress:
    "How far a run is: `done` of `total` batches of this epoch, `fraction` of the fit."
    def __init__(self, learn, start, rows, losses, valid):
        sizes = len(learn.dls.train), len(learn.dls.valid)
        self.epoch, self.n_epochs = min(learn.epoch + 1, learn.n_epochs), learn.n_epochs
        self.total = sum(sizes)
        self.done = min(self.total, learn.batch + 1 + (0 if learn.training else sizes[0]))
        self.part = 'training' if learn.training else 'validation'
        self.rows, self.losses, self.valid = rows, losses, valid
        self.elapsed = time.perf_counter() - start
        self.fraction = min(1., (learn.epoch + self.done / self.total) / max(1, self.n_epochs))
        self.n_steps, self.ended = learn.n_epochs * sizes[0], False

    @property
    def left(self):
        "Seconds to go, by the rule of three."
        return self.elapsed * (1 - self.fraction) / max(self.fraction, 1e-9)


# %% 09c_add_progress_bar.ipynb cell 15 #49f33281
class _Status(_Progress):
    "How far a run is, and what was seen, in words."
    def line(self, width=20):
        "`epoch 2/5 [########------------]  40%  training  loss 0.2310  0:03 < 0:05`."
        full = round(width * self.fraction)
        bar = '#' * full + '-' * (width - full)
        loss = f'  loss {self.losses[-1]:.4f}' if self.losses else ''
        return (f'epoch {self.epoch}/{self.n_epochs} [{bar}] {self.fraction:4.0%}  '
                f'{self.part}{loss}  {_clock(self.elapsed)} < {_clock(self.left)}')

    def ending(self):
        "How a fit ended that did not do all its epochs, or nothing."
        done = self.rows[-1]['epoch'] if self.rows else 0
        return '' if done == self.n_epochs else f'stopped after {done} of {self.n_epochs} epochs'


# %% 09c_add_progress_bar.ipynb cell 19 #b95560d8
class _Lines:
    "For a file or a pipe: a plain line for each epoch, no control characters."
    def __init__(self, stream):
        self.stream = stream

    def _say(self, text):
        self.stream.write(text)
        self.stream.flush()

    def update(self, status):
        "News within an epoch: nothing to write."

    def epoch(self, status):
        "An epoch is over."
        self._say(_row_text(status.rows[-1], status.n_epochs) + '\n')

    def end(self, status):
        "The fit is over."
        if status.ending():
            self._say(status.ending() + '\n')


# %% 09c_add_progress_bar.ipynb cell 21 #27719f6b
class _Terminal(_Lines):
    "For a terminal: a line that moves, and stays as a plain one when its epoch is over."
    width = 0

    def _wipe(self):
        return '\r' + ' ' * self.width + '\r' if self.width else ''

    def update(self, status):
        "Overwrite the line."
        line = status.line()[:get_terminal_size().columns - 1]
        self._say('\r' + line.ljust(self.width))
        self.width = len(line)

    def _say_line(self, method, status):
        self.stream.write(self._wipe())
        self.width = 0
        method(status)
        self.stream.flush()

    def epoch(self, status):
        "Replace the moving line by the epoch's results."
        self._say_line(super().epoch, status)

    def end(self, status):
        "Leave no half-finished line behind."
        self._say_line(super().end, status)


# %% 09c_add_progress_bar.ipynb cell 23 #4714806a
def _thin(values, n=200):
    "Numbers -> at most n pairs (middle, mean) of equal pieces; what is not finite is left out."
    size = max(1, -(-len(values) // n))
    pieces = [(i, [v for v in values[i:i + size] if math.isfinite(v)])
              for i in range(0, len(values), size)]
    return [(i + (size + 1) / 2, sum(p) / len(p)) for i, p in pieces if p]


# %% 09c_add_progress_bar.ipynb cell 25 #99d3dc11
def _polyline(points, scale, colour, dot=False):
    "A curve, or dots, as SVG."
    places = [scale(*p) for p in points]
    if dot:
        return ''.join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                       for x, y in places)
    text = ' '.join(f'{x:.1f},{y:.1f}' for x, y in places)
    return f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


# %% 09c_add_progress_bar.ipynb cell 27 #51419fe0
def _svg(losses, valid, steps):
    """The losses so far as a picture, in SVG

    losses: one for each training batch · valid: pairs (step, validation loss) · steps: the whole
    fit's.
    """
    curve, w, h = _thin(losses), 460, 170
    dots = [(s, v) for s, v in valid if math.isfinite(v)]
    top = max([v for _, v in curve + dots], default=1.) or 1.

    def scale(step, value):
        return 50 + (w - 60) * step / max(1, steps), h - 35 - (h - 50) * max(value, 0) / top
    texts = [(45, 18, 'end', f'{top:.3g}'), (45, h - 32, 'end', '0'),
             (w - 10, h - 20, 'end', f'{steps:,}'), (w / 2, h - 6, 'middle', 'step'),
             (60, 14, 'start', 'loss: line training, dots validation')]
    labels = ''.join(f'<text x="{x}" y="{y}" text-anchor="{a}">{t}</text>' for x, y, a, t in texts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
            f'font-family="sans-serif" font-size="11"><rect width="{w}" height="{h}" fill="white"/>'
            f'<path d="M50 10V{h - 35}H{w - 10}" fill="none" stroke="#666"/>'
            f'{_polyline(curve, scale, "#0072B2")}{_polyline(dots, scale, "#D55E00", dot=True)}'
            f'{labels}</svg>')


# %% 09c_add_progress_bar.ipynb cell 33 #364a48ad
def _as_table(rows):
    "The epochs' results -> Table"
    names = list(dict.fromkeys(name for row in rows for name in row))

    def text(name, value):
        if value is None:
            return ''
        if name == 'epoch':
            return str(value)
        return f'{value:.1f} s' if name == 'seconds' else f'{value:.4f}'
    return Table(names, [[text(name, row.get(name)) for name in names] for row in rows])


# %% 09c_add_progress_bar.ipynb cell 35 #2f1391a0
def _as_html(status, plot):
    "All of it, for a notebook: the bar while it runs, the table, the plot."
    table = _as_table(status.rows)
    head = ''.join(f'<th>{html.escape(h)}</th>' for h in table.head)
    body = ''.join('<tr>' + ''.join(f'<td>{x}</td>' for x in row) + '</tr>' for row in table.rows)
    bar = html.escape(status.ending() if status.ended else status.line(0).replace(' []', ''))
    if not status.ended:
        value = f'value="{status.fraction:.4f}" max="1"'
        bar = f'<progress {value} style="width: 220px"></progress> {bar}'
    picture = ''
    if plot and (status.losses or status.valid):
        steps = max(len(status.losses), status.n_steps)
        data = base64.b64encode(_svg(status.losses, status.valid, steps).encode()).decode()
        picture = ('<img alt="training and validation loss by step" '
                   f'src="data:image/svg+xml;base64,{data}"/>')
    return f'<div>{bar}</div><table><tr>{head}</tr>{body}</table>{picture}'


# %% 09c_add_progress_bar.ipynb cell 37 #86dde4c4
class _Notebook:
    "For a notebook: one output that is replaced again and again."
    def __init__(self, plot):
        self.plot, self.handle = plot, None

    def update(self, status):
        "Show, or show anew."
        from IPython.display import display
        text = status.ending() if status.ended else status.line()
        table = repr(_as_table(status.rows)) if status.rows else ''
        bundle = {'text/plain': '\n'.join(t for t in (table, text) if t),
                  'text/html': _as_html(status, self.plot)}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)

    epoch = end = update


# %% 09c_add_progress_bar.ipynb cell 39 #e46df98f
class _Collecting(Callback):
    "Losses and rows of a fit; values are asked for only by `_take`."
    order = 60
    in_search = False

    def before_fit(self, learn):
        "Start from nothing."
        self.rows, self.losses, self.valid, self._new = [], [], [], []

    def before_epoch(self, learn):
        "Start the epoch's clock."
        self._epoch_start = time.perf_counter()

    def after_batch(self, learn):
        "Keep a training batch's loss."
        if learn.training and learn.loss is not None:
            self._new.append(learn.loss.detach())

    def after_epoch(self, learn):
        "Add a row."
        self._take()
        self.rows.append({'epoch': learn.epoch + 1, **learn.metrics,
                          'seconds': time.perf_counter() - self._epoch_start})
        if 'valid_loss' in learn.metrics:
            self.valid.append((len(self.losses), float(learn.metrics['valid_loss'])))

    def _take(self):
        if self._new:
            self.losses += torch.stack(self._new).float().tolist()
            self._new = []


# %% 09c_add_progress_bar.ipynb cell 43 #9b9c99ed
class _Watching(_Collecting):
    "Tells a display how the fit goes, every so many seconds and after each epoch."
    def before_fit(self, learn):
        "Start the clock; find out where to show it."
        super().before_fit(learn)
        self._start = self._next = time.perf_counter()
        self._display = self._find_display()

    def after_batch(self, learn):
        "Say something if it is time."
        super().after_batch(learn)
        if time.perf_counter() >= self._next:
            self._display.update(self._status(learn))
            self._next = time.perf_counter() + self.every

    def after_epoch(self, learn):
        "Show the new row."
        super().after_epoch(learn)
        self._display.epoch(self._status(learn))

    def after_fit(self, learn):
        "The last word, also if the fit was stopped or failed."
        if hasattr(self, '_display'):
            status = self._status(learn)
            status.ended = True
            self._display.end(status)

    def _status(self, learn):
        self._take()
        return _Status(learn, self._start, self.rows, self.losses, self.valid)


# %% 09c_add_progress_bar.ipynb cell 45 #2e54c068
class ProgressCallback(_Watching):
    """Shows how a fit goes, as suits the place: it only watches.

    In a notebook: a bar, a table and a plot of the losses that grow while it trains, in one
    output. On a terminal: a moving line, then a line for each epoch. Into a file or a pipe: one
    plain line for each epoch. Put `Metrics` beside it for the numbers, and make your `Recorder`
    quiet.

    every: seconds between updates within an epoch · plot: draw the losses, in a notebook · out: a
    text stream to write to (default: the notebook if there is one, else standard output). Raises
    ValueError for a negative `every`, TypeError for an `out` that cannot be written to.
    """
    def __init__(self, every=.5, plot=True, out=None):
        if every < 0:
            raise ValueError(f'ProgressCallback: every is in seconds, 0 or more, not {every}')
        if out is not None and not hasattr(out, 'write'):
            raise TypeError('ProgressCallback: out must be a stream such as sys.stderr, '
                            f'not {out!r}')
        self.every, self.plot, self.out = every, plot, out

    def _find_display(self):
        if self.out is None and _shell() is not None:
            return _Notebook(self.plot)
        stream = sys.stdout if self.out is None else self.out
        return _Terminal(stream) if stream.isatty() else _Lines(stream)


# %% 09c_add_progress_bar.ipynb cell 57 #0ece42e8
def _jsonable(x):
    "What JSON has no word for: NaN and infinities as text, tensors as numbers, the rest by `str`."
    if isinstance(x, dict):
        return {str(k): _jsonable(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_jsonable(v) for v in x]
    if isinstance(x, torch.Tensor):
        return _jsonable(x.tolist())
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x if x is None or isinstance(x, (bool, int, float, str)) else str(x)


# %% 09c_add_progress_bar.ipynb cell 59 #b96d6430
class _LineFile:
    "A file of JSON lines, opened for appending; each line goes to the system in one piece."
    def __init__(self, path):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, 'O_BINARY', 0)
        self.fd = os.open(path, flags, 0o644)
        size = os.fstat(self.fd).st_size
        os.lseek(self.fd, max(0, size - 1), os.SEEK_SET)
        if size and os.read(self.fd, 1) != b'\n':  # whoever wrote before was cut off
            os.write(self.fd, b'\n')

    def write(self, record):
        "One record as one line."
        text = json.dumps(_jsonable(record), ensure_ascii=False, allow_nan=False)
        os.write(self.fd, text.encode() + b'\n')

    def close(self):
        "Let go of the file; a second time does nothing."
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


# %% 09c_add_progress_bar.ipynb cell 61 #9566d454
def read_jsonl(path, event=None):
    """Read a log of `JsonlLogger`, also while it is being written. -> list of dicts

    event: only records of this kind, `'fit'`, `'batch'`, `'epoch'` or `'end'`. Lines that were cut
    off by a crash are left out. Raises FileNotFoundError.
    """
    records = []
    with open(path, 'rb') as f:
        for line in f:
            try:
                record = json.loads(line)
            except ValueError:  # cut off
                continue
            if isinstance(record, dict) and (event is None or record.get('event') == event):
                records.append(record)
    return records


# %% 09c_add_progress_bar.ipynb cell 65 #fb68c61d
class _RunLog(Callback):
    "The first and the last line of a fit in a file, and what all of its lines have in common."
    order = 60
    in_search = False

    def __init__(self, path):
        self.path, self._file = Path(path), None

    def _write(self, event, **more):
        self._file.write({'event': event, 'run': self.run, 'time': time.time(), **more})

    def before_fit(self, learn):
        "Open the file; say what begins."
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _LineFile(self.path)
        self._start, self.run = time.perf_counter(), f'{time.time_ns():x}-{os.getpid()}'
        params = sum(p.numel() for p in learn.model.parameters())
        self._write('fit', n_epochs=learn.n_epochs, epoch=learn.epoch, step=learn.n_steps,
                    n_batches=len(learn.dls.train), lr=get_hyper(learn.opt, 'lr'),
                    model=type(learn.model).__name__, params=params, opt=type(learn.opt).__name__)

    def after_fit(self, learn):
        "Say how far it came, and close the file."
        if self._file is not None:
            self._write('end', epochs=learn.epoch, step=learn.n_steps,
                        interrupted=learn.interrupted,
                        seconds=time.perf_counter() - self._start)
            self._file.close()
            self._file = None


# %% 09c_add_progress_bar.ipynb cell 67 #78d39962
class JsonlLogger(_RunLog):
    """Writes what happens in a fit into a file, one JSON object on each line; it only watches.

    path: the file; more is added at its end, and its folder is made · every: a `batch` line each so
    many training batches, with the mean loss since the last one (0: none). Events: `fit` (as it
    begins), `batch`, `epoch` (with the metrics), `end` (also after an error). All have `run`, which
    tells fits in one file apart, and `time` (seconds since 1970). Each line is written at once, so
    that a killed process loses none. Read with `read_jsonl`. Raises ValueError for a bad `every`,
    OSError if the file cannot be written.
    """
    def __init__(self, path, every=20):
        if not isinstance(every, int) or every < 0:
            raise ValueError(f'JsonlLogger: every is a number of batches, 0 or more, not {every!r}')
        super().__init__(path)
        self.every = every

    def before_fit(self, learn):
        "Open the file; no losses are waiting."
        super().before_fit(learn)
        self._losses = []

    def after_batch(self, learn):
        "Keep the loss; write a line if it is time."
        if self.every and learn.training and learn.loss is not None:
            self._losses.append(learn.loss.detach())
            if len(self._losses) == self.every:
                self._batches(learn)

    def _batches(self, learn):
        loss, self._losses = torch.stack(self._losses).float().mean(), []
        self._write('batch', epoch=learn.epoch + 1, step=learn.n_steps, loss=loss,
                    lr=get_hyper(learn.opt, 'lr'))

    def after_epoch(self, learn):
        "The batches not yet written, and the epoch's results."
        if self._losses:
            self._batches(learn)
        self._write('epoch', epoch=learn.epoch + 1, step=learn.n_steps, **learn.metrics)


# cell hashes: 92e3b1a0:ca05b0ea 8a78db4f:156f2310 e4d531c3:4b780b5a 49f33281:7da6a177
#   b95560d8:07fa751e 27719f6b:b45609bd 4714806a:e8c094bf 99d3dc11:cf5315f3 51419fe0:3b02b179
#   364a48ad:6d2345fe 2f1391a0:2075a464 86dde4c4:26c49869 e46df98f:afc67d4c 9b9c99ed:2866b790
#   2e54c068:767a9f0f 0ece42e8:79e7d4f2 b96d6430:7ac14b1c 9566d454:fd3da190 fb68c61d:0884a503
#   78d39962:c5a3cf39
