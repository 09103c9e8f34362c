// pusher-js without WebSocket, in the way that is named: it connects, is in presence
// channels, talks to others, and is not cut by a reload; after a kill it comes back by
// itself.
import assert from 'node:assert/strict'
import PusherJS from 'pusher-js'
import { app, at, command, connect, end, got, options, reload, server, subscribe, unnoticed, until, watch } from './stage.mjs'

const way = process.argv[2]
// Without WebSocket, and with a word of life each second, which must be answered.
const without = (user) => ({
  ...options(user), httpHost: at.host, httpPort: at.port, enabledTransports: [way], activityTimeout: 1000, pongTimeout: 60_000,
})
const ann = await watch(new PusherJS(app.key, without('ann'))), eve = await watch(new PusherJS(app.key, without('eve'))), bob = await connect('bob')
assert.equal(ann.connection.connection.transport.name, way)

const members = []
const annRoom = await subscribe(ann, 'presence-room')
annRoom.bind('pusher:member_added', (m) => members.push(`+${m.id}`))
annRoom.bind('pusher:member_removed', (m) => members.push(`-${m.id}`))
assert.deepEqual([annRoom.members.me.id, annRoom.members.count], ['ann', 1])
const bobRoom = await subscribe(bob, 'presence-room')
await until('bob comes', () => members.join() === '+bob')
assert.equal(bobRoom.members.count, 2)
assert(bobRoom.trigger('client-wave', 1))
await got(annRoom, ['client-wave', 1, 'bob'])
for (let n = 0; n < 3; n++) {
  assert(annRoom.trigger('client-wave', n))
  await got(bobRoom, ['client-wave', n, 'ann'])
}
let status
eve.subscribe('private-x').bind('pusher:subscription_error', (e) => { status = e.status })
await until('a refusal', () => status === 403)

// More than a stream is read of, in every alphabet.
const text = 'aé✓😀"\\\n'.repeat(300)
for (let n = 0; n < 120; n++) await server.trigger(['presence-room'], 'big', { n, text })
const big = Array.from({ length: 120 }, (_, n) => ['big', { n, text }])
await got(annRoom, ...big)
await got(bobRoom, ...big)

await reload(annRoom, bobRoom)
await reload(annRoom, bobRoom)
assert(annRoom.trigger('client-wave', 'on'))
await got(bobRoom, ['client-wave', 'on', 'ann'])
unnoticed()
assert.equal(members.join(), '+bob')

for (const what of ['kill worker', 'kill broker']) {
  const was = ann.connection.socket_id
  for (const r of [annRoom, bobRoom]) r.got.length = 0
  await command(what)
  if (what === 'kill worker') await until('ann is back', () => ann.connection.state === 'connected' && ann.connection.socket_id !== was && annRoom.subscribed)
  await until('bob is back', () => bob.connection.state === 'connected' && bobRoom.subscribed)
  await until('they are heard', async () => {
    await server.trigger(['presence-room'], 'again', 1).catch(() => {})
    return [annRoom, bobRoom].every((r) => r.got.some(([event]) => event === 'again'))
  })
  assert.equal(ann.connection.connection.transport.name, way)
}
const left = []
bobRoom.bind('pusher:member_removed', (m) => left.push(m.id))
await until('both are in', () => bobRoom.members.count === 2)
ann.disconnect()
await until('ann leaves', () => left.join() === 'ann', 50_000) // half a minute, if she was between two polls
await end(false)
