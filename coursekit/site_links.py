"""Does every link inside a finished site lead somewhere? Read from the pages, without a browser."""
from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {('a', 'href'), ('img', 'src'), ('script', 'src'), ('link', 'href'), ('source', 'src'),
         ('iframe', 'src'), ('form', 'action')}
LOADED = {('img', 'src'), ('script', 'src'), ('source', 'src'), ('iframe', 'src')}


class Page(HTMLParser):
    "The links of a page, its ids, what it loads from elsewhere, and its pictures without words."

    def __init__(self, text: str):
        super().__init__()
        self.links, self.ids, self.foreign, self.mute = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[k] for k in ('id', 'name') if given.get(k)}
        if tag == 'img' and not given.get('alt') and given.get('aria-hidden') != 'true':
            self.mute.append(given.get('src') or '?')
        for key, value in attrs:
            if (tag, key) in LINKS and value:
                parts = urlsplit(value)
                if not parts.scheme and not parts.netloc:
                    self.links.append(value)
                elif parts.scheme != 'data' and ((tag, key) in LOADED or is_style(tag, given)):
                    self.foreign.append(value)


def is_style(tag, given) -> bool:
    return tag == 'link' and given.get('rel') in ('stylesheet', 'preload', 'icon', 'shortcut icon')


def pages(folder) -> dict[Path, Page]:
    "The pages of a site; what themes keep in `_static` is none."
    folder = Path(folder).resolve()
    found = sorted(folder.rglob('*.html'))
    found = [p for p in found if p.relative_to(folder).parts[0] != '_static']
    return {p: Page(p.read_text(encoding='utf-8')) for p in found}


def broken(folder) -> list[str]:
    """What is wrong with a site's pages: a link to nothing, something loaded from another host, a
    picture without words. -> a line for each, naming page and target"""
    folder, wrong = Path(folder).resolve(), []
    found = pages(folder)
    for path, page in found.items():
        name = path.relative_to(folder).as_posix()
        reasons = (reason(link, path, folder, found) for link in page.links)
        wrong += [f'{name}: {why}' for why in reasons if why]
        wrong += [f'{name}: loads {src} from another host' for src in page.foreign]
        wrong += [f'{name}: the picture {src} has no words (alt)' for src in page.mute]
    return wrong


def count(wrong: list[str]) -> str:
    return f'{len(wrong)} thing{"s" * (len(wrong) != 1)} wrong'


def reason(link: str, page: Path, folder: Path, found) -> str:
    "Why a link leads nowhere; empty when it does not."
    parts = urlsplit(link)
    path, anchor = unquote(parts.path), unquote(parts.fragment)
    base = folder if path.startswith('/') else page.parent
    target = (base / path.lstrip('/')).resolve() if path else page
    target = target / 'index.html' if target.is_dir() else target
    if not target.is_relative_to(folder) or not target.is_file():
        return f'{link}: there is no such file'
    if anchor and target in found and anchor not in found[target].ids and anchor != 'top':
        return f'{link}: that page has no place called #{anchor}'
    return ''
