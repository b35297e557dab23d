'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const net = require('node:net')
const { once } = require('node:events')
const { Duplex, PassThrough } = require('node:stream')
const {
  MultiHyperbee,
  directory,
  open,
  openWriter,
  connect,
  connectTcp,
  converge,
  collect,
  plain
} = require('./helpers.js')
const { wire } = require('./rough.js')

test('two replicas edit offline, meet, and agree', async (t) => {
  const a = await open(t)
  await a.put('k', { name: 'Jane', list: [1, 2] })
  const b = await openWriter(t, a)
  connect(a, b)
  await b.waitForWritable({ timeout: 10_000 })
  await converge(a, b)
  assert.deepEqual(plain((await b.get('k')).value), { name: 'Jane', list: [1, 2] })
  await Promise.all([a.put('k', { ...(await a.get('k')).value, age: 3 }), b.put('other', { x: 1 })])
  await converge(a, b)
  assert.deepEqual(await a.get('other').then((entry) => plain(entry.value)), { x: 1 })
  assert.equal((await b.get('k')).value.age, 3)
})

test('concurrent edits of different fields keep both; both sides show the same object', async (t) => {
  const a = await open(t)
  await a.put('k', { x: 1, y: 1, list: ['m'] })
  const b = await openWriter(t, a)
  const streams = connect(a, b)
  await b.waitForWritable({ timeout: 10_000 })
  await converge(a, b)
  for (const stream of streams) stream.destroy()
  const ours = (await a.get('k')).value
  const theirs = (await b.get('k')).value
  await a.put('k', { ...ours, x: 2, list: ['a', ...ours.list] })
  await b.put('k', { ...theirs, y: 2, list: [...theirs.list, 'z'] })
  connect(a, b)
  await converge(a, b)
  const [one, two] = [(await a.get('k')).value, (await b.get('k')).value]
  assert.deepEqual(one, two)
  assert.deepEqual(plain(one), { x: 2, y: 2, list: ['a', 'm', 'z'] })
})

test('over a socket: catch-up of many entries, synced on both sides', async (t) => {
  const a = await open(t)
  await Promise.all(Array.from({ length: 5000 }, (_, n) => a.put(`k${n}`, { n, text: 'x'.repeat(100) })))
  const b = await open(t, ':memory:', { key: a.key })
  const synced = once(b, 'synced')
  const [, stream] = await connectTcp(t, a, b)
  const [of] = await synced
  if (wire !== 'cut') assert.equal(of, stream)
  await converge(a, b)
  assert.equal((await collect(b.createReadStream())).length, 5000)
  assert.deepEqual(await a.heads(), await b.heads())
})

test('a third device relays', async (t) => {
  const a = await open(t)
  const [b, c] = [await open(t, ':memory:', { key: a.key }), await open(t, ':memory:', { key: a.key })]
  await a.put('k', { n: 1 })
  const first = connect(a, b)
  await converge(a, b)
  for (const stream of first) stream.destroy()
  connect(b, c)
  await converge(b, c)
  assert.equal((await c.get('k')).value.n, 1)
})

test('addPeer merges a feed of another database, from its first entry on; removePeer keeps what was merged', async (t) => {
  const a = await open(t)
  const b = await open(t)
  await b.put('k', { from: 'b' })
  const peer = await a.addPeer(b.local.key)
  assert.deepEqual(peer.key, b.local.key)
  assert.deepEqual(
    (await a.getPeers()).map((p) => p.id),
    [peer.id]
  )
  connect(a, b)
  while ((await a.get('k')) === null) await once(a, 'update')
  assert.equal((await a.get('k')).value.from, 'b')
  assert.equal((await a.removePeer(b.local.key)).id, peer.id)
  assert.equal(await a.removePeer(b.local.key), false)
  assert.equal((await a.get('k')).value.from, 'b')
})

test('writers come and go, with events', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  connect(a, b)
  const writable = once(b, 'writable')
  assert.equal(await a.addWriter(b.local.key), true)
  await writable
  await b.put('k', { n: 1 })
  await converge(a, b)
  const listed = (await a.writers()).find((writer) => writer.key.equals(b.local.key))
  assert.deepEqual([listed.counted, listed.length, listed.isIndexer, listed.removedBy], [1, 1, false, null])
  const unwritable = once(b, 'unwritable')
  assert.equal(await a.removeWriter(b.local.key), true)
  await unwritable
  await assert.rejects(b.put('k', { n: 2 }), { code: 'ERR_NOT_WRITABLE' })
  await converge(a, b)
})

test('a removed writer: it goes on unaware, learns of it, is refused, and writers() lists what does not count', async (t) => {
  const a = await open(t)
  const b = await openWriter(t, a)
  const streams = connect(a, b)
  await b.waitForWritable()
  await b.put('seen', { n: 1 })
  await converge(a, b)
  for (const stream of streams) stream.destroy()
  await a.removeWriter(b.local.key)
  await b.put('unaware', { n: 2 })
  assert.equal((await b.get('unaware')).value.n, 2)
  const unwritable = once(b, 'unwritable')
  connect(a, b)
  await unwritable
  await converge(a, b)
  for (const db of [a, b]) {
    assert.equal(await db.get('unaware'), null)
    assert.equal((await db.get('seen')).value.n, 1)
    const of = (await db.writers()).find(({ key }) => key.equals(b.local.key))
    assert.deepEqual([of.length, of.counted, of.isIndexer, of.removedBy], [2, 1, false, a.local.key])
  }
  for (const write of [
    () => b.put('k', { n: 3 }),
    () => b.del('seen'),
    async () => {
      const batch = b.batch()
      await batch.put('k', { n: 3 })
      await batch.flush()
    }
  ]) {
    await assert.rejects(write(), { code: 'ERR_NOT_WRITABLE' })
  }
  assert.equal(b.local.length, 2)
})

test('peers: addPeer survives restart, removePeer too and merges nothing more, re-adding resumes', async (t) => {
  const folder = directory(t)
  const b = await open(t)
  const session = async (work) => {
    const a = await open(t, folder)
    const streams = []
    // With nothing in common a connection ends.
    const link = () => streams.push(...connect(a, b))
    const has = async (key) => {
      while ((await a.get(key)) === null) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await work(a, has, link)
    for (const stream of streams) stream.destroy()
    await a.close()
  }
  await b.put('one', { n: 1 })
  await session(async (a, has, link) => {
    await a.addPeer(b.local.key)
    link()
    await has('one')
    assert.deepEqual((await a.addPeer(b.local.key)).key, b.local.key)
    assert.equal((await a.getPeers()).length, 1)
  })
  await b.put('two', { n: 2 })
  await session(async (a, has, link) => {
    link()
    await has('two')
    assert.equal((await a.getPeers()).length, 1)
    const [gone] = await Promise.all([once(a, 'peer-remove'), a.removePeer(b.local.key)])
    assert.deepEqual(gone[0], b.local.key)
  })
  await b.put('three', { n: 3 })
  await session(async (a, has, link) => {
    link()
    assert.deepEqual(await a.getPeers(), [])
    await a.flush({ timeout: 10_000 })
    await a.put('own', { n: 0 })
    assert.deepEqual([(await a.get('two')).value.n, await a.get('three')], [2, null])
    const added = once(a, 'peer-add')
    const peer = await a.addPeer(b.local.key)
    assert.equal((await added)[0].id, peer.id)
    link()
    await has('three')
    await assert.rejects(a.addPeer(a.local.key), { code: 'ERR_INVALID_KEY' })
  })
})

test('live: false ends when both sides have what the other had', async (t) => {
  const a = await open(t)
  await a.put('k', { n: 1 })
  const b = await open(t, ':memory:', { key: a.key })
  const streams = connect(a, b, { live: false })
  await Promise.all(streams.map(closed))
  assert.equal((await b.get('k')).value.n, 1)
})

test('ERR_AUTH: who does not know the key learns nothing', async (t) => {
  const [a, b] = [await open(t), await open(t)]
  const errors = []
  a.on('peer-error', (error, stream) => errors.push([error.code, stream]))
  // This one connection, on every wire.
  const streams = [a.replicate(true), b.replicate(false)]
  streams[0].pipe(streams[1]).pipe(streams[0])
  await Promise.all(streams.map(closed))
  assert.deepEqual(errors, [['ERR_AUTH', streams[0]]])
})

test('ERR_PROTOCOL: a peer speaking garbage ends the stream and nothing else', async (t) => {
  const db = await open(t)
  const errors = []
  db.on('peer-error', (error) => errors.push(error.code))
  const stream = db.replicate(false)
  stream.resume()
  stream.write(Buffer.alloc(100_000, 'GET / HTTP/1.1\r\n'))
  await closed(stream)
  assert.equal(errors.length, 1)
  assert.ok(['ERR_PROTOCOL', 'ERR_AUTH', 'ERR_VERSION_MISMATCH'].includes(errors[0]), errors[0])
  assert.equal(await db.put('k', { n: 1 }), true)
})

test('a connection cut in the middle of a frame, again and again, still catches up', async (t) => {
  const a = await open(t)
  await Promise.all(Array.from({ length: 2000 }, (_, n) => a.put(`k${n}`, { n, text: 'x'.repeat(200) })))
  const b = await open(t, ':memory:', { key: a.key })
  for (let cut = 1000; cut < 400_000; cut = Math.floor(cut * 2.7)) {
    const [one, two] = [a.replicate(true), b.replicate(false)]
    let left = cut
    one.on('data', (bytes) => {
      const part = bytes.subarray(0, left)
      left -= part.length
      if (!two.destroyed) two.write(part)
      if (left === 0) for (const stream of [one, two]) stream.destroy()
    })
    two.on('data', (bytes) => one.destroyed || one.write(bytes))
    await Promise.all([one, two].map(closed))
  }
  connect(a, b)
  await converge(a, b)
})

test('a slow reader slows its sender', async (t) => {
  const a = await open(t)
  const big = 'x'.repeat(1 << 20)
  for (let n = 0; n < 40; n++) await a.put(`k${n}`, { n, big })
  const b = await open(t, ':memory:', { key: a.key })
  const [one, two] = [a.replicate(true), b.replicate(false)]
  two.pipe(one)
  one.on('data', () => {})
  one.pause()
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.ok(one.readableLength < 1 << 20, `${one.readableLength} bytes wait`)
  one.removeAllListeners('data')
  one.pipe(two)
  await converge(a, b)
})

test('bytes split anywhere', async (t) => {
  const a = await open(t)
  await a.put('k', { n: 1 })
  const b = await open(t, ':memory:', { key: a.key })
  const [one, two] = [a.replicate(true), b.replicate(false)]
  const split = (from, to) =>
    from.on('data', (bytes) => bytes.forEach((_, i) => to.write(bytes.subarray(i, i + 1))))
  split(one, two)
  split(two, one)
  await converge(a, b)
})

test('replicate(stream) needs to know who begins, unless the stream says so', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  assert.throws(() => a.replicate(new PassThrough()), { code: 'ERR_OPTIONS', message: /isInitiator/ })
  assert.throws(() => a.replicate(), { code: 'ERR_OPTIONS' })
  assert.throws(() => a.replicate('peer'), { code: 'ERR_OPTIONS' })
  const [left, right] = pair()
  a.replicate(true, { stream: left })
  b.replicate(right, { isInitiator: false })
  await a.put('k', { n: 1 })
  await converge(a, b)
  assert.equal((await b.get('k')).value.n, 1)
})

/** `once` would reject with the stream's error. */
const closed = (stream) => stream.closed || new Promise((resolve) => stream.on('close', resolve))

function pair() {
  const make = () => new Duplex({ read() {}, write: (chunk, _, done) => done() })
  const [left, right] = [make(), make()]
  const cross = (from, to) => {
    from._write = (chunk, _, done) => {
      to.push(chunk)
      done()
    }
  }
  cross(left, right)
  cross(right, left)
  return [left, right]
}

test('two handles of one store on one connection share a session', async (t) => {
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  const db = new MultiHyperbee(store)
  const socket = new net.Socket()
  t.after(() => socket.destroy())
  assert.equal(db.replicate(socket), store.replicate(socket))
})

test('syncProgress yields at most ten times a second, and ends with the database', async (t) => {
  const a = await open(t)
  const seen = []
  const began = performance.now()
  const watching = (async () => {
    for await (const status of a.syncProgress()) seen.push(status.version)
  })()
  for (let n = 0; n < 100; n++) await a.put('k', { n })
  await new Promise((resolve) => setTimeout(resolve, 250))
  await a.close()
  await watching
  // The first at once, then one in each tenth of a second that has passed.
  const most = 2 + (performance.now() - began) / 100
  assert.ok(seen.length >= 2 && seen.length <= most, `${seen.length} of at most ${most}`)
  assert.deepEqual([seen[0], seen.at(-1)], [0, 100])
})
