"""Run a course's notebooks as its test suite.

usage: python run_notebook.py [PATH...] [options]

PATH is a notebook, a folder or a glob; none means every notebook in nbs/. Each notebook runs from
top to bottom in a fresh process, after the notebooks whose exported modules it imports. A cell
that raises fails its notebook; what builds on a failed notebook is "blocked". The files are not
changed, unless you say --inplace.

what to run
  --only GLOB       only notebooks whose name or number matches (several: a,b)
  --changed         only those whose cells, imported modules, data or package versions changed
                    since they passed; says why each is run or skipped
  --lf              only those that failed last time
  --watch           go on until Ctrl-C: whenever a notebook, a module or data is saved, export it,
                    run what that reaches (as --changed does), and tell of a failure at once
  --skip gpu,net,slow
                    leave out cells with these tags, and notebooks whose metadata "course.needs"
                    names them
  --root DIR        the course's folder (default: the nearest above PATH that holds nbs/)

how
  --jobs N          so many at a time (default: one for each core); each has cores/N threads
  --engine fork     children of a process that has torch and the like imported already, with
                    ipykernel's own shell: fast (Linux; the default there)
  --engine kernel   a real Jupyter kernel for each notebook
  --scheduler HOST:PORT
                    on the workers of a dask.distributed cluster; the contents travel, not paths
  --inplace         save the outputs of notebooks that pass into their files, and their claims
                    in results.json
  --exercises       prove the exercises too: at the end each is run again with its solution cut
                    out, and its test has to fail. In a student's copy, where the solutions are cut
                    out already: tell for each exercise whether it is solved, and the points

limits
  --timeout S       seconds for a notebook (default: 5 times its metadata "course.budget", or 600
                    if it has none; 0: no limit)
  --cell-timeout S  seconds for a cell (default: no limit)
  --run-timeout S   seconds for the whole run (default: no limit)
  --mem-limit GB    memory for a notebook and its subprocesses (default: no limit)

reports
  --json F          outcome, cell, message, seconds, memory and claims of each notebook
  --junit F         the same for CI servers
  --html DIR        each notebook that failed, as a page, as far as it came
  --annotations     GitHub annotations (default: when GITHUB_ACTIONS is true)
  --record          put this run's claims into results.json (with COURSE_DATA set: only those on
                    data that is not built in). Otherwise they are held against it: a claim over
                    several seeds that is off by more than 3 standard deviations has drifted, and
                    fails the run
  --readme          bring README.md's table up to date with results.json, and run nothing

Every option may be spelled with - or _.

exit status   0: all passed or were skipped, none of their claims has drifted, and at least one
              ran (or --changed found all up to date); 1: not so; 130: interrupted by Ctrl-C
outcomes      passed, failed, timed out, crashed (its process died), out of memory, blocked,
              skipped, tool error
cell tags     raises-exception (must raise), slow, gpu, net
"""
from __future__ import annotations

import os
import sys

from coursekit import launch
from coursekit.notebook import CourseError

FLAGS = ('changed', 'lf', 'inplace', 'record', 'annotations', 'readme', 'exercises', 'watch')


def run_notebook(*paths, jobs=None, changed=False, only=(), skip=(), timeout=None,
                 cell_timeout=None, run_timeout=None, engine=None, junit=None, json=None, html=None,
                 inplace=False, record=False, mem_limit=None, lf=False, root=None, annotations=None,
                 readme=False, scheduler=None, exercises=False, watch=False, show=print):
    """Run notebooks; the arguments are the command line's options (see the module's text).

    -> an `Outcome` with `.results` and `.exit_status`. Raises CourseError for a request that
    makes no sense.
    """
    from coursekit.command import run
    from coursekit.discovery import KNOWN_TAGS
    from coursekit.plan import Options
    options = Options(whole('jobs', jobs), changed, words(only), words(skip),
                      number('timeout', timeout), number('cell-timeout', cell_timeout),
                      number('run-timeout', run_timeout), engine, number('mem-limit', mem_limit),
                      lf, inplace, record, text(junit), text(json), text(html), annotations,
                      address(scheduler), exercises)
    if exercises and inplace:
        raise CourseError('--exercises adds cells that --inplace must not save: one or the other')
    if engine not in (None, 'fork', 'kernel'):
        raise CourseError(f'--engine {engine}: there are fork and kernel')
    for tag in options.skip:
        if tag not in KNOWN_TAGS:
            raise CourseError(f'--skip {tag}: there are {", ".join(KNOWN_TAGS)}')
    if watch and (lf or readme):
        raise CourseError('--watch runs what is saved: --lf and --readme do not go with it')
    if readme:
        return update_readme(root, show)
    if watch:
        from coursekit.watch import watch as keep_watching
        return keep_watching([str(p) for p in paths], options, root, show)
    return run([str(p) for p in paths], options, root, show)


def update_readme(root, show):
    from coursekit.command import Outcome
    from coursekit.notebook import find_root
    from coursekit.results import update_readme as update
    done = 'updated' if update(find_root(root=root)) else 'was up to date'
    show(f'README.md: results table {done}')
    return Outcome([], 0)


def words(value) -> tuple[str, ...]:
    "`gpu,net` arrives as a string or, cut by fire, as a tuple; `10` as a number."
    parts = value if isinstance(value, (tuple, list)) else [value] if value is not None else []
    return tuple(p for part in parts for p in str(part).replace(' ', '').split(',') if p)


def number(name, value) -> float | None:
    "A limit: a number that is not negative."
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise CourseError(f'--{name} {value}: a number that is not negative is needed')
    return float(value)


def whole(name, value) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise CourseError(f'--{name} {value}: a whole number above 0 is needed')
    return value


def text(value) -> str | None:
    if isinstance(value, bool):
        raise CourseError('--json, --junit and --html need the name of a file or folder')
    return None if value is None else str(value)


def address(value) -> str | None:
    if isinstance(value, bool):
        raise CourseError('--scheduler needs HOST:PORT')
    return None if value is None else str(value)


def arguments(argv: list[str]) -> list[str]:
    """The command line as fire is to see it, where a flag never swallows the path after it.

    Raises CourseError for an option that does not exist, with the nearest one that does.
    """
    import difflib
    import inspect
    known = [p for p in inspect.signature(run_notebook).parameters if p not in ('paths', 'show')]
    out = []
    for arg in argv:
        if not arg.startswith('--'):
            out.append(arg)
            continue
        name, equals, value = arg[2:].partition('=')
        name = name.replace('-', '_')
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f'; did you mean --{near[0]}?' if near else ''
            message = f'there is no option --{name}{hint} (--help lists them)'
            raise CourseError(message.replace('_', '-'))
        out.append(f'--{name}=True' if name in FLAGS and not equals else f'--{name}{equals}{value}')
    return out


def main():
    "The entry point."
    if {'-h', '--help'} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    launch.early(sys.argv[1:])
    import fire

    from coursekit import processes
    processes.adopt_orphans()
    status = []
    try:
        command = arguments(sys.argv[1:])
        fire.Fire(lambda *a, **k: status.append(run_notebook(*a, **k).exit_status),
                  command=command, name='run_notebook')
    except CourseError as e:
        print(f'error: {e}', file=sys.stderr)
        status = [1]
    except KeyboardInterrupt:
        status = [130]
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = [1]
    finally:
        launch.discard()
        processes.end_descendants()
    sys.exit(status[0] if status else 1)


if __name__ == '__main__':
    main()
