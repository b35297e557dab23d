'use strict'

// What bad input gets, code by code, with no `error` listener anywhere.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { execFile } = require('node:child_process')
const { MultiHyperbee, open, openWriter, directory, connect } = require('./helpers.js')

const { Store } = MultiHyperbee

test('ERR_OPTIONS: what cannot be a storage, and what is not there yet, says what to pass', () => {
  const cases = [
    [[undefined], /path of a directory/],
    [[''], /path of a directory/],
    [[() => {}], /Store of this package/],
    [[{ get() {} }], /Store of this package/],
    [[':memory:', {}, { merge: 1 }], /mergeHandler/],
    [[':memory:', { resolver: {} }], /resolver/],
    [[':memory:', { valueEncoding: 'yaml' }], /valueEncoding must be/],
    [[':memory:', { writers: 'all' }], /'granted' or 'open'/],
    [[':memory:', { maxDrift: -1 }], /maxDrift/],
    [[':memory:', { name: 3 }], /name/]
  ]
  for (const [args, message] of cases) {
    assert.throws(() => new MultiHyperbee(...args), {
      code: 'ERR_OPTIONS',
      message,
      name: 'MultiHyperbeeError'
    })
  }
  assert.throws(() => new Store(3), { code: 'ERR_OPTIONS' })
})

test('ERR_INVALID_KEY: a feed key of a wrong length, and the own one as a peer', async (t) => {
  assert.throws(() => new MultiHyperbee(':memory:', { key: 'abc' }), { code: 'ERR_INVALID_KEY' })
  assert.throws(() => new MultiHyperbee(':memory:', Buffer.alloc(31)), { code: 'ERR_INVALID_KEY' })
  const db = await open(t)
  await assert.rejects(db.addPeer('zz'), { code: 'ERR_INVALID_KEY' })
  await assert.rejects(db.addPeer(db.local.key), { code: 'ERR_INVALID_KEY' })
  await assert.rejects(db.addWriter(Buffer.alloc(5)), { code: 'ERR_INVALID_KEY' })
})

test('ERR_INVALID_KEY: a store remembers the key of a name', async (t) => {
  const folder = directory(t)
  const first = await open(t, folder)
  await first.close()
  const other = new MultiHyperbee(folder, { name: 'db', key: Buffer.alloc(32, 1) })
  await assert.rejects(other.ready(), { code: 'ERR_INVALID_KEY' })
  await other.close()
})

test('ERR_INVALID_VALUE: not an object, not serialisable, half a character', async (t) => {
  const db = await open(t)
  const cyclic = {}
  cyclic.self = cyclic
  for (const value of [0, '', null, undefined]) {
    await assert.rejects(db.put('k', value), { code: 'ERR_INVALID_VALUE', message: /parameter is required/ })
  }
  for (const value of ['text', 5, [1], new Date(), () => {}]) {
    await assert.rejects(db.put('k', value), {
      code: 'ERR_INVALID_VALUE',
      message: /expected to be JSON object/
    })
  }
  for (const value of [cyclic, { big: 1n }, { half: '\ud800' }]) {
    await assert.rejects(db.put('k', value), { code: 'ERR_INVALID_VALUE' })
  }
  assert.equal(db.version, 0)
})

test('ERR_INVALID_VALUE: an object deeper than any replica would take', async (t) => {
  const db = await open(t)
  let deep = {}
  for (let i = 0; i < 65; i++) deep = { deep }
  await assert.rejects(db.put('k', deep), { code: 'ERR_INVALID_VALUE' })
  assert.equal(await db.get('k'), null)
})

test('ERR_INVALID_VALUE: a malformed _diff writes nothing', async (t) => {
  const db = await open(t)
  await assert.rejects(db.put('k', { a: 1, _diff: 3 }), { code: 'ERR_INVALID_VALUE' })
  await assert.rejects(db.put('k', { a: 1, _diff: { list: { add: [] } } }), { code: 'ERR_INVALID_VALUE' })
  assert.equal(db.version, 0)
})

test('ERR_KEY_TOO_LARGE, ERR_VALUE_TOO_LARGE: the limit itself still fits', async (t) => {
  const db = await open(t)
  assert.equal(await db.put('x'.repeat(1900), { a: 1 }), true)
  await assert.rejects(db.put('x'.repeat(1901), { a: 1 }), { code: 'ERR_KEY_TOO_LARGE' })
  await assert.rejects(db.get('x'.repeat(1901)), { code: 'ERR_KEY_TOO_LARGE' })
  assert.equal(await db.put('', { a: 1 }), true)
  await assert.rejects(db.put('k', { a: 'x'.repeat(16 << 20) }), { code: 'ERR_VALUE_TOO_LARGE' })
  assert.equal(await db.get('k'), null)
})

test('ERR_BATCH_TOO_LARGE: nothing of it is written, and smaller ones are', async (t) => {
  const db = await open(t, ':memory:', { valueEncoding: 'binary' })
  const value = Buffer.from('v')
  const fill = async (count) => {
    const batch = db.batch()
    const puts = []
    for (let n = 0; n < count; n++) puts.push(batch.put(`k${n}`, value))
    await Promise.all(puts)
    return batch
  }
  const tooLarge = await fill((1 << 16) + 1)
  await assert.rejects(tooLarge.flush(), { code: 'ERR_BATCH_TOO_LARGE', message: /65536 entries.*split it/ })
  assert.equal(db.version, 0)
  await assert.rejects(tooLarge.put('k', value), { code: 'ERR_CLOSED' })
  assert.equal(await (await fill(1000)).flush(), true)
  assert.equal(db.version, 1000)
})

test('ERR_VERSION_GONE: a version that is not here, asked for before it could be known', async (t) => {
  const db = new MultiHyperbee(':memory:')
  t.after(() => db.close())
  const future = db.checkout(99)
  const expected = { code: 'ERR_VERSION_GONE', message: /version 99 is not here: the newest is 0/ }
  await assert.rejects(future.get('k'), expected)
  await assert.rejects(future.getMany(['k']), expected)
  await assert.rejects(future.peek(), expected)
  await assert.rejects(async () => {
    for await (const entry of future.createReadStream()) assert.fail(entry.key)
  }, expected)
  await db.put('k', { n: 1 })
  assert.equal((await db.checkout(1).get('k')).value.n, 1)
})

test('ERR_MODE: append is for the other mode', async (t) => {
  const db = await open(t)
  await assert.rejects(db.append('x'), { code: 'ERR_MODE', message: /put, del or batch/ })
})

test('ERR_NOT_WRITABLE: a replica that was not granted, and harms nothing', async (t) => {
  const db = await open(t)
  const guest = await open(t, ':memory:', { key: db.key })
  assert.equal(guest.writable, false)
  await assert.rejects(guest.put('k', { a: 1 }), { code: 'ERR_NOT_WRITABLE' })
  await assert.rejects(guest.del('k'), { code: 'ERR_NOT_WRITABLE' })
  assert.equal(await guest.get('k'), null)
})

test('ERR_NOT_PERMITTED: granting by who is no indexer', async (t) => {
  const db = await open(t)
  const writer = await openWriter(t, db)
  connect(db, writer)
  await writer.waitForWritable({ timeout: 10_000 })
  await assert.rejects(writer.addWriter(Buffer.alloc(32, 5)), { code: 'ERR_NOT_PERMITTED' })
})

test('ERR_TIMEOUT and ERR_ABORTED end a wait', async (t) => {
  const db = await open(t)
  const guest = await open(t, ':memory:', { key: db.key })
  await assert.rejects(guest.waitForWritable({ timeout: 20 }), { code: 'ERR_TIMEOUT' })
  const controller = new AbortController()
  const waiting = guest.waitForWritable({ signal: controller.signal })
  controller.abort()
  await assert.rejects(waiting, { code: 'ERR_ABORTED' })
  await assert.rejects(guest.waitForWritable({ signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
  await assert.rejects(guest.applied({ key: db.key, length: 9 }, { timeout: 20 }), { code: 'ERR_TIMEOUT' })
})

test('ERR_STORE_OPEN: the path is a file', async (t) => {
  const file = path.join(directory(t), 'file')
  fs.writeFileSync(file, 'x')
  const db = new MultiHyperbee(file)
  await assert.rejects(db.ready(), { code: 'ERR_STORE_OPEN' })
  await assert.rejects(db.put('k', { a: 1 }), { code: 'ERR_STORE_OPEN' })
  await db.close()
  await assert.rejects(db.get('k'), { code: 'ERR_CLOSED' })
})

test('ERR_STORE_LOCKED: another process has it open', async (t) => {
  const folder = directory(t)
  const script = `const M = require(${JSON.stringify(path.join(__dirname, '..'))})
    const db = new M(${JSON.stringify(folder)})
    db.ready().then(() => { console.log('open'); setInterval(() => {}, 1000) })`
  const child = execFile(process.execPath, ['-e', script])
  t.after(() => child.kill())
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const db = new MultiHyperbee(folder)
  await assert.rejects(db.ready(), { code: 'ERR_STORE_LOCKED' })
  await db.close()
})

/** Damages the data file of a store that was closed in order. */
async function damaged(t, damage) {
  const folder = directory(t)
  const db = new MultiHyperbee(folder)
  await Promise.all(Array.from({ length: 500 }, (_, n) => db.put(`k${n}`, { n })))
  await db.close()
  const files = fs.readdirSync(folder).map((name) => path.join(folder, name))
  const file = files.reduce((a, b) => (fs.statSync(a).size >= fs.statSync(b).size ? a : b))
  damage(file, fs.statSync(file).size)
  const again = new MultiHyperbee(folder)
  t.after(() => again.close())
  return again
}

const DAMAGES = {
  truncated: (file, size) => fs.truncateSync(file, Math.floor(size / 2)),
  emptied: (file) => fs.truncateSync(file, 0),
  'zeroed from the start': (file) => {
    const handle = fs.openSync(file, 'r+')
    fs.writeSync(handle, Buffer.alloc(8192), 0, 8192, 0)
    fs.closeSync(handle)
  },
  foreign: (file, size) => fs.writeFileSync(file, Buffer.alloc(size, 'some other file '))
}

for (const [name, damage] of Object.entries(DAMAGES)) {
  test(`ERR_CORRUPT: a data file that is ${name}`, async (t) => {
    const db = await damaged(t, damage)
    await assert.rejects(db.ready(), { code: 'ERR_CORRUPT' })
  })
}

test('an error nobody awaited is kept and warned of once, or goes to who listens', async (t) => {
  const db = await open(t)
  const warnings = []
  const onwarning = (warning) => warnings.push(warning)
  process.on('warning', onwarning)
  t.after(() => process.off('warning', onwarning))
  const error = new MultiHyperbee.MultiHyperbeeError('ERR_CORRUPT', 'a test')
  db._reports.report(error)
  db._reports.report(error)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    warnings.map((warning) => [warning.code, warning.message]),
    [['ERR_CORRUPT', 'a test']]
  )
  assert.equal(db.status().error, error)
  let heard = null
  db.on('error', (e) => (heard = e))
  db._reports.report(error)
  assert.equal(heard, error)
})
