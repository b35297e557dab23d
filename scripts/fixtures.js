'use strict'

// Writes the stores of __test__/fixtures anew, as this version does: `npm run fixtures`. Those of a released version are
// never written again; a new format gets a folder of its own.

const fs = require('node:fs')
const path = require('node:path')
const { OPTIONS, replicaOf, seen, using } = require('../__test__/fixtures/stores.js')
const { connect, converge } = require('../__test__/helpers.js')

const folder = path.join(__dirname, '..', '__test__', 'fixtures', 'v1')

/** Two writers, one after the other and at once; nested values, arrays, batches, deletions. */
async function merged(db, other) {
  await db.put('plain', { text: 'from the creator', n: 1, list: ['a', 'b'] })
  await db.put('gone', { n: 1 })
  const batch = db.batch()
  await batch.put('batch/1', { n: 1 })
  await batch.put('batch/2', { nested: { deep: [1, 2, { x: null }] } })
  await batch.flush()
  await db.del('gone')
  await db.addWriter(other.local.key, { isIndexer: true })
  const ends = connect(db, other)
  await other.waitForWritable()
  await converge(db, other)
  for (const end of ends) end.destroy()
  const read = await db.get('plain')
  await db.put('plain', { ...read.value, list: ['a', 'b', 'c'] })
  await other.put('plain', { ...(await other.get('plain')).value, text: 'from the other', é: 'ü' })
  await other.put('batch/1', { n: 2 })
}

async function registers(db, other) {
  await db.addWriter(other.local.key)
  const ends = connect(db, other)
  await other.waitForWritable()
  await converge(db, other)
  for (const end of ends) end.destroy()
  await db.put(Buffer.from([0]), Buffer.from('from the creator'))
  await other.put(Buffer.from([0]), Buffer.from('from the other'))
  await other.put(Buffer.from([0, 255]), Buffer.alloc(3000, 7))
  await db.del(Buffer.from([1]))
}

async function applied(db, other) {
  await db.append({ put: 'a', n: 1 })
  await db.append([
    { put: 'b', n: 2 },
    { put: 'c', n: 3 }
  ])
  await db.append({ grant: other.local.key.toString('hex'), indexer: true })
  const ends = connect(db, other)
  await other.waitForWritable()
  await converge(db, other)
  for (const end of ends) end.destroy()
  await db.append({ put: 'a', n: 4 })
  await other.append({ put: 'a', n: 5 })
  await other.append({ del: 'b' })
}

const WRITE = { merge: merged, encrypted: merged, registers, apply: applied, 'apply-encrypted': applied }

async function main() {
  // What is connected in memory holds no process up.
  const hold = setInterval(() => {}, 1000)
  const expected = {}
  for (const name of Object.keys(OPTIONS)) {
    fs.rmSync(path.join(folder, name), { recursive: true, force: true })
    expected[name] = await using(folder, name, async (db) => {
      const other = replicaOf(db, name)
      await other.ready()
      await WRITE[name](db, other)
      connect(db, other)
      await converge(db, other)
      const all = await seen(db)
      await other.close()
      return all
    })
    for (const file of fs.readdirSync(path.join(folder, name))) {
      if (file !== 'data.mdb') fs.rmSync(path.join(folder, name, file), { recursive: true })
    }
  }
  fs.writeFileSync(path.join(folder, 'expected.json'), `${JSON.stringify(expected, null, 2)}\n`)
  clearInterval(hold)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
