'use strict'

// Relays over real streams: members who never meet, limits, and that a relay neither reads nor writes.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const {
  MultiHyperbee,
  open,
  openWriter,
  directory,
  connect,
  connectTcp,
  converge,
  plain
} = require('./helpers.js')

const feedOf = (db, key) => db.status().feeds.find((feed) => feed.key.equals(key))

/** Waits until `db` has so much of a feed. */
async function have(db, key, length) {
  for await (const { feeds } of db.syncProgress({ signal: AbortSignal.timeout(20_000) })) {
    if (feeds.some((feed) => feed.key.equals(key) && feed.have >= length)) return
  }
}

const end = (streams) => streams.forEach((stream) => stream.destroy())

test('two members who never meet sync through a relay, also after it was closed and opened again', async (t) => {
  const folder = directory(t)
  const a = await open(t)
  const b = await openWriter(t, a)
  await a.put('k', { from: 'a' })
  const relay = await open(t, folder, { key: a.key, relay: true })
  end(await connectAndBring(t, a, relay, a.key, 3))
  await relay.close()

  const again = await open(t, folder, { key: a.key, relay: true })
  const first = await connectTcp(t, again, b)
  await b.waitForWritable({ timeout: 20_000 })
  assert.deepEqual(plain((await b.get('k')).value), { from: 'a' })
  await b.put('k', { ...(await b.get('k')).value, and: 'b' })
  await have(again, b.local.key, 1)
  end(first)

  connect(again, a)
  while ((await a.get('k')).value.and !== 'b') await once(a, 'update')
  assert.deepEqual(await a.stateHash(), await b.stateHash())
})

async function connectAndBring(t, from, to, key, length) {
  const streams = await connectTcp(t, from, to)
  await have(to, key, length)
  return streams
}

test('store.relay(key): an apply-mode database without its apply, among the databases of a store', async (t) => {
  const apply = async (nodes, view) => {
    for (const { value } of nodes) await view.put(`k${value.n}`, value)
  }
  const a = await open(t, ':memory:', { apply, valueEncoding: 'json' })
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  const own = await open(t, store)
  const relay = store.relay(a.key)
  await relay.ready()
  assert.ok(MultiHyperbee.isMultiHyperbee(relay))
  assert.deepEqual(relay.key, a.key)
  assert.equal(store.list().length >= 2, true)
  await a.append([{ n: 1 }, { n: 2 }])
  const [one, two] = [a.replicate(true), store.replicate(false)]
  one.pipe(two).pipe(one)
  await have(relay, a.key, 3)
  await relay.flush({ timeout: 10_000 })
  assert.equal(relay.status().synced, true)
  end([one, two])
  const b = await open(t, ':memory:', a.key, { apply, valueEncoding: 'json' })
  connect(relay, b)
  await converge(b)
  while ((await b.view.get('k2')) === null) await once(b, 'update')
  assert.equal(await own.put('k', { n: 1 }), true)
})

test('ERR_RELAY: a relay reads and writes nothing', async (t) => {
  const a = await open(t)
  const relay = await open(t, ':memory:', { key: a.key, relay: true })
  const calls = {
    get: () => relay.get('k'),
    put: () => relay.put('k', { n: 1 }),
    del: () => relay.del('k'),
    getMany: () => relay.getMany(['k']),
    peek: () => relay.peek(),
    append: () => relay.append('x'),
    addPeer: () => relay.addPeer(Buffer.alloc(32, 7)),
    addWriter: () => relay.addWriter(Buffer.alloc(32, 7)),
    writers: () => relay.writers(),
    getPeers: () => relay.getPeers(),
    removePeer: () => relay.removePeer(Buffer.alloc(32, 7)),
    removeWriter: () => relay.removeWriter(Buffer.alloc(32, 7)),
    getDiff: () => relay.getDiff(),
    createUnionStream: async () => relay.createUnionStream('k'),
    views: async () => relay.views(),
    requestAccess: () => relay.requestAccess(),
    createInvite: () => relay.createInvite(),
    stateHash: () => relay.stateHash(),
    applied: () => relay.applied({ key: a.key, length: 1 }),
    replay: () => relay.replay(),
    getSync: async () => relay.getSync('k'),
    batch: async () => relay.batch(),
    snapshot: async () => relay.snapshot(),
    sub: async () => relay.sub('s'),
    createReadStream: async () => relay.createReadStream(),
    watch: async () => relay.watch(),
    finality: async () => relay.finality()
  }
  for (const [name, call] of Object.entries(calls)) {
    await assert.rejects(call(), { code: 'ERR_RELAY', message: /without relay/ }, name)
  }
  assert.deepEqual([relay.writable, relay.isIndexer, relay.version, relay.local], [false, false, 0, null])
  await relay.update()
  await relay.updated()
})

test('ERR_OPTIONS: a relay without a key, with apply, with limits that are none, of another mode', async (t) => {
  const key = Buffer.alloc(32, 7)
  const wrong = [
    { relay: true },
    { key, relay: true, apply: async () => {} },
    { key, relay: { maxFeeds: -1 } },
    { key, relay: { maxBytes: 'x' } }
  ]
  for (const options of wrong) {
    assert.throws(() => new MultiHyperbee(':memory:', options), { code: 'ERR_OPTIONS' })
  }
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  await store.relay(key, { name: 'one' }).ready()
  const other = new MultiHyperbee(store, { key, name: 'one' })
  await assert.rejects(other.ready(), { code: 'ERR_OPTIONS', message: /with relay: true/ })
})

test('a relay that is full says so, goes on serving what it has, and a larger one takes the rest', async (t) => {
  const folder = directory(t)
  const a = await open(t)
  const text = 'x'.repeat(10_000)
  for (let n = 0; n < 10; n++) await a.put(`k${n}`, { text })
  const small = new MultiHyperbee(folder, { key: a.key, relay: { maxBytes: 200_000 } })
  t.after(() => small.close())
  await small.ready()
  const streams = connect(a, small)
  await have(small, a.key, 11)
  for (let n = 10; n < 40; n++) await a.put(`k${n}`, { text })
  for await (const { reason } of small.syncProgress({ signal: AbortSignal.timeout(20_000) })) {
    if (reason?.code === 'relay-full' && feedOf(small, a.key).want === 41) break
  }
  const { have: kept, want, reason } = feedOf(small, a.key)
  assert.ok(kept > 0 && kept < want && want === 41, `${kept} of ${want}`)
  assert.match(reason.message, /limits allow no more/)
  end(streams)
  const b = await open(t, ':memory:', { key: a.key })
  end(await connectAndBring(t, small, b, a.key, 11))
  await small.close()
  const large = await open(t, folder, { key: a.key, relay: true })
  connect(a, large)
  await have(large, a.key, 41)
})
