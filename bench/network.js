'use strict'

// Replication beside what carries it: `npm run bench`, or alone `npm run bench:network`. Both ends are in this process, over
// TCP on this machine. MULTI_HYPERBEE_BENCH_MIB: how much is sent (1,024).

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { createRequire } = require('node:module')
const { setTimeout: sleep } = require('node:timers/promises')
const MultiHyperbee = require('..')
const { sockets, timed } = require('./workload.js')

// What Hyperswarm's connections are: of the version that hyperdht uses.
const NoiseSecretStream = createRequire(require.resolve('hyperdht'))('@hyperswarm/secret-stream')

const { Store } = MultiHyperbee
const BLOCK = 64 << 10
const MIB = Number(process.env.MULTI_HYPERBEE_BENCH_MIB ?? 1024)
const DATABASES = 100
const ENTRIES = 100_000
const IDLE_DATABASES = 1_000
const IDLE_MS = 30_000
const FEEDS = 10_000

async function run(dir) {
  const results = [await rawFeed(dir), await rawFeedInMemory()]
  results.push(await manyDatabases(dir))
  results.push(await idle(dir))
  results.push(await manyFeeds())
  return results
}

/** A feed of blocks of 64 KiB, whole, beside the same bytes through a Noise stream alone, which stores nothing. */
function rawFeed(dir) {
  return transfer(path.join(dir, 'from'), path.join(dir, 'to'), 'synced to disk')
}

function rawFeedInMemory() {
  return transfer(':memory:', ':memory:', 'stores in memory')
}

async function transfer(from, to, where) {
  const blocks = (MIB * 2 ** 20) / BLOCK
  const [one, two] = [new Store(from), new Store(to)]
  const feed = one.get({ name: 'log' })
  for (let n = 0; n < blocks; n += 256) {
    await feed.append(Array.from({ length: Math.min(256, blocks - n) }, (_, i) => Buffer.alloc(BLOCK, n + i)))
  }
  const other = two.get(feed.key)
  await other.ready()
  const { client, socket, end } = await sockets()
  const ours = await timed(MIB, async () => {
    one.replicate(client, { isInitiator: true })
    two.replicate(socket, { isInitiator: false })
    await other.download({ start: 0, end: blocks })
  })
  end()
  await Promise.all([one.close(), two.close()])
  const theirs = await throughNoise(blocks)
  return { what: `MiB of a feed in blocks of 64 KiB, ${where}`, ours, theirs }
}

async function throughNoise(blocks) {
  const { client, socket, end } = await sockets()
  const [from, to] = [new NoiseSecretStream(true, client), new NoiseSecretStream(false, socket)]
  for (const one of [from, to]) one.on('error', () => {})
  await Promise.all([from.opened, to.opened])
  let left = blocks * BLOCK
  const all = new Promise((resolve) => {
    to.on('data', (bytes) => (left -= bytes.length) <= 0 && resolve())
  })
  const result = await timed(MIB, async () => {
    const block = Buffer.alloc(BLOCK, 7)
    for (let n = 0; n < blocks; n++) {
      if (!from.write(Buffer.from(block))) await new Promise((resolve) => from.once('drain', resolve))
    }
    await all
  })
  end()
  return result
}

/** The same entries in one database, and in many over one connection. */
async function manyDatabases(dir) {
  const one = await synced(dir, 1)
  const many = await synced(dir, DATABASES)
  return {
    what: `sync of ${DATABASES} databases over one connection`,
    ours: many,
    theirs: one,
    note: `${(many.ms / one.ms).toFixed(2)} x the time of one database (${one.ms.toFixed(0)} ms) with the same entries`
  }
}

async function synced(dir, count) {
  const [from, to] = ['a', 'b'].map((name) => new Store(path.join(dir, `${name}-${count}`)))
  const each = ENTRIES / count
  const theirs = await opened(from, count)
  for (const db of theirs) {
    for (let n = 0; n < each; n += 1_000) {
      const batch = db.batch()
      for (let i = n; i < Math.min(each, n + 1_000); i++) {
        await batch.put(`key/${String(i).padStart(8, '0')}`, { n: i, text: 'x'.repeat(60) })
      }
      await batch.flush()
    }
  }
  const ours = await Promise.all(
    theirs.map(async (db, n) => {
      const joined = new MultiHyperbee(to, { name: `db ${n}`, key: db.key })
      await joined.ready()
      return joined
    })
  )
  const { client, socket, end } = await sockets()
  const result = await timed(ENTRIES, async () => {
    from.replicate(client, { isInitiator: true })
    to.replicate(socket, { isInitiator: false })
    await Promise.all(ours.map((db, n) => db.applied({ key: db.key, length: theirs[n].local.length })))
  })
  end()
  await Promise.all([from.close(), to.close()])
  return result
}

async function opened(store, count, keys) {
  const all = Array.from({ length: count }, (_, n) => {
    return new MultiHyperbee(store, { name: `db ${n}`, ...(keys && { key: keys[n] }) })
  })
  await Promise.all(all.map((db) => db.ready()))
  return all
}

/**
 * What a connection of many databases costs while nothing happens. Both ends are in this process, and what the memory grows
 * by is its pages: `tests/db_many.rs` counts what the connection itself holds.
 */
async function idle(dir) {
  const [from, to] = ['c', 'd'].map((name) => new Store(path.join(dir, name)))
  const theirs = await opened(from, IDLE_DATABASES)
  for (const db of theirs) await db.put('k', {})
  const keys = theirs.map((db) => db.key)
  const ours = await opened(to, IDLE_DATABASES, keys)
  const { client, socket, end } = await sockets()
  const connect = async (left, right) => {
    const streams = [from.replicate(left, { isInitiator: true }), to.replicate(right, { isInitiator: false })]
    await Promise.all(ours.map((db, n) => db.applied({ key: db.key, length: theirs[n].local.length })))
    await sleep(15_000)
    return streams
  }
  // The first connection brings what there is; the second one finds nothing to do.
  const [stream] = await connect(client, socket)
  stream.destroy()
  end()
  await sleep(2_000)
  const before = resident()
  const again = await sockets()
  await connect(again.client, again.socket)
  const memory = (resident() - before) / 2 ** 20
  const sent = () => again.client.bytesWritten + again.socket.bytesWritten
  const [bytes, cpu] = [sent(), process.cpuUsage()]
  const result = await timed(IDLE_DATABASES, () => sleep(IDLE_MS))
  const { user, system } = process.cpuUsage(cpu)
  const rate = (sent() - bytes) / (IDLE_MS / 1_000)
  again.end()
  await Promise.all([from.close(), to.close()])
  const note = `${rate.toFixed(0)} bytes/s, ${memory.toFixed(1)} MiB for both ends, ${((user + system) / IDLE_MS / 10).toFixed(1)} % of a core`
  return { what: `idle: one connection of ${IDLE_DATABASES} databases`, ours: { ...result, count: 0 }, note }
}

/** Feeds of one block each, all of them over one connection. */
async function manyFeeds() {
  const [from, to] = [new Store(':memory:'), new Store(':memory:')]
  const theirs = Array.from({ length: FEEDS }, (_, n) => from.get({ name: `feed ${n}` }))
  await Promise.all(theirs.map((feed) => feed.append(Buffer.from('block'))))
  const ours = theirs.map((feed) => to.get(feed.key))
  await Promise.all(ours.map((feed) => feed.ready()))
  const { client, socket, end } = await sockets()
  const result = await timed(FEEDS, async () => {
    from.replicate(client, { isInitiator: true })
    to.replicate(socket, { isInitiator: false })
    await Promise.all(ours.map((feed) => feed.download({ start: 0, end: 1 })))
  })
  end()
  await Promise.all([from.close(), to.close()])
  return { what: `${FEEDS.toLocaleString('en')} feeds over one connection`, ours: result }
}

function resident() {
  globalThis.gc?.()
  return process.memoryUsage().rss
}

async function main() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-bench-'))
  try {
    const only = process.argv[2]
    const cases = { rawFeed, rawFeedInMemory, manyDatabases, idle, manyFeeds }
    for (const result of only ? [await cases[only](dir)] : await run(dir)) console.log(JSON.stringify(result))
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

if (require.main === module) {
  main().catch((error) => {
    console.error(error)
    process.exitCode = 1
  })
}

module.exports = { run }
