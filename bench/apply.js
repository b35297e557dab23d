'use strict'

const path = require('node:path')
const net = require('node:net')
const { open } = require('lmdb')
const MultiHyperbee = require('..')

const ONE_BY_ONE = 1_000
const BATCH = 1_000
const VALUES = 100_000
const APART = 2_000
const PINGS = 200

/** Puts each value under the key it names; `add` grants. */
async function apply(nodes, view, host) {
  const writes = view.write()
  for (const { value } of nodes) {
    if (value.length === 33) host.addWriter(value.subarray(1))
    else writes.tryPut(value.subarray(0, 16), value)
  }
  await writes.flush()
}

const options = { apply, ackInterval: 0 }
const value = (n, of = 'k') => Buffer.from(`${of}${String(n).padStart(15, '0')}${'x'.repeat(80)}`)

async function timed(count, work) {
  const start = process.hrtime.bigint()
  await work()
  return { count, ms: Number(process.hrtime.bigint() - start) / 1e6 }
}

/** Runs every case and returns what it took. */
async function run(dir) {
  const results = []
  const theirs = open({ path: path.join(dir, 'bare'), encoding: 'binary', compression: false })
  const a = new MultiHyperbee(path.join(dir, 'apply-a'), null, options)
  await a.ready()
  results.push({
    what: 'append: one at a time, awaited, synced',
    ours: await timed(ONE_BY_ONE, async () => {
      for (let n = 0; n < ONE_BY_ONE; n++) await a.append(value(n, 'o'))
    }),
    theirs: await timed(ONE_BY_ONE, async () => {
      for (let n = 0; n < ONE_BY_ONE; n++)
        await theirs.put(value(n).subarray(0, 16), value(n)).then(() => theirs.flushed)
    })
  })
  const ours = await timed(VALUES, async () => {
    for (let from = 0; from < VALUES; from += BATCH) {
      await a.append(Array.from({ length: BATCH }, (_, n) => value(from + n)))
    }
  })
  results.push({ what: 'append: batches of 1,000, ascending keys', ours })
  results.push(await catchUp(dir, a))
  results.push(...(await apart(dir)))
  await Promise.all([a.close(), theirs.close()])
  return results
}

async function connect(a, b) {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect(server.address().port, '127.0.0.1')
  const socket = await new Promise((resolve) => server.once('connection', resolve))
  a.replicate(client)
  b.replicate(socket, { isInitiator: false })
  return () => [client, socket, server].forEach((one) => (one.destroy ?? one.close).call(one))
}

/** An empty peer takes all there is and applies it. */
async function catchUp(dir, a) {
  const b = new MultiHyperbee(path.join(dir, 'apply-b'), a.key, options)
  await b.ready()
  const before = process.memoryUsage().rss
  let most = before
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20)
  let end
  const ours = await timed(VALUES + ONE_BY_ONE, async () => {
    end = await connect(a, b)
    await b.applied({ key: a.local.key, length: a.local.length })
  })
  clearInterval(watch)
  end()
  await b.close()
  return {
    what: 'catch-up over a socket, with apply',
    ours,
    note: `${(ours.ms / 1000).toFixed(2)} s, ${Math.round((most - before) / 2 ** 20)} MiB more`
  }
}

/** Two writers: how soon the other sees what one appends, and what merging costs after writing apart. */
async function apart(dir) {
  const a = new MultiHyperbee(path.join(dir, 'apart-a'), null, options)
  await a.ready()
  const b = new MultiHyperbee(path.join(dir, 'apart-b'), a.key, options)
  await b.ready()
  await a.append(Buffer.concat([Buffer.alloc(1), b.local.key]))
  let end = await connect(a, b)
  await b.waitForWritable()
  const took = []
  for (let n = 0; n < PINGS; n++) {
    const start = process.hrtime.bigint()
    const receipt = await a.append(value(n, 'p'))
    await b.applied(receipt)
    took.push(Number(process.hrtime.bigint() - start) / 1e6)
  }
  end()
  took.sort((x, y) => x - y)
  // One after the other: the second has to replay what it wrote, behind what the first did.
  for (const [db, of] of [
    [a, 'a'],
    [b, 'b']
  ]) {
    for (let n = 0; n < APART; n++) await db.append(value(n, of))
  }
  const before = a.stats.applies + b.stats.applies
  const ours = await timed(2 * APART, async () => {
    end = await connect(a, b)
    await Promise.all([
      a.applied({ key: b.local.key, length: b.local.length }),
      b.applied({ key: a.local.key, length: a.local.length })
    ])
  })
  const applies = a.stats.applies + b.stats.applies - before
  const equal = (await a.stateHash()).equals(await b.stateHash())
  end()
  await Promise.all([a.close(), b.close()])
  const median = took[PINGS / 2]
  return [
    {
      what: 'append until a connected peer shows it',
      ours: { count: PINGS, ms: median * PINGS },
      note: `median ${median.toFixed(2)} ms`
    },
    {
      what: 'two writers, 2,000 entries each, then connected',
      ours,
      note: `${(ours.ms / 1000).toFixed(2)} s, ${applies} applications, ${equal ? 'equal' : 'NOT EQUAL'}`
    }
  ]
}

module.exports = { run }
