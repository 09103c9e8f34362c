'use strict';

const settings = JSON.parse(document.getElementById('settings').textContent);
const $ = (id) => document.getElementById(id);

// Connections. Each one comes back by itself, more and more patiently.

const sockets = new Map(); // path -> open WebSocket, or null
let met = false; // all of them have been open

function listen(path, on) {
  let wait = 500; // ms
  const connect = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, 'ws') + path + (on.query?.() ?? ''));
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      wait = 500;
      settle(path, socket);
      on.open?.(socket);
    };
    socket.onmessage = (event) => on.message?.(event.data);
    socket.onclose = () => {
      settle(path, null);
      on.close?.();
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(2 * wait, 8000);
    };
  };
  settle(path, null);
  connect();
}

function settle(path, socket) {
  sockets.set(path, socket);
  const live = [...sockets.values()].every(Boolean);
  $('status').textContent = live ? 'live' : 'connecting';
  $('status').classList.toggle('live', live);
  met ||= live;
  const away = met && ![...sockets.values()].some(Boolean);
  $('running').textContent = away ? 'does not answer. This page comes back with it.' : 'is running. Try it here.';
}

const readable = (data) => (typeof data === 'string' ? data : `${data.byteLength} bytes`);

// append adds a line to a log and keeps the last 100.
function append(log, ...parts) {
  const line = document.createElement('li');
  line.append(...parts);
  log.append(line);
  while (log.children.length > 100) log.firstChild.remove();
  showNewest(log);
  return line;
}

function showNewest(log) {
  log.scrollTop = log.scrollHeight;
}

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

// Chat. Where the room has a history, each message comes with its position: a page
// that is opened anew gets the last ones, one that was away what it has missed.

function chat() {
  let at = ''; // the position of the last message
  let live = false; // what was missed has come
  let opened = false;
  let own = []; // said since then: a client does not get its own, but for those that it missed
  const placed = (data) => {
    try {
      const m = JSON.parse(data);
      return typeof m.position === 'string' && typeof m.channel === 'string' ? m : null;
    } catch {
      return null; // a room without history, or bytes
    }
  };
  const show = (m) => {
    at = m.position;
    if (m.data === undefined && m.data_base64 === undefined) {
      live = true;
      if (m.recovered === false) append($('chat-log'), 'Some messages were missed here.').className = 'gap';
      return;
    }
    const said = m.data ?? `${atob(m.data_base64).length} bytes`;
    const mine = live ? -1 : own.indexOf(said);
    if (mine >= 0) own.splice(mine, 1);
    else append($('chat-log'), said);
    if (live) own = [];
  };
  listen(settings.chat, {
    query: () => {
      opened = live = false;
      return at ? `?after=${encodeURIComponent(at)}` : '?positions=1';
    },
    open: () => {
      opened = true;
      $('chat-send').disabled = false;
    },
    close: () => {
      if (!opened) at = ''; // it may be that the room's history is not ours to read
      $('chat-send').disabled = true;
    },
    message: (data) => {
      const m = placed(data);
      if (m) show(m);
      else append($('chat-log'), readable(data));
    },
  });
  $('chat-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const input = $('chat-text');
    const socket = sockets.get(settings.chat);
    if (!socket || input.value === '') return;
    socket.send(input.value);
    own.push(input.value);
    if (own.length > 100) own.shift();
    append($('chat-log'), input.value).className = 'mine';
    input.value = '';
  });
}

// Pushes. The first message of a connection tells its id.

function pushes() {
  let greeted = false;
  commands('');
  listen(`${settings.notify}?hello=1`, {
    open: () => { greeted = false; },
    message: (data) => {
      if (greeted) {
        append($('pushes'), element('span', readable(data)), element('time', new Date().toLocaleTimeString()));
        return;
      }
      greeted = true;
      commands(JSON.parse(data).id);
    },
  });
}

// quote makes text one word of a shell.
const quote = (text) => (/^[\w.\/:@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

const request = (path, body) => [
  `${settings.curl}${path}`,
  `-H "Authorization: Bearer ${settings.key}"`,
  "-H 'Content-Type: application/json'",
  `-d ${quote(JSON.stringify(body))}`,
].join(' \\\n  ');

function commands(id) {
  const { channel } = settings;
  $('channel').textContent = channel;
  $('connection').textContent = id || '…';
  $('command-cli').textContent = `pushctl publish ${quote(channel)} 'Hello from a terminal'`;
  $('command-publish').textContent = request('/v1/publish', { channel, data: 'Hello from curl' });
  $('command-send').textContent = request('/v1/send', { connection: id || '…', data: 'Hi' });
}

async function copy(button) {
  const source = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = 'Copied';
  } catch { // only pages from this machine or over HTTPS may write the clipboard
    getSelection().selectAllChildren(source);
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

// Counters.

const whole = new Intl.NumberFormat('en');
const history = new Array(60).fill(0); // messages a second over the last minute
let before = null; // the last totals, to make rates of

function counters() {
  listen(location.pathname, {
    open: () => { before = null; },
    message: (data) => show(JSON.parse(data)),
  });
}

// A process counts from its own start. Here its slot goes on to count when another
// process takes its place: what each has counted last stays in the sum.
const counted = new Map(); // "slot key" -> counts by generation; 'ended': of processes that were started again

const sum = (numbers) => [...numbers].reduce((n, m) => n + m, 0);

function total(w, key) {
  const name = `${w.name}/${w.slot} ${key}`;
  if (!counted.has(name)) counted.set(name, new Map([['ended', 0]]));
  const of = counted.get(name);
  const last = of.get(w.generation) ?? 0;
  if (w[key] < last) of.set('ended', of.get('ended') + last);
  of.set(w.generation, w[key]);
  return sum(of.values());
}

const totals = (key) => sum([...counted].filter(([name]) => name.endsWith(` ${key}`)).map(([, of]) => sum(of.values())));

function show({ workers, complete }) {
  for (const w of workers) {
    w.received = total(w, 'messages_in');
    w.sent = total(w, 'messages_out');
  }
  const now = { at: performance.now(), in: totals('messages_in'), out: totals('messages_out'), of: counted.size };
  $('connections').textContent = whole.format(sum(workers.map((w) => w.connections)));
  $('counters-hint').textContent = complete ? 'All worker processes, every second.' : 'Only one worker process answers: the broker is away.';
  // A slot more changes the sums without any traffic.
  if (before && before.of === now.of) rates(now);
  before = now;
  $('workers').replaceChildren(...workers.map(row));
}

function rates(now) {
  const seconds = (now.at - before.at) / 1000;
  const rate = (key) => Math.max(0, Math.round((now[key] - before[key]) / seconds));
  $('rate-in').textContent = whole.format(rate('in'));
  $('rate-out').textContent = whole.format(rate('out'));
  history.push(rate('in') + rate('out'));
  history.shift();
  const top = Math.max(10, ...history);
  const points = history.map((n, i) => `${i},${(19 - 18 * n / top).toFixed(2)}`);
  $('spark').firstElementChild.setAttribute('points', points.join(' '));
}

function row(w) {
  const tr = document.createElement('tr');
  tr.append(element('td', w.name), element('td', w.slot));
  for (const key of ['connections', 'received', 'sent']) tr.append(element('td', whole.format(w[key])));
  return tr;
}

for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
addEventListener('resize', () => document.querySelectorAll('.log').forEach(showNewest));
chat();
pushes();
counters();
