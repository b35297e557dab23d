'use strict'

const Protomux = require('protomux')
const c = require('compact-encoding')

const PROTOCOL = 'multi-hyperbee'

/**
 * Carries a replication stream over a connection that others use too (Corestore, say), as one Protomux channel with one
 * message: the session's bytes. Either side may attach later than the other.
 *
 * @param {import('./replication-stream.js').ReplicationStream} stream
 */
function attachToConnection(stream, connection) {
  const mux = Protomux.from(connection)
  let channel = null
  let message = null
  let speaking = false

  const open = () => {
    if (stream.destroyed || channel !== null || connection.destroyed) return
    channel = mux.createChannel({ protocol: PROTOCOL, onopen, onclose, ondrain })
    // The connection is going: its close ends the stream.
    if (channel === null) return
    message = channel.addMessage({ encoding: c.raw, onmessage })
    channel.open()
  }
  // Both sides are here. Before that nothing is pulled from the core, so that nothing is lost if we are refused.
  const onopen = () => {
    speaking = true
    stream.on('data', (bytes) => {
      if (channel !== null && !message.send(bytes)) stream.pause()
    })
  }
  const onmessage = (bytes) => {
    // The bytes lie in a buffer of the connection's.
    if (!stream.write(Buffer.from(bytes))) connection.pause()
  }
  const onclose = () => {
    channel = null
    // Refused before a word: the other side has not attached yet. When it does, it opens, and `pair` hears of it.
    if (speaking || connection.destroyed) stream.destroy()
  }
  const ondrain = () => {
    if (speaking) stream.resume()
  }

  stream.on('drain', () => connection.resume())
  stream.on('end', () => channel?.close())
  stream.on('close', () => {
    mux.unpair({ protocol: PROTOCOL })
    if (!connection.destroyed) connection.resume()
    channel?.close()
  })
  connection.on('close', () => stream.destroy())
  connection.on('error', (error) => stream.destroy(error))
  mux.pair({ protocol: PROTOCOL }, open)
  open()
}

module.exports = { attachToConnection }
