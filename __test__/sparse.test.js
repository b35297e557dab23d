'use strict'

// Feeds that are open by themselves: nothing is fetched but what is wanted, over real streams.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { MultiHyperbee, open, directory, collect } = require('./helpers.js')

const { Store } = MultiHyperbee
const text = (n) => `block ${n}`

function storeOf(t, storage = ':memory:') {
  const store = new Store(storage)
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  t.after(() => store.close())
  return store
}

/** A feed of so many blocks, and one store that has the same feed open and is connected. */
async function connected(t, count, storage) {
  const [one, two] = [storeOf(t), storeOf(t, storage)]
  const feed = one.get({ name: 'log' })
  await feed.append(Array.from({ length: count }, (_, n) => text(n)))
  const other = two.get(feed.key)
  await other.ready()
  return { feed, other, one, two, streams: connect(one, two) }
}

function connect(one, two, change = (stream) => stream) {
  const [a, b] = [one.replicate(true), two.replicate(false)]
  change(a).pipe(b)
  change(b).pipe(a)
  return [a, b]
}

/** Bytes that came over the stream. */
const received = (store) => store.status().peers.reduce((sum, peer) => sum + peer.received, 0)

test('get(i) fetches one block with its proof, and nothing else of a long feed', async (t) => {
  const { feed, other, two } = await connected(t, 20_000)
  for (const seq of [7_000, 12_345, 19_999, 3]) {
    assert.equal((await other.get(seq, { timeout: 20_000 })).toString(), text(seq))
    assert.equal(await other.has(seq), true)
  }
  for (const seq of [0, 4, 6_999, 7_001, 19_998]) assert.equal(await other.has(seq), false, `${seq}`)
  assert.deepEqual([other.length, other.contiguousLength], [20_000, 0])
  assert.equal(other.byteLength, feed.byteLength)
  assert.ok(received(two) < 16_000, `${received(two)} bytes`)
})

test('the length is known, as a signed one, before anything is asked for; and grows with the feed', async (t) => {
  const { feed, other } = await connected(t, 100)
  while (other.length < 100) await once(other, 'append')
  await feed.append('one more')
  while (other.length < 101) await once(other, 'append')
  assert.equal(other.contiguousLength, 0)
})

test('wait: false, timeout, signal', async (t) => {
  const store = storeOf(t)
  const feed = store.get(Buffer.alloc(32, 7))
  assert.equal(await feed.get(5, { wait: false }), null)
  await assert.rejects(feed.get(5, { timeout: 30 }), { code: 'ERR_TIMEOUT' })
  await assert.rejects(feed.get(5, { signal: AbortSignal.timeout(30) }), { code: 'ERR_ABORTED' })
  await assert.rejects(feed.download({ start: 2, end: 9, timeout: 30 }), { code: 'ERR_TIMEOUT' })
  await assert.rejects(feed.download({ start: 2, end: -1 }), { code: 'ERR_OPTIONS' })
  const waiting = feed.get(5)
  await new Promise((resolve) => setImmediate(resolve))
  const closing = assert.rejects(waiting, { code: 'ERR_CLOSED' })
  await feed.close()
  await closing
})

test('download(range), then the rest: a sparse feed goes on as a whole one', async (t) => {
  const folder = directory(t)
  const { feed, other, one, two, streams } = await connected(t, 3_000, folder)
  await other.download({ start: 1_000, end: 1_500, timeout: 20_000 })
  assert.equal((await other.get(1_499, { wait: false })).toString(), text(1_499))
  assert.equal(await other.get(1_500, { wait: false }), null)
  assert.equal(other.contiguousLength, 0)
  for (const stream of streams) stream.destroy()
  await two.close()

  // What stood apart is there after a restart, without anybody connected.
  const again = storeOf(t, folder)
  const same = again.get(feed.key)
  assert.equal((await same.get(1_234, { wait: false })).toString(), text(1_234))
  assert.equal(same.length, 3_000)
  assert.deepEqual((await again.verify()).damages, [])
  connect(one, again)
  await same.download({ start: 0, end: 3_000, timeout: 20_000 })
  assert.equal(same.contiguousLength, 3_000)
  assert.deepEqual(await same.treeHash(), await feed.treeHash())
  assert.deepEqual((await again.verify()).damages, [])

  // Whoever has all of it serves it on.
  const third = storeOf(t)
  const last = third.get(feed.key)
  connect(again, third)
  assert.equal((await last.get(2_999, { timeout: 20_000 })).toString(), text(2_999))
})

test('createReadStream fetches ahead, from anywhere, backwards, and live', async (t) => {
  const { feed, other } = await connected(t, 1_000)
  const blocks = await collect(other.createReadStream({ start: 400, end: 900 }))
  assert.deepEqual(
    blocks.map(String),
    Array.from({ length: 500 }, (_, n) => text(400 + n))
  )
  const back = await collect(other.createReadStream({ start: 0, end: 300, reverse: true }))
  assert.deepEqual([back.length, String(back[0]), String(back.at(-1))], [300, text(299), text(0)])
  assert.equal(await other.has(350), false)
  const live = other.createReadStream({ start: 998, live: true })[Symbol.asyncIterator]()
  assert.equal(String((await live.next()).value), text(998))
  assert.equal(String((await live.next()).value), text(999))
  const next = live.next()
  await feed.append('new')
  assert.equal(String((await next).value), 'new')
  await live.return()
})

test('from several peers at once no block comes twice', async (t) => {
  const { feed, other, one, two } = await connected(t, 2_000)
  const second = storeOf(t)
  const copy = second.get(feed.key)
  connect(one, second)
  await copy.download({ start: 0, end: 2_000, timeout: 20_000 })
  connect(second, two)
  await Promise.all(
    Array.from({ length: 8 }, (_, n) => other.download({ start: n * 250, end: n * 250 + 250 }))
  )
  assert.equal(other.contiguousLength, 2_000)
  const { peers } = two.status()
  const blocks = peers.flatMap(({ feeds }) => feeds.map((of) => of.received)).reduce((a, b) => a + b, 0)
  // The last one may have come first, to tell the length, and again with its range.
  assert.ok(blocks >= 2_000 && blocks <= 2_001, `${blocks} blocks`)
})

test('a peer that goes away, or does not serve, is not waited for', async (t) => {
  const { feed, other, one, two, streams } = await connected(t, 500)
  for (const stream of streams) stream.destroy()
  const waiting = other.get(77, { timeout: 20_000 })
  const silent = [one.replicate(true), two.replicate(false)]
  silent[0].pipe(silent[1])
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (const stream of silent) stream.destroy()
  connect(one, two)
  assert.equal(String(await waiting), text(77))
  assert.equal(feed.length, 500)
})

test('frames cut at every byte', async (t) => {
  const { Transform } = require('node:stream')
  const cut = (stream) =>
    stream.pipe(
      new Transform({
        transform(bytes, _, done) {
          for (let at = 0; at < bytes.length; at++) this.push(bytes.subarray(at, at + 1))
          done()
        }
      })
    )
  const [one, two] = [storeOf(t), storeOf(t)]
  const feed = one.get({ name: 'log' })
  await feed.append(Array.from({ length: 300 }, (_, n) => text(n)))
  const other = two.get(feed.key)
  await other.ready()
  connect(one, two, cut)
  assert.equal(String(await other.get(250, { timeout: 20_000 })), text(250))
  assert.equal(String(await other.get(0, { timeout: 20_000 })), text(0))
})

test('the feeds of a database are whole: it fetches what it needs by itself', async (t) => {
  const a = await open(t)
  for (let n = 0; n < 50; n++) await a.put(`k${n}`, { n })
  const store = storeOf(t)
  const b = await open(t, store, { key: a.key })
  const [one, two] = [a.replicate(true), store.replicate(false)]
  one.pipe(two).pipe(one)
  const feed = store.get(a.key)
  await feed.ready()
  await feed.download({ start: 0, end: 51, timeout: 20_000 })
  assert.equal(feed.contiguousLength, 51)
  await b.flush({ timeout: 20_000 })
  assert.equal((await b.get('k49')).value.n, 49)
})
