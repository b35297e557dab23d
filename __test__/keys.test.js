'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const crypto = require('node:crypto')
const z32 = require('z32')
const { decodeKey, encodeZ32 } = require('../lib/keys.js')

const invalid = (message) => ({ name: 'MultiHyperbeeError', code: 'ERR_INVALID_KEY', message })

test('a key reads the same from bytes, hex of either case and z-base-32', () => {
  for (let i = 0; i < 100; i++) {
    const key = crypto.randomBytes(32)
    const forms = [key, new Uint8Array(key), key.toString('hex'), key.toString('hex').toUpperCase()]
    for (const form of [...forms, encodeZ32(key)]) assert.deepEqual(decodeKey(form), key)
  }
})

test('z-base-32 is what the rest of this field writes', () => {
  const extremes = [Buffer.alloc(32), Buffer.alloc(32, 0xff)]
  for (const key of [...extremes, ...Array.from({ length: 100 }, () => crypto.randomBytes(32))]) {
    assert.equal(encodeZ32(key), z32.encode(key))
    assert.deepEqual(decodeKey(z32.encode(key)), key)
  }
})

test('the key handed out is a copy', () => {
  const key = Buffer.alloc(32, 1)
  decodeKey(key).fill(2)
  assert.deepEqual(key, Buffer.alloc(32, 1))
})

test('what is not a key is refused with what was wrong', () => {
  const cases = [
    [Buffer.alloc(31), /this buffer has 31 bytes$/],
    [Buffer.alloc(1), /this buffer has 1 byte$/],
    [Buffer.alloc(0), /this buffer has 0 bytes$/],
    ['', /this string has 0 characters$/],
    ['a'.repeat(63), /this string has 63 characters$/],
    ['a'.repeat(63) + 'g', /"g" at position 63 is not a hexadecimal character$/],
    ['y'.repeat(51) + 'l', /"l" at position 51 is not a z-base-32 character$/],
    ['Y' + 'y'.repeat(51), /"Y" at position 0 is not a z-base-32 character$/],
    ['y'.repeat(51) + 'b', /the last character of this z-base-32 text says more than 32 bytes$/],
    [undefined, /this is undefined$/],
    [null, /this is null$/],
    [[], /this is an array$/],
    [7, /this is of type number$/]
  ]
  for (const [key, message] of cases) assert.throws(() => decodeKey(key), invalid(message))
})

test('a message names the key as the caller does', () => {
  assert.throws(() => decodeKey(7, 'feedKey'), invalid(/^feedKey must be 32 bytes/))
})
