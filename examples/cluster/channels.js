// As much of pusher-js as the page needs, with its names, so that the page works
// without the internet. With the real one, the page stays as it is:
//   <script src="https://js.pusher.com/8.6/pusher.min.js"></script>
class Pusher {
  #key; #options; #socket; #channels = new Map();
  connection = new Bindings();

  constructor(key, options) {
    this.#key = key;
    this.#options = options;
    this.#open();
  }

  subscribe(name) {
    const channel = new Channel(name, (event, data) => this.#send({ event, channel: name, data }));
    this.#channels.set(name, channel);
    if (this.connection.socket_id) this.#join(channel);
    return channel;
  }

  #open() {
    const { wsHost, wsPort, forceTLS } = this.#options;
    this.#become('connecting');
    this.#socket = new WebSocket(`${forceTLS ? 'wss' : 'ws'}://${wsHost}:${wsPort}/app/${this.#key}?protocol=7`);
    this.#socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.#socket.onclose = ({ code }) => {
      this.connection.socket_id = null;
      if (code >= 4000 && code < 4100) return this.#become('failed'); // the same would happen again
      this.#become('unavailable');
      setTimeout(() => this.#open(), 1000);
    };
  }

  #become(current) {
    const previous = this.connection.state;
    this.connection.state = current;
    this.connection.emit('state_change', { previous, current });
  }

  #send(message) { this.#socket.send(JSON.stringify(message)); }

  #hear({ event, channel, data, user_id }) {
    try { data = JSON.parse(data); } catch { /* it is text, or an object already */ }
    if (event === 'pusher:connection_established') {
      this.connection.socket_id = data.socket_id;
      this.#become('connected');
      this.#channels.forEach((c) => this.#join(c));
    } else if (event === 'pusher:ping') {
      this.#send({ event: 'pusher:pong' });
    } else {
      this.#channels.get(channel)?.hear(event, data, user_id);
    }
  }

  async #join(channel) {
    const { name } = channel, socket_id = this.connection.socket_id;
    let signed = {};
    if (/^(private|presence)-/.test(name)) {
      const body = new URLSearchParams({ socket_id, channel_name: name });
      const answer = await fetch(this.#options.channelAuthorization.endpoint, { method: 'POST', body });
      if (!answer.ok) return channel.emit('pusher:subscription_error', { status: answer.status });
      signed = await answer.json();
    }
    if (socket_id !== this.connection.socket_id) return; // it has been reconnected meanwhile
    channel.me = signed.channel_data && JSON.parse(signed.channel_data).user_id;
    this.#send({ event: 'pusher:subscribe', data: { channel: name, ...signed } });
  }
}

class Bindings {
  #handlers = [];
  bind(event, handler) { this.#handlers.push([event, handler]); return this; }
  emit(event, ...args) { this.#handlers.forEach(([e, handler]) => e === event && handler(...args)); }
}

class Channel extends Bindings {
  members = new Members();
  constructor(name, trigger) { super(); Object.assign(this, { name, trigger }); }

  hear(event, data, user_id) {
    if (event === 'pusher_internal:subscription_succeeded') {
      if (data.presence) this.members.reset(data.presence, this.me);
      this.emit('pusher:subscription_succeeded', this.members);
    } else if (event === 'pusher_internal:member_added') {
      this.emit('pusher:member_added', this.members.add(data));
    } else if (event === 'pusher_internal:member_removed') {
      this.emit('pusher:member_removed', this.members.remove(data));
    } else {
      this.emit(event, data, { user_id });
    }
  }
}

class Members {
  #all = new Map();
  get count() { return this.#all.size; }
  get(id) { return this.#all.get(id) ?? null; }
  each(handler) { this.#all.forEach(handler); }
  add({ user_id, user_info }) { const m = { id: user_id, info: user_info }; this.#all.set(user_id, m); return m; }
  remove({ user_id }) { const m = this.get(user_id); this.#all.delete(user_id); return m; }
  reset({ hash }, me) {
    this.#all = new Map(Object.entries(hash).map(([id, info]) => [id, { id, info }]));
    this.me = this.get(me);
  }
}
