'use strict'

const crypto = require('node:crypto')
const { once } = require('node:events')

// Every pair has a topic of its own. With one topic for the database the DHT would introduce laptop and phone to each
// other, and this is about devices that never meet.

/** Connects two devices over Hyperswarm and replicates both databases over the connection. */
async function connect(a, b) {
  const topic = crypto.randomBytes(32)
  const links = [once(a.swarm, 'connection'), once(b.swarm, 'connection')]
  const listening = a.swarm.join(topic, { server: true, client: false })
  await listening.flushed()
  const looking = b.swarm.join(topic, { server: false, client: true })
  const sockets = (await Promise.all(links)).map(([socket]) => socket)
  // Listened for before there is anything to hear.
  const synced = Promise.all([once(a.db, 'synced'), once(b.db, 'synced')])
  synced.catch(() => {})
  const streams = [a.db.replicate(sockets[0]), b.db.replicate(sockets[1])]
  console.log(`  ${a.name} and ${b.name} are connected`)
  return { a, b, sockets, streams, synced, discoveries: [listening, looking] }
}

/** Takes two devices apart and waits until both have noticed. */
async function disconnect({ a, b, sockets, discoveries }) {
  await Promise.all(discoveries.map((discovery) => discovery.destroy()))
  await Promise.all(sockets.map(ended))
  console.log(`  ${a.name} and ${b.name} have parted`)
}

function ended(socket) {
  if (socket.destroyed && socket.closed) return undefined
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.once('close', resolve)
    socket.destroy()
  })
}

module.exports = { connect, disconnect }
