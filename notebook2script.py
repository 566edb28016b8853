"""Export the cells marked `#export` of nbs/NN_title.ipynb to exp/nb_NN.py."""
import sys


def notebook2script(*notebooks, root=None, force=False):
    """Export the notebooks named, or the whole course, and say so in a line for each."""
    from coursekit.export import export
    print('\n'.join(export(notebooks, root=root, force=force)))


def main():
    import fire
    from coursekit.notebook import CourseError
    try:
        fire.Fire(notebook2script)
    except CourseError as e:
        sys.exit(f'{e}')


if __name__ == '__main__':
    main()
