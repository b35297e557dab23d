'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')

test('require and import give the same classes, under the same names', async () => {
  const required = require('multi-hyperbee')
  const imported = await import('multi-hyperbee')
  assert.equal(imported.default, required)
  assert.equal(required.default, required)
  for (const name of ['MultiHyperbee', 'Autobee', 'Store', 'Feed', 'MultiHyperbeeError']) {
    assert.equal(typeof required[name], 'function', name)
    assert.equal(imported[name], required[name], name)
  }
})
