'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const vm = require('node:vm')
const compact = require('compact-encoding')
const { resolveEncoding, encodeObject, isPlainObject } = require('../lib/encodings.js')

const refused = (message) => ({ name: 'MultiHyperbeeError', code: 'ERR_INVALID_VALUE', message })
const encoding = (name) => resolveEncoding(name, 'valueEncoding')

test('every named encoding gives back what it was given', () => {
  const cases = {
    binary: [Buffer.from([0, 255]), Buffer.alloc(0)],
    'utf-8': ['', 'a', 'é€😀', '\0'],
    utf8: ['é'],
    ascii: ['', 'abc~'],
    json: [null, 0, '', false, [], {}, { a: [1, { b: 'é' }] }, 'x']
  }
  for (const [name, values] of Object.entries(cases)) {
    const { encode, decode } = encoding(name)
    for (const value of values) {
      const bytes = encode(value)
      assert.ok(Buffer.isBuffer(bytes))
      assert.deepEqual(decode(bytes), value)
    }
  }
})

test('bytes of a view into a larger buffer are the bytes of the view', () => {
  const view = new Uint8Array([1, 2, 3, 4]).subarray(1, 3)
  assert.deepEqual(encoding('binary').encode(view), Buffer.from([2, 3]))
})

test('text and binary encodings take each other where nothing is lost', () => {
  assert.deepEqual(encoding('binary').encode('é'), Buffer.from('é'))
  assert.deepEqual(encoding('utf-8').encode(Buffer.from('é')), Buffer.from('é'))
  assert.deepEqual(encoding('ascii').encode(Buffer.from('a')), Buffer.from('a'))
})

test('what an encoding cannot say is refused, never changed', () => {
  assert.throws(
    () => encoding('binary').encode(7),
    refused(/^binary takes a Buffer or a string; this is number$/)
  )
  assert.throws(() => encoding('utf-8').encode(null), refused(/^utf-8 takes a string; this is null$/))
  assert.throws(() => encoding('utf-8').encode('\ud800'), refused(/half a surrogate pair/))
  assert.throws(() => encoding('ascii').encode('é'), refused(/is not ascii/))
  assert.throws(() => encoding('ascii').encode([]), refused(/this is an array$/))
  assert.throws(() => encoding('json').encode(undefined), refused(/this is undefined$/))
  assert.throws(() => encoding('json').encode(1n), refused(/cannot be encoded: .*BigInt/))
})

test('an encoding of the user is called with the value and answers in bytes', () => {
  const reverse = {
    encode: (text) => new TextEncoder().encode([...text].reverse().join('')),
    decode: (bytes) => [...bytes.toString()].reverse().join('')
  }
  const { name, encode, decode } = encoding(reverse)
  assert.equal(name, 'custom')
  assert.deepEqual(encode('abc'), Buffer.from('cba'))
  assert.equal(decode(Buffer.from('cba')), 'abc')
})

test('an encoding of the user that throws or answers with something else is refused with the cause', () => {
  const cause = new Error('not today')
  const throws = () => {
    throw cause
  }
  const throwing = encoding({ encode: throws, decode: throws })
  assert.throws(() => throwing.encode(1), { ...refused(/not today/), cause })
  const wrong = encoding({ encode: () => 'text', decode: (bytes) => bytes })
  assert.throws(() => wrong.encode(1), refused(/takes bytes from its encode; this is string$/))
})

test('codecs of compact-encoding work as they are', () => {
  for (const [codec, value] of [
    [compact.uint, 70000],
    [compact.string, 'é'],
    [compact.json, { a: 1 }],
    [compact.array(compact.uint), [1, 2, 300]]
  ]) {
    const { encode, decode } = encoding(codec)
    assert.deepEqual(encode(value), Buffer.from(compact.encode(codec, value)))
    assert.deepEqual(decode(encode(value)), value)
  }
})

test('what is no encoding is refused with the name of the option', () => {
  for (const wrong of ['hex', 7, null, undefined, {}, { encode() {} }, { decode() {} }]) {
    assert.throws(() => resolveEncoding(wrong, 'keyEncoding'), {
      code: 'ERR_OPTIONS',
      message: /^keyEncoding must be/
    })
  }
})

test('a merge-mode value is a JSON object', () => {
  const foreign = vm.runInNewContext('({ a: 1 })')
  const bare = Object.assign(Object.create(null), { a: 1 })
  for (const value of [{ a: 1 }, foreign, bare, { a: 1, toJSON: undefined }, { toJSON: () => ({ a: 1 }) }]) {
    assert.ok(isPlainObject(value))
    assert.equal(encodeObject(value), '{"a":1}')
  }
})

test('a merge-mode value that is missing or falsy is asked for', () => {
  for (const value of [undefined, null, 0, '', false]) {
    assert.throws(() => encodeObject(value), refused('multi-hyperbee: value parameter is required'))
  }
})

test('a merge-mode value that is no plain object is refused', () => {
  class Contact {}
  const others = [
    'text',
    1,
    true,
    [],
    [{}],
    () => ({}),
    new Date(),
    new Map(),
    Buffer.alloc(1),
    new Contact()
  ]
  for (const value of [...others, { toJSON: () => 'text' }, { toJSON: () => undefined }]) {
    assert.throws(() => encodeObject(value), refused('multi-hyperbee: value expected to be JSON object'))
  }
})

test('what JSON drops is dropped, what it cannot say is refused', () => {
  assert.equal(encodeObject({ a: undefined, b() {}, c: [undefined], d: NaN }), '{"c":[null],"d":null}')
  assert.throws(() => encodeObject({ a: 1n }), refused(/BigInt/))
  const circle = {}
  circle.itself = circle
  assert.throws(() => encodeObject(circle), refused(/circular/))
  const trap = {
    get a() {
      throw new Error('from a getter')
    }
  }
  assert.throws(() => encodeObject(trap), refused(/from a getter/))
})

test('half a surrogate pair is refused wherever it stands, and nothing that only looks like one', () => {
  for (const value of [{ a: '\ud800' }, { '\udfff': 1 }, { a: ['x\\\udbff'] }, { a: '\ud83dx' }]) {
    assert.throws(() => encodeObject(value), refused(/half a surrogate pair/))
  }
  for (const value of [{ a: '😀' }, { a: '\\ud800' }, { a: '\\\\ud800' }]) {
    assert.deepEqual(JSON.parse(encodeObject(value)), value)
  }
})
