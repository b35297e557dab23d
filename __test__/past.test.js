'use strict'

// Versions: what differs between them, and which one a time had.

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, collect, plain } = require('./helpers.js')

const pairs = async (stream) =>
  (await collect(stream)).map(({ left, right }) => [
    (left ?? right).key,
    left && plain(left.value).n,
    right && plain(right.value).n
  ])

async function edited(t) {
  const db = await open(t)
  await Promise.all(['a', 'b', 'c', 'd'].map((key) => db.put(key, { n: 1 })))
  const before = db.version
  await db.put('b', { n: 2 })
  await db.del('c')
  await db.put('e', { n: 1 })
  await db.put('gone', { n: 1 })
  await db.del('gone')
  return { db, before }
}

test('createDiffStream: what differs, in both directions, by version and by snapshot', async (t) => {
  const { db, before } = await edited(t)
  const forward = [
    ['b', 2, 1],
    ['c', null, 1],
    ['e', 1, null]
  ]
  const back = forward.map(([key, left, right]) => [key, right, left])
  assert.deepEqual(await pairs(db.createDiffStream(before)), forward)
  assert.deepEqual(await pairs(db.createDiffStream(db.checkout(before))), forward)
  assert.deepEqual(await pairs(db.checkout(before).createDiffStream(db.version)), back)
  assert.deepEqual(await pairs(db.checkout(before).createDiffStream(db.snapshot())), back)
  assert.deepEqual(await pairs(db.createDiffStream(db.version)), [])
  const [{ left, right }] = await collect(db.createDiffStream(before))
  assert.deepEqual(left, await db.get('b'))
  assert.deepEqual(right, await db.checkout(before).get('b'))
})

test('createDiffStream: range, reverse, limit, sub', async (t) => {
  const { db, before } = await edited(t)
  const keys = async (...args) =>
    (await pairs(db.createDiffStream(before, ...args))).map(([key]) => key).join('')
  assert.equal(await keys({ gt: 'b' }), 'ce')
  assert.equal(await keys({ gte: 'b', lt: 'e' }), 'bc')
  assert.equal(await keys({ reverse: true }), 'ecb')
  assert.equal(await keys({ reverse: true, limit: 1 }), 'e')
  const sub = db.sub('s')
  const { version } = db
  await sub.put('x', { n: 1 })
  await db.put('y', { n: 1 })
  assert.deepEqual(await pairs(sub.createDiffStream(version)), [['x', 1, null]])
  assert.throws(() => db.createDiffStream('a'), { code: 'ERR_OPTIONS' })
  await assert.rejects(collect(db.createDiffStream(db.version + 1)), { code: 'ERR_VERSION_GONE' })
})

test('createDiffStream over more versions than the log is read for says the same', async (t) => {
  const db = await open(t)
  const numbers = Array.from({ length: 5000 }, (_, n) => n)
  await Promise.all(numbers.map((n) => db.put(`k${String(n).padStart(4, '0')}`, { n: 0 })))
  const first = db.version
  await Promise.all(numbers.map((n) => db.put(`m${String(n).padStart(4, '0')}`, { n: 1 })))
  await db.put('k0003', { n: 7 })
  await db.del('k0005')
  const found = await pairs(db.createDiffStream(first))
  assert.equal(found.length, 5002)
  assert.deepEqual(found.slice(0, 3), [
    ['k0003', 7, 0],
    ['k0005', null, 0],
    ['m0000', 1, null]
  ])
  const back = await pairs(db.checkout(first).createDiffStream(db.version, { reverse: true, lt: 'm' }))
  assert.deepEqual(back, [
    ['k0005', 0, null],
    ['k0003', 0, 7]
  ])
})

test('a diff stream is of its two versions, whatever is written meanwhile', async (t) => {
  const { db, before } = await edited(t)
  const stream = db.createDiffStream(before)
  await db.put('a', { n: 9 })
  await db.del('b')
  assert.deepEqual(
    (await pairs(stream)).map(([key]) => key),
    ['b', 'c', 'e']
  )
})

test('checkout({ timestamp }) is the last version committed by then', async (t) => {
  const db = await open(t)
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20))
  const before = new Date()
  await pause()
  const times = []
  for (let n = 1; n <= 5; n++) {
    await db.put('k', { n })
    times.push(Date.now())
    await pause()
  }
  assert.equal(await db.checkout({ timestamp: before }).get('k'), null)
  for (const [i, time] of times.entries()) {
    for (const timestamp of [time, new Date(time), new Date(time).toISOString()]) {
      assert.equal((await db.checkout({ timestamp }).get('k')).value.n, i + 1)
    }
  }
  assert.equal(db.checkout({ timestamp: Date.now() + 1e9 }).version, db.version)
  for (const timestamp of ['yesterday', null, -1, NaN]) {
    assert.throws(() => db.checkout({ timestamp }), { code: 'ERR_OPTIONS' })
  }
})

test('ERR_VERSION_GONE: a version that is not there yet, however it is asked for', async (t) => {
  const { MultiHyperbee } = require('./helpers.js')
  const early = new MultiHyperbee(':memory:')
  t.after(() => early.close())
  const view = early.checkout(5)
  await assert.rejects(view.get('k'), { code: 'ERR_VERSION_GONE' })
  await assert.rejects(view.getMany(['k']), { code: 'ERR_VERSION_GONE' })
  assert.throws(() => view.getSync('k'), { code: 'ERR_VERSION_GONE' })
  await assert.rejects(collect(view.createReadStream()), { code: 'ERR_VERSION_GONE' })
  assert.throws(() => early.checkout(5), { code: 'ERR_VERSION_GONE' })
  assert.throws(() => early.checkout('x'), { code: 'ERR_OPTIONS' })
})

test('getHeader says what the database is', async (t) => {
  const db = await open(t, ':memory:', { valueEncoding: 'utf-8' })
  const header = await db.getHeader()
  assert.equal(header.protocol, 'multi-hyperbee')
  assert.deepEqual(header.key, db.key)
  assert.deepEqual(header.metadata, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  assert.deepEqual(await db.snapshot().getHeader(), header)
})
