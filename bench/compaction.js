'use strict'

// Bytes on disk for each live key: after many updates of few keys, before and after compaction, and of keys of 100 bytes
// at rest. `node bench/compaction.js [updates]`; docs/design/compaction.md has what it said.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const MultiHyperbee = require('..')

const { Store } = MultiHyperbee
const UPDATES = Number(process.argv[2] ?? 1_000_000)
const KEYS = 1_000
const AT_REST = 100_000

const text = 'x'.repeat(60)

function size(dir) {
  return fs.statSync(path.join(dir, 'data.mdb')).size
}

function say(what, bytes, keys, ms) {
  const each = Math.round(bytes / keys).toLocaleString('en-US')
  const took = ms === undefined ? '' : `${(ms / 1000).toFixed(1)} s`
  console.log(
    `${what.padEnd(58)} ${(bytes / 2 ** 20).toFixed(1).padStart(9)} MiB ${each.padStart(10)} B/key ${took.padStart(9)}`
  )
}

async function timed(act) {
  const start = performance.now()
  const result = await act()
  return { result, ms: performance.now() - start }
}

async function inStore(options, use) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-bench-'))
  const store = new Store(dir)
  try {
    await use(new MultiHyperbee(store, options), store, dir)
  } finally {
    await store.close()
    fs.rmSync(dir, { recursive: true, force: true })
  }
}

const put = (write) => async (db, tick, each) => {
  for (let n = 0; n < each; n++) write(db, `key/${String(n).padStart(8, '0')}`, { n: tick, text })
  await db.update()
}

/** A tick's puts share a commit. */
const merge = put((db, key, value) => db.put(key, value))

async function updates(name, options, write) {
  await inStore(options, async (db, store, dir) => {
    const { ms } = await timed(async () => {
      for (let tick = 0; tick < UPDATES / KEYS; tick++) await write(db, tick, KEYS)
    })
    say(`${name}: ${UPDATES.toLocaleString('en-US')} updates of ${KEYS} keys`, size(dir), KEYS, ms)
    const trimmed = await timed(() => db.compact({ history: { versions: 1 } }))
    say('  after db.compact(), one version kept', size(dir), KEYS, trimmed.ms)
    const compacted = await timed(() => store.compact())
    say('  after store.compact()', compacted.result.after, KEYS, compacted.ms)
    say('  of that the feed itself', db.local.byteLength, KEYS)
    const { ok } = await store.verify()
    if (!ok) throw new Error('verify found damage')
  })
}

async function atRest(name, options, write) {
  await inStore(options, async (db, store, dir) => {
    await write(db, 0, AT_REST)
    say(`${name}: ${AT_REST.toLocaleString('en-US')} keys of 100 bytes`, size(dir), AT_REST)
    const { result, ms } = await timed(async () => {
      await db.compact({ history: { versions: 1 } })
      return store.compact()
    })
    say('  after compaction', result.after, AT_REST, ms)
    say('  of that the feed itself', db.local.byteLength, AT_REST)
  })
}

const APPLY = {
  valueEncoding: 'json',
  apply: async (nodes, view) => {
    for (const { value } of nodes) await view.put(value.key, Buffer.from(value.text))
  }
}

const append = put((db, key, value) => db.append({ key, text: `${value.n}${value.text}` }))

async function main() {
  await updates("merge mode, history 'all'", {}, merge)
  await updates('merge mode, history { versions: 1000 }', { history: { versions: 1_000 } }, merge)
  await updates("apply mode, history 'all'", APPLY, append)
  await atRest('merge mode', {}, merge)
  await atRest('apply mode', APPLY, append)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
