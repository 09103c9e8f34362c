// laravel-echo in Node, with the broadcaster that the test names.
import assert from 'node:assert/strict'
import Echo from 'laravel-echo'
import PusherJS from 'pusher-js'
import { app, end, note, options, reload, server, until, unnoticed, watch } from './stage.mjs'

const broadcaster = process.argv[2]

async function connect(user) {
  const { channelAuthorization, userAuthentication, ...o } = options(user)
  const echo = new Echo({
    ...o, broadcaster, key: app.key, Pusher: PusherJS, withoutInterceptors: true,
    authEndpoint: channelAuthorization.endpoint.replace('/pusher/', '/broadcasting/'), auth: { headers: { Authorization: user } },
  })
  await watch(echo.connector.pusher)
  return echo
}

const subscribed = (channel) => new Promise((done, fail) => channel.subscribed(() => done(channel)).error(fail))
const ann = await connect('ann'), bob = await connect('bob')
assert.equal(ann.socketId(), ann.connector.pusher.connection.socket_id)

const heard = []
const hear = (what) => (data) => heard.push([what, data])
const expect = async (...want) => {
  await until(JSON.stringify(want), () => heard.length >= want.length)
  assert.deepEqual(heard.splice(0), want)
}

// What Laravel's events are called on the wire.
await subscribed(ann.channel('orders').listen('OrderShipped', hear('shipped')).listen('.custom', hear('custom')))
await subscribed(ann.private('App.Models.User.1').notification(hear('notification')).listenForWhisper('typing', hear('whisper')))
await subscribed(bob.private('App.Models.User.1'))
await subscribed(ann.encryptedPrivate('vault').listen('Opened', hear('opened')))
const room = ann.join('room').here((users) => hear('here')(users.map((u) => u.name))).joining((u) => hear('joining')(u.name)).leaving((u) => hear('leaving')(u.name))
await subscribed(room)
await expect(['here', ['ANN']])

async function everything() {
  await server.trigger('orders', 'App\\Events\\OrderShipped', { id: 7 })
  await server.trigger('orders', 'custom', { id: 8 }, { socket_id: bob.socketId() })
  await server.trigger('orders', 'custom', { id: 9 }, { socket_id: ann.socketId() }) // broadcast(...)->toOthers()
  await server.trigger('private-App.Models.User.1', 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', { invoice: 3 })
  await server.trigger('private-encrypted-vault', 'App\\Events\\Opened', { by: 'bob' })
  await expect(['shipped', { id: 7 }], ['custom', { id: 8 }], ['notification', { invoice: 3 }], ['opened', { by: 'bob' }])
  bob.private('App.Models.User.1').whisper('typing', { name: 'bob' })
  await expect(['whisper', { name: 'bob' }])
}

await everything()
await subscribed(bob.join('room'))
await expect(['joining', 'BOB'])
const flow = [ann.channel('orders').subscription, room.subscription]
flow.forEach(note)
await reload(...flow)
await everything()
bob.leave('room')
await expect(['leaving', 'BOB'])
unnoticed()
await end()
