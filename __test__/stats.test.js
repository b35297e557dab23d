'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbee, open, openWriter, connect, converge } = require('./helpers.js')

/** What only apply mode counts. */
const NONE = { undos: 0, applies: 0, appends: 0, waves: 0, flushes: 0 }

test('stats count what merging costs: a diff that comes late folds what sorts after it again', async (t) => {
  const unopened = new MultiHyperbee(':memory:')
  assert.deepEqual(unopened.stats, { ...NONE, merged: 0, folded: 0, searched: 0 })
  await unopened.close()
  assert.deepEqual(unopened.stats, { ...NONE, merged: 0, folded: 0, searched: 0 })

  const a = await open(t)
  const b = await openWriter(t, a)
  await a.put('k', { n: 1 })
  const first = connect(a, b)
  await converge(a, b)
  await b.waitForWritable()
  for (const stream of first) stream.destroy()
  await b.put('k', { n: 1, late: true })
  for (let n = 2; n < 7; n++) await a.put('k', { n })
  const before = a.stats
  assert.deepEqual(before, { ...NONE, merged: 6, folded: 6, searched: 0 })

  connect(a, b)
  await converge(a, b)
  assert.deepEqual((await a.get('k')).value.late, true)
  assert.deepEqual(a.stats, { ...NONE, merged: 7, folded: 6 + 6, searched: 6 })
})
