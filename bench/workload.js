'use strict'

// What the cases of apply mode do, for this package and for autobase alike.

const net = require('node:net')

/** Entries appended one at a time, in one batch, and in all batches. */
const ONE_BY_ONE = 1_000
const BATCH = 1_000
const VALUES = 100_000

/** Entries each of two writers appends while they are apart. */
const APART = 2_000

/** Entries appended while a peer looks on. */
const PINGS = 200

const value = (n, of = 'k') => Buffer.from(`${of}${String(n).padStart(15, '0')}${'x'.repeat(80)}`)

/** What an `apply` of these cases grants a writer for. */
const grantOf = (key) => Buffer.concat([Buffer.alloc(1), key])
const granted = (bytes) => (bytes.length === 33 ? bytes.subarray(1) : null)

async function timed(count, work) {
  const start = process.hrtime.bigint()
  await work()
  return { count, ms: Number(process.hrtime.bigint() - start) / 1e6 }
}

/** Time of the middle one of what `work` takes, done once for each ping. */
async function medianOf(work) {
  const took = []
  for (let n = 0; n < PINGS; n++) took.push((await timed(1, () => work(n))).ms)
  took.sort((x, y) => x - y)
  return { count: PINGS, ms: took[PINGS / 2] * PINGS }
}

/** Two ends of a TCP connection on this machine, and how to end it. */
async function sockets() {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect(server.address().port, '127.0.0.1')
  const socket = await new Promise((resolve) => server.once('connection', resolve))
  for (const one of [client, socket]) one.setNoDelay(true)
  return {
    client,
    socket,
    end: () => [client, socket, server].forEach((one) => (one.destroy ?? one.close).call(one))
  }
}

/** Memory the process takes more at its highest while `work` runs, in MiB. */
async function memoryOf(work) {
  const before = process.memoryUsage().rss
  let most = before
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20)
  try {
    await work()
  } finally {
    clearInterval(watch)
  }
  return Math.round((most - before) / 2 ** 20)
}

module.exports = {
  ONE_BY_ONE,
  BATCH,
  VALUES,
  APART,
  PINGS,
  value,
  grantOf,
  granted,
  timed,
  medianOf,
  sockets,
  memoryOf
}
