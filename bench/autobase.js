'use strict'

// What autobase takes for the cases of apply.js: the same values, an `apply` that writes the same keys to a Hyperbee.
// Its append is not synced to disk when it resolves.

const path = require('node:path')
const Autobase = require('autobase')
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const work = require('./workload.js')

const { value, timed } = work

/** How long one of two peers may take until it shows what the other appended. */
const PATIENCE_MS = 300_000

let applications = 0

async function apply(nodes, view, host) {
  const batch = view.batch({ update: false })
  for (const node of nodes) {
    applications++
    const writer = work.granted(node.value)
    if (writer) await host.addWriter(writer, { indexer: true })
    else await batch.put(node.value.subarray(0, 16), node.value)
  }
  await batch.flush()
}

const encodings = { extension: false, keyEncoding: 'binary', valueEncoding: 'binary' }
const options = {
  valueEncoding: 'binary',
  ackInterval: 0,
  fastForward: false,
  open: (store) => new Hyperbee(store.get('view'), encodings),
  apply
}

async function opened(dir, name, key = null) {
  const store = new Corestore(path.join(dir, `autobase-${name}`))
  const base = new Autobase(store, key, options)
  await base.ready()
  return { base, close: () => base.close().then(() => store.close()) }
}

async function connect(a, b) {
  const { client, socket, end } = await work.sockets()
  const streams = [a.replicate(true), b.replicate(false)]
  streams[0].pipe(client).pipe(streams[0])
  streams[1].pipe(socket).pipe(streams[1])
  for (const one of [client, socket, ...streams]) one.on('error', () => {})
  return end
}

/** Resolves when the view has the key of `entry`. */
async function shown(base, entry) {
  const until = Date.now() + PATIENCE_MS
  while ((await base.view.get(entry.subarray(0, 16))) === null) {
    if (Date.now() > until) throw new Error('autobase did not show an entry in time')
    await new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        base.off('update', done)
        resolve()
      }
      const timer = setTimeout(done, 20)
      base.on('update', done)
    })
  }
}

/** What each case took, by its name. */
async function run(dir) {
  const a = await opened(dir, 'a')
  const one = await timed(work.ONE_BY_ONE, async () => {
    for (let n = 0; n < work.ONE_BY_ONE; n++) await a.base.append(value(n, 'o'))
  })
  const batches = await timed(work.VALUES, async () => {
    for (let from = 0; from < work.VALUES; from += work.BATCH) {
      await a.base.append(Array.from({ length: work.BATCH }, (_, n) => value(from + n)))
    }
  })
  const b = await opened(dir, 'b', a.base.key)
  let end
  const catchUp = await timed(work.VALUES + work.ONE_BY_ONE, async () => {
    end = await connect(a.base, b.base)
    await shown(b.base, value(work.VALUES - 1))
  })
  end()
  await Promise.all([a.close(), b.close()])
  return { one, batches, catchUp, ...(await apart(dir)) }
}

async function apart(dir) {
  const a = await opened(dir, 'apart-a')
  const b = await opened(dir, 'apart-b', a.base.key)
  await a.base.append(work.grantOf(b.base.local.key))
  let end = await connect(a.base, b.base)
  if (!b.base.writable) await new Promise((resolve) => b.base.once('writable', resolve))
  const seen = await work.medianOf(async (n) => {
    await a.base.append(value(n, 'p'))
    await shown(b.base, value(n, 'p'))
  })
  end()
  for (const [{ base }, of] of [
    [a, 'a'],
    [b, 'b']
  ]) {
    for (let n = 0; n < work.APART; n++) await base.append(value(n, of))
  }
  const before = applications
  const merged = await timed(2 * work.APART, async () => {
    end = await connect(a.base, b.base)
    await Promise.all([shown(a.base, value(work.APART - 1, 'b')), shown(b.base, value(work.APART - 1, 'a'))])
  })
  end()
  await Promise.all([a.close(), b.close()])
  return { seen, merged: { ...merged, applications: applications - before } }
}

module.exports = { run }
