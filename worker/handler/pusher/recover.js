/* What was sent while a Pusher client was away, for the stock pusher-js.
   A page loads this behind pusher-js. A bundle imports it and calls
   pushdRecover(Pusher) before it makes a client. */
(function (root) {
  'use strict'

  // A channel object outlives its connection, and is gone once the page has
  // unsubscribed: so it is where the position in the channel is kept.
  function recover(Pusher) {
    var runtime = Pusher.Runtime, create = runtime.createWebSocket
    if (create.pushd) return
    runtime.createWebSocket = function (url) {
      var socket = create.call(runtime, url + '&recover=1'), send = socket.send, id
      function channel(name) {
        for (var i = 0; i < Pusher.instances.length; i++) {
          var client = Pusher.instances[i]
          if (id && client.connection.socket_id === id) return client.channel(name)
        }
      }
      socket.addEventListener('message', function (event) {
        try {
          var m = JSON.parse(event.data), c
          if (m.event === 'pusher:connection_established') id = JSON.parse(m.data).socket_id
          else if (c = channel(m.channel)) {
            if (m.epoch) c.pushdAt = m.epoch + ':' + m.offset
            if (m.event === 'pusher:recovered') c.emit('pushd:recovered', JSON.parse(m.data)) // of an encrypted channel
          }
        } catch (e) { /* pusher-js says what is wrong with it */ }
      })
      socket.send = function (text) {
        if (/^\{"event":"pusher:subscribe"/.test(text)) {
          var m = JSON.parse(text), c = channel(m.data.channel)
          if (c && c.pushdAt) m.data.recover = c.pushdAt
          text = JSON.stringify(m)
        }
        return send.call(socket, text)
      }
      return socket
    }
    runtime.createWebSocket.pushd = true
  }

  root.pushdRecover = recover
  if (root.Pusher) recover(root.Pusher)
})(typeof globalThis === 'object' ? globalThis : self)
