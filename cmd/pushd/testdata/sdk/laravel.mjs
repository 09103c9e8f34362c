// laravel-echo with the values of a .env file of examples/laravel, as Vite puts
// them into the bundle, and the auth endpoint in PHP.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'

const [file, auth] = process.argv.slice(2)
const values = {}
for (const line of (await readFile(file, 'utf8')).split('\n')) {
  const [, name, value] = line.match(/^([A-Z_]+)="?(.*?)"?$/) ?? []
  if (name) values[name] = value.replace(/\$\{(\w+)\}/, (_, other) => values[other])
}
const broadcaster = values.BROADCAST_CONNECTION
const of = (name) => values[`${broadcaster.toUpperCase()}_${name}`] ?? assert.fail(`${file} lacks ${name}`)
const vite = (name) => of(name) && values[`VITE_${broadcaster.toUpperCase()}_${name}`]
Object.assign(process.env, { APP_ID: of('APP_ID'), APP_KEY: of('APP_KEY'), APP_SECRET: of('APP_SECRET') })

const { end, note, reload, server, until, watch } = await import('./stage.mjs')
const { default: Echo } = await import('laravel-echo')
const { default: PusherJS } = await import('pusher-js')
assert.equal(vite('SCHEME'), 'http')
assert.equal(vite('HOST'), 'localhost')
assert.equal(vite('PORT'), '8080')

const connect = async (user) => {
  const echo = new Echo({
    broadcaster, key: vite('APP_KEY'), cluster: values.VITE_PUSHER_APP_CLUSTER, Pusher: PusherJS,
    wsHost: '127.0.0.1', wsPort: Number(process.env.PORT), // the test's own, for localhost:8080
    forceTLS: vite('SCHEME') === 'https', enabledTransports: ['ws', 'wss'], withoutInterceptors: true,
    authEndpoint: auth, auth: { headers: { 'X-User': user } },
  })
  await watch(echo.connector.pusher)
  return echo
}
const subscribed = (channel) => new Promise((done, fail) => channel.subscribed(done).error(fail))

const heard = []
const ann = await connect('1'), bob = await connect('2')
const room = ann.join('room.7').here((l) => heard.push(l.length)).joining((u) => heard.push(u.name)).listenForWhisper('typing', (e) => heard.push(e))
await subscribed(room)
await subscribed(ann.private('App.Models.User.1').listen('OrderShipped', (e) => heard.push(e)))
await subscribed(bob.join('room.7'))
await assert.rejects(subscribed(bob.private('App.Models.User.1')), (e) => e.status === 403)
bob.join('room.7').whisper('typing', 'x')
await until('whisper', () => heard.length === 3)
await server.trigger('private-App.Models.User.1', 'App\\Events\\OrderShipped', 7)
await until('all of it', () => heard.length === 4)
assert.deepEqual(heard, [1, 'User 2', 'x', 7])
note(room.subscription)
await reload(room.subscription)
await end()
