'use strict'

const path = require('node:path')
const net = require('node:net')
const { open } = require('lmdb')
const MultiHyperbee = require('..')
const { stalls } = require('./stalls.js')

const BATCH = 1_000
const SEQUENTIAL = 500

async function timed(count, work) {
  const start = process.hrtime.bigint()
  await work()
  return { count, ms: Number(process.hrtime.bigint() - start) / 1e6 }
}

/** Runs every case on both and returns the pairs. */
async function run(dir, entries) {
  const ours = new MultiHyperbee(path.join(dir, 'ours'))
  const theirs = open({ path: path.join(dir, 'theirs'), encoding: 'json', compression: false })
  await ours.ready()
  const results = []
  const both = async (what, count, work, theirWork, note) => {
    const our = await timed(count, work)
    results.push({ what, ours: our, theirs: theirWork ? await timed(count, theirWork) : undefined, note })
  }
  await both(
    'put: 1,000 at once, awaited, synced',
    entries.length,
    () => inTicks(entries, (key, value) => ours.put(key, value)),
    () =>
      inTicks(
        entries,
        (key, value) => theirs.put(key, value),
        () => theirs.flushed
      )
  )
  await both(
    'put: one at a time, awaited, synced',
    SEQUENTIAL,
    () => oneByOne(entries.slice(0, SEQUENTIAL), (key, value) => ours.put(`one/${key}`, value)),
    () =>
      oneByOne(entries.slice(0, SEQUENTIAL), (key, value) =>
        theirs.put(`one/${key}`, value).then(() => theirs.flushed)
      )
  )
  for (const pass of ['cold', 'warm']) {
    await both(
      `get: awaited one at a time, random, ${pass}`,
      entries.length,
      () => oneByOne(entries, (key) => ours.get(key)),
      () => oneByOne(entries, async (key) => theirs.get(key))
    )
  }
  await both(
    'read stream: all, for await',
    entries.length,
    () => drain(ours.createReadStream()),
    () => drain(theirs.getRange())
  )
  results.push(await catchUp(ours, dir))
  await ours.close()
  await theirs.close()
  results.push(await reopening(dir))
  for await (const result of stalls(path.join(dir, 'ours'))) results.push(result)
  return results
}

async function inTicks(entries, put, flushed = () => {}) {
  for (let start = 0; start < entries.length; start += BATCH) {
    await Promise.all(entries.slice(start, start + BATCH).map(([key, value]) => put(key, value)))
    await flushed()
  }
}

async function oneByOne(entries, call) {
  for (const [key, value] of entries) await call(key, value)
}

async function drain(stream) {
  let count = 0
  for await (const entry of stream) count += entry ? 1 : 0
  return count
}

/** An empty peer in this process catches up over a loopback socket. */
async function catchUp(db, dir) {
  const copy = new MultiHyperbee(path.join(dir, 'copy'), { key: db.key })
  await copy.ready()
  const server = net.createServer((socket) => db.replicate(socket)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const before = process.memoryUsage.rss()
  let most = before
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 20)
  const socket = net.connect(server.address().port, '127.0.0.1')
  const length = db.local.length
  const result = await timed(length, async () => {
    copy.replicate(socket)
    await copy.applied({ key: db.local.key, length })
  })
  clearInterval(watch)
  const equal = Buffer.compare(Buffer.from(await db.stateHash()), Buffer.from(await copy.stateHash())) === 0
  if (!equal) throw new Error('the copy is not equal')
  socket.destroy()
  server.close()
  await copy.close()
  const note = `${result.ms.toFixed(0)} ms; both ends in one process, ${((most - before) >> 20).toFixed(0)} MiB more than before`
  return { what: 'catch-up of an empty peer over a socket', ours: result, note }
}

/** Opening does not depend on how much is in it. */
async function reopening(dir) {
  const empty = await timed(1, () => opened(path.join(dir, 'empty')))
  const full = await timed(1, () => opened(path.join(dir, 'ours')))
  return { what: 'open', ours: full, note: `${full.ms.toFixed(1)} ms full, ${empty.ms.toFixed(1)} ms new` }
}

async function opened(location) {
  const db = new MultiHyperbee(location)
  await db.ready()
  await db.close()
}

module.exports = { run, timed, inTicks, oneByOne, drain }
