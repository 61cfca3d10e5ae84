// Pictures of accounts, whose addresses anybody may have written. A picture lies over a letter, which stands until there is one.

// pictureOf returns the address of a picture that a page may load, null for none. None is loaded from the host of this page, whatever its port:
// the browser would send it the session, and ask for a password in this page's name.
export function pictureOf(text) {
  let url;
  try { url = new URL(text); } catch { return null; }
  return /^https?:$/.test(url.protocol) && url.hostname !== location.hostname ? url.href : null;
}

// showPictures loads the pictures below a node that may be loaded.
export function showPictures(root) {
  for (const img of root.querySelectorAll('.face img[data-src]')) {
    const address = pictureOf(img.dataset.src);
    img.removeAttribute('data-src');
    if (address) img.src = address;
    else img.remove();
  }
}

document.addEventListener('load', ({ target }) => { if (target.matches?.('.face img')) target.classList.add('loaded'); }, true);
document.addEventListener('error', ({ target }) => { if (target.matches?.('.face img')) target.remove(); }, true);
