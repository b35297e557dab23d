'use strict'

const { test } = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { execFile } = require('node:child_process')
const { promisify } = require('node:util')
const { MultiHyperbee, directory, open, connect, converge } = require('./helpers.js')
const { Store } = require('..')
const { MultiHyperbeeLevel } = require('../level.js')

async function openLevel(t, location = ':memory:', options) {
  const level = new MultiHyperbeeLevel(location, options)
  t.after(() => level.close())
  await level.open()
  return level
}

const code = (expected, cause) => (error) => {
  assert.strictEqual(error.code, expected)
  if (cause !== undefined) assert.strictEqual(error.cause.code, cause)
  return true
}

test('level: the manifest declares what is supported', async (t) => {
  const level = await openLevel(t, directory(t))
  const { encodings, events, ...rest } = level.supports
  assert.deepStrictEqual(rest, {
    seek: true,
    has: true,
    getSync: true,
    implicitSnapshots: true,
    explicitSnapshots: true,
    snapshots: true,
    permanence: true,
    createIfMissing: true,
    errorIfExists: true,
    deferredOpen: true,
    streams: false,
    signals: { iterators: true },
    additionalMethods: {}
  })
  for (const name of ['utf8', 'buffer', 'view', 'json']) assert.strictEqual(encodings[name], true, name)
  assert.strictEqual(events.write, true)
})

test('level: permanence and createIfMissing depend on the location', async (t) => {
  const store = new Store(':memory:')
  t.after(() => store.close())
  const given = await open(t)
  for (const location of [':memory:', store, given]) {
    const level = new MultiHyperbeeLevel(location)
    const { permanence, createIfMissing, errorIfExists } = level.supports
    assert.deepStrictEqual(
      { permanence, createIfMissing, errorIfExists },
      {
        permanence: false,
        createIfMissing: false,
        errorIfExists: false
      }
    )
    await level.close()
  }
  const kept = new Store(directory(t))
  t.after(() => kept.close())
  assert.strictEqual((await openLevel(t, kept)).supports.permanence, true)
})

test('level: what is no location is refused at once', () => {
  for (const location of [undefined, null, '', 3, {}]) {
    assert.throws(() => new MultiHyperbeeLevel(location), code('ERR_OPTIONS'))
  }
})

test('level: ranges, reverse, limit and seek agree with a sorted array', async (t) => {
  const level = await openLevel(t, ':memory:', { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const keys = [[], [0], [0, 0], [0, 255], [1], [97], [97, 0], [98], [254, 255], [255], [255, 255]].map(
    Buffer.from
  )
  keys.push(Buffer.alloc(1900, 97))
  keys.sort(Buffer.compare)
  await level.batch(keys.map((key) => ({ type: 'put', key, value: Buffer.from(key.subarray(0, 3)) })))
  const bounds = [undefined, ...keys, Buffer.from([0, 1]), Buffer.alloc(1901, 97), Buffer.alloc(5000, 255)]
  const inside = (key, { gt, gte, lt, lte }) =>
    (gte === undefined ? gt === undefined || Buffer.compare(key, gt) > 0 : Buffer.compare(key, gte) >= 0) &&
    (lte === undefined ? lt === undefined || Buffer.compare(key, lt) < 0 : Buffer.compare(key, lte) <= 0)
  let checked = 0
  for (const low of bounds) {
    for (const high of bounds) {
      for (const names of ['gt lt', 'gt lte', 'gte lt', 'gte lte']) {
        const [lower, upper] = names.split(' ')
        const range = {}
        if (low !== undefined) range[lower] = low
        if (high !== undefined) range[upper] = high
        const expected = keys.filter((key) => inside(key, range))
        assert.deepStrictEqual(await level.keys(range).all(), expected)
        const reversed = await level.keys({ ...range, reverse: true, limit: 2 }).all()
        assert.deepStrictEqual(reversed, [...expected].reverse().slice(0, 2))
        const iterator = level.keys(range)
        iterator.seek(keys[5])
        const sought = inside(keys[5], range)
          ? expected.filter((key) => Buffer.compare(key, keys[5]) >= 0)
          : []
        assert.deepStrictEqual(await iterator.all(), sought)
        checked++
      }
    }
  }
  assert.strictEqual(checked, bounds.length ** 2 * 4)
})

test('level: next, nextv and all read many chunks, each entry once, while the event loop turns', async (t) => {
  const level = await openLevel(t)
  const keys = Array.from({ length: 2000 }, (_, i) => String(i).padStart(5, '0'))
  await level.batch(keys.map((key) => ({ type: 'put', key, value: 'x'.repeat(Number(key) % 700) })))
  const one = level.iterator()
  for (const key of keys) assert.deepStrictEqual(await one.next(), [key, 'x'.repeat(Number(key) % 700)])
  assert.strictEqual(await one.next(), undefined)
  const many = level.keys()
  const read = []
  for (let size = 1; ; size += 7) {
    const some = await many.nextv(size)
    if (some.length === 0) break
    read.push(...some)
  }
  assert.deepStrictEqual(read, keys)
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const all = await level.values({ limit: 1999 }).all()
  clearInterval(timer)
  assert.strictEqual(all.length, 1999)
  assert.ok(turns > 0)
})

test('level: an abort ends a long read', async (t) => {
  const level = await openLevel(t)
  await level.batch(Array.from({ length: 2000 }, (_, i) => ({ type: 'put', key: String(i), value: '' })))
  const abort = new AbortController()
  const reading = level.keys({ signal: abort.signal }).all()
  setImmediate(() => abort.abort())
  await assert.rejects(reading, code('LEVEL_ABORTED'))
})

test('level: clear deletes in batches, within range, limit and snapshot', async (t) => {
  const level = await openLevel(t)
  const keys = Array.from({ length: 3000 }, (_, i) => String(i).padStart(5, '0'))
  await level.batch(keys.map((key) => ({ type: 'put', key, value: key })))
  const { queue } = level.db._session
  const write = t.mock.method(queue, 'write')
  const snapshot = level.snapshot()
  await level.clear({ gte: keys[10], limit: 2500 })
  assert.deepStrictEqual(await level.keys().all(), [...keys.slice(0, 10), ...keys.slice(2510)])
  assert.strictEqual(write.mock.callCount(), 3)
  await level.put('new', '')
  await level.clear({ snapshot })
  assert.deepStrictEqual(await level.keys().all(), ['new'])
  assert.strictEqual((await level.keys({ snapshot }).all()).length, 3000)
  await snapshot.close()
})

test('level: of a batch the last write of a key holds, and a refused one writes nothing', async (t) => {
  const level = await openLevel(t)
  await level.batch().put('a', '1').put('b', '1').del('a').put('b', '2').put('c', '').write()
  assert.deepStrictEqual(await level.iterator().all(), [
    ['b', '2'],
    ['c', '']
  ])
  const tooLong = [
    { type: 'put', key: 'd', value: '' },
    { type: 'put', key: 'k'.repeat(1901), value: '' }
  ]
  await assert.rejects(level.batch(tooLong), code('LEVEL_INVALID_KEY', 'ERR_KEY_TOO_LARGE'))
  assert.strictEqual(await level.get('d'), undefined)
})

test('level: two devices write, replicate and agree', async (t) => {
  const one = await openLevel(t)
  const two = await openLevel(t, ':memory:', { key: one.db.key })
  await assert.rejects(two.put('a', '2'), code('LEVEL_READONLY', 'ERR_NOT_WRITABLE'))
  await one.db.addWriter(two.db.local.key)
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  connect(one.db, two.db)
  await two.db.waitForWritable({ timeout: 10_000 })
  await Promise.all([one.put('a', '1'), two.put('b', '2'), one.sublevel('s').put('c', '3')])
  await one.put('gone', '')
  await converge(one.db, two.db)
  await two.del('gone')
  await converge(one.db, two.db)
  const expected = [
    ['!s!c', '3'],
    ['a', '1'],
    ['b', '2']
  ]
  assert.deepStrictEqual(await one.iterator().all(), expected)
  assert.deepStrictEqual(await two.iterator().all(), expected)
})

test('level: a given database stays open, its objects read as JSON, and a put replaces one', async (t) => {
  const db = await open(t)
  await db.put('k', { a: 1 })
  const level = new MultiHyperbeeLevel(db, { valueEncoding: 'json' })
  assert.strictEqual(level.db, db)
  assert.deepStrictEqual(await level.get('k'), { a: 1 })
  assert.deepStrictEqual(await level.values().all(), [{ a: 1 }])
  await level.put('k', { b: 2 })
  assert.deepStrictEqual((await db.get('k')).value, { b: 2 })
  await level.close()
  await assert.rejects(level.get('k'), code('LEVEL_DATABASE_NOT_OPEN'))
  assert.deepStrictEqual((await db.get('k')).value, { b: 2 })
  await level.open()
  assert.deepStrictEqual(level.getSync('k'), { b: 2 })
})

test('level: every call says so when the database below was closed', async (t) => {
  const db = new MultiHyperbee(':memory:')
  const level = await openLevel(t, db)
  await level.put('k', 'v')
  const iterator = level.iterator()
  await db.close()
  const closed = code('LEVEL_DATABASE_NOT_OPEN', 'ERR_CLOSED')
  for (const call of [
    () => level.get('k'),
    () => level.getMany(['k']),
    () => level.has('k'),
    () => level.hasMany(['k']),
    () => level.put('k', 'v'),
    () => level.del('k'),
    () => level.batch([{ type: 'del', key: 'k' }]),
    () => level.batch().del('k').write(),
    () => level.clear(),
    () => iterator.next()
  ]) {
    await assert.rejects(call, closed, String(call))
  }
  for (const call of [() => level.getSync('k'), () => level.snapshot(), () => level.iterator()]) {
    assert.throws(call, closed, String(call))
  }
})

test('level: databases of one store are apart, and a failed open releases what it holds', async (t) => {
  const folder = directory(t)
  const store = new Store(folder)
  const one = await openLevel(t, store, { name: 'one' })
  const two = await openLevel(t, store, { name: 'two' })
  await one.put('k', '1')
  assert.strictEqual(await two.get('k'), undefined)
  await store.close()
  const wrong = new MultiHyperbeeLevel(folder, { name: 'one', key: Buffer.alloc(32, 7) })
  await assert.rejects(wrong.open(), code('LEVEL_DATABASE_NOT_OPEN', 'ERR_INVALID_KEY'))
  const again = await openLevel(t, folder, { name: 'one' })
  assert.strictEqual(await again.get('k'), '1')
})

test('level: a directory that another process has open is LEVEL_LOCKED', async (t) => {
  const folder = directory(t)
  await openLevel(t, folder)
  const script = `
    const { MultiHyperbeeLevel } = require('multi-hyperbee/level')
    const level = new MultiHyperbeeLevel(${JSON.stringify(folder)})
    level.open().catch((error) => console.log(error.code, error.cause.code, error.cause.cause.code))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { cwd: __dirname })
  assert.strictEqual(stdout.trim(), 'LEVEL_DATABASE_NOT_OPEN LEVEL_LOCKED ERR_STORE_LOCKED')
})

test('level: there are imports for both kinds of module', async () => {
  assert.strictEqual(require('multi-hyperbee/level').MultiHyperbeeLevel, MultiHyperbeeLevel)
  assert.strictEqual((await import('multi-hyperbee/level')).MultiHyperbeeLevel, MultiHyperbeeLevel)
})

test('level: the snippet of docs/level.md runs', async (t) => {
  const text = fs.readFileSync(path.join(__dirname, '../docs/level.md'), 'utf8')
  const [, snippet] = /```js\n([^]*?)```/.exec(text)
  const lines = []
  const AsyncFunction = (async () => {}).constructor
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  await new AsyncFunction('require', 'console', snippet)(require, {
    log: (...args) => lines.push(args.join(' '))
  })
  assert.deepStrictEqual(lines, ['bob 40'])
})
