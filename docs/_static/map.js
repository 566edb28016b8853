// The map of the chapters: pointing at a box lights up all that it builds on. Without this script the boxes are links.
document.addEventListener('DOMContentLoaded', () => {
  const map = document.querySelector('.course-map');
  if (!map) return;
  const note = document.querySelector('.map-note');
  const boxes = [...map.querySelectorAll('.chapter')];
  const byNumber = Object.fromEntries(boxes.map(box => [box.id, box]));
  let chosen = null;  // stays lit when the pointer leaves

  const link = box => {
    const a = document.createElement('a');
    a.href = box.href.baseVal;
    a.textContent = box.dataset.title;
    return a;
  };

  function tell(box) {
    note.replaceChildren();
    if (!box) return;
    const needs = box.dataset.needs.split(' ').filter(Boolean).map(n => byNumber[n]);
    note.append(link(box), needs.length ? ' builds on ' : ' builds on no other chapter.');
    needs.forEach((need, i) => {
      const a = link(need);
      a.title = a.textContent;
      a.textContent = need.id;
      note.append(a, i < needs.length - 1 ? ', ' : '.');
    });
  }

  function show(box) {
    const lit = new Set(box ? [box.id, ...box.dataset.needs.split(' ')] : []);
    map.classList.toggle('chosen', !!box);
    boxes.forEach(b => {
      b.classList.toggle('lit', lit.has(b.id));
      b.classList.toggle('here', b === box);
    });
    map.querySelectorAll('.edge').forEach(e => {
      e.classList.toggle('lit', lit.has(e.dataset.from) && lit.has(e.dataset.to));
    });
    tell(box);
  }

  boxes.forEach(box => {
    let touched = false;
    box.addEventListener('pointerdown', e => { touched = e.pointerType === 'touch'; });
    box.addEventListener('pointerenter', e => { if (e.pointerType !== 'touch') show(box); });
    box.addEventListener('pointerleave', e => { if (e.pointerType !== 'touch') show(chosen); });
    box.addEventListener('focus', () => show(box));
    box.addEventListener('blur', () => show(chosen));
    box.addEventListener('click', e => {  // a finger cannot point: its first tap shows, its second opens
      if (touched && chosen !== box) {
        e.preventDefault();
        chosen = box;
        show(box);
      }
    });
  });

  const fromAddress = () => {
    chosen = byNumber[decodeURIComponent(location.hash.slice(1))] || null;
    show(chosen);
    if (chosen) chosen.scrollIntoView({ block: 'center' });
  };
  window.addEventListener('hashchange', fromAddress);
  window.addEventListener('load', fromAddress);  // after the browser's own jump
  fromAddress();
});
