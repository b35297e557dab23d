'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { Store } = require('..')
const { MultiHyperbee, open, collect, directory } = require('./helpers.js')

async function fill(db, count, from = 0) {
  for (let n = from; n < from + count; n++) await db.put(`k${n % 5}`, { n })
}

const gone = { code: 'ERR_VERSION_GONE' }

test('compact drops what history does not keep, and what is left is what it was', async (t) => {
  const db = await open(t)
  await fill(db, 40)
  const then = await collect(db.checkout(38).createReadStream())
  assert.deepEqual(await db.compact(), { versions: 0, oldest: 1 }, "history is 'all' by default")
  assert.deepEqual(await db.compact({ history: { versions: 3 } }), { versions: 37, oldest: 38 })
  assert.deepEqual(await collect(db.checkout(38).createReadStream()), then)
  assert.throws(() => db.checkout(37), gone)
  await assert.rejects(db.getBySeq(37), gone)
  await assert.rejects(collect(db.createHistoryStream({ gt: 0 })), gone)
  await assert.rejects(collect(db.createDiffStream(37)), gone)
  const history = await collect(db.createHistoryStream())
  assert.deepEqual(
    history.map(({ seq }) => seq),
    [38, 39, 40]
  )
  const last = await collect(db.createHistoryStream({ gte: -10 }))
  assert.equal(last.length, 3, 'counted from the end there are fewer')
  assert.equal((await collect(db.checkout(0).createReadStream())).length, 0)
  assert.equal((await collect(db.createDiffStream(0))).length, 5)
})

test('what is held stays: snapshots, checkouts, subs of them, streams', async (t) => {
  const db = await open(t)
  await fill(db, 10)
  const snapshot = db.snapshot()
  const stream = db.createReadStream()
  const then = await collect(snapshot.createReadStream())
  await fill(db, 10, 10)
  const checkout = db.checkout(15)
  const sub = checkout.sub('s')
  await checkout.close()
  await fill(db, 10, 20)
  const least = { history: { versions: 1 } }
  assert.equal((await db.compact(least)).oldest, 10)
  assert.deepEqual(await collect(snapshot.createReadStream()), then)
  assert.deepEqual(await collect(stream), then)
  await snapshot.close()
  assert.equal((await db.compact(least)).oldest, 15)
  await assert.rejects(snapshot.get('k1'), gone)
  await sub.close()
  assert.equal((await db.compact(least)).oldest, 30)
})

test('a live history and a watcher miss nothing, whatever goes', async (t) => {
  const db = new MultiHyperbee(':memory:', { history: { versions: 1 } })
  t.after(() => db.close())
  const history = db.createHistoryStream({ live: true })[Symbol.asyncIterator]()
  await db.ready()
  const watcher = db.watch()
  await watcher.ready()
  for (let round = 1; round <= 5; round++) {
    const batch = db.batch()
    for (let n = 0; n < 400; n++) await batch.put(`k${n}`, { round, n })
    await batch.flush()
    await db.compact()
    const { value } = await watcher.next()
    assert.equal((await collect(value[0].createDiffStream(value[1]))).length, 400)
  }
  const seen = []
  while (seen.length < 2000) seen.push((await history.next()).value.seq)
  assert.deepEqual(
    seen,
    Array.from({ length: 2000 }, (_, n) => n + 1)
  )
  await history.return()
  await watcher.close()
})

test('history: { versions } trims as it goes', async (t) => {
  const db = new MultiHyperbee(':memory:', { history: { versions: 5 } })
  t.after(() => db.close())
  for (let n = 0; n < 1500; n++) await db.put('k', { n })
  assert.throws(() => db.checkout(1000), gone)
  const kept = await db.checkout(db.version - 4).get('k')
  assert.equal(kept.value.n, 1495)
  for (const history of [0, 'some', { versions: 0 }, { versions: 1.5 }, {}]) {
    assert.throws(() => new MultiHyperbee(':memory:', { history }), { code: 'ERR_OPTIONS' })
    await assert.rejects(db.compact({ history }), { code: 'ERR_OPTIONS' })
  }
  await assert.rejects(db.compact({ onProgress: 1 }), { code: 'ERR_OPTIONS' })
  await assert.rejects(db.compact({ signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
})

test('apply mode: what is final goes; verify skips what it cannot run again', async (t) => {
  const db = new MultiHyperbee(':memory:', {
    apply: async (nodes, view) => {
      for (const { value } of nodes) await view.put('last', value)
    },
    valueEncoding: 'utf-8',
    keyEncoding: 'utf-8'
  })
  t.after(() => db.close())
  for (let n = 0; n < 20; n++) await db.append(`v${n}`)
  assert.equal((await db.verify({ replay: true })).skipped, 0)
  const { oldest } = await db.compact({ history: { versions: 1 } })
  assert.equal(oldest, db.view.version)
  await db.append('again')
  const { checked, skipped, differs } = await db.verify({ replay: true })
  assert.deepEqual([checked, skipped, differs], [1, 20, null])
  assert.equal((await db.view.get('last')).value, 'again')
})

test('store.compact gives room back, and everything open goes on', async (t) => {
  const dir = directory(t)
  const store = new Store(dir)
  t.after(() => store.close())
  const db = new MultiHyperbee(store, { history: { versions: 1 } })
  for (let n = 0; n < 20; n++) {
    const batch = db.batch()
    for (let k = 0; k < 50; k++) await batch.put(`k${k}`, { n, text: 'x'.repeat(1000) + n })
    await batch.flush()
  }
  const hash = await db.stateHash()
  const stages = new Set()
  const writing = db.put('meanwhile', {})
  const done = await store.compact({ onProgress: ({ stage }) => stages.add(stage) })
  await writing
  assert.ok(done.after < done.before && done.versions > 0, JSON.stringify(done))
  assert.equal(fs.statSync(path.join(dir, 'data.mdb')).size, done.after)
  assert.ok(stages.has('rows') || stages.has('pages'))
  await db.del('meanwhile')
  assert.deepEqual(await db.stateHash(), hash)
  assert.equal((await store.verify()).ok, true)
  await assert.rejects(store.compact({ signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
  await store.close()
  await assert.rejects(store.compact(), { code: 'ERR_CLOSED' })
  const again = new Store(dir)
  t.after(() => again.close())
  assert.deepEqual(await new MultiHyperbee(again).stateHash(), hash)
})
