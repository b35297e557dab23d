'use strict'

// What a user is told of replication: each reason why nothing moves, one test each, over real streams.

const test = require('node:test')
const assert = require('node:assert/strict')
const { execFile } = require('node:child_process')
const net = require('node:net')
const { promisify } = require('node:util')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const { MultiHyperbee, open, openWriter, directory, connect, connectTcp, converge } = require('./helpers.js')

const HERE = JSON.stringify(path.join(__dirname, '..'))
const run = promisify(execFile)
const WAIT = { timeout: 20_000 }

const feedOf = (db, key) => db.status().feeds.find((feed) => feed.key.equals(key))

/** The status, once `found` holds of it. */
async function until(db, found) {
  const signal = AbortSignal.timeout(20_000)
  for await (const status of db.syncProgress({ signal })) if (found(status)) return status
}

/** The reason of one feed, once it is this one. */
async function because(db, key, code) {
  const of = (status) => status.feeds.find((feed) => feed.key.equals(key))
  const status = await until(db, (now) => of(now)?.reason?.code === code)
  const { reason } = of(status)
  assert.deepEqual(reason.feed, key)
  assert.ok(reason.message.length > 20, reason.message)
  return { status, feed: of(status), reason }
}

test('two that are synced say so: what each has, what passed, and no reason', async (t) => {
  const a = await open(t)
  for (let n = 0; n < 20; n++) await a.put(`k${n}`, { n })
  const b = await open(t, ':memory:', { key: a.key })
  assert.equal(b.status().synced, false)
  const [, stream] = await connectTcp(t, a, b)
  await converge(a, b)
  // What is here and applied may not have been counted off yet.
  const status = await until(b, ({ synced, peers }) => synced && peers[0].unstored === 0)
  assert.deepEqual([status.reason, status.flushed, status.unlisted], [null, true, 0])
  const { have, placed, want, writable } = feedOf(b, a.key)
  assert.deepEqual([have, placed, want, writable], [21, 21, 21, false])
  const [peer] = status.peers
  assert.equal(peer.stream, stream)
  assert.deepEqual([peer.open, peer.synced, peer.unstored, peer.silent], [true, true, 0, false])
  assert.ok(peer.received > 0 && peer.sent > 0)
  const feed = peer.feeds.find((one) => one.key.equals(a.key))
  const { ours, theirs, asked, received, idle } = feed
  assert.deepEqual([ours, theirs, asked, received, idle], [21, 21, null, 21, null])
  const sent = a.status().peers[0].feeds.find((one) => one.key.equals(a.key))
  assert.deepEqual([sent.ours, sent.sent, sent.sending], [21, 21, null])
  stream.destroy()
  await until(b, ({ peers }) => peers.length === 0)
  assert.equal(b.status().synced, false)
})

test('a status before and after: nothing is known, and nothing throws', async (t) => {
  const db = new MultiHyperbee(':memory:')
  t.after(() => db.close())
  const empty = { synced: false, reason: null, feeds: [], unlisted: 0, peers: [], peerErrors: [] }
  const said = ({ synced, reason, feeds, unlisted, peers, peerErrors }) => ({
    synced,
    reason,
    feeds,
    unlisted,
    peers,
    peerErrors
  })
  assert.deepEqual(said(db.status()), empty)
  assert.equal(db.store.status().state, 'opening')
  await db.close()
  assert.deepEqual(said(db.status()), empty)
  assert.equal(db.store.status().state, 'closed')
})

test('what is on its way: asked, in flight, rates, with syncProgress telling of each', async (t) => {
  const a = await open(t)
  for (let n = 0; n < 60; n++) await a.put(`k${n}`, { text: `${n}`.repeat(20_000) })
  const b = await open(t, ':memory:', { key: a.key })
  // Half a megabyte a second, so that there is something to see.
  const [one, two] = [a.replicate(true), b.replicate(false)]
  two.pipe(one)
  const held = []
  one.on('data', (bytes) => held.push(bytes))
  const pump = setInterval(() => two.write(held.shift() ?? Buffer.alloc(0)), 100)
  t.after(() => clearInterval(pump))
  const of = ({ peers }) => peers[0]?.feeds.find((feed) => feed.key.equals(a.key))
  const moving = await until(b, (status) => of(status)?.asked != null && of(status).received > 0)
  assert.deepEqual([moving.synced, moving.reason], [false, null])
  const { asked, received } = of(moving)
  // A part of the feed's 61 blocks: the rest is asked for when some of it has come.
  assert.equal(asked.start, received)
  assert.ok(asked.end > received && asked.end <= 61, `${asked.end}`)
  const measured = await until(b, ({ peers }) => peers[0].downloadRate > 10_000)
  assert.ok(measured.peers[0].downloadRate < 5_000_000)
  clearInterval(pump)
  const rest = setInterval(() => {
    while (held.length > 0) two.write(held.shift())
  }, 5)
  t.after(() => clearInterval(rest))
  await until(b, ({ synced }) => synced)
  assert.equal(of(b.status()).asked, null)
})

test('no-peer: blocks that somebody told of, and that nobody who is connected has', async (t) => {
  const apply = async () => {}
  const a = await open(t, ':memory:', { apply })
  const b = await open(t, ':memory:', a.key, { apply })
  const lost = Buffer.alloc(32, 9)
  await b.wakeup({ key: lost, length: 3 })
  const alone = await because(b, lost, 'no-peer')
  assert.deepEqual([alone.feed.have, alone.feed.want], [0, 3])
  assert.match(alone.reason.message, /blocks 0 to 3 of .* are missing, and nobody is connected/)
  connect(a, b)
  await until(b, ({ peers }) => peers[0]?.open)
  const met = await because(b, lost, 'no-peer')
  assert.deepEqual(met.status.reason, met.reason)
})

test('not-granted: a feed that peers announce and nobody granted; an own one that does not count', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  const c = await open(t)
  await c.put('k', { n: 1 })
  await a.addPeer(c.local.key)
  connect(a, c)
  await converge(a)
  while (feedOf(a, c.local.key).have < 2) await once(a, 'update')
  connect(a, b)
  const { feed, reason: why } = await because(b, c.local.key, 'not-granted')
  assert.deepEqual([feed.have, feed.want], [0, 2])
  assert.match(why.message, /addWriter.*addPeer/)
  // Who asks, and is not answered yet.
  const asking = b.requestAccess({ name: 'phone' })
  const asked = await because(b, b.local.key, 'not-granted')
  assert.match(asked.reason.message, /it has asked/)
  await asking
  await a.addWriter(b.local.key)
  await b.waitForWritable(WAIT)
  assert.equal(feedOf(b, b.local.key).reason, null)
})

/** Two databases that merge a raw feed, which can hold anything. */
async function withRawFeed(t, blocks) {
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  const a = await open(t, store)
  const raw = store.get({ name: 'raw' })
  await raw.append(blocks(a))
  await a.addPeer(raw.key)
  const b = await open(t, ':memory:', { key: a.key })
  await b.addPeer(raw.key)
  connect(a, b)
  return { a, b, key: raw.key }
}

test('waiting-for-link: what an entry builds on is not here; the message names the writer', async (t) => {
  const block = (a) =>
    MultiHyperbee.encodeValue('x', { links: [{ key: a.key, length: 9 }], valueEncoding: 'utf-8' })
  const { a, b, key } = await withRawFeed(t, block)
  const { reason: why } = await because(b, key, 'waiting-for-link')
  assert.deepEqual(why.on, { key: a.key, length: 9 })
  assert.match(why.message, new RegExp(`builds on 9 blocks of writer ${a.id}, of which [01] are here`))
  await until(b, () => feedOf(b, a.key).have === 1)
  assert.deepEqual([feedOf(b, a.key).want, feedOf(b, a.key).reason.code], [9, 'no-peer'])
})

test('upgrade-needed: a block of a newer version', async (t) => {
  const { b, key } = await withRawFeed(t, () => Buffer.from([2, 1, 1]))
  const { status, reason: why } = await because(b, key, 'upgrade-needed')
  assert.match(why.message, /block 0 .* newer version .*update it/)
  assert.deepEqual(status.reason, why)
})

test('unreadable: a block that no version can read', async (t) => {
  const { b, key } = await withRawFeed(t, () => Buffer.from([1, 255, 255, 255]))
  const { reason: why } = await because(b, key, 'unreadable')
  assert.match(why.message, /block 0 .* cannot be read by any version/)
})

test('choking: a peer that does not upload, and one that was asked and is silent', async (t) => {
  const a = await open(t)
  await a.put('k', { n: 1 })
  const b = await open(t, ':memory:', { key: a.key })
  const streams = connect(a, b, { upload: false })
  const first = await because(b, a.key, 'choking')
  assert.match(first.reason.message, /does not upload/)
  assert.equal(first.status.peers.find((peer) => peer.id === first.reason.peer).feeds.length > 0, true)
  for (const stream of streams) stream.destroy()

  const [one, two] = [a.replicate(true), b.replicate(false)]
  two.pipe(one)
  // All that a says until it is asked comes through, nothing after.
  const announced = () => b.status().peers.some(({ feeds }) => feeds.some((feed) => feed.asked !== null))
  one.on('data', (bytes) => announced() || two.write(bytes))
  await until(b, () => announced())
  for (let second = 0; second < 11; second++) two._peer.tick()
  const silent = await because(b, a.key, 'choking')
  assert.match(silent.reason.message, /has been asked and is silent/)
  assert.equal(silent.status.peers.find((peer) => peer.id === silent.reason.peer).silent, true)
})

test('not-downloading: this side was told not to', async (t) => {
  const a = await open(t)
  await a.put('k', { n: 1 })
  const b = await open(t, ':memory:', { key: a.key })
  connect(a, b, { download: false })
  const { reason: why } = await because(b, a.key, 'not-downloading')
  assert.equal(why.peer, null)
  assert.match(why.message, /download: false/)
})

/** Copies what a closed store is. */
const copy = (from, to) => fs.copyFileSync(path.join(from, 'data.mdb'), path.join(to, 'data.mdb'))

test('forked: two histories under one key', async (t) => {
  const [folder, copied] = [directory(t), directory(t)]
  const first = new MultiHyperbee(folder)
  await first.put('before', { n: 0 })
  const { key } = first
  await first.close()
  copy(folder, copied)
  const [original, other] = [await open(t, folder), await open(t, copied)]
  const peers = [await open(t, ':memory:', { key }), await open(t, ':memory:', { key })]
  await original.put('one', { n: 1 })
  await other.put('two', { n: 2 })
  const streams = [...connect(original, peers[0]), ...connect(other, peers[1])]
  await Promise.all([converge(original, peers[0]), converge(other, peers[1])])
  for (const stream of streams) stream.destroy()
  connect(...peers)
  const { reason: why } = await because(peers[0], key, 'forked')
  assert.match(why.message, /two histories.*new key/)
})

test('restored: an own feed out of a backup', async (t) => {
  const [folder, copied] = [directory(t), path.join(directory(t), 'copy')]
  const a = await open(t, folder)
  await a.put('k', { n: 1 })
  await a.store.backup(copied)
  const b = await open(t, copied)
  const { reason: why } = await because(b, a.key, 'restored')
  assert.match(why.message, /out of a backup.*resume/)
  assert.equal(feedOf(b, a.key).writable, true)
  await b.store.resume({ mine: true })
  await b.put('k', { n: 2 })
  assert.equal(feedOf(b, a.key).reason, null)
})

test('held-back: own blocks wait until who is connected has spoken', async (t) => {
  const a = await open(t)
  const silent = a.replicate(true)
  silent.resume()
  await once(silent, 'open')
  await a.put('k', { n: 1 })
  const { reason: why } = await because(a, a.key, 'held-back')
  assert.match(why.message, /own blocks leave once/)
})

test('apply-paused: apply threw; and once it goes on, no reason', async (t) => {
  let broken = true
  const apply = async (nodes, view) => {
    if (broken) throw new Error('a bad value')
    for (const { value } of nodes) await view.put('k', value)
  }
  const a = await open(t, ':memory:', { apply, valueEncoding: 'json' })
  a.on('error', () => {})
  await a.append({ n: 1 })
  const stopped = await until(a, (status) => status.reason?.code === 'apply-paused')
  assert.match(stopped.reason.message, /a bad value.*update\(\)/)
  assert.deepEqual([stopped.reason.feed, stopped.synced], [a.local.key, false])
  broken = false
  await a.update()
  assert.equal(a.status().reason, null)
})

test('disk-full: what peers send cannot be stored', { skip: process.platform === 'win32' }, async (t) => {
  const a = await open(t)
  for (let n = 0; n < 40; n++) await a.put(`k${n}`, { text: 'x'.repeat(100_000) })
  const server = net.createServer((socket) => a.replicate(socket))
  t.after(() => server.close())
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const script = path.join(directory(t), 'fill.js')
  fs.writeFileSync(
    script,
    `const MultiHyperbee = require(${HERE})
    const main = async () => {
      const db = new MultiHyperbee(${JSON.stringify(directory(t))}, { key: '${a.id}' })
      await db.ready()
      const hold = setInterval(() => {}, 1000)
      db.replicate(require('node:net').connect(${server.address().port}, '127.0.0.1'))
      for await (const { feeds, peerErrors, reason } of db.syncProgress()) {
        if (reason?.code !== 'disk-full' || peerErrors.length === 0) continue
        const feed = feeds.find((feed) => feed.key.equals(db.key))
        const store = db.store.status().reason
        console.log(JSON.stringify({ reason, store, feed, error: peerErrors[0].error.code }))
        break
      }
      clearInterval(hold)
      await db.close()
    }
    main()`
  )
  // A limit on the length of files stands in for the disk; without the signal it is an error of the write.
  const limited = `trap '' XFSZ; ulimit -f 4000; exec "$0" "$1"`
  const { stdout } = await run('sh', ['-c', limited, process.execPath, script], { timeout: 60_000 })
  const { reason: why, store, feed, error } = JSON.parse(stdout)
  assert.match(why.message, /free some room/)
  assert.deepEqual([store.code, error], ['disk-full', 'ERR_DISK_FULL'])
  assert.ok(feed.have < feed.want, `${feed.have} of ${feed.want}`)
  assert.equal(feed.reason.code, 'disk-full')
})

test('store.status(): every database and connection of it', async (t) => {
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  const [a, b] = [await open(t, store, { name: 'a' }), await open(t, store, { name: 'b' })]
  const other = await open(t, ':memory:', { key: b.key })
  await b.put('k', { n: 1 })
  const [one, two] = [store.replicate(true), other.replicate(false)]
  one.pipe(two).pipe(one)
  await until(other, ({ synced }) => synced)
  await until(b, ({ synced }) => synced)
  const { state, databases, peers, reason: why } = store.status()
  assert.deepEqual([state, why, peers.length, peers[0].stream], ['open', null, 1, one])
  assert.deepEqual(
    databases.map(({ name, key, synced }) => ({ name, key, synced })),
    [
      { name: 'a', key: a.key, synced: false },
      { name: 'b', key: b.key, synced: true }
    ]
  )
})

test('the latest errors of connections are kept, and no more than sixteen', async (t) => {
  const a = await open(t)
  const b = await open(t)
  for (let n = 0; n < 20; n++) {
    const [one] = connect(a, b)
    await new Promise((resolve) => one.on('close', resolve))
  }
  const { peerErrors } = a.status()
  assert.equal(peerErrors.length, 16)
  for (const { error, at } of peerErrors) assert.deepEqual([error.code, at <= Date.now()], ['ERR_AUTH', true])
})

test('local reads and writes never wait for a peer that says nothing', async (t) => {
  const a = await open(t)
  const silent = a.replicate(true)
  silent.resume()
  await a.put('k', { n: 1 })
  assert.equal((await a.get('k')).value.n, 1)
  assert.equal(a.getSync('k').value.n, 1)
  await a.update()
  await a.updated()
})

test('every wait ends with its timeout, and with its signal', async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  await a.put('k', { n: 1 })
  const alone = await open(t, ':memory:', { key: a.key })
  connect(a, b, { upload: false })
  await until(b, ({ feeds }) => feeds.some(({ want }) => want === 2))
  const waits = {
    flush: (options) => b.flush(options),
    applied: (options) => b.applied({ key: a.key, length: 2 }, options),
    waitForWritable: (options) => b.waitForWritable(options),
    requestAccess: (options) => alone.requestAccess(null, options),
    get: (options) => b.store.get(a.key).get(1, options),
    download: (options) => b.store.get(a.key).download({ start: 0, end: 2, ...options })
  }
  for (const [name, wait] of Object.entries(waits)) {
    await assert.rejects(wait({ timeout: 30 }), { code: 'ERR_TIMEOUT' }, name)
    await assert.rejects(wait({ signal: AbortSignal.timeout(30) }), { code: 'ERR_ABORTED' }, name)
    await assert.rejects(wait({ signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' }, name)
  }
  const writer = await openWriter(t, a)
  assert.equal(writer.status().synced, false)
})
