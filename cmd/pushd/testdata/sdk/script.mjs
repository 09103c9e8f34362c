// recover.js around pusher-js, on sockets that this script plays: what it asks
// of the server, and what it remembers, step by step. No server is there.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import PusherJS from 'pusher-js'

const sockets = []

/** What pusher-js gets for a WebSocket. */
class Socket extends EventTarget {
  constructor(url) {
    super()
    Object.assign(this, { url, sent: [] })
    sockets.push(this)
    queueMicrotask(() => this.onopen?.({}))
  }
  send(text) { this.sent.push(JSON.parse(text)) }
  close() { this.cut(1000) }
  cut(code = 1006) { this.onclose?.({ code, wasClean: code === 1000 }) }
  /** Plays a frame of the server. */
  says(frame) {
    const event = new MessageEvent('message', { data: typeof frame === 'string' ? frame : JSON.stringify(frame) })
    this.dispatchEvent(event)
    this.onmessage?.(event)
  }
}

const until = async (what, ok) => {
  for (const end = Date.now() + 20_000; !ok(); await sleep(2)) assert(Date.now() < end, `never happened: ${what}`)
}

const url = (u) => new URL(u).searchParams
PusherJS.Runtime.createWebSocket = (u) => new Socket(u)
await import(process.argv[2])
globalThis.pushdRecover(PusherJS)
globalThis.pushdRecover(PusherJS) // twice is once

let connections = 0
/** Makes a client, or waits for its next connection, which the server greets. */
async function greet(n) {
  await until(`socket ${n}`, () => sockets.length >= n)
  const s = sockets[n - 1]
  await until('it is open', () => s.onmessage)
  await sleep(2)
  s.id = `1.${++connections}`
  s.says({ event: 'pusher:connection_established', data: JSON.stringify({ socket_id: s.id, activity_timeout: 120 }) })
  return s
}
const options = { wsHost: 'x', wsPort: 1, forceTLS: false, enabledTransports: ['ws'], cluster: 'x', disableStats: true }
const make = () => {
  const client = new PusherJS('key', options)
  client.got = []
  return client
}
const subscribe = (client, name) => {
  const channel = client.subscribe(name)
  channel.bind_global((event, data) => client.got.push([name, event, data]))
  return channel
}
const asked = async (s, n) => {
  await until(`${n} words`, () => s.sent.length >= n)
  return s.sent.splice(0).map((m) => [m.event, m.data.channel, m.data.recover])
}
const succeeded = (channel, more) => ({ event: 'pusher_internal:subscription_succeeded', channel, data: '{}', ...more })
const event = (channel, data, offset, epoch = 'aaaaaa') => ({ event: 'e', channel, data: JSON.stringify(data), epoch, offset })

// The first time it asks for nothing, and says who it is.
const ann = make()
let s = await greet(1)
assert.equal(url(s.url).get('recover'), '1')
assert.equal(url(s.url).getAll('recover').length, 1)
assert.equal(url(s.url).get('protocol'), '7')
subscribe(ann, 'news'), subscribe(ann, 'quiet'), subscribe(ann, 'plain')
assert.deepEqual(await asked(s, 3), [['pusher:subscribe', 'news', undefined], ['pusher:subscribe', 'quiet', undefined], ['pusher:subscribe', 'plain', undefined]])
s.says(succeeded('news', { epoch: 'aaaaaa', offset: 7 }))
s.says(succeeded('quiet', { epoch: 'aaaaaa', offset: 7 }))
s.says(succeeded('plain'))
s.says(event('news', { n: 1, epoch: 'zzzzzz', offset: 99 }, 8))
s.says({ event: 'e', channel: 'plain', data: '"epoch":"zzzzzz","offset":99}' }) // words of an event are nothing to it
s.says('no JSON')
s.says('null')
assert.deepEqual(ann.got.filter(([, e]) => e === 'e').map(([c]) => c), ['news', 'plain'])

// It comes back with what it had, channel by channel.
s.cut()
s = await greet(2)
const order = await asked(s, 3)
assert.deepEqual(order.sort(), [['pusher:subscribe', 'news', 'aaaaaa:8'], ['pusher:subscribe', 'plain', undefined], ['pusher:subscribe', 'quiet', 'aaaaaa:7']])

// Cut in the middle of what it missed, it goes on there, and not where it would
// have been at the end.
s.says(succeeded('news'))
s.says(event('news', 2, 9))
s.cut()
s = await greet(3)
assert.deepEqual((await asked(s, 3)).sort()[0], ['pusher:subscribe', 'news', 'aaaaaa:9'])
s.says(succeeded('news'))
s.says(event('news', 3, 12))
ann.got.length = 0
s.says({ event: 'pushd:recovered', channel: 'news', data: '{"recovered":true,"count":1}', epoch: 'aaaaaa', offset: 15 })
assert.deepEqual(ann.got, [['news', 'pushd:recovered', { recovered: true, count: 1 }]])

// What cannot be had moves it to the new epoch.
s.says({ event: 'pushd:recovered', channel: 'quiet', data: '{"recovered":false,"reason":"epoch"}', epoch: 'bbbbbb', offset: 3 })
s.says(event('news', 4, 4, 'bbbbbb'))
s.cut()
s = await greet(4)
assert.deepEqual((await asked(s, 3)).sort(), [['pusher:subscribe', 'news', 'bbbbbb:4'], ['pusher:subscribe', 'plain', undefined], ['pusher:subscribe', 'quiet', 'bbbbbb:3']])
s.says(succeeded('news'))

// Who has left a channel begins anew.
ann.unsubscribe('news')
await until('unsubscribed', () => s.sent.length > 0)
assert.equal(s.sent.splice(0)[0].event, 'pusher:unsubscribe')
subscribe(ann, 'news')
assert.deepEqual(await asked(s, 1), [['pusher:subscribe', 'news', undefined]])
s.says(succeeded('news', { epoch: 'bbbbbb', offset: 20 }))

// Two clients of a page know nothing of each other.
const bob = make()
const b = await greet(5)
subscribe(bob, 'news')
assert.deepEqual(await asked(b, 1), [['pusher:subscribe', 'news', undefined]])
b.says(succeeded('news', { epoch: 'bbbbbb', offset: 21 }))
b.says(event('news', 5, 22, 'bbbbbb'))
s.cut()
s = await greet(6)
assert.deepEqual((await asked(s, 3)).sort()[0], ['pusher:subscribe', 'news', 'bbbbbb:20'])

// Nothing else that is sent changes.
bob.send_event('client-x', { recover: 1 }, 'news')
await until('sent', () => b.sent.length > 0)
assert.deepEqual(b.sent[0], { event: 'client-x', data: { recover: 1 }, channel: 'news' })
ann.disconnect()
bob.disconnect()
console.log('ok')
