"""Make modules from a course's notebooks: nbs/02_x.ipynb → exp/nb_02.py.

    python notebook2script.py                     export every notebook of the course
    python notebook2script.py nbs/02_x.ipynb …    export these only
    python notebook2script.py --check             is exp/ what the notebooks give? Writes nothing
    python notebook2script.py --update            bring edits made in exp/ back into the notebooks
    python notebook2script.py --watch             export each notebook as soon as it is saved

A cell is exported when its first line is `#export` (or `# export`, `#|export`, `#| export`). Its
text goes into the module unchanged, below a line that says which cell it came from. The module's
`__all__` lists the public names it defines. Nothing is written unless every cell to be exported
can be read, every name it uses is defined or imported in an export cell, and no other chapter
exports the same name. A module that would not change is not touched. (A name that is made in a
way no reader of the text can see, as by `globals()['x'] = …`, is declared by a line `x: type`;
names are not checked in a module that has an `import *` from outside the course.)

Options:
    --root DIR   the course: the folder that holds nbs/ and exp/. Without it, the nearest one at or
                 above the notebook named, or the current folder, that holds nbs/
    --check      exit with status 1 and a short diff unless exp/ is what the notebooks give
    --update     before exporting, put what was edited in modules back into the cells it came from,
                 which are found by their ids. A cell that was changed in the notebook as well is
                 an error; with --force, the module wins
    --watch      go on until Ctrl-C, exporting what is saved and showing what is wrong
    --prune      also remove modules that were exported from notebooks which are gone
    --force      write over modules that were edited by hand, or not made by this tool; check even
                 those that did not change
    --help       show this

From Python, and in the last cell of a notebook:
    from notebook2script import notebook2script
    notebook2script('02_x.ipynb')

Exit status: 0 done, 1 something is wrong and nothing was written, 2 an option that makes no sense.
"""
import sys

SWITCHES = ('check', 'update', 'watch', 'prune', 'force')


def notebook2script(*notebooks, root=None, check=False, update=False, watch=False, prune=False,
                    force=False):
    """Export notebooks to modules, and print a line for each.

    `notebooks` are paths; none means all of the course. `root` is the course's folder, else it is
    looked for at and above the first notebook. The other options are those of the command line.
    Raises CourseError, with nothing written, when a notebook cannot be exported or, with `check`,
    when a module is not what its notebook gives.
    """
    if watch:
        from coursekit.export_watch import watch as keep_exporting
        return keep_exporting(notebooks, root, check=check, update=update, prune=prune, force=force)
    from coursekit.export import export
    print(export(notebooks, root, check=check, update=update, prune=prune, force=force))


def main():
    "The command line."
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # a terminal without arrows shall not stop an export
            stream.reconfigure(errors='replace')
    arguments = sys.argv[1:]
    if {'-h', '--help', '-help'} & set(arguments):
        return print(__doc__.strip())
    sys.dont_write_bytecode |= '--check' in arguments
    notebooks, options = parsed(arguments)
    from coursekit.notebook import CourseError
    try:
        notebook2script(*notebooks, **options)
    except CourseError as e:
        sys.exit(str(e))
    except KeyboardInterrupt:
        sys.exit(130)


def parsed(arguments):
    "The notebooks and options of a command line; status 2 where an option makes no sense."
    if not arguments:
        return [], {}  # nothing to parse, so no need for the 0.1 s that importing fire takes
    import fire
    found = []

    def collect(*notebooks, root=None, check=False, update=False, watch=False, prune=False,
                force=False):
        found.append((notebooks, dict(root=root, check=check, update=update, watch=watch,
                                      prune=prune, force=force)))
    fire.Fire(collect, [spelled(a) for a in arguments], name='notebook2script.py')
    notebooks, options = found[0]
    if isinstance(options['root'], bool):
        refuse('--root needs a folder')
    for name in SWITCHES:
        if not isinstance(options[name], bool):
            refuse(f'--{name} is on or off, and takes no value such as {options[name]!r}')
    options['root'] = options['root'] and str(options['root'])
    return [str(n) for n in notebooks], options


def spelled(argument):
    """An argument as fire shall see it: a switch with its value, so that it does not take the
    notebook after it for one. Fire would run the command before it found an option that does not
    exist: that is refused here."""
    if not argument.startswith('-'):
        return argument
    name, _, value = argument.lstrip('-').partition('=')
    if name not in (*SWITCHES, *(f'no{s}' for s in SWITCHES), 'root'):
        refuse(f'there is no option {argument}')
    return f'--{name}=True' if name in SWITCHES and not value else argument


def refuse(message):
    print(f'notebook2script.py: {message}; --help shows what there is', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
    main()
