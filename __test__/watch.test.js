'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { open, openWriter, connect, plain } = require('./helpers.js')

const value = async (view, key) => {
  const entry = await view.get(key)
  return entry && plain(entry.value)
}

test('watch: snapshots of after and before, changes coalesced', async (t) => {
  const db = await open(t)
  await db.put('k', { n: 0 })
  const watcher = db.watch()
  await Promise.all([db.put('k', { n: 1 }), db.put('k', { n: 2 }), db.put('l', { n: 1 })])
  const {
    value: [current, previous],
    done
  } = await watcher.next()
  assert.equal(done, false)
  assert.deepEqual([await value(current, 'k'), await value(previous, 'k')], [{ n: 2 }, { n: 0 }])
  const next = watcher.next()
  await db.del('k')
  const [after, before] = (await next).value
  assert.deepEqual([await value(after, 'k'), await value(before, 'k')], [null, { n: 2 }])
  await watcher.close()
  assert.deepEqual(await watcher.next(), { value: undefined, done: true })
  assert.equal(db._session.open.size, 0)
})

test('watch: only what is in its range, on a database and on a sub', async (t) => {
  const db = await open(t)
  const seen = []
  const read = async (watcher, name) => {
    for await (const [current] of watcher) seen.push([name, current.version])
  }
  const reading = [read(db.watch({ gte: 'a', lt: 'b' }), 'range'), read(db.sub('s').watch(), 'sub')]
  await db.put('z', { n: 1 })
  await db.put('a1', { n: 1 })
  const first = db.version
  while (seen.length < 1) await new Promise((resolve) => setImmediate(resolve))
  await db.sub('s').put('x', { n: 1 })
  while (seen.length < 2) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(seen, [
    ['range', first],
    ['sub', first + 1]
  ])
  await db.close()
  await Promise.all(reading)
})

test('watch: eager, map, differ, onchange, update', async (t) => {
  const db = await open(t)
  await db.put('k', { n: 1 })
  const eager = db.watch({}, { eager: true, map: (view) => view.version })
  assert.deepEqual((await eager.next()).value, [1, 0])
  let changes = 0
  const watcher = db.watch({ gte: 'k' }, { onchange: async () => changes++ })
  const update = once(watcher, 'update')
  await db.put('a', { n: 1 })
  await db.put('k', { n: 2 })
  await update
  assert.equal(changes, 1)
  const none = db.watch({}, { async *differ() {} })
  const waiting = none.next()
  await db.put('k', { n: 3 })
  await none.close()
  assert.equal((await waiting).done, true)
})

test('watch: ends with its loop, its signal or its database, and not on a snapshot', async (t) => {
  const db = await open(t)
  const controller = new AbortController()
  const waiting = db.watch({}, { signal: controller.signal }).next()
  controller.abort()
  await assert.rejects(waiting, { code: 'ERR_ABORTED' })
  setImmediate(() => db.put('k', { n: 1 }))
  for await (const [current] of db.watch()) {
    assert.equal(current.version, 1)
    break
  }
  assert.equal(db._session.open.size, 0)
  assert.throws(() => db.snapshot().watch(), { code: 'ERR_OPTIONS' })
  const last = db.watch().next()
  await db.close()
  assert.equal((await last).done, true)
  assert.throws(() => db.watch(), { code: 'ERR_CLOSED' })
})

test('watch and getAndWatch see what peers write', async (t) => {
  const db = await open(t)
  const other = await openWriter(t, db)
  connect(db, other)
  await other.waitForWritable()
  const watcher = db.watch({ gte: 'k' })
  const entry = await db.getAndWatch('k')
  const told = once(entry, 'update')
  await other.put('k', { from: 'other' })
  const [current] = (await watcher.next()).value
  assert.deepEqual(await value(current, 'k'), { from: 'other' })
  await told
  assert.equal(entry.node.value.from, 'other')
  await watcher.close()
})

test('getAndWatch keeps the entry current until it is closed', async (t) => {
  const db = await open(t)
  await db.put('k', { n: 1 })
  const watcher = await db.getAndWatch('k')
  assert.deepEqual(watcher.node, await db.get('k'))
  for (const act of [() => db.put('k', { n: 2 }), () => db.del('k'), () => db.put('k', { n: 3 })]) {
    const update = once(watcher, 'update')
    await Promise.all([act(), update])
    assert.deepEqual(watcher.node, await db.get('k'))
  }
  await watcher.close()
  await db.put('k', { n: 4 })
  assert.equal(watcher.node.value.n, 3)
  const absent = await db.getAndWatch('absent')
  assert.equal(absent.node, null)
})
