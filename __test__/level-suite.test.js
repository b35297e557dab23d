'use strict'

// The suite that abstract-level ships, its index unmodified, over every kind of location. Nothing is excluded: what the
// suite leaves out it leaves out by the manifest, which level.test.js pins.

const { test } = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const tape = require('tape')
const suite = require('abstract-level/test')
const { MultiHyperbee } = require('./helpers.js')
const { MultiHyperbeeLevel } = require('../level.js')

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
    else if (row.type === 'assert') failures.push(`${name}: ${row.name} ${row.error?.stack ?? ''}`)
  })
  suite({ test: harness, factory })
  return new Promise((resolve) => stream.on('end', () => resolve({ passed, failures })))
}

async function check(t, factory, assertions) {
  const { passed, failures } = await run(factory)
  t.diagnostic(`abstract-level's suite: ${passed} assertions passed, ${failures.length} failed`)
  assert.deepStrictEqual(failures, [])
  // So that none is lost unnoticed.
  assert.strictEqual(passed, assertions)
}

test('abstract-level: the suite passes on directories', async (t) => {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-'))
  t.after(() => fs.rmSync(parent, { recursive: true, force: true }))
  let number = 0
  await check(t, (options) => new MultiHyperbeeLevel(path.join(parent, String(number++)), options), 1)
})

test('abstract-level: the suite passes in memory', async (t) => {
  await check(t, (options) => new MultiHyperbeeLevel(':memory:', options), 1)
})

test('abstract-level: the suite passes on databases that it is given', async (t) => {
  const given = []
  t.after(() => Promise.all(given.map((db) => db.close())))
  const factory = (options) => {
    given.push(new MultiHyperbee(':memory:'))
    return new MultiHyperbeeLevel(given.at(-1), options)
  }
  await check(t, factory, 1)
})
