"""The finished site in a real browser, headless.

Looks at every page at the width of a phone, and at some closely: maths, figures, search, map, dark.
"""
from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import threading
from pathlib import Path

from . import browser, site_links

DESKTOP, PHONE = (1280, 900), (375, 800)


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder):
    "A folder on a port of this machine -> its address"
    handler = functools.partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()


def check(folder, shots=None) -> int:
    "Look at a site, saying what was seen; `shots`: a folder for pictures. -> exit status"
    folder = Path(folder)
    if not (folder / 'index.html').is_file():
        print(f'error: there is no site in {folder}: run `make site`')
        return 1
    wrong = site_links.broken(folder)
    well = 'every link leads somewhere, nothing comes from elsewhere, every picture has words'
    told = site_links.count(wrong) if wrong else well
    print(f'links: {len(site_links.pages(folder))} pages, {told}')
    if program := browser.find():
        with served(folder) as address, browser.started(program) as socket:
            wrong += asyncio.run(look(socket, address, folder, shots))
    else:
        print('browser: there is none here (Chromium or Chrome; CHROME=PATH names one), '
              'so pages were read, not seen')
    for line in wrong:
        print(f'  {line}')
    print('all well' if not wrong else site_links.count(wrong))
    return 1 if wrong else 0


async def look(socket, address, folder, shots) -> list[str]:
    from tornado.websocket import websocket_connect
    tab = browser.Tab(await websocket_connect(socket, max_message_size=1 << 28), address)
    await tab.open()
    if shots:
        Path(shots).mkdir(parents=True, exist_ok=True)
    wrong = []

    async def seen(what, good, picture=None):
        print(f'{what}: {"yes" if good else "NO"}', flush=True)
        if not good:
            wrong.append(f'{tab.page}: {what}: no')
        if picture and shots:
            await tab.shoot(Path(shots, f'{picture}.png'))

    for part in (home, chapter, search, chapter_map, dark, phone):
        await part(tab, seen, folder)
    return wrong + list(dict.fromkeys(tab.errors))


def chapter_pages(folder) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in sorted(Path(folder, 'nbs').glob('*.html'))]


async def home(tab, seen, folder):
    await tab.size(*DESKTOP)
    await tab.go('index.html')
    links = await tab.ask("new Set([...document.querySelectorAll('nav a, .bd-sidebar-primary a')]"
                          ".map(a => a.pathname).filter(p => p.startsWith('/nbs/'))).size")
    n = len(chapter_pages(folder))
    await seen(f'home: the menu leads to all {n} chapters', links == n, 'home-light')


FIGURES = '''(async () => {
    const all = [...document.querySelectorAll('.cell_output img')];
    for (const i of all) {
        i.loading = 'eager';
        i.scrollIntoView();
        await i.decode().catch(() => 0);
    }
    const wide = i => Math.min(i.naturalWidth, i.getBoundingClientRect().width);
    return all.filter(i => wide(i) > 50 && i.alt).length;
})()'''


async def chapter(tab, seen, folder):
    "The first chapter with both formulas and figures."
    texts = {p: Path(folder, p).read_text(encoding='utf-8') for p in chapter_pages(folder)}
    page = next((p for p, t in texts.items() if 'class="math' in t and '_images/' in t), None)
    if page is None:
        await seen('a chapter with formulas and figures', False)
        return
    await tab.go(page)
    formulas = await tab.ask("document.querySelectorAll('.math').length")
    done = await tab.until(f"document.querySelectorAll('.math mjx-container').length >= {formulas}")
    bad = await tab.ask("document.querySelectorAll('mjx-merror, [data-mjx-error]').length")
    await seen(f'{page}: {formulas} formulas are typeset', done and not bad, 'chapter')
    figures = await tab.ask(FIGURES)
    n = await tab.ask("document.querySelectorAll('.cell_output img').length")
    await tab.ask("document.querySelector('.cell_output img').scrollIntoView({block: 'center'})")
    await seen(f'{page}: {n} figures are visible and have words', n > 0 and figures == n,
               'chapter-figure')
    ends = await tab.ask("!!document.querySelector('.prev-next-area a.right-next, a.right-next')")
    await seen(f'{page}: it leads to the next', ends)
    copies = "[...document.querySelectorAll('a[download]')].filter(a => a.href.endsWith('.ipynb'))"
    await seen(f'{page}: the notebook can be downloaded', await tab.ask(f'{copies}.length > 0'))


async def search(tab, seen, folder):
    await tab.go('search.html?q=broadcasting')
    results = '#search-results ul.search > li'
    await tab.until(f"document.querySelectorAll('{results}').length > 0 "
                    "&& /found/.test(document.querySelector('#search-results').textContent)")
    found = await tab.ask(f"[...document.querySelectorAll('{results} > a')].map(a => a.pathname)")
    await asyncio.sleep(1)  # excerpts come later
    await seen(f'search: {len(set(found))} pages hold "broadcasting", chapters among them',
               any(p.startswith('/nbs/') for p in found), 'search')


LONGEST = '''(() => {
    const needs = box => box.dataset.needs.split(' ').length;
    const all = [...document.querySelectorAll('.course-map .chapter')];
    const box = all.sort((a, b) => needs(b) - needs(a))[0];
    box.scrollIntoView({block: 'center'});
    const r = box.getBoundingClientRect();
    return {x: r.x + r.width / 2, y: r.y + r.height / 2, id: box.id, href: box.href.baseVal,
            needs: needs(box)};
})()'''
CLICK = '''document.getElementById('%s').dispatchEvent(
    new MouseEvent('click', {bubbles: true, cancelable: true, view: window}))'''


async def chapter_map(tab, seen, folder):
    "Point at the box that needs most: as many light up as it says, and a click opens it."
    await tab.go('map.html')
    box = await tab.ask(LONGEST)
    at = {'x': box['x'], 'y': box['y']}
    await tab.call('Input.dispatchMouseEvent', type='mouseMoved', **at)
    lit = await tab.ask("document.querySelectorAll('.course-map .chapter.lit').length")
    await seen(f'map: {box["id"]} lights up the {box["needs"]} chapters it builds on',
               lit == box['needs'] + 1)
    await tab.size(DESKTOP[0], 1400)
    await tab.go(f'map.html#{box["id"]}')
    lit = await tab.ask("document.querySelectorAll('.course-map .chapter.lit').length")
    await seen(f'map.html#{box["id"]} shows the same', lit == box['needs'] + 1, 'map')
    await tab.size(*DESKTOP)
    await tab.go('map.html')
    await tab.ask(CLICK % box['id'])
    there = f"location.pathname.endsWith('{box['href']}') && document.readyState == 'complete'"
    await seen(f'map: a click opens chapter {box["id"]}', await tab.until(there))


BRIGHT = '''(c => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
    return .3 * r + .6 * g + .1 * b;
})(getComputedStyle(document.body).%s)'''


async def dark(tab, seen, folder):
    await tab.ask("localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark')")
    pages = {'index.html': 'home-dark', 'map.html': 'map-dark',
             chapter_pages(folder)[-1]: 'chapter-dark'}
    for page, picture in pages.items():
        await tab.go(page)
        paper, ink = [await tab.ask(BRIGHT % part) for part in ('backgroundColor', 'color')]
        await seen(f'{page}: light on dark when asked for', paper < 60 and ink > 180, picture)
    await tab.ask("localStorage.clear()")


async def phone(tab, seen, folder):
    "No page is wider than a phone."
    await tab.size(*PHONE, scale=2)
    wide = []
    pages = [p.relative_to(Path(folder).resolve()).as_posix() for p in site_links.pages(folder)]
    named = {'index.html': 'phone-home', 'map.html': 'phone-map', 'results.html': 'phone-results',
             'nbs/01_matmul.html': 'phone-chapter'}
    for page in pages:
        await tab.go(page)
        width = await tab.ask('document.documentElement.scrollWidth')
        if width > PHONE[0]:
            wide.append(f'{page} ({width} px)')
        if page in named:
            await tab.until("!document.querySelector('.math:not(:has(mjx-container))')")
            await seen(f'phone: {page} fits {PHONE[0]} px', width <= PHONE[0], named[page])
    await seen(f'phone: none of {len(pages)} pages is wider than {PHONE[0]} px'
               + (f', but {", ".join(wide[:8])}' if wide else ''), not wide)
