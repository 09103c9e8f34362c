'use strict';

const settings = JSON.parse(document.getElementById('settings').textContent);
const $ = (id) => document.getElementById(id);

// Connections. Each one comes back by itself, more and more patiently.

const sockets = new Map(); // path -> open WebSocket, or null

function listen(path, on) {
  let wait = 500; // ms
  const connect = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, 'ws') + path);
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

// Chat.

function chat() {
  listen(settings.chat, {
    open: () => { $('chat-send').disabled = false; },
    close: () => { $('chat-send').disabled = true; },
    message: (data) => append($('chat-log'), readable(data)),
  });
  $('chat-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const input = $('chat-text');
    const socket = sockets.get(settings.chat);
    if (!socket || input.value === '') return;
    socket.send(input.value);
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

function show({ workers, complete }) {
  const sum = (key) => workers.reduce((n, w) => n + w[key], 0);
  const now = { at: performance.now(), in: sum('messages_in'), out: sum('messages_out'), of: workers.length, complete };
  $('connections').textContent = whole.format(sum('connections'));
  $('counters-hint').textContent = complete ? 'All worker processes, every second.' : 'Only one worker process answers: the broker is away.';
  // A process more or less changes the sums without any traffic.
  if (before && before.of === now.of && before.complete === complete) rates(now);
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
  for (const key of ['connections', 'messages_in', 'messages_out']) tr.append(element('td', whole.format(w[key])));
  return tr;
}

for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
addEventListener('resize', () => document.querySelectorAll('.log').forEach(showNewest));
chat();
pushes();
counters();
