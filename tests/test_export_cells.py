"""Export cells: which cells they are, what was meant to be one, and what Python cannot read."""
import pytest
from hypothesis import example, given, settings, strategies as st

from coursekit.export_cells import block, misspelt, near_miss, read, slips
from coursekit.notebook import Cell


def code(source, kind='code'):
    return Cell(1, 'a', kind, source, [], '', {}, [])


def told(source):
    "The messages about a cell that begins with #export, with the lines of the cell they name."
    b = block(code(source))
    assert b is not None
    return [(p.line, p.message) for p in read(b)]


# ---- directives

@pytest.mark.parametrize('first', [
    '#export', '# export', '#|export', '#| export', '# | export', '#EXPORT', '#| Export',
    '  #export', '#\texport', '#export  ', '#export\r', '#  export'])
@pytest.mark.parametrize('above', ['', '\n', '  \n\t\n', '\r\n'])
def test_a_directive_is_recognised(first, above):
    b = block(code(f'{above}{first}\nx = 1\n'))
    assert b and b.text == above + 'x = 1\n'
    assert above + b.directive + 'x = 1\n' == f'{above}{first}\nx = 1\n'
    assert near_miss(code(f'{above}{first}\nx = 1')) is None


@pytest.mark.parametrize('source', [
    'x = 1', '# exports of France', '', '\n\n', 'x = 1\n#export', '"#export"', '#', '## export',
    '# #export\n# x = 1', '#export2\nx', 'export'])
def test_other_cells_are_not_exported(source):
    assert block(code(source)) is None


def test_only_code_cells_are_exported():
    assert block(code('#export\nx = 1', 'markdown')) is None
    assert near_miss(code('#exprot\n', 'markdown')) is None


MEANT = [
    '#exprot', '#exports', '# exprt', '#|exporti', '#expot', '#xport', '#eport', '#exporrt',
    '#ecport', '# Exprot', '#|exprots', '#| exporti', '#|export_and_show', '#|exports',
    '#|exported', '#export:', '# export.', '#!export', '#@export', "#'export'", '#export_',
    '#|export core', '#| export: true', '#export core', '#export # the class',
    '# export # the class', '#|expert', '#xeport', '#exprto', '#|epxrot', '#|  exprot',
    '# |exprt', '#-export']
PROSE = [
    '# export the model to disk', '# exponential', '# Export: the model, then the weights',
    '# expert', '# import', '# imports', '# Imports', '# report', '# effort', '# exp',
    '# expected', '# exported to disk', '# sport', '# export weights', '# exporting',
    '#export the weights with care', '# resort', '# extort', '# exhort', '# deport',
    '#| echo: false', '#| eval: false', '#| label: fig-export', '#|hide', '#| default_exp core',
    '#|include: false', '#|exec_doc', '##export', '## export', '# #export', '#%%', '#', '# ',
    '# ---- export ----', '#!/bin/sh', '# expand', '# %%', '# e', '# exit', '# explore',
    '# experiment', '# text', '# exports and imports of a country', '# Exporter']


@pytest.mark.parametrize('line', MEANT)
def test_a_misspelt_directive_is_an_error_with_a_suggestion(line):
    problem = near_miss(code(f'\n{line}\nx = 1'))
    assert problem and problem.line == 2 and line in problem.message
    assert '#export' in problem.message.replace(line, '')


@pytest.mark.parametrize('line', PROSE)
def test_prose_is_left_alone(line):
    assert near_miss(code(f'{line}\nx = 1')) is None


@pytest.mark.parametrize('source, line', [
    ('# The model\n#export\nx = 1', 2), ('%%time\n#export\nx = 1', 2),
    ('#| label: x\n\n#| export\nx = 1', 3), ('%matplotlib inline\n# export\nx = 1', 2)])
def test_a_directive_below_the_first_line_is_an_error(source, line):
    problem = near_miss(code(source))
    assert problem.line == line and 'not the first line' in problem.message


@pytest.mark.parametrize('source', [
    'text = """\n#export\n"""', '# A cell\ns = """\n#export\n"""', 'x = 1\n#export',
    '%%writefile a.py\n#export\nx = 1', '%%bash\n# export\nexport A=1'])
def test_a_directive_inside_other_text_is_no_error(source):
    assert near_miss(code(source)) is None


letters = st.sampled_from('abcdefghijklmnopqrstuvwxyz')


@given(st.integers(0, 6), letters, st.sampled_from(['leave out', 'put in', 'change', 'swap']))
def test_every_single_slip_is_noticed(i, letter, what):
    word = 'export'
    typed = {'leave out': word[:i] + word[i + 1:], 'put in': word[:i] + letter + word[i:],
             'change': word[:i] + letter + word[i + 1:], 'swap': word[:i] + word[i:i + 2][::-1]
             + word[i + 2:]}[what]
    assert slips(typed, word) <= 1
    if typed != word and typed not in ('expert', 'exhort', 'extort'):
        assert misspelt(f'#{typed}') and misspelt(f'# {typed}') and misspelt(f'#|{typed}')


@given(st.lists(st.text(st.characters(codec='utf-8', exclude_categories=('Z', 'C'),
                                      exclude_characters='#|'), min_size=1),
                min_size=3, max_size=8))
def test_a_comment_of_several_words_is_prose(words):
    assert misspelt('# ' + ' '.join(words)) is None


@given(st.text(st.characters(codec='utf-8')))
@example('\x0c#export\nx')
@example('#export\x0c')
def test_any_cell_is_exported_prose_or_told_about(source):
    cell = code(source)
    b = block(cell)
    if b:
        above, rest = b.text[:len(b.above)], b.text[len(b.above):]
        assert above + b.directive + rest == source
        directive = ''.join(b.directive.lower().split())
        assert directive in ('#export', '#|export')
    near_miss(cell)


# ---- magics and syntax

@pytest.mark.parametrize('line', [
    '%time x', '%%time', '!ls', '!!ls', 'x = !ls', 'x = %time f()', 'x?', 'x??', '?x', '??x',
    'x.y?', '%matplotlib inline', 'a, b = !ls', '%%bash', '    !ls', '%timeit -n 1 f(x)', '%x?',
    'np.*load*?', 'x?  # what', '%cd ..', 'd["a"] = !ls'])
def test_magic_is_told_with_its_line(line):
    head = 'if True:\n' if line.startswith(' ') else '\n'
    problems = told(f'#export\ny = 1\n{head}{line}\nz = 2')
    assert [p[0] for p in problems] == [4]
    assert 'IPython' in problems[0][1] and line.strip() in problems[0][1]


def test_every_magic_is_told_and_a_syntax_error_below_too():
    problems = told('#export\n!ls\nx = 1\n%time x\ny = (\n')
    assert [p[0] for p in problems] == [2, 4, 5]
    assert 'IPython' in problems[0][1] and 'IPython' in problems[1][1]
    assert 'syntax error' in problems[2][1]


def test_a_shell_line_that_goes_on_is_one_problem():
    assert [p[0] for p in told('#export\n!pip install \\\n   a \\\n   b\nx = 1')] == [2]


@pytest.mark.parametrize('text', [
    'x = (5\n     %time)', 'x = 7 \\\n  %y', 's = """\n%time x\n!ls\nwhat?\n"""',
    "s = ('%d'\n% 3)", 'x = 5 % 3', "'''\n?x\n'''", 'x = (y\n%z)', 'x = (y\n!=z)'])
def test_python_that_looks_like_magic_is_left_alone(text):
    assert told(f'#export\n{text}') == []


@pytest.mark.parametrize('text, line', [
    ('x = (1\n  %time 2 3)', None), ('x = (1,\n!ls)', None), ('def f(:\n    pass', 2),
    ('x = """\n%time\n', 2), ('if x:\ny = 1', 3), ('x = 1\n  y = 2', 3)])
def test_a_syntax_error_is_told_with_its_line_and_no_talk_of_magic(text, line):
    problems = told(f'#export\n{text}')
    assert len(problems) == 1 and 'syntax error' in problems[0][1]
    assert line is None or problems[0][0] == line


def test_lines_are_those_of_the_cell():
    assert told('\n\n#export\n\nx = (')[0][0] == 5
    assert told('#export\r\nx = 1\r\ny = (')[0][0] == 3


@pytest.mark.parametrize('text', ['x = "\ud800"', 'x = 1\0', 'x = ' + '(' * 500 + ')' * 500])
def test_what_python_chokes_on_is_told(text):
    assert told(f'#export\n{text}')


@pytest.mark.filterwarnings('ignore:invalid escape')
@settings(max_examples=200)
@given(st.text(st.sampled_from('x=1(\n\r\\ %!?"\'#ab:[]'), max_size=40))
def test_reading_ends_and_tells_within_the_cell(text):
    lines = len(text.replace('\r\n', '\n').replace('\r', '\n').split('\n')) + 1
    problems = told(f'#export\n{text}')
    assert all(line is None or 1 <= line <= lines for line, _ in problems)
    if not problems:
        compile(text, 'x', 'exec', flags=0x400)
