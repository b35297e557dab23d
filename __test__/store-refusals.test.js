'use strict'

// What a store that cannot be used gets: wrong places, newer formats, damage, a full disk, reading only. No `error`
// listener anywhere.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { MultiHyperbee, open, directory, plain, collect } = require('./helpers.js')

const { Store } = MultiHyperbee
const HERE = JSON.stringify(path.join(__dirname, '..'))

/** A closed store with one key in it. */
async function written(t) {
  const folder = directory(t)
  const db = new MultiHyperbee(folder)
  await db.put('k', { n: 1 })
  await db.close()
  return folder
}

async function refused(folder, expected) {
  const db = new MultiHyperbee(folder)
  await assert.rejects(db.ready(), expected)
  await assert.rejects(db.put('k', { n: 2 }), expected)
  await assert.rejects(db.get('k'), expected)
  await db.close()
}

test('ERR_STORE_OPEN: a directory below a file', async (t) => {
  const file = path.join(directory(t), 'file')
  fs.writeFileSync(file, 'x')
  await refused(path.join(file, 'store'), { code: 'ERR_STORE_OPEN', message: /file.*pass a directory/s })
  assert.equal(fs.readFileSync(file, 'utf8'), 'x')
})

test('ERR_STORE_OPEN: a directory that may not be written', async (t) => {
  // Nobody may write here, whoever runs this.
  const place = { linux: '/proc/multi-hyperbee', darwin: '/dev/multi-hyperbee' }[process.platform]
  await refused(place ?? path.join(directory(t), 'a\0b'), { code: 'ERR_STORE_OPEN' })
})

/** Changes every place of the data file where `find` stands. */
function patch(folder, find, replacement) {
  const file = path.join(folder, 'data.mdb')
  const bytes = fs.readFileSync(file)
  let found = 0
  for (let at = bytes.indexOf(find); at !== -1; at = bytes.indexOf(find, at + 1)) {
    replacement.copy(bytes, at)
    found++
  }
  assert.ok(found > 0, 'the layout has changed: nothing was patched')
  fs.writeFileSync(file, bytes)
}

test('ERR_FORMAT_VERSION: a store that a newer version has written is left as it is', async (t) => {
  const folder = await written(t)
  const format = (number) => Buffer.concat([Buffer.from('format'), Buffer.from([0, 0, 0, number])])
  patch(folder, format(1), format(2))
  const before = fs.readFileSync(path.join(folder, 'data.mdb'))
  await refused(folder, { code: 'ERR_FORMAT_VERSION', message: /format 2, this version knows 1.*update/s })
  assert.ok(before.equals(fs.readFileSync(path.join(folder, 'data.mdb'))))
  patch(folder, format(2), format(1))
  const db = await open(t, folder)
  assert.deepEqual(plain((await db.get('k')).value), { n: 1 })
})

test("ERR_FORMAT_VERSION: a file of a newer LMDB's", async (t) => {
  const folder = await written(t)
  const meta = (version) => Buffer.from(Uint32Array.of(0xbeefc0de, version).buffer)
  patch(folder, meta(1), meta(2))
  await refused(folder, { code: 'ERR_FORMAT_VERSION', message: /update/ })
})

test('ERR_CORRUPT: a file cut anywhere is refused or whole, and never kills the process', async (t) => {
  const folder = await written(t)
  const file = path.join(folder, 'data.mdb')
  const bytes = fs.readFileSync(file)
  for (let size = 0; size < bytes.length; size += 4096 + 512) {
    fs.writeFileSync(file, bytes.subarray(0, size))
    await refused(folder, { code: 'ERR_CORRUPT', message: /restore it from a backup/ })
  }
  fs.writeFileSync(file, bytes)
  const db = await open(t, folder)
  assert.deepEqual(plain((await db.get('k')).value), { n: 1 })
})

test('ERR_READ_ONLY: nothing is written to a store opened for reading', async (t) => {
  const folder = await written(t)
  const before = fs.readFileSync(path.join(folder, 'data.mdb'))
  const store = new Store(folder, { readOnly: true })
  t.after(() => store.close())
  await store.ready()
  const expected = { code: 'ERR_READ_ONLY', message: /without readOnly/ }
  const db = new MultiHyperbee(store)
  await assert.rejects(db.put('k', { n: 2 }), expected)
  await assert.rejects(db.del('k'), expected)
  await assert.rejects(store.get({ name: 'log' }).append('x'), expected)
  await store.close()
  assert.ok(before.equals(fs.readFileSync(path.join(folder, 'data.mdb'))))
})

test(
  'ERR_DISK_FULL: what was acknowledged is there, and the store goes on once there is room',
  { skip: process.platform === 'win32' },
  async (t) => {
    const folder = directory(t)
    const script = path.join(directory(t), 'fill.js')
    fs.writeFileSync(
      script,
      `const MultiHyperbee = require(${HERE})
    const text = 'x'.repeat(10_000)
    const main = async () => {
      const db = new MultiHyperbee(${JSON.stringify(folder)})
      let n = 0
      let refused = null
      while (refused === null && n < 2000) {
        await db.put('k' + n, { n, text }).then(() => n++, (error) => (refused = error))
      }
      const { code, message } = refused
      const first = (await db.get('k0')).value.n
      const missing = await db.get('k' + n)
      // The same store is usable with what fits into it.
      await db.close()
      console.log(JSON.stringify({ acknowledged: n, code, message, first, missing }))
    }
    main()`
    )
    // A limit on the length of files stands in for the disk; without the signal it is an error of the write.
    const limited = `trap '' XFSZ; ulimit -f 4000; exec "$0" "$1"`
    const child = spawnSync('sh', ['-c', limited, process.execPath, script], {
      encoding: 'utf8',
      timeout: 60_000
    })
    assert.equal(child.status, 0, child.stderr)
    assert.equal(child.stderr, '')
    const said = JSON.parse(child.stdout)
    assert.equal(said.code, 'ERR_DISK_FULL')
    assert.match(said.message, /nothing committed is lost; free some room/)
    assert.ok(said.acknowledged > 0)
    assert.equal(said.first, 0)
    assert.equal(said.missing, null)
    // There is room again.
    const db = await open(t, folder)
    assert.equal((await collect(db.createReadStream())).length, said.acknowledged)
    assert.equal(await db.put('after', { n: 1 }), true)
  }
)
