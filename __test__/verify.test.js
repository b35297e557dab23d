'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { MultiHyperbee, directory, open, connect, converge } = require('./helpers.js')

const { Store } = MultiHyperbee

test('a sound store is verified, with progress', async (t) => {
  const store = new Store(':memory:')
  t.after(() => store.close())
  const db = new MultiHyperbee(store)
  for (let n = 0; n < 50; n++) await db.put(`key ${n}`, { n })
  const stages = new Set()
  const onProgress = ({ stage, done, total }) => {
    assert.ok(total === 0 || done <= total)
    stages.add(stage)
  }
  const report = await store.verify({ onProgress })
  assert.equal(report.ok, true)
  assert.deepEqual([report.damages, report.keys, report.databases, report.blocks], [[], 50, 1, 51])
  assert.ok(stages.size > 0)
})

test('a damaged block is named', async (t) => {
  const folder = directory(t)
  const db = new MultiHyperbee(folder, { encrypted: false })
  await db.put('a', { text: 'the text of the first' })
  const key = db.local.key
  await db.close()
  const file = path.join(folder, 'data.mdb')
  const bytes = fs.readFileSync(file)
  // The diff in the block reads otherwise than the object in the view.
  const find = Buffer.from('"add":{"text":"the text of')
  let found = 0
  for (let at = bytes.indexOf(find); at !== -1; at = bytes.indexOf(find, at + 1), found++) bytes[at + 15] ^= 1
  assert.ok(found > 0, 'the layout has changed: nothing was damaged')
  fs.writeFileSync(file, bytes)
  const store = new Store(folder)
  t.after(() => store.close())
  const report = await store.verify()
  assert.equal(report.ok, false)
  const [damage] = report.damages
  assert.deepEqual([damage.stage, damage.table, damage.feed, damage.seq], ['feeds', 'blocks-1', key, 1])
})

/** Damages a block of a closed store, wherever in the file it stands. */
async function spoil(folder, key, seq) {
  const store = new Store(folder)
  // As it is stored: sealed, where its database is not open.
  const block = await store.get({ key }).get(seq, { valueEncoding: 'binary' })
  await store.close()
  const file = path.join(folder, 'data.mdb')
  const bytes = fs.readFileSync(file)
  let found = 0
  for (let at = bytes.indexOf(block); at !== -1; at = bytes.indexOf(block, at + 1), found++) {
    for (let n = 5; n < block.length; n += 3) bytes[at + n] ^= 0x5a
  }
  assert.ok(found > 0, 'the layout has changed: nothing was damaged')
  fs.writeFileSync(file, bytes)
}

test('a damaged block comes back from a peer, and the view of it too', async (t) => {
  for (const encryptionKey of [undefined, Buffer.alloc(32, 3)]) {
    const folder = directory(t)
    const sealed = encryptionKey ? { encryptionKey } : { encrypted: false }
    const db = new MultiHyperbee(folder, sealed)
    for (let n = 0; n < 20; n++) await db.put(`key ${n}`, { text: 'the text of it '.repeat(3), n })
    const key = db.key
    const peer = await open(t, ':memory:', { key, ...sealed })
    connect(db, peer)
    const hash = await converge(db, peer)
    const writer = db.local.key
    await db.close()
    await spoil(folder, writer, 4)
    const store = new Store(folder, encryptionKey ? { encryptionKey } : {})
    const report = await store.verify({ repair: true })
    assert.equal(report.ok, false)
    assert.ok(report.waiting.length > 0 && report.repaired.length > 0, report)
    assert.deepEqual(report.remaining, [])
    const again = new MultiHyperbee(store, encryptionKey ? {} : sealed)
    connect(again, peer)
    await converge(again, peer)
    let mended = await store.verify({ repair: true })
    for (let n = 0; n < 100 && !mended.ok; n++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      mended = await store.verify({ repair: true })
    }
    assert.ok(mended.ok, JSON.stringify(mended.waiting))
    assert.deepEqual(await again.stateHash(), hash)
    assert.deepEqual((await store.verify()).damages, [])
    await again.close()
    await store.close()
  }
})

test('verify takes its options, and an open store', async () => {
  const store = new Store(':memory:')
  await assert.rejects(store.verify({ onProgress: 1 }), { code: 'ERR_OPTIONS' })
  await assert.rejects(store.verify({ repair: 1 }), { code: 'ERR_OPTIONS' })
  await assert.rejects(store.verify({ encryptionKey: Buffer.alloc(3) }), { code: 'ERR_OPTIONS' })
  const verifying = store.verify()
  assert.equal((await verifying).ok, true)
  await store.close()
  await assert.rejects(store.verify(), { code: 'ERR_CLOSED' })
})
