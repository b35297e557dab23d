'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, plain } = require('./helpers.js')

/** A small generator that a seed replays (mulberry32). */
function random(seed) {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

const bits = new DataView(new ArrayBuffer(8))

function double(next) {
  for (;;) {
    bits.setUint32(0, next() * 2 ** 32)
    bits.setUint32(4, next() * 2 ** 32)
    const value = bits.getFloat64(0)
    // JSON knows no others, and -0 is 0 there.
    if (Number.isFinite(value)) return value
  }
}

function text(next) {
  const alphabet = [
    'a',
    '"',
    '\\',
    '/',
    '\0',
    '\n',
    'ü',
    '€',
    '😀',
    '\u2028',
    '__proto__',
    'constructor',
    '_x',
    ''
  ]
  return Array.from({ length: next() * 4 }, () => alphabet[Math.floor(next() * alphabet.length)]).join('')
}

function json(next, depth) {
  const kind = Math.floor(next() * (depth > 0 ? 8 : 6))
  if (kind === 0) return null
  if (kind === 1) return next() < 0.5
  if (kind === 2) return double(next)
  if (kind === 3) return Math.floor(next() * 2 ** 53) * (next() < 0.5 ? -1 : 1)
  if (kind === 4) return [0, '', 1e21, 5e-324, 1.7976931348623157e308, 0.1][Math.floor(next() * 6)]
  if (kind === 5) return text(next)
  if (kind === 6) return Array.from({ length: next() * 4 }, () => json(next, depth - 1))
  return object(next, depth)
}

const RESERVED = new Set(['_objectId', '_timestamp', '_prevTimestamp', '_diff'])

function object(next, depth) {
  const value = {}
  for (let i = Math.floor(next() * 5); i > 0; i--) {
    const name = text(next)
    const property = { value: json(next, depth - 1), enumerable: true, configurable: true, writable: true }
    if (!RESERVED.has(name)) Object.defineProperty(value, name, property)
  }
  return value
}

test('any JSON object comes back as JSON.parse would give it, doubles to the last bit', async (t) => {
  const db = await open(t)
  const seed = Number(process.env.SEED ?? 1)
  const next = random(seed)
  const values = Array.from({ length: 500 }, () => object(next, 5))
  await Promise.all(values.map((value, i) => db.put(`k${i}`, value)))
  for (const [i, value] of values.entries()) {
    const expected = JSON.parse(JSON.stringify(value))
    const entry = await db.get(`k${i}`)
    assert.deepStrictEqual(plain(entry.value), expected, `SEED=${seed}, value ${i}`)
  }
})

test('any change of one JSON object into another comes back exactly', async (t) => {
  const db = await open(t)
  const seed = Number(process.env.SEED ?? 2)
  const next = random(seed)
  let read = null
  for (let i = 0; i < 300; i++) {
    const value = object(next, 4)
    // Sometimes as a change of what was read, sometimes blindly.
    const given = read !== null && next() < 0.5 ? { ...value, ...reserved(read) } : value
    await db.put('k', given)
    read = (await db.get('k')).value
    assert.deepStrictEqual(plain(read), JSON.parse(JSON.stringify(value)), `SEED=${seed}, step ${i}`)
  }
})

function reserved({ _objectId, _timestamp }) {
  return { _objectId, _timestamp }
}

test('-0 is 0, and a property named __proto__ is an ordinary one', async (t) => {
  const db = await open(t)
  await db.put('k', JSON.parse('{"__proto__":{"a":1},"z":-0}'))
  const { value } = await db.get('k')
  assert.ok(Object.hasOwn(value, '__proto__'))
  assert.equal(value.a, undefined)
  assert.ok(Object.is(value.z, 0))
})

test('reserved properties of a caller are not stored', async (t) => {
  const db = await open(t)
  await db.put('k', { a: 1, _objectId: 'other', _timestamp: 'yesterday', _prevTimestamp: 3, _own: 1 })
  const { value } = await db.get('k')
  assert.equal(value._objectId, 'k')
  assert.deepEqual(plain(value), { a: 1, _own: 1 })
})
