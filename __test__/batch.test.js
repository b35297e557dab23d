'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, collect, plain } = require('./helpers.js')

test('a batch reads its own writes, and nobody else does before flush', async (t) => {
  const db = await open(t)
  await db.put('a', { n: 1 })
  const batch = db.batch()
  await batch.put('b', { n: 2 })
  await batch.del('a')
  assert.equal(await batch.get('a'), null)
  assert.deepEqual(plain((await batch.get('b')).value), { n: 2 })
  assert.equal(await db.get('b'), null)
  assert.ok(await db.get('a'))
  assert.equal(await batch.flush(), true)
  assert.equal(await db.get('a'), null)
  assert.deepEqual(plain((await db.get('b')).value), { n: 2 })
})

test('the streams of a batch merge what is stored with what is not yet', async (t) => {
  const db = await open(t)
  for (const key of ['b', 'd', 'f']) await db.put(key, { old: key })
  const batch = db.batch()
  await batch.put('a', { own: 1 })
  await batch.put('d', { own: 2 })
  await batch.del('f')
  await batch.put('g', { own: 3 })
  const keys = async (range, options) =>
    (await collect(batch.createReadStream(range, options))).map((entry) => entry.key).join('')
  assert.equal(await keys(), 'abdg')
  assert.equal(await keys({ reverse: true }), 'gdba')
  assert.equal(await keys({ gt: 'a', lte: 'd' }), 'bd')
  assert.equal(await keys({}, { limit: 2 }), 'ab')
  assert.equal((await batch.peek({ gt: 'd' })).key, 'g')
  await batch.close()
  assert.equal(await db.get('a'), null)
})

test('other writes wait while a batch is open, and go on after it', async (t) => {
  const db = await open(t)
  const batch = db.batch()
  await batch.put('k', { from: 'batch' })
  let done = false
  const put = db.put('k', { from: 'put' }).then(() => (done = true))
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(done, false)
  await batch.flush()
  await put
  assert.deepEqual(plain((await db.get('k')).value), { from: 'put' })
})

test('a closed or flushed batch refuses, and an empty one writes nothing', async (t) => {
  const db = await open(t)
  const { version } = db
  const empty = db.batch()
  assert.equal(await empty.flush(), false)
  assert.equal(db.version, version)
  for (const call of [
    () => empty.put('a', {}),
    () => empty.del('a'),
    () => empty.get('a'),
    () => empty.flush()
  ]) {
    await assert.rejects(call(), { code: 'ERR_CLOSED' })
  }
  const bad = db.batch()
  await assert.rejects(bad.put('a', 1), { code: 'ERR_INVALID_VALUE' })
  await bad.put('b', { n: 1 })
  assert.equal(await bad.flush(), true)
})

test('cas in a batch sees the batch', async (t) => {
  const db = await open(t)
  await db.put('k', { n: 1 })
  const batch = db.batch()
  assert.equal(await batch.put('k', { n: 2 }, { cas: (prev) => prev.value.n === 1 }), true)
  assert.equal(await batch.put('k', { n: 3 }, { cas: (prev) => prev.value.n === 1 }), false)
  assert.equal(await batch.del('k', { cas: (prev) => prev.value.n === 2 }), true)
  await batch.flush()
  assert.equal(await db.get('k'), null)
})

test('closing the database ends an open batch and lets those behind it through', async (t) => {
  const db = await open(t)
  const batch = db.batch()
  await batch.put('k', { n: 1 })
  const waiting = db.put('k', { n: 2 })
  await db.close()
  assert.equal(await waiting, true)
  await assert.rejects(batch.flush(), { code: 'ERR_CLOSED' })
})
