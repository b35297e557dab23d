'use strict'

const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const MultiHyperbee = require('..')
const { wire, connectRoughly } = require('./rough.js')

/** Milliseconds until who waits for others looks at them again, and until it waits no longer. */
const LOOK_AGAIN = 5
const PATIENCE = 60_000

/** A directory that is gone when the test is over. */
function directory(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** An open database that is closed when the test is over. */
async function open(t, storage = ':memory:', ...rest) {
  const db = new MultiHyperbee(storage, ...rest)
  // Databases connected in memory hold no process up; a test that waits for one does.
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  t.after(() => db.close())
  await db.ready()
  return db
}

/** A second replica of `db` whose writes count. */
async function openWriter(t, db, options) {
  const other = await open(t, ':memory:', { key: db.key, ...options })
  await db.addWriter(other.local.key)
  return other
}

/** Connects two databases in memory. */
function connect(a, b, options) {
  const streams = () => [a.replicate(true, options), b.replicate(false, options)]
  const first = streams()
  const isOpen = () => [a, b].every((db) => db.status().state === 'open')
  // A stream that ends by itself is over when it is cut.
  connectRoughly(first, options?.live === false ? null : () => (isOpen() ? streams() : null))
  return first
}

/** Connects two databases over a loopback socket. */
async function connectTcp(t, a, b) {
  if (wire !== 'plain') return connect(a, b)
  const server = net.createServer()
  t.after(() => server.close())
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect(server.address().port, '127.0.0.1')
  const [[socket]] = await Promise.all([once(server, 'connection'), once(client, 'connect')])
  t.after(() => client.destroy())
  t.after(() => socket.destroy())
  return [a.replicate(client), b.replicate(socket)]
}

/** Waits until each has placed all that any of them has placed, and all show the same. Gives the hash of what they show. */
async function converge(...dbs) {
  const since = Date.now()
  for (;;) {
    // Views can be alike before all has arrived: as when the later of two writes has, or nothing yet over a connection
    // that was cut. Asked before the flush, which then waits for what handlers make of all that has arrived.
    const lags = await lagging(dbs)
    await Promise.all(dbs.map((db) => db.flush({ timeout: 20_000 })))
    const hashes = await Promise.all(dbs.map((db) => db.stateHash()))
    if (lags === null && hashes.every((hash) => hash.equals(hashes[0]))) return hashes[0]
    if (Date.now() - since > PATIENCE) throw new Error(`what they show differs; of feed ${lags} one has less`)
    await sleep(LOOK_AGAIN)
  }
}

/** The key of a feed of which one of them has placed less than another; null: there is none. Databases that are not one
 * need not have the same feeds. */
async function lagging(dbs) {
  const heads = await Promise.all(dbs.map(placed))
  for (const [n, ours] of heads.entries()) {
    for (const [m, theirs] of heads.entries()) {
      const isOne = dbs[n].key.equals(dbs[m].key)
      for (const [key, length] of ours) {
        if ((isOne || theirs.has(key)) && theirs.get(key) !== length) return key
      }
    }
  }
  return null
}

async function placed(db) {
  const heads = await db.heads()
  return new Map(heads.map(({ key, length }) => [key.toString('hex'), length]))
}

async function collect(stream) {
  const all = []
  for await (const entry of stream) all.push(entry)
  return all
}

/** The stored properties of a value that was read. */
function plain(value) {
  const rest = { ...value }
  for (const name of ['_objectId', '_timestamp', '_prevTimestamp']) delete rest[name]
  return rest
}

module.exports = { MultiHyperbee, directory, open, openWriter, connect, connectTcp, converge, collect, plain }
