'use strict'

// Lines of the API's description that no other test is about: docs/design/testing.md has the table of all.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { Readable } = require('node:stream')
const {
  MultiHyperbee,
  directory,
  open,
  openWriter,
  connect,
  converge,
  collect,
  plain
} = require('./helpers.js')

const { Store } = MultiHyperbee
const WAIT = { timeout: 20_000 }

/** The length of a timestamp without the state that a read puts behind it. */
const STAMP_LENGTH = 63
/** Where an entry says its time. */
const TIME_AT = 3

const value = async (view, key, options) => {
  const entry = await view.get(key, options)
  return entry === null ? null : plain(entry.value)
}
const stamp = async (db, key) => (await db.get(key)).value._timestamp.slice(0, STAMP_LENGTH)

/** Waits for updates of `db` until `holds`. */
async function until(db, holds) {
  while (!(await holds())) {
    const over = AbortSignal.timeout(50)
    await once(db, 'update', { signal: over }).catch(() => {})
  }
}

/** Two replicas, both granted, that are apart; `meet` connects them until they agree. */
async function apart(t, options) {
  const a = await open(t, ':memory:', { ...options })
  const b = await openWriter(t, a, options)
  const meet = async () => {
    const streams = connect(a, b)
    await converge(a, b)
    for (const stream of streams) stream.destroy()
  }
  const streams = connect(a, b)
  await b.waitForWritable(WAIT)
  await converge(a, b)
  for (const stream of streams) stream.destroy()
  return { a, b, meet }
}

async function lastDiff(db) {
  const [entry] = await collect((await db.getDiff()).createHistoryStream({ reverse: true, limit: 1 }))
  return entry.value
}

const READS =
  'get getSync getMany getBySeq peek getHeader createReadStream createHistoryStream createDiffStream watch ' +
  'getAndWatch checkout snapshot sub ready close'
const WRITES = ['put', 'del', 'batch']

test('the read API is on db.view, snapshots, checkouts, peers and their subs, in both modes, and writes are not', async (t) => {
  const merging = await open(t)
  await merging.put('k', { n: 1 })
  assert.equal(merging.view, merging)
  const applying = await open(t, ':memory:', {
    apply: (nodes, view) => view.put('k', nodes[0].value)
  })
  await applying.append('x')
  await applying.update()
  const peer = await merging.getDiff()
  const views = [merging, applying.view].flatMap((view) => [view.snapshot(), view.checkout(view.version)])
  views.push(applying.view, peer, peer.snapshot(), peer.checkout(peer.version))
  for (const view of views.flatMap((each) => [each, each.sub('s'), each.sub('s').sub('t')])) {
    for (const name of READS.split(' ')) assert.equal(typeof view[name], 'function', name)
    assert.equal(view.writable, false)
    for (const name of WRITES) {
      if (view[name] === undefined) continue
      await assert.rejects(async () => view[name]('k', {}), { code: 'ERR_MODE' })
    }
    assert.equal(typeof view.version, 'number')
    assert.equal(await view.get('absent'), null)
    assert.deepEqual(await view.getMany(['absent']), [null])
    assert.deepEqual(await collect(view.createReadStream({ gt: 'x' })), [])
    assert.deepEqual(await collect(view.createDiffStream(view.version)), [])
    await view.getHeader()
  }
  assert.deepEqual((await applying.view.get(Buffer.from('k'))).value, Buffer.from('x'))
})

test('get and getSync: { keyEncoding, valueEncoding } per call', async (t) => {
  const db = await open(t)
  await db.put('k', 'text', { valueEncoding: 'utf-8' })
  const options = { keyEncoding: 'binary', valueEncoding: 'binary' }
  const entry = await db.get(Buffer.from('k'), options)
  assert.deepEqual(entry, { seq: db.version, key: Buffer.from('k'), value: Buffer.from('text') })
  assert.deepEqual(db.getSync(Buffer.from('k'), options), entry)
  assert.deepEqual(await db.getMany([Buffer.from('k')], options), [entry])
})

test('getMany: one crossing into the core', async (t) => {
  const db = await open(t)
  await Promise.all(Array.from({ length: 50 }, (_, n) => db.put(`k${n}`, { n })))
  const native = db._session.native()
  const crossings = []
  for (const name of ['getMany', 'getInto']) {
    const call = native[name]
    native[name] = function (...args) {
      crossings.push(name)
      return call.apply(this, args)
    }
  }
  const entries = await db.getMany(Array.from({ length: 50 }, (_, n) => `k${n}`))
  assert.equal(entries.length, 50)
  assert.deepEqual(crossings, ['getMany'])
})

test('put and del: conditional on the prev that cas was shown, asked again if it changed', async (t) => {
  const store = new Store(':memory:')
  t.after(() => store.close())
  const one = await open(t, store)
  const two = await open(t, store)
  await one.put('k', { n: 1 })
  const interrupted = (n, answer) => {
    const asked = []
    const cas = async (prev, next) => {
      asked.push([prev.value.n, next.value && next.value.n])
      if (asked.length === 1) await two.put('k', { n })
      return answer(asked.length)
    }
    return { asked, cas }
  }
  const both = interrupted(2, () => true)
  assert.equal(await one.put('k', { n: 9 }, both), true)
  assert.deepEqual(both.asked, [
    [1, 9],
    [2, 9]
  ])
  const refusing = interrupted(3, (times) => times === 1)
  assert.equal(await one.put('k', { n: 10 }, refusing), false)
  assert.deepEqual(await value(one, 'k'), { n: 3 })
  const deleting = interrupted(4, () => true)
  assert.equal(await one.del('k', deleting), true)
  assert.deepEqual(deleting.asked, [
    [3, null],
    [4, null]
  ])
  assert.equal(await two.get('k'), null)
})

test('del: a receipt; a tombstone that replicates, not a local removal', async (t) => {
  const { a, b, meet } = await apart(t)
  await a.put('k', { n: 1 })
  await meet()
  assert.deepEqual(await value(b, 'k'), { n: 1 })
  const { length } = a.local
  assert.deepEqual(await a.del('k', { receipt: true }), { key: a.local.key, length: length + 1 })
  assert.equal(await a.del('k', { receipt: true }), null)
  await meet()
  assert.equal(await b.get('k'), null)
  assert.equal((await lastDiff(a)).del, true)
})

test('batch: put, del, get, peek, createReadStream, flush, close; on peers it is visible at once, never in part', async (t) => {
  const { a, b } = await apart(t)
  const keys = Array.from({ length: 200 }, (_, n) => `k${n}`)
  const counts = new Set()
  const look = () => counts.add(keys.filter((key) => b.getSync(key) !== null).length)
  b.on('update', look)
  connect(a, b)
  const batch = a.batch()
  for (const name of ['put', 'del', 'get', 'peek', 'createReadStream', 'flush', 'close']) {
    assert.equal(typeof batch[name], 'function', name)
  }
  for (const key of keys) await batch.put(key, { n: 1 })
  look()
  await batch.flush()
  await converge(a, b)
  look()
  assert.deepEqual([...counts], [0, keys.length])
})

test('streams are Node Readables in object mode, async-iterable, and end by a signal', async (t) => {
  const db = await open(t)
  await Promise.all(['a', 'b', 'c'].map((key) => db.put(key, { n: 1 })))
  const batch = db.batch()
  await batch.put('d', { n: 1 })
  t.after(() => batch.close())
  const makes = [
    (options) => db.createReadStream({}, options),
    (options) => db.createHistoryStream(options),
    (options) => db.createDiffStream(0, {}, options),
    (options) => db.createUnionStream('a', options),
    (options) => batch.createReadStream({}, options)
  ]
  for (const make of makes) {
    const stream = make()
    assert.ok(stream instanceof Readable && stream.readableObjectMode)
    const flowing = make()
    const seen = []
    flowing.on('data', (entry) => seen.push(entry))
    await once(flowing, 'end')
    assert.deepEqual(await collect(stream), seen)
    assert.ok(seen.length > 0)
    await assert.rejects(collect(make({ signal: AbortSignal.abort() })), { code: 'ERR_ABORTED' })
  }
})

test('createDiffStream is sorted by key, as bytes', async (t) => {
  const db = await open(t)
  const keys = ['b', 'a', 'ä', 'Z', '', 'a/b', '\u{1f600}', '\uffff']
  for (const key of keys) await db.put(key, { n: 1 })
  const pairs = await collect(db.createDiffStream(0))
  assert.deepEqual(
    pairs.map(({ left }) => left.key),
    keys.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)))
  )
})

test("checkout: versions are this replica's own past", async (t) => {
  const [a, b] = [await open(t), await open(t)]
  await a.put('ours', { n: 1 })
  await b.put('theirs', { n: 1 })
  await a.addPeer(b.local.key)
  connect(a, b)
  await until(a, async () => (await a.get('theirs')) !== null)
  assert.deepEqual(await value(a.checkout(1), 'ours'), { n: 1 })
  assert.equal(await a.checkout(1).get('theirs'), null)
  assert.deepEqual(await value(b.checkout(1), 'theirs'), { n: 1 })
})

test('sub: reads, writes, watches and streams through, nested', async (t) => {
  const db = await open(t)
  const sub = db.sub('x', { sep: '/' }).sub('y', { sep: '/' })
  const watcher = sub.watch()
  const receipt = await sub.put('a', { n: 1 }, { receipt: true })
  assert.deepEqual(receipt, { key: db.local.key, length: db.local.length })
  assert.equal(await sub.put('a', { n: 2 }, { cas: (prev) => prev.value.n === 1 }), true)
  await db.put('x/', { outside: true })
  const { version } = db
  const batch = sub.batch()
  await batch.put('b', { n: 1 })
  await batch.flush()
  assert.equal(await sub.del('a'), true)
  const keys = async (stream) =>
    (await collect(stream)).map((entry) => (entry.left ?? entry.right ?? entry).key)
  assert.deepEqual(await keys(sub.createReadStream()), ['b'])
  assert.deepEqual(await keys(sub.createHistoryStream()), ['a', 'a', 'b', 'a'])
  assert.deepEqual(await keys(sub.createDiffStream(version)), ['a', 'b'])
  assert.deepEqual(await keys(db.createReadStream()), ['x/', 'x/y/b'])
  assert.equal((await watcher.next()).done, false)
  await watcher.close()
  const entry = await sub.getAndWatch('b')
  assert.equal(entry.node.key, 'b')
  await entry.close()
})

test('applied waits until the entry is in the view; updated and flush wait; heads is the frontier', async (t) => {
  const { a, b } = await apart(t)
  const receipt = await a.put('k', { n: 1 }, { receipt: true })
  const waiting = b.applied(receipt, WAIT)
  connect(a, b)
  await waiting
  assert.deepEqual(await value(b, 'k'), { n: 1 })
  for (const db of [a, b]) {
    await db.update()
    await db.updated()
    await db.flush(WAIT)
    const head = (await db.heads()).find(({ key }) => key.equals(receipt.key))
    assert.deepEqual(head, receipt)
  }
})

test('keys up to 1,900 bytes, encoded and with the sub prefix, and values up to 16 MiB; nothing longer is written', async (t) => {
  const db = await open(t, ':memory:', { valueEncoding: 'binary' })
  const sub = db.sub('s'.repeat(99))
  const small = Buffer.from('v')
  assert.equal(await sub.put('x'.repeat(1800), small), true)
  assert.equal(await db.put('ü'.repeat(950), small), true)
  assert.equal(await db.put('', small), true)
  assert.equal(await db.put('largest', Buffer.alloc(16 << 20, 1)), true)
  assert.equal((await db.get('largest')).value.length, 16 << 20)
  const { version } = db
  const { length } = db.local
  const tooLong = { code: 'ERR_KEY_TOO_LARGE' }
  const batch = db.batch()
  for (const call of [
    () => sub.put('x'.repeat(1801), small),
    () => sub.get('x'.repeat(1801)),
    () => sub.del('x'.repeat(1801)),
    () => db.put(`${'ü'.repeat(950)}x`, small),
    () => batch.put('x'.repeat(1901), small),
    () => db.getMany(['x'.repeat(1901)])
  ]) {
    await assert.rejects(call(), tooLong)
  }
  const large = Buffer.alloc((16 << 20) + 1, 1)
  await assert.rejects(db.put('k', large), { code: 'ERR_VALUE_TOO_LARGE' })
  await assert.rejects(batch.put('k', large), { code: 'ERR_VALUE_TOO_LARGE' })
  await batch.close()
  assert.deepEqual([db.version, db.local.length], [version, length])
})

test('internal records never show in a scan', async (t) => {
  const db = await open(t)
  const other = await open(t, ':memory:', { key: db.key })
  await db.addWriter(other.local.key)
  await db.createInvite()
  await db.addPeer(Buffer.alloc(32, 9))
  await db.removeWriter(other.local.key)
  assert.deepEqual(await collect(db.createReadStream()), [])
  await db.put('k', { n: 1 })
  const keys = async (stream) => (await collect(stream)).map((entry) => (entry.left ?? entry).key)
  for (const range of [{}, { gte: '' }, { reverse: true }, { lt: '\u{10ffff}' }]) {
    assert.deepEqual(await keys(db.createReadStream(range)), ['k'])
    assert.deepEqual(await keys(db.createDiffStream(0, range)), ['k'])
  }
  assert.deepEqual(await keys(db.createHistoryStream()), ['k'])
  const bytes = await collect(db.createReadStream({}, { keyEncoding: 'binary' }))
  assert.equal(bytes.length, 1)
  assert.equal((await collect((await db.getDiff()).createReadStream())).length, 1)
})

test('with another encoding a value is one last-writer-wins register', async (t) => {
  const { a, b, meet } = await apart(t, { valueEncoding: 'utf-8' })
  await a.put('k', 'earlier')
  await b.put('k', 'later')
  await meet()
  for (const db of [a, b]) assert.equal((await db.get('k')).value, 'later')
})

test('registers and objects take turns under one key', async (t) => {
  const db = await open(t)
  const text = { valueEncoding: 'utf-8' }
  await db.put('k', { n: 1 })
  await db.put('k', 'text', text)
  assert.equal((await db.get('k', text)).value, 'text')
  await db.put('k', { m: 2 })
  assert.deepEqual(await value(db, 'k'), { m: 2 })
})

test('_objectId, _timestamp, _prevTimestamp and _diff are reserved; every other property replicates', async (t) => {
  const { a, b, meet } = await apart(t)
  const own = { _: 0, _id: 1, _rev: 'x', __proto: null, _objectid: [], $ref: {}, '': '', 'a.b': 1, 'a/b': 2 }
  await a.put('k', { ...own, _objectId: 'x', _timestamp: 'x', _prevTimestamp: 'x' })
  await meet()
  assert.deepEqual(await value(b, 'k'), own)
  assert.equal((await b.get('k')).value._objectId, 'k')
})

test('keys that are path prefixes of each other, with slashes, are objects of their own', async (t) => {
  const db = await open(t)
  const keys = ['', '/', '//', 'a', 'a/', 'a/b', 'a/b/', 'a/b/c', 'a//b']
  for (const [n, key] of keys.entries()) await db.put(key, { n })
  await db.del('a/b')
  for (const [n, key] of keys.entries()) {
    assert.deepEqual(await value(db, key), key === 'a/b' ? null : { n }, key)
    if (key !== '')
      assert.equal((await collect(db.createUnionStream(key))).length, key === 'a/b' ? 2 : 1, key)
  }
})

const CHANGES = {
  'nested objects at any depth': [{ a: { b: { c: { d: 1, e: 1 } } } }, { a: { b: { c: { d: 2 }, f: {} } } }],
  'array insertion': [{ l: [1, 2] }, { l: [1, 9, 2] }],
  'array removal': [{ l: [1, 2, 3] }, { l: [1, 3] }],
  'array move': [{ l: [1, 2, 3, 4] }, { l: [4, 1, 2, 3] }],
  'position 0': [{ l: ['a'] }, { l: ['z', 'a'] }],
  'removal at position 0': [{ l: ['a', 'b'] }, { l: ['b'] }],
  'equal elements': [{ l: [1, 1, 1] }, { l: [1, 1, 2, 1, 1] }],
  'fewer equal elements': [{ l: [0, 0, 1, 0] }, { l: [0, 1] }],
  'arrays of objects': [{ l: [{ id: 1, n: 1 }, { id: 2 }] }, { l: [{ id: 2 }, { id: 1, n: 2 }, { id: 3 }] }],
  'arrays of arrays': [{ l: [[1], [2, [3]]] }, { l: [[2, [3, 4]], [1]] }],
  null: [
    { a: null, b: 1, l: [null] },
    { a: 1, b: null, l: [null, null] }
  ],
  'falsy values': [
    { a: 0, b: '', c: false, d: 1 },
    { a: '', b: false, c: 0, d: 0, l: [0, '', false, null] }
  ],
  'object to array': [{ a: { 0: 'x' } }, { a: ['x'] }],
  'array to object': [{ a: ['x'] }, { a: { 0: 'x' } }],
  'scalar to object and back': [
    { a: 1, b: {} },
    { a: {}, b: 1 }
  ],
  'to nothing': [{ a: 1 }, {}],
  'from nothing': [{}, { a: [] }]
}

for (const [name, [from, to]] of Object.entries(CHANGES)) {
  test(`the generated diff is exact: ${name}`, async (t) => {
    const { a, b, meet } = await apart(t)
    // Each way, of a value that was read and of one that was not.
    for (const [key, before, after] of [
      ['there', from, to],
      ['back', to, from]
    ]) {
      await a.put(key, before)
      const { value: read } = await a.get(key)
      for (const property of Object.keys(plain(read))) delete read[property]
      await a.put(key, Object.assign(read, after))
      await a.put(`${key}, not read`, before)
      await a.put(`${key}, not read`, after)
      for (const each of [key, `${key}, not read`]) assert.deepEqual(await value(a, each), after, each)
    }
    await meet()
    assert.deepEqual(await value(b, 'there'), to)
    assert.deepEqual(await value(b, 'back, not read'), from)
  })
}

test('an unchanged property never travels', async (t) => {
  const db = await open(t)
  await db.put('k', { same: 'x', deep: { same: 'x', n: 1 }, list: ['x', 'y'], n: 1 })
  const { value: read } = await db.get('k')
  read.n = 2
  read.deep.n = 2
  await db.put('k', read)
  const { list, obj } = await lastDiff(db)
  assert.equal(obj._objectId, 'k')
  assert.equal(JSON.stringify(list).includes('same'), false)
  assert.equal(JSON.stringify(list).includes('list'), false)
  assert.deepEqual(list.add, { n: 2 })
})

for (const [what, before, theirs, ours, both] of [
  ['scalar', { a: 1, b: 1 }, { a: 2, b: 1 }, { a: 1, b: 2 }, { a: 2, b: 2 }],
  ['nested', { o: { a: 1, b: 1 } }, { o: { a: 2, b: 1 } }, { o: { a: 1, b: 2 } }, { o: { a: 2, b: 2 } }],
  ['array', { l: [1, 2] }, { l: [0, 1, 2] }, { l: [1, 2, 3] }, { l: [0, 1, 2, 3] }]
]) {
  test(`a remote edit between get and put survives: ${what}`, async (t) => {
    const { a, b, meet } = await apart(t)
    await a.put('k', before)
    await meet()
    const { value: read } = await a.get('k')
    await b.put('k', { ...(await b.get('k')).value, ...theirs })
    await meet()
    assert.deepEqual(await value(a, 'k'), theirs)
    await a.put('k', Object.assign(read, ours))
    assert.deepEqual(await value(a, 'k'), both)
    await meet()
    assert.deepEqual(await value(b, 'k'), both)
  })
}

test('a value whose version is not here is compared with the current one', async (t) => {
  const { a, b, meet } = await apart(t)
  await a.put('k', { a: 1, b: 1 })
  await meet()
  await b.put('k', { a: 2, b: 1, l: [1] })
  const { value: read } = await b.get('k')
  await a.put('k', { ...read, c: 1 })
  assert.deepEqual(await value(a, 'k'), { a: 2, b: 1, c: 1, l: [1] })
})

for (const identity of ['id', '_id', 'key', '_objectId']) {
  test(`edits inside one array element merge: identity ${identity}`, async (t) => {
    const { a, b, meet } = await apart(t)
    await a.put('k', { l: [{ [identity]: 'e', x: 1, y: 1 }] })
    await meet()
    const edit = async (db, change) => {
      const { value: read } = await db.get('k')
      change(read.l)
      await db.put('k', read)
    }
    await edit(a, (l) => {
      l[0].x = 2
      l.unshift('first')
    })
    await edit(b, (l) => (l[0].y = 2))
    await meet()
    for (const db of [a, b]) {
      assert.deepEqual(await value(db, 'k'), { l: ['first', { [identity]: 'e', x: 2, y: 2 }] })
    }
  })
}

test('concurrent array inserts keep every element once, in one order', async (t) => {
  const { a, b, meet } = await apart(t)
  await a.put('k', { l: ['m'] })
  await meet()
  for (const [db, name] of [
    [a, 'a'],
    [b, 'b']
  ]) {
    for (let n = 0; n < 3; n++) {
      const { value: read } = await db.get('k')
      read.l.unshift(`${name}${n}`)
      await db.put('k', read)
    }
  }
  await meet()
  const { l } = await value(a, 'k')
  assert.deepEqual(l.toSorted(), ['a0', 'a1', 'a2', 'b0', 'b1', 'b2', 'm'])
  assert.deepEqual(await value(b, 'k'), { l })
})

test('_timestamp survives restart, never goes backwards, and is later than what its entry had seen', async (t) => {
  const folder = directory(t)
  const stamps = []
  for (let n = 0; n < 3; n++) {
    const db = await open(t, folder)
    for (let m = 0; m < 5; m++) {
      await db.put('k', { n, m })
      stamps.push(await stamp(db, 'k'))
    }
    if (n < 2) await db.close()
    else {
      const other = await openWriter(t, db)
      connect(db, other)
      await other.waitForWritable(WAIT)
      for (const writer of [other, db, other]) {
        await converge(db, other)
        await writer.put('k', { by: writer.id, at: stamps.length })
        stamps.push(await stamp(writer, 'k'))
      }
      await converge(db, other)
      assert.equal((await db.get('k')).value._timestamp, (await other.get('k')).value._timestamp)
    }
  }
  assert.deepEqual(stamps, stamps.toSorted())
  assert.equal(new Set(stamps).size, stamps.length)
})

test('an entry ahead by more than maxDrift is merged, told of by drift, and not followed', async (t) => {
  const HOUR = 3_600_000
  const store = new Store(':memory:')
  t.after(() => store.close())
  const other = await open(t, store, { name: 'other' })
  await other.put('ahead', { n: 1 })
  const block = Buffer.from(await other.local.get(other.local.length - 1))
  // Seconds since 1970, in an entry's head.
  const seconds = block.readUInt32BE(TIME_AT)
  assert.ok(Math.abs(seconds * 1000 - Date.now()) < HOUR)
  block.writeUInt32BE(seconds + HOUR / 1000, TIME_AT)
  const feed = store.get({ name: 'raw' })
  await feed.append(block)
  const db = await open(t, store, { name: 'db' })
  const told = once(db, 'drift')
  await db.addPeer(feed.key)
  const [{ writer, ahead }] = await told
  assert.deepEqual(writer, feed.key)
  assert.ok(ahead > HOUR / 2 && ahead <= HOUR, `${ahead}`)
  assert.deepEqual(await value(db, 'ahead'), { n: 1 })
  await db.put('now', { n: 1 })
  assert.ok((await stamp(db, 'now')) < (await stamp(db, 'ahead')))
})

test('a Peer has key, feed, length and status(), keyed key/<timestamp>', async (t) => {
  const [a, b] = [await open(t), await open(t)]
  await b.put('k', { n: 1 })
  const added = once(a, 'peer-add')
  const peer = await a.addPeer(b.local.key.toString('hex'))
  assert.deepEqual((await added)[0].key, b.local.key)
  connect(a, b)
  await a.applied({ key: b.local.key, length: b.local.length }, WAIT)
  assert.deepEqual([peer.key, peer.feed.key, peer.length], [b.local.key, b.local.key, b.local.length])
  const { have, want, placed } = peer.status()
  assert.deepEqual([have, want, placed], [b.local.length, b.local.length, b.local.length])
  assert.equal((await peer.peek()).key, `k/${await stamp(b, 'k')}`)
  assert.equal((await a.addPeer(b.local.key)).id, peer.id)
  assert.equal((await a.getPeers()).length, 1)
})

test('events writer, on every replica, and what writers() lists', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  const seen = new Map([a, b].map((db) => [db, []]))
  for (const [db, events] of seen) db.on('writer', (event) => events.push(event))
  connect(a, b)
  const key = Buffer.from(b.local.key)
  assert.equal(await a.addWriter(key, { isIndexer: true }), true)
  await b.waitForWritable(WAIT)
  await converge(a, b)
  const listed = { key, length: 0, counted: 0, isIndexer: true, removedBy: null }
  for (const db of [a, b]) {
    const found = (await db.writers()).find((writer) => writer.key.equals(key))
    assert.deepEqual(found, listed)
    assert.equal((await db.writers()).length, 2)
  }
  assert.equal(await a.removeWriter(key, { lost: true }), true)
  await converge(a, b)
  for (const [db, events] of seen) {
    await until(db, () => events.length >= 2)
    assert.deepEqual(
      events.filter((event) => event.key.equals(key)),
      [
        { key, added: true },
        { key, added: false }
      ]
    )
  }
})

test('two indexers that remove each other: every replica says the same one is left', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  const c = await open(t, ':memory:', { key: a.key })
  await a.addWriter(b.local.key, { isIndexer: true })
  const first = connect(a, b)
  await b.waitForWritable(WAIT)
  await converge(a, b)
  for (const stream of first) stream.destroy()
  await Promise.all([a.removeWriter(b.local.key), b.removeWriter(a.local.key)])
  const removed = a.local.length + b.local.length
  connect(b, c)
  connect(a, b)
  const lists = []
  // Views are alike all along: it is the entries that have to arrive.
  for (const db of [a, b, c]) {
    const list = async () => (await db.writers()).sort((x, y) => Buffer.compare(x.key, y.key))
    await until(db, async () => (await list()).reduce((sum, { length }) => sum + length, 0) === removed)
    lists.push(await list())
  }
  assert.deepEqual(lists[1], lists[0])
  assert.deepEqual(lists[2], lists[0])
  assert.equal(lists[0].filter(({ removedBy }) => removedBy === null).length, 1)
  assert.equal([a, b].filter((db) => db.writable).length, 1)
})

test('a chain of three: who was granted by who was granted writes on when the middle one is removed', async (t) => {
  const a = await open(t)
  const [b, c] = [await open(t, ':memory:', { key: a.key }), await open(t, ':memory:', { key: a.key })]
  connect(a, b)
  connect(b, c)
  await a.addWriter(b.local.key, { isIndexer: true })
  await b.waitForWritable(WAIT)
  await b.addWriter(c.local.key)
  await c.waitForWritable(WAIT)
  await c.put('k', { from: 'c' })
  await converge(a, b, c)
  const gone = once(b, 'unwritable')
  await a.removeWriter(b.local.key)
  await gone
  await converge(a, b, c)
  await c.put('later', { from: 'c' })
  await converge(a, b, c)
  for (const db of [a, b, c]) assert.deepEqual(await value(db, 'later'), { from: 'c' })
})

test('a peer that one device added does not stall the others', async (t) => {
  const [a, stranger] = [await open(t), await open(t)]
  const b = await open(t, ':memory:', { key: a.key })
  await stranger.put('foreign', { n: 1 })
  await a.addPeer(stranger.local.key)
  const link = connect(a, stranger)
  await until(a, async () => (await a.get('foreign')) !== null)
  for (const stream of link) stream.destroy()
  await a.put('foreign', { ...(await a.get('foreign')).value, m: 2 })
  const receipt = await a.put('own', { n: 2 }, { receipt: true })
  connect(a, b)
  await b.applied(receipt, WAIT)
  assert.deepEqual(await value(b, 'own'), { n: 2 })
})

test('in apply mode accept only informs: apply grants', async (t) => {
  const options = { apply: (nodes, view, host) => host.addWriter(nodes[0].value.toString()) }
  const a = await open(t, ':memory:', options)
  const b = await open(t, ':memory:', { ...options, key: a.key })
  const asked = once(a, 'access-request')
  connect(a, b)
  const asking = b.requestAccess({ name: 'phone' }, WAIT)
  const [request] = await asked
  assert.deepEqual([request.key, request.userData], [b.local.key, { name: 'phone' }])
  assert.equal(await request.accept(), false)
  assert.equal(b.writable, false)
  await a.append(request.key.toString('hex'))
  await b.waitForWritable(WAIT)
  await asking
})

test('two handles on one database see each other, and one goes on when the other closes', async (t) => {
  const store = new Store(':memory:')
  t.after(() => store.close())
  const one = await open(t, store)
  const two = await open(t, store)
  assert.deepEqual([one.key, one.local.key], [two.key, two.local.key])
  const watcher = two.watch()
  await one.put('k', { n: 1 })
  assert.deepEqual(await value(two, 'k'), { n: 1 })
  assert.equal((await watcher.next()).done, false)
  await watcher.close()
  await Promise.all([one.put('x', { n: 1 }), two.put('x', { n: 1, m: 2 })])
  assert.deepEqual(await one.get('x'), await two.get('x'))
  await one.close()
  assert.equal(await two.put('k', { n: 2 }), true)
  assert.deepEqual(await value(two, 'k'), { n: 2 })
  await assert.rejects(one.get('k'), { code: 'ERR_CLOSED' })
})

test('close during streams, batches, watches and replication ends them all', async (t) => {
  const { a, b } = await apart(t)
  await Promise.all(Array.from({ length: 3000 }, (_, n) => a.put(`k${n}`, { n })))
  const [stream] = connect(a, b)
  const reader = a.createReadStream()[Symbol.asyncIterator]()
  await reader.next()
  const watched = (async () => {
    for await (const changed of a.watch()) assert.ok(changed)
  })()
  const batch = a.batch()
  await batch.put('k', { n: -1 })
  const ended = stream.closed || new Promise((resolve) => stream.on('close', resolve))
  await Promise.all([a.close(), a.close()])
  await Promise.all([watched, ended])
  await assert.rejects(batch.flush(), { code: 'ERR_CLOSED' })
  await assert.rejects(
    (async () => {
      while (!(await reader.next()).done);
    })(),
    { code: 'ERR_CLOSED' }
  )
  assert.equal(a.closed, true)
})
