'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbeeError, CODES, translated } = require('../lib/errors.js')

test('an error has a code, a message, a cause and its own name', () => {
  const cause = new Error('why')
  const error = new MultiHyperbeeError('ERR_CLOSED', 'the database is closed', { cause })
  assert.ok(error instanceof Error)
  assert.equal(error.code, 'ERR_CLOSED')
  assert.equal(error.message, 'the database is closed')
  assert.equal(error.cause, cause)
  assert.equal(String(error), 'MultiHyperbeeError: the database is closed')
  assert.deepEqual(Object.keys(error), ['code'])
})

test('a code that is not documented cannot be used', () => {
  assert.throws(() => new MultiHyperbeeError('ERR_SOMETHING', 'x'), TypeError)
})

test('every code of a native error is kept, from its property or from the start of its message', () => {
  for (const code of CODES) {
    const byProperty = MultiHyperbeeError.from(Object.assign(new Error('what happened'), { code }))
    const byMessage = MultiHyperbeeError.from(
      Object.assign(new Error(`${code}: what happened`), { code: 'GenericFailure' })
    )
    const byBoth = MultiHyperbeeError.from(Object.assign(new Error(`${code}: what happened`), { code }))
    for (const error of [byProperty, byMessage, byBoth]) {
      assert.ok(error instanceof MultiHyperbeeError)
      assert.equal(error.code, code)
      assert.equal(error.message, 'what happened')
    }
  }
})

test('an error that is not ours is left as it is', () => {
  const foreign = Object.assign(new Error('ERR_ODD: no such code'), { code: 'ENOENT' })
  assert.equal(MultiHyperbeeError.from(foreign), foreign)
  assert.equal(MultiHyperbeeError.from('a string'), 'a string')
  assert.equal(MultiHyperbeeError.from(undefined), undefined)
  const ours = new MultiHyperbeeError('ERR_MODE', 'x')
  assert.equal(MultiHyperbeeError.from(ours), ours)
})

test('a translated call returns what it returned and throws our error', () => {
  assert.equal(
    translated(() => 7),
    7
  )
  assert.throws(
    () =>
      translated(() => {
        throw new Error('ERR_STORE_LOCKED: ./db is in use')
      }),
    { name: 'MultiHyperbeeError', code: 'ERR_STORE_LOCKED', message: './db is in use' }
  )
})
