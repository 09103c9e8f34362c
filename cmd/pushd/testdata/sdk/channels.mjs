// pusher-js in Node: channels of every kind.
import assert from 'node:assert/strict'
import { connect, end, got, note, reload, server, subscribe, until, unnoticed } from './stage.mjs'

const ann = await connect('ann'), bob = await connect('bob'), bobsPhone = await connect('bob'), eve = await connect('eve')

// Public: everyone, or everyone but one; the number of subscribers.
const annNews = await subscribe(ann, 'news'), bobNews = await subscribe(bob, 'news')
await until('two subscribers', () => annNews.subscriptionCount === 2 && bobNews.subscriptionCount === 2)
await server.trigger('news', 'hello', { text: '<b>ü✓</b>' })
await server.trigger('news', 'others', [1], { socket_id: ann.connection.socket_id })
await server.trigger('news', 'last', 'text')
await got(annNews, ['hello', { text: '<b>ü✓</b>' }], ['last', 'text'])
await got(bobNews, ['hello', { text: '<b>ü✓</b>' }], ['others', [1]], ['last', 'text'])

// Private: only with the back end's word; clients talk to each other.
const annOrders = await subscribe(ann, 'private-orders'), bobOrders = await subscribe(bob, 'private-orders')
const refused = eve.subscribe('private-orders')
let status
refused.bind('pusher:subscription_error', (e) => { status = e.status })
await until('a refusal', () => status === 403)
assert(annOrders.trigger('client-typing', { by: 'ann' }))
await got(bobOrders, ['client-typing', { by: 'ann' }])

// Presence: a user is one member, however many connections there are.
const annRoom = await subscribe(ann, 'presence-room')
const members = []
annRoom.bind('pusher:member_added', (m) => members.push(['added', m.id, m.info]))
annRoom.bind('pusher:member_removed', (m) => members.push(['removed', m.id]))
assert.deepEqual([annRoom.members.me.id, annRoom.members.me.info, annRoom.members.count], ['ann', { name: 'ANN' }, 1])
const bobRoom = await subscribe(bob, 'presence-room')
await until('bob comes', () => members.length > 0)
const phoneRoom = await subscribe(bobsPhone, 'presence-room')
assert.equal(phoneRoom.members.count, 2)
assert.deepEqual(phoneRoom.members.get('ann'), { id: 'ann', info: { name: 'ANN' } })
assert(phoneRoom.trigger('client-wave', 1))
await got(annRoom, ['client-wave', 1, 'bob'])
await got(bobRoom, ['client-wave', 1, 'bob'])

// Encrypted: the server passes on what it cannot read.
const annSafe = await subscribe(ann, 'private-encrypted-safe')
await server.trigger('private-encrypted-safe', 'secret', { n: 42 })
await got(annSafe, ['secret', { n: 42 }])

// Cache: the last event is there for those who come late.
let misses = 0
const annCache = ann.subscribe('cache-rates')
note(annCache)
annCache.bind('pusher:cache_miss', () => misses++)
await until('a cache miss', () => misses === 1)
await server.trigger('cache-rates', 'rate', { eur: 1 })
await server.trigger('cache-rates', 'rate', { eur: 2 })
await got(annCache, ['rate', { eur: 1 }], ['rate', { eur: 2 }])
const bobCache = await subscribe(bob, 'cache-rates')
await got(bobCache, ['rate', { eur: 2 }])

await reload(annNews, bobNews, annOrders, bobOrders, annRoom, bobRoom, phoneRoom, annCache, bobCache)

// All of it goes on.
await server.trigger('private-encrypted-safe', 'secret', { n: 43 })
await got(annSafe, ['secret', { n: 43 }])
assert(bobOrders.trigger('client-typing', { by: 'bob' }))
await got(annOrders, ['client-typing', { by: 'bob' }])
assert(annRoom.trigger('client-wave', 2))
await got(phoneRoom, ['client-wave', 2, 'ann'])
await got(bobRoom, ['client-wave', 2, 'ann'])
bob.unsubscribe('presence-room')
bobsPhone.unsubscribe('presence-room')
await until('bob leaves', () => members.length > 1)
await subscribe(bob, 'presence-room')
await until('bob comes back', () => members.length > 2)
assert.deepEqual(members, [['added', 'bob', { name: 'BOB' }], ['removed', 'bob'], ['added', 'bob', { name: 'BOB' }]])
const phoneCache = await subscribe(bobsPhone, 'cache-rates')
await until('the cached event', () => phoneCache.got.length === 1)
assert.equal(phoneCache.got[0][0], 'flow')
bob.unsubscribe('news')
await until('one subscriber', () => annNews.subscriptionCount === 1)
unnoticed()
await end()
