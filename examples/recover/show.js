// What the two pages have for show: each says 1, 2, 3 … to all, and counts whether
// it has heard each number of each page once and in order.
const $ = (id) => document.getElementById(id);
const state = (text) => { $('state').textContent = text; };
const last = new Map(); // by name
let count = 0, faults = 0;

function heard(line) {
  const [, name, number] = line.match(/^(\w+) (\d+)$/) ?? [];
  if (name && last.has(name) && Number(number) !== last.get(name) + 1) faults++;
  if (name) last.set(name, Number(number));
  $('heard').textContent = ++count;
  $('faults').textContent = faults;
  const li = document.createElement('li');
  li.value = count;
  li.textContent = line; // never innerHTML: others wrote it
  $('log').prepend(li);
  if ($('log').children.length > 20) $('log').lastChild.remove();
}

function talk() { // by a socket of its own, which stays
  const out = new WebSocket(location.origin.replace(/^http/, 'ws') + '/chat');
  const name = Math.random().toString(36).slice(2, 6);
  let number = 0;
  const timer = setInterval(() => { if (out.readyState === WebSocket.OPEN) out.send(`${name} ${++number}`); }, 250);
  out.onclose = () => { clearInterval(timer); setTimeout(talk, 1000); };
}
