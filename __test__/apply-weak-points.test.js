'use strict'

// What Autobee gets wrong, point by point, and what happens here instead. `docs/design/applying.md` has the table.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { MultiHyperbee, directory, open, connect, converge, collect } = require('./helpers.js')

const WAIT = { timeout: 20_000 }

async function apply(nodes, view, host) {
  for (const { value } of nodes) {
    const { put, grant, revoke, bad, isIndexer = true } = value
    if (bad) throw new Error('a bad value')
    if (grant) await host.addWriter(grant, { isIndexer })
    if (revoke) await host.removeWriter(revoke)
    if (put) await view.put(put[0], put[1])
  }
}

const JSON_VALUES = { keyEncoding: 'utf-8', valueEncoding: 'json', apply }
const values = async (db) =>
  Object.fromEntries((await collect(db.view.createReadStream())).map((e) => [e.key, e.value]))

async function pair(t, options, isIndexer = true) {
  const a = await open(t, ':memory:', { ...JSON_VALUES, ...options })
  const b = await open(t, ':memory:', a.key, { ...JSON_VALUES, ...options })
  await a.append({ grant: b.local.id, isIndexer })
  const streams = connect(a, b)
  await b.waitForWritable(WAIT)
  await converge(a, b)
  return [a, b, streams]
}

test('1: optimistic writes are off, and a stranger never becomes a writer by not being refused', async (t) => {
  const a = await open(t, ':memory:', { ...JSON_VALUES, optimistic: true })
  const b = await open(t, ':memory:', a.key, { ...JSON_VALUES, optimistic: true })
  await a.append({ put: ['a', 0] })
  connect(a, b)
  await converge(a, b)
  await b.append({ put: ['mine', 1] }, { optimistic: true })
  await b.append({ bad: true }, { optimistic: true })
  await a.append({ put: ['b', 0] })
  await converge(a, b)
  assert.deepEqual(await values(a), { a: 0, b: 0 })
  assert.deepEqual([a.closed, b.closed, b.writable], [false, false, false])
})

test('1, 7: a value that apply cannot take pauses, closes nobody, and is got over with a mended apply', async (t) => {
  const folder = directory(t)
  const a = await open(t, folder, JSON_VALUES)
  const errors = []
  a.on('error', (error) => errors.push(error))
  await a.append({ put: ['a', 1] })
  const receipt = await a.append({ bad: true })
  const after = await a.append({ put: ['b', 2] })
  assert.deepEqual(await values(a), { a: 1 })
  assert.equal(errors.length, 1)
  const [error] = errors
  assert.deepEqual([error.code, error.writer, error.length], ['ERR_APPLY', a.local.key, receipt.length])
  assert.equal(error.cause.message, 'a bad value')
  assert.equal(a.status().error, error)
  await assert.rejects(a.update(), { code: 'ERR_APPLY' })
  await assert.rejects(a.flush(WAIT), { code: 'ERR_APPLY' })
  assert.deepEqual([a.closed, a.writable, errors.length], [false, true, 1])
  await a.close()
  const mended = (nodes, view, host) => (nodes[0].value.bad ? null : apply(nodes, view, host))
  const again = await open(t, folder, { ...JSON_VALUES, apply: mended })
  await again.update()
  assert.deepEqual(await values(again), { a: 1, b: 2 })
  assert.equal(again.local.length, after.length)
  assert.equal(again.status().error, null)
})

test('7: with nobody listening an error of apply is a warning, once, and the process goes on', async (t) => {
  const warnings = []
  const onwarning = (warning) => warnings.push(warning)
  process.on('warning', onwarning)
  t.after(() => process.off('warning', onwarning))
  const a = await open(t, ':memory:', JSON_VALUES)
  await a.append({ bad: true })
  await a.append({ bad: true })
  await assert.rejects(a.update(), { code: 'ERR_APPLY' })
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['ERR_APPLY']
  )
})

test('3, 17: who backdates costs what is replayed once, not once for each entry', async (t) => {
  const [a, b, streams] = await pair(t, {}, false)
  for (const stream of streams) stream.destroy()
  const n = 100
  for (let i = 0; i < n; i++) await b.append({ put: [`b${i}`, i] })
  for (let i = 0; i < n; i++) await a.append({ put: [`a${i}`, i] })
  const before = [a.stats.applies, b.stats.applies]
  connect(a, b)
  await converge(a, b)
  assert.deepEqual(await values(a), await values(b))
  assert.ok(a.stats.applies - before[0] <= 2 * n, `${a.stats.applies - before[0]} calls of apply`)
  assert.ok(b.stats.applies - before[1] <= 2 * n, `${b.stats.applies - before[1]} calls of apply`)
})

test('5: the last indexer cannot be removed', async (t) => {
  const a = await open(t, ':memory:', JSON_VALUES)
  await a.append({ revoke: a.local.id })
  assert.deepEqual([a.writable, a.isIndexer], [true, true])
  await a.append({ put: ['a', 1] })
  assert.deepEqual(await values(a), { a: 1 })
})

test('7: an append of who is no writer rejects, and closes nothing', async (t) => {
  const a = await open(t, ':memory:', JSON_VALUES)
  const b = await open(t, ':memory:', a.key, JSON_VALUES)
  b.on('error', assert.fail)
  await assert.rejects(b.append({ put: ['a', 1] }), { code: 'ERR_NOT_WRITABLE' })
  await b.update()
  assert.equal(b.closed, false)
})

test('8: an optimistic block where there must be none holds up nobody', async (t) => {
  const a = await open(t, ':memory:', JSON_VALUES)
  const b = await open(t, ':memory:', a.key, JSON_VALUES)
  connect(a, b)
  await b.append({ put: ['x', 1] }, { optimistic: true }).catch(() => {})
  await a.wakeup({ key: b.local.key, length: 1 })
  await a.append({ put: ['a', 1] })
  await a.update()
  assert.deepEqual(await values(a), { a: 1 })
})

test('9: a batch of thousands of values is one everywhere, or is refused where it is appended', async (t) => {
  const [a, b] = await pair(t)
  await a.append(Array.from({ length: 3000 }, (_, n) => ({ put: [`k${n}`, n] })))
  await converge(a, b)
  assert.equal((await collect(b.view.createReadStream())).length, 3000)
  const many = new Array(65_537).fill({ put: ['k', 1] })
  await assert.rejects(a.append(many), { code: 'ERR_BATCH_TOO_LARGE' })
})

test('10: a removed writer that goes on writing leaves all others alike', async (t) => {
  const [a, b, streams] = await pair(t, {}, false)
  for (const stream of streams) stream.destroy()
  await b.append({ put: ['b', 1] })
  await a.append({ revoke: b.local.id })
  await a.append({ put: ['a', 1] })
  await b.append({ put: ['b', 2] })
  connect(a, b)
  await converge(a, b)
  assert.deepEqual(await values(a), await values(b))
  assert.equal(b.writable, false)
})

test('11: interrupt is no end: update goes on', async (t) => {
  let waiting = true
  const db = await open(t, ':memory:', {
    ...JSON_VALUES,
    apply: (nodes, view, host) => (waiting ? host.interrupt('wait') : apply(nodes, view, host))
  })
  const interrupted = once(db, 'interrupt')
  await db.append({ put: ['a', 1] })
  await interrupted
  waiting = false
  await db.update()
  assert.deepEqual(await values(db), { a: 1 })
})

test('12: setLocal drops no append', async (t) => {
  const db = await open(t, ':memory:', JSON_VALUES)
  const keyPair = MultiHyperbee.deriveKeyPair(Buffer.alloc(32, 8), 'next')
  await db.append({ grant: keyPair.publicKey.toString('hex') })
  const appends = Array.from({ length: 20 }, (_, n) => db.append({ put: [`k${n}`, n] }))
  const rotated = db.setLocal(null, { keyPair })
  await Promise.all([...appends, rotated])
  assert.equal(Object.keys(await values(db)).length, 20)
})

test('13: host calls that nobody awaits count', async (t) => {
  const other = (await open(t)).local.key
  const db = await open(t, ':memory:', {
    apply: (nodes, view, host) => {
      view.put('a', nodes[0].value)
      host.addWriter(other)
    }
  })
  await db.append('x')
  await db.append('y')
  assert.deepEqual(db.finality().waitingFor, [other])
  assert.equal(String((await db.view.get('a')).value), 'y')
})

test('14: what append resolved is on disk', async (t) => {
  const folder = directory(t)
  const db = await open(t, folder, { ...JSON_VALUES, optimistic: true })
  const { key, length } = await db.append({ put: ['a', 1] })
  await db.close()
  const again = await open(t, folder, { ...JSON_VALUES, optimistic: true })
  assert.deepEqual([again.local.key, again.local.length], [key, length])
})

test('24: replicas that agree say so with one hash', async (t) => {
  const [a, b] = await pair(t)
  await Promise.all([a, b].map((db, n) => db.append({ put: [`from ${n}`, n] })))
  await converge(a, b)
  assert.deepEqual(await a.stateHash(), await b.stateHash())
})

test('docs v code: id is hex, append returns its place, an error of an update handler stops nothing', async (t) => {
  const db = await open(t, ':memory:', { ...JSON_VALUES, update: () => Promise.reject(new Error('mine')) })
  const errors = []
  db.on('error', (error) => errors.push(error.cause.message))
  assert.match(db.id, /^[0-9a-f]{64}$/)
  assert.deepEqual((await db.append({ put: ['a', 1] })).key, db.local.key)
  await db.append({ put: ['a', 2] })
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(errors, ['mine', 'mine'])
  assert.equal(db.closed, false)
})
