'use strict'

const path = require('node:path')
const { open } = require('lmdb')
const MultiHyperbee = require('..')
const autobase = require('./autobase.js')
const work = require('./workload.js')

const { value, timed } = work

/** Puts each value under the key it names; grants whom a value names. */
async function apply(nodes, view, host) {
  const writes = view.write()
  for (const node of nodes) {
    const writer = work.granted(node.value)
    if (writer) host.addWriter(writer)
    else writes.tryPut(node.value.subarray(0, 16), node.value)
  }
  await writes.flush()
}

const options = { apply, ackInterval: 0 }

async function opened(dir, name, key = null) {
  const db = new MultiHyperbee(path.join(dir, `apply-${name}`), key, options)
  await db.ready()
  return db
}

async function connect(a, b) {
  const { client, socket, end } = await work.sockets()
  a.replicate(client)
  b.replicate(socket, { isInitiator: false })
  return end
}

const last = (db) => ({ key: db.local.key, length: db.local.length })

/** Runs every case, here and with autobase, and returns what each took. */
async function run(dir) {
  const theirs = await autobase.run(dir)
  const a = await opened(dir, 'a')
  const one = { count: work.ONE_BY_ONE, ms: 0 }
  const synced = { count: work.ONE_BY_ONE, ms: 0 }
  const bare = open({ path: path.join(dir, 'bare'), encoding: 'binary', compression: false })
  // In turns: the disk has its moods.
  for (let n = 0; n < work.ONE_BY_ONE; n++) {
    one.ms += (await timed(1, () => a.append(value(n, 'o')))).ms
    const put = () => bare.put(value(n).subarray(0, 16), value(n)).then(() => bare.flushed)
    synced.ms += (await timed(1, put)).ms
  }
  await bare.close()
  const batches = await timed(work.VALUES, async () => {
    for (let from = 0; from < work.VALUES; from += work.BATCH) {
      await a.append(Array.from({ length: work.BATCH }, (_, n) => value(from + n)))
    }
  })
  const results = [
    {
      what: 'append: one at a time, awaited, synced',
      ours: one,
      theirs: theirs.one,
      note: `${(one.ms / synced.ms).toFixed(2)} x the time of bare synced lmdb-js commits`
    },
    { what: 'append: batches of 1,000, ascending keys', ours: batches, theirs: theirs.batches },
    { ...(await catchUp(dir, a)), theirs: theirs.catchUp },
    ...(await apart(dir, theirs))
  ]
  await a.close()
  return results
}

/** An empty peer takes all there is and applies it. */
async function catchUp(dir, a) {
  const b = await opened(dir, 'b', a.key)
  let end, ours
  const memory = await work.memoryOf(async () => {
    ours = await timed(work.VALUES + work.ONE_BY_ONE, async () => {
      end = await connect(a, b)
      await b.applied(last(a))
    })
  })
  end()
  await b.close()
  return { what: 'catch-up over a socket, with apply', ours, note: `${seconds(ours)}, ${memory} MiB more` }
}

/** Two writers: how soon the other sees what one appends, and what merging costs after writing apart. */
async function apart(dir, theirs) {
  const a = await opened(dir, 'apart-a')
  const b = await opened(dir, 'apart-b', a.key)
  await a.append(work.grantOf(b.local.key))
  let end = await connect(a, b)
  await b.waitForWritable()
  const seen = await work.medianOf(async (n) => b.applied(await a.append(value(n, 'p'))))
  // Both write: each entry waits for the other's that stand before it.
  const writing = new AbortController()
  const other = (async () => {
    for (let n = 0; !writing.signal.aborted; n++) {
      await b.append(value(n, 'q'))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })()
  const both = await work.medianOf(async (n) => b.applied(await a.append(value(n, 'r'))))
  writing.abort()
  await other
  end()
  // One after the other: the second has to replay what it wrote, behind what the first did.
  for (const [db, of] of [
    [a, 'a'],
    [b, 'b']
  ]) {
    for (let n = 0; n < work.APART; n++) await db.append(value(n, of))
  }
  const before = a.stats.applies + b.stats.applies
  const merged = await timed(2 * work.APART, async () => {
    end = await connect(a, b)
    await Promise.all([a.applied(last(b)), b.applied(last(a))])
  })
  const applies = a.stats.applies + b.stats.applies - before
  const equal = (await a.stateHash()).equals(await b.stateHash())
  end()
  await Promise.all([a.close(), b.close()])
  const median = ({ count, ms }) => `median ${(ms / count).toFixed(2)} ms`
  return [
    {
      what: 'append until a connected peer shows it',
      ours: seen,
      theirs: theirs.seen,
      note: `${median(seen)}, autobase ${median(theirs.seen)}`
    },
    { what: 'the same while the peer writes too', ours: both, note: median(both) },
    {
      what: 'two writers, 2,000 entries each, then connected',
      ours: merged,
      theirs: theirs.merged,
      note:
        `${seconds(merged)}, ${applies} applications, ${equal ? 'equal' : 'NOT EQUAL'}; ` +
        `autobase ${seconds(theirs.merged)}, ${theirs.merged.applications}`
    }
  ]
}

const seconds = ({ ms }) => `${(ms / 1000).toFixed(2)} s`

module.exports = { run }
