'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { execFile } = require('node:child_process')
const path = require('node:path')
const { promisify } = require('node:util')
const { MultiHyperbee, open, collect, directory } = require('./helpers.js')

const OTHER = Buffer.alloc(32, 7)

/** Every method that does something, as one call. A new method adds one line. */
const CALLS = {
  ready: (db) => db.ready(),
  get: (db) => db.get('k'),
  getSync: (db) => db.getSync('k'),
  getMany: (db) => db.getMany(['k']),
  conflicts: (db) => db.conflicts('k'),
  put: (db) => db.put('k', { a: 1 }),
  del: (db) => db.del('k'),
  batch: (db) => db.batch().flush(),
  createReadStream: (db) => collect(db.createReadStream()),
  createHistoryStream: (db) => collect(db.createHistoryStream()),
  createDiffStream: (db) => collect(db.createDiffStream(0)),
  createUnionStream: (db) => collect(db.createUnionStream('k')),
  watch: (db) => db.watch().close(),
  getAndWatch: async (db) => (await db.getAndWatch('k')).close(),
  getHeader: (db) => db.getHeader(),
  getDiff: async (db) => (await db.getDiff()).peek(),
  peek: (db) => db.peek(),
  getBySeq: (db) => db.getBySeq(1),
  checkout: (db) => db.checkout(0).get('k'),
  snapshot: (db) => db.snapshot().get('k'),
  sub: (db) => db.sub('s').get('k'),
  addPeer: (db) => db.addPeer(OTHER),
  removePeer: (db) => db.removePeer(OTHER),
  getPeers: (db) => db.getPeers(),
  addWriter: (db) => db.addWriter(OTHER),
  removeWriter: (db) => db.removeWriter(OTHER),
  writers: (db) => db.writers(),
  waitForWritable: (db) => db.waitForWritable(),
  requestAccess: (db) => db.requestAccess(),
  createInvite: (db) => db.createInvite(),
  stateHash: (db) => db.stateHash(),
  compact: (db) => db.compact(),
  update: (db) => db.update(),
  updated: (db) => db.updated(),
  flush: (db) => db.flush(),
  applied: (db) => db.applied({ key: db.key ?? OTHER, length: 0 }),
  heads: (db) => db.heads(),
  finality: (db) => db.finality(),
  replicate: (db) => db.replicate(true).destroy(),
  syncProgress: async (db) => {
    for await (const status of db.syncProgress()) return status
  }
}

/** Those that need an open database now, not later. */
const SYNCHRONOUS = new Set(['getSync', 'snapshot', 'finality', 'views'])
/** apply.test.js has those of apply mode. */
const OF_APPLY_MODE = ['append', 'wakeup', 'setLocal', 'views', 'replay', 'verify']
const NO_CALLS = new Set(['constructor', 'close', 'status', ...OF_APPLY_MODE])

const attempt = async (call, db) => call(db)

test('every method is in the table', () => {
  const methods = Object.getOwnPropertyNames(MultiHyperbee.prototype).filter((name) => {
    const { value } = Object.getOwnPropertyDescriptor(MultiHyperbee.prototype, name)
    return typeof value === 'function' && !name.startsWith('_') && !NO_CALLS.has(name)
  })
  assert.deepEqual(methods.sort(), Object.keys(CALLS).sort())
})

for (const [name, call] of Object.entries(CALLS)) {
  test(`${name}: opening, open, closing, closed`, async (t) => {
    const opening = new MultiHyperbee(':memory:')
    t.after(() => opening.close())
    if (SYNCHRONOUS.has(name)) await assert.rejects(attempt(call, opening), { code: 'ERR_NOT_READY' })
    else await call(opening)
    const db = await open(t)
    await call(db)
    const closing = db.close()
    await assert.rejects(attempt(call, db), { code: 'ERR_CLOSED' }, 'closing')
    await closing
    await assert.rejects(attempt(call, db), { code: 'ERR_CLOSED' }, 'closed')
  })
}

/** The calls of apply mode; what is for merge mode only is `ERR_MODE`, and what reads needs no other keys. */
const APPLY_CALLS = {
  ...CALLS,
  append: (db) => db.append('x'),
  wakeup: (db) => db.wakeup({ key: OTHER, length: 1 }),
  setLocal: (db) => db.setLocal(null, { keyPair: MultiHyperbee.deriveKeyPair(OTHER, 'local') }),
  views: (db) => db.views(),
  replay: (db) => db.replay(),
  verify: (db) => db.verify({ replay: true })
}
const OF_MERGE_MODE = new Set(
  'put del batch conflicts addPeer removePeer getPeers addWriter removeWriter getDiff createUnionStream createInvite'.split(
    ' '
  )
)
const applied = { apply() {} }

for (const [name, call] of Object.entries(APPLY_CALLS)) {
  test(`${name}, in apply mode: opening, open, closing, closed`, async (t) => {
    const opening = new MultiHyperbee(':memory:', applied)
    t.after(() => opening.close())
    const refused = OF_MERGE_MODE.has(name)
    if (refused) await assert.rejects(attempt(call, opening), { code: 'ERR_MODE' })
    else if (SYNCHRONOUS.has(name)) await assert.rejects(attempt(call, opening), { code: 'ERR_NOT_READY' })
    else await call(opening)
    const db = await open(t, ':memory:', applied)
    if (!refused) await call(db)
    const closing = db.close()
    if (refused) return
    await assert.rejects(attempt(call, db), { code: 'ERR_CLOSED' }, 'closing')
    await closing
    await assert.rejects(attempt(call, db), { code: 'ERR_CLOSED' }, 'closed')
  })
}

for (const name of OF_APPLY_MODE) {
  test(`${name} is for apply mode: elsewhere it says so`, async (t) => {
    const db = await open(t)
    await assert.rejects(attempt(APPLY_CALLS[name], db), { code: 'ERR_MODE', message: new RegExp(name) })
  })
}

/** The same of a store. */
const STORE_CALLS = {
  ready: (store) => store.ready(),
  get: (store) => store.get({ name: 'feed' }).ready(),
  replicate: (store) => store.replicate(true).destroy(),
  backup: (store, t) => store.backup(directory(t)),
  resume: (store) => store.resume({ mine: true }),
  verify: (store) => store.verify(),
  compact: (store) => store.compact(),
  relay: (store) => store.relay(OTHER).ready()
}
const NO_STORE_CALLS = new Set(['constructor', 'close', 'namespace', 'list', 'status'])

test('every method of a store is in the table', () => {
  const methods = Object.getOwnPropertyNames(MultiHyperbee.Store.prototype).filter((name) => {
    const { value } = Object.getOwnPropertyDescriptor(MultiHyperbee.Store.prototype, name)
    return typeof value === 'function' && !name.startsWith('_') && !NO_STORE_CALLS.has(name)
  })
  assert.deepEqual(methods.sort(), Object.keys(STORE_CALLS).sort())
})

for (const [name, call] of Object.entries(STORE_CALLS)) {
  test(`store.${name}: opening, open, closing, closed`, async (t) => {
    const attemptOf = async (store) => call(store, t)
    const store = new MultiHyperbee.Store(directory(t))
    t.after(() => store.close())
    await call(store, t)
    await store.ready()
    await call(store, t)
    const closing = store.close()
    await assert.rejects(attemptOf(store), { code: 'ERR_CLOSED' }, 'closing')
    await closing
    await assert.rejects(attemptOf(store), { code: 'ERR_CLOSED' }, 'closed')
  })
}

test('close is idempotent, concurrent, and keeps what was accepted', async (t) => {
  const folder = directory(t)
  const db = new MultiHyperbee(folder)
  let closes = 0
  db.on('close', () => closes++)
  const puts = Array.from({ length: 100 }, (_, n) => db.put(`k${n}`, { n }))
  await Promise.all([db.close(), db.close()])
  await db.close()
  assert.equal(closes, 1)
  assert.deepEqual(
    (await Promise.all(puts)).filter((wrote) => !wrote),
    []
  )
  const again = await open(t, folder)
  assert.equal((await collect(again.createReadStream())).length, 100)
})

test('databases share a store, which outlives them and closes them', async () => {
  const store = new MultiHyperbee.Store(':memory:')
  const [a, b] = [new MultiHyperbee(store, { name: 'a' }), new MultiHyperbee(store, { name: 'b' })]
  await a.put('k', { in: 'a' })
  await b.put('k', { in: 'b' })
  assert.notDeepEqual(a.key, b.key)
  await a.close()
  const again = new MultiHyperbee(store, { name: 'a' })
  assert.equal((await again.get('k')).value.in, 'a')
  await store.close()
  assert.deepEqual([again.closed, b.closed], [true, true])
  await assert.rejects(b.get('k'), { code: 'ERR_CLOSED' })
  await store.close()
})

const run = promisify(execFile)
const HERE = JSON.stringify(path.join(__dirname, '..'))

/** Runs a program that must end by itself. */
async function runs(source) {
  const { stdout } = await run(
    process.execPath,
    ['-e', `const MultiHyperbee = require(${HERE})\n${source}`],
    {
      timeout: 20_000
    }
  )
  return stdout.trim()
}

test('a process ends by itself: open, never closed, with a stream and a replication under way', async () => {
  const source = `const db = new MultiHyperbee(':memory:')
    db.put('k', { a: 1 }).then(() => { db.createHistoryStream({ live: true }).resume(); db.replicate(true).resume(); console.log('put') })`
  assert.equal(await runs(source), 'put')
})

test('a process stays up until accepted writes are on disk, though nobody awaits them', async (t) => {
  const folder = directory(t)
  await runs(`const db = new MultiHyperbee(${JSON.stringify(folder)})
    for (let n = 0; n < 50; n++) db.put('k' + n, { n })`)
  const db = await open(t, folder)
  assert.equal((await collect(db.createReadStream())).length, 50)
})

test('a feed: append, get, stream, hash, events, close', async (t) => {
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  const feed = store.get({ name: 'log' })
  await feed.ready()
  let appends = 0
  feed.on('append', () => appends++)
  assert.deepEqual(await feed.append('hello'), { length: 1, byteLength: 5 })
  assert.deepEqual(await feed.append([Buffer.from('a'), Buffer.from('b')]), { length: 3, byteLength: 7 })
  assert.deepEqual([feed.length, feed.byteLength, feed.writable], [3, 7, true])
  assert.equal((await feed.get(0)).toString(), 'hello')
  assert.equal(await feed.get(9, { wait: false }), null)
  await assert.rejects(feed.get(9, { timeout: 20 }), { code: 'ERR_TIMEOUT' })
  const blocks = await collect(feed.createReadStream({ start: 1 }))
  assert.deepEqual(blocks.map(String), ['a', 'b'])
  assert.deepEqual((await collect(feed.createReadStream({ reverse: true }))).map(String), ['b', 'a', 'hello'])
  assert.notDeepEqual(await feed.treeHash(1), await feed.treeHash())
  assert.ok(appends >= 1)
  await feed.close()
  await assert.rejects(feed.get(0), { code: 'ERR_CLOSED' })
  await assert.rejects(feed.append('x'), { code: 'ERR_CLOSED' })
  const same = store.get({ name: 'log' })
  assert.equal((await same.get(2)).toString(), 'b')
})
