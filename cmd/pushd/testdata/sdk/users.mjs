// pusher-js in Node: users who sign in.
import assert from 'node:assert/strict'
import { connect, end, reload, server, subscribe, until, unnoticed } from './stage.mjs'

const ann = await connect('ann'), annsPhone = await connect('ann'), bob = await connect('bob'), guest = await connect('eve')
const seen = []
for (const name of ['online', 'offline']) {
  ann.user.watchlist.bind(name, (e) => seen.push([name, ...e.user_ids]))
}
const mail = new Map([ann, annsPhone, bob, guest].map((c) => [c, []]))
for (const [client, list] of mail) client.user.bind('mail', (m) => list.push(m))

for (const client of [ann, annsPhone]) {
  client.signin()
  await client.user.signinDonePromise
}
bob.signin()
await until('bob is online', () => seen.length === 2)
await until('all listen', () => [ann, annsPhone, bob].every((c) => c.user.serverToUserChannel?.subscribed))

const deliver = async (text) => {
  await server.sendToUser('ann', 'mail', text)
  await server.sendToUser('bob', 'mail', 'for bob: ' + text)
  await until('mail', () => mail.get(bob).length && mail.get(ann).length && mail.get(annsPhone).length)
  for (const [client, want] of [[ann, [text]], [annsPhone, [text]], [bob, ['for bob: ' + text]], [guest, []]]) {
    assert.deepEqual(mail.get(client).splice(0), want)
  }
}
await deliver('before')
await reload(await subscribe(ann, 'news'), await subscribe(guest, 'news'))
await deliver('after')
unnoticed()

// A user is thrown out of all connections, and of no one else's.
await server.terminateUserConnections('bob')
await until('bob is out', () => bob.connection.state !== 'connected')
await until('bob is offline', () => seen.length === 3)
assert.deepEqual(seen, [['offline', 'bob'], ['online', 'bob'], ['offline', 'bob']])
bob.disconnect()
bob.states.length = 0
bob.was = bob.connection.socket_id
await end()
