"""Sphinx's settings for the course's site; `make site` (coursekit/site.py) lays out its pages."""
from pathlib import Path

from coursekit.site import branch, mathjax, repository, site_title

ROOT = Path(__file__).absolute().parent.parent

project = html_title = site_title(ROOT)
copyright = author = ''
language = 'en'
extensions = ['myst_nb']
templates_path = []
exclude_patterns = []

# Chapters come with their outputs; nothing is run here.
nb_execution_mode = 'off'
nb_merge_streams = True
nb_render_markdown_format = 'gfm'
nb_output_stderr = 'show'
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 4
myst_links_external_new_tab = False
# Tracebacks hold text that is no Python.
suppress_warnings = ['misc.highlighting_failure']
# The reference names libraries that have no pages here.
nitpicky = True
toc_object_entries = False
nitpick_ignore_regex = [('py:.*', '.*')]

# `make site` puts MathJax there, from a package: nothing is fetched when a page is read.
mathjax_path = 'mathjax/' + mathjax()[1]
mathjax3_config = {'options': {'enableMenu': False}}
myst_update_mathjax = True

html_theme = 'sphinx_book_theme'
html_static_path = ['_static']
html_favicon = '_static/icon.svg'
html_css_files = ['course.css']
html_js_files = ['map.js']
html_use_index = False
html_copy_source = True
html_show_sourcelink = True
html_sourcelink_suffix = ''
html_show_copyright = False
html_last_updated_fmt = None
html_permalinks_icon = '#'
html_theme_options = {
    'use_download_button': True,
    'use_fullscreen_button': False,
    'home_page_in_toc': True,
    'show_toc_level': 2,
    'show_navbar_depth': 1,
    'search_bar_text': 'Search the course',
    'pygments_light_style': 'a11y-high-contrast-light',
    'pygments_dark_style': 'a11y-high-contrast-dark',
}
if address := repository(ROOT):
    html_theme_options |= {
        'repository_url': address, 'repository_branch': branch(ROOT), 'path_to_docs': '',
        'use_repository_button': True,
        'launch_buttons': {'binderhub_url': 'https://mybinder.org',
                           'notebook_interface': 'jupyterlab'},
    }
    if address.startswith('https://github.com/'):
        html_theme_options['launch_buttons']['colab_url'] = 'https://colab.research.google.com'
