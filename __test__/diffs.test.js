'use strict'

// Diffs as they are published: multi-hyperbee's own fixtures, peers as bees over diffs, the union of all writers'.

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, openWriter, connect, converge, collect, plain } = require('./helpers.js')

const KEY = 'Contact/r1'
const object0 = { firstName: 'J', lastName: 'S', friends: ['Claire', 'Martha', 'Jake', 'Sean'] }
const object1 = {
  ...object0,
  lastName: 'Smith',
  gender: 'F',
  firstName: 'Jane',
  country: { name: 'United States' }
}
const object1_1 = {
  ...object1,
  nickname: 'Jenny',
  friends: ['Claire', 'Kate', 'Martha', 'Maggie', 'Jake', 'Sean'],
  country: { name: 'United States', code: 'US' }
}
const object2 = {
  firstName: 'Jane',
  lastName: 'Smith',
  nickname: 'Jenny',
  dateOfBirth: 843177600000,
  friends: ['Claire', 'Kate', 'Martha', 'Maggie', 'Jake'],
  country: { name: 'United States' }
}
const diff0 = { list: { add: object0 } }
const diff1 = {
  list: { add: { lastName: 'Smith', gender: 'F', firstName: 'Jane', country: { name: 'United States' } } }
}
const diff1_1 = {
  list: {
    add: { nickname: 'Jenny' },
    insert: {
      add: {
        friends: [
          { after: 'Claire', value: 'Kate' },
          { after: 'Martha', value: 'Maggie' }
        ],
        country: { code: 'US' }
      }
    }
  }
}
const list2 = {
  add: { dateOfBirth: 843177600000 },
  remove: { gender: '' },
  insert: { remove: { country: { code: 'US' }, friends: [{ value: 'Sean' }] } }
}

/** Puts what `change` makes of the value that is read; with a diff, `_diff` says what changed. */
async function edit(db, next, diff) {
  const { value } = await db.get(KEY)
  const { _objectId, _timestamp } = value
  const rest = _prev(value)
  await db.put(KEY, { ...next, _objectId, _timestamp, ...rest, ...(diff && { _diff: diff }) })
}

const _prev = ({ _prevTimestamp }) => (_prevTimestamp === undefined ? {} : { _prevTimestamp })
const list = async (db) => (await collect((await db.getDiff()).createHistoryStream())).at(-1).value.list

test('the fixtures: diffs supplied by the caller give the objects, on both devices', async (t) => {
  const db = await open(t)
  const other = await openWriter(t, db)
  connect(db, other)
  await db.put(KEY, { ...object0, _diff: diff0 })
  assert.deepEqual(plain((await db.get(KEY)).value), object0)
  await edit(db, object1, diff1)
  assert.deepEqual(plain((await db.get(KEY)).value), object1)
  await other.waitForWritable()
  await converge(db, other)
  await edit(other, object1_1, diff1_1)
  await converge(db, other)
  for (const each of [db, other]) assert.deepEqual(plain((await each.get(KEY)).value), object1_1)
  assert.deepEqual(await list(other), diff1_1.list)
})

test('the fixtures: the diff generated for object1_1 -> object2 comes out exactly', async (t) => {
  const db = await open(t)
  await db.put(KEY, object1_1)
  const before = (await db.get(KEY)).value
  await edit(db, object2)
  const { value, seq, key } = await (await db.getDiff()).peek({ reverse: true })
  assert.deepEqual(value.list, list2)
  assert.equal(key, `${KEY}/${value._timestamp}`)
  const after = (await db.get(KEY)).value
  assert.equal(after._timestamp.slice(0, -17), value._timestamp)
  assert.deepEqual(value.obj, { _objectId: KEY, _prevTimestamp: before._timestamp.slice(0, -17) })
  assert.deepEqual(Object.keys(value).sort(), ['_timestamp', 'list', 'obj'])
  assert.equal(seq, db.local.length - 1)
})

test('a malformed _diff is refused and nothing is written', async (t) => {
  const db = await open(t)
  await db.put(KEY, object0)
  const { version } = db
  for (const _diff of [1, 'x', { list: 3 }, { list: { add: [] } }, { list: { unknown: {} } }]) {
    await assert.rejects(
      db.put(KEY, { ...object1, _diff }),
      { code: 'ERR_INVALID_VALUE' },
      JSON.stringify(_diff)
    )
  }
  assert.equal(db.version, version)
})

test('getDiff: the local diffs, a delete among them, by key, by range, by seq', async (t) => {
  const db = await open(t)
  await db.put('a', { n: 1 })
  await db.put('a/b', { n: 1 })
  await db.put('a', { n: 2 })
  await db.del('a/b')
  const diffs = await db.getDiff()
  assert.deepEqual(diffs.feed.key, db.local.key)
  const history = await collect(diffs.createHistoryStream())
  assert.deepEqual(
    history.map(({ value }) => [value.obj._objectId, value.list ?? value.del]),
    [
      ['a', { add: { n: 1 } }],
      ['a/b', { add: { n: 1 } }],
      ['a', { add: { n: 2 } }],
      ['a/b', true]
    ]
  )
  const [a1, b1, a2, b2] = history.map(({ key }) => key)
  const keys = async (...args) => (await collect(diffs.createReadStream(...args))).map(({ key }) => key)
  assert.deepEqual(await keys(), [a1, a2, b1, b2])
  assert.deepEqual(await keys({ reverse: true }), [b2, b1, a2, a1])
  assert.deepEqual(await keys({ gt: a1, lte: a2 }), [a2])
  assert.deepEqual(await keys({ gte: 'a/b/', lt: 'a/b/~' }), [b1, b2])
  assert.deepEqual(await keys({ gte: a2 }, { limit: 2 }), [a2, b1])
  assert.deepEqual(await keys({ gt: 'b' }), [])
  const { type, ...entry } = history[2]
  assert.equal(type, 'put')
  assert.deepEqual(await diffs.get(a2), entry)
  assert.equal(await diffs.get('a'), null)
  assert.equal(await diffs.get(a2.replace('a/', 'c/')), null)
  assert.deepEqual(await diffs.getMany([a1, 'x']), [await diffs.get(a1), null])
  assert.deepEqual(await diffs.getBySeq(entry.seq), { key: a2, value: entry.value })
  assert.equal(await diffs.getBySeq(0), null)
  const backwards = await collect(diffs.createHistoryStream({ reverse: true, limit: 2 }))
  assert.deepEqual(
    backwards.map(({ key }) => key),
    [b2, a2]
  )
  assert.deepEqual(
    (await collect(diffs.createHistoryStream({ gte: -1 }))).map(({ key }) => key),
    [b2]
  )
})

test('a peer is a bee over its diffs', async (t) => {
  const db = await open(t)
  const other = await openWriter(t, db)
  connect(db, other)
  await other.waitForWritable()
  await other.put('k', { from: 'other' })
  await db.put('l', { from: 'db' })
  await converge(db, other)
  const peer = await db.addPeer((await other.getDiff()).feed.key)
  const [entry, ...more] = await collect(peer.createReadStream())
  assert.deepEqual(more, [])
  assert.deepEqual(entry.value.list, { add: { from: 'other' } })
  assert.deepEqual(entry, await (await other.getDiff()).peek())
  assert.equal(peer.writable, false)
  assert.equal(peer.version, other.local.length)
})

test('createUnionStream: every writer’s diffs of one object, in order, from a timestamp on', async (t) => {
  const db = await open(t)
  const other = await openWriter(t, db)
  connect(db, other)
  await other.waitForWritable()
  for (const [n, writer] of [db, other, db, other].entries()) {
    await writer.put('k', { n })
    await writer.put('k/sub', { n })
    await converge(db, other)
  }
  const numbers = async (each, key) =>
    (await collect(each.createUnionStream(key))).map(({ value }) => value.list.add.n)
  const all = await collect(db.createUnionStream('k'))
  assert.deepEqual(await collect(other.createUnionStream('k')), all)
  assert.deepEqual(await numbers(db, 'k'), [0, 1, 2, 3])
  assert.deepEqual(await numbers(other, all[2].key), [2, 3])
  assert.deepEqual(await numbers(db, `k/${(await db.get('k')).value._timestamp}`), [3])
  assert.deepEqual(await numbers(db, 'k/sub'), [0, 1, 2, 3])
  assert.deepEqual(await numbers(db, 'k/'), [])
  assert.throws(() => db.createUnionStream(), { code: 'ERR_OPTIONS', message: /Key is expected/ })
})

test('diffs of binary keys are named in hex; of registers they carry the value', async (t) => {
  const db = await open(t, ':memory:', { keyEncoding: 'binary', valueEncoding: 'utf-8' })
  await db.put(Buffer.from([0xff, 1]), 'text')
  const diffs = await db.getDiff()
  const { key, value } = await diffs.peek({ gte: 'ff01/', lt: 'ff01/~' })
  assert.equal(key, `ff01/${value._timestamp}`)
  assert.equal(value.value, 'text')
  assert.deepEqual((await collect(db.createUnionStream('ff01')))[0].key, key)
})
