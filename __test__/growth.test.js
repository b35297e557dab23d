'use strict'

// What a reader costs: a stream left half-read pins no pages, so the file grows by what is written.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { open, directory } = require('./helpers.js')

const WRITES = 100_000
const AT_ONCE = 5_000
const KEYS = 2_000

const size = (folder) =>
  fs.readdirSync(folder).reduce((sum, name) => sum + fs.statSync(path.join(folder, name)).size, 0)

async function write(db, count, n) {
  for (let done = 0; done < count; done += AT_ONCE) {
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - done) }, (_, i) =>
        db.put(`k${(done + i) % KEYS}`, { n: n + done + i })
      )
    )
  }
}

async function growth(t, read) {
  const folder = directory(t)
  const db = await open(t, folder)
  await write(db, KEYS, 0)
  const { version } = db
  const before = size(folder)
  const finish = await read(db)
  await write(db, WRITES, KEYS)
  const grown = size(folder) - before
  await finish?.(version)
  await db.close()
  return grown
}

test('a stream left half-read while 100,000 writes go on: the file grows by what they cost, and it ends with its own version', async (t) => {
  const alone = await growth(t, async () => {})
  const beside = await growth(t, async (db) => {
    const stream = db.createReadStream()[Symbol.asyncIterator]()
    const seen = []
    while (seen.length < KEYS / 2) seen.push((await stream.next()).value)
    return async (version) => {
      for (let next = await stream.next(); !next.done; next = await stream.next()) seen.push(next.value)
      assert.equal(seen.length, KEYS)
      for (const { key, seq, value } of seen) {
        assert.ok(seq <= version, `${key} is of version ${seq}, after ${version}`)
        assert.equal(`k${value.n}`, key)
      }
    }
  })
  assert.ok(beside < 1.5 * alone, `${beside} bytes beside a stream, ${alone} alone`)
})
