'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const Hyperswarm = require('hyperswarm')
const Corestore = require('corestore')
const createTestnet = require('hyperdht/testnet')
const path = require('node:path')
const { open, openWriter, directory, converge } = require('./helpers.js')

async function swarms(t, count) {
  const testnet = await createTestnet(3)
  t.after(() => testnet.destroy())
  return Array.from({ length: count }, () => {
    const swarm = new Hyperswarm({ dht: testnet.createNode() })
    t.after(() => swarm.destroy())
    return swarm
  })
}

test(
  'over Hyperswarm, with Corestore on the same connection before ours and after ours',
  { timeout: 60_000 },
  async (t) => {
    const folder = directory(t)
    const stores = [1, 2].map((n) => new Corestore(path.join(folder, `${n}`)))
    for (const store of stores) t.after(() => store.close())
    const core = stores[0].get({ name: 'core' })
    await core.append('from corestore')
    const remote = stores[1].get(core.key)
    const a = await open(t)
    const b = await openWriter(t, a)
    await a.put('k', { n: 1 })

    const [one, two] = await swarms(t, 2)
    one.on('connection', (connection) => {
      stores[0].replicate(connection)
      a.replicate(connection)
    })
    two.on('connection', (connection) => {
      b.replicate(connection)
      stores[1].replicate(connection)
    })
    await one.join(a.discoveryKey).flushed()
    two.join(b.discoveryKey)

    await b.waitForWritable({ timeout: 30_000 })
    await b.put('k2', { n: 2 })
    await converge(a, b)
    assert.equal((await a.get('k2')).value.n, 2)
    assert.equal((await remote.get(0, { timeout: 20_000 })).toString(), 'from corestore')
  }
)

test('one side attaches long after the other', { timeout: 60_000 }, async (t) => {
  const a = await open(t)
  const b = await open(t, ':memory:', { key: a.key })
  await a.put('k', { n: 1 })
  const folder = directory(t)
  const store = new Corestore(folder)
  t.after(() => store.close())
  const [one, two] = await swarms(t, 2)
  one.on('connection', (connection) => a.replicate(connection))
  two.on('connection', (connection) => {
    // Whoever speaks Protomux here refuses what nobody has attached yet.
    store.replicate(connection)
    setTimeout(() => b.replicate(connection), 300)
  })
  await one.join(a.discoveryKey).flushed()
  two.join(b.discoveryKey)
  while ((await b.get('k')) === null) await new Promise((resolve) => b.once('update', resolve))
  await converge(a, b)
})
