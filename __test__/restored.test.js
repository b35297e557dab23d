'use strict'

// A store directory copied by hand, and opened beside or instead of the original.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { MultiHyperbee, open, openWriter, directory, connect, converge, collect } = require('./helpers.js')

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

test('ERR_FORKED: two copies that both wrote are found out, and everything else goes on', async (t) => {
  const { original, peer, copied } = await restored(t, { count: 3, text: 'original' })
  t.after(() => original.close())
  const copyOf = await open(t, copied)
  const warnings = []
  const onwarning = (warning) => warnings.push(warning)
  process.on('warning', onwarning)
  t.after(() => process.off('warning', onwarning))
  assert.equal(await copyOf.put('branch', { n: 1 }), true)
  const found = new Promise((resolve) => {
    for (const db of [peer, copyOf, original]) db.on('fork', (fork) => resolve({ db, fork }))
  })
  connect(copyOf, peer)
  const { fork } = await found
  assert.ok(fork.feed.equals(original.local.key))
  assert.ok(Number.isSafeInteger(fork.length))

  // What was acknowledged on either side is still there.
  assert.equal((await copyOf.get('branch')).value.n, 1)
  assert.equal((await peer.get('later/2')).value.n, 2)
  // Others go on, in both directions.
  await peer.put('from the peer', { n: 1 })
  await original.put('from the original', { n: 2 })
  await converge(peer, original)
  assert.equal((await original.get('from the peer')).value.n, 1)
  assert.equal((await peer.get('from the original')).value.n, 2)
  assert.equal((await collect(peer.createReadStream())).length, 6)
  assert.deepEqual(warnings, [])
})

test('ERR_FORKED: branches that part far back are found out as well', async (t) => {
  const { original, peer, copied } = await restored(t, { count: 60, text: 'original' })
  t.after(() => original.close())
  const copyOf = await open(t, copied)
  for (let n = 0; n < 45; n++) await copyOf.put(`branch/${n}`, { n })
  const errors = []
  copyOf.on('peer-error', (error) => errors.push(error))
  const found = new Promise((resolve) => copyOf.on('fork', resolve))
  const [stream] = connect(copyOf, peer)
  assert.ok((await found).feed.equals(original.local.key))
  // The connection goes on: other feeds may travel over it.
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.deepEqual([stream.destroyed, errors], [false, []])
  assert.equal((await copyOf.get('branch/44')).value.n, 44)
})
