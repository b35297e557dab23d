'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { MultiHyperbee, directory } = require('./helpers.js')

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

test('verify takes its options, and an open store', async () => {
  const store = new Store(':memory:')
  await assert.rejects(store.verify({ onProgress: 1 }), { code: 'ERR_OPTIONS' })
  await assert.rejects(store.verify({ repair: true }), { code: 'ERR_OPTIONS', message: /not there yet/ })
  const verifying = store.verify()
  assert.equal((await verifying).ok, true)
  await store.close()
  await assert.rejects(store.verify(), { code: 'ERR_CLOSED' })
})
