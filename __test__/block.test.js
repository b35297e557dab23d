'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbee, open } = require('./helpers.js')

const { Autobee } = MultiHyperbee
const KEY = Buffer.alloc(32, 7)
const OTHER = Buffer.alloc(32, 6)

test('GENESIS is the head of an empty feed', () => {
  assert.deepEqual(Autobee.GENESIS, { length: 0, key: null })
})

test('encodeValue, decodeValue: the bytes of the entry format', () => {
  const block = Autobee.encodeValue('hello')
  assert.equal(block.toString('hex'), `0100000000000000000000010001${Buffer.from('hello').toString('hex')}`)
  assert.equal(Autobee.decodeValue(block).toString(), 'hello')
  const linked = Autobee.encodeValue(Buffer.from([1]), {
    timestamp: 1500,
    links: [
      { key: KEY, length: 300 },
      { key: OTHER.toString('hex'), length: 1 }
    ]
  })
  const link = (key, length) => `${key.toString('hex')}${length}${'00'.repeat(16)}`
  const links = `02${link(OTHER, '01')}${link(KEY, 'ac02')}`
  const expected = `010000${'00000001' + '80000000'}01${links}0101`
  assert.equal(linked.toString('hex'), expected)
  assert.deepEqual(Autobee.decodeValue(linked), Buffer.from([1]))
})

test('encodeValue, decodeValue: encodings; what is no value and what is no block', async (t) => {
  const valueEncoding = 'json'
  const block = Autobee.encodeValue({ a: [1, null] }, { valueEncoding })
  assert.deepEqual(Autobee.decodeValue(block, { valueEncoding }), { a: [1, null] })
  assert.deepEqual(Autobee.decodeValue(Autobee.encodeValue('')), Buffer.alloc(0))
  const db = await open(t)
  assert.equal(Autobee.decodeValue(await db.local.get(0)), null)
  for (const bad of [Buffer.alloc(0), Buffer.from([1]), Buffer.from([9, 9]), 'text', null]) {
    assert.throws(() => Autobee.decodeValue(bad), { code: 'ERR_INVALID_VALUE' })
  }
  assert.throws(() => Autobee.encodeValue({}), { code: 'ERR_INVALID_VALUE' })
  assert.throws(() => Autobee.encodeValue('x', { timestamp: -1 }), { code: 'ERR_OPTIONS' })
  assert.throws(() => Autobee.encodeValue('x', { links: [{ key: KEY, length: 0 }] }), { code: 'ERR_OPTIONS' })
  assert.throws(() => Autobee.encodeValue('x', { links: [{ key: 'x', length: 1 }] }), {
    code: 'ERR_INVALID_KEY'
  })
  const twice = [1, 2].map((length) => ({ key: KEY, length }))
  assert.throws(() => Autobee.encodeValue('x', { links: twice }), { code: 'ERR_INVALID_VALUE' })
})
