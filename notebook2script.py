"""Export the cells marked `#export` of nbs/NN_title.ipynb to the module exp/nb_NN.py."""
import sys


def notebook2script(*notebooks, root=None, check=False, update=False, watch=False, prune=False, force=False):
    """Export the notebooks named, or the whole course, and say so in a line for each."""
    from coursekit.export import export
    print('\n'.join(export(notebooks, root, check, update, prune, force).lines))


def main():
    import fire
    from coursekit.notebook import CourseError
    try:
        fire.Fire(notebook2script)
    except CourseError as e:
        sys.exit(f'{e}')


if __name__ == '__main__':
    main()
