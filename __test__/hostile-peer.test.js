'use strict'

// What a peer that is another kind of program, another version, or hostile gets. No `error` listener anywhere, except on
// `peer-error`, which is none.

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, connect, converge } = require('./helpers.js')
const { ReplicationStream } = require('../lib/replication-stream.js')

const HASH = Buffer.alloc(64, 7)

/** The session of a connection that is encrypted below it: its messages can be read and changed here. */
function plainSession(db, initiator) {
  const native = async (options, wake) => (await db._session.ready()).replicate(options, wake)
  return new ReplicationStream(native, { initiator, handshakeHash: async () => HASH })
}

const ended = (stream) =>
  new Promise((resolve) => {
    let failure = null
    stream.on('error', (error) => (failure = error))
    stream.on('close', () => resolve(failure))
  })

/** Connects two databases; `change` is applied to the first bytes of `from`, its Hello. */
function meddled(from, to, change) {
  const [one, two] = [plainSession(from, true), plainSession(to, false)]
  let first = true
  one.on('data', (bytes) => {
    if (two.destroyed) return
    two.write(first ? change(bytes) : bytes)
    first = false
  })
  two.on('data', (bytes) => one.destroyed || one.write(bytes))
  return Promise.all([ended(one), ended(two)])
}

const CLIENT = Buffer.from('multi-hyperbee')
/** Behind the length and the type of the first message. */
const VERSION_AT = 2

test('an unchanged Hello connects: what is changed below is the reason', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  await a.put('k', { n: 1 })
  meddled(a, b, (bytes) => {
    assert.ok(bytes.includes(CLIENT))
    return bytes
  })
  await converge(a, b)
})

test('ERR_VERSION_MISMATCH: both versions are named, on both sides the connection ends', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  const [theirs, ours] = await meddled(a, b, (bytes) => {
    const changed = Buffer.from(bytes)
    changed[VERSION_AT] = 9
    return changed
  })
  assert.equal(ours.code, 'ERR_VERSION_MISMATCH')
  assert.deepEqual([ours.usVersion, ours.themVersion], ['1.0', '9.0'])
  assert.match(ours.message, /version 9\.0, this side 1\.0: update the older one$/)
  assert.equal(theirs.code, 'ERR_VERSION_MISMATCH')
  assert.equal(await b.get('k'), null)
  assert.equal(await a.put('k', { n: 1 }), true)
})

test('ERR_CLIENT_MISMATCH: both names are given, whatever the other calls itself', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  for (const name of ['other-hyperbee', 'a":"b"}\n{"us":', '} ERR_CLOSED: ']) {
    assert.equal(name.length, CLIENT.length)
    const [theirs, ours] = await meddled(a, b, (bytes) => {
      const changed = Buffer.from(bytes)
      changed.write(name, bytes.indexOf(CLIENT), 'latin1')
      return changed
    })
    assert.equal(ours.code, 'ERR_CLIENT_MISMATCH')
    assert.deepEqual([ours.usClient, ours.themClient], ['multi-hyperbee', name])
    assert.equal(theirs.code, 'ERR_CLIENT_MISMATCH')
  }
})

test('ERR_PROTOCOL: garbage at any time, split anywhere, ends that connection and no other', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  connect(a, b)
  await a.put('k', { n: 0 })
  await converge(a, b)
  const garbage = [
    Buffer.alloc(1 << 20, 0xff),
    Buffer.alloc(70_000),
    Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 256))
  ]
  for (const bytes of garbage) {
    for (const make of [() => a.replicate(true), () => a.replicate(false), () => plainSession(a, false)]) {
      const stream = make()
      stream.resume()
      const end = ended(stream)
      stream.write(bytes.subarray(0, 1))
      stream.end(bytes.subarray(1))
      const error = await end
      assert.ok(['ERR_PROTOCOL', 'ERR_AUTH', 'ERR_VERSION_MISMATCH'].includes(error?.code), String(error))
    }
  }
  await a.put('k', { n: 1 })
  await converge(a, b)
  assert.equal((await b.get('k')).value.n, 1)
})

test('ERR_PROTOCOL: one changed byte, wherever it is, ends the connection; the next one catches up', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  await Promise.all(Array.from({ length: 100 }, (_, n) => a.put(`k${n}`, { n })))
  for (let at = 0; at < 2000; at += 97) {
    const [one, two] = [plainSession(a, true), plainSession(b, false)]
    let seen = 0
    one.on('data', (bytes) => {
      const changed = Buffer.from(bytes)
      if (seen <= at && at < seen + bytes.length) changed[at - seen] ^= 0x41
      seen += bytes.length
      if (!two.destroyed) two.write(changed)
    })
    two.on('data', (bytes) => one.destroyed || one.write(bytes))
    // Some bytes mean nothing wrong (a nonce of user data): then it just goes on.
    const patience = new Promise((resolve) => setTimeout(resolve, 60))
    const ends = [ended(one), ended(two)]
    await Promise.race([Promise.all(ends), patience])
    one.destroy()
    two.destroy()
    for (const error of await Promise.all(ends))
      assert.ok(error === null || /^ERR_/.test(error.code), String(error))
  }
  connect(a, b)
  await converge(a, b)
  assert.equal((await b.get('k99')).value.n, 99)
})
