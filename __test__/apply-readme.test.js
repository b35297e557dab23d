'use strict'

// The example of Autobee's README, with its two requires changed and nothing else.

const test = require('node:test')
const assert = require('node:assert/strict')
const { directory, connect, converge } = require('./helpers.js')

const AsyncFunction = (async () => {}).constructor

const FIRST = `
const Autobee = require('multi-hyperbee')
const { Store: Corestore } = require('multi-hyperbee')

const store = new Corestore('./my-db')

const db = new Autobee(store, null, { apply })
await db.ready()

// append some data
await db.append(Buffer.from(JSON.stringify({ hello: 'world' })))

// read it back from the view
const node = await db.view.get(Buffer.from('latest'))
console.log(JSON.parse(node.value))

async function apply(nodes, view, host) {
  for (const node of nodes) {
    const op = JSON.parse(node.value)

    if (op.addWriter) host.addWriter(op.addWriter)
    if (op.removeWriter) host.removeWriter(op.removeWriter)

    const w = view.write()
    w.tryPut(Buffer.from('latest'), node.value)
    await w.flush()
  }
}
`

const SECOND = `
const db1 = new Autobee(store1, null, { apply })
await db1.ready()

// share db1.key with others so they can join
const db2 = new Autobee(store2, db1.key, { apply })
await db2.ready()

// db1 adds db2 as a writer
await db1.append(Buffer.from(JSON.stringify({ addWriter: db2.local.id })))

// replicate using any stream
const s1 = db1.replicate(true)
const s2 = db2.replicate(false)
s1.pipe(s2).pipe(s1)
`

test("Autobee's README: the first example", async (t) => {
  const before = process.cwd()
  process.chdir(directory(t))
  t.after(() => process.chdir(before))
  const printed = []
  const run = new AsyncFunction('require', 'console', 'done', `${FIRST}\nawait done(db, store)`)
  await run(require, { log: (value) => printed.push(value) }, async (db, store) => {
    await db.close()
    await store.close()
  })
  assert.deepEqual(printed, [{ hello: 'world' }])
})

test("Autobee's README: adding a second writer and replicating", async (t) => {
  const { Store } = require('multi-hyperbee')
  const [store1, store2] = [new Store(':memory:'), new Store(':memory:')]
  t.after(() => Promise.all([store1.close(), store2.close()]))
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  const apply = FIRST.slice(FIRST.indexOf('async function apply'))
  const source = `const Autobee = require('multi-hyperbee')\n${SECOND}\nreturn [db1, db2]\n${apply}`
  const [db1, db2] = await new AsyncFunction('require', 'store1', 'store2', source)(require, store1, store2)
  await db2.waitForWritable({ timeout: 20_000 })
  assert.deepEqual([db2.writable, db2.isIndexer], [true, true])
  await db2.append(JSON.stringify({ hello: 'from the second' }))
  await converge(db1, db2)
  const { value } = await db1.view.get('latest')
  assert.deepEqual(JSON.parse(value), { hello: 'from the second' })
})

test('on a path, and again after it was closed', async (t) => {
  const Autobee = require('multi-hyperbee')
  const folder = directory(t)
  const apply = (nodes, view) => view.put('latest', nodes.at(-1).value)
  const db = new Autobee(folder, null, { apply })
  await db.append('one')
  await db.close()
  const again = new Autobee(folder, { apply })
  t.after(() => again.close())
  assert.equal(String((await again.view.get('latest')).value), 'one')
  const other = new Autobee(':memory:', null, { apply })
  t.after(() => other.close())
  await other.ready()
  assert.ok(Autobee.isAutobee(again))
  assert.deepEqual(Autobee.GENESIS, { length: 0, key: null })
  connect(again, other)
})
