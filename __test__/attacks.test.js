'use strict'

// Attacks on what carries a session in Node: sockets that say nothing, say what was said before, come and go, or read
// nothing. No `error` listener anywhere: what went wrong is asked of the stream afterwards. The sessions themselves are
// attacked in tests/attacks; which test stands against what says docs/security.md.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const net = require('node:net')
const { once } = require('node:events')
const { open, connect, converge } = require('./helpers.js')

/** As src/db/peer/mod.rs has it: seconds. */
const HANDSHAKE_PATIENCE = 20
/** A stream holds no more than this of what the other side does not read: lib/replication-stream.js, a read and a pull. */
const UNREAD_BYTES = 4 * 64 * 1024
/** What this process may have grown by after a thousand connections. */
const LOOP_BYTES = 48 << 20

const MILLISECOND = 1
const turn = (ms = MILLISECOND) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until `holds`, for a time that no machine is slow enough to need. */
async function until(holds, what) {
  const since = Date.now()
  while (!(await holds())) {
    assert.ok(Date.now() - since < 30_000, `${what} did not come`)
    await turn()
  }
}

/** A victim that listens, and an honest device that is connected all the time. */
async function scene(t) {
  const a = await open(t)
  const c = await open(t, ':memory:', { key: a.key })
  await a.put('begun', { n: 0 })
  connect(c, a)
  await converge(a, c)
  const taken = []
  const server = net.createServer((socket) => taken.push({ stream: a.replicate(socket) }))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address()
  /** A connection of the attacker's: its socket, and the victim's end of it. */
  const attack = async () => {
    const count = taken.length
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {}) // The attacker's own: it is cut off.
    await Promise.all([once(socket, 'connect'), until(() => taken.length > count, 'the connection')])
    t.after(() => socket.destroy())
    return { mine: socket, stream: taken[count].stream }
  }
  let n = 0
  const undisturbed = async () => {
    await a.put('k', { n: ++n })
    await converge(a, c)
    assert.equal((await c.get('k')).value.n, n)
  }
  const sound = async () => assert.deepEqual((await a.store.verify()).damages, [])
  return { a, c, attack, undisturbed, sound, server }
}

const errorOf = async (stream) => {
  await until(() => stream.closed, 'the end')
  return stream.errored
}

const handles = () =>
  fs.existsSync('/proc/self/fd')
    ? fs.readdirSync('/proc/self/fd').length
    : process.getActiveResourcesInfo().length

test('ERR_TIMEOUT: sockets that never finish their handshake are closed and leave no handle', async (t) => {
  const { attack, undisturbed, sound } = await scene(t)
  await undisturbed()
  const before = handles()
  const attackers = []
  for (let i = 0; i < 40; i++) {
    const attacker = await attack()
    // Half of them begin: a length, and a byte of what it announces.
    if (i % 2) attacker.mine.write(Buffer.from([0, 32, 1]))
    attackers.push(attacker)
  }
  for (let second = 0; second <= HANDSHAKE_PATIENCE; second++) {
    for (const { stream } of attackers) {
      await until(() => stream.id !== null, 'the session')
      if (!stream.destroyed) stream._tick()
    }
    if (second === HANDSHAKE_PATIENCE / 2) await undisturbed()
  }
  for (const { stream, mine } of attackers) {
    const error = await errorOf(stream)
    assert.equal(error?.code, 'ERR_TIMEOUT')
    assert.equal(error.message, 'the other side did not say who it is in time')
    await until(() => mine.destroyed, 'the end of the socket')
  }
  await until(() => handles() <= before, 'the last handle to close')
  await undisturbed()
  await sound()
})

test('ERR_AUTH: what was said on one connection opens nothing on the next', async (t) => {
  const { c, attack, undisturbed, sound } = await scene(t)
  const first = await attack()
  const honest = c.replicate(true)
  const said = []
  honest.on('data', (bytes) => {
    said.push(Buffer.from(bytes))
    if (!first.mine.destroyed) first.mine.write(bytes)
  })
  first.mine.on('data', (bytes) => honest.destroyed || honest.write(bytes))
  await once(honest, 'remote-feeds')
  first.mine.destroy()
  honest.destroy()
  const again = await attack()
  for (const bytes of said) again.mine.write(bytes)
  const error = await errorOf(again.stream)
  assert.equal(error?.code, 'ERR_AUTH')
  assert.match(error.message, /the Noise handshake failed at message 3/)
  assert.equal(again.stream.userData, null)
  await undisturbed()
  await sound()
})

test('connections that come and go in a loop leave no handle and little memory', async (t) => {
  const { c, attack, undisturbed, sound } = await scene(t)
  const come = async (count) => {
    for (let i = 0; i < count; i++) {
      const { mine, stream } = await attack()
      if (i % 4 === 1) mine.write(Buffer.from([0, 32, 1]))
      if (i % 4 === 2) mine.write(Buffer.alloc(100, 0xff))
      if (i % 4 === 3) {
        // The first message of a handshake that is one.
        const honest = c.replicate(true)
        honest.pipe(mine)
        await turn()
        honest.destroy()
      }
      mine.destroy()
      if (i % 50 === 0) await until(() => stream.closed, 'the end')
    }
    await undisturbed()
  }
  await come(200)
  const before = { handles: handles(), rss: process.memoryUsage().rss }
  await come(1000)
  await until(() => handles() <= before.handles + 1, 'the last handle to close')
  const grown = process.memoryUsage().rss - before.rss
  assert.ok(grown < LOOP_BYTES, `${grown} bytes`)
  await sound()
})

test('who reads nothing while we write holds up nobody, and little waits for it', async (t) => {
  const { a, attack, undisturbed, sound } = await scene(t)
  const d = await open(t, ':memory:', { key: a.key })
  const { mine, stream } = await attack()
  const honest = d.replicate(true)
  const give = (bytes) => honest.destroyed || honest.write(bytes)
  mine.on('data', give)
  honest.on('data', (bytes) => mine.destroyed || mine.write(bytes))
  await once(honest, 'remote-feeds')
  mine.off('data', give)
  mine.pause()
  const text = 'x'.repeat(1000)
  for (let n = 0; n < 20_000; n += 1000) {
    await Promise.all(Array.from({ length: 1000 }, (_none, i) => a.put(`k${n + i}`, { n, text })))
    assert.ok(stream.readableLength <= UNREAD_BYTES, `${stream.readableLength} bytes`)
    await undisturbed()
  }
  assert.equal(stream.destroyed, false)
  await sound()
})
