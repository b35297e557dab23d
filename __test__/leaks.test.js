'use strict'

// What is opened, cut and ended leaves nothing behind. The long run: `npm run soak:leaks`.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const { directory, open } = require('./helpers.js')
const { readersOf, held, settled, opens, streams, connections, workers } = require('./support/leaks.js')

/** What memory may differ by between two equal phases, the first of which is not the first: caches fill in it. */
const SLACK_MIB = 16

const skip = !fs.existsSync('/proc/self/task')

/** Runs equal phases and compares what is held after each. */
async function staysLevel(phase) {
  await phase()
  const before = await held()
  await phase()
  const between = await settled(before)
  await phase()
  const after = await settled(before)
  for (const now of [between, after]) {
    assert.ok(
      now.descriptors <= before.descriptors,
      `${now.descriptors} descriptors, ${before.descriptors} before`
    )
    assert.ok(now.threads <= before.threads, `${now.threads} threads, ${before.threads} before`)
  }
  assert.ok(after.mib - between.mib < SLACK_MIB, `${between.mib} MiB, then ${after.mib}`)
}

test('stores that are opened and closed leave nothing behind', { skip, timeout: 120_000 }, async (t) => {
  const folder = directory(t)
  await staysLevel(() => opens(folder, 100))
})

test('streams that are destroyed halfway leave nothing behind', { skip, timeout: 120_000 }, async (t) => {
  const folder = directory(t)
  const db = await open(t, folder)
  for (let n = 0; n < 100; n++) await db.put(`key/${n}`, { n })
  await staysLevel(() => streams(db, 150))
  await db.put('last', {})
  // Of the commits before nothing is read any more.
  assert.equal(readersOf(folder), 0)
})

test('connections that are cut leave nothing behind', { skip, timeout: 120_000 }, async (t) => {
  const folder = directory(t)
  const a = await open(t, folder)
  const b = await open(t, ':memory:', { key: a.key })
  await staysLevel(() => connections(a, b, 60))
  await a.put('last', {})
  assert.equal(readersOf(folder), 0)
})

test('worker threads that are ended leave nothing behind', { skip, timeout: 120_000 }, async (t) => {
  const folder = directory(t)
  const db = await open(t, folder)
  await workers(folder, db.key, 2)
  const before = await held()
  await workers(folder, db.key, 20)
  const after = await settled(before)
  assert.ok(after.descriptors <= before.descriptors, `${after.descriptors}, ${before.descriptors} before`)
  assert.ok(after.threads <= before.threads, `${after.threads} threads, ${before.threads} before`)
  await db.put('last', {})
  assert.equal(readersOf(folder), 0)
})
