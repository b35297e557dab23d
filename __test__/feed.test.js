'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { Store } = require('..')

async function openStore(t) {
  const store = new Store(':memory:')
  t.after(() => store.close())
  return store
}

test('a feed is appended to, read and streamed, and keeps its name', async (t) => {
  const store = await openStore(t)
  const feed = store.get({ name: 'log' })
  assert.deepEqual(await feed.append('one'), { length: 1, byteLength: 3 })
  assert.deepEqual(await feed.append([Buffer.from('two'), 'three']), { length: 3, byteLength: 11 })
  assert.deepEqual([feed.length, feed.byteLength, feed.contiguousLength, feed.writable], [3, 11, 3, true])
  assert.equal((await feed.get(1)).toString(), 'two')
  assert.equal(await feed.get(1, { valueEncoding: 'utf-8' }), 'two')
  assert.deepEqual([await feed.has(2), await feed.has(3)], [true, false])
  const read = []
  for await (const block of feed.createReadStream({ start: 1, valueEncoding: 'utf-8' })) read.push(block)
  assert.deepEqual(read, ['two', 'three'])
  assert.equal((await store.get({ name: 'log' }).get(0)).toString(), 'one')
})

test('the tree hash of a length does not change with what follows', async (t) => {
  const store = await openStore(t)
  const feed = store.get({ name: 'log' })
  await feed.append('one')
  const before = await feed.treeHash()
  await feed.append('two')
  assert.deepEqual(await feed.treeHash(1), before)
  assert.notDeepEqual(await feed.treeHash(), before)
})

test('get and download wait for what is not here yet, as long as they are told to', async (t) => {
  const store = await openStore(t)
  const feed = store.get({ name: 'log' })
  await feed.ready()
  assert.equal(await feed.get(0, { wait: false }), null)
  await assert.rejects(feed.get(0, { timeout: 10 }), { code: 'ERR_TIMEOUT' })
  const signal = AbortSignal.abort()
  await assert.rejects(feed.download({ end: 2, signal }), { code: 'ERR_ABORTED' })
  const downloaded = feed.download({ end: 2 })
  const appended = new Promise((resolve) => feed.once('append', resolve))
  await feed.append(['one', 'two'])
  await Promise.all([downloaded, appended])
  await feed.close()
  await assert.rejects(feed.get(0), { code: 'ERR_CLOSED' })
})
