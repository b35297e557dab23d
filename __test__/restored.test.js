'use strict'

// A store directory copied by hand, and opened beside or instead of the original.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const { MultiHyperbee, open, openWriter, directory, connect, converge } = require('./helpers.js')

/** Copies what a closed store is. */
function copy(from, to) {
  fs.copyFileSync(path.join(from, 'data.mdb'), path.join(to, 'data.mdb'))
}

/** An original that wrote more than its copy has, all of it known to a peer. */
async function restored(t, later) {
  const [original, copied] = [directory(t), directory(t)]
  const first = new MultiHyperbee(original)
  await first.put('before', { n: 0 })
  await first.close()
  copy(original, copied)
  const again = new MultiHyperbee(original)
  await again.ready()
  const peer = await openWriter(t, again)
  connect(again, peer)
  for (let n = 0; n < later.count; n++) await again.put(`later/${n}`, { n, text: later.text })
  await converge(again, peer)
  return { original: again, peer, copied }
}

test('ERR_RESTORED: a restored copy writes only after it has what it once sent, and nothing forks', async (t) => {
  const { original, peer, copied } = await restored(t, { count: 40, text: 'x'.repeat(50_000) })
  await original.close()
  const copyOf = await open(t, copied)
  const forks = []
  for (const db of [peer, copyOf]) db.on('fork', (fork) => forks.push(fork))
  assert.equal(await copyOf.get('later/0'), null)

  // What the peer sends is let through until the first of it is stored; the rest waits.
  const [one, two] = [peer.replicate(true), copyOf.replicate(false)]
  two.pipe(one)
  const behind = () => copyOf.status().feeds.find((feed) => feed.key.equals(copyOf.local.key))
  const length = behind().have
  const held = []
  one.on('data', (bytes) => {
    for (let at = 0; at < bytes.length; at += 4096) held.push(bytes.subarray(at, at + 4096))
  })
  while (behind().have === length) {
    const bytes = held.shift()
    if (bytes !== undefined) two.write(bytes)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const partial = behind()
  assert.ok(partial.have < partial.want, `${partial.have} of ${partial.want}`)
  await assert.rejects(copyOf.put('too early', { n: 1 }), {
    code: 'ERR_RESTORED',
    message: /connect to a peer that has the rest/
  })
  await assert.rejects(copyOf.del('before'), { code: 'ERR_RESTORED' })

  const pump = setInterval(() => {
    while (held.length > 0) two.write(held.shift())
  }, 5)
  t.after(() => clearInterval(pump))
  await converge(peer, copyOf)
  assert.equal((await copyOf.get('later/39')).value.n, 39)
  assert.equal(await copyOf.put('in time', { n: 2 }), true)
  assert.equal(await peer.put('peer', { n: 3 }), true)
  await converge(peer, copyOf)
  assert.equal((await peer.get('in time')).value.n, 2)
  assert.equal(await peer.get('too early'), null)
  assert.deepEqual(forks, [])
})

test('a copy that wrote before it met anybody: its writes come again after what had left', async (t) => {
  const { original, peer, copied } = await restored(t, { count: 60, text: 'original' })
  await original.close()
  const copyOf = await open(t, copied)
  const forks = []
  for (const db of [peer, copyOf]) db.on('fork', (fork) => forks.push(fork))
  for (let n = 0; n < 45; n++) await copyOf.put(`branch/${n}`, { n })
  connect(copyOf, peer)
  await converge(copyOf, peer)
  for (const db of [peer, copyOf]) {
    assert.equal((await db.get('later/59')).value.n, 59)
    assert.equal((await db.get('branch/44')).value.n, 44)
  }
  assert.deepEqual(forks, [])
})

/** Waits until all show the same. */
async function alike(dbs) {
  for (;;) {
    const hashes = await Promise.all(dbs.map((db) => db.stateHash()))
    if (hashes.every((hash) => hash.equals(hashes[0]))) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Two copies of one writer that both wrote, each heard by another peer. */
async function forked(t) {
  const [folder, copied] = [directory(t), directory(t)]
  const first = new MultiHyperbee(folder)
  await first.put('before', { n: 0 })
  const keys = [await open(t, ':memory:', { key: first.key }), await open(t, ':memory:', { key: first.key })]
  for (const db of keys) await first.addWriter(db.local.key)
  await first.close()
  copy(folder, copied)
  const [original, copyOf] = [await open(t, folder), await open(t, copied)]
  const [peer, other] = keys
  await original.put('one', { n: 1 })
  await copyOf.put('two', { n: 2 })
  const streams = [...connect(original, peer), ...connect(copyOf, other)]
  await Promise.all([converge(original, peer), converge(copyOf, other)])
  for (const stream of streams) stream.destroy()
  return { original, copyOf, peer, other }
}

test('ERR_FORKED: two copies that were both heard are found out, and everything else goes on', async (t) => {
  const { original, copyOf, peer, other } = await forked(t)
  const all = [original, copyOf, peer, other]
  const found = all.map((db) => once(db, 'fork').then(([fork]) => fork))
  const warnings = []
  const onwarning = (warning) => warnings.push(warning)
  process.on('warning', onwarning)
  t.after(() => process.off('warning', onwarning))
  connect(peer, other)
  connect(original, peer)
  connect(copyOf, other)
  for (const { feed, length, proof } of await Promise.all(found)) {
    assert.ok(feed.equals(original.local.key))
    assert.equal(length, 4)
    assert.ok(proof.length > 100)
  }
  for (const db of [original, copyOf]) {
    await assert.rejects(db.put('refused', { n: 1 }), { code: 'ERR_FORKED', message: /new key pair/ })
  }
  await peer.put('from the peer', { n: 1 })
  await other.put('from the other', { n: 2 })
  while ((await peer.get('from the other')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
  while ((await other.get('from the peer')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
  await alike(all)
  for (const db of all) {
    assert.equal((await db.get('before')).value.n, 0)
    const kept = [await db.get('one'), await db.get('two')]
    assert.equal(kept.filter((entry) => entry !== null).length, 1, 'one of the two histories counts')
  }
  assert.deepEqual(warnings, [])
})

test('a backup that was resumed while the original went on: all devices come to one view, and go on', async (t) => {
  const [folder, target] = [directory(t), directory(t)]
  const creator = await open(t)
  const phone = await openWriter(t, creator)
  const desk = await open(t, folder, { key: creator.key })
  await creator.addWriter(desk.local.key)
  const away = connect(creator, phone)
  const links = connect(creator, desk)
  await converge(creator, phone, desk)
  await Promise.all([phone, desk].map((db) => db.waitForWritable({ timeout: 10_000 })))
  await desk.put('desk/before', { n: 0 })
  await converge(creator, phone, desk)
  for (const stream of away) stream.destroy()
  await desk.store.backup(target)
  await desk.put('desk/after', { n: 1 })
  await converge(creator, desk)
  await creator.put('creator/saw it', { n: 2 })
  for (const stream of links) stream.destroy()

  // The misuse: something newer does exist.
  const copied = await open(t, target, { key: creator.key })
  await copied.store.resume({ mine: true })
  const late = await open(t, ':memory:', { key: creator.key })
  await creator.addWriter(late.local.key)
  await copied.put('copy/after', { n: 3 })
  const apart = connect(copied, phone)
  while ((await phone.get('copy/after')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
  await phone.put('phone/saw the copy', { n: 4 })
  for (const stream of apart) stream.destroy()

  const all = [creator, phone, desk, copied, late]
  const found = all.slice(0, 4).map((db) => once(db, 'fork').then(([fork]) => fork))
  for (const db of all.slice(1)) connect(creator, db)
  for (const fork of await Promise.all(found)) assert.ok(fork.feed.equals(desk.local.key))
  await phone.put('phone/later', { n: 5 })
  while ((await late.get('phone/later')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
  while ((await copied.get('phone/later')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
  await alike(all)
  for (const db of all) {
    assert.equal((await db.get('desk/after')).value.n, 1, 'the creator had built on it')
    assert.equal(await db.get('copy/after'), null)
    assert.equal((await db.get('phone/saw the copy')).value.n, 4)
  }
  for (const db of [desk, copied]) await assert.rejects(db.put('refused', { n: 6 }), { code: 'ERR_FORKED' })

  // A new writer takes the place of the forked one.
  const name = 'instead'
  const instead = await open(t, desk.store, { key: creator.key, name })
  await creator.addWriter(instead.local.key)
  await creator.removeWriter(desk.local.key)
  connect(creator, instead)
  while (!instead.writable) await new Promise((resolve) => setTimeout(resolve, 5))
  await instead.put('desk/again', { n: 7 })
  while ((await late.get('desk/again')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
})

test('backup: a copy made while it is written, which writes after a peer or the user has confirmed it', async (t) => {
  const [folder, target, alone] = [directory(t), directory(t), directory(t)]
  const original = new MultiHyperbee(folder)
  await original.put('before', { n: 0 })
  const peer = await openWriter(t, original)
  connect(original, peer)
  await converge(original, peer)
  await original.store.backup(target)
  await original.store.backup(alone)
  await assert.rejects(original.store.backup(target), { code: 'ERR_STORE_OPEN' })
  await assert.rejects(original.store.backup(''), { code: 'ERR_OPTIONS' })
  await original.put('after', { n: 1 })
  await converge(original, peer)
  await original.close()

  const restoredOne = await open(t, target)
  await assert.rejects(restoredOne.put('early', { n: 1 }), { code: 'ERR_RESTORED', message: /resume/ })
  connect(restoredOne, peer)
  await converge(restoredOne, peer)
  assert.equal((await restoredOne.get('after')).value.n, 1)
  await restoredOne.put('confirmed', { n: 2 })
  await converge(restoredOne, peer)

  const other = await open(t, alone)
  await assert.rejects(other.put('early', { n: 1 }), { code: 'ERR_RESTORED' })
  await assert.rejects(other.store.resume(), { code: 'ERR_OPTIONS', message: /mine: true/ })
  await other.store.resume({ mine: true })
  await other.put('resumed', { n: 3 })
})
