'use strict'

// Attacks over Hyperswarm, on a DHT of this process: whoever connects to a device that shares its connections between
// Corestore and a database, opens our Protomux channel and says there what it likes. A Corestore replicates on the same
// connection, before and after ours; an honest device replicates all the time. No `error` listener anywhere but the
// attacker's own. Which test stands against what says docs/security.md.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const Hyperswarm = require('hyperswarm')
const Corestore = require('corestore')
const Protomux = require('protomux')
const c = require('compact-encoding')
const createTestnet = require('hyperdht/testnet')
const { open, directory, converge } = require('./helpers.js')

const PROTOCOL = 'multi-hyperbee'
/** As src/db/peer/mod.rs has it: seconds. */
const HANDSHAKE_PATIENCE = 20
/** A stream holds no more than this of what the other side does not read: lib/replication-stream.js, a read and a pull. */
const UNREAD_BYTES = 4 * 64 * 1024
/** What this process may have grown by after thousands of channels. */
const LOOP_BYTES = 48 << 20
const TIMEOUT = 120_000

const turn = (ms = 5) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(holds, what) {
  const since = Date.now()
  while (!(await holds())) {
    assert.ok(Date.now() - since < 30_000, `${what} did not come`)
    await turn()
  }
}

const handles = () =>
  fs.existsSync('/proc/self/fd')
    ? fs.readdirSync('/proc/self/fd').length
    : process.getActiveResourcesInfo().length

/** A victim in a swarm, and an honest device in it. */
async function scene(t) {
  const testnet = await createTestnet(3)
  t.after(() => testnet.destroy())
  const folder = directory(t)
  let stores = 0
  const corestore = () => {
    const store = new Corestore(path.join(folder, `${stores++}`))
    t.after(() => store.close())
    return store
  }
  const swarm = () => {
    const made = new Hyperswarm({ dht: testnet.createNode() })
    t.after(() => made.destroy())
    return made
  }
  const a = await open(t)
  const honest = await open(t, ':memory:', { key: a.key })
  const cores = corestore()
  const core = cores.get({ name: 'core' })
  await core.ready()

  /** The victim's ends, by who is at the other one. */
  const taken = new Map()
  const victim = swarm()
  let attachLate = null
  victim.on('connection', (connection) => {
    const of = { connection, stream: null }
    taken.set(connection.remotePublicKey.toString('hex'), of)
    const attach = [() => cores.replicate(connection), () => (of.stream = a.replicate(connection))]
    if (taken.size % 2 === 0) attach.reverse()
    if (attachLate === null) for (const one of attach) one()
    else attachLate.push(attach)
  })
  await victim.join(a.discoveryKey).flushed()

  const other = swarm()
  const honestCores = corestore()
  const copy = honestCores.get(core.key)
  other.on('connection', (connection) => {
    honestCores.replicate(connection)
    honest.replicate(connection)
  })
  other.join(a.discoveryKey, { server: false })
  let n = 0
  /** Database and Corestore of the honest device get what is new. */
  const undisturbed = async () => {
    await a.put('k', { n: ++n })
    await core.append(`block ${n}`)
    await converge(a, honest)
    assert.equal((await honest.get('k')).value.n, n)
    const block = await copy.get(core.length - 1, { timeout: 20_000 })
    assert.equal(block.toString(), `block ${n}`)
  }
  await until(() => honest.status().peers.some((peer) => peer.open), 'the honest device')
  await undisturbed()

  /** An attacker: its end, the victim's, and a Corestore beside it that must go on. */
  const attack = async () => {
    const attacker = swarm()
    const store = corestore()
    const shared = store.get(core.key)
    const [[connection]] = await Promise.all([
      once(attacker, 'connection'),
      attacker.join(a.discoveryKey, { server: false }).flushed()
    ])
    connection.on('error', () => {}) // The attacker's own: it may be cut off.
    store.replicate(connection)
    const name = attacker.keyPair.publicKey.toString('hex')
    await until(() => taken.has(name), 'the connection')
    /** What Corestore carries over this very connection. */
    const sharesOn = async () => {
      await core.append(`for ${name}`)
      const block = await shared.get(core.length - 1, { timeout: 20_000 })
      assert.equal(block.toString(), `for ${name}`)
      assert.equal(connection.destroyed, false)
    }
    const leave = async () => {
      await attacker.destroy()
      await store.close()
    }
    const mux = Protomux.from(connection)
    return { mine: connection, mux, theirs: taken.get(name), sharesOn, leave }
  }
  const late = () => {
    attachLate = []
    return () => {
      for (const attach of attachLate) for (const one of attach) one()
      attachLate = null
    }
  }
  const sound = async () => assert.deepEqual((await a.store.verify()).damages, [])
  return { a, attack, late, undisturbed, sound, key: a.key }
}

/** Opens our channel; `message` sends into it. */
async function channelOf(mux) {
  const channel = mux.createChannel({ protocol: PROTOCOL })
  const message = channel.addMessage({ encoding: c.raw, onmessage() {} })
  channel.open()
  assert.equal(await channel.fullyOpened(), true)
  return { channel, message }
}

/** Begins a channel of ours as often as anybody likes. `send` does not wait until it is open. */
function begin(mux, id = null) {
  const channel = mux.createChannel({ protocol: PROTOCOL, id, unique: false })
  const message = channel.addMessage({ encoding: c.raw, onmessage() {} })
  channel.open()
  return { close: () => channel.close(), send: (bytes) => message.send(bytes) }
}

const errorOf = async ({ stream }) => {
  await until(() => stream.closed, 'the end')
  return stream.errored
}

const HTTP = 'GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a browser that is lost\r\nAccept: */*\r\n\r\n'

test(
  'over Hyperswarm: what is no message ends our channel and names the rule, and Corestore goes on beside it',
  { timeout: TIMEOUT },
  async (t) => {
    const { attack, undisturbed, sound } = await scene(t)
    const attacks = [
      [Buffer.alloc(1 << 20, 0xff), /a message's length is not in its only valid form/],
      [Buffer.alloc(70_000), /the bytes end 1 short of a type/],
      [Buffer.from(HTTP), /message type 69 is unknown/],
      // Two mebibytes, which a stranger may not announce; and a message as large as a frame of Hyperswarm's can be.
      [Buffer.from([0x80, 0x80, 0x80, 0x01]), /a message of 2097152 bytes; the limit is 147456/],
      [Buffer.alloc(15 << 20, 0x7f), /message type 127 is unknown/],
      // A request for blocks, and a goodbye with something after it.
      [Buffer.from([5, 11, 0, 0, 1, 0]), /Request before Hello/],
      [Buffer.from([2, 1, 0, 2, 1, 0]), /bytes came after Close/]
    ]
    for (const [bytes, rule] of attacks) {
      const { mux, theirs, sharesOn, leave } = await attack()
      const { message } = await channelOf(mux)
      message.send(bytes.subarray(0, 1))
      message.send(bytes.subarray(1))
      const error = await errorOf(theirs)
      assert.equal(error?.code, 'ERR_PROTOCOL')
      assert.match(error.message, rule)
      await sharesOn()
      await undisturbed()
      await leave()
    }
    await sound()
  }
)

test(
  'over Hyperswarm: who opens our channel and says nothing is left after its patience',
  { timeout: TIMEOUT },
  async (t) => {
    const { attack, undisturbed, sound } = await scene(t)
    const { mux, theirs, sharesOn } = await attack()
    const { message } = await channelOf(mux)
    // The largest message that a stranger may begin, byte by byte.
    message.send(Buffer.from([0x80, 0x80, 0x09, 0]))
    for (let second = 0; second <= HANDSHAKE_PATIENCE; second++) {
      assert.equal(theirs.stream.destroyed, false)
      message.send(Buffer.from([1]))
      theirs.stream._tick()
      if (second === HANDSHAKE_PATIENCE / 2) await undisturbed()
    }
    const error = await errorOf(theirs)
    assert.equal(error?.code, 'ERR_TIMEOUT')
    assert.equal(error.message, 'the other side did not say who it is in time')
    await sharesOn()
    await undisturbed()
    await sound()
  }
)

test(
  'over Hyperswarm: who attaches long after the other meets it all the same',
  { timeout: TIMEOUT },
  async (t) => {
    const { a, attack, undisturbed } = await scene(t)
    const { mine, theirs } = await attack()
    for (let second = 0; second <= 3 * HANDSHAKE_PATIENCE; second++) {
      await until(() => theirs.stream.id !== null, 'the session')
      if (!theirs.stream.destroyed) theirs.stream._tick()
    }
    await undisturbed()
    const late = await open(t, ':memory:', { key: a.key })
    late.replicate(mine)
    await converge(a, late)
    assert.notEqual(await late.get('k'), null)
  }
)

test(
  'over Hyperswarm: channels opened without end, or opened and closed in a loop, leave no handle and little memory',
  { timeout: TIMEOUT },
  async (t) => {
    const { attack, undisturbed, sound } = await scene(t)
    const number = (i) => Buffer.from([i >> 8, i & 255])
    const loops = [
      // The first of them may be answered, and then ours is over.
      ({ mux }) => begin(mux).close(),
      ({ mux }) => begin(mux),
      ({ mux }, i) => begin(mux, number(i)),
      ({ mux }, i) => begin(mux, number(i)).send(Buffer.alloc(100, 0xff))
    ]
    const run = async (count) => {
      for (const loop of loops) {
        const attacker = await attack()
        for (let i = 0; i < count; i++) {
          loop(attacker, i)
          if (i % 100 === 0) await turn(1)
        }
        await undisturbed()
        await attacker.sharesOn()
        if (attacker.theirs.stream.destroyed) assert.equal(attacker.theirs.stream.errored, null)
        await attacker.leave()
        await until(() => attacker.theirs.connection.destroyed, 'the end of the connection')
      }
    }
    await run(200)
    const before = { handles: handles(), rss: process.memoryUsage().rss }
    await run(2_000)
    const grown = process.memoryUsage().rss - before.rss
    assert.ok(grown < LOOP_BYTES, `${grown} bytes`)
    await until(() => handles() <= before.handles + 1, 'the last handle to close')
    await sound()
  }
)

test(
  'over Hyperswarm: who speaks before our channel is open, or before anybody attached, is refused as any',
  { timeout: TIMEOUT },
  async (t) => {
    const { attack, late, undisturbed, sound } = await scene(t)
    const attachNow = late()
    const { mux, theirs, sharesOn } = await attack()
    const { send } = begin(mux)
    for (let i = 0; i < 200; i++) send(Buffer.alloc(10_000, 0xff))
    await undisturbed()
    assert.equal(theirs.stream, null)
    attachNow()
    const error = await errorOf(theirs)
    assert.equal(error?.code, 'ERR_PROTOCOL')
    assert.match(error.message, /a message's length is not in its only valid form/)
    await sharesOn()
    await undisturbed()
    await sound()
  }
)

test(
  'over Hyperswarm: who reads nothing while we write holds up nobody, and little waits for it',
  { timeout: TIMEOUT },
  async (t) => {
    const { a, attack, undisturbed, sound } = await scene(t)
    const { mine, theirs, leave } = await attack()
    const member = await open(t, ':memory:', { key: a.key })
    const stream = member.replicate(mine)
    await once(stream, 'synced')
    mine.pause()
    const text = 'x'.repeat(1000)
    for (let n = 0; n < 5_000; n += 1000) {
      await Promise.all(Array.from({ length: 1000 }, (_none, i) => a.put(`k${n + i}`, { n, text })))
      assert.ok(theirs.stream.readableLength <= UNREAD_BYTES, `${theirs.stream.readableLength} bytes`)
      await undisturbed()
    }
    assert.equal(theirs.stream.destroyed, false)
    await leave()
    await undisturbed()
    await sound()
  }
)
