'use strict'

// What encryption at rest costs: everything twice, with and without an encryptionKey, in turns.

const path = require('node:path')
const MultiHyperbee = require('..')
const { drain, inTicks, oneByOne, timed } = require('./cases.js')

const TICK = 1_000
const SEQUENTIAL = 500
const PASSES = 3
const OPTIONS = [undefined, { encryptionKey: Buffer.alloc(32, 1) }]

async function apply(nodes, view) {
  const writes = view.write()
  for (const { value } of nodes) writes.tryPut(value.subarray(0, 16), value)
  await writes.flush()
}

/** Both databases, plain first, opened anew. */
async function opened(dir, name, more) {
  const dbs = OPTIONS.map(
    (options, at) => new MultiHyperbee(path.join(dir, `${name}-${at}`), { ...options, ...more })
  )
  await Promise.all(dbs.map((db) => db.ready()))
  return dbs
}

const closed = (dbs) => Promise.all(dbs.map((db) => db.close()))

/** Runs the parts of a piece of work on both in turns: the disk, and other programs, have their moods. */
async function inTurns(what, dbs, count, parts, work) {
  const [plain, sealed] = dbs.map(() => ({ count, ms: 0 }))
  for (const part of parts) {
    plain.ms += (await timed(1, () => work(dbs[0], part))).ms
    sealed.ms += (await timed(1, () => work(dbs[1], part))).ms
  }
  return { what, ours: sealed, theirs: plain }
}

/** Runs every case and returns what each took, encrypted beside plain. */
async function run(dir, entries) {
  const ticks = []
  for (let at = 0; at < entries.length; at += TICK) ticks.push(entries.slice(at, at + TICK))
  const results = []
  let dbs = await opened(dir, 'sealed')
  const each = async (...args) => results.push(await inTurns(args[0], dbs, ...args.slice(1)))
  await each('put: 1,000 at once, awaited, synced', entries.length, ticks, (db, tick) =>
    inTicks(tick, (key, value) => db.put(key, value))
  )
  await each(
    'put: one at a time, awaited, synced',
    SEQUENTIAL,
    entries.slice(0, SEQUENTIAL),
    (db, [key, value]) => db.put(`one/${key}`, value)
  )
  await closed(dbs)
  dbs = await opened(dir, 'sealed')
  await each('get: awaited one at a time, random', entries.length, ticks, (db, tick) =>
    oneByOne(tick, (key) => db.get(key))
  )
  const read = (db) => drain(db.createReadStream())
  global.gc?.()
  const before = process.memoryUsage.rss()
  await each('read stream: all, first since opening', entries.length, [0], read)
  const bytes = Math.max(0, process.memoryUsage.rss() - before) / entries.length
  results.at(-1).note = `${bytes.toFixed(0)} bytes more resident for each key`
  await each('read stream: all, later', entries.length * PASSES, [1, 2, 3], read)
  await closed(dbs)
  const values = ticks.map((tick) => tick.map(([key, value]) => Buffer.from(key + JSON.stringify(value))))
  dbs = await opened(dir, 'sealed-apply', { apply, ackInterval: 0 })
  await each('apply mode, append: 1,000 in a batch', entries.length, values, (db, tick) => db.append(tick))
  const some = values.flat().slice(0, SEQUENTIAL)
  await each('apply mode, append: one at a time', SEQUENTIAL, some, (db, value) => db.append(value))
  await closed(dbs)
  return results
}

module.exports = { run }
