'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbee, open, openWriter, connect, converge } = require('./helpers.js')

test('stats count what merging costs: a diff that comes late folds what sorts after it again', async (t) => {
  const unopened = new MultiHyperbee(':memory:')
  assert.deepEqual(unopened.stats, { merged: 0, folded: 0, searched: 0 })
  await unopened.close()
  assert.deepEqual(unopened.stats, { merged: 0, folded: 0, searched: 0 })

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
  assert.deepEqual(before, { merged: 6, folded: 6, searched: 0 })

  connect(a, b)
  await converge(a, b)
  assert.deepEqual((await a.get('k')).value.late, true)
  assert.deepEqual(a.stats, { merged: 7, folded: 6 + 6, searched: 6 })
})
