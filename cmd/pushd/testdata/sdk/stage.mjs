// What the scenarios share: the app's back end with Pusher's server SDK, clients
// with Pusher's and Laravel's browser SDKs, and the reload, which the test that
// runs a scenario does when it is asked to on standard output.
import assert from 'node:assert/strict'
import http from 'node:http'
import https from 'node:https'
import { createRequire } from 'node:module'
import readline from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import PusherJS from 'pusher-js'
import Pusher from 'pusher'

const env = (name) => process.env[name] ?? assert.fail(`${name} is not set`)
export const app = { appId: env('APP_ID'), key: env('APP_KEY'), secret: env('APP_SECRET') }
export const at = { host: '127.0.0.1', port: Number(env('PORT')) }

/** Behind TLS, with whatever is the SDKs' default there. */
const secure = process.env.SECURE === '1'
export const way = secure ? { wssPort: at.port } : { wsPort: at.port, forceTLS: false }

/** One connection for all requests, so that they are in order. */
const agent = new (secure ? https : http).Agent({ keepAlive: true, maxSockets: 1 })

export const server = new Pusher({
  ...app, ...at, agent, useTLS: secure,
  encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64'),
})

const files = { '/pusher.js': 'pusher-js/dist/web/pusher-with-encryption.min.js', '/echo.js': 'laravel-echo/iife' }
const { resolve } = createRequire(import.meta.url)

/** Serves what an app's back end has: who the user is, stands in "Authorization". */
export async function backEnd(page = '') {
  const { readFile } = await import('node:fs/promises')
  const site = http.createServer(async (req, res) => {
    const path = new URL(req.url, 'http://x').pathname
    const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' }
    if (req.method === 'OPTIONS') return res.writeHead(204, cors).end()
    if (files[path]) return res.end(await readFile(resolve(files[path])))
    if (path === '/') return res.setHeader('Content-Type', 'text/html'), res.end(page)
    if (req.method === 'GET') return res.writeHead(404).end()
    const body = new URLSearchParams((await req.toArray()).join(''))
    const answer = authorize(path, body, req.headers.authorization)
    res.writeHead(answer ? 200 : 403, { ...cors, 'Content-Type': 'application/json' }).end(JSON.stringify(answer))
  })
  await new Promise((ready) => site.listen(0, '127.0.0.1', ready))
  return { url: `http://127.0.0.1:${site.address().port}`, close: () => { site.close(); site.closeAllConnections() } }
}

function authorize(path, body, user) {
  const id = body.get('socket_id'), channel = body.get('channel_name')
  if (!user || user === 'eve') return null
  if (path === '/pusher/user-auth') return server.authenticateUser(id, { id: user, name: user, watchlist: ['ann', 'bob'].filter((w) => w !== user) })
  return server.authorizeChannel(id, channel, channel.startsWith('presence-') ? { user_id: user, user_info: { name: user.toUpperCase() } } : undefined)
}

const back = await backEnd()
const all = []

/** The options of a client of that user; they are those of the browser too. */
export const options = (user) => ({
  wsHost: at.host, ...way, enabledTransports: ['ws', 'wss'], cluster: 'x', disableStats: true,
  channelAuthorization: { endpoint: back.url + '/pusher/auth', headers: { Authorization: user } },
  userAuthentication: { endpoint: back.url + '/pusher/user-auth', headers: { Authorization: user } },
})

/** Watches a client: it must connect once and stay connected. */
export async function watch(client) {
  client.states = []
  client.connection.bind('state_change', ({ current }) => client.states.push(current))
  client.connection.bind('error', (e) => client.states.push(JSON.stringify(e)))
  all.push(client)
  await until('connected', () => client.connection.state === 'connected')
  client.states.length = 0
  client.was = client.connection.socket_id
  return client
}

export const connect = (user) => watch(new PusherJS(app.key, options(user)))

/** Subscribes, and notes all events but the SDK's own. */
export async function subscribe(client, name) {
  const channel = client.subscribe(name)
  note(channel)
  await until(`subscribed to ${name}`, () => channel.subscribed)
  return channel
}

/** Notes the events of a channel; bind_global() is not told who sent them. */
export function note(channel) {
  channel.got = []
  const emit = channel.emit
  channel.emit = function (event, data, meta) {
    if (!event.startsWith('pusher')) channel.got.push(meta?.user_id ? [event, data, meta.user_id] : [event, data])
    return emit.apply(channel, arguments)
  }
}

export async function until(what, ok, ms = 20_000) {
  for (const end = Date.now() + ms; !(await ok()); await sleep(5)) {
    if (Date.now() > end) assert.fail(`never happened: ${typeof what === 'function' ? what() : what}`)
  }
}

/** Waits for exactly these events, and takes them. */
export async function got(channel, ...want) {
  await until(() => `${want.length} events on ${channel.name}, there are ${channel.got.length}`, () => channel.got.length >= want.length)
  assert.deepEqual(channel.got.splice(0), want)
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

/** Has the test do something. */
export async function command(what) {
  console.log(what)
  assert.equal((await lines.next()).value, 'done')
}

/** Has the server replaced, while the back end keeps sending to the channels. */
export async function reload(...channels) {
  for (const c of channels) c.got.length = 0
  const names = [...new Set(channels.map((c) => c.name))]
  let sent = 0, over = false
  const sending = (async () => {
    for (let after = 0; after < 10; after += over) await server.trigger(names, 'flow', sent++)
  })()
  await command('reload')
  over = true
  await sending
  const want = Array.from({ length: sent }, (_, i) => ['flow', i])
  for (const c of channels) await got(c, ...want)
  unnoticed()
}

/** No client has seen its connection end, begin again or complain. */
export function unnoticed() {
  for (const c of all) {
    assert.deepEqual(c.states, [], 'the connection changed')
    assert.equal(c.connection.socket_id, c.was)
  }
}

export async function end(quiet = true) {
  if (quiet) unnoticed()
  for (const c of all) c.disconnect()
  back.close()
  agent.destroy()
  console.log('ok')
  process.exit() // the SDK's timers would keep it
}
