'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { open, collect, plain } = require('./helpers.js')

const KEYS = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i))

async function alphabet(t) {
  const db = await open(t)
  await Promise.all(KEYS.map((key, n) => db.put(key, { n })))
  return db
}

const keysOf = async (stream) => (await collect(stream)).map((entry) => entry.key).join('')

test('a read stream: bounds, strict before inclusive, reverse, limit', async (t) => {
  const db = await alphabet(t)
  const cases = [
    [{}, {}, KEYS.join('')],
    [{ gt: 'c', lt: 'g' }, {}, 'def'],
    [{ gte: 'c', lte: 'g' }, {}, 'cdefg'],
    [{ gt: 'c', gte: 'a', lt: 'f', lte: 'z' }, {}, 'de'],
    [{ gte: 'x' }, { reverse: true }, 'zyx'],
    [{ reverse: true, limit: 2 }, undefined, 'zy'],
    [{ lt: 'd' }, { limit: 2 }, 'ab'],
    [{ limit: 0 }, undefined, ''],
    [{ limit: -1, gte: 'y' }, undefined, 'yz'],
    [{ gt: 'm', lt: 'm' }, {}, ''],
    [{ gte: 'y', lt: 'c' }, {}, '']
  ]
  for (const [range, options, expected] of cases) {
    assert.equal(await keysOf(db.createReadStream(range, options)), expected, JSON.stringify(range))
  }
  const [first] = await collect(db.createReadStream())
  assert.deepEqual(first, await db.get('a'))
})

test('a read stream is of one version, whatever is written meanwhile', async (t) => {
  const db = await open(t)
  await Promise.all(Array.from({ length: 2000 }, (_, n) => db.put(String(n).padStart(5, '0'), { n })))
  const seen = []
  for await (const { key, value } of db.createReadStream()) {
    seen.push(value.n)
    if (seen.length === 10)
      await Promise.all([db.put('99999', { n: 0 }), db.del('01999'), db.put('01000', { n: -1 })])
    assert.equal(key, String(value.n).padStart(5, '0'))
  }
  assert.equal(seen.length, 2000)
})

test('a stream begun before ready opens by itself', async (t) => {
  const { MultiHyperbee } = require('..')
  const db = new MultiHyperbee(':memory:')
  t.after(() => db.close())
  assert.deepEqual(await collect(db.createReadStream()), [])
  assert.deepEqual(await collect(db.createHistoryStream()), [])
})

test('peek is the first of a range', async (t) => {
  const db = await alphabet(t)
  assert.equal((await db.peek()).key, 'a')
  assert.equal((await db.peek({ gt: 'b' })).key, 'c')
  assert.equal((await db.peek({ reverse: true })).key, 'z')
  assert.equal(await db.peek({ gt: 'z' }), null)
})

test('leaving early, destroying and aborting free the stream', async (t) => {
  const db = await alphabet(t)
  for await (const entry of db.createReadStream()) if (entry.key === 'c') break
  const destroyed = db.createReadStream()
  destroyed.destroy()
  await once(destroyed, 'close')
  const controller = new AbortController()
  const aborted = db.createReadStream({}, { signal: controller.signal })
  controller.abort()
  await assert.rejects(collect(aborted), { code: 'ERR_ABORTED' })
  await assert.rejects(collect(db.createReadStream({}, { signal: AbortSignal.abort() })), {
    code: 'ERR_ABORTED'
  })
  assert.equal(db._session.open.size, 0)
})

test('history: every write in order, with deletions, by bounds, reversed', async (t) => {
  const db = await open(t)
  await db.put('a', { n: 1 })
  await db.put('b', { n: 2 })
  await db.del('a')
  await db.put('b', { n: 3 })
  const all = await collect(db.createHistoryStream())
  assert.deepEqual(
    all.map(({ type, seq, key, value }) => [type, seq, key, value && plain(value)]),
    [
      ['put', 1, 'a', { n: 1 }],
      ['put', 2, 'b', { n: 2 }],
      ['del', 3, 'a', null],
      ['put', 4, 'b', { n: 3 }]
    ]
  )
  const seqs = async (options) => (await collect(db.createHistoryStream(options))).map((entry) => entry.seq)
  assert.deepEqual(await seqs({ reverse: true }), [4, 3, 2, 1])
  assert.deepEqual(await seqs({ gt: 1, lt: 4 }), [2, 3])
  assert.deepEqual(await seqs({ gte: 2, lte: 3 }), [2, 3])
  assert.deepEqual(await seqs({ gte: -1 }), [4])
  assert.deepEqual(await seqs({ lt: -1 }), [1, 2, 3])
  assert.deepEqual(await seqs({ limit: 2 }), [1, 2])
  assert.deepEqual(await seqs({ limit: 2, reverse: true }), [4, 3])
  assert.throws(() => db.createHistoryStream({ live: true, reverse: true }), { code: 'ERR_OPTIONS' })
  assert.deepEqual((await db.getBySeq(2)).key, 'b')
  assert.equal(await db.getBySeq(5), null)
})

test('a live history goes on with what is written, and ends with the database', async (t) => {
  const db = await open(t)
  await db.put('k0', { n: 0 })
  const seen = []
  const stream = db.createHistoryStream({ live: true })
  const reading = (async () => {
    for await (const entry of stream) {
      seen.push(entry.key)
      if (seen.length < 20) await db.put(`k${seen.length}`, { n: seen.length })
    }
  })()
  reading.catch(() => {})
  while (seen.length < 20) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    seen,
    Array.from({ length: 20 }, (_, i) => `k${i}`)
  )
  await db.close()
  await assert.rejects(reading, { code: 'ERR_CLOSED' })
})

test('a live history with a limit ends', async (t) => {
  const db = await open(t)
  setImmediate(() => db.put('a', { n: 1 }).then(() => db.put('b', { n: 1 })))
  const entries = await collect(db.createHistoryStream({ live: true, limit: 2 }))
  assert.deepEqual(
    entries.map((entry) => entry.key),
    ['a', 'b']
  )
})
