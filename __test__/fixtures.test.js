'use strict'

// Stores as version 1 of the formats wrote them are opened, read, verified, written to and replicated.

const test = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { OPTIONS, replicaOf, seen, using } = require('./fixtures/stores.js')
const { connect, converge, directory } = require('./helpers.js')

const kept = path.join(__dirname, 'fixtures', 'v1')
const expected = JSON.parse(fs.readFileSync(path.join(kept, 'expected.json'), 'utf8'))

for (const name of Object.keys(OPTIONS)) {
  test(`a store of version 1: ${name}`, async (t) => {
    const folder = directory(t)
    fs.cpSync(path.join(kept, name), path.join(folder, name), { recursive: true })
    await using(folder, name, async (db, store) => {
      assert.deepEqual(await seen(db), expected[name])
      const report = await store.verify()
      assert.deepEqual([report.ok, report.damages], [true, []])
      const other = replicaOf(db, name)
      await other.ready()
      const ends = connect(db, other)
      await converge(db, other)
      const { version, ...shared } = await seen(other)
      assert.deepEqual(
        shared.entries.map(({ key, value }) => [key, value]),
        expected[name].entries.map(({ key, value }) => [key, value])
      )
      assert.equal(shared.stateHash, expected[name].stateHash)
      for (const end of ends) end.destroy()
      await other.close()
      const before = db.local.length
      if (name.startsWith('apply')) await db.append({ put: 'later', n: 9 })
      else await db.put('later', name === 'registers' ? Buffer.from('9') : { n: 9 })
      assert.ok(db.local.length > before && version > 0)
    })
    await using(folder, name, async (db) => assert.notEqual(await db.get('later'), null))
  })
}
