'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbee, open, directory, plain } = require('./helpers.js')

const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z-[0-9a-f]{8}-[0-9a-f]{12}-[0-9a-f]{16}$/

test('what was put is got, with what a read adds and no more', async (t) => {
  const db = await open(t)
  assert.equal(await db.put('Contact/r1', { firstName: 'Jane', age: 3 }), true)
  const entry = await db.get('Contact/r1')
  assert.equal(entry.key, 'Contact/r1')
  assert.equal(entry.seq, db.version)
  assert.deepEqual(plain(entry.value), { firstName: 'Jane', age: 3 })
  assert.equal(entry.value._objectId, 'Contact/r1')
  assert.match(entry.value._timestamp.slice(0, -17), STAMP)
  assert.match(entry.value._timestamp.slice(-17), /^-[0-9a-f]{16}$/)
  assert.equal('_prevTimestamp' in entry.value, false)
  assert.equal(await db.get('absent'), null)
})

test('a second put names the diff before it, and sorts after it', async (t) => {
  const db = await open(t)
  await db.put('k', { a: 1 })
  const first = (await db.get('k')).value
  await db.put('k', { a: 2 })
  const second = (await db.get('k')).value
  assert.equal(second._prevTimestamp, first._timestamp.slice(0, -17))
  assert.ok(second._timestamp > first._timestamp)
})

test('a value that was read can be changed and put back', async (t) => {
  const db = await open(t)
  await db.put('k', { a: 1, list: [1, 2] })
  const { value } = await db.get('k')
  value.a = 2
  value.list.push(3)
  const before = structuredClone(value)
  assert.equal(await db.put('k', value), true)
  assert.deepEqual(value, before)
  assert.deepEqual(plain((await db.get('k')).value), { a: 2, list: [1, 2, 3] })
})

test('nothing is written when nothing changed', async (t) => {
  const db = await open(t)
  await db.put('k', { a: 1 })
  const { version } = db
  assert.equal(await db.put('k', { a: 1 }), false)
  assert.equal(await db.put('k', { a: 1 }, { receipt: true }), null)
  assert.equal(await db.del('absent'), false)
  assert.equal(db.version, version)
})

test('a deleted key is absent, and can be created again', async (t) => {
  const db = await open(t)
  await db.put('k', { a: 1 })
  assert.equal(await db.del('k'), true)
  assert.equal(await db.get('k'), null)
  await db.put('k', { b: 1 })
  assert.deepEqual(plain((await db.get('k')).value), { b: 1 })
})

test('a receipt names the entry', async (t) => {
  const db = await open(t)
  const receipt = await db.put('k', { a: 1 }, { receipt: true })
  assert.deepEqual(receipt.key, db.local.key)
  assert.equal(receipt.length, db.local.length)
  await db.applied(receipt, { timeout: 1000 })
})

test('unawaited writes take effect in the order of their calls', async (t) => {
  const db = await open(t)
  const writes = []
  for (let i = 0; i < 200; i++) {
    writes.push(db.put('k', { i }))
    if (i % 50 === 10) writes.push(db.del('k'))
  }
  await Promise.all(writes)
  assert.deepEqual(plain((await db.get('k')).value), { i: 199 })
  const unready = new MultiHyperbee(':memory:')
  t.after(() => unready.close())
  unready.put('k', { a: 1 })
  unready.put('k', { a: 2 })
  await unready.del('other')
  assert.deepEqual(plain((await unready.get('k')).value), { a: 2 })
})

test('one bad write of a tick rejects alone', async (t) => {
  const db = await open(t)
  const writes = [
    db.put('a', { a: 1 }),
    db.put('b', 1),
    db.put('x'.repeat(1901), { a: 1 }),
    db.put('c', { a: 1 })
  ]
  const results = await Promise.allSettled(writes)
  assert.deepEqual(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled']
  )
  assert.equal(results[1].reason.code, 'ERR_INVALID_VALUE')
  assert.equal(results[2].reason.code, 'ERR_KEY_TOO_LARGE')
  assert.ok(await db.get('c'))
})

test('cas is asked about an existing key only, and decides', async (t) => {
  const db = await open(t)
  let asked = 0
  const cas = (prev, next) => {
    asked++
    return prev.value.n < next.value.n
  }
  assert.equal(await db.put('k', { n: 5 }, { cas }), true)
  assert.equal(asked, 0)
  assert.equal(await db.put('k', { n: 4 }, { cas }), false)
  assert.equal(await db.put('k', { n: 6 }, { cas }), true)
  assert.equal(await db.del('k', { cas: () => false }), false)
  assert.equal(await db.del('k', { cas: async () => true }), true)
  assert.equal(asked, 2)
})

test('concurrent conditional increments all count', async (t) => {
  const db = await open(t)
  await db.put('k', { n: 0 })
  const increment = async () => {
    for (;;) {
      const { seq, value } = await db.get('k')
      if (await db.put('k', { n: value.n + 1 }, { cas: (prev) => prev.seq === seq })) return
    }
  }
  await Promise.all(Array.from({ length: 20 }, increment))
  assert.equal((await db.get('k')).value.n, 20)
})

test('getSync and getMany agree with get', async (t) => {
  const db = await open(t)
  await Promise.all(Array.from({ length: 300 }, (_, i) => db.put(`k${i}`, { i })))
  const keys = ['k5', 'absent', 'k299']
  const many = await db.getMany(keys)
  assert.deepEqual(many, [await db.get('k5'), null, await db.get('k299')])
  assert.deepEqual(db.getSync('k5'), await db.get('k5'))
  assert.equal(db.getSync('absent'), null)
})

test('values larger than any scratch space come back whole', async (t) => {
  const db = await open(t)
  const text = 'ü'.repeat(200_000)
  await db.put('k', { text })
  assert.equal((await db.get('k')).value.text, text)
})

test('registers: another value encoding, bytes in, bytes out', async (t) => {
  const db = await open(t, ':memory:', { keyEncoding: 'binary', valueEncoding: 'binary' })
  const key = Buffer.from([0xff, 0, 1])
  await db.put(key, Buffer.from([1, 2, 3]))
  assert.deepEqual((await db.get(key)).value, Buffer.from([1, 2, 3]))
  await db.put(key, Buffer.alloc(0))
  assert.deepEqual((await db.get(key)).value, Buffer.alloc(0))
})

test('a binary key of an object is named in hex', async (t) => {
  const db = await open(t, ':memory:', { keyEncoding: 'binary' })
  await db.put(Buffer.from([0xff, 0]), { a: 1 })
  assert.equal((await db.get(Buffer.from([0xff, 0]))).value._objectId, 'ff00')
})

test('a store keeps what was written, its key and its name', async (t) => {
  const folder = directory(t)
  const first = new MultiHyperbee(folder)
  await first.put('k', { a: 1 })
  const { key } = first
  const before = await first.stateHash()
  await first.close()
  const second = await open(t, folder)
  assert.deepEqual(second.key, key)
  assert.equal(second.id, key.toString('hex'))
  assert.deepEqual(plain((await second.get('k')).value), { a: 1 })
  assert.deepEqual(await second.stateHash(), before)
})

test('before it is ready nothing throws, and nothing is known', async (t) => {
  const db = new MultiHyperbee(':memory:')
  t.after(() => db.close())
  assert.deepEqual([db.key, db.id, db.local, db.discoveryKey], [null, null, null, null])
  assert.deepEqual([db.writable, db.isIndexer, db.opened, db.closed], [false, false, false, false])
  assert.equal(db.version, 0)
  assert.throws(() => db.getSync('k'), { code: 'ERR_NOT_READY' })
  await db.ready()
  assert.deepEqual([db.writable, db.isIndexer, db.opened, db.closed], [true, true, true, false])
  assert.equal(MultiHyperbee.isMultiHyperbee(db), true)
  assert.equal(MultiHyperbee.isMultiHyperbee({}), false)
})

test('update is told of every version', async (t) => {
  const db = await open(t)
  const updates = []
  db.on('update', (from, to) => updates.push([from, to]))
  await db.put('a', { a: 1 })
  await db.put('b', { a: 1 })
  while (updates.at(-1)?.[1] !== db.version) await new Promise((resolve) => setImmediate(resolve))
  for (let i = 1; i < updates.length; i++) assert.equal(updates[i][0], updates[i - 1][1])
})

test('stateHash is of the content, whatever the way to it', async (t) => {
  const db = await open(t)
  const empty = await db.stateHash()
  await db.put('a', { a: 1 })
  const one = await db.stateHash()
  assert.notDeepEqual(one, empty)
  await db.put('b', { a: 1 })
  assert.notDeepEqual(await db.stateHash(), one)
  await db.del('b')
  assert.deepEqual(await db.stateHash(), one)
})

test('sub: a prefix of its own, nested, with its own encodings', async (t) => {
  const db = await open(t)
  const users = db.sub('users')
  const raw = users.sub('raw', { valueEncoding: 'utf-8' })
  await users.put('a', { n: 1 })
  await raw.put('b', 'text')
  await db.put('z', { n: 2 })
  assert.deepEqual(plain((await users.get('a')).value), { n: 1 })
  assert.equal((await raw.get('b')).value, 'text')
  assert.equal(await db.get('a'), null)
  assert.equal((await db.get('users\0a')).value.n, 1)
})

test('checkout and snapshot read the past', async (t) => {
  const db = await open(t)
  await db.put('a', { n: 1 })
  const { version } = db
  const snapshot = db.snapshot()
  await db.put('a', { n: 2 })
  await db.put('b', { n: 1 })
  for (const view of [snapshot, db.checkout(version)]) {
    assert.equal((await view.get('a')).value.n, 1)
    assert.equal(view.getSync('b'), null)
    assert.equal(view.version, version)
    assert.equal(view.put, undefined)
    await view.close()
  }
  assert.equal(await db.checkout(0).get('a'), null)
})
