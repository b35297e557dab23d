'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { MultiHyperbee, open } = require('./helpers.js')

const MASTER = Buffer.alloc(32, 5)

test('deriveKeyPair: one pair per name, the same wherever it is derived', () => {
  const pair = MultiHyperbee.deriveKeyPair(MASTER, 'contacts')
  assert.equal(pair.publicKey.length, 32)
  assert.equal(pair.secretKey.length, 64)
  // Golden: a change would lock users out of what they wrote.
  assert.equal(
    pair.publicKey.toString('hex'),
    'a8d0f342295e16e924893e19e0c763485e13c8988cfcbc23e479262e03e34e35'
  )
  assert.deepEqual(
    MultiHyperbee.deriveKeyPair({ secretKey: Buffer.concat([MASTER, Buffer.alloc(32)]) }, 'contacts'),
    pair
  )
  assert.notDeepEqual(MultiHyperbee.deriveKeyPair(MASTER, 'notes').publicKey, pair.publicKey)
  assert.notDeepEqual(MultiHyperbee.deriveKeyPair(Buffer.alloc(32, 6), 'contacts').publicKey, pair.publicKey)
  for (const args of [[null, 'x'], [Buffer.alloc(31), 'x'], [MASTER, ''], [MASTER]]) {
    assert.throws(() => MultiHyperbee.deriveKeyPair(...args), { code: 'ERR_OPTIONS' })
  }
})

test('a derived pair is the local writer’s', async (t) => {
  const keyPair = MultiHyperbee.deriveKeyPair(MASTER, 'contacts')
  const db = await open(t, ':memory:', { keyPair })
  assert.deepEqual(db.local.key, keyPair.publicKey)
  assert.equal(await db.put('k', { a: 1 }), true)
})
