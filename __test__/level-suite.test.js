'use strict'

// The suite that abstract-level ships, its index unmodified, nothing excluded: what it leaves out it leaves out by the
// manifest, which level.test.js pins. It runs on directories and on databases that are handed in, which lie in memory
// and merge objects. Not on `new MultiHyperbeeLevel(':memory:')`: 14 of its assertions close a database, open it again
// and look for what was there, without asking the manifest whether it has permanence, and this has not.

const { test } = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const tape = require('tape')
const suite = require('abstract-level/test')
const { MultiHyperbee, Store } = require('..')
const { MultiHyperbeeLevel } = require('../level.js')

/** How many assertions there are: none is lost unnoticed. A new version of abstract-level may change them. */
const DIRECTORY = 5168
const GIVEN = 5156

/** Runs the suite; resolves to how many assertions held, and to what did not. */
function run(factory) {
  const harness = tape.createHarness()
  const failures = []
  let passed = 0
  let name = ''
  const stream = harness.createStream({ objectMode: true })
  stream.on('data', (row) => {
    if (row.type === 'test') name = row.name
    else if (row.type === 'assert' && row.ok) passed++
    else if (row.type === 'assert')
      failures.push(`${name}: ${row.name} (expected ${row.expected}, got ${row.actual})`)
  })
  suite({ test: harness, factory })
  return new Promise((resolve) => stream.on('end', () => resolve({ passed, failures })))
}

async function check(t, factory, assertions) {
  const { passed, failures } = await run(factory)
  t.diagnostic(`abstract-level's suite: ${passed} assertions passed, ${failures.length} failed`)
  assert.deepStrictEqual(failures, [])
  assert.strictEqual(passed, assertions)
}

test('abstract-level: the suite passes on directories', async (t) => {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-'))
  t.after(() => fs.rmSync(parent, { recursive: true, force: true }))
  let number = 0
  await check(t, (options) => new MultiHyperbeeLevel(path.join(parent, String(number++)), options), DIRECTORY)
})

test('abstract-level: the suite passes on databases that it is given', async (t) => {
  const store = new Store(':memory:')
  t.after(() => store.close())
  let number = 0
  const factory = (options) => {
    const db = new MultiHyperbee(store, { name: String(number++) })
    return new MultiHyperbeeLevel(db, options)
  }
  await check(t, factory, GIVEN)
})
