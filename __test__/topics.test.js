'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const net = require('node:net')
const { once } = require('node:events')
const MultiHyperbee = require('..')
const { converge } = require('./helpers.js')
const { Store } = MultiHyperbee

/** Two stores, connected once for all that they have open. */
async function connectedStores(t) {
  const stores = [new Store(':memory:'), new Store(':memory:')]
  const server = net.createServer()
  t.after(() => server.close())
  t.after(() => Promise.all(stores.map((store) => store.close())))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = net.connect(server.address().port, '127.0.0.1')
  const [[socket]] = await Promise.all([once(server, 'connection'), once(client, 'connect')])
  t.after(() => client.destroy())
  t.after(() => socket.destroy())
  const streams = [stores[0].replicate(client), stores[1].replicate(socket)]
  return { stores, streams }
}

/** A database that both stores have; both write. */
async function both(stores, name) {
  const ours = new MultiHyperbee(stores[0], { name })
  await ours.ready()
  const theirs = new MultiHyperbee(stores[1], { name, key: ours.key })
  await theirs.ready()
  await ours.addWriter(theirs.local.key)
  return [ours, theirs]
}

for (const closing of [0, 1]) {
  const side = closing === 0 ? 'who connected' : 'who was connected to'
  test(`of two databases over one connection ${side} closes one and opens it again`, async (t) => {
    const { stores, streams } = await connectedStores(t)
    const x = await both(stores, 'x')
    const y = await both(stores, 'y')
    await x[0].put('first', { n: 1 })
    await converge(...x)
    await converge(...y)
    const staying = x[1 - closing]
    const { key } = staying
    const feed = stores[closing].get(staying.local.key)
    await feed.ready()
    await x[closing].close()
    await staying.put('while', { n: 2 })
    await y[1 - closing].put('meanwhile', { n: 1 })
    await converge(...y)
    // Nobody waits for what the other side has closed.
    await staying.flush({ timeout: 5_000 })
    // And who holds one of its feeds by itself gets what was written.
    const written = staying.store.get(staying.local.key)
    await written.ready()
    const last = written.length - 1
    assert.deepEqual(await feed.get(last, { timeout: 10_000 }), await written.get(last))
    const again = new MultiHyperbee(stores[closing], { name: 'x', key })
    await again.ready()
    await converge(again, staying)
    assert.equal((await again.get('while')).value.n, 2)
    await again.put('back', { n: 3 })
    await converge(again, staying)
    assert.equal((await staying.get('back')).value.n, 3)
    assert.ok(streams.every((stream) => !stream.destroyed))
  })
}
