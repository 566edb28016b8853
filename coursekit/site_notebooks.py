"""A chapter as the site shows it: figures with words for those who cannot see them, solutions
folded.

All here takes a notebook and gives a notebook; nothing is run, and the chapter itself stays.
"""
from __future__ import annotations

import ast
import html
import re
from copy import deepcopy

from . import site_colab
from .exercises import exercises, stub, tree
from .notebook import Cell, Notebook
from .outputs import CLAIM

IMAGES = ('image/png', 'image/svg+xml', 'image/jpeg')
FIGURE = re.compile(r'\b(?:figures? (?:below |above )?(?:shows?|follows|is|are)'
                    r'|show.* in the figure|\b[Tt]hen the figure:|[Ii]n the figure)\b')
KEPT = re.compile(r'```.*?```|\$\$.*?\$\$|<summary>.*?</summary>|`[^`]*`|\$[^$\n]*\$'
                  r'|\[[^\]]*\]\([^)]*\)|<[^>]*>|^#[^\n]*$', re.S | re.M)
SEEN = re.compile(r'\b(?:pictures?|plot|graph|photos?|maps?|curves?|histograms?|figure|frames'
                  r'|drawn?|shown?|marked)\b')
MENTION = re.compile(r'\b[Cc]hapter (\d\d[a-z]?)\b')
LETTERS = {'alpha': 'α', 'beta': 'β', 'gamma': 'γ', 'epsilon': 'ε', 'lambda': 'λ', 'mu': 'μ',
           'sigma': 'σ', 'theta': 'θ', 'sqrt': '√', 'cdot': '·', 'le': '≤', 'ge': '≥'}
LONGEST = 400


def has_figure(cell: Cell) -> bool:
    "Does a code cell's output hold a picture?"
    return any(is_figure(o.get('data', {})) for o in cell.outputs)


def is_figure(data: dict) -> bool:
    return any(kind in data for kind in IMAGES) or '<svg' in ''.join(data.get('text/html', ''))


# Words for a figure

def plain(text: str) -> str:
    "Markdown as one line of plain text, for an attribute."
    text = re.sub(r'<[^>]*>|^#+ .*$|^[-*] ', ' ', text, flags=re.M)
    text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', text)
    text = re.sub(r'\$\$?([^$]*)\$\$?', lambda m: in_words(m[1]), text)
    text = re.sub(r'\*\*?([^*]+)\*\*?', r'\1', text.replace('`', ''))
    return ' '.join(text.split())


def in_words(tex: str) -> str:
    "A short formula without its markup: `\\sqrt{1+l}` -> `sqrt(1+l)`"
    tex = re.sub(r'\\(?:text|mathrm|mathbf|operatorname)\{([^}]*)\}', r'\1', tex)
    tex = re.sub(r'\\[,;!]|\\(?:left|right)\b', '', tex.replace(r'\times', '×'))
    tex = re.sub(r'\\(?:var)?([A-Za-z]+)', lambda m: LETTERS.get(m[1], m[1]), tex)
    return tex.replace('{', '(').replace('}', ')')


def sentences(text: str) -> list[str]:
    "The sentences of a markdown cell's prose, without code, tables and headings."
    text = re.sub(r'```.*?```|^\|[^\n]*$|^#[^\n]*$', '\n\n', text, flags=re.S | re.M)
    parts = (plain(p) for p in re.split(r'\n\s*\n', text))
    return [s for p in parts for s in re.split(r'(?<=[.!?])\s+(?=[A-Z“"(])', p) if s]


def alt_texts(notebook: Notebook) -> dict[int, str]:
    """Cell number -> words for its figure, for every cell that shows one.

    They are the sentence of the prose that says what the figure shows, just before it or just
    after; where there is none, what the axes say, or the prose before it.
    """
    figures = [c for c in notebook.cells if c.kind == 'code' and has_figure(c)]
    found, last = {}, None
    for figure in [*figures, None]:
        begin = last.number if last else 0
        end = figure.number if figure else len(notebook.cells) + 1
        said = [(c.number, s) for c in notebook.cells[begin:end - 1] if c.kind == 'markdown'
                for s in sentences(c.source) if FIGURE.search(s)]
        if last and said and last.number not in found and belongs_to_last(said, begin, end):
            found[last.number] = said.pop(0)[1]
        if figure and said:
            found[figure.number] = said[-1][1]
        last = figure
    return {c.number: shortened(found.get(c.number) or from_code(c, notebook)) for c in figures}


def belongs_to_last(said, begin, end) -> bool:
    "Of the sentences between two figures: is the first one about the figure before it?"
    number, first = said[0]
    if re.search(r'\bnext figure', first):
        return False
    return 'figure above' in first or len(said) > 1 or number - begin < end - number


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(' ', 1)[0] + ' …'


def from_code(cell: Cell, notebook: Notebook) -> str:
    "Words for a figure that no sentence describes: its axes as the code has them, or the prose."
    words = labels(cell.source)
    if 'xlabel' in words and 'ylabel' in words:
        shown = f'{words["ylabel"]} against {words["xlabel"]}'
        return f'{words["title"]}: {shown}' if 'title' in words else f'Plot of {shown}'
    before = [s for c in notebook.cells[max(0, cell.number - 6):cell.number - 1]
              if c.kind == 'markdown' for s in sentences(c.source)]
    under = f'Figure under the heading “{plain(cell.heading)}”'
    seen = [s for s in before if SEEN.search(s)] or before
    return f'{under}. {seen[-1]}' if seen else f'{under}.'


def labels(source: str) -> dict[str, str]:
    "What a plotting cell says of its axes: xlabel, ylabel and title, where they are plain text."
    found = {}
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, 'attr', '').removeprefix('set_')
            given = [(k.arg, k.value) for k in node.keywords] + [(name, a) for a in node.args[:1]]
            for key, value in given:
                if key in ('xlabel', 'ylabel', 'title') and isinstance(value, ast.Constant):
                    found.setdefault(key, plain(str(value.value)))
    return found


# The page

def chapter_page(notebook: Notebook, card: str, pages: dict[str, str], solutions=True) -> dict:
    """The notebook that the site builds a chapter's page from.

    `card`: HTML that stands below the title · `pages`: chapter number -> file, for mentions of
    other chapters to become links · `solutions`: are they there, folded, or only the stubs?
    """
    raw, alts = deepcopy(notebook.raw), alt_texts(notebook)
    answers = {e.solution.number: e for e in exercises(notebook)}
    cells, titled = [], False
    others = {n: f for n, f in pages.items() if n != notebook.number}
    for cell, new in zip(notebook.cells, raw['cells']):
        if cell.id == site_colab.ID:
            continue
        if cell.kind == 'markdown':
            source = linked(cell.source, others)
            if not titled and re.search(r'^# ', source, re.M):
                source, titled = below_title(source, notebook.number, card), True
            elif titled:
                source = re.sub(r'^# ', '## ', source, flags=re.M) if not fenced(source) else source
            new['source'] = source
        elif cell.kind == 'code':
            new['outputs'] = [shown(o) for o in new.get('outputs', [])]
            if cell.number in alts:
                described(new, alts[cell.number])
        cells += folded(new, cell) if cell.number in answers and solutions else [new]
        if cell.number in answers and not solutions:
            new |= {'source': stub(cell.source), 'outputs': []}
    if not titled:
        source = below_title(f'# {notebook.title}', notebook.number, card)
        cells.insert(0, {'cell_type': 'markdown', 'id': 'title', 'metadata': {}, 'source': source})
    language = {**raw['metadata'].get('language_info', {}), 'name': 'python',
                'pygments_lexer': 'ipython3'}
    return {**raw, 'cells': cells, 'metadata': {**raw['metadata'], 'language_info': language}}


def shown(out: dict) -> dict:
    "An output without what is for programs alone; the line of a claim may be folded."
    data = out.get('data', {})
    if CLAIM not in data:
        return out
    line = html.escape(''.join(data.get('text/plain', '')))
    return {**out, 'data': {'text/html': f'<p class="claim">{line}</p>'}}


def fenced(source: str) -> bool:
    return '```' in source


def below_title(source: str, number: str | None, card: str) -> str:
    "A first cell with the chapter's number in its title, and a card below it."
    head, title, rest = re.split(r'^# (.*)$', source, maxsplit=1, flags=re.M)
    name = f'{number} · {title}' if number else title
    return f'{head}# {name}\n\n```{{raw}} html\n{card}\n```\n{rest}'


def linked(source: str, pages: dict[str, str]) -> str:
    "Markdown in which `chapter 09` leads there; code, formulas, headings and links stay."
    out, last = [], 0
    for kept in [*KEPT.finditer(source), None]:
        end = kept.start() if kept else len(source)
        out.append(MENTION.sub(lambda m: f'[{m[0]}]({pages[m[1]]})' if m[1] in pages else m[0],
                               source[last:end]))
        if kept:
            out.append(kept[0])
            last = kept.end()
    return ''.join(out)


def described(cell: dict, alt: str) -> None:
    "Give a code cell's figures their words: those in files by MyST-NB's option, or in the HTML."
    cell['metadata'] = {**cell['metadata'], 'mystnb': {'image': {'alt': alt}}}
    for out in cell['outputs']:
        data = out.get('data', {})
        if '<svg' in (markup := ''.join(data.get('text/html', ''))) and 'aria-label' not in markup:
            label = f'<svg role="img" aria-label="{html.escape(alt)}"'
            data['text/html'] = markup.replace('<svg', label)


def folded(cell: dict, original: Cell) -> list[dict]:
    "An exercise's solution cell as the site shows it: the stub, then the solution in a fold."
    task = {**deepcopy(cell), 'source': stub(original.source), 'outputs': [],
            'execution_count': None}
    prompts = {'code_prompt_show': 'Show the solution', 'code_prompt_hide': 'Hide the solution'}
    meta = {**cell['metadata'], 'tags': [*original.tags, 'hide-input'], 'mystnb': prompts}
    return [{**task, 'id': f'{original.id[:58]}-task'}, {**cell, 'metadata': meta}]
