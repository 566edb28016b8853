"""Pictures for the README, taken from the notebooks: a cell tagged `picture:NAME` gives docs/NAME.png.

    python -m coursekit.pictures [ROOT]
"""
from __future__ import annotations

import base64
import sys
from pathlib import Path

from .notebook import course_notebooks, find_root, joined, load


def pictures(root) -> dict[str, bytes]:
    "The PNG outputs of the cells of a course that are tagged `picture:NAME`: name -> bytes."
    found = {}
    for path in course_notebooks(root):
        for cell in load(path).cells:
            names = [t.removeprefix('picture:') for t in cell.tags if t.startswith('picture:')]
            images = [o['data']['image/png'] for o in cell.outputs if 'image/png' in o.get('data', {})]
            if names and images:
                found[names[0]] = base64.b64decode(joined(images[-1]))
    return found


def write_pictures(root) -> list[Path]:
    "Write the pictures to docs/, those that changed. -> the files written"
    written = []
    for name, data in pictures(root).items():
        path = Path(root, 'docs', f'{name}.png')
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            written.append(path)
    return written


if __name__ == '__main__':
    for path in write_pictures(find_root(root=sys.argv[1] if len(sys.argv) > 1 else None)):
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
