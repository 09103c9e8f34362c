// The app's back end with `pusher` of npm: a line of JSON says what to call, a
// line of JSON is what the SDK made of it.
import readline from 'node:readline'
import Pusher from 'pusher'

const { APP_ID, APP_KEY, APP_SECRET, PORT } = process.env
const sdk = new Pusher({
  appId: APP_ID, key: APP_KEY, secret: APP_SECRET, host: '127.0.0.1', port: PORT, useTLS: process.env.SECURE === '1',
  encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64'),
})
const json = async (answer) => (await answer).json()
const list = (info) => (info ? { info } : {})

const calls = {
  trigger: (c) => json(sdk.trigger(c.channels, c.event, c.data, { ...list(c.info), ...(c.socket_id && { socket_id: c.socket_id }) })),
  triggerBatch: (c) => json(sdk.triggerBatch(c.batch)),
  sendToUser: (c) => json(sdk.sendToUser(c.user, c.event, c.data)),
  terminateUserConnections: (c) => json(sdk.terminateUserConnections(c.user)),
  getChannels: (c) => json(sdk.get({ path: '/channels', params: { filter_by_prefix: c.prefix, ...list(c.info) } })),
  getChannelInfo: (c) => json(sdk.get({ path: `/channels/${c.channel}`, params: list(c.info) })),
  getPresenceUsers: (c) => json(sdk.get({ path: `/channels/${c.channel}/users` })),
  authorizeChannel: (c) => sdk.authorizeChannel(c.socket_id, c.channel),
  authorizePresenceChannel: (c) => sdk.authorizeChannel(c.socket_id, c.channel, { user_id: c.user, user_info: { name: c.name } }),
  authenticateUser: (c) => sdk.authenticateUser(c.socket_id, { id: c.user }),
  webhook: (c) => {
    const hook = sdk.webhook({ headers: { 'x-pusher-key': c.key, 'x-pusher-signature': c.signature, 'content-type': 'application/json' }, rawBody: c.body })
    return { valid: hook.isValid(), events: hook.isValid() ? hook.getEvents().map((e) => e.name) : [] }
  },
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const c = JSON.parse(line)
  let answer
  try {
    answer = { answer: await calls[c.call](c) }
  } catch (e) {
    answer = { error: `${e.message} ${e.body ?? ''}`, status: e.status }
  }
  console.log(JSON.stringify(answer))
}
