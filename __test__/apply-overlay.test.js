'use strict'

// What `view` reads inside apply, against a plain map.

const test = require('node:test')
const assert = require('node:assert/strict')
const { Overlay } = require('../lib/apply/overlay.js')
const { SortedKeys } = require('../lib/apply/sorted-keys.js')
const { Turn } = require('../lib/apply/turn.js')
const { WorkingView } = require('../lib/apply/view.js')
const { PlainCodec } = require('../lib/codec.js')
const { resolveEncoding } = require('../lib/encodings.js')
const { FakeStore } = require('./support/fake-core.js')
const { collect } = require('./helpers.js')

/** A generator of numbers, the same each run. */
function randomly(seed) {
  let state = seed
  return (below) => {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return Math.floor((state / 0x80000000) * below)
  }
}

/** Short, with bytes of every kind: what sorts differently as text shows. */
const KEYS = ['', '\x00', '\x00a', 'a', 'a\x00', 'ab', 'b', '\x7f', '\x80', '\xe9', '\xff', '\xff\xff']
const latin1 = (text) => Buffer.from(text, 'latin1')

function rangeOf(random) {
  const range = {}
  if (random(2) === 0) range[random(2) === 0 ? 'gt' : 'gte'] = latin1(KEYS[random(KEYS.length)])
  if (random(2) === 0) range[random(2) === 0 ? 'lt' : 'lte'] = latin1(KEYS[random(KEYS.length)])
  if (random(2) === 0) range.reverse = true
  return range
}

/** What of a plain map lies in a range. */
function within(map, { gt, gte, lt, lte, reverse }) {
  const inside = (key) => {
    const at = (bound) => Buffer.compare(latin1(key), bound)
    return !(gt && at(gt) <= 0) && !(gte && at(gte) < 0) && !(lt && at(lt) >= 0) && !(lte && at(lte) > 0)
  }
  const all = [...map].filter(([key]) => inside(key))
  all.sort(([a], [b]) => Buffer.compare(latin1(a), latin1(b)))
  return reverse ? all.reverse() : all
}

test('an overlay reads as a plain map would, batches kept and taken back', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomly(seed)
    const store = new FakeStore()
    for (let seq = 1; seq <= random(8); seq++) {
      store.rows.push([seq, KEYS[random(KEYS.length)], random(4) === 0 ? null : `s${seq}`])
    }
    const version = random(8)
    const overlay = new Overlay(store, version)
    let plain = new Map([...store.at(version)].map(([key, { value }]) => [key, value]))
    for (let batch = 0; batch < 4; batch++) {
      const before = new Map(plain)
      overlay.begin()
      for (let n = 0; n < random(6); n++) {
        const key = KEYS[random(KEYS.length)]
        if (random(3) === 0) {
          overlay.set(key, null)
          plain.delete(key)
        } else {
          overlay.set(key, Buffer.from(`${batch}.${n}`))
          plain.set(key, `${batch}.${n}`)
        }
        const range = rangeOf(random)
        const read = [...overlay.entries(range)].map(([k, v]) => [k.toString('latin1'), v.toString()])
        assert.deepEqual(read, within(plain, range), `seed ${seed}`)
      }
      if (random(8) === 0) {
        const range = rangeOf(random)
        overlay.clear(range)
        for (const [key] of within(plain, range)) plain.delete(key)
      }
      const changed = new Map([...overlay.changed()].map(([key, value]) => [key, value?.toString() ?? null]))
      const differing = new Set([...before.keys(), ...plain.keys()])
      const expected = [...differing].filter((key) => before.get(key) !== plain.get(key))
      assert.deepEqual([...changed.keys()].sort(), expected.sort(), `seed ${seed}`)
      for (const key of expected) assert.equal(changed.get(key), plain.get(key) ?? null)
      if (random(3) === 0) {
        overlay.rollback()
        plain = before
      }
      for (const key of KEYS) {
        assert.equal(
          overlay.read(latin1(key))?.toString(),
          plain.get(key),
          `seed ${seed}, ${JSON.stringify(key)}`
        )
      }
    }
  }
})

test('keys are sorted whenever they are asked for, however they came', () => {
  const random = randomly(7)
  const keys = new SortedKeys()
  const all = new Set()
  for (let round = 0; round < 60; round++) {
    for (let n = random(14); n > 0; n--) {
      const key = String.fromCharCode(random(256), random(256))
      if (!all.has(key)) keys.add(key)
      all.add(key)
    }
    assert.deepEqual(keys.all(), [...all].sort())
  }
})

const utf8 = resolveEncoding('utf-8')
const json = resolveEncoding('json')

function viewOver(store, version = 0, codec = new PlainCodec(utf8, json)) {
  const batch = { writer: Buffer.alloc(32, 1), seq: 0, entries: 1, optimistic: false }
  const turn = new Turn(new Overlay(store, version), batch, 0)
  return { turn, view: new WorkingView({ turn, key: Buffer.alloc(32) }, codec) }
}

test('reads see what was flushed, and only that; what is left is flushed at the end', async () => {
  const { turn, view } = viewOver(new FakeStore())
  const writes = view.write()
  writes.tryPut('a', { n: 1 })
  assert.equal(await view.get('a'), null)
  await writes.flush()
  assert.deepEqual(await view.get('a'), { key: 'a', value: { n: 1 } })
  writes.tryPut('b', 2)
  const dropped = view.write()
  dropped.tryPut('c', 3)
  await dropped.close()
  assert.throws(() => dropped.tryPut('c', 3), { code: 'ERR_CLOSED' })
  assert.equal(view.getSync('b'), null)
  const { overlay } = turn
  turn.end(true)
  assert.deepEqual(
    [...overlay.written()].map(([key, value]) => [key, String(value)]),
    [
      ['a', '{"n":1}'],
      ['b', '2']
    ]
  )
})

test('tryClear empties the view, and in a sub the sub, before what follows it in the batch', async () => {
  const store = new FakeStore()
  store.rows.push([1, 'a', '1'], [2, 'x\0a', '2'], [3, 'x\0b', '3'], [4, 'y', '4'])
  const { view } = viewOver(store, 4)
  await view.put('own', 1)
  const inner = view.sub('x').write()
  inner.tryPut('a', 'dropped')
  inner.tryClear()
  inner.tryPut('c', 5)
  await inner.flush()
  assert.deepEqual(
    (await collect(view.createReadStream())).map(({ key }) => key),
    ['a', 'own', 'x\0c', 'y']
  )
  const all = view.write()
  all.tryClear()
  await all.flush()
  assert.deepEqual(await collect(view.createReadStream()), [])
})

test('put and del say whether they changed anything, and write nothing if not', async () => {
  const store = new FakeStore()
  store.rows.push([1, 'a', '{"n":1}'])
  const { turn, view } = viewOver(store, 1)
  assert.equal(await view.put('a', { n: 1 }), false)
  assert.equal(await view.del('missing'), false)
  assert.equal(turn.overlay.size, 0)
  assert.equal(await view.put('a', { n: 2 }), true)
  assert.equal(
    await view.put('a', { n: 3 }, { cas: (prev, next) => prev.value.n === 2 && next.value.n === 3 }),
    true
  )
  assert.equal(await view.put('a', { n: 4 }, { cas: () => false }), false)
  assert.equal(await view.del('a', { cas: (prev) => prev.value.n === 3 }), true)
  assert.equal(await view.get('a'), null)
})

test('a batch reads its own writes, which nobody else does before its flush', async () => {
  const store = new FakeStore()
  store.rows.push([1, 'a', '1'], [2, 'c', '3'])
  const { view } = viewOver(store, 2)
  const batch = view.batch()
  await batch.put('b', 2)
  await batch.del('c')
  assert.deepEqual(await batch.get('b'), { key: 'b', value: 2 })
  assert.equal(await batch.get('c'), null)
  assert.deepEqual(await collect(batch.createReadStream()), [
    { key: 'a', value: 1 },
    { key: 'b', value: 2 }
  ])
  assert.deepEqual(await batch.peek({ gt: 'a' }), { key: 'b', value: 2 })
  assert.equal(await view.get('b'), null)
  await batch.flush()
  assert.deepEqual(
    (await view.getMany(['a', 'b', 'c'])).map((entry) => entry?.value),
    [1, 2, undefined]
  )
})

test('a stream and a snapshot show what was so when they were made', async () => {
  const { view } = viewOver(new FakeStore())
  for (const key of ['a', 'b', 'c']) await view.put(key, 1)
  const snapshot = view.snapshot()
  const stream = view.createReadStream()
  for (const key of ['a', 'b', 'c', 'd']) await view.del(key)
  await view.put('e', 2)
  assert.equal((await collect(stream)).length, 3)
  assert.deepEqual((await snapshot.peek({ reverse: true })).key, 'c')
  assert.throws(() => snapshot.put('x', 1), { code: 'ERR_MODE' })
  assert.equal((await collect(view.createReadStream({ limit: 0 }))).length, 0)
})

test('what is too large is said by tryPut itself; what the caller does with its buffer later changes nothing', () => {
  const { turn, view } = viewOver(
    new FakeStore(),
    0,
    new PlainCodec(resolveEncoding('binary'), resolveEncoding('binary'))
  )
  const writes = view.write()
  assert.throws(() => writes.tryPut(Buffer.alloc(1901), 'x'), { code: 'ERR_KEY_TOO_LARGE' })
  assert.throws(() => writes.tryPut('k', Buffer.alloc((16 << 20) + 1)), { code: 'ERR_VALUE_TOO_LARGE' })
  assert.throws(() => view.put(Buffer.alloc(1901), 'x'), { code: 'ERR_KEY_TOO_LARGE' })
  const buffer = Buffer.from('one')
  writes.tryPut('k', buffer)
  buffer.fill('-')
  writes.flush()
  assert.equal(String(view.getSync('k').value), 'one')
  view.getSync('k').value.fill('-')
  assert.equal(String(view.getSync('k').value), 'one')
  turn.end(true)
})

test("this replica's own past is no business of apply", async () => {
  const { view } = viewOver(new FakeStore())
  for (const name of ['checkout', 'createHistoryStream', 'createDiffStream', 'watch']) {
    assert.throws(() => view[name](0), { code: 'ERR_MODE', message: /own past/ })
  }
  for (const name of ['getBySeq', 'getAndWatch']) {
    await assert.rejects(view[name](0), { code: 'ERR_MODE', message: /own past/ })
  }
  assert.throws(() => view.version, { code: 'ERR_MODE' })
})

test('after its turn a view, its batches and its streams are no good', async () => {
  const store = new FakeStore()
  for (let n = 0; n < 100; n++) store.rows.push([n + 1, `k${n}`, '1'])
  const { turn, view } = viewOver(store, 100)
  const writes = view.write()
  const stream = view.createReadStream()
  turn.end(true)
  assert.throws(() => writes.tryPut('a', 1), { code: 'ERR_CLOSED' })
  await assert.rejects(view.get('a'), { code: 'ERR_CLOSED', message: /has returned/ })
  assert.throws(() => view.put('a', 1), { code: 'ERR_CLOSED' })
  await assert.rejects(collect(stream), { code: 'ERR_STREAM_PREMATURE_CLOSE' })
})

test('a read that the store fails is kept, whatever apply makes of it', async () => {
  const store = new FakeStore()
  const { turn, view } = viewOver(store)
  store.failing = new Error('ERR_CORRUPT: the page is gone')
  await view.get('a').catch(() => {})
  assert.equal(turn.overlay.fault.code, 'ERR_CORRUPT')
})
