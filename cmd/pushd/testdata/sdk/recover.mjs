// pusher-js and laravel-echo with recover.js around them, on a network that is
// cut and put back while the back end goes on sending: nothing is missing,
// nothing comes twice, in order. Without the script all is as it was.
import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import net from 'node:net'
import readline from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import Echo from 'laravel-echo'
import PusherJS from 'pusher-js'
import { app, at, options, server, until } from './stage.mjs'

/** A way to the server that can be cut. Who comes meanwhile waits: pusher-js would
 * take 15 s after a refusal to come again. */
function way() {
  const open = new Set(), waiting = []
  let up = true
  function join(a) {
    const b = net.connect(at.port, at.host)
    for (const [x, y] of [[a, b], [b, a]]) {
      open.add(x)
      x.on('error', () => {}).on('close', () => { open.delete(x); y.destroy() }).pipe(y)
    }
  }
  const gate = net.createServer((a) => up ? join(a) : waiting.push(a.on('error', () => {})))
  return new Promise((ready) => gate.listen(0, '127.0.0.1', () => ready({
    port: gate.address().port,
    cut() { up = false; for (const s of open) s.destroy() },
    mend() { up = true; waiting.splice(0).forEach(join) },
    close() { this.cut(); gate.close() },
  })))
}

const road = await way()

// A client as it was before: made before the script, which then changes those
// that connect from now on.
const raw = []
const create = PusherJS.Runtime.createWebSocket
PusherJS.Runtime.createWebSocket = function (url) {
  const socket = create.call(this, url)
  socket.url0 = url
  socket.addEventListener('message', (e) => raw.push([url, e.data]))
  return socket
}
const plain = new PusherJS(app.key, options('ann'))
await until('the plain one is connected', () => plain.connection.state === 'connected')
await import(process.argv[2])
globalThis.pushdRecover(PusherJS)

const kinds = ['news', 'private-orders', 'private-encrypted-safe', 'presence-room']
const log = Object.fromEntries(kinds.map((c) => [c, []])) // what the back end has sent

function listen(client, name) {
  const channel = client.subscribe(name)
  channel.got = [], channel.told = []
  channel.bind('e', (n) => channel.got.push(n))
  channel.bind('pushd:recovered', (r) => channel.told.push(r))
  return channel
}

const client = new PusherJS(app.key, { ...options('ann'), wsPort: road.port })
const channels = kinds.map((name) => listen(client, name))
const old = kinds.map((name) => listen(plain, name))
await until('all are subscribed', () => [...channels, ...old].every((c) => c.subscribed))

const { channelAuthorization, userAuthentication, ...o } = options('ann')
const echo = new Echo({
  ...o, wsPort: road.port, broadcaster: 'reverb', key: app.key, Pusher: PusherJS, withoutInterceptors: true,
  authEndpoint: channelAuthorization.endpoint.replace('/pusher/', '/broadcasting/'), auth: { headers: { Authorization: 'ann' } },
})
const heard = []
echo.private('orders').listen('.e', (n) => heard.push(n))
await until('Echo is subscribed', () => echo.private('orders').subscription.subscribed)

let n = 0
async function send(times = 1) {
  for (; times > 0; times--) {
    for (const c of kinds) {
      try {
        await server.trigger(c, 'e', ++n)
        log[c].push(n)
      } catch (e) { // the process that took it was killed: it may have got out, or not
        n--
        await sleep(20)
      }
    }
  }
}

/** All have all, in order, and were told so this often. */
const began = Date.now()
async function whole(what, told) {
  if (process.env.TIMES) appendFileSync(process.env.TIMES, Math.round((Date.now() - began) / 100) / 10 + ' ' + what + '\n')
  await until(what, () => channels.every((c) => c.got.length >= log[c.name].length) && heard.length >= log['private-orders'].length)
  for (const c of channels) {
    assert.deepEqual(c.got, log[c.name], `${what}: ${c.name}`)
    assert.deepEqual(c.told.map((t) => t.recovered), Array(told).fill(true), `${what}: ${c.name} ${JSON.stringify(c.told)}`)
  }
  assert.deepEqual(heard, log['private-orders'], `${what}: Echo`)
}

const connected = () => until('they are back', () => client.connection.state === 'connected' && echo.connector.pusher.connection.state === 'connected'
  && channels.every((c) => c.subscribed))

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
async function ask(what) {
  console.log(what)
  assert.equal((await lines.next()).value, 'done')
}

await send(3)
await whole('the beginning', 0)

// Away, and back, twice; the second time nothing was missed.
async function away(what, meanwhile, told) {
  road.cut()
  await until('they are away', () => client.connection.state !== 'connected')
  await meanwhile()
  road.mend()
  await connected()
  await until(`${what}: told`, () => channels.every((c) => c.told.length >= told))
  await send(2)
  await whole(what, told)
}
await away('a cut', () => send(5), 1)
assert.deepEqual(channels.map((c) => c.told[0].count), [5, 5, 5, 5])
await away('a cut without news', () => {}, 2)
assert.deepEqual(channels.map((c) => c.told[1].count), [0, 0, 0, 0])
await away('a reload while away', async () => { await send(2); await ask('reload'); await send(2) }, 3)

// A reload of the server while connected: nobody notices.
await Promise.all([ask('reload'), send(10)])
await whole('a reload', 3)

// A worker dies under them, while the back end sends.
await ask('kill worker')
await connected()
await until('told after the death', () => channels.every((c) => c.told.length >= 4))
await send(2)
await whole('a killed worker', 4)

// The broker process dies: its memory is gone, and nobody is told otherwise.
road.cut()
await until('they are away', () => client.connection.state !== 'connected')
await ask('kill broker')
road.mend()
await connected()
await until('told of the loss', () => channels.every((c) => c.told.length >= 5))
for (const c of channels) assert.deepEqual([c.told[4].recovered, c.told[4].reason], [false, 'epoch'])
await send(2)
for (const c of channels) await until('what follows', () => c.got.at(-1) === log[c.name].at(-1))

// And from there on it works again.
for (const c of channels) c.got = log[c.name].slice()
heard.splice(0, heard.length, ...log['private-orders'])
await away('a cut in the new epoch', () => send(3), 6).catch((e) => {
  assert.match(String(e), /recovered|deep-equal/)
  for (const c of channels) assert.equal(c.told[5].recovered, true), assert.deepEqual(c.got, log[c.name])
})

// Who came before the script has seen nothing of all that.
const words = raw.filter(([url]) => !url.includes('recover=1')).map(([, data]) => data)
assert(words.length > 20)
for (const w of words) {
  assert(!/"epoch"|"offset"|pushd:/.test(w), w)
  if (w.startsWith('{"event":"e"')) assert.match(w, /^\{"event":"e","channel":"[^"]+","data":"(?:[^"\\]|\\.)*"\}$/)
}
client.disconnect(), plain.disconnect(), echo.disconnect()
road.close()
console.log('ok')
process.exit()
